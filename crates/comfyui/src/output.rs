//! Files and texts that nodes produce, found in the free-form output objects of history entries and events.
//! Owns the rule what counts as a file; fetching it is `view`'s work.

use std::fmt;

use serde_json::{Map, Value};

/// How deep lists and objects are searched; ComfyUI's own nodes nest once at most.
const MAX_DEPTH: usize = 4;
const MODEL_FILES: [&str; 5] = [".glb", ".gltf", ".obj", ".fbx", ".usdz"];

/// One of ComfyUI's three folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FolderKind {
    /// Results; kept until somebody deletes them.
    #[default]
    Output,
    /// Previews; wiped whenever the server starts or stops.
    Temp,
    /// Uploads.
    Input,
}

impl FolderKind {
    /// The name that the protocol uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Temp => "temp",
            Self::Input => "input",
        }
    }

    /// The folder of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Output, Self::Temp, Self::Input].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for FolderKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A file on the ComfyUI server. The names are the server's: unfit as paths on another machine without a check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileRef {
    /// Name without a folder.
    pub filename: String,
    /// Folder below the root of its kind, `/`-separated; often empty.
    pub subfolder: String,
    /// Which root.
    pub kind: FolderKind,
    /// Format as the node tells it, such as `video/h264-mp4`; usually absent.
    pub format: Option<String>,
}

/// One thing that a node produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputItem {
    /// A file to be fetched.
    File(FileRef),
    /// A text, complete.
    Text(String),
}

/// One thing that a prompt produced, with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutput {
    /// The node of the workflow as it was sent; for nodes made during the run, the node that made them.
    pub node_id: String,
    /// The key that the node filed it under, such as `images`, `gifs`, `audio` or `text`.
    pub key: String,
    /// The thing itself.
    pub item: OutputItem,
}

/// All items of one node's output object with their keys, in order.
pub(crate) fn items_of(output: &Map<String, Value>) -> Vec<(String, OutputItem)> {
    let mut found = Vec::new();
    for (key, value) in output {
        collect(key, value, MAX_DEPTH, &mut |item| found.push((key.clone(), item)));
    }
    found
}

fn collect(key: &str, value: &Value, depth: usize, found: &mut dyn FnMut(OutputItem)) {
    match value {
        Value::Array(items) if depth > 0 => {
            for item in items {
                collect(key, item, depth - 1, found);
            }
        }
        Value::Object(fields) => {
            if let Some(file) = file_of(fields) {
                found(OutputItem::File(file));
            } else if depth > 0 {
                // Below an object a text is a setting or a note, not a product.
                for item in fields.values().filter(|item| item.is_object() || item.is_array()) {
                    collect(key, item, depth - 1, &mut |item| {
                        if matches!(item, OutputItem::File(_)) {
                            found(item);
                        }
                    });
                }
            }
        }
        Value::String(text) if !text.is_empty() => found(text_item(key, text)),
        _ => {}
    }
}

fn file_of(fields: &Map<String, Value>) -> Option<FileRef> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let filename = text("filename").filter(|name| !name.is_empty())?;
    Some(FileRef {
        filename: filename.to_owned(),
        // Servers on Windows may write their own separator.
        subfolder: text("subfolder").unwrap_or_default().replace('\\', "/"),
        kind: text("type").and_then(FolderKind::parse).unwrap_or_default(),
        format: text("format").map(str::to_owned),
    })
}

/// 3D nodes name their file as a plain string, sometimes with its folder kind in brackets.
fn text_item(key: &str, text: &str) -> OutputItem {
    let (path, kind) = split_annotation(text);
    let lower = path.to_ascii_lowercase();
    let is_model = key != "text" && !path.contains('\n') && MODEL_FILES.iter().any(|ending| lower.ends_with(ending));
    if !is_model {
        return OutputItem::Text(text.to_owned());
    }
    let path = path.replace('\\', "/");
    let (subfolder, filename) = path.rsplit_once('/').unwrap_or(("", &path));
    OutputItem::File(FileRef { filename: filename.to_owned(), subfolder: subfolder.to_owned(), kind, format: None })
}

fn split_annotation(text: &str) -> (&str, FolderKind) {
    [FolderKind::Output, FolderKind::Temp, FolderKind::Input]
        .into_iter()
        .find_map(|kind| Some((text.strip_suffix(&format!(" [{kind}]"))?, kind)))
        .unwrap_or((text, FolderKind::Output))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(value: Value) -> Vec<(String, OutputItem)> {
        items_of(value.as_object().unwrap())
    }

    fn file(filename: &str, subfolder: &str, kind: FolderKind) -> OutputItem {
        OutputItem::File(FileRef { filename: filename.to_owned(), subfolder: subfolder.to_owned(), kind, format: None })
    }

    #[test]
    fn files_are_found_under_any_key_and_everything_else_is_passed_over() {
        let found = items(json!({
            "images": [{"filename": "a.png", "subfolder": "x/y", "type": "output"}, {"filename": "b.png"}, null, 7],
            "animated": [true],
            "odd": {"filename": "c.bin", "type": "temp"},
            "nested": [[{"filename": "d.wav", "subfolder": "s\\t", "type": "input"}]],
            "within": {"video": {"file": {"filename": "e.mp4"}, "note": "a text", "more": ["a text"]}},
            "silent": ["", ""],
            "no_files": [{"filename": ""}, {"filename": 5}, {"name": "x"}],
        }));
        let expected = [
            ("images", file("a.png", "x/y", FolderKind::Output)),
            ("images", file("b.png", "", FolderKind::Output)),
            ("odd", file("c.bin", "", FolderKind::Temp)),
            ("nested", file("d.wav", "s/t", FolderKind::Input)),
            ("within", file("e.mp4", "", FolderKind::Output)),
        ];
        assert_eq!(found, expected.map(|(key, item)| (key.to_owned(), item)));
    }

    #[test]
    fn the_format_of_a_video_is_kept() {
        let found = items(
            json!({"gifs": [{"filename": "v.mp4", "type": "output", "format": "video/h264-mp4", "fullpath": "/x"}]}),
        );
        let [(_, OutputItem::File(file))] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(file.format.as_deref(), Some("video/h264-mp4"));
    }

    #[test]
    fn texts_are_texts_and_names_of_3d_models_are_files() {
        let found = items(json!({
            "text": ["64", "see cube.obj"],
            "result": ["mesh/cube.GLB", {"position": 1}, null],
            "3d": ["a\\b.fbx [temp]"],
        }));
        let expected = [
            ("text", OutputItem::Text("64".to_owned())),
            ("text", OutputItem::Text("see cube.obj".to_owned())),
            ("result", file("cube.GLB", "mesh", FolderKind::Output)),
            ("3d", file("b.fbx", "a", FolderKind::Temp)),
        ];
        assert_eq!(found, expected.map(|(key, item)| (key.to_owned(), item)));
    }
}
