//! The form in which keys are kept. Plain SHA-256 is enough: a key has 256 random bits, so nobody can try them all.

use std::fmt;

use gateway_core::hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 hash of the whole text of a key.
#[derive(Clone)]
pub struct KeyHash([u8; 32]);

/// The hash of `key`.
pub fn hash(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.as_bytes()).into())
}

impl KeyHash {
    /// The hash that a store has as `text` of 64 lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// The text for a store.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// In a time that does not depend on how nearly they are the same.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_usual_one_and_that_of_its_key_alone() {
        let abc = hash("abc");
        assert_eq!(abc.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(abc, hash("abc"));
        for other in ["", "ab", "abcd", "ABC", "abc ", "abc\0"] {
            assert_ne!(abc, hash(other), "{other:?}");
        }
        assert_eq!(KeyHash::from_hex(&abc.to_hex()), Some(abc.clone()));
        assert_eq!(KeyHash::from_hex(&abc.to_hex().to_uppercase()), None);
        assert_eq!(format!("{abc:?}"), "KeyHash(…)");
    }
}
