//! The settings: what in them is wrong, or dangerous where the gateway stands.

use std::net::IpAddr;
use std::path::Path;

use gateway_config::{ConfigError, Environment, Origins, Settings, secrets_in};

use super::finding::{Area, Finding};

const AREA: Area = Area::Configuration;
const MAKE_KEY: &str = "comfyui-gateway keys create --name ops --role admin";

/// The settings can't be read, or hold what makes no sense: a finding a fault.
pub(super) fn unusable(error: &ConfigError) -> Vec<Finding> {
    let remedy = "correct it there; docs/CONFIGURATION.md has all variables";
    match error {
        ConfigError::Invalid { faults } => {
            faults.iter().map(|fault| Finding::unusable(fault.as_str(), remedy)).collect()
        }
        error => vec![Finding::unusable(error.to_string(), remedy)],
    }
}

/// Looks at the settings of a process, which `works` where it runs jobs.
pub(super) fn look(settings: &Settings, env_file: &Path, works: bool) -> Vec<Finding> {
    let mut findings = vec![overview(settings)];
    findings.extend(named_twice(settings));
    findings.extend(open_file(env_file));
    findings.extend(settings.warnings(works).map(at_start));
    findings
}

/// Looks who may call an API. `has_keys`: whether a key was ever made in the database, where that is known.
pub(super) fn access(settings: &Settings, has_keys: Option<bool>) -> Vec<Finding> {
    let asks = if settings.access.knows_callers() { Some(true) } else { has_keys };
    let mut findings = vec![credentials(settings, asks)];
    findings.extend(weak_keys(settings));
    findings.extend(origins(settings, asks));
    findings.extend(way_in(settings, asks));
    findings.extend(raw(settings, asks));
    findings
}

