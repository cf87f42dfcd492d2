//! Why a token is refused: words for logs and metrics. Callers learn only that it was.

/// What is wrong with a token. No message has any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// Over the limit, and not looked at.
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// Not three parts of JSON, JSON and a signature, or a name twice in one of them.
    #[error("the token is malformed")]
    Malformed,
    /// A header that brings or names a key, or asks for something that is not done here.
    #[error("the token's header has a field that is not accepted")]
    Header,
    /// Not the algorithm that the settings pin.
    #[error("the token has another algorithm than the settings")]
    Algorithm,
    /// No key of that identifier.
    #[error("the token names no key of the settings")]
    UnknownKey,
    /// Not signed with the key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Over.
    #[error("the token has expired")]
    Expired,
    /// To be used later, or issued in the future.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// Valid for longer than tokens may be.
    #[error("the token is valid for more than 30 days")]
    LivesTooLong,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// From somebody else.
    #[error("the token is from another issuer")]
    Issuer,
    /// A role that the gateway does not have.
    #[error("the token's role is neither admin nor user")]
    Role,
    /// Missing, of another type or out of range.
    #[error("the token's claim {0} is missing or not usable")]
    Claim(&'static str),
}

impl TokenFault {
    /// One word for logs and metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Role => "role",
            Self::Claim(_) => "claim",
        }
    }
}
