//! What a key may be. The last line of defence: keys are made by the gateway, and still none may leave the root.

use crate::StorageError;

/// `key`, if each of its segments is 1–128 of `[A-Za-z0-9._-]` and not only dots.
pub(crate) fn check(key: &str) -> Result<&str, StorageError> {
    let plain = |segment: &str| {
        (1..=128).contains(&segment.len())
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && segment.bytes().any(|b| b != b'.')
    };
    if key.split('/').all(plain) { Ok(key) } else { Err(StorageError::BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_root_are_refused() {
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a/..", ".", "a\\b", "a\0b", "a b", "é", "a:b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check("2026/11/24/0192-ab/1/image_001.png").is_ok());
    }
}
