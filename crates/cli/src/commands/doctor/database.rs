//! The database: whether it answers, and how its tables are. Neither makes it nor locks it.

use std::path::Path;

use gateway_config::{DatabaseSettings, Settings};
use gateway_db::{Content, DbError, Look};

use super::clocks::Skew;
use super::finding::{Area, Finding};
use super::{DEADLINE, disk};

const AREA: Area = Area::Database;

/// What was seen of it.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    pub(super) skew: Option<Skew>,
    /// `None` where it could not be read.
    pub(super) content: Option<Content>,
}

impl Seen {
    fn only(finding: Finding) -> Self {
        Self { findings: vec![finding], ..Self::default() }
    }
}

/// Looks at it.
pub(super) async fn look(settings: &Settings) -> Seen {
    let database = settings.database.clone();
    let looking = tokio::task::spawn_blocking(move || see(&database));
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => Seen::only(Finding::error(AREA, format!("the look at it broke off: {error}"), "try again")),
        Err(_elapsed) => {
            let seen = format!("{} does not answer within {} s", settings.database.shown(), DEADLINE.as_secs());
            let remedy = "see whether the server (or the disk) hangs, and whether a firewall drops what is sent to it";
            Seen::only(Finding::unreachable(AREA, seen, remedy))
        }
    }
}

fn see(settings: &DatabaseSettings) -> Seen {
    let mut seen = Seen::default();
    if let Some(path) = settings.file() {
        seen.findings.extend(place(path));
        if !path.exists() {
            let text = format!("{} is not there yet: the first start makes it", path.display());
            seen.findings.push(Finding::note(AREA, text).mended_by("comfyui-gateway init"));
            seen.content = Some(Content { has_keys: false, workflows: Vec::new() });
            return seen;
        }
    }
    match Look::at(settings) {
        Ok(look) => {
            seen.findings.insert(0, judge(&look, &settings.shown()));
            let of = |ahead_ms| Skew { of: settings.shown(), ahead_ms };
            seen.skew = look.ahead_ms.map(of);
            seen.content = look.content;
        }
        Err(error) => seen.findings.insert(0, trouble(&error, settings)),
    }
    seen
}

/// Where the file lies, or will lie.
fn place(path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let whole = std::path::absolute(path).unwrap_or_else(|_no_place| path.to_owned());
    let folder = disk::nearest(whole.parent().unwrap_or(&whole));
    let closed = if path.exists() && !disk::may_write(path) { Some(path) } else { None };
    if let Some(closed) = closed.or((!disk::takes_files(&folder)).then_some(folder.as_path())) {
        let seen = format!("{} can't be written to by this user", closed.display());
        let remedy = "give it to the user of the gateway (`chown`), mount it writable, or correct DATABASE_URL; SQLite \
                      writes beside its file, too";
        findings.push(Finding::error(AREA, seen, remedy));
    }
    findings.extend(disk::room(AREA, "the database", &folder));
    findings
}

fn judge(look: &Look, shown: &str) -> Finding {
    let engine = &look.engine;
    if look.later {
        let seen = format!("{shown}: a later version of the gateway has changed its tables");
        return Finding::error(AREA, seen, "use that version, or restore the backup from before the update");
    }
    if look.follows {
        let seen = format!("{shown} only follows another server, and takes no writes");
        return Finding::error(AREA, seen, "name the primary in DATABASE_URL");
    }
    match look.pending {
        0 => Finding::ok(AREA, format!("{engine}, {shown}: its tables are up to date")),
        steps => {
            let seen = format!("{engine}, {shown}: the next start brings its tables up to date (steps: {steps})");
            Finding::note(AREA, seen).mended_by("take a backup before it, if anything is in it")
        }
    }
}

fn trouble(error: &DbError, settings: &DatabaseSettings) -> Finding {
    let seen = error.to_string();
    let text = seen.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if settings.file().is_some() {
        let damaged = has(&["not a database", "malformed", "corrupt", "can't be read"]);
        let remedy = match damaged {
            true => "it is no database of the gateway, or damaged: correct DATABASE_URL, or restore the backup",
            false => "see who may read the file and its folder, and whether the disk is well",
        };
        return Finding::error(AREA, seen, remedy);
    }
    let wrong = match () {
        () if has(&["expected authentication request"]) => {
            "what answers there is no Postgres: correct host and port in DATABASE_URL"
        }
        () if has(&["password", "authentication", "pg_hba"]) => {
            "correct user and password in DATABASE_URL, and percent-encode what is special in a URL (@ : / # %)"
        }
        () if has(&["does not exist", "permission denied"]) => {
            "create the database (`createdb`) for this user, or correct the name in DATABASE_URL"
        }
        () if has(&["ssl"]) => {
            "the usual build speaks no TLS to Postgres: sslmode=disable on a private network, or another build \
             (docs/adr/0005-the-postgres-client-library.md)"
        }
        () if has(&["translate host", "not known", "name resolution"]) => {
            let remedy = "there is no host of that name: check its spelling, DNS, or the compose network";
            return Finding::unreachable(AREA, seen, remedy);
        }
        () => {
            let remedy = "see whether Postgres runs and listens there (host and port in DATABASE_URL), and whether a \
                          firewall is between";
            return Finding::unreachable(AREA, seen, remedy);
        }
    };
    Finding::error(AREA, seen, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Report;

    fn ends(look: &Look) -> String {
        Report::new(vec![judge(look, "somewhere")], true).text(false)
    }

    #[test]
    fn a_database_that_another_version_has_changed_or_that_takes_no_writes_is_an_error() {
        let good = Look {
            engine: String::from("SQLite 3"),
            pending: 0,
            later: false,
            follows: false,
            ahead_ms: None,
            content: None,
        };
        assert!(ends(&good).starts_with("ok"));
        assert!(ends(&Look { pending: 2, ..good.clone() }).starts_with("note"));
        assert!(ends(&Look { later: true, ..good.clone() }).contains("use that version"));
        assert!(ends(&Look { follows: true, ..good }).starts_with("error"));
    }
}
