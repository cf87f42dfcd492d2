//! What an operator says about tokens, and what can be wrong with it. Whoever reads the settings reads key files, too:
//! here they are text.

use std::fmt;

/// Claims with a meaning of their own, none of which can be the role.
const REGISTERED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

/// How tokens are checked.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// The algorithm and its key.
    pub key: JwtKey,
    /// What `aud` has to name. Without it nothing about `aud` is checked.
    pub audience: Option<String>,
    /// What `iss` has to be. Without it nothing about `iss` is checked.
    pub issuer: Option<String>,
    /// In which claim the role is.
    pub role_claim: String,
}

/// What signatures are checked with.
#[derive(Clone)]
pub enum JwtKey {
    /// HMAC with SHA-256, by a secret of at least 32 bytes.
    Hs256(Vec<u8>),
    /// One public key.
    Pem {
        /// What it is for.
        algorithm: PemAlgorithm,
        /// The key, as `PUBLIC KEY` or, for RSA, `RSA PUBLIC KEY`.
        pem: String,
    },
    /// Several public keys, as the JSON of a key set. A token names one by its `kid`; only where the set has a single
    /// usable key, a token may name none. RSA keys are for RS256, P-256 for ES256 and Ed25519 for EdDSA; keys for
    /// anything else are passed over.
    Jwks(String),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hs256(_) => f.write_str("Hs256(…)"),
            Self::Pem { algorithm, .. } => write!(f, "Pem({algorithm:?}, …)"),
            Self::Jwks(_) => f.write_str("Jwks(…)"),
        }
    }
}

/// The algorithms with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemAlgorithm {
    /// RSA (PKCS #1 v1.5) with SHA-256, with at least 2048 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// Why the settings are refused. No message has any part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtSettingsError {
    /// Can be guessed.
    #[error("the secret for tokens has fewer than 32 bytes; use 32 random bytes or more")]
    ShortSecret,
    /// A public key would be a secret that everybody knows.
    #[error("the secret for tokens is a key in PEM; set it as a public key with its algorithm")]
    SecretIsPem,
    /// Signs tokens, and is nothing for whoever only checks them.
    #[error("the key for tokens is a private or a secret key; give the public key")]
    PrivateKey,
    /// Not a key of the kind that the algorithm needs.
    #[error("the key for tokens is not a public key of the algorithm, RSA of 2048 bits or more, P-256 or Ed25519")]
    UnusablePem,
    /// Not a key set.
    #[error("the key set for tokens is not a JSON object with a list named keys")]
    Jwks,
    /// Two keys of one name.
    #[error("the key set for tokens has the same kid twice")]
    JwksDuplicate,
    /// Several keys, of which one cannot be named.
    #[error("the key set for tokens has several usable keys, and one of them has no kid")]
    JwksNameless,
    /// No key that can be used.
    #[error("the key set for tokens has no usable key: RSA of 2048 bits or more, P-256 or Ed25519, for signatures")]
    JwksEmpty,
    /// An empty text is no audience.
    #[error("the audience of tokens is set, but empty")]
    Audience,
    /// An empty text is no issuer.
    #[error("the issuer of tokens is set, but empty")]
    Issuer,
    /// No name, or one that means something else.
    #[error("the claim for the role is empty or one of aud, exp, iat, iss, jti, nbf and sub")]
    RoleClaim,
}

impl JwtSettings {
    /// Refuses expectations that no token could meet, or any could.
    pub(super) fn check_claims(&self) -> Result<(), JwtSettingsError> {
        let is_empty = |setting: &Option<String>| setting.as_deref().is_some_and(|text| text.trim().is_empty());
        if is_empty(&self.audience) {
            return Err(JwtSettingsError::Audience);
        }
        if is_empty(&self.issuer) {
            return Err(JwtSettingsError::Issuer);
        }
        if self.role_claim.is_empty() || REGISTERED.contains(&self.role_claim.as_str()) {
            return Err(JwtSettingsError::RoleClaim);
        }
        Ok(())
    }
}
