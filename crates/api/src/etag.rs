//! Entity tags in requests (RFC 9110, section 13.1). Pure.

use actix_web::http::header::{HeaderMap, IF_NONE_MATCH};

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
    fn a_tag_is_known_alone_in_a_list_weak_or_by_the_star() {
        for header in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\"", "*"] {
            assert!(names(header, "\"a\""), "{header}");
        }
        for header in ["", "a", "\"b\"", "\"a", "W/", "\"A\""] {
            assert!(!names(header, "\"a\""), "{header}");
        }
    }
}
