//! What the values of a template and of a caller may never name: files of ComfyUI's machine, and models that can hold
//! programs. Decides on strings alone; it knows neither graphs nor schemas. Which classes are dangerous is `dangerous`'s.

use super::files::FileKind;

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
/// Files that are unpickled, or may be.
const UNSAFE_MODEL_EXTENSIONS: [&str; 7] = [".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".pickle"];
/// Inputs that take the name of a file in nodes of any class.
const PLACE_NAMES: [&str; 5] = ["audio", "image", "latent", "mask", "video"];
/// Words in the names of inputs that do, too.
const PLACE_WORDS: [&str; 11] =
    ["dir", "directory", "file", "filename", "files", "folder", "foldername", "folders", "path", "paths", "upload"];
const MAX_FILE_NAME: usize = 255;

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

/// Whether an input of this name takes the name of a file or folder, whatever its node is.
fn names_a_place(input: &str) -> bool {
    let name = input.to_ascii_lowercase();
    let mut words = name.split(|each: char| !each.is_ascii_alphanumeric());
    PLACE_NAMES.contains(&name.as_str()) || words.any(|word| PLACE_WORDS.contains(&word))
}

/// Whether a file must stand in this input of a graph that a caller wrote: over a link any name could come.
pub(super) fn takes_no_link(class: &str, input: &str) -> bool {
    class.starts_with("Load") && names_a_place(input)
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
    let place = if names_a_place(input) { path_fault(text).or_else(|| marker(text)) } else { None };
    place.or_else(|| marker_fault(class, text)).map(str::to_owned)
}

/// What is wrong with `text` in the input `input` of a graph that a caller wrote: no author has bounded what stands there.
pub(super) fn raw_value_fault(class: &str, input: &str, text: &str) -> Option<String> {
    value_fault(class, input, text).or_else(|| {
        let address = (names_a_place(input) && text.contains("://")).then_some("must not be an address");
        marker(text).or(address).or_else(|| unsafe_model(text)).map(str::to_owned)
    })
}

/// What is wrong with `text` as the name of a model file, in an input that nobody knows to take one.
fn unsafe_model(text: &str) -> Option<&'static str> {
    let named = text.chars().count() <= MAX_FILE_NAME && !text.contains(['\n', '\r']);
    let lower = text.trim_end().to_ascii_lowercase();
    let harmful = named && UNSAFE_MODEL_EXTENSIONS.iter().any(|extension| lower.ends_with(extension));
    harmful.then_some("must not name a file that can hold programs, such as .ckpt, .pt, .pth, .bin or .pkl")
}

fn model_fault(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    path_fault(text).or_else(|| {
        let safe = SAFE_MODEL_EXTENSIONS.iter().any(|extension| lower.ends_with(extension));
        (!safe).then_some("must name a model file that ends in .safetensors, .sft or .gguf")
    })
}

/// ComfyUI reads `name [output]` and `blake3:…` as files of other folders than the input folder. Elsewhere than in nodes
/// that load something they are words like others.
pub(super) fn marker_fault(class: &str, text: &str) -> Option<&'static str> {
    if class.contains("Load") { marker(text) } else { None }
}

fn marker(text: &str) -> Option<&'static str> {
    let squeezed: String = text.chars().filter(|each| !each.is_whitespace()).collect::<String>().to_lowercase();
    if ["[output]", "[input]", "[temp]"].iter().any(|marker| squeezed.ends_with(marker)) {
        Some("must not name one of ComfyUI's folders")
    } else if squeezed.starts_with("blake3:") {
        Some("must not be a content address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_input_that_is_named_after_files_takes_no_path_in_any_node() {
        for input in ["image", "VIDEO", "latent", "image_path", "model_file", "output-folder", "path"] {
            for bad in ["../x", "/etc/passwd", "C:\\x", "a\\b", "x.png [output]", "x.png[temp]", "blake3:00"] {
                assert!(value_fault("Anything", input, bad).is_some(), "{input}: {bad}");
            }
            assert_eq!(value_fault("Anything", input, "sub/cat.png"), None, "{input}");
        }
        for input in ["text", "profile", "pathos", "filed"] {
            assert_eq!(value_fault("Anything", input, "../x [output]"), None, "{input}");
        }
    }

    #[test]
    fn in_a_graph_of_a_caller_less_is_allowed() {
        for (class, input, bad) in [
            ("CLIPTextEncode", "text", "a door [output]"),
            ("CLIPTextEncode", "text", "blake3:00"),
            ("Anything", "image_path", "https://example.com/x.png"),
            ("Anything", "weights", "x.CKPT"),
            ("Anything", "weights", "x.pt "),
            ("CheckpointLoaderSimple", "ckpt_name", "x.bin"),
            ("LoadLatent", "latent", "../../x.latent"),
        ] {
            assert!(raw_value_fault(class, input, bad).is_some(), "{class} {input}: {bad}");
        }
        for (class, input, good) in [
            ("CLIPTextEncode", "text", "a cat, 4k, see https://example.com/cats ... ../ or [output] of a robot"),
            ("CLIPTextEncode", "text", "first line.pt\nsecond line"),
            ("CheckpointLoaderSimple", "ckpt_name", "sub/x.safetensors"),
            ("KSampler", "sampler_name", "euler"),
        ] {
            assert_eq!(raw_value_fault(class, input, good), None, "{class} {input}: {good}");
        }
    }

    #[test]
    fn loaders_take_their_files_over_no_link() {
        assert!(takes_no_link("LoadImage", "image") && takes_no_link("Load3D", "model_file"));
        assert!(!takes_no_link("UnloadModel", "image") && !takes_no_link("LoraLoader", "model"));
    }
}
