//! Tokens that somebody else has issued, in the form of JSON Web Tokens. The library only checks signatures; everything
//! else is judged here, by the settings and the time that the caller gives, never by what the token says about itself.
//! Fetches nothing.

mod claims;
mod fault;
mod keys;
mod parts;
mod settings;

pub use claims::Claims;
pub use fault::TokenFault;
pub use settings::{JwtKey, JwtSettings, JwtSettingsError, PemAlgorithm};

use claims::Expected;
use keys::Keys;
use parts::Parts;

/// The most bytes a token may have.
const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// Checks tokens by one operator's settings.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
    expected: Expected,
}

impl Verifier {
    /// The verifier by `settings`, or what is wrong with them.
    pub fn new(settings: JwtSettings) -> Result<Self, JwtSettingsError> {
        settings.check_claims()?;
        let JwtSettings { key, audience, issuer, role_claim } = settings;
        Ok(Self { keys: Keys::new(&key)?, expected: Expected { audience, issuer, role_claim } })
    }

    /// Who `token` speaks for at `now_seconds` since 1970.
    pub fn verify(&self, token: &str, now_seconds: i64) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenFault::TooLong);
        }
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        let key = self.keys.select(header.kid.as_deref()).ok_or(TokenFault::UnknownKey)?;
        if !key.is_for(&header.alg) {
            return Err(TokenFault::Algorithm);
        }
        if !key.verifies(&parts) {
            return Err(TokenFault::BadSignature);
        }
        self.expected.judge(&parts.payload()?, now_seconds)
    }
}
