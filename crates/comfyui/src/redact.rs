//! Takes out of messages meant for people what is the server's own: directories (`/srv/comfy/input/a.png` becomes
//! `a.png`), tracebacks, keys, credentials, addresses. Owns their recognition in running text.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What begins the part of a message that is for the server's developers alone.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// Patterns of secrets and addresses, and what stands in their place.
static SECRETS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}", "$1 [hidden]"),
        (
            r#"(?i)\b([a-z0-9_-]*(?:api[_-]?key|access[_-]?key|\bkey|token|secret|password|passwd|authorization)["']?\s*[:=]\s*["']?)[^\s"',;&)\]}]{4,}"#,
            "$1[hidden]",
        ),
        (r"\b(?:sk-|hf_|gh[pousr]_|xox[abp]-|AKIA)[A-Za-z0-9_-]{6,}", "[hidden]"),
        (r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_.-]+", "[hidden]"),
        (r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@", "$1"),
        (r#"~/(?:[^\s'"/]+/)*([^\s'"/]+)"#, "$1"),
        (r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]{1,5})?\b", "[address]"),
    ]
    .into_iter()
    .filter_map(|(pattern, instead)| Some((Regex::new(pattern).ok()?, instead)))
    .collect()
});

/// `text` without the server's directories, tracebacks, keys, credentials and addresses.
pub(crate) fn clean(text: &str) -> String {
    let text = text.split_once(TRACEBACK).map_or(text, |(before, _)| before).trim_end();
    let mut clean = strip_paths(text);
    for (pattern, instead) in SECRETS.iter() {
        if let Cow::Owned(replaced) = pattern.replace_all(&clean, *instead) {
            clean = replaced;
        }
    }
    clean
}

/// Characters that end a path that stands without quotes.
const ENDS: [char; 14] = ['\'', '"', '`', '<', '>', '|', ',', ';', ':', '(', ')', ']', '}', '*'];

/// Replaces each absolute path of two or more components by its last component.
fn strip_paths(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(next) = rest.chars().next() {
        let (taken, kept) = match path_at(rest, before) {
            Some((length, name)) => (length, name),
            None => (next.len_utf8(), rest.get(..next.len_utf8()).unwrap_or_default()),
        };
        clean.push_str(kept);
        before = kept.chars().next_back().or(before);
        rest = rest.get(taken..).unwrap_or_default();
    }
    clean
}

/// Length of the path that starts here, and its last component.
fn path_at(rest: &str, before: Option<char>) -> Option<(usize, &str)> {
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '\\' | '.' | '_' | '-' | '~')) {
        return None;
    }
    let root = root_length(rest)?;
    let body = rest.get(root..)?;
    let quoted = before.filter(|c| matches!(c, '\'' | '"' | '`')).and_then(|quote| body.find(quote));
    let bare = || body.find(|c: char| c.is_whitespace() || ENDS.contains(&c)).unwrap_or(body.len());
    let end = quoted.filter(|end| body.get(..*end).is_some_and(|inner| !inner.contains('\n'))).unwrap_or_else(bare);
    let path = body.get(..end)?;
    let mut components = path.split(['/', '\\']).filter(|part| !part.is_empty());
    let last = components.next_back()?;
    let has_drive = rest.starts_with(|c: char| c.is_ascii_alphabetic());
    (has_drive || components.next().is_some()).then_some((root + end, last))
}

/// Length of what makes a path absolute: `/`, `C:\`, `C:/` or `\\`.
fn root_length(rest: &str) -> Option<usize> {
    let mut chars = rest.chars();
    match (chars.next()?, chars.next(), chars.next()) {
        ('/', Some(next), _) => (next != '/').then_some(1),
        ('\\', Some('\\'), _) => Some(2),
        (drive, Some(':'), Some('\\' | '/')) if drive.is_ascii_alphabetic() => {
            // "s://" belongs to a URL with a one-letter scheme at best.
            (!rest.get(1..)?.starts_with("://")).then_some(3)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn absolute_paths_shrink_to_their_last_component() {
        for (text, clean) in [
            ("cannot identify image file '/comfyui/input/broken.png'", "cannot identify image file 'broken.png'"),
            ("open '/srv/my models/a b.ckpt' failed", "open 'a b.ckpt' failed"),
            ("File \"/opt/x/nodes.py\", line 3", "File \"nodes.py\", line 3"),
            ("[Errno 2] No such file: /home/ann/a.txt: gone", "[Errno 2] No such file: a.txt: gone"),
            (r"cannot open 'C:\ComfyUI\input\a.png'", "cannot open 'a.png'"),
            (r"cannot open C:\\ComfyUI\\input\\a.png now", "cannot open a.png now"),
            (r"share \\nas\models\x.pt missing", "share x.pt missing"),
            ("D:/models/x.safetensors", "x.safetensors"),
            ("path=/a/b", "path=b"),
        ] {
            assert_eq!(strip_paths(text), clean, "{text}");
        }
    }

    #[test]
    fn urls_ratios_relative_paths_and_single_names_stay() {
        for text in [
            "see https://example.com/a/b for help",
            "at http://10.0.0.1:8188/prompt/x",
            "1/2 and a/b/c and 16:9",
            "models/checkpoints/x.safetensors",
            "a / b / c",
            "either/or, /prompt and //",
            "don't stop at 5 / 7",
            "größe 3/4 ✓",
        ] {
            assert_eq!(strip_paths(text), text);
        }
    }

    #[test]
    fn keys_credentials_addresses_and_tracebacks_are_hidden() {
        for (text, shown) in [
            ("Authorization: Bearer eyJhbGciOi.abc.def", "Authorization: [hidden] [hidden]"),
            ("got api_key=abcdef123, retry", "got api_key=[hidden], retry"),
            ("key=sk-123456789", "key=[hidden]"),
            ("use sk-123456789 or hf_abcdefgh", "use [hidden] or [hidden]"),
            ("token ghp_0123456789abcdef refused", "token [hidden] refused"),
            ("AKIAIOSFODNN7EXAMPLE", "[hidden]"),
            ("password: hunter2", "password: [hidden]"),
            (r#"{"secret": "abcd1234"}"#, r#"{"secret": "[hidden]"}"#),
            ("see https://u:p@host/x", "see https://host/x"),
            ("open ~/models/y.txt", "open y.txt"),
            ("no route to 10.0.0.5:8188", "no route to [address]"),
            ("boom\nTraceback (most recent call last):\n  File \"b.py\", line 1", "boom"),
        ] {
            assert_eq!(clean(text), shown, "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for text in [
            "Token indices sequence length is longer than 77",
            "mat1 and mat2 shapes cannot be multiplied (77x2048 and 768x320)",
            "torch 2.5.1 on CUDA 12.4",
            "KeyError: 'x'",
            "missing key(s) in state_dict",
        ] {
            assert_eq!(clean(text), text);
        }
        assert_eq!(SECRETS.len(), 7, "each pattern can be read");
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_never_grows(text in ".*") {
            prop_assert!(strip_paths(&text).len() <= text.len());
        }

        #[test]
        fn directories_never_remain(folder in "[a-z]{12}", name in "[a-z]{1,8}\\.png", quote in "['\" (]") {
            let text = format!("x {quote}/{folder}/sub/{name}");
            let clean = strip_paths(&text);
            prop_assert!(!clean.contains(&folder) && clean.ends_with(&name), "{}", clean);
        }
    }
}
