//! `POST /upload/image`: putting a file of any kind into a folder of the server.
//! Owns the multipart form and the checks on names; it reads no files.

use std::{fmt, io, pin::Pin};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Body,
    multipart::{Form, Part},
};
use serde_json::Value;

use crate::{
    client::ComfyClient,
    error::CallError,
    output::FolderKind,
    transport::{BodyKind, send},
};

const OPERATION: &str = "POST /upload/image";
/// Room for the form around the file when its size is compared with the server's limit.
const FORM_OVERHEAD: u64 = 2_048;

/// A file to be put onto the server.
#[derive(Debug)]
pub struct Upload {
    /// Wished name without folder. The server may choose another: use the one it returns.
    pub file_name: String,
    /// Folder below the root of `kind`, made if absent; empty for the root.
    pub subfolder: String,
    /// Which root, usually [`FolderKind::Input`].
    pub kind: FolderKind,
    /// Replace a file of that name. Otherwise other content under the same name gets a new name.
    pub overwrite: bool,
    /// The content.
    pub body: UploadBody,
}

/// The content of an upload.
pub enum UploadBody {
    /// In memory.
    Bytes(Bytes),
    /// A stream that brings exactly `length` bytes.
    Stream {
        /// Length in bytes.
        length: u64,
        /// The chunks.
        stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    },
}

impl UploadBody {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Stream { length, .. } => *length,
        }
    }

    fn into_part(self) -> Part {
        let length = self.length();
        match self {
            Self::Bytes(bytes) => Part::stream_with_length(bytes, length),
            Self::Stream { stream, .. } => Part::stream_with_length(Body::wrap_stream(stream), length),
        }
    }
}

impl fmt::Debug for UploadBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.length())
    }
}

/// Where the server has put an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Name that the server chose.
    pub name: String,
    /// Folder below the root of `kind`.
    pub subfolder: String,
    /// Which root.
    pub kind: FolderKind,
}

impl Uploaded {
    /// The value for a loader node's file input: `subfolder/name`, with the folder's kind in brackets unless it is `input`.
    pub fn reference(&self) -> String {
        let slash = if self.subfolder.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{}", self.subfolder, self.name);
        match self.kind {
            FolderKind::Input => path,
            kind => format!("{path} [{kind}]"),
        }
    }
}

impl ComfyClient {
    /// `POST /upload/image`: stores a file of any type. Repeating it with the same content and name is harmless.
    ///
    /// # Errors
    /// [`CallError::RequestTooLarge`] above the server's limit, [`CallError::InvalidArgument`] for names that it would
    /// refuse or change, else as for every call.
    pub async fn upload_image(&self, upload: Upload) -> Result<Uploaded, CallError> {
        check_names(&upload)?;
        let length = upload.body.length();
        // A server that refuses in the midst of a body cuts the connection, which looks like a network fault.
        let limit = self.capabilities().and_then(|known| known.max_upload_size);
        if limit.is_some_and(|limit| length.saturating_add(FORM_OVERHEAD) > limit) {
            return Err(CallError::RequestTooLarge);
        }
        let mut form = Form::new().text("type", upload.kind.as_str()).text("subfolder", upload.subfolder);
        if upload.overwrite {
            form = form.text("overwrite", "true");
        }
        let form = form.part("image", upload.body.into_part().file_name(upload.file_name));
        let url = self.transport().url(&["upload", "image"])?;
        let answer = send(self.transport().upload(url, length).multipart(form)).await?;
        if answer.status.as_u16() == 413 && answer.body != BodyKind::Json {
            return Err(CallError::RequestTooLarge);
        }
        let body: Value = self.transport().read_json(OPERATION, answer.success()?).await?;
        read_uploaded(&body)
            .ok_or_else(|| CallError::Malformed { operation: OPERATION, reason: "there is no name".to_owned() })
    }
}

fn check_names(upload: &Upload) -> Result<(), CallError> {
    let name = &upload.file_name;
    if name.is_empty()
        || matches!(name.as_str(), "." | "..")
        || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '"'))
    {
        return Err(CallError::InvalidArgument { what: "this file name" });
    }
    let climbs = upload.subfolder.split(['/', '\\']).any(|part| part == "..");
    if climbs || upload.subfolder.starts_with(['/', '\\']) || upload.subfolder.chars().any(char::is_control) {
        return Err(CallError::InvalidArgument { what: "this subfolder" });
    }
    Ok(())
}

fn read_uploaded(body: &Value) -> Option<Uploaded> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    Some(Uploaded {
        name: text("name").filter(|name| !name.is_empty())?.to_owned(),
        subfolder: text("subfolder").unwrap_or_default().to_owned(),
        kind: text("type").and_then(FolderKind::parse).unwrap_or(FolderKind::Input),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_folder_and_kind_as_loader_nodes_expect() {
        let uploaded =
            |subfolder: &str, kind| Uploaded { name: "in (1).png".to_owned(), subfolder: subfolder.to_owned(), kind };
        assert_eq!(uploaded("", FolderKind::Input).reference(), "in (1).png");
        assert_eq!(uploaded("gateway", FolderKind::Input).reference(), "gateway/in (1).png");
        assert_eq!(uploaded("a/b", FolderKind::Temp).reference(), "a/b/in (1).png [temp]");
    }

    #[test]
    fn names_that_the_server_would_refuse_or_change_are_not_sent() {
        let upload = |name: &str, subfolder: &str| Upload {
            file_name: name.to_owned(),
            subfolder: subfolder.to_owned(),
            kind: FolderKind::Input,
            overwrite: false,
            body: UploadBody::Bytes(Bytes::new()),
        };
        for (name, subfolder) in [
            ("", ""),
            ("..", ""),
            ("a/b", ""),
            ("a\\b", ""),
            ("a\nb", ""),
            ("a\"b", ""),
            ("a", "../x"),
            ("a", "/x"),
            ("a", "x/../.."),
        ] {
            assert!(check_names(&upload(name, subfolder)).is_err(), "{name:?} {subfolder:?}");
        }
        for (name, subfolder) in [("größe ✓.png", ""), ("a..b.png", "gateway/x"), ("100%.png", "..x")] {
            assert!(check_names(&upload(name, subfolder)).is_ok(), "{name:?} {subfolder:?}");
        }
    }
}
