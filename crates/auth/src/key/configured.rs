//! The keys that an operator writes into the settings, as `key:role` or `key:role:name` with commas between. They are
//! kept as hashes. No error repeats any part of an entry: where two parts are swapped, each of them may be the key.

use gateway_core::owner::NAMES;
use gateway_core::{Owner, Role};

use super::{KeyHash, MAX_KEY_LENGTH, hash};

/// Below this many characters a key can be guessed.
const STRONG_LENGTH: usize = 16;
/// With fewer different characters than this, too.
const STRONG_VARIETY: usize = 5;

/// Why a list of keys is refused. Entries are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyListError {
    /// Not two or three parts.
    #[error("API key {0} is not written as key:role or key:role:name")]
    Form(usize),
    /// A key with characters that no header carries safely, or none, or too many.
    #[error("API key {0} has to be 1 to 512 printable ASCII characters without spaces, commas and colons")]
    Key(usize),
    /// Another role.
    #[error("API key {0} has a role other than admin and user")]
    Role(usize),
    /// A name that cannot be an owner's.
    #[error("the name of API key {0} must be {NAMES}")]
    Name(usize),
    /// The same key twice.
    #[error("API key {0} is the same as API key {1}")]
    Duplicate(usize, usize),
}

/// One of the keys.
#[derive(Debug, Clone)]
pub struct ConfiguredKey {
    /// What its holder may do.
    pub role: Role,
    /// Whose jobs its holder creates. Keys of the same name have the same owner, so that one can replace another.
    pub owner: Owner,
    /// Which entry of the list it is, counted from 1.
    pub entry: usize,
    /// Whether it can be guessed: short, or of very few different characters.
    pub weak: bool,
    hash: KeyHash,
}

impl ConfiguredKey {
    fn read(entry: usize, text: &str) -> Result<Self, KeyListError> {
        let mut parts = text.split(':');
        let (Some(key), Some(role), name, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(KeyListError::Form(entry));
        };
        if key.is_empty() || key.len() > MAX_KEY_LENGTH || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyListError::Key(entry));
        }
        let role = Role::parse(role).ok_or(KeyListError::Role(entry))?;
        let hash = hash(key);
        let owner = match name {
            Some(name) => Owner::named(name).ok_or(KeyListError::Name(entry))?,
            None => nameless(&hash),
        };
        Ok(Self { role, owner, entry, weak: is_weak(key), hash })
    }
}

/// All keys of the settings.
#[derive(Debug, Clone, Default)]
pub struct ConfiguredKeys(Vec<ConfiguredKey>);

impl ConfiguredKeys {
    /// The keys in `text`. White space around entries and empty entries are passed over.
    pub fn parse(text: &str) -> Result<Self, KeyListError> {
        let mut keys: Vec<ConfiguredKey> = Vec::new();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for (index, text) in entries.enumerate() {
            let key = ConfiguredKey::read(index.saturating_add(1), text)?;
            if let Some(first) = keys.iter().find(|other| other.hash == key.hash) {
                return Err(KeyListError::Duplicate(key.entry, first.entry));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The key that `presented` is. Always compares with all of them, each in constant time.
    pub fn find(&self, presented: &str) -> Option<&ConfiguredKey> {
        if presented.len() > MAX_KEY_LENGTH {
            return None;
        }
        let presented = hash(presented);
        self.0.iter().fold(None, |found, key| if key.hash == presented { Some(key) } else { found })
    }

    /// The keys that can be guessed. What follows from it is the caller's decision.
    pub fn weak(&self) -> impl Iterator<Item = &ConfiguredKey> {
        self.0.iter().filter(|key| key.weak)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn nameless(hash: &KeyHash) -> Owner {
    Owner::nameless(&hash.to_hex().chars().take(8).collect::<String>())
}

fn is_weak(key: &str) -> bool {
    let different: std::collections::BTreeSet<u8> = key.bytes().collect();
    key.len() < STRONG_LENGTH || different.len() < STRONG_VARIETY
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef";

    #[test]
    fn entries_have_roles_owners_and_strength() {
        let keys = ConfiguredKeys::parse(&format!(" {LONG}:admin , k2:user:ci@example.com,{LONG}2:user:ci,,")).unwrap();
        assert_eq!(keys.0.len(), 3);
        let found = keys.find(LONG).unwrap();
        assert_eq!((found.role, found.entry, found.weak), (Role::Admin, 1, false));
        assert_eq!(found.owner.as_str(), format!("key-{}", hash(LONG).to_hex().get(..8).unwrap()));
        assert_eq!(keys.find("k2").unwrap().owner.as_str(), "ci@example.com");
        assert_eq!(keys.weak().map(|key| key.entry).collect::<Vec<_>>(), [2]);
        for absent in ["", "k", "K2", "k2 ", " k2", "k2:user", "k2\0", &format!("{LONG}:admin"), &"k".repeat(10_240)] {
            assert!(keys.find(absent).is_none(), "{absent:?}");
        }
    }

    #[test]
    fn no_text_is_no_keys() {
        for text in ["", " ", ",", " , ,"] {
            assert!(ConfiguredKeys::parse(text).unwrap().is_empty(), "{text:?}");
        }
        assert!(ConfiguredKeys::default().find("").is_none());
    }

    #[test]
    fn bad_entries_are_refused_with_a_sentence_that_has_no_key() {
        use KeyListError as E;
        let cases = [
            ("hunter2".to_owned(), E::Form(1)),
            ("hunter2:admin:a:b".to_owned(), E::Form(1)),
            (":admin".to_owned(), E::Key(1)),
            ("hunter2 x:admin".to_owned(), E::Key(1)),
            ("hünter2:admin".to_owned(), E::Key(1)),
            ("hunter2\u{7f}:admin".to_owned(), E::Key(1)),
            (format!("{}:admin", "hunter2".repeat(100)), E::Key(1)),
            ("hunter2:".to_owned(), E::Role(1)),
            ("hunter2:Admin".to_owned(), E::Role(1)),
            ("admin:hunter2".to_owned(), E::Role(1)),
            ("hunter2: user".to_owned(), E::Role(1)),
            ("a:user,hunter2:root".to_owned(), E::Role(2)),
            ("hunter2:user:".to_owned(), E::Name(1)),
            ("hunter2:user:a b".to_owned(), E::Name(1)),
            ("hunter2:user:key-01234567".to_owned(), E::Name(1)),
            ("hunter2:user:local".to_owned(), E::Name(1)),
            ("hunter2:user:jürgen".to_owned(), E::Name(1)),
            (format!("hunter2:user:{}", "n".repeat(65)), E::Name(1)),
            ("hunter2:user,b:user,hunter2:admin:c".to_owned(), E::Duplicate(3, 1)),
        ];
        for (text, expected) in cases {
            let error = ConfiguredKeys::parse(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        let keys = ConfiguredKeys::parse("hunter2hunter2hunter2:admin:ops").unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("ops") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(hash("hunter2hunter2hunter2").to_hex().get(..8).unwrap()), "{shown}");
    }

    #[test]
    fn few_different_characters_are_weak() {
        for (key, weak) in [("a".repeat(40), true), ("abcd".repeat(8), true), ("abcde".repeat(4), false)] {
            assert_eq!(
                ConfiguredKeys::parse(&format!("{key}:user")).unwrap().weak().count(),
                usize::from(weak),
                "{key}"
            );
        }
    }
}
