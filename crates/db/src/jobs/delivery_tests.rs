//! What the end of a job means for others, and requests that are repeated: the same on either engine.

use std::collections::HashSet;
use std::time::Duration;

use gateway_core::record::JobOptions;
use gateway_core::webhook::{Callback, WebhookEvent};
use gateway_core::{BatchId, DeliveryId, ErrorCode, JobId, JobStatus, Owner, Priority, Scope, Timestamp, TraceParent};
use serde_json::{Map, Value, json};

use super::tests::{accept_and_claim, claim, find, job, output, settlement, upload};
use crate::jobs::*;
use crate::testing::{Place, on_both_engines};
use crate::{Database, DeliveryTry, NewBatch, NextTry};

const TTL: Duration = Duration::from_secs(3_600);
const HOLD: Duration = Duration::from_secs(60);

fn callback(url: &str) -> Option<Callback> {
    Some(Callback { url: url.to_owned(), events: WebhookEvent::FINAL.to_vec() })
}

fn with(number: u8, options: JobOptions) -> NewJob {
    NewJob { options, ..job(number, "a") }
}

fn cached(number: u8, key: &str) -> NewJob {
    with(
        number,
        JobOptions {
            cache_key: Some(key.to_owned()),
            callback: callback("https://a.example/x"),
            ..JobOptions::default()
        },
    )
}

fn keyed(job: NewJob, key: &str, body: &str) -> Acceptance {
    let request = RequestKey { key: key.to_owned(), body_hash: body.to_owned() };
    Acceptance { request: Some(request), ..job.into() }
}

fn success(file: &str, job: JobId) -> Settlement {
    let mut output = output(file);
    output.storage_key = format!("{}{file}", gateway_core::output::storage_prefix(job, 1));
    Settlement { cache_for: Some(TTL), ..settlement(JobStatus::Succeeded, vec![output]) }
}

async fn due(database: &Database) -> Vec<crate::DueDelivery> {
    database.due_deliveries(64, 4, HOLD).await.unwrap()
}

fn trace(number: u64) -> Option<TraceParent> {
    TraceParent::new(u128::MAX, number, 1)
}

fn ends(aftermath: &Aftermath) -> Vec<(JobId, JobStatus)> {
    aftermath.ended.iter().map(|change| (change.job, change.to)).collect()
}

async fn run_to_success(database: &Database, id: JobId) -> Aftermath {
    let claimed = database.claim_job(id, claim()).await.unwrap().unwrap();
    let lease = Lease { job: id, epoch: claimed.job.epoch };
    database.settle_job(lease, success("image_001.png", id)).await.unwrap().unwrap()
}

