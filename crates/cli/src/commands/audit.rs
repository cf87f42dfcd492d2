//! `audit verify`: walks the chain of the audit log.

use std::time::Duration;

use gateway_config::{Overrides, Settings};
use gateway_core::audit::{AuditEntry, ChainCheck};
use gateway_db::{AuditRecord, Database, DbError};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::cli::Setting;
use crate::commands::submit::bar;
use crate::exit::Failure;
use crate::http::{Remote, elsewhere};
use crate::output::Output;
use crate::stores::open_beside;

const PAGE: i64 = 1_000;

/// Says whether every entry is as it was written, and else which is the first that is not.
pub(crate) async fn verify(setting: &Setting<'_>, gateway: Option<&str>) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let mut check = ChainCheck::default();
    let walked = match gateway {
        Some(url) => of_gateway(&Remote::new(url)?.with_key(&settings), &mut check, setting.output).await?,
        None => of_settings(&settings, &mut check, setting.output).await?,
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

/// In the database, or through the gateway that holds it.
async fn of_settings(settings: &Settings, check: &mut ChainCheck, output: Output) -> Result<Result<(), i64>, Failure> {
    match open_beside(settings).await {
        Ok(database) => of_database(&database, check).await,
        Err(held @ DbError::InUse { .. }) => {
            let walked = of_gateway(&Remote::local(settings)?, check, output).await;
            walked.map_err(|error| elsewhere(error, &held))
        }
        Err(error) => Err(Failure::failed(error)),
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
async fn of_gateway(remote: &Remote, check: &mut ChainCheck, output: Output) -> Result<Result<(), i64>, Failure> {
    let bar = bar(output);
    let records = all(remote, &bar, output).await;
    bar.finish_and_clear();
    let mut records = records?;
    records.reverse();
    Ok(walk(check, &records))
}

/// All entries, as fast as the gateway lets this caller ask.
async fn all(remote: &Remote, bar: &ProgressBar, output: Output) -> Result<Vec<AuditRecord>, Failure> {
    let mut records = Vec::new();
    let mut cursor = String::new();
    let mut told = false;
    loop {
        let page = match remote.get_or_wait(&format!("/audit?limit=100{cursor}")).await? {
            Ok(page) => page,
            Err(wait) => {
                if !told && bar.is_hidden() && !output.is_json() {
                    output.note(slowly(records.len(), wait));
                }
                told = true;
                bar.set_message(slowly(records.len(), wait));
                tokio::time::sleep(wait).await;
                continue;
            }
        };
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        records.extend(items.iter().filter_map(record));
        bar.set_position(percent(&records));
        bar.set_message(format!("{} entries", records.len()));
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(records),
        }
    }
}

fn slowly(entries: usize, wait: Duration) -> String {
    format!(
        "{entries} entries; the gateway takes no more requests for {} s: it goes on as fast as it may",
        wait.as_secs()
    )
}

/// How many of all are there: the first is the newest, and they are counted from 1.
fn percent(records: &[AuditRecord]) -> u64 {
    let all = records.first().and_then(|record| u64::try_from(record.entry.seq).ok()).unwrap_or(0).max(1);
    u64::try_from(records.len()).unwrap_or(u64::MAX).saturating_mul(100) / all
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
