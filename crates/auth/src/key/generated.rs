//! The keys that the gateway gives out: `gw_IIIIIIII_SSS…SSSCCCCCC`, in all 61 characters.
//!
//! - `gw_` lets scanners for leaked secrets find it.
//! - `I` is the identifier, 8 characters of base 62. It is no secret: stores look a key up by it, logs may show it.
//! - `S` is the secret, 256 random bits as 43 characters of base 62.
//! - `C` is the checksum, the first 4 bytes of the SHA-256 of everything before it as 6 characters of base 62. A mistyped
//!   key is told by it without a look-up. It proves nothing: anybody can make one.
//!
//! Base 62 is the alphabet `0-9A-Za-z` in this order, the highest digit first.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{KeyHash, hash};

const PREFIX: &str = "gw_";
const ID_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;

/// A new key. It can be shown once; what is kept is its hash.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    text: String,
}

impl ApiKey {
    /// The key made of `random` bytes: 8 for the identifier and 32 for the secret.
    pub fn generate(random: &[u8; 40]) -> Self {
        let (id, secret) = random.split_at(8);
        let id = base62(id, ID_LENGTH);
        let body = format!("{PREFIX}{id}_{}", base62(secret, SECRET_LENGTH));
        let text = format!("{body}{}", checksum(&body));
        Self { id, text }
    }

    /// The identifier, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What to keep of it.
    pub fn hash(&self) -> KeyHash {
        hash(&self.text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, …)", self.id)
    }
}

/// A text that has the form of a key. Whether there is such a key, only a store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedKey {
    /// By which a store finds the key.
    pub id: String,
    /// What has to be the same as in the store.
    pub hash: KeyHash,
}

/// What `text` is, or `None` where it is not exactly a key: another length, another character, a wrong checksum.
pub fn parse(text: &str) -> Option<ParsedKey> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if id.len() != ID_LENGTH || secret.len() != SECRET_LENGTH + CHECKSUM_LENGTH {
        return None;
    }
    if !id.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LENGTH)?)?;
    (checksum(body) == sum).then(|| ParsedKey { id: id.to_owned(), hash: hash(text) })
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    base62(digest.first_chunk::<4>().map_or(&[], |first| first.as_slice()), CHECKSUM_LENGTH)
}

/// The lowest `width` digits of the number that `bytes` are, highest byte first.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number: Vec<u32> = bytes.iter().copied().map(u32::from).collect();
    let mut digits: Vec<char> = (0..width).map(|_| digit(divide(&mut number))).collect();
    digits.reverse();
    digits.into_iter().collect()
}

/// Divides a number of base 256 by 62 in place, and gives the remainder.
fn divide(number: &mut [u32]) -> u32 {
    number.iter_mut().fold(0, |rest, byte| {
        let value = rest * 256 + *byte;
        *byte = value / 62;
        value % 62
    })
}

fn digit(value: u32) -> char {
    let code = match value {
        0..=9 => u32::from(b'0') + value,
        10..=35 => u32::from(b'A') + value - 10,
        _ => u32::from(b'a') + value - 36,
    };
    char::from_u32(code).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_the_documented_form() {
        // Computed by another program.
        let lowest = "gw_00000000_00000000000000000000000000000000000000000003DA5Rh";
        let highest = "gw_Ha16AHYF_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp14GeVqH";
        assert_eq!(lowest.len(), 61);
        assert_eq!(ApiKey::generate(&[0; 40]).expose(), lowest);
        assert_eq!(ApiKey::generate(&[255; 40]).expose(), highest);
    }

    #[test]
    fn what_is_nearly_a_key_is_none() {
        let key = ApiKey::generate(&std::array::from_fn(|index| u8::try_from(index).unwrap() * 5 + 1));
        let text = key.expose();
        for bad in [
            String::new(),
            "gw_".to_owned(),
            text.to_lowercase(),
            text.to_uppercase(),
            format!("{text} "),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}\0"),
            text.get(..60).unwrap().to_owned(),
            text.replacen('_', "-", 1),
            format!("gw_{}", "A".repeat(58)),
            format!("gw_{}_{}", "é".repeat(4), "é".repeat(24)),
            "A".repeat(10_240),
        ] {
            assert_eq!(parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_shows_the_secret() {
        let key = ApiKey::generate(&[7; 40]);
        let secret = key.expose().get(12..).unwrap();
        let parsed = parse(key.expose()).unwrap();
        assert!(!format!("{key:?} {parsed:?}").contains(secret));
        assert!(!format!("{key:?} {parsed:?}").contains(&key.hash().to_hex()));
    }

    proptest! {
        #[test]
        fn every_key_reads_back(random in prop::array::uniform32(any::<u8>()), id in any::<u64>()) {
            let mut bytes = [0; 40];
            bytes[..8].copy_from_slice(&id.to_be_bytes());
            bytes[8..].copy_from_slice(&random);
            let key = ApiKey::generate(&bytes);
            let parsed = parse(key.expose()).unwrap();
            prop_assert_eq!(&parsed.id, key.id());
            prop_assert_eq!(parsed.hash, key.hash());
        }

        #[test]
        fn one_wrong_character_is_told(random in prop::array::uniform32(any::<u8>()), at in 0usize..61, with in "[0-9A-Za-z]") {
            let mut bytes = [9; 40];
            bytes[8..].copy_from_slice(&random);
            let mut text = ApiKey::generate(&bytes).expose().to_owned();
            prop_assume!(text.get(at..=at) != Some(with.as_str()));
            text.replace_range(at..=at, &with);
            prop_assert_eq!(parse(&text), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            prop_assert_eq!(parse(&text), None);
        }
    }
}