async fn a_job_that_ends_leaves_one_message_with_what_its_owner_sees(place: Place) {
    let database = place.open();
    for (number, status) in [(1, JobStatus::Succeeded), (2, JobStatus::Failed), (3, JobStatus::Canceled)] {
        let new = with(number, JobOptions { callback: callback("https://a.example/hook"), ..JobOptions::default() });
        let lease = accept_and_claim(&database, &new).await;
        let outputs = if status == JobStatus::Succeeded { vec![output("a.png")] } else { Vec::new() };
        let aftermath = database.settle_job(lease, settlement(status, outputs)).await.unwrap().unwrap();
        assert!(aftermath.messages);
        let [message] = due(&database).await.try_into().unwrap();
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["type"], format!("job.{status}"));
        assert_eq!(body["id"], json!(message.id));
        assert_eq!((&body["data"]["jobId"], &body["data"]["status"]), (&json!(new.id), &json!(status)));
        assert_eq!(body["data"]["outputs"].as_array().unwrap().len(), usize::from(status == JobStatus::Succeeded));
        assert_eq!((message.host.as_str(), message.try_number), ("a.example:443", 1));
        // Nobody else gets it while it is held.
        assert!(due(&database).await.is_empty());
    }
    // A job canceled before it ran, and one whose workers were lost.
    let queued = with(4, JobOptions { callback: callback("https://b.example/"), ..JobOptions::default() });
    database.accept_job(&queued).await.unwrap();
    let CancelOutcome::Canceled(aftermath) = database.cancel_job(queued.id, Scope::All).await.unwrap() else {
        panic!()
    };
    assert!(aftermath.messages);
    let lost = with(5, JobOptions { callback: callback("https://c.example/"), ..JobOptions::default() });
    accept_and_claim(&database, &lost).await;
    let recovered = database.recover_jobs(Timestamp::from_millis(i64::MAX), 1, 10).await.unwrap();
    assert_eq!(ends(&recovered.aftermath), [(lost.id, JobStatus::Failed)]);
    let hosts: HashSet<String> = due(&database).await.into_iter().map(|message| message.host).collect();
    assert_eq!(hosts, HashSet::from([String::from("b.example:443"), String::from("c.example:443")]));
    // One whose claim was lost tells nothing.
    let stale = with(6, JobOptions { callback: callback("https://d.example/"), ..JobOptions::default() });
    let lease = accept_and_claim(&database, &stale).await;
    let old = Lease { epoch: lease.epoch - 1, ..lease };
    assert!(database.settle_job(old, settlement(JobStatus::Failed, Vec::new())).await.unwrap().is_none());
    assert!(due(&database).await.is_empty());
}

async fn a_message_belongs_to_the_trace_of_its_job(place: Place) {
    let database = place.open();
    for (number, trace_parent) in [(1, trace(7)), (2, None)] {
        let new = with(
            number,
            JobOptions { callback: callback("https://a.example/"), trace_parent, ..JobOptions::default() },
        );
        database.accept_job(&new).await.unwrap();
        assert_eq!(find(&database, new.id).await.options.trace_parent, trace_parent);
        run_to_success(&database, new.id).await;
        let [message] = due(&database).await.try_into().unwrap();
        assert_eq!(message.trace_parent, trace_parent);
    }
}

async fn a_start_is_told_once_where_that_is_wanted(place: Place) {
    let database = place.open();
    let events = vec![WebhookEvent::Started];
    let new = with(
        1,
        JobOptions {
            callback: Some(Callback { url: String::from("https://a.example/"), events }),
            ..JobOptions::default()
        },
    );
    database.accept_job(&new).await.unwrap();
    assert!(database.claim_job(new.id, claim()).await.unwrap().unwrap().messages);
    let [message] = due(&database).await.try_into().unwrap();
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["status"]), (&json!("job.started"), &json!("running")));
    database.recover_jobs(Timestamp::from_millis(i64::MAX), 9, 10).await.unwrap();
    let claimed = database.claim_job(new.id, claim()).await.unwrap().unwrap();
    assert!(!claimed.messages);
    let lease = Lease { job: new.id, epoch: claimed.job.epoch };
    assert!(!database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap().unwrap().messages);
}

