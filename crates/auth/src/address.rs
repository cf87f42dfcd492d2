//! The address of a caller. It is that of the connection, unless the connection comes from a proxy that the operator
//! trusts; only then is `X-Forwarded-For` looked at, and only as far as trusted proxies have written it. Reads no
//! headers itself.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// How many proxies a request may have come through. More are not followed.
const MAX_HOPS: usize = 32;
/// Networks with a shorter prefix are no operator's proxies, but a good part of the internet.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 7;

/// Why a list of proxies is refused. Entries are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyListError {
    /// Not an address.
    #[error("trusted proxy {0} is neither an IP address nor a network such as 10.0.0.0/8")]
    Form(usize),
    /// Everybody could name any address.
    #[error(
        "trusted proxy {0} is a network so large that any caller could forge its address; name the proxies themselves"
    )]
    TooLarge(usize),
}

/// The proxies whose word about a caller's address counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The addresses and networks in `text`, with commas between. White space and empty entries are passed over.
    pub fn parse(text: &str) -> Result<Self, ProxyListError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.enumerate().map(|(index, text)| network(index.saturating_add(1), text));
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is one of the proxies.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the caller behind the connection from `peer`.
    ///
    /// `forwarded_for` are the values of all `X-Forwarded-For` headers in the order of the request; give an empty text
    /// for one that is not text. They are walked from the right, while the address found so far is a trusted proxy.
    /// What is not an address ends the walk at the last address that is one.
    pub fn client(&self, peer: IpAddr, forwarded_for: &[&str]) -> IpAddr {
        let mut client = peer.to_canonical();
        let entries = forwarded_for.iter().rev().flat_map(|value| value.rsplit(','));
        for entry in entries.take(MAX_HOPS) {
            if !self.contains(client) {
                break;
            }
            let Some(address) = forwarded(entry) else { break };
            client = address;
        }
        client
    }
}

/// What requests from `address` are counted by: an IPv4 address itself, of an IPv6 address the /64, as one household
/// has at least that many.
pub fn bucket(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn network(entry: usize, text: &str) -> Result<IpNet, ProxyListError> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => canonical(text.parse().ok().ok_or(ProxyListError::Form(entry))?),
    };
    let shortest = match network {
        IpNet::V4(_) => SHORTEST_V4,
        IpNet::V6(_) => SHORTEST_V6,
    };
    if network.prefix_len() < shortest { Err(ProxyListError::TooLarge(entry)) } else { Ok(network.trunc()) }
}

/// A network of IPv4 addresses that is written as one of IPv6 addresses, as the former.
fn canonical(network: IpNet) -> IpNet {
    let inner = match (network.addr().to_canonical(), network) {
        (IpAddr::V4(address), IpNet::V6(network)) => {
            network.prefix_len().checked_sub(96).and_then(|prefix| Ipv4Net::new(address, prefix).ok())
        }
        _ => None,
    };
    inner.map_or(network, IpNet::V4)
}

/// One entry of `X-Forwarded-For`: an address, perhaps with a port, perhaps in brackets.
fn forwarded(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || entry.parse::<SocketAddr>().ok().filter(|_| !entry.contains('%')).map(|socket| socket.ip());
    entry.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
