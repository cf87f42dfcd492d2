//! The certificate that the API is served with.

use std::io;

use gateway_config::TlsSettings;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Whether the API can be served with the files in `settings`.
///
/// # Errors
/// Which of them can't be used, and why.
pub fn check_tls(settings: &TlsSettings) -> io::Result<()> {
    configuration(settings).map(drop)
}

/// What TLS needs, read from the files in `settings`.
pub(crate) fn configuration(settings: &TlsSettings) -> io::Result<ServerConfig> {
    let wrong = |variable: &str, reason: String| io::Error::other(format!("{variable} can't be used: {reason}"));
    let certificate = settings.certificate.display();
    let chain = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("TLS_CERT", format!("{certificate}: {error}")))?;
    if chain.is_empty() {
        return Err(wrong("TLS_CERT", format!("{certificate} holds no certificate")));
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|error| wrong("TLS_KEY", format!("{}: {error}", settings.key.display())))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong("TLS_CERT and TLS_KEY", error.to_string()))
}
