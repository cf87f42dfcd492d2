//! Inputs that are files: how a schema marks them and what a caller may give for one.
//! Checks the shape only; fetching, decoding and uploading happen elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a file input takes, from the schema's `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A picture.
    Image,
    /// A moving picture.
    Video,
    /// A sound.
    Audio,
    /// A picture whose brightness or transparency is a mask.
    Mask,
    /// Any file.
    File,
}

impl FileKind {
    /// The kind that a schema's `format` names, where it names one.
    pub fn from_format(format: &str) -> Option<Self> {
        match format {
            "image" => Some(Self::Image),
            "video" => Some(Self::Video),
            "audio" => Some(Self::Audio),
            "mask" => Some(Self::Mask),
            "file" => Some(Self::File),
            _ => None,
        }
    }

    /// The word for this kind in a schema's `format`.
    pub fn as_format(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Mask => "mask",
            Self::File => "file",
        }
    }
}

/// The ways to give a file: the sets of fields that an object may have.
const SHAPES: [&[&str]; 4] = [&["url"], &["base64"], &["uploadId"], &["jobId", "file"]];

/// What is wrong with `value` as a file: a path below it and a sentence for each fault.
pub(super) fn shape_faults(value: &Value) -> Vec<(String, String)> {
    let whole = || {
        let message = "must be a file: {\"url\"}, {\"base64\"}, {\"uploadId\"} or {\"jobId\", \"file\"}";
        vec![(String::new(), message.to_owned())]
    };
    let Some(fields) = value.as_object() else {
        return whole();
    };
    if !SHAPES.iter().any(|shape| has_shape(fields, shape)) {
        return whole();
    }
    fields
        .iter()
        .filter(|(_, field)| field.as_str().is_none_or(str::is_empty))
        .map(|(key, _)| (format!("/{key}"), "must be a string that is not empty".to_owned()))
        .collect()
}

/// Whether `key` holds the bytes of a file, which may be longer than other strings.
pub(super) fn holds_bytes(key: &str) -> bool {
    key == "base64"
}

fn has_shape(fields: &Map<String, Value>, shape: &[&str]) -> bool {
    fields.len() == shape.len() && shape.iter().all(|key| fields.contains_key(*key))
}
