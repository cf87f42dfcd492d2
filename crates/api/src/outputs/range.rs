//! The `Range` header (RFC 9110, section 14). Pure.

use gateway_storage::ByteRange;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All: no header, one that is not understood, or several ranges (an answer in parts helps nobody here).
    Whole,
    /// One part.
    Part(ByteRange),
    /// A part that is not there.
    Nothing,
}

/// Reads `header` for an output of `size` bytes.
pub(super) fn parse(header: &str, size: u64) -> Wanted {
    let Some(range) = header.trim().strip_prefix("bytes=").filter(|ranges| !ranges.contains(',')) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Wanted::Whole;
    };
    // What is too large for a number lies beyond every end.
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| Some(text).filter(digits).map(|text| text.parse::<u64>().unwrap_or(u64::MAX));
    match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (true, _, false, Some(length)) => {
            let length = length.min(size);
            if length == 0 { Wanted::Nothing } else { Wanted::Part(ByteRange { start: size - length, length }) }
        }
        (false, Some(start), true, _) if start < size => Wanted::Part(ByteRange { start, length: size - start }),
        (false, Some(start), false, Some(end)) if start <= end && start < size => {
            Wanted::Part(ByteRange { start, length: end.min(size - 1) - start + 1 })
        }
        (false, Some(_), _, _) => Wanted::Nothing,
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, length: u64) -> Wanted {
        Wanted::Part(ByteRange { start, length })
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (header, wanted) in [
            ("", Wanted::Whole),
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 10)),
            ("bytes=3-5", part(3, 3)),
            ("bytes=3-500", part(3, 7)),
            ("bytes=-1", part(9, 1)),
            ("bytes=-500", part(0, 10)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::Nothing),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-20", Wanted::Nothing),
            ("bytes=99999999999999999999-", Wanted::Nothing),
            ("bytes=0-99999999999999999999", part(0, 10)),
            ("bytes=-99999999999999999999", part(0, 10)),
            ("bytes=0-,0-,0-", Wanted::Whole),
            ("bytes=x-y", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(parse(header, 10), wanted, "{header}");
        }
        assert_eq!(parse("bytes=0-0", 0), Wanted::Nothing);
        assert_eq!(parse("bytes=-1", 0), Wanted::Nothing);
    }
}
