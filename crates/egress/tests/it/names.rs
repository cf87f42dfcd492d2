//! Names whose addresses change, mix, are too many, fail or never come: nothing inner is ever connected to.

use std::{io, net::IpAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use gateway_egress::{CheckError, Client, Lookup, SendError, SystemLookup};

use crate::server::{LONG, Receiver, client, client_at, ips, policy};

const REFUSED: SendError = SendError::Refused(CheckError::Address);

async fn post(client: &Client, url: &str) -> Result<u16, SendError> {
    client.post(url, &[], Bytes::from_static(b"{}"), LONG).await.map(|answer| answer.status)
}

async fn get(client: &Client, url: &str) -> Result<(), SendError> {
    client.get(url, 1000, LONG).await.map(|_download| ())
}

#[tokio::test]
async fn a_name_that_turns_private_after_the_check_is_not_dialled() {
    turn_private(200).await;
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask soak"]
async fn names_that_turn_private_ten_thousand_times_are_never_dialled() {
    turn_private(10_000).await;
}

async fn turn_private(rounds: usize) {
    let mut inner = Receiver::witness().await;
    let allow = format!("*:{}", inner.port);
    for round in 0..rounds {
        let (client, asked) = client(&allow, |nth| Some(Ok(ips(if nth == 0 { &["8.8.8.8"] } else { &["127.0.0.1"] }))));
        let url = inner.url(&format!("rebind{round}.example.com"));
        assert_eq!(client.check(&url).await, Ok(()));
        assert_eq!(post(&client, &url).await, Err(REFUSED));
        assert_eq!(get(&client, &url).await, Err(REFUSED));
        assert_eq!(client.check(&url).await, Ok(()), "the first verdict is kept for a while");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
    assert_eq!(inner.connections().await, 0);
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_enough_to_refuse() {
    let mut many: Vec<String> = (0..999).map(|n| format!("8.8.{}.{}", n / 250, n % 250)).collect();
    many.push("127.0.0.1".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mixed: [&[&str]; 9] = [
        &["127.0.0.1"],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["8.8.8.8", "::1"],
        &["8.8.8.8", "::ffff:127.0.0.1"],
        &["2001:4860:4860::8888", "::127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
        &many,
    ];
    let mut inner = Receiver::witness().await;
    for addresses in mixed {
        let client = client_at(&format!("*:{0},*.example.org:{0}", inner.port), addresses);
        for host in ["a.example.com", "a.example.org"] {
            let url = inner.url(host);
            assert_eq!(client.check(&url).await, Err(CheckError::Address), "{addresses:?}");
            assert_eq!(post(&client, &url).await, Err(REFUSED), "{addresses:?}");
            assert_eq!(get(&client, &url).await, Err(REFUSED), "{addresses:?}");
        }
    }
    assert_eq!(inner.connections().await, 0);
}

#[tokio::test]
async fn a_host_that_is_named_on_another_port_is_not_named() {
    let mut inner = Receiver::witness().await;
    let client = client_at(&format!("*:{},hooks.example.com", inner.port), &["127.0.0.1"]);
    assert_eq!(post(&client, &inner.url("hooks.example.com")).await, Err(REFUSED));
    assert_eq!(inner.connections().await, 0);
}

#[tokio::test]
async fn link_local_addresses_are_refused_even_where_the_host_is_named() {
    for address in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
        let client = client_at("metadata.google.internal", &["127.0.0.1", address]);
        let url = "http://metadata.google.internal/computeMetadata/v1/";
        assert_eq!(client.check(url).await, Err(CheckError::Address));
        assert_eq!(post(&client, url).await, Err(REFUSED));
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_a_failed_delivery_but_no_refusal() {
    for resolves in [true, false] {
        let answer = move |_nth| Some(if resolves { Ok(Vec::new()) } else { Err(io::Error::other("NXDOMAIN")) });
        for allow in ["*", "gone.example.com"] {
            let (client, _asked) = client(allow, answer);
            assert_eq!(client.check("http://gone.example.com/").await, Ok(()));
            assert_eq!(post(&client, "http://gone.example.com/").await, Err(SendError::Dns));
            assert_eq!(get(&client, "https://gone.example.com/").await, Err(SendError::Dns));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_never_answers_is_given_up() {
    let (client, _asked) = client("*", |_nth| None);
    let url = "http://slow.example.com/";
    assert_eq!(client.check(url).await, Ok(()));
    assert_eq!(post(&client, url).await, Err(SendError::Dns));
    let hurried = client.post(url, &[], Bytes::new(), Duration::from_secs(1)).await;
    assert_eq!(hurried, Err(SendError::Timeout));
}

#[tokio::test]
async fn what_is_refused_says_no_address_and_no_path() {
    let client = client_at("*", &["10.11.12.13"]);
    let error = post(&client, "http://hooks.example.com/T0KEN?key=S3CRET").await.unwrap_err();
    for shown in [error.to_string(), format!("{error:?}"), format!("{client:?}")] {
        assert!(!["10.11", "T0KEN", "S3CRET"].iter().any(|inner| shown.contains(inner)), "{shown}");
    }
    assert_eq!(error.class(), "refused");
}

#[tokio::test]
async fn the_system_finds_this_machine() {
    let found = SystemLookup::default().lookup("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    let mut inner = Receiver::witness().await;
    let client = Client::system(policy(&format!("localhost:{}", inner.port))).unwrap();
    assert_eq!(post(&client, &inner.url("localhost")).await, Ok(200));
    assert_eq!(inner.connections().await, 1);
}
