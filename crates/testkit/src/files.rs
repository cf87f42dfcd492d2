//! Files of a gateway that may still be at work: what is gone between two looks is no fault.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The files below `folder`, however deep. Where there is no such folder, there are none.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = unless_gone(std::fs::read_dir(folder)).into_iter().flatten();
    let paths = entries.filter_map(unless_gone).map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The files below `folder` with what they hold, but for those that go before they are read, as the log of writes does
/// when the last connection to its database is closed.
pub fn read_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files_below(folder).into_iter();
    files.filter_map(|path| unless_gone(std::fs::read(&path)).map(|bytes| (path, bytes))).collect()
}

fn unless_gone<T>(found: io::Result<T>) -> Option<T> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        found => Some(found.expect("what is there can be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_however_deep_and_those_that_are_gone_are_left_out() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        std::fs::create_dir(folder.join("inner")).unwrap();
        std::fs::write(folder.join("outer.txt"), "outer").unwrap();
        std::fs::write(folder.join("inner/inner.txt"), "inner").unwrap();
        // Listed, and gone once it is read.
        std::os::unix::fs::symlink(folder.join("nothing"), folder.join("gone.txt")).unwrap();
        assert_eq!(files_below(folder).len(), 3);
        let mut read = read_below(folder);
        read.sort();
        let file = |name: &str, bytes: &str| (folder.join(name), bytes.as_bytes().to_vec());
        assert_eq!(read, [file("inner/inner.txt", "inner"), file("outer.txt", "outer")]);
        assert!(read_below(&folder.join("nothing")).is_empty());
    }

    #[test]
    #[should_panic(expected = "what is there can be read")]
    fn another_failure_is_no_absence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        files_below(file.path());
    }
}
