//! Tokens that were not signed as they should be, or are not quite tokens.

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_auth::jwt::{PemAlgorithm, TokenFault as F};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use crate::issuer::{EC, ED, HEADER, NOW, RSA, SECRET, base64, claims, hs256, pem_verifier, sign, verifier};

fn fault(token: &str) -> Option<F> {
    verifier().verify(token, NOW).err()
}

fn good() -> String {
    hs256(HEADER, &claims(json!({})))
}

#[test]
fn no_other_algorithm_than_the_pinned_one() {
    let payload = claims(json!({}));
    for alg in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "HS256 ", "HS256\0"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        assert_eq!(fault(&hs256(&header, &payload)), Some(F::Algorithm), "{alg:?}");
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let key = EncodingKey::from_secret(SECRET);
        let honest = sign(&json!({"alg": name}).to_string(), &payload, algorithm, &key);
        assert_eq!(fault(&honest), Some(F::Algorithm));
        assert_eq!(fault(&sign(HEADER, &payload, algorithm, &key)), Some(F::BadSignature));
    }
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":1}"#] {
        assert_eq!(fault(&hs256(header, &payload)), Some(F::Malformed), "{header}");
    }
}

#[test]
fn an_unsigned_token_in_every_form() {
    let payload = base64(claims(json!({})));
    let none = base64(r#"{"alg":"none"}"#);
    assert_eq!(fault(&format!("{none}.{payload}.")), Some(F::Malformed));
    assert_eq!(fault(&format!("{none}.{payload}")), Some(F::Malformed));
    assert_eq!(fault(&format!("{none}.{payload}.AA")), Some(F::Algorithm));
    assert_eq!(fault(&format!("{}.{payload}.", base64(HEADER))), Some(F::Malformed));
    assert_eq!(fault(&format!("{}.{payload}.AA", base64(HEADER))), Some(F::BadSignature));
}

#[test]
fn a_public_key_is_no_secret() {
    let payload = claims(json!({}));
    for (algorithm, key) in [(PemAlgorithm::Rs256, &*RSA), (PemAlgorithm::Es256, &*EC), (PemAlgorithm::EdDsa, &*ED)] {
        let verifier = pem_verifier(algorithm, key);
        let pem = key.public_key_pem();
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), der.as_slice(), key.public_key_raw()] {
            let forged = sign(HEADER, &payload, Algorithm::HS256, &EncodingKey::from_secret(secret));
            assert_eq!(verifier.verify(&forged, NOW).err(), Some(F::Algorithm));
        }
        for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":"EdDSA"}"#, r#"{"alg":"none"}"#] {
            let forged = sign(header, &payload, Algorithm::HS256, &EncodingKey::from_secret(pem.as_bytes()));
            let fault = verifier.verify(&forged, NOW).unwrap_err();
            assert!(matches!(fault, F::Algorithm | F::BadSignature), "{header} {fault:?}");
        }
    }
}

#[test]
fn other_secrets_and_other_signatures() {
    let payload = claims(json!({}));
    for secret in [b"".as_slice(), b"0", &SECRET[1..], &[0; 32], b"0123456789ABCDEF0123456789abcdef"] {
        let forged = sign(HEADER, &payload, Algorithm::HS256, &EncodingKey::from_secret(secret));
        assert_eq!(fault(&forged), Some(F::BadSignature));
    }
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        signature.get(1..).unwrap(),
        signature.get(..42).unwrap(),
        "AAAA",
        "=",
        "%%%%",
        &format!("{signature}="),
        &format!("{signature}A"),
    ] {
        assert_eq!(fault(&format!("{message}.{bad}")), Some(F::BadSignature), "{bad}");
    }
    let (header, _) = message.split_once('.').unwrap();
    let swapped = format!("{header}.{}.{signature}", base64(claims(json!({"role": "admin"}))));
    assert_eq!(fault(&swapped), Some(F::BadSignature));
    let ecdsa = pem_verifier(PemAlgorithm::Es256, &EC);
    let zeros = format!("{}.{}.{}", base64(r#"{"alg":"ES256"}"#), base64(&payload), base64([0; 64]));
    assert_eq!(ecdsa.verify(&zeros, NOW).err(), Some(F::BadSignature));
}

#[test]
fn no_other_number_of_parts() {
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a",
        message,
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good}.{signature}"),
        &format!("{message}..{signature}"),
        &format!("{}.{good}", base64(HEADER)),
    ] {
        assert_eq!(fault(bad), Some(F::Malformed), "{bad}");
    }
    for bad in
        [format!(" {good}"), format!("Bearer {good}"), good.replacen("ey", "ey\n", 1), good.replacen("ey", "éy", 1)]
    {
        assert_eq!(fault(&bad), Some(F::Malformed), "{bad}");
    }
    assert_eq!(fault(&format!("{good} ")), Some(F::BadSignature));
}