fn overview(settings: &Settings) -> Finding {
    let kind = match settings.environment {
        Environment::Development => "development",
        Environment::Test => "test",
        Environment::Production => "production",
    };
    let queue = settings.queue.redis.as_ref().map_or("in its own process", |redis| redis.shown.as_str());
    let (database, outputs) = (settings.database.shown(), settings.storage.backend.shown());
    Finding::ok(AREA, format!("can be used: {kind}; database {database}, outputs {outputs}, queue {queue}"))
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_production(settings: &Settings) -> bool {
    settings.environment == Environment::Production
}

fn credentials(settings: &Settings, asks: Option<bool>) -> Finding {
    let host = &settings.http.host;
    match asks {
        Some(true) if is_production(settings) || is_local(host) => {
            Finding::ok(AREA, "callers are asked for credentials")
        }
        Some(true) => Finding::note(AREA, "callers are asked for credentials; GATEWAY_ENV is not production")
            .mended_by(
                "GATEWAY_ENV=production where others depend on it: it then refuses to start open or with weak keys",
            ),
        None => {
            let seen = "whether callers are asked for credentials is not known: neither API_KEYS nor tokens are set, \
                        and the database can't be read";
            Finding::warning(AREA, seen, "mend the database; or set API_KEYS")
        }
        Some(false) if is_production(settings) => {
            let seen =
                "GATEWAY_ENV is production, and nobody would be asked for credentials: the gateway does not start";
            Finding::error(AREA, seen, format!("{MAKE_KEY}; or set API_KEYS or JWT_SECRET"))
        }
        Some(false) if is_local(host) => {
            Finding::note(AREA, format!("nobody is asked for credentials; only this machine reaches HOST={host}"))
        }
        Some(false) => {
            let port = settings.http.port;
            let seen = format!(
                "nobody is asked for credentials, and HOST={host} is open: whoever reaches port {port} may use it"
            );
            Finding::warning(AREA, seen, format!("{MAKE_KEY}; or HOST=127.0.0.1"))
        }
    }
}

fn weak_keys(settings: &Settings) -> Option<Finding> {
    let weak = settings.access.keys.weak().count();
    let seen = format!("{weak} of the keys in API_KEYS can be guessed");
    (weak > 0).then(|| Finding::warning(AREA, seen, "at least 16 random characters for each: `openssl rand -hex 24`"))
}

fn origins(settings: &Settings, asks: Option<bool>) -> Option<Finding> {
    if settings.access.origins != Origins::Any {
        return None;
    }
    let remedy = "CORS_ORIGINS=none, or the origins of your own pages";
    Some(match asks {
        Some(true) => {
            Finding::note(AREA, "pages of any origin may call (CORS_ORIGINS=*), with a key").mended_by(remedy)
        }
        _ => {
            let seen =
                "pages of any origin may call (CORS_ORIGINS=*), without a key: any page that somebody opens here";
            Finding::warning(AREA, seen, remedy)
        }
    })
}

/// What is between callers and the API.
fn way_in(settings: &Settings, asks: Option<bool>) -> Option<Finding> {
    let access = &settings.access;
    if let Some(tls) = &access.tls {
        let error = gateway_api::check_tls(tls).err()?;
        let remedy = "TLS_CERT is the certificate with its chain and TLS_KEY the key of it, both PEM, where the user of \
                      the gateway can read them";
        return Some(Finding::error(AREA, format!("{error}: the API does not start"), remedy));
    }
    if is_local(&settings.http.host) || !access.proxies.is_empty() || asks != Some(true) {
        return None;
    }
    let seen = "neither TLS_CERT nor TRUSTED_PROXIES is set: without a proxy keys travel in the clear, and behind one \
                all callers are one address, which a few wrong keys lock out";
    let remedy = "TLS_CERT and TLS_KEY, or a proxy with TLS and its address in TRUSTED_PROXIES";
    Some(if is_production(settings) {
        Finding::warning(AREA, seen, remedy)
    } else {
        Finding::note(AREA, seen).mended_by(remedy)
    })
}

fn raw(settings: &Settings, asks: Option<bool>) -> Option<Finding> {
    let open = settings.access.raw.enabled && asks != Some(true);
    let seen = "graphs that are not registered may be run (ALLOW_RAW_WORKFLOWS), and nobody is asked for credentials: \
                ComfyUI's nodes can read and write files, and some run programs";
    open.then(|| Finding::warning(AREA, seen, format!("{MAKE_KEY}; or ALLOW_RAW_WORKFLOWS=false")))
}

fn named_twice(settings: &Settings) -> Option<Finding> {
    let urls: Vec<&str> = settings.comfyui.backends.iter().map(|backend| backend.display_url.as_str()).collect();
    let twice = urls.iter().enumerate().find(|(place, url)| urls.iter().take(*place).any(|other| other == *url));
    let (_, url) = twice?;
    let seen = format!("COMFYUI_URL names {url} twice: it gets twice as many jobs as it has room for");
    Some(Finding::warning(AREA, seen, "name each server once"))
}

/// A file with secrets that any user of this machine may read.
fn open_file(env_file: &Path) -> Option<Finding> {
    if !is_open(env_file) {
        return None;
    }
    let names = secrets_in(env_file);
    let shown = env_file.display();
    let seen = format!("{shown} holds {}, and any user of this machine may read it", names.join(", "));
    (!names.is_empty()).then(|| Finding::warning(AREA, seen, format!("chmod 600 {shown}")))
}

#[cfg(unix)]
fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open(_file: &Path) -> bool {
    false
}

/// What the gateway warns of when it starts, with what to do.
fn at_start(warning: &str) -> Finding {
    const KNOWN: [(&str, Area, &str); 4] = [
        (
            "WEBHOOK_SECRET",
            Area::Webhooks,
            "echo \"WEBHOOK_SECRET=whsec_$(openssl rand -base64 32)\" >> .env, and give receivers the same text",
        ),
        ("unknown names", AREA, "correct the spelling (.env.example has all names), or keep them elsewhere"),
        (
            "REDIS_URL is set and DATABASE_URL",
            AREA,
            "keep all processes on this machine, or DATABASE_URL=postgres://user:password@host/gateway",
        ),
        (
            "REDIS_URL is set and outputs",
            AREA,
            "let all processes see the same folder, or STORAGE_PROVIDER=s3 with a bucket",
        ),
    ];
    let known = KNOWN.iter().find(|(beginning, ..)| warning.starts_with(beginning));
    let (area, remedy) = known.map_or((AREA, "see docs/CONFIGURATION.md"), |(_, area, remedy)| (*area, *remedy));
    Finding::warning(area, warning, remedy)
}

#[cfg(test)]
mod tests {
    use gateway_config::Overrides;

    use super::*;
    use crate::commands::doctor::finding::Report;

    fn told(text: &str, has_keys: Option<bool>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        std::fs::write(&file, text).unwrap();
        let settings = gateway_config::load(&file, &Overrides::default()).unwrap();
        let findings = [look(&settings, &file, true), access(&settings, has_keys)].concat();
        Report::new(findings, false).text(false)
    }

    #[test]
    fn what_is_dangerous_is_named_with_what_to_do() {
        let key = "API_KEYS=0123456789abcdef01234567:admin:ops\n";
        for (text, has_keys, part) in [
            ("HOST=0.0.0.0\nPORT=3001", Some(false), "whoever reaches port 3001 may use it"),
            ("HOST=0.0.0.0", None, "is not known"),
            ("HOST=127.0.0.1", Some(false), "only this machine reaches"),
            ("HOST=0.0.0.0", Some(true), "GATEWAY_ENV is not production"),
            ("GATEWAY_ENV=production", Some(false), "does not start"),
            ("API_KEYS=k:admin:ops", None, "1 of the keys in API_KEYS can be guessed"),
            ("CORS_ORIGINS=*", Some(false), "without a key"),
            ("CORS_ORIGINS=*", Some(true), "with a key"),
            ("GATEWAY_ENV=production", Some(true), "neither TLS_CERT nor TRUSTED_PROXIES"),
            ("TLS_CERT=gone.pem\nTLS_KEY=gone.pem", Some(true), "TLS_CERT can't be used: gone.pem: "),
            ("ALLOW_RAW_WORKFLOWS=true", Some(false), "ALLOW_RAW_WORKFLOWS"),
            ("COMFYUI_URL=http://a:1,http://b:1,http://a:1", None, "names http://a:1 twice"),
            ("COMFY_URL=http://a:1", None, "unknown names in .env are ignored: COMFY_URL"),
            ("", None, "openssl rand -base64 32"),
            ("REDIS_URL=redis://h", None, "DATABASE_URL=postgres://"),
            ("REDIS_URL=redis://h", None, "STORAGE_PROVIDER=s3 with a bucket"),
        ] {
            let report = told(text, has_keys);
            assert!(report.contains(part), "{text:?}: no `{part}` in:\n{report}");
        }
        let report =
            told(&format!("{key}HOST=127.0.0.1\nCORS_ORIGINS=none\nWEBHOOK_SECRET={}\n", "x".repeat(32)), None);
        assert!(!report.contains("0123456789abcdef") && !report.contains("xxxx"), "{report}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_secrets_that_anybody_may_read_is_told_by_their_names() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        let text =
            "# JWT_SECRET=x\nPORT=1\nexport S3_SECRET_KEY=s3cret\nDATABASE_URL=postgres://a:s3cret@h/db\nREDIS_URL=\n";
        std::fs::write(&file, text).unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let told = Report::new(open_file(&file).into_iter().collect(), false).text(false);
        assert!(told.contains("holds DATABASE_URL, S3_SECRET_KEY, and any user") && !told.contains("s3cret"), "{told}");
        mode(0o640);
        assert!(open_file(&file).is_none());
    }
}
