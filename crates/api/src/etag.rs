//! Entity tags of answers, and in requests (RFC 9110, sections 8.8.3 and 13.1). Pure.

use actix_web::http::header::{HeaderMap, IF_NONE_MATCH};
use gateway_core::hex;
use sha2::{Digest as _, Sha256};

/// Bytes of a body's hash that make its tag.
const LENGTH: usize = 12;

/// The tag of an answer with this `body`.
pub(crate) fn of(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Sha256::digest(body).get(..LENGTH).unwrap_or_default()))
}

/// Whether `If-None-Match` names `etag`. Compared weakly: proxies that compress mark tags as weak.
pub(crate) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok()).any(|value| names(value, etag))
}

fn names(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_the_bytes_and_quoted() {
        assert_eq!(of(b"abc"), "\"ba7816bf8f01cfea414140de\"");
        assert_ne!(of(b"abd"), of(b"abc"));
    }

    #[test]
    fn a_tag_is_known_alone_in_a_list_weak_or_by_the_star() {
        for header in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\"", "*"] {
            assert!(names(header, "\"a\""), "{header}");
        }
        for header in ["", "a", "\"b\"", "\"a", "W/", "\"A\""] {
            assert!(!names(header, "\"a\""), "{header}");
        }
    }
}