async fn a_message_is_tried_until_it_arrives_and_each_try_is_noted(place: Place) {
    let database = place.open();
    let new = with(1, JobOptions { callback: callback("http://h.example:8080/x"), ..JobOptions::default() });
    let lease = accept_and_claim(&database, &new).await;
    database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap();
    let [first] = due(&database).await.try_into().unwrap();
    let tried = |status, error: Option<&str>| DeliveryTry {
        time: Timestamp::from_millis(7),
        http_status: status,
        duration_ms: 3,
        error: error.map(str::to_owned),
    };
    let past = NextTry::At(Timestamp::from_millis(1));
    // Somebody who does not hold it changes nothing.
    assert!(!database.note_try(first.id, 2, tried(Some(200), None), NextTry::Delivered).await.unwrap());
    assert!(database.note_try(first.id, 1, tried(None, Some("timeout")), past).await.unwrap());
    let [second] = due(&database).await.try_into().unwrap();
    assert_eq!((second.id, second.try_number, second.failures), (first.id, 2, 1));
    assert_eq!(second.body, first.body);
    assert!(!database.note_try(first.id, 1, tried(Some(200), None), NextTry::Delivered).await.unwrap());
    assert!(database.note_try(first.id, 2, tried(Some(204), None), NextTry::Delivered).await.unwrap());
    assert!(due(&database).await.is_empty());
    let [record] = database.deliveries_of(&new.id.to_string()).await.unwrap().try_into().unwrap();
    assert_eq!((record.status.as_str(), record.next_at), ("delivered", None));
    assert_eq!(record.tries, [tried(None, Some("timeout")), tried(Some(204), None)]);
    // Once more at the owner's wish; not at another's.
    let subject = new.id.to_string();
    assert!(!database.redeliver(&subject, first.id, Scope::Owner(Owner::new("b"))).await.unwrap());
    assert!(!database.redeliver("x", first.id, Scope::All).await.unwrap());
    assert!(
        !database.redeliver(&subject, DeliveryId::new(Timestamp::from_millis(1), [0; 10]), Scope::All).await.unwrap()
    );
    assert!(database.redeliver(&subject, first.id, Scope::Owner(Owner::new("a"))).await.unwrap());
    let [third] = due(&database).await.try_into().unwrap();
    assert_eq!((third.id, third.try_number, third.failures), (first.id, 3, 0));
    assert_eq!(third.body, first.body);
    database.note_try(first.id, 3, tried(Some(410), Some("gone")), NextTry::Never).await.unwrap();
    let [record] = database.deliveries_of(&subject).await.unwrap().try_into().unwrap();
    assert_eq!((record.status.as_str(), record.tries.len()), ("failed", 3));
}

async fn a_message_whose_sender_died_is_sent_by_another(place: Place) {
    let database = place.open();
    let new = with(1, JobOptions { callback: callback("https://a.example/"), ..JobOptions::default() });
    let lease = accept_and_claim(&database, &new).await;
    database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap();
    let [first] = database.due_deliveries(9, 4, Duration::ZERO).await.unwrap().try_into().unwrap();
    let [again] = due(&database).await.try_into().unwrap();
    assert_eq!((again.id, again.try_number, &again.body), (first.id, 2, &first.body));
    let tried = DeliveryTry { time: database.now(), http_status: Some(200), duration_ms: 1, error: None };
    assert!(!database.note_try(first.id, 1, tried.clone(), NextTry::Delivered).await.unwrap());
    assert!(database.note_try(again.id, 2, tried, NextTry::Delivered).await.unwrap());
}

async fn one_host_with_many_messages_holds_up_no_other(place: Place) {
    let database = place.open();
    for number in 0..40 {
        let url = if number < 38 { "https://dead.example/" } else { "https://good.example/" };
        let new = with(number, JobOptions { callback: callback(url), ..JobOptions::default() });
        let lease = accept_and_claim(&database, &new).await;
        database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap();
    }
    let mut hosts: Vec<String> =
        database.due_deliveries(10, 4, HOLD).await.unwrap().into_iter().map(|message| message.host).collect();
    hosts.sort();
    let expected = [vec!["dead.example:443"; 4], vec!["good.example:443"; 2]].concat();
    assert_eq!(hosts, expected);
    assert!(due(&database).await.is_empty());
}

