//! Numbers that are not public do not get through, however they are spelled.

use std::net::Ipv4Addr;

use gateway_egress::{check_url, is_public};
use proptest::prelude::*;

use crate::server::policy;

/// Some number of `digits` in a notation that readers of URLs take for a number.
fn number(value: u32, notation: u8, zeros: usize) -> String {
    let zeros = "0".repeat(zeros);
    match notation {
        0 => value.to_string(),
        1 => format!("0x{zeros}{value:x}"),
        2 => format!("0X{zeros}{value:X}"),
        _ => format!("0{zeros}{value:o}"),
    }
}

/// The address as one to four numbers, each in a notation of its own.
fn dotted(address: Ipv4Addr, parts: usize, notations: [u8; 4], zeros: usize) -> String {
    let [a, b, c, d] = address.octets().map(u32::from);
    let values = match parts {
        1 => vec![address.to_bits()],
        2 => vec![a, address.to_bits() & 0xff_ffff],
        3 => vec![a, b, c << 8 | d],
        _ => vec![a, b, c, d],
    };
    let parts = values.into_iter().zip(notations).map(|(value, notation)| number(value, notation, zeros));
    parts.collect::<Vec<_>>().join(".")
}

fn in_digits_from(text: &str, zero: char) -> String {
    let digit = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(zero as u32 + digit)).unwrap_or(c);
    text.chars().map(digit).collect()
}

fn dressed(text: &str, dress: u8) -> String {
    match dress {
        0 => text.to_owned(),
        1 => format!("{text}."),
        2 => in_digits_from(text, '\u{ff10}'),
        3 => in_digits_from(text, '\u{1d7ce}'),
        4 => text.replace('.', "\u{3002}"),
        5 => text.replace('.', "\u{ff0e}"),
        6 => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        _ => text.replace('.', "%2e"),
    }
}

fn in_v6(address: Ipv4Addr, form: u8) -> String {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    match form {
        0 => format!("[::ffff:{address}]"),
        1 => format!("[::ffff:{high:x}:{low:x}]"),
        2 => format!("[0:0:0:0:0:FFFF:{high:04X}:{low:04X}]"),
        3 => format!("[::{address}]"),
        4 => format!("[::{high:x}:{low:x}]"),
        5 => format!("[64:ff9b::{address}]"),
        6 => format!("[64:ff9b:1::{address}]"),
        7 => format!("[2002:{high:x}:{low:x}::]"),
        _ => format!("[::ffff:0:{address}]"),
    }
}

fn not_public() -> impl Strategy<Value = Ipv4Addr> {
    let inner = prop_oneof![
        (0_u32..1 << 24).prop_map(|low| 10 << 24 | low),
        (0_u32..1 << 24).prop_map(|low| 127 << 24 | low),
        (0_u32..1 << 16).prop_map(|low| 169 << 24 | 254 << 16 | low),
        (0_u32..1 << 16).prop_map(|low| 192 << 24 | 168 << 16 | low),
        (0_u32..1 << 20).prop_map(|low| 172 << 24 | 16 << 16 | low),
        any::<u32>(),
    ];
    inner.prop_map(Ipv4Addr::from_bits).prop_filter("public", |address| !is_public((*address).into()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_spelling_of_an_inner_address_passes(
        address in not_public(),
        parts in 1_usize..=4,
        notations in prop::array::uniform4(0_u8..4),
        zeros in 0_usize..3,
        dress in 0_u8..8,
        form in 0_u8..9,
        port in prop::sample::select(vec!["", ":80", ":443", ":8080"]),
    ) {
        let policy = policy("*,*:8080,*.example.com,8.8.8.8,[2001:4860:4860::8888]");
        for host in [dressed(&dotted(address, parts, notations, zeros), dress), in_v6(address, form)] {
            for url in [format!("http://{host}{port}/"), format!("https://{host}{port}")] {
                prop_assert!(check_url(&url, &policy).is_err(), "{}", url);
            }
        }
    }

    #[test]
    fn a_listed_number_passes_in_its_plain_form_only(
        address in not_public().prop_filter("link-local", |address| !address.is_link_local()),
        parts in 1_usize..=4,
        notations in prop::array::uniform4(0_u8..4),
        zeros in 0_usize..3,
        dress in 0_u8..8,
        form in 0_u8..9,
    ) {
        let policy = policy(&format!("*,{address}"));
        for plain in [address.to_string(), format!("{address}.")] {
            let verdict = check_url(&format!("http://{plain}/"), &policy);
            prop_assert!(verdict.is_ok_and(|url| url.is_named()), "{}", plain);
        }
        let spelled = dressed(&dotted(address, parts, notations, zeros), dress);
        if spelled.trim_end_matches('.') != address.to_string() {
            let url = format!("http://{spelled}/");
            prop_assert!(check_url(&url, &policy).is_err(), "{}", url);
        }
        let mapped = format!("http://{}/", in_v6(address, form));
        prop_assert!(check_url(&mapped, &policy).is_err(), "{}", mapped);
    }
}
