//! Where outputs lie: a folder on local disk, or a bucket of an S3 server. Opens neither.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::parse::Reader;
use crate::settings::{S3Settings, StorageBackend, StorageSettings};

/// The largest object that goes up in the 10,000 parts of 8 MiB that S3 allows.
const S3_LARGEST: u64 = 10_000 * (8 << 20);

pub(super) fn read(reader: &mut Reader<'_>) -> StorageSettings {
    let provider = reader.text("STORAGE_PROVIDER");
    // Read whatever the provider is: a wrong value is a fault before somebody switches over, too.
    let s3 = s3(reader);
    let max_output_bytes = reader.number("MAX_OUTPUT_BYTES", 1, 1 << 50);
    let backend = match provider.as_str() {
        "s3" => {
            require_s3(reader);
            if max_output_bytes > S3_LARGEST {
                reader.fault("MAX_OUTPUT_BYTES", &format!("allowed with STORAGE_PROVIDER=s3: at most {S3_LARGEST}"));
            }
            StorageBackend::S3(s3)
        }
        other => {
            if other != "local" {
                reader.fault("STORAGE_PROVIDER", "allowed: local or s3");
            }
            StorageBackend::Local { root: PathBuf::from(reader.text("STORAGE_LOCAL_PATH")) }
        }
    };
    StorageSettings { backend, max_output_bytes }
}

fn s3(reader: &mut Reader<'_>) -> S3Settings {
    let endpoint = reader
        .parse("S3_ENDPOINT", "an http:// or https:// URL with no credentials and no query, or empty", endpoint)
        .unwrap_or_default();
    let bucket = reader
        .parse("S3_BUCKET", "3 to 63 of a-z, 0-9, . and -, or empty", |text| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
            let named = (3..=63).contains(&text.len()) && text.bytes().all(plain);
            (text.is_empty() || named).then(|| text.to_owned())
        })
        .unwrap_or_default();
    let region = reader
        .parse("S3_REGION", "a name such as us-east-1, or auto", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
        })
        .unwrap_or_default();
    let prefix = reader
        .parse("S3_PREFIX", "names of A-Z, a-z, 0-9, ., _ and -, separated by /, or empty", prefix)
        .unwrap_or_default();
    let path_style = if reader.is_set("S3_PATH_STYLE") { reader.flag("S3_PATH_STYLE") } else { endpoint.is_some() };
    let access_key = SecretString::from(reader.text("S3_ACCESS_KEY"));
    let secret_key = SecretString::from(reader.text("S3_SECRET_KEY"));
    S3Settings { endpoint, bucket, region, access_key, secret_key, path_style, prefix }
}

fn require_s3(reader: &mut Reader<'_>) {
    let needed = ["S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY"];
    let missing: Vec<&str> = needed.into_iter().filter(|name| !reader.is_set(name)).collect();
    if !missing.is_empty() {
        reader.fault("STORAGE_PROVIDER", &format!("it also needs {}; set what is missing", missing.join(", ")));
    }
}

/// `None` where `text` is wrong, `Some(None)` where it is empty.
#[expect(clippy::option_option, reason = "wrong and not given are two things")]
fn endpoint(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let url = Url::parse(text).ok()?;
    let named = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    let open = url.username().is_empty() && url.password().is_none();
    let plain = url.query().is_none() && url.fragment().is_none();
    (named && open && plain).then(|| Some(url.as_str().trim_end_matches('/').to_owned()))
}

fn prefix(text: &str) -> Option<String> {
    let text = text.trim_matches('/');
    let plain = |segment: &str| {
        (1..=128).contains(&segment.len())
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && segment.bytes().any(|b| b != b'.')
    };
    (text.is_empty() || text.split('/').all(plain)).then(|| text.to_owned())
}