async fn a_request_that_is_repeated_gives_the_first_job(place: Place) {
    let database = place.open();
    let first = job(1, "a");
    let accepted = database.accept_job(keyed(first.clone(), "k", "h")).await.unwrap().0;
    assert_eq!(accepted, Accepted::Queued);
    let again = database.accept_job(keyed(job(2, "a"), "k", "h")).await.unwrap().0;
    assert_eq!(again, Accepted::Repeated(first.id.to_string()));
    assert_eq!(database.accept_job(keyed(job(3, "a"), "k", "other")).await.unwrap().0, Accepted::KeyReused);
    assert_eq!(database.accept_job(keyed(job(4, "b"), "k", "other")).await.unwrap().0, Accepted::Queued);
    let look = |body: &str| RequestKey { key: String::from("k"), body_hash: body.to_owned() };
    let owner = Owner::new("a");
    assert_eq!(database.find_request(&owner, &look("h")).await.unwrap(), Some(again));
    assert_eq!(database.find_request(&owner, &look("x")).await.unwrap(), Some(Accepted::KeyReused));
    assert_eq!(database.find_request(&Owner::new("c"), &look("h")).await.unwrap(), None);
    assert_eq!(database.find_job(job(2, "a").id, Scope::All).await.unwrap().map(|job| job.id), None);
    // After the window the key is new.
    forget_the_last_week(&database).await;
    assert_eq!(database.find_request(&owner, &look("h")).await.unwrap(), None);
    assert_eq!(database.accept_job(keyed(job(5, "a"), "k", "other")).await.unwrap().0, Accepted::Queued);
}

async fn forget_the_last_week(database: &Database) {
    use diesel::prelude::*;
    database
        .write(|connection| {
            use crate::schema::idempotency::dsl::*;
            Ok(diesel::update(idempotency).set(created_at.eq(0)).execute(connection)?)
        })
        .await
        .unwrap();
}

