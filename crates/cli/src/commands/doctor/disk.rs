//! Room on disks, and whether this process may write there, without trying. May wait for a disk that hangs.

use std::path::{Path, PathBuf};

use super::finding::{Area, Finding};

/// Below this an output of usual size may not fit any more.
const LITTLE: u64 = 2 << 30;
/// Below this the database soon can't write.
const NOTHING: u64 = 200 << 20;

/// The nearest of `path` and the folders above it that is there.
pub(super) fn nearest(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_no_place| path.to_owned());
    whole.ancestors().find(|each| each.exists()).unwrap_or(&whole).to_owned()
}

/// Whether something can be made in `folder`.
pub(super) fn takes_files(folder: &Path) -> bool {
    folder.is_dir() && may_write(folder)
}

/// How much room is left for `what`, which lies at `path`.
pub(super) fn room(area: Area, what: &str, path: &Path) -> Option<Finding> {
    let place = nearest(path);
    let free = free(&place)?;
    let seen = format!("{} MiB are free for {what} ({})", free >> 20, place.display());
    let remedy = "make room: delete jobs, set OUTPUT_RETENTION_DAYS or JOB_RETENTION_DAYS, or take a larger disk";
    Some(match free {
        free if free < NOTHING => Finding::error(area, seen, remedy),
        free if free < LITTLE => Finding::warning(area, seen, remedy),
        _ => Finding::ok(area, format!("{} GiB are free for {what}", free >> 30)),
    })
}

#[cfg(unix)]
pub(super) fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
pub(super) fn may_write(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.permissions().readonly())
}

/// Bytes that this process may still write there; `None` where nobody says.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_judged_by_what_is_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c.db");
        assert_eq!(nearest(&deep), folder.path());
        assert!(takes_files(&nearest(&deep)));
        std::fs::write(folder.path().join("a"), "").unwrap();
        assert!(!takes_files(&nearest(&deep)), "a file is no folder");
    }
}
