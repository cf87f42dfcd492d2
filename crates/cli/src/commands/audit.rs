//! `audit verify`: walks the chain of the audit log.

use std::time::Duration;

use gateway_config::Overrides;
use gateway_core::audit::{AuditRecord, ChainCheck, ChainFault, KeptHead};
use gateway_db::Database;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::cli::Setting;
use crate::commands::submit::bar;
use crate::exit::Failure;
use crate::http::{Remote, items_of};
use crate::output::Output;
use crate::place::Place;

const PAGE: i64 = 1_000;

/// Says whether every entry is as it was written, and else which is the first that is not.
pub(crate) async fn verify(
    setting: &Setting<'_>,
    gateway: Option<&str>,
    head: Option<KeptHead>,
) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let kept = head.is_some();
    let mut check = ChainCheck::beside(head);
    let walked = match Place::of_existing(&settings, gateway).await? {
        Place::Database(database) => of_database(&database, &mut check).await?,
        Place::Gateway(remote) => of_gateway(&remote, &mut check, setting.output).await?,
    };
    let walked = walked.and_then(|()| check.end());
    let (entries, head) = check.head();
    let first_bad = walked.err().and_then(|fault| if let ChainFault::Entry(seq) = fault { Some(seq) } else { None });
    let leads = kept.then_some(!matches!(walked, Err(ChainFault::Head(_))));
    setting.output.json(&json!({"entries": entries, "head": head, "firstBad": first_bad, "leadsOverHead": leads}));
    let Err(fault) = walked else {
        setting.output.say(format!(
            "{entries} entries are as they were written\nhead {head}\nkeep that for --head {entries}:{head}: an end that was cut off is told only by it"
        ));
        return Ok(());
    };
    let failure = Failure::failed(match fault {
        ChainFault::Entry(seq) => {
            format!("entry {seq} was changed, removed or put in: the {entries} before it are good")
        }
        ChainFault::Head(seq) => format!(
            "the log does not lead over the kept head of entry {seq}: its end was cut off, or an entry up to {seq} was \
             changed and all after it made anew; which one can't be told"
        ),
    });
    Err(if setting.output.is_json() { failure.told() } else { failure })
}

async fn of_database(database: &Database, check: &mut ChainCheck) -> Result<Result<(), ChainFault>, Failure> {
    loop {
        let page = database.audit_chain(check.head().0, PAGE).await.map_err(Failure::failed)?;
        if page.is_empty() {
            return Ok(Ok(()));
        }
        if let Err(fault) = walk(check, &page) {
            return Ok(Err(fault));
        }
    }
}

fn walk(check: &mut ChainCheck, page: &[AuditRecord]) -> Result<(), ChainFault> {
    page.iter().try_for_each(|record| check.next(&record.entry, &record.hash))
}

/// The same over HTTP, where the newest come first.
async fn of_gateway(
    remote: &Remote,
    check: &mut ChainCheck,
    output: Output,
) -> Result<Result<(), ChainFault>, Failure> {
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
        let mut page = match remote.get_or_wait(&format!("/audit?limit=100{cursor}")).await? {
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
        for item in items_of(&mut page)? {
            records.push(record(item)?);
        }
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

/// An entry as the gateway lists it. One that can't be read is not passed over: without the newest the others are a whole
/// chain still.
fn record(item: Value) -> Result<AuditRecord, Failure> {
    let seq = item.get("seq").and_then(Value::as_i64);
    serde_json::from_value(item).map_err(|error| {
        let which = seq.map_or_else(|| String::from("an entry"), |seq| format!("entry {seq}"));
        let advice = "check with a program of the gateway's own version, or where the database is";
        Failure::failed(format!("{which} can't be read as the gateway tells it: {error}")).adding(advice)
    })
}
