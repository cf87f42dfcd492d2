//! Where a request comes from: from whoever is connected, unless a proxy that is trusted says better.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway};
use reqwest::Method;
use serde_json::json;

use super::{Shown, get, guarded, key, nothing, offline, refused};

/// So few requests an address may send.
const FEW: usize = 3;
/// So many it tries to.
const MANY: usize = 9;

/// How a gateway begins that counts, and trusts these proxies.
fn counting(proxies: &str) -> TestBuilder {
    guarded()
        .variable("RATE_LIMIT_MAX", FEW.to_string())
        .variable("RATE_LIMIT_WINDOW_MS", "3600000")
        .variable("TRUSTED_PROXIES", proxies)
}

/// How many of [`MANY`] requests without credentials are let in.
async fn admitted(test: &TestGateway, ask: impl Fn(usize) -> Shown) -> usize {
    let mut admitted = 0;
    for number in 0..MANY {
        let answer = get(test, &ask(number), "/capabilities").await;
        if answer.status == 200 {
            admitted += 1;
        } else {
            refused(&answer, ErrorCode::RateLimited);
        }
    }
    admitted
}

/// What all kinds of proxies write, with another address for each number.
fn spoofed(number: usize) -> [Shown; 8] {
    let address = format!("203.0.113.{number}");
    [
        nothing().at(&address),
        nothing().at(&format!("{address}, {address}")),
        nothing().at(&address).at(&format!("198.51.100.{number}")),
        nothing().and("forwarded", format!("for={address};proto=https;by=127.0.0.1")),
        nothing().and("x-real-ip", &address),
        nothing().and("true-client-ip", &address).and("cf-connecting-ip", &address),
        nothing().and("x-client-ip", &address).and("x-forwarded", &address).and("via", &address),
        nothing().and("x-forwarded-host", &address).and("x-cluster-client-ip", &address),
    ]
}

#[tokio::test]
async fn without_a_trusted_proxy_nothing_that_a_request_says_of_its_address_counts() {
    for proxies in ["", "10.0.0.0/8, 2001:db8::/32", "127.0.0.2"] {
        let test = counting(proxies).start_unready().await;
        let mut let_in = 0;
        for number in 0..MANY {
            for shown in spoofed(number) {
                let_in += usize::from(get(&test, &shown, "/capabilities").await.status == 200);
            }
        }
        assert_eq!(let_in, FEW, "{proxies:?}");
    }
}

#[tokio::test]
async fn behind_one_proxy_the_address_that_it_wrote_counts_and_none_before_it() {
    let test = counting("127.0.0.1").start_unready().await;
    assert_eq!(admitted(&test, |number| nothing().at(&format!("10.1.0.{number}"))).await, MANY);
    assert_eq!(admitted(&test, |number| nothing().at(&format!("10.9.0.{number}, 10.2.0.1"))).await, FEW);
    assert_eq!(admitted(&test, |number| nothing().at(&format!("127.0.0.{number},10.2.0.2:443"))).await, FEW);
    assert_eq!(admitted(&test, |number| nothing().at(&format!("10.9.0.{number}")).at("10.2.0.3")).await, FEW);
    assert_eq!(admitted(&test, |number| nothing().at(&format!(" 10.2.0.4:{number} "))).await, FEW);
    // What the proxy did not write is as if it were not there: these all come from the proxy itself.
    let other = |number: usize| match number % 4 {
        0 => nothing().and("x-real-ip", format!("10.3.0.{number}")),
        1 => nothing().and("forwarded", format!("for=10.3.0.{number}")),
        2 => nothing().at(&format!("10.3.0.{number}, unknown")),
        _ => nothing().at(""),
    };
    assert_eq!(admitted(&test, other).await, FEW);
}

