//! The Redis server that processes share, where one is configured.

use secrecy::SecretString;
use url::Url;

use crate::parse::Reader;
use crate::settings::RedisSettings;

pub(super) fn read(reader: &mut Reader<'_>) -> Option<RedisSettings> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let prefix = reader.parse("REDIS_PREFIX", "1 to 64 of A-Z, a-z, 0-9, -, _, . and :", |text| {
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
    });
    if !reader.is_set("REDIS_URL") {
        return None;
    }
    let allowed = "redis://user:password@host:port/number, or rediss:// for TLS";
    let (url, shown) = reader.parse("REDIS_URL", allowed, server)?;
    Some(RedisSettings { url, shown, prefix: prefix? })
}

/// The URL, and the same without credentials.
fn server(text: &str) -> Option<(SecretString, String)> {
    let url = Url::parse(text).ok()?;
    let database = url.path().trim_matches('/');
    let usable = matches!(url.scheme(), "redis" | "rediss")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && (database.is_empty() || database.parse::<u16>().is_ok());
    let mut shown = url.clone();
    shown.set_username("").ok()?;
    shown.set_password(None).ok()?;
    shown.set_query(None);
    shown.set_fragment(None);
    usable.then(|| (SecretString::from(text), shown.to_string()))
}
