//! The list of hosts that the gateway may reach on a caller's word, and its one reading of a host and a port.
//! Looks nothing up: whether the addresses behind a name are public is for whoever dials them.

use std::{fmt, net::IpAddr, str::FromStr};

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Hosts that may be reached. The empty list allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist {
    entries: Vec<Entry>,
}

/// What the list says of a host and a port; of several entries the most generous counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No entry means this host.
    NotAllowed,
    /// The host is meant, the port is not.
    PortNotAllowed,
    /// It may be reached where its addresses are public.
    Public,
    /// It is named exactly: its addresses may be private.
    Named,
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry \"{entry}\" cannot be read: {reason}")]
pub struct AllowlistError {
    entry: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// Without one, the ports of http and https.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// The names below this one, at any depth.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl Allowlist {
    /// Reads entries separated by commas: `*`, `example.com`, `*.example.com`, `10.0.0.5`, `[::1]`, each with `:port`
    /// where another port than 80 and 443 is meant.
    pub fn parse(text: &str) -> Result<Self, AllowlistError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries = text.split(',').map(|entry| entry.trim().parse()).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Whether nothing at all is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names that are on the list as they are, without those that stand for others.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match &entry.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Any | Host::Below(_) | Host::Address(_) => None,
        })
    }

    /// The list's word on `host` (ASCII, lower case, no dot at its end, IPv6 without brackets) and `port`.
    pub fn verdict(&self, host: &str, port: u16) -> Verdict {
        let address = host.parse::<IpAddr>().ok();
        self.entries.iter().map(|entry| entry.verdict(host, address, port)).max().unwrap_or(Verdict::NotAllowed)
    }
}

impl Entry {
    fn verdict(&self, host: &str, address: Option<IpAddr>, port: u16) -> Verdict {
        // A number is never meant by a pattern of names, not even by the star.
        let meant = match &self.host {
            Host::Any => address.is_none(),
            Host::Below(apex) => {
                address.is_none()
                    && host
                        .strip_suffix(apex.as_str())
                        .and_then(|below| below.strip_suffix('.'))
                        .is_some_and(|below| !below.is_empty())
            }
            Host::Name(name) => name == host,
            Host::Address(own) => Some(*own) == address,
        };
        let port_is_meant = self.port.map_or(matches!(port, 80 | 443), |own| own == port);
        match (&self.host, meant, port_is_meant) {
            (_, false, _) => Verdict::NotAllowed,
            (_, true, false) => Verdict::PortNotAllowed,
            (Host::Any | Host::Below(_), true, true) => Verdict::Public,
            (Host::Name(_) | Host::Address(_), true, true) => Verdict::Named,
        }
    }
}

impl FromStr for Entry {
    type Err = AllowlistError;

    fn from_str(text: &str) -> Result<Self, AllowlistError> {
        read_entry(text).map_err(|reason| {
            // What stands before an @ may be a password.
            let entry = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"));
            AllowlistError { entry, reason }
        })
    }
}

fn read_entry(text: &str) -> Result<Entry, &'static str> {
    if text.is_empty() {
        return Err("it is empty; leave out the extra comma");
    }
    if !text.is_ascii() {
        return Err("write an international name in its ASCII form, as in xn--bcher-kva.example");
    }
    if text.contains("://") {
        return Err("write the host without a scheme, as in hooks.example.com");
    }
    if text.contains('@') {
        return Err("write the host without a user name or password");
    }
    if text.contains(['/', '?', '#', '\\']) {
        return Err("write the host without a path, as in hooks.example.com");
    }
    let (host, port) = split_port(text)?;
    Ok(Entry { host: read_host(host)?, port })
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at_checked(end + 1).ok_or("write an IPv6 address in brackets, as in [fd00::5]")?,
        None if text.matches(':').count() > 1 => return Err("write an IPv6 address in brackets, as in [fd00::5]"),
        None => text.split_at_checked(text.find(':').unwrap_or(text.len())).unwrap_or((text, "")),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(port) if port != 0 => Ok((host, Some(port))),
        _ => Err("after the host may stand a colon and a port from 1 to 65535, as in hooks.example.com:8443"),
    }
}

fn read_host(text: &str) -> Result<Host, &'static str> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
        return address
            .map(|address| Host::Address(IpAddr::V6(address)))
            .ok_or("write an IPv6 address in brackets, as in [fd00::5]");
    }
    if text == "*" {
        return Ok(Host::Any);
    }
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let lower = text.to_ascii_lowercase();
    let Some(apex) = lower.strip_prefix("*.") else { return read_name(&lower).map(Host::Name) };
    if apex.is_empty() {
        return Err("name the domain after the star, as in *.example.com, or write * for every public host");
    }
    let apex = read_name(apex)?;
    if !apex.contains('.') {
        return Err("a star over a whole top-level domain allows too much; write *.example.com, or * for every host");
    }
    Ok(Host::Below(apex))
}

