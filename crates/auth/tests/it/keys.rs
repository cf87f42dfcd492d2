//! The keys of the settings: what each kind accepts, and what is refused before any token comes.

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_auth::jwt::{JwtKey, JwtSettingsError as E, PemAlgorithm, TokenFault as F, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::issuer::{EC, ED, NOW, RSA, SECRET, claims, jwk, pem_verifier, settings, sign};

fn signed(header: Value, algorithm: Algorithm, key: &KeyPair) -> String {
    let pem = key.serialize_pem();
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_ed_pem(pem.as_bytes()),
    };
    sign(&header.to_string(), &claims(json!({})), algorithm, &key.unwrap())
}

fn refusal(key: JwtKey) -> Option<E> {
    Verifier::new(settings(key)).err()
}

fn set(keys: Value) -> JwtKey {
    JwtKey::Jwks(json!({ "keys": keys }).to_string())
}

#[test]
fn each_public_key_accepts_its_own_tokens_only() {
    let kinds = [
        (PemAlgorithm::Rs256, Algorithm::RS256, "RS256", &*RSA),
        (PemAlgorithm::Es256, Algorithm::ES256, "ES256", &*EC),
        (PemAlgorithm::EdDsa, Algorithm::EdDSA, "EdDSA", &*ED),
    ];
    for (pem, ..) in &kinds {
        for (other, algorithm, name, key) in &kinds {
            let own = kinds.iter().find(|(kind, ..)| kind == pem).unwrap().3;
            let answer = pem_verifier(*pem, own).verify(&signed(json!({"alg": name}), *algorithm, key), NOW);
            let expected = if pem == other { None } else { Some(F::Algorithm) };
            assert_eq!(answer.err(), expected, "{pem:?} {name}");
        }
    }
    let stranger = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let forged = signed(json!({"alg": "EdDSA"}), Algorithm::EdDSA, &stranger);
    assert_eq!(pem_verifier(PemAlgorithm::EdDsa, &ED).verify(&forged, NOW).err(), Some(F::BadSignature));
    let renamed = signed(json!({"alg": "Ed25519"}), Algorithm::EdDSA, &ED);
    assert!(pem_verifier(PemAlgorithm::EdDsa, &ED).verify(&renamed, NOW).is_ok());
}

#[test]
fn a_name_chooses_in_a_key_set_and_the_algorithm_is_the_keys() {
    let verifier = Verifier::new(settings(set(json!([jwk(Some("ec"), &EC), jwk(Some("ed"), &ED)])))).unwrap();
    let check = |header: Value, algorithm, key: &KeyPair| verifier.verify(&signed(header, algorithm, key), NOW).err();
    assert_eq!(check(json!({"alg": "ES256", "kid": "ec"}), Algorithm::ES256, &EC), None);
    assert_eq!(check(json!({"alg": "EdDSA", "kid": "ed"}), Algorithm::EdDSA, &ED), None);
    assert_eq!(check(json!({"alg": "ES256", "kid": "ed"}), Algorithm::ES256, &EC), Some(F::Algorithm));
    assert_eq!(check(json!({"alg": "EdDSA", "kid": "ed"}), Algorithm::ES256, &EC), Some(F::BadSignature));
    assert_eq!(check(json!({"alg": "ES256"}), Algorithm::ES256, &EC), Some(F::UnknownKey));
    for kid in ["", "EC", "ec ", "../ec", "https://evil.example/ec", "ec' OR '1'='1", "0", "null"] {
        assert_eq!(check(json!({"alg": "ES256", "kid": kid}), Algorithm::ES256, &EC), Some(F::UnknownKey), "{kid}");
    }
}

#[test]
fn a_set_of_one_key_needs_no_name() {
    for kid in [None, Some("ec")] {
        let verifier = Verifier::new(settings(set(json!([jwk(kid, &EC)])))).unwrap();
        assert!(verifier.verify(&signed(json!({"alg": "ES256"}), Algorithm::ES256, &EC), NOW).is_ok());
        let named = signed(json!({"alg": "ES256", "kid": "x"}), Algorithm::ES256, &EC);
        assert_eq!(verifier.verify(&named, NOW).err(), Some(F::UnknownKey));
    }
}

#[test]
fn rsa_keys_in_a_set() {
    let (n, e) = rsa_numbers();
    let good = json!({"kty": "RSA", "kid": "r", "n": n, "e": e, "alg": "RS256", "key_ops": ["verify"]});
    let verifier = Verifier::new(settings(set(json!([good])))).unwrap();
    assert!(verifier.verify(&signed(json!({"alg": "RS256", "kid": "r"}), Algorithm::RS256, &RSA), NOW).is_ok());
    let short = json!({"kty": "RSA", "n": n.get(..171).unwrap(), "e": e});
    assert_eq!(refusal(set(json!([short]))), Some(E::JwksEmpty));
}

