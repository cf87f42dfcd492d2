//! ComfyUI's version number. Owns its lenient parsing and order; what a version can do is decided in `server_info`.

use std::fmt;

/// A ComfyUI release number, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComfyVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 if absent.
    pub patch: u32,
}

impl ComfyVersion {
    /// First release that takes the caller's `prompt_id`.
    pub const OWN_PROMPT_IDS: Self = Self::new(0, 3, 45);
    /// First release whose `POST /interrupt` takes a `prompt_id`.
    pub const TARGETED_INTERRUPT: Self = Self::new(0, 3, 57);
    /// First release with `POST /api/jobs/{id}/cancel`.
    pub const JOBS_CANCEL: Self = Self::new(0, 26, 0);

    /// A version from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `0.3.64`, `v0.26`, `0.38.1-dev` and the like; `None` if it does not start with two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.strip_prefix(['v', 'V']).unwrap_or(text).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = leading_number(parts.next()?)?;
        let patch = parts.next().and_then(leading_number).unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

impl fmt::Display for ComfyVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently_and_ordered_by_number() {
        let parse = ComfyVersion::parse;
        assert_eq!(parse("0.3.64"), Some(ComfyVersion::new(0, 3, 64)));
        assert_eq!(parse(" v0.26 "), Some(ComfyVersion::new(0, 26, 0)));
        assert_eq!(parse("0.38.1-5-gabc"), Some(ComfyVersion::new(0, 38, 1)));
        assert_eq!(parse("0.40rc1"), Some(ComfyVersion::new(0, 40, 0)));
        assert!(parse("0.3.9") < parse("0.3.10") && parse("0.3.75") < parse("0.26.0"));
        for bad in ["", "unknown", "1", "a.b", ".3", "99999999999.1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
