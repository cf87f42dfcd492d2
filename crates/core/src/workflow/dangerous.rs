//! Node classes that can do more than a workflow may: those that no workflow holds, and those that a graph of a caller
//! holds only where an operator names them. Decides on names alone, whatever a server says of its classes.

use super::value::shorten;

const UNPICKLES: &str = "unpickles files, which runs what is in them";
const READS_FOLDERS: &str = "reads whole folders of ComfyUI's machine";
const WRITES_FOLDERS: &str = "writes whole folders on ComfyUI's machine";
const RUNS_TEXT: &str = "runs a text as a program";

/// What no workflow may hold, whoever registers or sends it, and what it does. A name that ends with `*` stands for all
/// that begin so; case does not count.
const NEVER: [(&str, &str); 25] = [
    // Core: datasets. The first is CVE-2026-68771; the others read or write beside the files of a job.
    ("LoadTrainingDataset", UNPICKLES),
    ("SaveTrainingDataset", WRITES_FOLDERS),
    ("MakeTrainingDataset", UNPICKLES),
    ("ResolutionBucket*", READS_FOLDERS),
    ("LoadImageDataSetFromFolder", READS_FOLDERS),
    ("LoadImageTextDataSetFromFolder", READS_FOLDERS),
    ("LoadImageSetFromFolderNode", READS_FOLDERS),
    ("LoadImageTextSetFromFolderNode", READS_FOLDERS),
    ("SaveImageDataSetToFolder", WRITES_FOLDERS),
    ("SaveImageTextDataSet*", WRITES_FOLDERS),
    // Custom nodes whose inputs reach Python's eval: CVE-2024-21577, then CVE-2024-21576.
    ("ACE_ExpressionEval", RUNS_TEXT),
    ("BuildColorRangeHSVAdvanced*", RUNS_TEXT),
    ("FilterContour*", RUNS_TEXT),
    ("FindContour*", RUNS_TEXT),
    // Custom nodes that are there to run what stands in an input.
    ("SRL Eval", RUNS_TEXT),
    ("SrlEval", RUNS_TEXT),
    ("IDENode", RUNS_TEXT),
    ("AnyNode*", RUNS_TEXT),
    ("FL_CodeNode", RUNS_TEXT),
    ("NodePython*", RUNS_TEXT),
    ("PyExec*", RUNS_TEXT),
    ("PythonCodeNode", RUNS_TEXT),
    ("ShellCodeNode", RUNS_TEXT),
    ("ExecutePython*", RUNS_TEXT),
    ("RunPython*", RUNS_TEXT),
];

/// Words in the name of a class by which nodes tell that they do more than make pictures, and what that is.
const DOUBTFUL: [(&str, &[&str]); 3] = [
    (
        "runs programs",
        &[
            "exec",
            "execute",
            "executor",
            "eval",
            "evaluate",
            "python",
            "shell",
            "bash",
            "powershell",
            "terminal",
            "command",
            "cmd",
            "subprocess",
            "pickle",
        ],
    ),
    (
        "reaches other machines",
        &["url", "urls", "uri", "http", "https", "ftp", "download", "downloader", "webhook", "request", "fetch", "api"],
    ),
    (
        "takes files by their path",
        &["path", "paths", "folder", "folders", "directory", "directories", "dir", "filesystem"],
    ),
];

/// Why no workflow may hold a node of this class; `None` where one may.
pub(super) fn fault(class: &str) -> Option<String> {
    let name = class.trim();
    let matches = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(known),
    };
    let (_, reason) = NEVER.iter().find(|(known, _)| matches(known))?;
    Some(format!("`{}` is not allowed: it {reason}", shorten(class, 60)))
}

/// What a class is said to do by its name, where an operator is to name it before callers may use it.
pub(super) fn doubt(class: &str) -> Option<&'static str> {
    let words = words(class);
    let told = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    DOUBTFUL.iter().find(|(_, known)| told(known)).map(|(what, _)| *what)
}

/// The words of a name such as `LoadImageFromURL`, `load_image (url)` or `easy loadImage`, in lower case.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let begins = letter.is_uppercase()
            && (before.is_some_and(|before| !before.is_uppercase()) || after.is_some_and(|after| after.is_lowercase()));
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_run_or_unpickle_what_they_are_given_are_refused_and_say_why() {
        for (class, reason) in [
            ("LoadTrainingDataset", "unpickles"),
            ("loadtrainingdataset", "unpickles"),
            (" LoadTrainingDataset ", "unpickles"),
            ("SaveImageTextDataSetToFolder", "writes whole folders"),
            ("LoadImageDataSetFromFolder", "reads whole folders"),
            ("ResolutionBucketBuilder", "reads whole folders"),
            ("ACE_ExpressionEval", "runs a text"),
            ("BuildColorRangeHSVAdvanced (hsv)", "runs a text"),
            ("SRL Eval", "runs a text"),
            ("AnyNodeLocal", "runs a text"),
        ] {
            let message = fault(class).unwrap_or_default();
            assert!(message.contains("is not allowed") && message.contains(reason), "{class}: {message}");
        }
        for class in ["LoadLatent", "LoadImage", "SaveImage", "KSampler", "é", "", "ContourFilter"] {
            assert_eq!(fault(class), None, "{class}");
        }
    }

    #[test]
    fn names_are_read_word_by_word() {
        for (name, parts) in [
            ("LoadImageFromURL", &["load", "image", "from", "url"][..]),
            ("LoadURLImage", &["load", "url", "image"]),
            ("easy loadImage_url", &["easy", "load", "image", "url"]),
            ("VHS_LoadVideoPath", &["vhs", "load", "video", "path"]),
        ] {
            let found = words(name);
            let found: Vec<&str> = found.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
            assert_eq!(found, parts, "{name}");
        }
    }

    #[test]
    fn names_that_tell_of_programs_addresses_and_paths_are_doubted_and_others_are_not() {
        for (class, what) in [
            ("LoadImageFromUrl", "reaches other machines"),
            ("DownloadAndLoadModel", "reaches other machines"),
            ("VHS_LoadImagesPath", "takes files by their path"),
            ("EvaluateStrings", "runs programs"),
            ("Terminal", "runs programs"),
        ] {
            assert_eq!(doubt(class), Some(what), "{class}");
        }
        for class in ["KSampler", "SaveImageWebsocket", "VAEDecode", "ImageScaleToTotalPixels", "Curly", "Pathos", ""] {
            assert_eq!(doubt(class), None, "{class}");
        }
    }
}
