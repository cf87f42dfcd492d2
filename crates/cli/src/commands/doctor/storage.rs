//! The storage: a small object is written, read and removed there.

use std::path::Path;
use std::time::Duration;

use gateway_config::{S3Settings, Settings, StorageBackend};
use gateway_core::chain;
use gateway_storage::{S3Storage, StorageError, try_out};

use super::clocks::{Skew, now};
use super::finding::{Area, Finding};
use super::{DEADLINE, disk};

const AREA: Area = Area::Storage;
/// For each call to a bucket; there are about five of them.
const CALL: Duration = Duration::from_secs(4);
/// For all of them.
const ALL: Duration = Duration::from_secs(12);

/// Looks at it.
pub(super) async fn look(settings: &Settings) -> (Vec<Finding>, Option<Skew>) {
    match &settings.storage.backend {
        StorageBackend::Local { root } => {
            let folder = root.clone();
            let around = tokio::task::spawn_blocking(move || (place(&folder), folder.exists()));
            match tokio::time::timeout(DEADLINE, around).await {
                Ok(Ok((mut findings, there))) => {
                    // A look makes nothing.
                    if there {
                        findings.insert(0, object(settings).await);
                    }
                    (findings, None)
                }
                _ => {
                    let seen = format!("{} does not answer within {} s", root.display(), DEADLINE.as_secs());
                    (vec![Finding::unreachable(AREA, seen, "see whether its disk hangs, or is away")], None)
                }
            }
        }
        StorageBackend::S3(bucket) => {
            let (object, skew) = tokio::join!(object(settings), clock(bucket));
            (vec![object], skew)
        }
    }
}

/// Where the folder is, or will be.
fn place(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !root.exists() {
        let above = disk::nearest(root);
        findings.push(if disk::takes_files(&above) {
            let seen = format!("{} is not there yet: the first start makes it; nothing was tried", root.display());
            Finding::note(AREA, seen).mended_by("comfyui-gateway init")
        } else {
            let seen = format!("{} can't be made: {} takes no files", root.display(), above.display());
            Finding::error(AREA, seen, FOLDER)
        });
    }
    findings.extend(disk::room(AREA, "outputs", root));
    findings
}

const FOLDER: &str = "STORAGE_LOCAL_PATH must be a folder that the user of the gateway may write to: `chown` it, mount \
                      it writable, or name another";

async fn object(settings: &Settings) -> Finding {
    let shown = settings.storage.backend.shown();
    match tokio::time::timeout(ALL, try_out(&settings.storage, CALL)).await {
        Ok(Ok(())) => Finding::ok(AREA, format!("{shown}: a small object was written, read and removed")),
        Ok(Err(error)) => trouble(&error, &shown),
        Err(_elapsed) => {
            let seen = format!(
                "{shown}: a small object was not written, read and removed within {} s; one named probe-… may be left",
                ALL.as_secs()
            );
            Finding::unreachable(AREA, seen, "see whether the server (or the disk) hangs, or is far away")
        }
    }
}

fn trouble(error: &StorageError, shown: &str) -> Finding {
    match error {
        StorageError::Bucket { advice, unreachable, source, .. } => {
            let seen = format!("{shown} can't be used: {}", chain(source));
            match unreachable {
                true => Finding::unreachable(AREA, seen, advice.clone()),
                false => Finding::error(AREA, seen, advice.clone()),
            }
        }
        error => Finding::error(AREA, format!("{shown} can't be used: {}", chain(error)), FOLDER),
    }
}

/// The clock of the server, which it tells whoever asks.
async fn clock(bucket: &S3Settings) -> Option<Skew> {
    let server = S3Storage::server(bucket);
    let client = reqwest::Client::builder().timeout(DEADLINE).build().ok()?;
    let before = now();
    let answer = client.get(server.as_str()).send().await.ok()?;
    let after = now();
    let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    Skew::of_date(&server, date, before, after)
}
