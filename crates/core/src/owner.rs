//! Who asks, and what that lets them see. Knows nothing of how a caller proves it.

use std::fmt;

/// The name of [`Owner::local`].
const LOCAL: &str = "local";
/// How the owners of keys without a name start.
const NAMELESS: &str = "key-";
const MAX_KEY_NAME: usize = 64;
/// What [`Owner::named`] takes, for those whose name it refuses; goes on from "must be".
pub const NAMES: &str = "1 to 64 of A-Z, a-z, 0-9, ., _, @ and -, not beginning with key- and not local";

/// The owner of jobs and outputs: one tenant, one key, one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(String);

impl Owner {
    /// The owner named `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The one owner of a gateway that asks nobody for credentials.
    pub fn local() -> Self {
        Self::new(LOCAL)
    }

    /// The owner that a key names; `None` for a name that no key may bear, as it is badly formed or another caller's.
    pub fn named(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        let formed = (1..=MAX_KEY_NAME).contains(&name.len()) && name.bytes().all(plain);
        let free = name != LOCAL && !name.starts_with(NAMELESS);
        (formed && free).then(|| Self::new(name))
    }

    /// The owner that a key without a name has: `mark` tells it from others.
    pub fn nameless(mark: &str) -> Self {
        Self(format!("{NAMELESS}{mark}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Creates jobs; sees and cancels its own.
    User,
}

impl Role {
    /// The name in configuration, tokens and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }

    /// The role named `text`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::User].into_iter().find(|role| role.as_str() == text)
    }
}

/// The rows that a query may touch. Every query that a caller causes takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of everybody: administrators and the gateway itself.
    All,
    /// Those of one owner.
    Owner(Owner),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_named_as_another_caller_is() {
        for good in ["a", "shop", "ci@example.com", "local-1", "Local", "keys", &"n".repeat(64)] {
            assert_eq!(Owner::named(good), Some(Owner::new(good)));
        }
        let others = [Owner::local(), Owner::nameless("01234567"), Owner::new("jwt:alice")];
        for bad in others.iter().map(Owner::as_str).chain(["", "a b", "a:b", "j\u{fc}rgen", &"n".repeat(65)]) {
            assert_eq!(Owner::named(bad), None, "{bad}");
        }
    }
}
