//! Lower-case hexadecimal digits, as hashes are written.

use std::fmt::Write;

/// The digits of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The 32 bytes that `text` is, in lower case only, so that one hash has one spelling.
pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>()?;
    bytes.try_into().ok()
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_read_back_and_have_one_spelling() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        let text = encode(&bytes);
        assert_eq!(decode(&text), Some(bytes));
        for bad in ["", "0", "zz", &text.to_uppercase(), text.get(1..).unwrap(), &format!("{text}00"), &"é".repeat(32)]
        {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
