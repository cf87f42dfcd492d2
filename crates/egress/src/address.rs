//! Which IP addresses are public, and the judgement over all the addresses of a name. Knows no names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks that are not public, as first address and length of the prefix.
const PRIVATE_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// The only public part of IPv6. NAT64, unique-local and link-local addresses lie outside.
const PUBLIC_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is not public inside that part: protocols with Teredo, documentation twice, and 6to4.
const PRIVATE_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Whether `address` is one that anybody on the internet could mean.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !PRIVATE_V4.iter().any(|network| in_v4(address, network)),
        IpAddr::V6(address) => in_v6(address, &PUBLIC_V6) && !PRIVATE_V6.iter().any(|network| in_v6(address, network)),
    }
}

/// Whether `address` reaches only the own link, where clouds serve credentials to whoever asks.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4().is_some_and(|inner| inner.is_link_local())
        }
    }
}

/// Whether a name with these addresses may be dialled; `named` hosts may have private ones.
pub(crate) fn all_allowed(addresses: &[IpAddr], named: bool) -> bool {
    addresses.iter().all(|address| !is_link_local(*address) && (named || is_public(*address)))
}

fn in_v4(address: Ipv4Addr, (network, prefix): &([u8; 4], u32)) -> bool {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    (address.to_bits() ^ Ipv4Addr::from(*network).to_bits()) & mask == 0
}

fn in_v6(address: Ipv6Addr, (network, prefix): &([u16; 8], u32)) -> bool {
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    (address.to_bits() ^ Ipv6Addr::from(*network).to_bits()) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: &[&str] = &[
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2001:ffff::",
        "2003::",
        "2001:4860:4860::8888",
        "3ffe:ffff::",
        "3fff:1000::",
        "3fff:ffff:ffff::",
    ];

    const INSIDE: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "1fff:ffff::",
        "2001::",
        "2001:0:53aa:64c::1",
        "2001:1ff:ffff::",
        "2001:db8::",
        "2001:db8:ffff::1",
        "2002::",
        "2002:7f00:1::",
        "2002:ffff::",
        "3fff::",
        "3fff:fff:ffff::",
        "4000::",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    #[test]
    fn the_edges_of_each_network_are_where_they_belong() {
        for text in OUTSIDE {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in INSIDE {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn one_private_address_spoils_a_name_unless_it_is_named() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert!(all_allowed(&of(&["8.8.8.8", "2001:4860:4860::8888"]), false));
        assert!(!all_allowed(&of(&["8.8.8.8", "::1"]), false));
        assert!(all_allowed(&of(&["8.8.8.8", "::1", "10.0.0.1"]), true));
    }

    #[test]
    fn link_local_addresses_are_for_nobody() {
        for text in ["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254", "::169.254.169.254"] {
            assert!(!all_allowed(&[text.parse().unwrap()], true), "{text}");
        }
    }
}
