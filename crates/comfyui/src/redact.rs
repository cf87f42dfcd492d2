//! Takes the server's directories out of messages meant for people: `/srv/comfy/input/a.png` becomes `a.png`.
//! Owns the recognition of absolute paths in running text; URLs and relative paths stay.

/// Characters that end a path that stands without quotes.
const ENDS: [char; 14] = ['\'', '"', '`', '<', '>', '|', ',', ';', ':', '(', ')', ']', '}', '*'];

/// Replaces each absolute path of two or more components by its last component.
pub(crate) fn strip_paths(text: &str) -> String {
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
