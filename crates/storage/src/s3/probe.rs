//! Proves at the start that a bucket can be used, and says what to do where it can't.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt as _;

use super::client::Client;
use super::failure::Failure;
use super::{CONTENT_TYPE, download, remove};
use crate::StorageError;

/// Longest wait for one answer: who starts a gateway should soon be told.
const SOON: Duration = Duration::from_secs(10);
const CONTENT: &[u8] = b"comfyui-gateway can write here\n";

/// Writes, reads, lists and removes a small object, which is removed whatever becomes of the reading.
pub(super) async fn probe(client: &Client, prefix: &str) -> Result<(), StorageError> {
    let mut client = client.clone();
    client.patience.quick = client.patience.quick.min(SOON);
    // Gateways of other machines may start in the same moment, with the same process id.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let key = format!("{prefix}probe-{}-{now}", std::process::id());
    let result = async {
        let write = || client.bucket.put_object_with_content_type(&key, CONTENT, CONTENT_TYPE);
        client.quick(write).await.map_err(|failure| (failure, "s3:PutObject"))?;
        let read = read(&client, &key).await.map_err(|failure| (failure, "s3:GetObject"));
        let removed = remove::objects(&client, &key).await;
        read.and(removed.map_err(|failure| (failure, "s3:ListBucket and s3:DeleteObject")))?;
        let uploads = "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload";
        remove::uploads(&client, &key).await.map_err(|failure| (failure, uploads))
    };
    result.await.map_err(|(failure, permission)| StorageError::Bucket {
        bucket: client.bucket.name.clone(),
        advice: advice(&client, &failure, permission),
        unreachable: failure.is_silence(),
        source: client.source(failure),
    })
}

async fn read(client: &Client, key: &str) -> Result<(), Failure> {
    let reader = download::open(client, key.to_owned(), None).await?;
    let parts: Vec<_> = reader.stream.try_collect().await.map_err(|error| Failure::nonsense(error.to_string()))?;
    if parts.concat() == CONTENT {
        Ok(())
    } else {
        Err(Failure::nonsense("what was written there is not what is read there"))
    }
}

fn advice(client: &Client, failure: &Failure, permission: &str) -> String {
    let endpoint = &client.endpoint;
    let (status, code) = match failure {
        Failure::Network { unreachable: true, .. } => {
            let host = if client.bucket.is_path_style() { "" } else { ", or set S3_PATH_STYLE=true" };
            let tls = if endpoint.starts_with("https:") { ", or trust its certificate (SSL_CERT_FILE)" } else { "" };
            return format!(
                "{endpoint} can't be reached: see whether the server runs and no firewall is in between, and correct \
                 S3_ENDPOINT{host}{tls}"
            );
        }
        Failure::Network { .. } => return format!("what answers at {endpoint} is no S3 server: correct S3_ENDPOINT"),
        Failure::Deadline { .. } => {
            return format!("{endpoint} does not answer in time: see whether the server is well");
        }
        Failure::Nonsense { .. } => {
            return format!("{endpoint} does not answer as S3 servers do: correct S3_ENDPOINT");
        }
        Failure::Answer { status, code, .. } => (*status, code.as_str()),
    };
    match (status, code) {
        (_, "NoSuchBucket") => String::from("there is no such bucket: create it, or correct S3_BUCKET"),
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "NotSignedUp" | "InvalidToken") => {
            String::from("the server does not accept the keys: correct S3_ACCESS_KEY and S3_SECRET_KEY")
        }
        (_, "RequestTimeTooSkewed") => String::from("this machine's clock is wrong: set it"),
        (301 | 307, _)
        | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
            String::from("it lies in another region: correct S3_REGION, and S3_ENDPOINT where it is set")
        }
        (401 | 403, _) => {
            format!("the keys may not do what the gateway needs: allow them {permission}, or correct S3_ACCESS_KEY")
        }
        (400 | 404 | 405, "") => {
            format!("what answers at {endpoint} is no S3 server, or wants the other S3_PATH_STYLE")
        }
        (500.., _) | (429, _) => format!("{endpoint} answers, but can't serve at the moment: see whether it is well"),
        _ => String::from("see the server's words"),
    }
}
