//! Headers that callers and proxies write, and which address comes out.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted(text: &str) -> TrustedProxies {
    TrustedProxies::parse(text).unwrap()
}

#[test]
fn without_trusted_proxies_the_header_is_not_believed() {
    for header in ["", "1.2.3.4", "127.0.0.1", "unknown", "192.0.2.9"] {
        assert_eq!(TrustedProxies::default().client(ip("192.0.2.9"), &[header]), ip("192.0.2.9"), "{header}");
    }
    // A peer that is not one of them is not believed either.
    assert_eq!(trusted("10.0.0.0/8").client(ip("192.0.2.9"), &["1.2.3.4"]), ip("192.0.2.9"));
}

#[test]
fn the_walk_ends_at_the_first_address_that_is_not_trusted() {
    let proxies = trusted("10.0.0.0/8, 2001:db8:ff::1,::1");
    let cases: &[(&str, &[&str], &str)] = &[
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["6.6.6.6, 8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["6.6.6.6", "8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["8.8.8.8, 10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", &["6.6.6.6,8.8.8.8,10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", &["6.6.6.6,8.8.8.8", "10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", &["10.9.9.9,8.8.8.8,10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", &["127.0.0.1, 8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::1", &["2001:db8::5"], "2001:db8::5"),
        ("2001:db8:ff::1", &["8.8.8.8, ::1"], "8.8.8.8"),
        ("::ffff:10.0.0.1", &["8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["::ffff:8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", &["8.8.8.8, ::ffff:10.0.0.2"], "8.8.8.8"),
        ("::ffff:192.0.2.9", &["8.8.8.8"], "192.0.2.9"),
    ];
    for (peer, headers, expected) in cases {
        assert_eq!(proxies.client(ip(peer), headers), ip(expected), "{peer} {headers:?}");
    }
}

#[test]
fn entries_may_have_ports_brackets_and_spaces() {
    let proxies = trusted("10.0.0.1");
    for (entry, expected) in [
        ("8.8.8.8:1234", "8.8.8.8"),
        (" \t8.8.8.8 \t", "8.8.8.8"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("2001:DB8::5", "2001:db8::5"),
        ("[::ffff:8.8.8.8]:1", "8.8.8.8"),
    ] {
        assert_eq!(proxies.client(ip("10.0.0.1"), &[entry]), ip(expected), "{entry}");
    }
}

#[test]
fn garbage_ends_the_walk_at_the_last_good_address() {
    let proxies = trusted("10.0.0.0/8");
    for garbage in [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "8.8.8",
        "08.8.8.8",
        "8.8.8.8:",
        "8.8.8.8:99999",
        "8.8.8.8 6.6.6.6",
        "8.8.8.8/32",
        "134744072",
        "0x8.8.8.8",
        "[8.8.8.8]",
        "[::1",
        "fe80::1%eth0",
        "[fe80::1%1]:80",
        "\"8.8.8.8\"",
        "for=8.8.8.8",
        "8.8.8.8\0",
        "８.8.8.8",
        "8.8.8.8;",
    ] {
        let header = format!("6.6.6.6,{garbage},10.0.0.2");
        assert_eq!(proxies.client(ip("10.0.0.1"), &[&header]), ip("10.0.0.2"), "{garbage:?}");
        assert_eq!(proxies.client(ip("10.0.0.1"), &["6.6.6.6", garbage]), ip("10.0.0.1"), "{garbage:?}");
    }
}

#[test]
fn ten_thousand_entries_change_nothing() {
    let proxies = trusted("10.0.0.0/8");
    let spoof = format!("{}8.8.8.8", "6.6.6.6,".repeat(10_000));
    assert_eq!(proxies.client(ip("10.0.0.1"), &[&spoof]), ip("8.8.8.8"));
    let many: Vec<&str> = std::iter::repeat_n("6.6.6.6", 10_000).chain(["8.8.8.8", "10.0.0.2"]).collect();
    assert_eq!(proxies.client(ip("10.0.0.1"), &many), ip("8.8.8.8"));
    let only_proxies = format!("6.6.6.6{}", ",10.0.0.2".repeat(10_000));
    assert_eq!(proxies.client(ip("10.0.0.1"), &[&only_proxies]), ip("10.0.0.2"));
}

#[test]
fn lists_that_are_wrong_or_trust_everybody_are_refused() {
    use ProxyListError as E;
    for (text, expected) in [
        ("proxy.example.com", E::Form(1)),
        ("10.0.0.1,10.0.0.0/33", E::Form(2)),
        ("10.0.0.0/", E::Form(1)),
        ("10.0.0.1 10.0.0.2", E::Form(1)),
        ("*", E::Form(1)),
        ("0.0.0.0/0", E::TooLarge(1)),
        ("::/0", E::TooLarge(1)),
        ("::ffff:0.0.0.0/96", E::TooLarge(1)),
        ("0.0.0.0/1,128.0.0.0/1", E::TooLarge(1)),
        ("::1,2000::/3", E::TooLarge(2)),
    ] {
        assert_eq!(TrustedProxies::parse(text), Err(expected), "{text}");
    }
    for text in ["", " , ", "127.0.0.1", "10.0.0.0/8, fc00::/7,", "::ffff:10.0.0.0/104", "10.1.2.3/8"] {
        TrustedProxies::parse(text).expect(text);
    }
    assert!(trusted("::ffff:10.0.0.0/104").contains(ip("10.1.2.3")));
    assert!(trusted("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
    assert!(trusted("10.1.2.3/8").contains(ip("10.0.0.1")));
    assert!(!trusted("::ffff:10.0.0.1").contains(ip("10.0.0.2")));
}

#[test]
fn buckets_are_addresses_and_networks_of_64_bits() {
    for (address, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
    ] {
        assert_eq!(bucket(ip(address)), expected, "{address}");
    }
}

proptest! {
    #[test]
    fn what_a_caller_writes_never_counts(written in "[0-9a-f:., \\[\\]%x]{0,80}", real in any::<[u8; 4]>()) {
        let proxies = trusted("10.0.0.0/8");
        let real = IpAddr::from(real);
        prop_assume!(!proxies.contains(real));
        let header = format!("{written}, {real}");
        prop_assert_eq!(proxies.client(ip("10.0.0.1"), &[&header]), real);
        let two = format!("{header}, 10.0.0.2");
        prop_assert_eq!(proxies.client(ip("10.0.0.1"), &[&two]), real);
    }

    #[test]
    fn a_network_of_64_bits_is_one_bucket(high in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
        let address = |low: u64| IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        prop_assume!(high != 0);
        prop_assert_eq!(bucket(address(a)), bucket(address(b)));
    }
}