async fn of_64_equal_requests_at_once_one_makes_the_job(place: Place) {
    let (one, two) = (place.open_shared(), place.open_shared());
    for round in 0..10_u8 {
        let mut tasks = Vec::new();
        for number in 0..64_u8 {
            let database = if number % 2 == 0 { one.clone() } else { two.clone() };
            let mut new = job(number, "a");
            new.id = JobId::new(Timestamp::from_millis(2_000_000 + i64::from(round)), [number; 10]);
            let acceptance = keyed(new.clone(), &format!("k{round}"), "h");
            tasks.push(tokio::spawn(async move { (new.id, database.accept_job(acceptance).await.unwrap().0) }));
        }
        let mut ids = HashSet::new();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                (id, Accepted::Queued) => {
                    made += 1;
                    ids.insert(id.to_string());
                }
                (_, Accepted::Repeated(id)) => {
                    ids.insert(id);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((made, ids.len()), (1, 1));
    }
}

async fn an_identical_job_waits_for_the_first_and_gets_its_outputs(place: Place) {
    let database = place.open();
    let (leader, follower) = (cached(1, "k"), cached(2, "k"));
    assert_eq!(database.accept_job(&leader).await.unwrap().0, Accepted::Queued);
    assert_eq!(database.accept_job(&follower).await.unwrap().0, Accepted::Joined(None));
    let waiting = find(&database, follower.id).await;
    assert_eq!((waiting.status, waiting.joined), (JobStatus::Queued, true));
    // It is not run, not dispatched, and still listed as queued.
    assert!(database.claim_job(follower.id, claim()).await.unwrap().is_none());
    let queued: Vec<JobId> = database.queued_jobs(None, 10).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(queued, [leader.id]);
    let filter = Filter { status: Some(JobStatus::Queued), ..Filter::default() };
    assert_eq!(database.list_jobs(Scope::All, filter, None, 10).await.unwrap().len(), 2);
    let aftermath = run_to_success(&database, leader.id).await;
    assert_eq!(ends(&aftermath), [(follower.id, JobStatus::Succeeded)]);
    let ended = find(&database, follower.id).await;
    assert_eq!((ended.status, ended.options.cached_from, ended.joined), (JobStatus::Succeeded, Some(leader.id), false));
    let (mine, theirs) =
        (database.outputs_of(leader.id).await.unwrap(), database.outputs_of(follower.id).await.unwrap());
    assert_eq!((mine.len(), &mine), (1, &theirs));
    assert_eq!(due(&database).await.len(), 2);
    // The next one is made anew only where the result was not taken from the cache.
    let result = database.find_result("k").await.unwrap().unwrap();
    assert_eq!(result.job, leader.id);
    let hit = Acceptance { hit: Some(result.job), ..cached(3, "k").into() };
    assert_eq!(database.accept_job(hit).await.unwrap().0, Accepted::Hit);
    let hit = find(&database, job(3, "a").id).await;
    assert_eq!((hit.status, hit.options.cached_from), (JobStatus::Succeeded, Some(leader.id)));
    assert_eq!(database.outputs_of(hit.id).await.unwrap(), mine);
    assert_eq!(due(&database).await.len(), 1);
}

async fn the_failure_of_the_first_is_that_of_all(place: Place) {
    let database = place.open();
    let (leader, follower) = (cached(1, "k"), cached(2, "k"));
    let lease = accept_and_claim(&database, &leader).await;
    assert_eq!(database.accept_job(&follower).await.unwrap().0, Accepted::Joined(None));
    let settled = database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap().unwrap();
    let told: Vec<_> = settled.ended.iter().map(|ended| (ended.job, ended.workflow_id.as_str(), ended.code)).collect();
    let full = Some(ErrorCode::ComfyuiOom);
    assert_eq!(told, [(follower.id, "w", full)]);
    let ended = find(&database, follower.id).await;
    assert_eq!((ended.status, ended.error), (JobStatus::Failed, find(&database, leader.id).await.error));
    assert!(database.find_result("k").await.unwrap().is_none());
    assert_eq!(database.accept_job(&cached(3, "k")).await.unwrap().0, Accepted::Queued);
}

async fn where_the_first_is_canceled_the_next_takes_its_place(place: Place) {
    let database = place.open();
    let jobs: Vec<NewJob> = (1..=4).map(|number| cached(number, "k")).collect();
    for job in &jobs {
        database.accept_job(job).await.unwrap();
    }
    // One that only waits goes alone.
    database.cancel_job(jobs[3].id, Scope::All).await.unwrap();
    let CancelOutcome::Canceled(aftermath) = database.cancel_job(jobs[0].id, Scope::All).await.unwrap() else {
        panic!()
    };
    assert_eq!(aftermath.promoted.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1].id]);
    assert_eq!(ends(&aftermath), [(jobs[0].id, JobStatus::Canceled)]);
    let aftermath = run_to_success(&database, jobs[1].id).await;
    assert_eq!(ends(&aftermath), [(jobs[2].id, JobStatus::Succeeded)]);
    assert_eq!(find(&database, jobs[3].id).await.status, JobStatus::Canceled);
    // A wish to cancel a running leader: nobody joins it any more.
    let running = cached(5, "other");
    let lease = accept_and_claim(&database, &running).await;
    let urgent = NewJob { priority: Priority::High, ..cached(7, "other") };
    for joins in [&cached(6, "other"), &urgent] {
        assert!(matches!(database.accept_job(joins).await.unwrap().0, Accepted::Joined(_)));
    }
    database.cancel_job(running.id, Scope::All).await.unwrap();
    assert_eq!(database.accept_job(&cached(8, "other")).await.unwrap().0, Accepted::Queued);
    // Those that had joined it before are not forgotten over the one that leads now.
    let aftermath = database.settle_job(lease, settlement(JobStatus::Canceled, Vec::new())).await.unwrap().unwrap();
    let promoted: Vec<_> = aftermath.promoted.iter().map(|job| (job.id, job.priority)).collect();
    assert_eq!(promoted, [(job(6, "a").id, Priority::High)], "as urgent as the most urgent that waits");
    assert_eq!(find(&database, job(6, "a").id).await.priority, Priority::High);
    let aftermath = run_to_success(&database, job(6, "a").id).await;
    assert_eq!(ends(&aftermath), [(urgent.id, JobStatus::Succeeded)]);
}

