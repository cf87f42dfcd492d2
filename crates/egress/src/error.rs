//! Why an exchange failed, in classes. No message has a path, a query, a header or an address that a name resolved to:
//! the owner of a URL reads them, and may not learn from them what is inside the operator's network.

use std::{error::Error, io};

use crate::{resolver::ResolveError, url::UrlRefusal};

/// Why a URL may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The URL itself.
    #[error(transparent)]
    Url(#[from] UrlRefusal),
    /// What its host resolves to.
    #[error("the host of the URL resolves to an address that this gateway may not reach")]
    Address,
}

/// An exchange without a usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not allowed; nothing was sent.
    #[error(transparent)]
    Refused(#[from] CheckError),
    /// No address for the name.
    #[error("the host's name does not resolve")]
    Dns,
    /// No connection.
    #[error("no connection to the host")]
    Connect,
    /// No trust in the other side, or no common way to encrypt.
    #[error("no TLS connection to the host: {0}")]
    Tls(&'static str),
    /// Not done in time.
    #[error("the host did not answer completely in time")]
    Timeout,
    /// More than may be read.
    #[error("the answer is larger than allowed")]
    TooLarge,
    /// A status that means failure.
    #[error("the host answered with status {0}")]
    Status(u16),
    /// The connection broke or what came is not HTTP.
    #[error("the host broke off or did not answer in valid HTTP")]
    Protocol,
}

impl SendError {
    /// One word for logs, metrics and records.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Status(_) => "status",
            Self::Protocol => "protocol",
        }
    }
}

/// The HTTP client's own error is dropped here: its words have addresses and URLs.
impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(cause) = next {
            if let Some(known) = known_cause(cause) {
                return known;
            }
            next = inside(cause).or_else(|| cause.source());
        }
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::Protocol
        }
    }
}

fn known_cause(cause: &(dyn Error + 'static)) -> Option<SendError> {
    if let Some(error) = cause.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::Unresolved => SendError::Dns,
            ResolveError::Forbidden => SendError::Refused(CheckError::Address),
        });
    }
    cause.downcast_ref::<rustls::Error>().map(|error| SendError::Tls(tls_reason(error)))
}

/// An I/O error gives the causes of what it wraps as its own; what it wraps comes first.
fn inside<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

fn tls_reason(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "its certificate is not valid yet",
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            Certificate::UnknownIssuer | Certificate::BadSignature => "its certificate is not from a trusted issuer",
            _ => "its certificate is not valid",
        },
        rustls::Error::AlertReceived(_) => "the host broke off the handshake",
        rustls::Error::PeerIncompatible(_) => "there is no version or cipher that both sides speak",
        _ => "the handshake failed",
    }
}
