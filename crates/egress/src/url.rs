//! The one rule for URLs that callers name, the same at submit and at delivery. No I/O: what a name resolves to is
//! judged when it is resolved.

use std::{fmt, net::IpAddr};

use gateway_core::allowlist::{Allowlist, Verdict};
use url::{Host, Url, quirks};

use crate::address::is_link_local;

const MAX_CHARACTERS: usize = 2048;
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// What the operator allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The hosts that may be reached.
    pub allow: Allowlist,
    /// Whether plain `http` is for hosts only that the list names exactly.
    pub require_https: bool,
}

/// Why a URL may not be used; each a sentence for the caller who named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefusal {
    /// Longer than anything sensible.
    #[error("the URL is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    /// Tabs, line ends, spaces.
    #[error("the URL has spaces or control characters; percent-encode them")]
    Whitespace,
    /// Programs differ in what a backslash means.
    #[error("the URL has a backslash; percent-encode it")]
    Backslash,
    /// Another scheme, or none.
    #[error("the URL must start with https:// or http://")]
    Scheme,
    /// A user name, a password, or both.
    #[error("the URL may not have a user name or password")]
    Userinfo,
    /// It cannot be read as a URL.
    #[error("the URL cannot be read")]
    Unreadable,
    /// The host is written so that readers could take it for another.
    #[error("write the host of the URL in its plain form: no percent-encoding, shortened numbers or look-alikes")]
    HostSpelling,
    /// The host is no name that can exist.
    #[error("the host of the URL is not a valid name")]
    InvalidHost,
    /// Plain http where https is asked for.
    #[error("the URL must start with https://")]
    HttpsRequired,
    /// The host is not on the list.
    #[error("the host of the URL is not among the hosts that this gateway may reach")]
    HostNotAllowed,
    /// The host is on the list with other ports.
    #[error("the port of the URL is not among those that this gateway may reach on that host")]
    PortNotAllowed,
    /// A number, or a name that means an inner one.
    #[error("the host of the URL is an address or a name inside a private network")]
    PrivateHost,
}

/// A URL that the rule lets through.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedUrl {
    url: Url,
    host: String,
    named: bool,
}

impl CheckedUrl {
    /// The URL as it is sent: without a fragment, its host in normal form.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The host in the form that the list is compared with.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the list names the host exactly, so that its addresses may be private.
    pub fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn is_address(&self) -> bool {
        !matches!(self.url.host(), Some(Host::Domain(_)))
    }
}

/// Paths and queries hold tokens: they are not shown.
impl fmt::Debug for CheckedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedUrl({}://{}…)", self.url.scheme(), self.host)
    }
}

/// Judges a URL as a caller wrote it.
pub fn check_url(text: &str, policy: &Policy) -> Result<CheckedUrl, UrlRefusal> {
    let written = written_host(text)?;
    let mut url = Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost | url::ParseError::IdnaError => UrlRefusal::InvalidHost,
        url::ParseError::InvalidIpv4Address | url::ParseError::InvalidIpv6Address => UrlRefusal::InvalidHost,
        _ => UrlRefusal::Unreadable,
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlRefusal::Userinfo);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => plain_name(name, written)?,
        Some(Host::Ipv4(address)) => plain_number(IpAddr::V4(address), written)?,
        Some(Host::Ipv6(address)) => plain_number(IpAddr::V6(address), written)?,
        None => return Err(UrlRefusal::InvalidHost),
    };
    let port = url.port_or_known_default().ok_or(UrlRefusal::Unreadable)?;
    let named = judge(&host, port, policy)?;
    if policy.require_https && url.scheme() != "https" && !named {
        return Err(UrlRefusal::HttpsRequired);
    }
    url.set_fragment(None);
    if url.host_str().is_some_and(|shown| shown.ends_with('.')) {
        url.set_host(Some(&host)).map_err(|_unreadable| UrlRefusal::InvalidHost)?;
    }
    Ok(CheckedUrl { url, host, named })
}

/// The host as it stands in the text, which the parsed one must agree with.
fn written_host(text: &str) -> Result<&str, UrlRefusal> {
    if text.chars().count() > MAX_CHARACTERS {
        return Err(UrlRefusal::TooLong);
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(UrlRefusal::Whitespace);
    }
    if text.contains('\\') {
        return Err(UrlRefusal::Backslash);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UrlRefusal::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(UrlRefusal::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlRefusal::Userinfo);
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    if host.is_empty() { Err(UrlRefusal::InvalidHost) } else { Ok(host) }
}

/// The name without the dot at its end, if that is how it is written.
fn plain_name(parsed: &str, written: &str) -> Result<String, UrlRefusal> {
    let name = parsed.strip_suffix('.').unwrap_or(parsed);
    let written = written.strip_suffix('.').unwrap_or(written);
    // A name beyond ASCII must read back as written, so that no look-alike turns into another name.
    let same = if written.is_ascii() {
        written.eq_ignore_ascii_case(name)
    } else {
        quirks::domain_to_unicode(name) == written.to_lowercase()
    };
    if !same {
        return Err(UrlRefusal::HostSpelling);
    }
    let usable = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= MAX_LABEL && label.bytes().all(plain)
    };
    if name.len() <= MAX_NAME && name.split('.').all(usable) {
        Ok(name.to_owned())
    } else {
        Err(UrlRefusal::InvalidHost)
    }
}

/// The address in normal form, if that is how it is written.
fn plain_number(address: IpAddr, written: &str) -> Result<String, UrlRefusal> {
    let written = written.strip_suffix('.').unwrap_or(written);
    let inner = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    if inner.parse() == Ok(address) { Ok(address.to_string()) } else { Err(UrlRefusal::HostSpelling) }
}

/// Whether the list names the host exactly; refused where it does not allow it.
fn judge(host: &str, port: u16, policy: &Policy) -> Result<bool, UrlRefusal> {
    let address = host.parse::<IpAddr>().ok();
    if address.is_some_and(is_link_local) {
        return Err(UrlRefusal::PrivateHost);
    }
    let inner = !host.contains('.') || host.ends_with(".localhost") || host == "metadata.google.internal";
    match policy.allow.verdict(host, port) {
        Verdict::Named => Ok(true),
        Verdict::Public if inner => Err(UrlRefusal::PrivateHost),
        Verdict::Public => Ok(false),
        Verdict::PortNotAllowed => Err(UrlRefusal::PortNotAllowed),
        Verdict::NotAllowed if address.is_some_and(|address| !crate::is_public(address)) => {
            Err(UrlRefusal::PrivateHost)
        }
        Verdict::NotAllowed => Err(UrlRefusal::HostNotAllowed),
    }
}