async fn a_more_urgent_twin_makes_the_first_as_urgent(place: Place) {
    let database = place.open();
    let leader = cached(1, "k");
    database.accept_job(&leader).await.unwrap();
    let urgent = NewJob { priority: Priority::High, ..cached(2, "k") };
    let Accepted::Joined(Some(raised)) = database.accept_job(&urgent).await.unwrap().0 else { panic!() };
    assert_eq!((raised.id, raised.priority), (leader.id, Priority::High));
    assert_eq!(find(&database, leader.id).await.priority, Priority::High);
    let patient = NewJob { timeout_ms: Some(5), ..cached(3, "k") };
    assert_eq!(database.accept_job(&patient).await.unwrap().0, Accepted::Queued);
}

async fn many_equal_jobs_at_once_are_run_once(place: Place) {
    let (one, two) = (place.open_shared(), place.open_shared());
    let mut tasks = Vec::new();
    for number in 0..100_u8 {
        let database = if number % 2 == 0 { one.clone() } else { two.clone() };
        let new = cached(number, &format!("key-{}", number % 10));
        tasks.push(tokio::spawn(async move { database.accept_job(&new).await.unwrap().0 }));
    }
    let mut run = 0;
    for task in tasks {
        run += usize::from(task.await.unwrap() == Accepted::Queued);
    }
    assert_eq!(run, 10);
    let leaders = one.queued_jobs(None, 100).await.unwrap();
    assert_eq!(leaders.len(), 10);
    for leader in leaders {
        let database = if leader.id.as_bytes()[15] % 2 == 0 { &one } else { &two };
        assert_eq!(run_to_success(database, leader.id).await.ended.len(), 9);
    }
}

