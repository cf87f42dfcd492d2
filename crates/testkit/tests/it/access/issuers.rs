//! Tokens that an issuer has signed with a private key. The keys in `issuer/` were made by OpenSSL, and so were the tokens:
//! good until the year 2100, and nobody has the private keys any more.

use std::path::{Path, PathBuf};

use gateway_core::ErrorCode;
use gateway_testkit::TestBuilder;
use serde_json::{Value, json};

use super::{bearer, get, hs256, offline, proxied, refused, somewhere, text};

/// Tokens for the user `alice` by the name of their algorithm, and some that are not quite as they should be.
const TOKENS: &str = include_str!("issuer/tokens.json");
const RS256: &str = include_str!("issuer/rs256.pem");
const ES256: &str = include_str!("issuer/es256.pem");
const EDDSA: &str = include_str!("issuer/eddsa.pem");
const JWKS: &str = include_str!("issuer/jwks.json");
const ALGORITHMS: [(&str, &str); 3] = [("RS256", RS256), ("ES256", ES256), ("EdDSA", EDDSA)];

/// How a gateway begins that takes tokens of that issuer.
fn trusting(name: &'static str, value: impl Into<String>) -> TestBuilder {
    let builder = proxied().variable("JWT_AUDIENCE", "gateway").variable("JWT_ISSUER", "https://issuer.example");
    builder.variable(name, value)
}

/// The path of a file beside this one.
fn beside(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/access/issuer")).join(name)
}

fn tokens() -> Value {
    serde_json::from_str(TOKENS).expect("JSON")
}

/// The claims of all of them.
fn claims() -> String {
    json!({"sub": "alice", "exp": 4_102_444_800_u64, "aud": "gateway", "iss": "https://issuer.example", "role": "admin"})
        .to_string()
}

/// Which of the tokens are taken.
async fn taken(builder: TestBuilder) -> Vec<String> {
    let test = offline(builder).await;
    let mut taken = Vec::new();
    for (number, (name, token)) in tokens().as_object().expect("an object").iter().enumerate() {
        let shown = bearer(token.as_str().expect("a token")).at(&somewhere(number));
        match get(&test, &shown, "/jobs").await {
            answer if answer.status == 200 => taken.push(name.clone()),
            answer => refused(&answer, ErrorCode::AuthFailed),
        }
    }
    taken
}

#[tokio::test]
async fn a_public_key_takes_the_tokens_of_its_own_algorithm_alone() {
    // A single key needs no name: `nameless` and `misnamed` are signed with it all the same.
    let own = [vec!["RS256"], vec!["ES256", "nameless", "misnamed", "admin"], vec!["EdDSA"]];
    for ((algorithm, pem), own) in ALGORITHMS.into_iter().zip(own) {
        let file = beside(&format!("{}.pem", algorithm.to_lowercase())).display().to_string();
        for value in [pem.to_owned(), pem.replace('\n', "\\n"), file] {
            assert_eq!(taken(trusting("JWT_PUBLIC_KEY", value).variable("JWT_ALGORITHM", algorithm)).await, own);
        }
    }
}

#[tokio::test]
async fn a_key_set_takes_what_is_signed_by_the_key_that_it_names() {
    let builder = || trusting("JWT_JWKS_FILE", beside("jwks.json").display().to_string());
    assert_eq!(taken(builder()).await, ["RS256", "ES256", "EdDSA", "admin"]);
    let test = offline(builder()).await;
    let admin = bearer(&text(&tokens(), "/admin"));
    let _keys = get(&test, &admin, "/keys").await.expect(200);
    refused(&get(&test, &bearer(&text(&tokens(), "/RS256")), "/keys").await, ErrorCode::Forbidden);
    for (number, (name, _)) in ALGORITHMS.into_iter().enumerate() {
        let token = text(&tokens(), &format!("/{name}"));
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let (head, claims) = message.split_once('.').expect("a token");
        let admin = text(&tokens(), "/admin");
        let others = admin.split('.').nth(1).expect("claims");
        for (step, bad) in [
            format!("{head}.{others}.{signature}"),
            format!("{head}.{claims}.{}", signature.chars().rev().collect::<String>()),
            format!("{head}.{claims}.{}", "A".repeat(signature.len())),
            format!("{message}."),
        ]
        .iter()
        .enumerate()
        {
            let shown = bearer(bad).at(&somewhere(10 * number + step));
            refused(&get(&test, &shown, "/jobs").await, ErrorCode::AuthFailed);
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    for (algorithm, pem) in ALGORITHMS {
        let test = offline(trusting("JWT_PUBLIC_KEY", pem).variable("JWT_ALGORITHM", algorithm)).await;
        let mut number = 0;
        for secret in [pem, pem.trim_end(), &pem.replace('\n', ""), &pem.replace('\n', "\r\n"), JWKS, "", algorithm] {
            for alg in ["HS256", algorithm, "none"] {
                number += 1;
                let forged = hs256(&json!({"alg": alg, "typ": "JWT"}).to_string(), &claims(), secret.as_bytes());
                let answer = get(&test, &bearer(&forged).at(&somewhere(number)), "/jobs").await;
                refused(&answer, ErrorCode::AuthFailed);
            }
        }
    }
}

#[tokio::test]
async fn for_another_audience_or_from_another_issuer_a_token_is_not_taken() {
    for (name, value) in [("JWT_AUDIENCE", "another"), ("JWT_ISSUER", "https://another.example")] {
        let builder = trusting("JWT_JWKS_FILE", beside("jwks.json").display().to_string()).variable(name, value);
        assert_eq!(taken(builder).await, [""; 0], "{name}");
    }
}
