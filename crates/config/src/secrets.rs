//! What in a value nobody else may see: secrets, keys where a path belongs, passwords in URLs.

use std::path::Path;

use url::Url;

use crate::source::read_env_file;
use crate::variables::VARIABLES;

/// Fewer characters are no key in Base64: one of Ed25519, the shortest, has 64.
const SHORTEST: usize = 60;

/// The variables in the file at `env_file` that hold a secret, or a password in a URL; none where it can't be read.
pub fn secrets_in(env_file: &Path) -> Vec<&'static str> {
    let Ok(values) = read_env_file(env_file) else { return Vec::new() };
    let holds = |name: &str, secret: bool| {
        let text = values.get(name).map_or("", |text| text.trim());
        !text.is_empty() && (secret || has_password(text))
    };
    VARIABLES.iter().filter(|each| holds(each.name, each.secret)).map(|each| each.name).collect()
}

/// Whether `text` is a key in PEM.
pub(crate) fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// Whether `text` is a key, or several, where a path may be meant: PEM, JSON, or what stands between the lines of PEM.
/// It may be a private one.
pub(crate) fn is_key(text: &str) -> bool {
    // Every key begins with the mark of a sequence.
    let bare = text.starts_with('M') && text.len() >= SHORTEST;
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte) || byte.is_ascii_whitespace();
    is_pem(text) || text.starts_with(['{', '[']) || (bare && text.bytes().all(base64))
}

/// `text` with what stands before an `@` left out: in a URL that is a user and a password, even in one that can't be
/// parsed.
pub(crate) fn without_credentials(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}//…{}", text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// Whether `text` is a URL, or several with commas between, of which one has a password.
fn has_password(text: &str) -> bool {
    let has = |url: Url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password");
    text.split(',').chain([text]).any(|part| Url::parse(part.trim()).is_ok_and(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_paths() {
        let ed25519 = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        for key in ["-----BEGIN X-----", "{\"kty\": 1}", "[{}]", ed25519, &format!("{ed25519}\n{ed25519}==")] {
            assert!(is_key(key), "{key}");
        }
        let long = format!("/etc/{}", "M".repeat(80));
        for path in ["key.pem", "Mine/key", "./keys/public.pem", &long, &format!("M{}.pem", "a".repeat(80))] {
            assert!(!is_key(path), "{path}");
        }
    }

    #[test]
    fn passwords_are_found_in_urls_alone() {
        for text in [
            "http://a:s3cret@gpu:8188",
            "http://one, https://a:s3cret@two/x",
            "postgres://a:s3,cret@h/db",
            "postgres://a@h/db?password=s3cret",
        ] {
            assert!(has_password(text), "{text}");
        }
        for text in ["", "./data/gateway.db", "http://gpu:8188,http://two", "postgres://a@h/db", "a:b@c", "12:30"] {
            assert!(!has_password(text), "{text}");
        }
    }
}
