//! Who asks, and what that lets them see. Knows nothing of how a caller proves it.

use std::fmt;

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
        Self::new("local")
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
