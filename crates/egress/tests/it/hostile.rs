//! URLs that try to mean something else than they seem to, and ones that only look like it.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use gateway_egress::{CheckError, Policy, SendError, UrlRefusal, check_url};

use crate::{
    server::{client, policy},
    tables::{INNER, MALFORMED},
};

/// As generous as a list can be without naming a host.
const GENEROUS: &str = "*,*:8080,*.example.com,*.example.com:8443";

#[test]
fn malformed_urls_are_refused_even_where_everything_is_named() {
    let everything = "*,*:8080,hooks.example.com,evil.com,example.com,127.0.0.1,0.0.0.0,8.8.8.8,[::1],[::],localhost,\
                      receiver,b\u{75}cher.example.com,xn--bcher-kva.example.com";
    for list in [GENEROUS, everything] {
        for url in MALFORMED {
            let verdict = check_url(url, &policy(list));
            assert!(verdict.is_err(), "{url:?} became {:?}", verdict.map(|url| url.url().to_string()));
        }
    }
    assert!(MALFORMED.len() + INNER.len() > 250, "{}", MALFORMED.len() + INNER.len());
}

#[test]
fn inner_hosts_are_refused_unless_they_are_named() {
    for host in INNER {
        for port in ["", ":443", ":8080"] {
            let url = format!("http://{host}{port}/");
            assert!(check_url(&url, &policy(GENEROUS)).is_err(), "{url}");
        }
    }
    for host in ["127.0.0.1", "10.0.0.1", "[::1]", "[fd00::5]", "localhost", "x.localhost", "receiver"] {
        let url = check_url(&format!("http://{host}/"), &policy(host)).unwrap();
        assert!(url.is_named(), "{host}");
    }
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
        let refused = check_url(&format!("http://{host}/"), &policy(host)).unwrap_err();
        assert_eq!(refused, UrlRefusal::PrivateHost, "{host}");
    }
}

#[tokio::test]
async fn accepting_sending_and_fetching_judge_alike_and_look_nothing_up() {
    let (client, asked) = client(GENEROUS, |_nth| Some(Ok(vec![])));
    let inner = INNER.iter().map(|host| format!("https://{host}/"));
    for url in MALFORMED.iter().map(|url| (*url).to_owned()).chain(inner) {
        let refusal = CheckError::Url(check_url(&url, &policy(GENEROUS)).unwrap_err());
        assert_eq!(client.check(&url).await, Err(refusal), "{url:?}");
        let limit = Duration::from_secs(30);
        assert_eq!(client.post(&url, &[], Bytes::new(), limit).await, Err(SendError::Refused(refusal)), "{url:?}");
        assert_eq!(client.get(&url, 1, limit).await.unwrap_err(), SendError::Refused(refusal), "{url:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let list = "hooks.example.com,*.example.org,10.0.0.5:8080";
    for (url, refusal) in [
        (format!("https://hooks.example.com/{}", "a".repeat(2048)), UrlRefusal::TooLong),
        ("https://hooks.example.com/a b".to_owned(), UrlRefusal::Whitespace),
        ("https://hooks.example.com\\".to_owned(), UrlRefusal::Backslash),
        ("ftp://hooks.example.com/".to_owned(), UrlRefusal::Scheme),
        ("https://u:secret@hooks.example.com/".to_owned(), UrlRefusal::Userinfo),
        ("https://hooks.example.com:70000/".to_owned(), UrlRefusal::Unreadable),
        ("https://hooks%2eexample.com/".to_owned(), UrlRefusal::HostSpelling),
        ("https://0x0a000005:8080/".to_owned(), UrlRefusal::HostSpelling),
        ("https://a..example.org/".to_owned(), UrlRefusal::InvalidHost),
        (format!("https://{}.example.org/", "a".repeat(64)), UrlRefusal::InvalidHost),
        (format!("https://{}example.org/", "a.".repeat(122)), UrlRefusal::InvalidHost),
        ("https://evil.com/".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://evil.com#.hooks.example.com".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://evil.com?.hooks.example.com".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://hooks.example.com.evil.com/".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://example.org/".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://badexample.org/".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://8.8.8.8/".to_owned(), UrlRefusal::HostNotAllowed),
        ("https://hooks.example.com:8188/".to_owned(), UrlRefusal::PortNotAllowed),
        ("https://hooks.example.com:0/".to_owned(), UrlRefusal::PortNotAllowed),
        ("https://10.0.0.5/".to_owned(), UrlRefusal::PortNotAllowed),
        ("https://10.0.0.6/".to_owned(), UrlRefusal::PrivateHost),
        ("http://a.example.org/".to_owned(), UrlRefusal::HttpsRequired),
    ] {
        let strict = Policy { require_https: true, ..policy(list) };
        assert_eq!(check_url(&url, &strict), Err(refusal), "{url}");
        assert!(!refusal.to_string().contains("secret"));
    }
    assert!(check_url("https://hooks.example.com/", &Policy::default()).is_err());
}

#[test]
fn honest_urls_pass_in_normal_form() {
    let list = "*,*:8080,hooks.example.com,10.0.0.5:8080,8.8.8.8,[2001:4860:4860::8888]";
    for (url, sent, named) in [
        ("https://hooks.example.com", "https://hooks.example.com/", true),
        ("HTTPS://Hooks.Example.COM:443/A?b=c#d", "https://hooks.example.com/A?b=c", true),
        ("http://hooks.example.com./x", "http://hooks.example.com/x", true),
        ("https://a.b.example.org:8080/x", "https://a.b.example.org:8080/x", false),
        ("https://a_b.example.org./@x:y/?z=http://[::1]", "https://a_b.example.org/@x:y/?z=http://[::1]", false),
        ("https://example.org?x@y", "https://example.org/?x@y", false),
        ("https://b\u{fc}cher.example/", "https://xn--bcher-kva.example/", false),
        ("https://B\u{dc}CHER.example./", "https://xn--bcher-kva.example/", false),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", false),
        ("https://fa\u{df}.example/", "https://xn--fa-hia.example/", false),
        ("https://example.org/\u{fc}%20%0a", "https://example.org/%C3%BC%20%0a", false),
        ("http://10.0.0.5:8080/", "http://10.0.0.5:8080/", true),
        ("http://8.8.8.8/", "http://8.8.8.8/", true),
        ("http://[2001:4860:4860:0::8888]/", "http://[2001:4860:4860::8888]/", true),
    ] {
        let checked = check_url(url, &policy(list)).unwrap_or_else(|refusal| panic!("{url}: {refusal}"));
        assert_eq!((checked.url().as_str(), checked.is_named()), (sent, named), "{url}");
        assert!(!format!("{checked:?}").contains("b=c"));
    }
    let longest = format!("https://example.org/{}", "a".repeat(2048 - 20));
    assert!(check_url(&longest, &policy(list)).is_ok());
}
