//! Whatever ends a job, in a database that redacts nothing says afterwards what it was about: the same on either engine.

use diesel::prelude::*;
use gateway_core::event::{LogLevel, LogLine};
use gateway_core::record::{JobOptions, REDACTED};
use gateway_core::webhook::{Callback, WebhookEvent};
use gateway_core::{ErrorCode, JobError, JobId, JobStatus, Scope, Timestamp, UploadId};
use serde_json::{Map, Value, json};

use super::tests::{accept_and_claim, claim, find, job, output, settlement, upload};
use crate::Database;
use crate::jobs::*;
use crate::rows::{JobRow, LogRow};
use crate::schema::{deliveries, job_logs, jobs};
use crate::testing::{Place, on_both_engines};

const CANARY: &str = "canary-in-a-prompt";
const FAR: Timestamp = Timestamp::from_millis(i64::MAX);

/// A job that is about the canary, and tells of all that happens to it.
fn secret(number: u8) -> NewJob {
    let values = |name: &str| Map::from_iter([(name.to_owned(), json!({"text": [CANARY]}))]);
    let events = vec![WebhookEvent::Started, WebhookEvent::Succeeded, WebhookEvent::Failed, WebhookEvent::Canceled];
    let callback = Some(Callback { url: String::from("https://a.example/"), events });
    NewJob {
        inputs: values("prompt"),
        params: values("style"),
        resolved: values("prompt").into_iter().chain(values("style")).collect(),
        metadata: Map::from_iter([(String::from("mine"), json!("kept"))]),
        options: JobOptions { callback, ..JobOptions::default() },
        ..job(number, "a")
    }
}

/// All texts that the database has of jobs.
async fn everything(database: &Database) -> String {
    let read = |connection: &mut crate::engine::Conn| {
        let rows: Vec<JobRow> = jobs::table.select(JobRow::as_select()).load(connection)?;
        let lines: Vec<LogRow> = job_logs::table.select(LogRow::as_select()).load(connection)?;
        let bodies: Vec<String> = deliveries::table.select(deliveries::body).load(connection)?;
        Ok(format!("{rows:?}\n{lines:?}\n{bodies:?}"))
    };
    database.write(read).await.unwrap()
}

async fn is_redacted(database: &Database, id: JobId, status: JobStatus) {
    let found = find(database, id).await;
    assert_eq!(found.status, status);
    assert!(found.options.redacted && found.is_forgotten(), "{found:?}");
    let redacted = |name: &str| Map::from_iter([(name.to_owned(), json!(REDACTED))]);
    assert_eq!((&found.inputs, &found.params), (&redacted("prompt"), &redacted("style")));
    assert_eq!(Value::Object(found.resolved), json!({"prompt": REDACTED, "style": REDACTED}));
    assert_eq!(Value::Object(found.metadata), json!({"mine": "kept"}));
}

