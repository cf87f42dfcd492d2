//! What the claims may say, in tokens that are signed as they should be.

use gateway_auth::jwt::{JwtKey, TokenFault as F, Verifier};
use gateway_core::Role;
use serde_json::{Value, json};

use crate::issuer::{HEADER, NOW, SECRET, claims, hs256, settings, verifier};

fn refused(changes: Value, fault: F) {
    let answer = verifier().verify(&hs256(HEADER, &claims(changes.clone())), NOW);
    assert_eq!(answer.map(|_| ()), Err(fault), "{changes}");
}

fn accepted(changes: Value) {
    let answer = verifier().verify(&hs256(HEADER, &claims(changes.clone())), NOW);
    assert!(answer.is_ok(), "{changes}: {answer:?}");
}

#[test]
fn a_good_token_tells_who_it_speaks_for() {
    let found = verifier().verify(&hs256(HEADER, &claims(json!({}))), NOW).unwrap();
    assert_eq!((found.owner.as_str(), found.role), ("jwt:alice", Role::User));
}

#[test]
fn required_claims_have_to_be_there() {
    for name in ["exp", "sub", "aud", "iss"] {
        refused(json!({name: null}), F::Claim(name));
    }
    for name in ["iat", "nbf", "role"] {
        accepted(json!({name: null}));
    }
}

#[test]
fn times_have_thirty_seconds_of_leeway_and_no_more() {
    accepted(json!({"exp": NOW - 29}));
    refused(json!({"exp": NOW - 30}), F::Expired);
    refused(json!({"exp": NOW - 31}), F::Expired);
    refused(json!({"exp": 0}), F::Expired);
    accepted(json!({"nbf": NOW + 29}));
    accepted(json!({"nbf": NOW + 30}));
    refused(json!({"nbf": NOW + 31}), F::NotYetValid);
    accepted(json!({"iat": NOW + 30}));
    refused(json!({"iat": NOW + 31}), F::NotYetValid);
    refused(json!({"iat": NOW + 31_536_000, "exp": NOW + 31_536_600}), F::NotYetValid);
}

#[test]
fn a_token_that_says_when_it_began_lives_for_thirty_days_at_most() {
    const MONTH: i64 = 30 * 86_400;
    accepted(json!({"iat": NOW, "exp": NOW + MONTH}));
    refused(json!({"iat": NOW, "exp": NOW + MONTH + 1}), F::LivesTooLong);
    accepted(json!({"iat": null, "exp": NOW + 10 * MONTH}));
}

#[test]
fn times_are_numbers_that_can_be_times() {
    accepted(json!({"exp": 1_700_000_000.5}));
    for bad in
        [json!("1700000600"), json!(-1), json!(1e300), json!(u64::MAX), json!(i64::MAX), json!(true), json!([NOW])]
    {
        for name in ["exp", "nbf", "iat"] {
            refused(json!({name: bad}), F::Claim(name));
        }
    }
    let null = claims(json!({"exp": 1})).replace("\"exp\":1", "\"exp\":null");
    assert_eq!(verifier().verify(&hs256(HEADER, &null), NOW).map(|_| ()), Err(F::Claim("exp")));
    let infinite = claims(json!({"exp": 1})).replace("\"exp\":1", "\"exp\":1e999");
    assert_eq!(verifier().verify(&hs256(HEADER, &infinite), NOW).map(|_| ()), Err(F::Malformed));
}

#[test]
fn the_audience_is_ours_among_eight_at_most() {
    let with_ours = |others: usize| {
        let mut list: Vec<String> = (0..others).map(|index| (index % 10).to_string()).collect();
        list.push("gateway".to_owned());
        json!({"aud": list})
    };
    accepted(with_ours(0));
    accepted(with_ours(7));
    refused(with_ours(8), F::Claim("aud"));
    refused(with_ours(999), F::Claim("aud"));
    refused(json!({"aud": []}), F::Audience);
    for other in ["", "Gateway", "gateway ", "gateway2", "gatewa"] {
        refused(json!({"aud": other}), F::Audience);
        refused(json!({"aud": [other]}), F::Audience);
    }
    refused(json!({"aud": [["gateway"]]}), F::Claim("aud"));
    refused(json!({"aud": ["gateway", 1]}), F::Claim("aud"));
    refused(json!({"aud": {"gateway": true}}), F::Claim("aud"));
    refused(json!({"aud": 1}), F::Claim("aud"));
}