async fn bytes_stay_as_long_as_some_job_has_them(place: Place) {
    let database = place.open();
    let (leader, follower) = (cached(1, "k"), cached(2, "k"));
    database.accept_job(&leader).await.unwrap();
    database.accept_job(&follower).await.unwrap();
    run_to_success(&database, leader.id).await;
    let prefix = gateway_core::output::storage_prefix(leader.id, 1);
    assert_eq!(database.delete_job(leader.id, Scope::All).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(database.trash(10).await.unwrap(), [""; 0]);
    assert_eq!(database.outputs_of(follower.id).await.unwrap().len(), 1);
    assert!(database.find_result("k").await.unwrap().is_none());
    assert_eq!(database.delete_job(follower.id, Scope::All).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(database.trash(10).await.unwrap(), [prefix]);
}

async fn what_is_old_goes_and_what_is_used_stays(place: Place) {
    let database = place.open();
    let expired = Timestamp::from_millis(0);
    let kept = upload(&database, 1, expired).await;
    let old = upload(&database, 2, expired).await;
    let user = Acceptance { uploads: vec![kept], ..job(9, "a").into() };
    database.accept_job(user).await.unwrap();
    let (leader, follower) = (cached(1, "k"), cached(2, "k"));
    database.accept_job(&leader).await.unwrap();
    database.accept_job(&follower).await.unwrap();
    run_to_success(&database, leader.id).await;
    let forever = database.sweep_old(Retention::default(), 100).await.unwrap();
    assert_eq!(forever, Swept { jobs: 0, outputs: 0, uploads: 1 });
    assert!(database.find_upload(kept, Scope::All).await.unwrap().is_some());
    assert!(database.find_upload(old, Scope::All).await.unwrap().is_none());
    let outputs = Retention { outputs: Some(Duration::ZERO), jobs: None };
    // The outputs of these are as old as the epoch: the first step takes one job's, as much as it may.
    let step = database.sweep_old(outputs, 1).await.unwrap();
    assert_eq!(step.outputs, 1);
    let trashed = database.trash(10).await.unwrap();
    assert!(!trashed.iter().any(|prefix| prefix.contains(&leader.id.to_string())), "{trashed:?}");
    database.sweep_old(outputs, 10).await.unwrap();
    for id in [leader.id, follower.id] {
        let [output] = database.outputs_of(id).await.unwrap().try_into().unwrap();
        assert!(output.removed_at.is_some());
    }
    let trashed = database.trash(10).await.unwrap();
    assert!(trashed.contains(&gateway_core::output::storage_prefix(leader.id, 1)), "{trashed:?}");
    assert!(database.find_result("k").await.unwrap().is_none());
    let jobs = Retention { jobs: Some(Duration::ZERO), outputs: None };
    assert_eq!(database.sweep_old(jobs, 100).await.unwrap().jobs, 2);
    assert!(database.find_job(leader.id, Scope::All).await.unwrap().is_none());
    assert_eq!(find(&database, job(9, "a").id).await.status, JobStatus::Queued);
}

async fn a_batch_tells_once_when_its_last_job_has_ended(place: Place) {
    let database = place.open();
    let id = BatchId::new(Timestamp::from_millis(1), [7; 10]);
    let batch = NewBatch {
        id,
        owner: Owner::new("a"),
        workflow_id: String::from("w"),
        callback: callback("https://a.example/batch"),
        metadata: Map::new(),
        correlation_id: String::from("c"),
        trace_parent: trace(2),
        request: Some(RequestKey { key: String::from("b"), body_hash: String::from("h") }),
    };
    let items: Vec<Acceptance> = (1..=5)
        .map(|number| {
            // The last two are one and the same.
            let cache_key = (number > 3).then(|| String::from("k"));
            with(number, JobOptions { batch: Some(id), cache_key, ..JobOptions::default() }).into()
        })
        .collect();
    let (accepted, _) = database.accept_batch(batch.clone(), items.clone()).await.unwrap();
    assert_eq!(accepted.unwrap()[4], Accepted::Joined(None));
    let (again, _) = database.accept_batch(batch, items.clone()).await.unwrap();
    assert_eq!(again, Err(Accepted::Repeated(id.to_string())));
    let counts =
        |database: Database| async move { database.find_batch(id, Scope::All).await.unwrap().unwrap().by_status };
    assert_eq!(counts(database.clone()).await["queued"], 5);
    assert!(database.find_batch(id, Scope::Owner(Owner::new("b"))).await.unwrap().is_none());
    let ids: Vec<JobId> = items.iter().map(|item| item.job.id).collect();
    assert_eq!(database.jobs_of_batch(id, 0, 100).await.unwrap(), ids);
    database.cancel_job(ids[0], Scope::All).await.unwrap();
    for id in &ids[1..3] {
        run_to_success(&database, *id).await;
    }
    assert!(due(&database).await.is_empty());
    let open = database.open_jobs_of(id, 0, 100).await.unwrap();
    assert_eq!(open, [(4, ids[3]), (5, ids[4])]);
    assert!(run_to_success(&database, ids[3]).await.messages);
    let [message] = due(&database).await.try_into().unwrap();
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!((&body["type"], message.trace_parent), (&json!("batch.completed"), trace(2)));
    assert_eq!((&body["data"]["counts"]["succeeded"], &body["data"]["counts"]["canceled"]), (&json!(4), &json!(1)));
    assert!(database.find_batch(id, Scope::All).await.unwrap().unwrap().ended_at.is_some());
}

on_both_engines!(
    a_job_that_ends_leaves_one_message_with_what_its_owner_sees,
    a_message_belongs_to_the_trace_of_its_job,
    a_start_is_told_once_where_that_is_wanted,
    a_message_is_tried_until_it_arrives_and_each_try_is_noted,
    a_message_whose_sender_died_is_sent_by_another,
    one_host_with_many_messages_holds_up_no_other,
    a_request_that_is_repeated_gives_the_first_job,
    of_64_equal_requests_at_once_one_makes_the_job,
    an_identical_job_waits_for_the_first_and_gets_its_outputs,
    the_failure_of_the_first_is_that_of_all,
    where_the_first_is_canceled_the_next_takes_its_place,
    a_more_urgent_twin_makes_the_first_as_urgent,
    many_equal_jobs_at_once_are_run_once,
    bytes_stay_as_long_as_some_job_has_them,
    what_is_old_goes_and_what_is_used_stays,
    a_batch_tells_once_when_its_last_job_has_ended,
);