async fn whatever_ends_a_job_takes_out_what_it_was_about(place: Place) {
    let database = place.open_private();
    for (number, status) in [(1, JobStatus::Succeeded), (2, JobStatus::Failed), (3, JobStatus::Canceled)] {
        let lease = accept_and_claim(&database, &secret(number)).await;
        let outputs = if status == JobStatus::Succeeded { vec![output("a.png")] } else { Vec::new() };
        database.settle_job(lease, settlement(status, outputs)).await.unwrap().unwrap();
        is_redacted(&database, lease.job, status).await;
    }
    let waiting = secret(4);
    database.accept_job(&waiting).await.unwrap();
    assert_eq!(find(&database, waiting.id).await.inputs, waiting.inputs, "it has not ended");
    assert!(matches!(database.cancel_job(waiting.id, Scope::All).await.unwrap(), CancelOutcome::Canceled(_)));
    is_redacted(&database, waiting.id, JobStatus::Canceled).await;

    let lost = accept_and_claim(&database, &secret(5)).await;
    assert_eq!(database.recover_jobs(FAR, 2, 10).await.unwrap().jobs, [lost.job]);
    assert_eq!(find(&database, lost.job).await.inputs, secret(5).inputs, "it is tried again");
    database.claim_job(lost.job, claim()).await.unwrap();
    assert_eq!(database.recover_jobs(FAR, 2, 10).await.unwrap().aftermath.ended.len(), 1);
    is_redacted(&database, lost.job, JobStatus::Failed).await;

    let all = everything(&database).await;
    assert!(!all.contains(CANARY), "{all}");
    assert_eq!(all.matches(r#"\"type\":\"job.started\""#).count(), 4, "starts are told without it, too");
}

async fn jobs_that_end_with_another_lose_what_they_were_about_with_it(place: Place) {
    let database = place.open_private();
    let shared = |number| {
        let new = secret(number);
        NewJob { options: JobOptions { cache_key: Some(String::from("k")), ..new.options.clone() }, ..new }
    };
    let lease = accept_and_claim(&database, &shared(1)).await;
    let (accepted, _) = database.accept_job(shared(2)).await.unwrap();
    assert!(matches!(accepted, Accepted::Joined(_)), "{accepted:?}");
    database.settle_job(lease, settlement(JobStatus::Succeeded, vec![output("a.png")])).await.unwrap().unwrap();
    for number in [1, 2] {
        is_redacted(&database, shared(number).id, JobStatus::Succeeded).await;
    }
    let all = everything(&database).await;
    assert!(!all.contains(CANARY), "{all}");
}

async fn an_attempt_that_is_followed_by_another_keeps_what_that_needs(place: Place) {
    let database = place.open_private();
    let lease = accept_and_claim(&database, &secret(1)).await;
    let release = Release { not_before: None, used_attempt: true, prompt_may_live: false, logs: Vec::new() };
    assert!(database.release_job(lease, release).await.unwrap());
    let claimed = database.claim_job(lease.job, claim()).await.unwrap().unwrap();
    assert_eq!((claimed.job.resolved, claimed.job.options.redacted), (secret(1).resolved, false));
}

async fn files_of_callers_go_with_the_last_job_that_needs_them(place: Place) {
    let database = place.open_private();
    let upload = async |number| upload(&database, number, FAR).await;
    let (own, shared, unused) = (upload(1).await, upload(2).await, upload(3).await);
    let with = |number: u8, uploads: Vec<UploadId>| Acceptance { uploads, ..secret(number).into() };
    database.accept_job(with(1, vec![own, shared])).await.unwrap();
    database.accept_job(with(2, vec![shared])).await.unwrap();
    let is_there = async |id| database.find_upload(id, Scope::All).await.unwrap().is_some();

    database.cancel_job(secret(1).id, Scope::All).await.unwrap();
    assert_eq!((is_there(own).await, is_there(shared).await), (false, true));
    assert_eq!(database.trash(10).await.unwrap(), [format!("uploads/{own}")]);
    database.cancel_job(secret(2).id, Scope::All).await.unwrap();
    assert_eq!((is_there(shared).await, is_there(unused).await), (false, true));
    assert!(database.trash(10).await.unwrap().contains(&format!("uploads/{shared}")));

    // One that has ended as soon as it is accepted.
    let named = |number: u8| {
        let options = JobOptions { cache_key: Some(String::from("k")), ..JobOptions::default() };
        NewJob { options, ..secret(number) }
    };
    let made = accept_and_claim(&database, &named(3)).await;
    let cache_for = Some(std::time::Duration::from_secs(3_600));
    let settlement = Settlement { cache_for, ..settlement(JobStatus::Succeeded, vec![output("a.png")]) };
    database.settle_job(made, settlement).await.unwrap().unwrap();
    let hit = Acceptance { uploads: vec![unused], ..named(4).into() };
    assert_eq!(database.accept_job(hit).await.unwrap().0, Accepted::Hit);
    assert!(!is_there(unused).await);
}

fn retry_line() -> LogLine {
    LogLine {
        time: Timestamp::from_millis(1),
        level: LogLevel::Warn,
        event: String::from("retry"),
        message: format!("attempt 1 failed: {CANARY}"),
        node: None,
    }
}

/// Looks at all records, two at a time; gives how many jobs were redacted.
async fn redact_all(database: &Database) -> usize {
    let (mut after, mut redacted) = (None, 0);
    loop {
        let page = database.redact_earlier(after, 2).await.unwrap();
        redacted += page.jobs;
        if page.last.is_none() {
            return redacted;
        }
        after = page.last;
    }
}

async fn what_a_run_left_that_did_not_redact_is_taken_out_later(place: Place) {
    let database = place.open_shared();
    let done = accept_and_claim(&database, &secret(1)).await;
    database.settle_job(done, settlement(JobStatus::Succeeded, vec![output("a.png")])).await.unwrap().unwrap();
    let failed = accept_and_claim(&database, &secret(2)).await;
    let error = JobError::new(ErrorCode::ComfyuiNodeError, CANARY).recommend("look at the node");
    let failure =
        Settlement { error: Some(error), logs: vec![retry_line()], ..settlement(JobStatus::Failed, Vec::new()) };
    database.settle_job(failed, failure).await.unwrap().unwrap();
    let again = accept_and_claim(&database, &secret(3)).await;
    let logs = vec![retry_line()];
    let release = Release { not_before: None, used_attempt: true, prompt_may_live: false, logs };
    assert!(database.release_job(again, release).await.unwrap());
    assert_eq!(redact_all(&database).await, 0, "nothing is redacted where that is not wanted");
    assert!(everything(&database).await.matches(CANARY).count() > 6);
    drop(database);

    let database = place.open_private();
    assert_eq!(redact_all(&database).await, 2);
    assert_eq!(redact_all(&database).await, 0, "once is enough");
    is_redacted(&database, done.job, JobStatus::Succeeded).await;
    is_redacted(&database, failed.job, JobStatus::Failed).await;
    let error = find(&database, failed.job).await.error.unwrap();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::ComfyuiNodeError, REDACTED));
    assert_eq!(error.recommendation.as_deref(), Some("look at the node"));
    let waiting = find(&database, again.job).await;
    assert_eq!((waiting.status, waiting.inputs), (JobStatus::Queued, secret(3).inputs));
    database.cancel_job(again.job, Scope::All).await.unwrap();
    let all = everything(&database).await;
    assert!(!all.contains(CANARY), "{all}");
}

