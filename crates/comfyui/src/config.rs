//! How to reach one ComfyUI server: address, credentials, timeouts and limits.
//! Owns the checks on those values and keeps secrets out of `Debug`; it opens no connection.

use std::{fmt, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// Header names that the protocol sets itself, or that a ComfyUI server answers with 403.
const FORBIDDEN_HEADERS: [&str; 8] = [
    "origin",
    "sec-fetch-site",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "expect",
];

/// How to reach one ComfyUI server. `Debug` prints neither passwords nor header values.
#[derive(Clone)]
pub struct ClientConfig {
    /// Root of the server: `http` or `https`, with an optional path prefix and `user:password@`.
    pub base_url: Url,
    /// Extra headers, such as `Authorization`, sent on every HTTP request and on the WebSocket handshake.
    pub headers: Vec<(String, String)>,
    /// Longest wait for a TCP and TLS connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or read. Default 30 s.
    pub read_timeout: Duration,
    /// Largest JSON answer in bytes that is read into memory. Default 64 MiB.
    pub max_json_bytes: usize,
    /// Largest WebSocket message in bytes that is accepted. Default 128 MiB.
    pub max_frame_bytes: usize,
    /// Time between two WebSocket pings. Default 20 s.
    pub ping_interval: Duration,
    /// Longest time without any frame from the server before a WebSocket counts as dead. Default 60 s.
    pub pong_timeout: Duration,
    /// Gives the `traceparent` of whatever an HTTP request is sent for, where there is one. Default none.
    pub trace_parent: Option<fn() -> Option<String>>,
}

impl ClientConfig {
    /// The default settings for the server at `base_url`.
    ///
    /// # Errors
    /// [`ConfigError`] if the text is no `http` or `https` URL with a host.
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        // The parse error is kept, the text is not: it may hold a password.
        let base_url = Url::parse(base_url.trim()).map_err(|source| ConfigError::ParseUrl { source })?;
        check_url(&base_url)?;
        Ok(Self {
            base_url,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            max_json_bytes: 64 << 20,
            max_frame_bytes: 128 << 20,
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(60),
            trace_parent: None,
        })
    }

    /// The base URL without credentials, query or fragment, and without a trailing slash.
    pub(crate) fn bare_url(&self) -> Result<Url, ConfigError> {
        check_url(&self.base_url)?;
        let mut url = self.base_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        if !cleared {
            return Err(ConfigError::UnusableUrl);
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
        }
        Ok(url)
    }

    /// User name and password of the base URL, percent-decoded.
    pub(crate) fn credentials(&self) -> Option<(String, Option<String>)> {
        let user = self.base_url.username();
        let password = self.base_url.password();
        if user.is_empty() && password.is_none() {
            return None;
        }
        Some((percent_decode(user), password.map(percent_decode)))
    }

    /// The extra headers, checked and marked as sensitive.
    pub(crate) fn header_map(&self) -> Result<HeaderMap, ConfigError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let forbidden = FORBIDDEN_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known))
                || name.to_ascii_lowercase().starts_with("sec-websocket-");
            if forbidden {
                return Err(ConfigError::ForbiddenHeader { name: name.clone() });
            }
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_invalid| ConfigError::InvalidHeader { name: name.clone() })?;
            let mut value =
                HeaderValue::from_str(value).map_err(|_invalid| ConfigError::InvalidHeader { name: name.clone() })?;
            value.set_sensitive(true);
            map.append(key, value);
        }
        Ok(map)
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.bare_url().map_or_else(|_invalid| "(invalid)".to_owned(), String::from);
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("ClientConfig")
            .field("base_url", &url)
            .field("credentials", &self.credentials().map(|_| "[redacted]"))
            .field("header_names", &names)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("max_json_bytes", &self.max_json_bytes)
            .field("max_frame_bytes", &self.max_frame_bytes)
            .field("ping_interval", &self.ping_interval)
            .field("pong_timeout", &self.pong_timeout)
            .finish()
    }
}

fn check_url(url: &Url) -> Result<(), ConfigError> {
    let web = matches!(url.scheme(), "http" | "https");
    if web && url.has_host() { Ok(()) } else { Err(ConfigError::UnusableUrl) }
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (ahead.next().and_then(hex_digit), ahead.next().and_then(hex_digit));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                decoded.push(high * 16 + low);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Why a [`ClientConfig`] cannot be used. Never holds the URL or a header value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The base URL does not parse.
    #[error("the ComfyUI address is not a URL")]
    ParseUrl {
        /// What the parser said.
        #[source]
        source: url::ParseError,
    },
    /// The base URL parses but is of the wrong kind.
    #[error("the ComfyUI address must be an http or https URL with a host")]
    UnusableUrl,
    /// A header name or value holds characters that HTTP does not allow.
    #[error("the header {name:?} has a name or value that HTTP does not allow")]
    InvalidHeader {
        /// Name of the header.
        name: String,
    },
    /// A header that the client sets itself or that ComfyUI refuses.
    #[error("the header {name:?} must not be set for a ComfyUI server")]
    ForbiddenHeader {
        /// Name of the header.
        name: String,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    BuildClient {
        /// What the HTTP library said.
        #[source]
        source: reqwest::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_config_shows_no_password_and_no_header_value() {
        let mut config = ClientConfig::new("https://ann:s3cr%40t@gpu.example/comfy/").unwrap();
        config.headers.push(("Authorization".to_owned(), "Bearer tok3n".to_owned()));
        let text = format!("{config:?}");
        assert!(!text.contains("s3cr") && !text.contains("tok3n") && !text.contains("ann"), "{text}");
        assert!(text.contains("gpu.example/comfy") && text.contains("Authorization"), "{text}");
        assert_eq!(config.credentials(), Some(("ann".to_owned(), Some("s3cr@t".to_owned()))));
        assert_eq!(config.bare_url().unwrap().as_str(), "https://gpu.example/comfy");
    }

    #[test]
    fn addresses_that_are_not_web_urls_are_refused_without_repeating_them() {
        for bad in ["ftp://u:hidden@host/", "not a url hidden", "file:///hidden", "http://", "127.0.0.1:8188/hidden"] {
            let error = ClientConfig::new(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
        }
    }

    #[test]
    fn headers_that_break_the_protocol_are_refused_by_name() {
        let mut config = ClientConfig::new("http://localhost:8188").unwrap();
        for name in ["Origin", "sec-websocket-key", "Content-Type", "Sec-Fetch-Site"] {
            config.headers = vec![(name.to_owned(), "x".to_owned())];
            assert!(matches!(config.header_map(), Err(ConfigError::ForbiddenHeader { .. })), "{name}");
        }
        config.headers = vec![("X-Key".to_owned(), "line\nbreak-secret".to_owned())];
        let error = config.header_map().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn percent_decoding_leaves_stray_signs_alone() {
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%41%2"), "%zzA%2");
        assert_eq!(percent_decode("a+b"), "a+b");
    }
}
