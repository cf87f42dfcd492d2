//! Keys, each with the one algorithm that it is for. A token can choose among them by name and nothing else.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use serde_json::Value;

use super::{JwtKey, JwtSettingsError, PemAlgorithm, parts::Parts};

const MIN_SECRET_LENGTH: usize = 32;
/// The bytes of the modulus of an RSA key of 2048 bits.
const MIN_MODULUS_LENGTH: usize = 256;
/// The bytes of a point on P-256 that is not compressed.
const P256_LENGTH: usize = 65;
const ED25519_LENGTH: usize = 32;
const MAX_KID_LENGTH: usize = 128;

/// The keys of the settings.
pub(super) enum Keys {
    /// One, which has no name.
    One(Key),
    /// Those of a key set.
    Set(Vec<(Option<String>, Key)>),
}

/// A key and its algorithm.
pub(super) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn new(setting: &JwtKey) -> Result<Self, JwtSettingsError> {
        match setting {
            JwtKey::Hs256(secret) => Key::from_secret(secret).map(Self::One),
            JwtKey::Pem { algorithm, pem } => Key::from_pem(*algorithm, pem).map(Self::One),
            JwtKey::Jwks(json) => key_set(json).map(Self::Set),
        }
    }

    /// The key for a token that names `kid`. A name is only compared: it never becomes a path or an address.
    pub(super) fn select(&self, kid: Option<&str>) -> Option<&Key> {
        match self {
            Self::One(key) => kid.is_none_or(is_plain).then_some(key),
            Self::Set(keys) => match (kid, keys.as_slice()) {
                (None, [(_, key)]) => Some(key),
                (None, _) => None,
                (Some(kid), keys) => keys.iter().find(|(name, _)| name.as_deref() == Some(kid)).map(|(_, key)| key),
            },
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(key) => write!(f, "One({:?}, …)", key.algorithm),
            Self::Set(keys) => write!(f, "Set({} keys)", keys.len()),
        }
    }
}

impl Key {
    fn from_secret(secret: &[u8]) -> Result<Self, JwtSettingsError> {
        if secret.len() < MIN_SECRET_LENGTH {
            return Err(JwtSettingsError::ShortSecret);
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(JwtSettingsError::SecretIsPem);
        }
        Ok(Self { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    fn from_pem(algorithm: PemAlgorithm, pem: &str) -> Result<Self, JwtSettingsError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(JwtSettingsError::PrivateKey);
        }
        // Of a certificate the library takes the first bits it finds, which need not be the key.
        if !["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"].iter().any(|begin| pem.contains(begin)) {
            return Err(JwtSettingsError::UnusablePem);
        }
        let (algorithm, key) = match algorithm {
            PemAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(pem.as_bytes())),
            PemAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(pem.as_bytes())),
            PemAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem.as_bytes())),
        };
        key.ok().and_then(|key| Self::checked(algorithm, key)).ok_or(JwtSettingsError::UnusablePem)
    }

    /// A key of a set, or `None` where it is for something else.
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let field = |name: &str| jwk.get(name).and_then(Value::as_str);
        let for_signatures = jwk.get("use").is_none_or(|purpose| purpose == "sig");
        let for_checks = jwk
            .get("key_ops")
            .is_none_or(|list| list.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify")));
        if !for_signatures || !for_checks {
            return None;
        }
        let (algorithm, key) = match (field("kty")?, field("crv")) {
            ("RSA", _) => (Algorithm::RS256, DecodingKey::from_rsa_components(field("n")?, field("e")?)),
            ("EC", Some("P-256")) => (Algorithm::ES256, DecodingKey::from_ec_components(field("x")?, field("y")?)),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_components(field("x")?)),
            _ => return None,
        };
        let key = Self::checked(algorithm, key.ok()?)?;
        jwk.get("alg").is_none_or(|name| name.as_str().is_some_and(|name| key.is_for(name))).then_some(key)
    }

    /// The key, if it is as long as the algorithm wants it.
    fn checked(algorithm: Algorithm, key: DecodingKey) -> Option<Self> {
        let fits = match (algorithm, key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => der.len() > MIN_MODULUS_LENGTH,
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
                n.iter().skip_while(|byte| **byte == 0).count() >= MIN_MODULUS_LENGTH
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == P256_LENGTH,
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == ED25519_LENGTH,
            _ => false,
        };
        fits.then_some(Self { algorithm, key })
    }

    /// Whether a header with `alg` means this key's algorithm.
    pub(super) fn is_for(&self, alg: &str) -> bool {
        match self.algorithm {
            Algorithm::HS256 => alg == "HS256",
            Algorithm::RS256 => alg == "RS256",
            Algorithm::ES256 => alg == "ES256",
            // The second is the newer name of the same.
            Algorithm::EdDSA => alg == "EdDSA" || alg == "Ed25519",
            _ => false,
        }
    }

    /// Whether the token is signed with this key.
    pub(super) fn verifies(&self, parts: &Parts<'_>) -> bool {
        crypto::verify(parts.signature, parts.signed.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }
}

fn key_set(json: &str) -> Result<Vec<(Option<String>, Key)>, JwtSettingsError> {
    let set: Value = serde_json::from_str(json).ok().ok_or(JwtSettingsError::Jwks)?;
    let entries = set.get("keys").and_then(Value::as_array).ok_or(JwtSettingsError::Jwks)?;
    let mut keys: Vec<(Option<String>, Key)> = Vec::new();
    for entry in entries {
        if entry.get("d").is_some() || entry.get("k").is_some() {
            return Err(JwtSettingsError::PrivateKey);
        }
        let Some(key) = Key::from_jwk(entry) else { continue };
        let kid = entry.get("kid").and_then(Value::as_str).map(str::to_owned);
        if kid.is_some() && keys.iter().any(|(other, _)| *other == kid) {
            return Err(JwtSettingsError::JwksDuplicate);
        }
        keys.push((kid, key));
    }
    match keys.as_slice() {
        [] => Err(JwtSettingsError::JwksEmpty),
        [_, _, ..] if keys.iter().any(|(kid, _)| kid.is_none()) => Err(JwtSettingsError::JwksNameless),
        _ => Ok(keys),
    }
}

/// Whether `kid` looks like the name of a key. With a single key it decides nothing, but one that looks like a path, an
/// address or a query is somebody's try.
fn is_plain(kid: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
    (1..=MAX_KID_LENGTH).contains(&kid.len())
        && kid.bytes().all(allowed)
        && !kid.starts_with('/')
        && !kid.contains("..")
        && !kid.contains("//")
}
