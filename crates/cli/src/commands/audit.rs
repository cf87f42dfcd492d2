//! `audit verify`: walks the chain of the audit log.

use gateway_config::Overrides;
use gateway_core::audit::{AuditEntry, ChainCheck};
use gateway_db::{AuditRecord, Database, DbError};
use serde_json::{Value, json};

use crate::cli::Setting;
use crate::exit::Failure;
use crate::http::{Remote, elsewhere};
use crate::stores::open_beside;

const PAGE: i64 = 1_000;

/// Says whether every entry is as it was written, and else which is the first that is not.
pub(crate) async fn verify(setting: &Setting<'_>) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let mut check = ChainCheck::default();
    let walked = match open_beside(&settings).await {
        Ok(database) => of_database(&database, &mut check).await?,
        Err(held @ DbError::InUse { .. }) => {
            let remote = Remote::local(&settings)?;
            of_gateway(&remote, &mut check).await.map_err(|error| elsewhere(error, &held))?
        }
        Err(error) => return Err(Failure::failed(error)),
    };
    let (entries, head) = check.head();
    setting.output.json(&json!({"entries": entries, "head": head, "firstBad": walked.err()}));
    match walked {
        Ok(()) => {
            setting.output.say(format!(
                "{entries} entries are as they were written\nhead {head}\nkeep that: an end that was cut off is told only by it"
            ));
            Ok(())
        }
        Err(seq) => Err(Failure::failed(format!(
            "entry {seq} was changed, removed or put in: the {entries} before it are good"
        ))),
    }
}

async fn of_database(database: &Database, check: &mut ChainCheck) -> Result<Result<(), i64>, Failure> {
    loop {
        let page = database.audit_chain(check.head().0, PAGE).await.map_err(Failure::failed)?;
        if page.is_empty() {
            return Ok(Ok(()));
        }
        if let Err(seq) = walk(check, &page) {
            return Ok(Err(seq));
        }
    }
}

fn walk(check: &mut ChainCheck, page: &[AuditRecord]) -> Result<(), i64> {
    page.iter().try_for_each(|record| check.next(&record.entry, &record.hash))
}

/// The same over HTTP, where the newest come first.
async fn of_gateway(remote: &Remote, check: &mut ChainCheck) -> Result<Result<(), i64>, Failure> {
    let mut records = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = remote.get(&format!("/audit?limit=100{cursor}")).await?;
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        records.extend(items.iter().filter_map(record));
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    records.reverse();
    Ok(walk(check, &records))
}

fn record(item: &Value) -> Option<AuditRecord> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let entry = AuditEntry {
        seq: item.get("seq")?.as_i64()?,
        time: gateway_core::Timestamp::parse(&text("time")?)?,
        actor: text("actor")?,
        action: text("action")?,
        target: text("target")?,
        correlation_id: text("correlationId")?,
        address: text("address")?,
        detail: text("detail")?,
    };
    Some(AuditRecord { entry, hash: text("hash")? })
}
