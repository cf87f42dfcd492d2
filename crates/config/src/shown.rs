//! Settings as people are shown them. No secrets.

use crate::settings::StorageBackend;

impl StorageBackend {
    /// Where outputs lie, for people; no keys.
    pub fn shown(&self) -> String {
        match self {
            Self::Local { root } => root.display().to_string(),
            Self::S3(s3) => {
                let prefix = if s3.prefix.is_empty() { String::new() } else { format!("/{}", s3.prefix) };
                let server = s3.endpoint.as_deref().unwrap_or("AWS");
                format!("s3://{}{prefix} at {server}", s3.bucket)
            }
        }
    }
}