#[test]
fn parts_are_objects_without_a_name_twice() {
    let payload = claims(json!({}));
    for header in
        ["", "null", "[]", "1", "\"HS256\"", "{", "{\"alg\":\"HS256\"} x", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}"]
    {
        assert_eq!(fault(&hs256(header, &payload)), Some(F::Malformed), "{header}");
    }
    for payload in ["null", "[]", "1", "{", "x", "\u{feff}{}", "{\"sub\":\"a\",\"sub\":\"b\"}", &"[".repeat(4000)] {
        assert_eq!(fault(&hs256(HEADER, payload)), Some(F::Malformed), "{payload:.20}");
    }
    let twice = claims(json!({})).replacen('{', "{\"role\":\"admin\",", 1);
    assert_eq!(fault(&hs256(HEADER, &twice)), Some(F::Malformed));
    let padded = format!("{}==.{}", base64(HEADER), base64(&payload));
    assert_eq!(fault(&format!("{padded}.AAAA")), Some(F::Malformed));
}

#[test]
fn headers_that_bring_a_key_or_say_where_one_is() {
    let payload = claims(json!({}));
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("file:///etc/passwd")),
        ("jwk", json!({"kty": "oct", "k": base64(SECRET)})),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("typ", json!("logout+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("")),
    ] {
        let mut header = json!({"alg": "HS256"});
        header[name] = value;
        assert_eq!(fault(&hs256(&header.to_string(), &payload)), Some(F::Header), "{header}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        assert_eq!(fault(&hs256(&json!({"alg": "HS256", "typ": kind}).to_string(), &payload)), None, "{kind}");
    }
    assert_eq!(fault(&hs256(r#"{"alg":"HS256","typ":1}"#, &payload)), Some(F::Malformed));
}

#[test]
fn names_of_keys_that_are_tries() {
    let payload = claims(json!({}));
    for kid in [
        "../../etc/passwd",
        "/dev/null",
        "..",
        "keys/../../x",
        "https://evil.example/key",
        "//evil.example",
        "' OR 1=1 --",
        "x'; DROP TABLE keys; --",
        "a\0b",
        "a\nb",
        "a|b",
        "$(id)",
        "",
        "é",
        &"k".repeat(129),
    ] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        assert_eq!(fault(&hs256(&header, &payload)), Some(F::UnknownKey), "{kid:?}");
    }
    for kid in ["2024-01", "abc/DEF+1=", "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg"] {
        assert_eq!(fault(&hs256(&json!({"alg": "HS256", "kid": kid}).to_string(), &payload)), None, "{kid}");
    }
    assert_eq!(fault(&hs256(r#"{"alg":"HS256","kid":["a"]}"#, &payload)), Some(F::Malformed));
}

#[test]
fn long_tokens_are_not_looked_at() {
    let long = |length: usize| hs256(HEADER, &claims(json!({"pad": "x".repeat(length)})));
    assert_eq!(fault(&long(5_000)), None);
    assert_eq!(fault(&long(8_000)), Some(F::TooLong));
    assert_eq!(fault(&long(1_000_000)), Some(F::TooLong));
    assert_eq!(fault(&".".repeat(1_000_000)), Some(F::TooLong));
    assert_eq!(fault(&".".repeat(8_192)), Some(F::Malformed));
}

#[test]
fn no_fault_repeats_the_token() {
    let faults = [
        fault(&hs256(HEADER, &claims(json!({"sub": "canary\n"})))),
        fault(&hs256(r#"{"alg":"canary"}"#, &claims(json!({})))),
        fault(&hs256(r#"{"alg":"HS256","kid":"canary '"}"#, &claims(json!({})))),
        fault("canary.canary.canary"),
    ];
    for fault in faults {
        let fault = fault.unwrap();
        assert!(!format!("{fault} {fault:?} {}", fault.class()).contains("canary"), "{fault:?}");
    }
}
