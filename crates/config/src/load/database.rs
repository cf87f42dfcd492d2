//! The database: a file, or a server by the scheme of its URL.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::parse::Reader;
use crate::settings::{DatabaseSettings, DatabaseTarget};

pub(super) fn read(reader: &mut Reader<'_>) -> DatabaseSettings {
    let text = reader.text("DATABASE_URL");
    DatabaseSettings {
        target: postgres(reader, &text).unwrap_or_else(|| sqlite(reader, &text)),
        connections: u32::try_from(reader.number("DATABASE_POOL_SIZE", 1, 256)).unwrap_or(8),
        statement_timeout: Duration::from_millis(reader.number("DATABASE_STATEMENT_TIMEOUT_MS", 100, 600_000)),
        redact: false,
    }
}

/// A server, where the scheme says so.
fn postgres(reader: &mut Reader<'_>, text: &str) -> Option<DatabaseTarget> {
    if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
        return None;
    }
    let Some(url) = Url::parse(text).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty())) else {
        reader.fault("DATABASE_URL", "allowed: postgres://user:password@host:port/database");
        return Some(DatabaseTarget::Postgres { url: SecretString::from(""), shown: String::new() });
    };
    let mut shown = url;
    // Neither fails on a URL with a host.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_query(None);
    Some(DatabaseTarget::Postgres { url: SecretString::from(text), shown: shown.to_string() })
}

fn sqlite(reader: &mut Reader<'_>, text: &str) -> DatabaseTarget {
    if text.contains("://") && !text.starts_with("sqlite://") {
        let allowed = "allowed: a file path, sqlite:// and a file path, or postgres://user:password@host:port/database";
        reader.fault("DATABASE_URL", allowed);
    }
    let path = text.strip_prefix("sqlite://").or(text.strip_prefix("sqlite:")).unwrap_or(text);
    if path.is_empty() || path == ":memory:" || path.starts_with("file:") {
        reader.fault(
            "DATABASE_URL",
            "allowed: the path of a file, which lasts; not a database in memory, nor a file: URI",
        );
    }
    DatabaseTarget::Sqlite { path: PathBuf::from(path) }
}