#[tokio::test]
async fn behind_two_proxies_the_list_is_walked_from_the_right_as_far_as_it_is_trusted() {
    let test = counting("127.0.0.1, 10.0.0.0/24").start_unready().await;
    assert_eq!(admitted(&test, |number| nothing().at(&format!("192.0.2.{number}, 10.0.0.7"))).await, MANY);
    let walked = |number: usize| nothing().at(&format!("192.0.2.{number}, 198.51.100.1, 10.0.0.{number}"));
    assert_eq!(admitted(&test, walked).await, FEW);
    let lines = |number: usize| nothing().at(&format!("192.0.2.{number}")).at("198.51.100.2,10.0.0.7").at("10.0.0.8");
    assert_eq!(admitted(&test, lines).await, FEW);
    // The outer proxy was passed by: the inner one has seen the caller itself.
    assert_eq!(
        admitted(&test, |number| nothing().at(&format!("10.0.0.7, 198.51.100.3, 192.0.3.{number}"))).await,
        MANY
    );
    // It ends where somebody wrote what is no address.
    assert_eq!(admitted(&test, |number| nothing().at(&format!("192.0.2.{number}, x, 10.0.0.9"))).await, FEW);
}

#[tokio::test]
async fn a_network_of_64_bits_is_one_caller_however_it_is_written() {
    let test = counting("127.0.0.1").start_unready().await;
    let written = |number: usize| match number % 4 {
        0 => format!("2001:db8:0:1::{number:x}"),
        1 => format!("[2001:DB8:0:1:ffff::{number:x}]"),
        2 => format!("[2001:db8::1:0:0:{number:x}:1]:443"),
        _ => format!("2001:0db8:0000:0001:{number:x}::"),
    };
    assert_eq!(admitted(&test, |number| nothing().at(&written(number))).await, FEW);
    assert_eq!(admitted(&test, |number| nothing().at(&format!("2001:db8:0:{:x}::1", number + 2))).await, MANY);
    let mapped = |number: usize| match number % 2 {
        0 => nothing().at("192.0.2.1"),
        _ => nothing().at("::ffff:192.0.2.1"),
    };
    assert_eq!(admitted(&test, mapped).await, FEW);
    for walk in 0..200 {
        let answer = get(&test, &nothing().at(&format!("2001:db8:0:1:{walk:x}::")), "/capabilities").await;
        refused(&answer, ErrorCode::RateLimited);
    }
}

#[tokio::test]
async fn wrong_credentials_are_counted_by_the_true_address_too() {
    for (proxies, forged) in [("", "203.0.113."), ("127.0.0.1", "198.51.100.1, 10.8.0.1, 192.0.2.")] {
        let test = offline(guarded().variable("TRUSTED_PROXIES", proxies)).await;
        let own = |number: usize| key("wrong").at(&format!("{forged}{number}"));
        let mut refusals = 0;
        for number in 0..24 {
            refusals += usize::from(get(&test, &own(number), "/jobs").await.status == 429);
        }
        // With a proxy each is another caller; without one all are the same.
        assert_eq!(refusals, if proxies.is_empty() { 4 } else { 0 }, "{proxies:?}");
        let log = test.send(Method::GET, "/audit?action=login.failed&limit=100", None).await;
        if proxies.is_empty() {
            refused(&log, ErrorCode::RateLimited);
        } else {
            assert_eq!(log.json()["items"][0]["address"], json!("192.0.2.23"));
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_address_that_is_connected_is_counted_for_itself() {
    let test = counting("").start_unready().await;
    for last in 1..=3 {
        let local = std::net::IpAddr::from([127, 0, 0, last]);
        let client = reqwest::Client::builder().local_address(local).timeout(gateway_testkit::DEADLINE);
        let client = client.build().expect("a client");
        let mut statuses = Vec::new();
        for _ in 0..MANY {
            let sent = client.get(test.url("/capabilities")).send().await.expect("an answer");
            statuses.push(sent.status().as_u16());
        }
        assert_eq!(statuses, [vec![200_u16; FEW], vec![429; MANY - FEW]].concat(), "{local}");
    }
}
