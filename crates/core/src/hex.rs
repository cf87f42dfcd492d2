//! Bytes as lower-case hexadecimal digits, as hashes are written, kept and compared: one hash has one spelling.

use data_encoding::HEXLOWER;

/// The digits of `bytes`.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// The `N` bytes that `text` is; `None` where it has another length, or is spelt otherwise.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_read_back_and_have_one_spelling() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        let text = encode(bytes);
        assert!(text.starts_with("00070e15") && text.len() == 64, "{text}");
        assert_eq!(decode(&text), Some(bytes));
        for bad in ["", "0", "zz", &text.to_uppercase(), text.get(1..).unwrap(), &format!("{text}00"), &"é".repeat(32)]
        {
            assert_eq!(decode::<32>(bad), None, "{bad}");
        }
    }
}
