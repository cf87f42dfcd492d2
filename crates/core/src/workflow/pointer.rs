//! JSON pointers (RFC 6901) for faults: where in the request body something is wrong.
//! Builds text only; it never follows a pointer.

/// A pointer made of unescaped segments.
pub(super) fn pointer(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    }
    path
}

/// Where the node `id` stands in the body.
pub(super) fn node_path(id: &str) -> String {
    pointer(&["workflow", id])
}

/// Where the input `input` of the node `id` stands in the body.
pub(super) fn input_path(id: &str, input: &str) -> String {
    pointer(&["workflow", id, "inputs", input])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_tildes_in_segments_are_escaped() {
        assert_eq!(input_path("a/b", "c~d"), "/workflow/a~1b/inputs/c~0d");
    }
}
