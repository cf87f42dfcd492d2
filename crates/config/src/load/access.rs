//! Who may do what: keys, tokens, limits, origins, encryption, privacy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway_auth::address::TrustedProxies;
use gateway_auth::jwt::{JwtKey, JwtSettings, JwtSettingsError, PemAlgorithm, Verifier};
use gateway_auth::key::ConfiguredKeys;
use gateway_core::comfyui_holes::FLOOR;
use secrecy::SecretString;
use url::Url;

use crate::parse::Reader;
use crate::secrets::{is_key, is_pem};
use crate::settings::{AccessSettings, Environment, Origins, RateSettings, RawSettings, TlsSettings};

pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> AccessSettings {
    AccessSettings {
        keys: keys(reader, environment),
        tokens: tokens(reader),
        client_key: reader.is_set("GATEWAY_API_KEY").then(|| SecretString::from(reader.text("GATEWAY_API_KEY"))),
        proxies: proxies(reader),
        rate: RateSettings {
            requests: u32::try_from(reader.number("RATE_LIMIT_MAX", 1, 1_000_000_000)).unwrap_or(u32::MAX),
            window: Duration::from_millis(reader.number("RATE_LIMIT_WINDOW_MS", 100, 86_400_000)),
        },
        owner_queue: match reader.number("OWNER_QUEUE_LIMIT", 0, 100_000_000) {
            0 => None,
            jobs => Some(jobs),
        },
        origins: origins(reader),
        tls: tls(reader),
        raw: RawSettings {
            enabled: reader.flag("ALLOW_RAW_WORKFLOWS"),
            allowed: list(&reader.text("RAW_NODES_ALLOWED")),
            denied: list(&reader.text("RAW_NODES_DENIED")),
        },
        privacy: reader.flag("PRIVACY_MODE"),
    }
}

/// What an operator should know who allows more than is usual.
pub(super) fn warnings(access: &AccessSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    if access.raw.enabled {
        warnings.push(format!(
            "ALLOW_RAW_WORKFLOWS is on: administrators and keys with the right raw choose what ComfyUI runs, which is \
             as much as its nodes can do; use ComfyUI {FLOOR} or newer, and name the nodes in RAW_NODES_ALLOWED"
        ));
    }
    warnings
}

fn keys(reader: &mut Reader<'_>, environment: Environment) -> ConfiguredKeys {
    let keys = match ConfiguredKeys::parse(&reader.text("API_KEYS")) {
        Ok(keys) => keys,
        Err(error) => {
            reader.fault("API_KEYS", &error.to_string());
            return ConfiguredKeys::default();
        }
    };
    let weak = keys.weak().count();
    if weak > 0 && environment == Environment::Production {
        let reason = format!("{weak} of its keys can be guessed; use at least 16 random characters for each");
        reader.fault("API_KEYS", &reason);
    }
    keys
}

fn tokens(reader: &mut Reader<'_>) -> Option<Arc<Verifier>> {
    let named = ["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_FILE"].into_iter().filter(|name| reader.is_set(name));
    let named: Vec<&'static str> = named.collect();
    let [name] = *named.as_slice() else {
        if named.len() > 1 {
            reader.fault(
                named.first().copied().unwrap_or_default(),
                &format!("only one of {} can be set", named.join(", ")),
            );
        }
        return None;
    };
    let key = match name {
        "JWT_SECRET" => Some(JwtKey::Hs256(reader.text(name).into_bytes())),
        "JWT_PUBLIC_KEY" => public_key(reader),
        _ => file(reader, name).map(JwtKey::Jwks),
    }?;
    let optional = |name: &str| Some(reader.text(name)).filter(|text| !text.is_empty());
    let settings = JwtSettings {
        key,
        audience: optional("JWT_AUDIENCE"),
        issuer: optional("JWT_ISSUER"),
        role_claim: reader.text("JWT_ROLE_CLAIM"),
    };
    match Verifier::new(settings) {
        Ok(verifier) => Some(Arc::new(verifier)),
        Err(error) => {
            let name = if error == JwtSettingsError::RoleClaim { "JWT_ROLE_CLAIM" } else { name };
            reader.fault(name, &error.to_string());
            None
        }
    }
}

/// The key itself, or the file that holds it.
fn public_key(reader: &mut Reader<'_>) -> Option<JwtKey> {
    let algorithm = reader.parse("JWT_ALGORITHM", "RS256, ES256 or EdDSA", |text| match text {
        "RS256" => Some(PemAlgorithm::Rs256),
        "ES256" => Some(PemAlgorithm::Es256),
        "EdDSA" => Some(PemAlgorithm::EdDsa),
        _ => None,
    })?;
    let text = reader.text("JWT_PUBLIC_KEY");
    // In a variable of the environment the ends of lines are often written so.
    let pem = if is_pem(&text) { text.replace("\\n", "\n") } else { file(reader, "JWT_PUBLIC_KEY")? };
    Some(JwtKey::Pem { algorithm, pem })
}

fn file(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    let path = reader.text(name);
    match std::fs::read_to_string(Path::new(&path)) {
        Ok(text) => Some(text),
        Err(error) => {
            reader.fault(name, &format!("the file can't be read: {error}"));
            None
        }
    }
}

fn proxies(reader: &mut Reader<'_>) -> TrustedProxies {
    match TrustedProxies::parse(&reader.text("TRUSTED_PROXIES")) {
        Ok(proxies) => proxies,
        Err(error) => {
            reader.fault("TRUSTED_PROXIES", &error.to_string());
            TrustedProxies::default()
        }
    }
}

fn origins(reader: &mut Reader<'_>) -> Origins {
    let allowed = "*, none, or origins such as https://app.example.com, comma-separated";
    let origin = |text: &str| {
        let url = Url::parse(text.trim()).ok()?;
        let plain = matches!(url.scheme(), "http" | "https") && matches!(url.path(), "/" | "") && url.query().is_none();
        (plain && url.host().is_some()).then(|| url.origin().ascii_serialization())
    };
    let parsed = reader.parse("CORS_ORIGINS", allowed, |text| match text {
        "*" => Some(Origins::Any),
        "none" => Some(Origins::Listed(Vec::new())),
        list => list.split(',').map(origin).collect::<Option<Vec<_>>>().map(Origins::Listed),
    });
    parsed.unwrap_or(Origins::Listed(Vec::new()))
}

fn tls(reader: &mut Reader<'_>) -> Option<TlsSettings> {
    for name in ["TLS_CERT", "TLS_KEY"] {
        let text = reader.text(name);
        if is_key(&text) && !Path::new(&text).exists() {
            reader.fault(name, "must be the path of a PEM file");
        }
    }
    match (reader.is_set("TLS_CERT"), reader.is_set("TLS_KEY")) {
        (false, false) => None,
        (true, true) => Some(TlsSettings {
            certificate: PathBuf::from(reader.text("TLS_CERT")),
            key: PathBuf::from(reader.text("TLS_KEY")),
        }),
        (true, false) => {
            reader.fault("TLS_CERT", "TLS_KEY must be set, too");
            None
        }
        (false, true) => {
            reader.fault("TLS_KEY", "TLS_CERT must be set, too");
            None
        }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