#[test]
fn the_issuer_is_exactly_ours() {
    for other in ["", "https://issuer.example/", "HTTPS://issuer.example", "https://issuer.example.evil"] {
        refused(json!({"iss": other}), F::Issuer);
    }
    refused(json!({"iss": ["https://issuer.example"]}), F::Claim("iss"));
}

#[test]
fn without_expectations_audience_and_issuer_do_not_matter() {
    let mut loose = settings(JwtKey::Hs256(SECRET.to_vec()));
    (loose.audience, loose.issuer) = (None, None);
    let loose = Verifier::new(loose).unwrap();
    for changes in [json!({"aud": null, "iss": null}), json!({"aud": "x", "iss": "y"})] {
        assert!(loose.verify(&hs256(HEADER, &claims(changes)), NOW).is_ok());
    }
}

#[test]
fn subjects_are_printable_ascii_of_a_bounded_length() {
    for good in ["a", "auth0|5f7c", "CN=Jo Doe,OU=x", "key-01234567", "local", &"s".repeat(128)] {
        let found = verifier().verify(&hs256(HEADER, &claims(json!({"sub": good}))), NOW).unwrap();
        assert_eq!(found.owner.as_str(), format!("jwt:{good}"));
    }
    for bad in [
        "",
        " ",
        " a",
        "a ",
        "a\n",
        "a\0b",
        "a\u{7f}",
        "jürgen",
        "ju\u{308}rgen",
        "\u{430}dmin",
        "a\u{202e}b",
        "a\u{200b}",
        "😀",
        &"s".repeat(129),
    ] {
        refused(json!({"sub": bad}), F::Claim("sub"));
    }
    for bad in [json!(1), json!(["a"]), json!({"a": 1}), json!(true)] {
        refused(json!({"sub": bad}), F::Claim("sub"));
    }
}

#[test]
fn roles_are_admin_and_user_and_nothing_else() {
    for (role, expected) in [
        (json!(null), Role::User),
        (json!("user"), Role::User),
        (json!("admin"), Role::Admin),
        (json!(["user"]), Role::User),
        (json!(["offline_access", "user"]), Role::User),
        (json!(["user", "admin"]), Role::Admin),
    ] {
        let found = verifier().verify(&hs256(HEADER, &claims(json!({"role": role}))), NOW).unwrap();
        assert_eq!(found.role, expected, "{role}");
    }
    let many: Vec<&str> = std::iter::repeat_n("user", 65).collect();
    for role in [
        json!(""),
        json!("Admin"),
        json!("ADMIN"),
        json!("admin "),
        json!("admin,user"),
        json!("root"),
        json!([]),
        json!(["root"]),
        json!(["admin", 1]),
        json!([["admin"]]),
        json!({"admin": true}),
        json!(true),
        json!(0),
        json!(many),
    ] {
        refused(json!({"role": role}), F::Role);
    }
    let null = claims(json!({})).replace("\"role\":\"user\"", "\"role\":null");
    assert_eq!(verifier().verify(&hs256(HEADER, &null), NOW).map(|_| ()), Err(F::Role));
}

#[test]
fn the_role_is_read_from_the_claim_of_the_settings_alone() {
    let mut other = settings(JwtKey::Hs256(SECRET.to_vec()));
    other.role_claim = "https://gateway.example/role".to_owned();
    let other = Verifier::new(other).unwrap();
    let role = |changes: Value| other.verify(&hs256(HEADER, &claims(changes)), NOW).unwrap().role;
    assert_eq!(role(json!({"role": "admin"})), Role::User);
    assert_eq!(role(json!({"https://gateway.example/role": "admin"})), Role::Admin);
}