fn rsa_numbers() -> (String, String) {
    let key = EncodingKey::from_rsa_pem(RSA.serialize_pem().as_bytes()).unwrap();
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
    let jwk = serde_json::to_value(&jwk).unwrap();
    (jwk["n"].as_str().unwrap().to_owned(), jwk["e"].as_str().unwrap().to_owned())
}

#[test]
fn key_sets_that_are_refused_or_partly_passed_over() {
    assert_eq!(refusal(JwtKey::Jwks("x".to_owned())), Some(E::Jwks));
    assert_eq!(refusal(JwtKey::Jwks("[]".to_owned())), Some(E::Jwks));
    assert_eq!(refusal(JwtKey::Jwks("{\"keys\":{}}".to_owned())), Some(E::Jwks));
    assert_eq!(refusal(set(json!([]))), Some(E::JwksEmpty));
    assert_eq!(refusal(set(json!([{"kty": "oct", "k": "AAAA"}]))), Some(E::PrivateKey));
    let with = |name: &str, value: Value| {
        let mut key = jwk(Some("ec"), &EC);
        key[name] = value;
        key
    };
    assert_eq!(refusal(set(json!([with("d", json!("AAAA"))]))), Some(E::PrivateKey));
    assert_eq!(refusal(set(json!([jwk(Some("a"), &EC), jwk(Some("a"), &ED)]))), Some(E::JwksDuplicate));
    assert_eq!(refusal(set(json!([jwk(None, &EC), jwk(Some("a"), &ED)]))), Some(E::JwksNameless));
    let unusable = [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES384")),
        with("alg", json!(1)),
        with("crv", json!("P-384")),
        with("kty", json!("XX")),
        with("x", json!("AAAA")),
        with("x", json!("not base64!")),
        json!(null),
        json!("x"),
        json!({}),
    ];
    for key in unusable {
        assert_eq!(refusal(set(json!([key]))), Some(E::JwksEmpty), "{key}");
        assert_eq!(refusal(set(json!([key, jwk(Some("ed"), &ED)]))), None, "{key}");
    }
}

#[test]
fn secrets_and_pem_that_are_refused() {
    for secret in [b"".as_slice(), b"x", &SECRET[1..]] {
        assert_eq!(refusal(JwtKey::Hs256(secret.to_vec())), Some(E::ShortSecret));
    }
    assert_eq!(refusal(JwtKey::Hs256(RSA.public_key_pem().into_bytes())), Some(E::SecretIsPem));
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for algorithm in [PemAlgorithm::Rs256, PemAlgorithm::Es256, PemAlgorithm::EdDsa] {
        for key in [&*RSA, &*EC, &*ED] {
            assert_eq!(refusal(JwtKey::Pem { algorithm, pem: key.serialize_pem() }), Some(E::PrivateKey));
        }
        for pem in ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &p384.public_key_pem()] {
            assert_eq!(refusal(JwtKey::Pem { algorithm, pem: pem.to_owned() }), Some(E::UnusablePem), "{pem}");
        }
    }
    for (algorithm, key) in [(PemAlgorithm::Rs256, &*EC), (PemAlgorithm::Es256, &*ED), (PemAlgorithm::EdDsa, &*RSA)] {
        assert_eq!(refusal(JwtKey::Pem { algorithm, pem: key.public_key_pem() }), Some(E::UnusablePem));
    }
}

#[test]
fn rsa_keys_of_1024_bits_are_refused() {
    // A sequence of the modulus and the exponent 65537.
    let der = [&[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00][..], &[0xd5; 128], &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(der));
    assert_eq!(refusal(JwtKey::Pem { algorithm: PemAlgorithm::Rs256, pem }), Some(E::UnusablePem));
}

#[test]
fn expectations_that_are_refused() {
    let with = |audience: Option<&str>, issuer: Option<&str>, role: &str| {
        let mut settings = settings(JwtKey::Hs256(SECRET.to_vec()));
        settings.audience = audience.map(str::to_owned);
        settings.issuer = issuer.map(str::to_owned);
        settings.role_claim = role.to_owned();
        Verifier::new(settings).err()
    };
    assert_eq!(with(None, None, "role"), None);
    assert_eq!(with(Some(""), None, "role"), Some(E::Audience));
    assert_eq!(with(None, Some(" "), "role"), Some(E::Issuer));
    for role in ["", "sub", "exp", "aud", "iss"] {
        assert_eq!(with(None, None, role), Some(E::RoleClaim), "{role}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let settings = settings(JwtKey::Hs256(SECRET.to_vec()));
    let shown = format!("{settings:?} {:?}", Verifier::new(settings.clone()).unwrap());
    assert!(!shown.contains("0123456789") && !shown.contains("48, 49"), "{shown}");
}
