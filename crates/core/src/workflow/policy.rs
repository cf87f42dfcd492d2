//! What a template and a caller may never do: dangerous node classes, and values that name files of ComfyUI's machine.
//! Decides on strings alone; it knows neither graphs nor schemas.

use super::files::FileKind;

/// Core classes that read or write whole folders, or unpickle what they read.
const DENIED_CLASSES: [&str; 8] = [
    "LoadTrainingDataset",
    "SaveTrainingDataset",
    "MakeTrainingDataset",
    "LoadImageDataSetFromFolder",
    "LoadImageTextDataSetFromFolder",
    "LoadImageSetFromFolderNode",
    "LoadImageTextSetFromFolderNode",
    "SaveImageDataSetToFolder",
];
const DENIED_PREFIXES: [&str; 2] = ["SaveImageTextDataSet", "ResolutionBucket"];

/// Inputs that name a model file; some nodes number them (`clip_name1`).
const MODEL_INPUTS: [&str; 8] = [
    "ckpt_name",
    "lora_name",
    "vae_name",
    "unet_name",
    "clip_name",
    "control_net_name",
    "model_name",
    "style_model_name",
];
const SAFE_MODEL_EXTENSIONS: [&str; 3] = [".safetensors", ".sft", ".gguf"];
const MAX_FILE_NAME: usize = 255;

/// Whether no workflow may hold a node of this class.
pub(super) fn is_denied_class(class: &str) -> bool {
    let class = class.trim();
    DENIED_CLASSES.iter().any(|denied| class.eq_ignore_ascii_case(denied))
        || DENIED_PREFIXES.iter().any(|prefix| starts_with_ignoring_case(class, prefix))
}

/// Whether the input `name` of any node names a model file.
pub(super) fn is_model_input(name: &str) -> bool {
    MODEL_INPUTS.iter().any(|known| name.starts_with(known))
}

/// The kind of file that an input takes, where its node loads one by name.
pub(super) fn loaded_file(class: &str, input: &str) -> Option<FileKind> {
    if !class.contains("Load") {
        return None;
    }
    match input {
        "image" => Some(FileKind::Image),
        "audio" => Some(FileKind::Audio),
        "video" => Some(FileKind::Video),
        "file" if class.contains("Video") => Some(FileKind::Video),
        "file" => Some(FileKind::File),
        _ => None,
    }
}

/// Whether values of an input decide where files are written.
pub(super) fn is_prefix_input(name: &str) -> bool {
    name == "filename_prefix"
}

/// What is wrong with `text` as the start of a path below a fixed folder.
pub(super) fn path_fault(text: &str) -> Option<&'static str> {
    let mut start = text.chars();
    let drive = start.next().is_some_and(|first| first.is_ascii_alphabetic()) && start.next() == Some(':');
    if text.contains("..") {
        Some("must not contain `..`")
    } else if text.starts_with('/') || drive {
        Some("must not be an absolute path")
    } else if text.contains('\\') {
        Some("must not contain a backslash")
    } else if text.contains('\0') {
        Some("must not contain a NUL character")
    } else {
        None
    }
}

/// What is wrong with `text`, given by a caller, in the input `input` of a node of class `class`.
pub(super) fn value_fault(class: &str, input: &str, text: &str) -> Option<String> {
    if is_model_input(input) {
        return model_fault(text).or_else(|| marker_fault(class, text)).map(str::to_owned);
    }
    if is_prefix_input(input) {
        return path_fault(text).map(str::to_owned);
    }
    if loaded_file(class, input).is_some() {
        if let Some(fault) = path_fault(text) {
            return Some(fault.to_owned());
        }
        if text.contains('/') {
            return Some("must not name a folder".to_owned());
        }
        if text.chars().count() > MAX_FILE_NAME {
            return Some(format!("must have at most {MAX_FILE_NAME} characters"));
        }
    }
    marker_fault(class, text).map(str::to_owned)
}

fn model_fault(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    path_fault(text).or_else(|| {
        let safe = SAFE_MODEL_EXTENSIONS.iter().any(|extension| lower.ends_with(extension));
        (!safe).then_some("must name a model file that ends in .safetensors, .sft or .gguf")
    })
}

/// ComfyUI reads `name [output]` and `blake3:…` as files of other folders than the input folder.
pub(super) fn marker_fault(class: &str, text: &str) -> Option<&'static str> {
    if !class.contains("Load") {
        return None;
    }
    let squeezed: String = text.chars().filter(|each| !each.is_whitespace()).collect::<String>().to_lowercase();
    if ["[output]", "[input]", "[temp]"].iter().any(|marker| squeezed.ends_with(marker)) {
        Some("must not name one of ComfyUI's folders")
    } else if squeezed.starts_with("blake3:") {
        Some("must not be a content address")
    } else {
        None
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dataset_classes_are_denied_and_plain_loaders_are_not() {
        for class in [
            "LoadTrainingDataset",
            "loadtrainingdataset",
            "SaveImageTextDataSetToFolder",
            "LoadImageDataSetFromFolder",
            "ResolutionBucketBuilder",
        ] {
            assert!(is_denied_class(class), "{class}");
        }
        for class in ["LoadLatent", "LoadImage", "SaveImage", "KSampler", "é"] {
            assert!(!is_denied_class(class), "{class}");
        }
    }

    #[test]
    fn a_caller_may_only_choose_safe_model_files_inside_the_model_folder() {
        for good in ["a.safetensors", "sdxl/a.SAFETENSORS", "b.gguf", "c.sft"] {
            assert_eq!(value_fault("CheckpointLoaderSimple", "ckpt_name", good), None, "{good}");
        }
        for bad in [
            "a.ckpt",
            "a.pt",
            "a.pth",
            "a.bin",
            "a.PKL",
            "a",
            "",
            "../a.safetensors",
            "/a.safetensors",
            "x\\a.safetensors",
            "C:a.safetensors",
            "a\0.safetensors",
            "blake3:a.safetensors",
        ] {
            assert!(value_fault("CheckpointLoaderSimple", "ckpt_name", bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_loader_takes_no_path_marker_or_address_from_a_caller() {
        assert_eq!(value_fault("LoadImage", "image", "cat.png"), None);
        let long = "x".repeat(256);
        for bad in [
            "../../etc/passwd",
            "/etc/passwd",
            "x.png [output]",
            "x.png[Temp]",
            "x.png [ input ] ",
            "blake3:00",
            "a\\b.png",
            "a\0.png",
            long.as_str(),
        ] {
            assert!(value_fault("LoadImage", "image", bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_same_words_are_plain_text_elsewhere() {
        for text in ["a door [output]", "blake3:x", "../up", "C:\\"] {
            assert_eq!(value_fault("CLIPTextEncode", "text", text), None, "{text}");
        }
    }
}