fn read_name(text: &str) -> Result<String, &'static str> {
    if text.contains('*') {
        return Err("a star may only stand alone or for whole labels at the front, as in *.example.com");
    }
    if text.split('.').any(str::is_empty) {
        return Err("it has an empty label; write the name without doubled dots and without one at either end");
    }
    if text.len() > MAX_NAME || text.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err("names have at most 253 characters, and at most 63 between two dots");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("names have letters, digits, hyphens, underscores and dots only");
    }
    if text.rsplit('.').next().is_some_and(reads_as_number) {
        return Err("write an IPv4 address as four decimal numbers, as in 10.0.0.5");
    }
    Ok(text.to_owned())
}

/// Whether URLs take a host with this last label for an IPv4 address.
fn reads_as_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Allowlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            write!(f, "{}{entry}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Below(apex) => write!(f, "*.{apex}")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Named, NotAllowed, PortNotAllowed, Public};

    #[test]
    fn each_entry_means_what_it_says() {
        for (list, host, port, expected) in [
            ("", "example.com", 443, NotAllowed),
            ("*", "example.com", 443, Public),
            ("*", "example.com", 8080, PortNotAllowed),
            ("*", "8.8.8.8", 443, NotAllowed),
            ("*", "2001:4860:4860::8888", 443, NotAllowed),
            ("*:8080", "example.com", 8080, Public),
            ("*:8080", "example.com", 443, PortNotAllowed),
            ("example.com", "example.com", 443, Named),
            ("example.com", "example.com", 8443, PortNotAllowed),
            ("example.com:8443", "example.com", 443, PortNotAllowed),
            ("example.com", "a.example.com", 443, NotAllowed),
            ("example.com", "example.com.evil.com", 443, NotAllowed),
            ("EXAMPLE.com", "example.com", 443, Named),
            ("*.example.com", "a.example.com", 443, Public),
            ("*.example.com", "a.b.example.com", 443, Public),
            ("*.example.com", "example.com", 443, NotAllowed),
            ("*.example.com", "badexample.com", 443, NotAllowed),
            ("*.example.com", "example.com.evil.com", 443, NotAllowed),
            ("*, example.com:8443", "example.com", 443, Public),
            ("*, example.com:8443", "example.com", 8443, Named),
            ("*,example.com", "example.com", 443, Named),
            ("10.0.0.5", "10.0.0.5", 80, Named),
            ("10.0.0.5:1", "10.0.0.5", 80, PortNotAllowed),
            ("10.0.0.5", "10.0.0.6", 80, NotAllowed),
            ("[0:0::1]", "::1", 80, Named),
            ("10.0.0.5", "::ffff:a00:5", 80, NotAllowed),
            ("receiver", "receiver", 80, Named),
        ] {
            assert_eq!(Allowlist::parse(list).unwrap().verdict(host, port), expected, "{list} {host}:{port}");
        }
    }

    #[test]
    fn entries_that_could_mean_more_than_meant_are_refused_with_what_to_write() {
        let long = [format!("{}.com", "a".repeat(64)), format!("{}bc", "a.".repeat(126))];
        let refused: [(&str, &[&str]); 14] = [
            ("*.example.com, or write *", &["*."]),
            ("top-level", &["*.com", "*.localhost"]),
            ("whole labels", &["*foo.com", "a.*.com", "**", "*.*.example.com"]),
            ("ASCII", &["exаmple.com"]),
            ("scheme", &["https://example.com"]),
            ("path", &["example.com/hooks", "example.com?x", "10.0.0.0/8"]),
            ("user name", &["user:secret@example.com"]),
            ("empty label", &["a..com", ".example.com", "example.com."]),
            ("comma", &["a.com,,b.com", "a.com,", ","]),
            ("port", &["example.com:", "example.com:0", "example.com:65536", "example.com:+80", "[::1]8080"]),
            ("brackets", &["::1", "[::1", "[fe80::1%eth0]"]),
            ("four decimal", &["127.1", "010.0.0.5", "0x7f000001", "*.1.2"]),
            ("letters", &["a b.com", "a;b.com"]),
            ("253", &[&long[0], &long[1]]),
        ];
        for (hint, entries) in refused {
            for bad in entries {
                let error = Allowlist::parse(bad).unwrap_err().to_string();
                assert!(error.contains(hint), "{bad}: {error}");
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        let list = Allowlist::parse(" *:8080, Example.com ,*.example.org:1,10.0.0.5,[FD00::5]:81").unwrap();
        assert_eq!(list.to_string(), "*:8080,example.com,*.example.org:1,10.0.0.5,[fd00::5]:81");
        assert_eq!(Allowlist::parse(&list.to_string()).unwrap(), list);
        assert_eq!(list.names().collect::<Vec<_>>(), ["example.com"]);
        assert!(!list.is_empty());
        for empty in ["", "  "] {
            assert_eq!(Allowlist::parse(empty).unwrap(), Allowlist::default());
        }
        assert!(Allowlist::default().is_empty());
    }
}
