//! Releases of ComfyUI with known holes: what each lets whoever reaches that server do, and which release is without
//! them. Knows no server and asks none: it is given the version that one tells.

use std::fmt;

/// A hole in releases of ComfyUI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Its number in the list of Common Vulnerabilities and Exposures.
    pub id: &'static str,
    /// What it allows.
    pub what: &'static str,
    /// Releases before this one have it.
    before: Release,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.what)
    }
}

/// The three numbers of a release.
type Release = [u32; 3];

/// The first release without any hole in the list: what graphs of callers should run on.
pub const FLOOR: &str = "0.28.0";

const HOLES: [Hole; 5] = [
    Hole {
        id: "CVE-2026-68771",
        what: "a graph with LoadTrainingDataset runs a program that was uploaded as a file",
        before: [0, 23, 1],
    },
    Hole { id: "CVE-2026-56673", what: "nodes that load files read any file of the machine", before: [0, 28, 0] },
    Hole { id: "CVE-2026-56671", what: "previews of models are read from anywhere on the machine", before: [0, 28, 0] },
    Hole { id: "CVE-2026-56670", what: "an SVG that is looked at runs scripts in a browser", before: [0, 28, 0] },
    Hole {
        id: "CVE-2026-56672",
        what: "a file of a user that is looked at runs scripts in a browser",
        before: [0, 28, 0],
    },
];

/// The holes of the release that calls itself `version`; none where that is no number of a release.
pub fn known_holes(version: &str) -> Vec<Hole> {
    let Some(release) = release(version) else { return Vec::new() };
    HOLES.into_iter().filter(|hole| release < hole.before).collect()
}

/// What to tell an operator of a server with this version; `None` where there is nothing to tell. With `raw`, callers
/// may send graphs of their own there.
pub fn warning(version: &str, raw: bool) -> Option<String> {
    let holes = known_holes(version);
    let list: Vec<String> = holes.iter().map(ToString::to_string).collect();
    let more = "; callers may send graphs of their own (ALLOW_RAW_WORKFLOWS), which is not safe on such a server";
    let more = if raw { more } else { "" };
    let list = (!list.is_empty()).then(|| list.join(", "))?;
    Some(format!("ComfyUI {version} has known holes: {list}; update it to {FLOOR} or newer{more}"))
}

/// Reads `0.3.64`, `v0.26` or `0.38.1-dev`; `None` where it does not start with two numbers.
fn release(version: &str) -> Option<Release> {
    let text = version.trim();
    let mut parts = text.strip_prefix(['v', 'V']).unwrap_or(text).split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = leading_number(parts.next()?)?;
    let patch = parts.next().and_then(leading_number).unwrap_or(0);
    Some([major, minor, patch])
}

fn leading_number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(version: &str) -> Vec<&'static str> {
        known_holes(version).into_iter().map(|hole| hole.id).collect()
    }

    #[test]
    fn a_release_has_the_holes_that_were_mended_after_it() {
        for old in ["0.3.40", "v0.3.64", "0.9.2", "0.23.0", " 0.23 ", "0.23.0-5-gabc"] {
            assert_eq!(ids(old).len(), HOLES.len(), "{old}");
        }
        for later in ["0.23.1", "0.24.0", "0.27.9-dev"] {
            assert_eq!(ids(later).len(), HOLES.len() - 1, "{later}");
            assert!(!ids(later).contains(&"CVE-2026-68771"), "{later}");
        }
        for mended in [FLOOR, "0.28", "0.40.0", "1.0.0", "0.100.1"] {
            assert_eq!(ids(mended), [""; 0], "{mended}");
        }
        for unknown in ["", "unknown", "1", "a.b", ".3"] {
            assert_eq!(ids(unknown), [""; 0], "{unknown}");
        }
    }

    #[test]
    fn a_warning_names_the_version_the_holes_and_the_remedy() {
        let told = warning("0.3.64", false).unwrap();
        for part in ["0.3.64", "CVE-2026-68771", "CVE-2026-56673", "update it to 0.28.0"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(
            !told.contains("ALLOW_RAW_WORKFLOWS") && warning("0.3.64", true).unwrap().contains("ALLOW_RAW_WORKFLOWS")
        );
        assert_eq!((warning("0.28.0", true), warning("unknown", true)), (None, None));
    }
}