on_both_engines!(
    whatever_ends_a_job_takes_out_what_it_was_about,
    jobs_that_end_with_another_lose_what_they_were_about_with_it,
    an_attempt_that_is_followed_by_another_keeps_what_that_needs,
    files_of_callers_go_with_the_last_job_that_needs_them,
    what_a_run_left_that_did_not_redact_is_taken_out_later,
);

/// How often the canary is in the files of the database at `place`.
fn in_files(place: &Place) -> usize {
    let settings = place.settings();
    let folder = settings.file().and_then(std::path::Path::parent).unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count()).sum()
}

/// Runs many jobs of different sizes, several at a time, so that rows move about in the file.
async fn run_many(database: &Database) {
    let mut running = Vec::new();
    for number in 1..=250_u8 {
        let length = usize::from(number) * 37 % 1_500;
        let mut new = secret(number);
        new.inputs.insert(String::from("more"), json!(format!("{CANARY}{}", "x".repeat(length))));
        running.push(accept_and_claim(database, &new).await);
        if number % 5 == 0 {
            for lease in running.drain(..) {
                database.settle_job(lease, settlement(JobStatus::Canceled, Vec::new())).await.unwrap().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn the_files_of_a_database_that_redacts_hold_nothing_of_it_once_they_are_scrubbed() {
    let place = Place::sqlite();
    let database = place.open_private();
    run_many(&database).await;
    assert!(in_files(&place) > 0, "the log of writes has it until then");
    database.scrub(false).await.unwrap();
    // What moved about has left copies in unused places: few.
    assert!(in_files(&place) < 125, "{}", in_files(&place));
    database.scrub(true).await.unwrap();
    assert_eq!(in_files(&place), 0);
    assert_eq!(find(&database, secret(7).id).await.status, JobStatus::Canceled, "the records are all there");
}

#[tokio::test]
async fn scrubbing_changes_nothing_in_a_database_that_does_not_redact() {
    let place = Place::sqlite();
    let database = place.open();
    run_many(&database).await;
    database.scrub(true).await.unwrap();
    assert!(in_files(&place) >= 250);
    assert_eq!(find(&database, secret(7).id).await.inputs.len(), 2);
}
