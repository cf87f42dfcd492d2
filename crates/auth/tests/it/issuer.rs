//! An issuer of tokens: makes keys, signs anything, in any form.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_auth::jwt::{JwtKey, JwtSettings, PemAlgorithm, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::KeyPair;
use serde_json::{Map, Value, json};

pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

pub(crate) static RSA: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
pub(crate) static EC: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
pub(crate) static ED: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs the two parts as they are.
pub(crate) fn sign(header: &str, payload: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn hs256(header: &str, payload: &str) -> String {
    sign(header, payload, Algorithm::HS256, &EncodingKey::from_secret(SECRET))
}

pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Good claims with `changes` over them; a null takes a claim away.
pub(crate) fn claims(changes: Value) -> String {
    let mut claims = json!({
        "sub": "alice", "exp": NOW + 600, "iat": NOW - 60, "nbf": NOW - 60,
        "iss": "https://issuer.example", "aud": "gateway", "role": "user",
    });
    let fields: &mut Map<String, Value> = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    claims.to_string()
}

pub(crate) fn settings(key: JwtKey) -> JwtSettings {
    JwtSettings {
        key,
        audience: Some("gateway".to_owned()),
        issuer: Some("https://issuer.example".to_owned()),
        role_claim: "role".to_owned(),
    }
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(settings(JwtKey::Hs256(SECRET.to_vec()))).unwrap()
}

pub(crate) fn pem_verifier(algorithm: PemAlgorithm, key: &KeyPair) -> Verifier {
    Verifier::new(settings(JwtKey::Pem { algorithm, pem: key.public_key_pem() })).unwrap()
}

/// A public key of P-256 or Ed25519 as an entry of a key set.
pub(crate) fn jwk(kid: Option<&str>, key: &KeyPair) -> Value {
    let raw = key.public_key_raw();
    let mut jwk = match raw.len() {
        65 => json!({"kty": "EC", "crv": "P-256", "x": base64(&raw[1..33]), "y": base64(&raw[33..])}),
        32 => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(raw), "alg": "EdDSA", "use": "sig"}),
        _ => panic!("no such key"),
    };
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}
