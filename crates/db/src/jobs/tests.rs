use std::time::Duration;

use diesel::prelude::*;

use gateway_core::event::{LogLevel, LogLine};
use gateway_core::record::{Job, JobOptions, Output};
use gateway_core::workflow::NeedsId;
use gateway_core::{ErrorCode, JobError, JobId, JobStatus, OutputKind, Owner, Priority, Scope, Timestamp, UploadId};
use serde_json::{Map, json};

use crate::jobs::*;
use crate::rows::JobRow;
use crate::testing::{Place, on_both_engines};
use crate::{Access, Database, DbError, Upload};

const LEASE: Duration = Duration::from_secs(60);

pub(super) fn job(number: u8, owner: &str) -> NewJob {
    NewJob {
        id: JobId::new(Timestamp::from_millis(1_000_000 + i64::from(number)), [number; 10]),
        owner: Owner::new(owner),
        workflow_id: String::from("w"),
        workflow_version: 1,
        priority: Priority::Normal,
        inputs: Map::from_iter([(String::from("seed"), json!(u64::MAX))]),
        params: Map::new(),
        resolved: Map::new(),
        metadata: Map::new(),
        request_id: Some(format!("r{number}")),
        correlation_id: String::from("c"),
        timeout_ms: None,
        not_before: None,
        retry_of: None,
        nodes_total: 3,
        needs: None,
        options: JobOptions::default(),
    }
}

pub(super) fn claim() -> Claim {
    Claim { worker_id: String::from("w-1"), backend: String::from("http://a"), lease: LEASE }
}

pub(super) fn output(file: &str) -> Output {
    Output {
        file: file.to_owned(),
        node_id: String::from("9"),
        kind: OutputKind::Image,
        content_type: String::from("image/png"),
        size: 7,
        sha256: String::from("00"),
        width: Some(1),
        height: None,
        storage_key: format!("k/{file}"),
        created_at: Timestamp::from_millis(5),
        removed_at: None,
    }
}

pub(super) fn settlement(status: JobStatus, outputs: Vec<Output>) -> Settlement {
    let error = (status == JobStatus::Failed).then(|| JobError::new(ErrorCode::ComfyuiOom, "full"));
    let line = LogLine {
        time: Timestamp::from_millis(1),
        level: LogLevel::Info,
        event: String::from("e"),
        message: String::from("m"),
        node: None,
    };
    Settlement { status, error, outputs, store_ms: Some(2), logs: vec![line], cache_for: None }
}

pub(super) async fn accept_and_claim(database: &Database, new: &NewJob) -> Lease {
    database.accept_job(new).await.unwrap();
    let claimed = database.claim_job(new.id, claim()).await.unwrap().unwrap();
    Lease { job: new.id, epoch: claimed.job.epoch }
}

/// A file of `a` that nobody uses so far.
pub(super) async fn upload(database: &Database, number: u8, expires_at: Timestamp) -> UploadId {
    let id = UploadId::new(Timestamp::from_millis(1), [number; 10]);
    let record = Upload {
        id,
        owner: Owner::new("a"),
        sha256: String::from("00"),
        size: 1,
        kind: String::from("image"),
        content_type: String::from("image/png"),
        width: Some(1),
        height: Some(1),
        storage_key: format!("uploads/{id}"),
        created_at: Timestamp::from_millis(1),
        expires_at,
    };
    database.put_upload(record.clone()).await.unwrap();
    assert_eq!(database.find_upload(id, Scope::Owner(Owner::new("a"))).await.unwrap(), Some(record));
    assert_eq!(database.find_upload(id, Scope::Owner(Owner::new("b"))).await.unwrap(), None);
    id
}

pub(super) async fn find(database: &Database, id: JobId) -> Job {
    database.find_job(id, Scope::All).await.unwrap().unwrap()
}

async fn an_accepted_job_is_there_as_it_was_given(place: Place) {
    let database = place.open();
    let new = job(1, "a");
    database.accept_job(&new).await.unwrap();
    let found = find(&database, new.id).await;
    assert_eq!((found.status, found.attempt, found.epoch), (JobStatus::Queued, 0, 0));
    assert_eq!(found.inputs, new.inputs);
    assert_eq!(found.created_at, new.id.timestamp());
    assert!(matches!(database.accept_job(&new).await, Err(DbError::Duplicate)));
}

async fn a_job_is_claimed_once_and_the_claim_stores_the_prompt_id(place: Place) {
    let database = place.open();
    let new = job(1, "a");
    database.accept_job(&new).await.unwrap();
    let claims = (0..8).map(|_| database.claim_job(new.id, claim()));
    let mut won = Vec::new();
    for claim in claims {
        won.extend(claim.await.unwrap());
    }
    assert_eq!(won.len(), 1);
    assert!(!won[0].look_first);
    let found = find(&database, new.id).await;
    assert_eq!((found.status, found.attempt, found.epoch), (JobStatus::Running, 1, 1));
    assert_eq!(found.prompt_id, Some(new.id.prompt_id(1).to_string()));
    assert_eq!(found.backend.as_deref(), Some("http://a"));
}

async fn a_job_is_not_claimed_before_its_time_nor_when_it_is_unknown(place: Place) {
    let database = place.open();
    let mut new = job(1, "a");
    new.not_before = Some(database.now().plus_millis(60_000));
    database.accept_job(&new).await.unwrap();
    assert!(database.claim_job(new.id, claim()).await.unwrap().is_none());
    assert!(database.claim_job(job(2, "a").id, claim()).await.unwrap().is_none());
}

async fn a_settled_job_has_its_outputs_and_never_changes_again(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    let made = vec![output("b"), output("a")];
    assert!(database.settle_job(lease, settlement(JobStatus::Succeeded, made.clone())).await.unwrap().is_some());
    assert_eq!(database.outputs_of(lease.job).await.unwrap(), made);
    assert_eq!(database.logs_of(lease.job).await.unwrap().len(), 1);
    assert!(database.settle_job(lease, settlement(JobStatus::Failed, Vec::new())).await.unwrap().is_none());
    assert_eq!(database.cancel_job(lease.job, Scope::All).await.unwrap(), CancelOutcome::Ended(JobStatus::Succeeded));
    assert_eq!(find(&database, lease.job).await.status, JobStatus::Succeeded);
}

async fn a_worker_whose_claim_is_lost_changes_nothing(place: Place) {
    let database = place.open();
    let old = accept_and_claim(&database, &job(1, "a")).await;
    let far = Timestamp::from_millis(i64::MAX);
    assert_eq!(database.recover_jobs(far, 10, 100).await.unwrap().jobs, [old.job]);
    let claimed = database.claim_job(old.job, claim()).await.unwrap().unwrap();
    assert!(claimed.look_first, "the earlier prompt may be in ComfyUI");
    assert_eq!((claimed.job.epoch, claimed.job.attempt), (2, 1), "a look costs no attempt");
    assert_eq!(claimed.job.prompt_id, Some(old.job.prompt_id(1).to_string()));
    let release = Release { not_before: None, used_attempt: true, prompt_may_live: false, logs: Vec::new() };
    assert!(database.settle_job(old, settlement(JobStatus::Succeeded, vec![output("x")])).await.unwrap().is_none());
    assert!(!database.release_job(old, release).await.unwrap());
    assert!(!database.rename_prompt(old, "p").await.unwrap());
    assert!(database.begin_attempt(old, "http://b").await.unwrap().is_none());
    let renewals = database.renew_leases(vec![old], LEASE).unwrap();
    assert!(!renewals[0].held);
    assert!(database.outputs_of(old.job).await.unwrap().is_empty());
    let found = find(&database, old.job).await;
    assert_eq!((found.status, found.epoch), (JobStatus::Running, 2));
}

async fn a_new_attempt_has_a_new_epoch_and_a_new_prompt_id(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    let begun = database.begin_attempt(lease, "http://b").await.unwrap().unwrap();
    assert_eq!((begun.job.epoch, begun.job.attempt), (2, 2));
    assert_eq!(begun.job.prompt_id, Some(lease.job.prompt_id(2).to_string()));
    assert_eq!(begun.job.backend.as_deref(), Some("http://b"));
}

async fn a_job_that_is_given_back_without_a_run_has_used_no_attempt(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    let release = Release { not_before: None, used_attempt: false, prompt_may_live: false, logs: Vec::new() };
    assert!(database.release_job(lease, release).await.unwrap());
    let found = find(&database, lease.job).await;
    assert_eq!((found.status, found.attempt, found.prompt_id), (JobStatus::Queued, 0, None));
    assert_eq!(found.started_at, None, "it still waits");
    assert!(!database.claim_job(lease.job, claim()).await.unwrap().unwrap().look_first);
}

async fn the_renewal_tells_of_a_wish_to_cancel(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    assert_eq!(database.cancel_job(lease.job, Scope::All).await.unwrap(), CancelOutcome::Requested);
    let renewals = database.renew_leases(vec![lease], LEASE).unwrap();
    assert_eq!(renewals, [Renewal { lease, held: true, cancel_requested: true }]);
}

async fn a_waiting_job_whose_prompt_may_live_is_handed_out_to_be_stopped(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    let due = Some(database.now().plus_millis(60_000));
    let release = Release { not_before: due, used_attempt: true, prompt_may_live: true, logs: Vec::new() };
    assert!(database.release_job(lease, release).await.unwrap());
    let outcome = database.cancel_job(lease.job, Scope::All).await.unwrap();
    assert!(
        matches!(outcome, CancelOutcome::RequestedOfQueued(job) if job.id == lease.job && job.not_before.is_none())
    );
    let claimed = database.claim_job(lease.job, claim()).await.unwrap().unwrap();
    assert!(claimed.look_first && claimed.job.cancel_requested);
}

async fn only_claims_that_ran_out_are_recovered_and_a_deadly_job_fails(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    assert!(database.recover_jobs(database.now(), 3, 100).await.unwrap().jobs.is_empty());
    let far = Timestamp::from_millis(i64::MAX);
    for crashes in 1..3 {
        let recovered = database.recover_jobs(far, 3, 100).await.unwrap();
        let [change] = recovered.queued.as_slice() else { panic!("{recovered:?}") };
        // A prompt that may still live is no new attempt.
        assert_eq!((change.job, change.attempt, change.code), (lease.job, 1, None));
        assert_eq!((change.from, change.to), (Some(JobStatus::Running), JobStatus::Queued));
        let found = find(&database, lease.job).await;
        assert_eq!((found.status, found.crashes), (JobStatus::Queued, crashes));
        assert_eq!(found.not_before, None, "the first losses may be anybody's fault");
        database.claim_job(lease.job, claim()).await.unwrap().unwrap();
    }
    let recovered = database.recover_jobs(far, 3, 100).await.unwrap();
    let [change] = recovered.aftermath.ended.as_slice() else { panic!("{recovered:?}") };
    assert_eq!(
        (change.from, change.to, change.code),
        (Some(JobStatus::Running), JobStatus::Failed, Some(ErrorCode::WorkerLost))
    );
    assert!(recovered.queued.is_empty());
    let found = find(&database, lease.job).await;
    assert_eq!(found.status, JobStatus::Failed);
    assert_eq!(found.error.map(|error| error.code), Some(ErrorCode::WorkerLost));
}

async fn a_job_of_another_owner_is_not_there(place: Place) {
    let database = place.open();
    let (mine, theirs) = (job(1, "me"), job(2, "them"));
    database.accept_job(&mine).await.unwrap();
    database.accept_job(&theirs).await.unwrap();
    let scope = || Scope::Owner(Owner::new("me"));
    assert!(database.find_job(theirs.id, scope()).await.unwrap().is_none());
    assert_eq!(database.cancel_job(theirs.id, scope()).await.unwrap(), CancelOutcome::NotFound);
    assert_eq!(database.delete_job(theirs.id, scope()).await.unwrap(), DeleteOutcome::NotFound);
    let listed = database.list_jobs(scope(), Filter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [mine.id]);
    assert_eq!(find(&database, theirs.id).await.status, JobStatus::Queued);
}

async fn lists_are_newest_first_and_filtered(place: Place) {
    let database = place.open();
    for number in 1..=5 {
        database.accept_job(&job(number, "a")).await.unwrap();
    }
    let ended = accept_and_claim(&database, &job(6, "b")).await;
    database.settle_job(ended, settlement(JobStatus::Failed, Vec::new())).await.unwrap();
    let list = async |filter: Filter, cursor: Option<JobId>, limit: i64| -> Vec<u8> {
        let jobs = database.list_jobs(Scope::All, filter, cursor, limit).await.unwrap();
        jobs.iter().map(|job| *job.id.as_bytes().last().unwrap()).collect()
    };
    assert_eq!(list(Filter::default(), None, 3).await, [6, 5, 4]);
    assert_eq!(list(Filter::default(), Some(job(4, "a").id), 10).await, [3, 2, 1]);
    let status = Filter { status: Some(JobStatus::Failed), ..Filter::default() };
    assert_eq!(list(status, None, 10).await, [6]);
    let after = Filter {
        after: Some(Timestamp::from_millis(1_000_002)),
        before: Some(Timestamp::from_millis(1_000_004)),
        ..Filter::default()
    };
    assert_eq!(list(after, None, 10).await, [3, 2]);
    let request = Filter { request_id: Some(String::from("r2")), ..Filter::default() };
    assert_eq!(list(request, None, 10).await, [2]);
    let owner = Filter { owner: Some(Owner::new("b")), ..Filter::default() };
    assert_eq!(list(owner, None, 10).await, [6]);
    let workflow = Filter { workflow_id: Some(String::from("other")), ..Filter::default() };
    assert!(list(workflow, None, 10).await.is_empty());
    let stats = database.job_stats().await.unwrap();
    assert_eq!((stats.by_status["queued"], stats.by_status["failed"]), (5, 1));
    assert_eq!(stats.oldest_queued, Some(Timestamp::from_millis(1_000_001)));
}

async fn a_deleted_job_takes_its_records_and_leaves_its_files_to_the_trash(place: Place) {
    let database = place.open();
    let lease = accept_and_claim(&database, &job(1, "a")).await;
    let not_ended = database.delete_job(lease.job, Scope::All).await.unwrap();
    assert_eq!(not_ended, DeleteOutcome::NotEnded(JobStatus::Running));
    database.settle_job(lease, settlement(JobStatus::Succeeded, vec![output("a")])).await.unwrap();
    assert!(database.trash(10).await.unwrap().is_empty(), "the outputs of the one claim are kept");
    assert_eq!(database.delete_job(lease.job, Scope::All).await.unwrap(), DeleteOutcome::Deleted);
    assert!(database.outputs_of(lease.job).await.unwrap().is_empty());
    assert!(database.logs_of(lease.job).await.unwrap().is_empty());
    let trash = database.trash(10).await.unwrap();
    assert_eq!(trash, [gateway_core::output::storage_prefix(lease.job, 1)]);
    database.forget_trash(trash).await.unwrap();
    assert!(database.trash(10).await.unwrap().is_empty());
}

async fn files_of_lost_claims_go_to_the_trash_when_the_job_is_settled(place: Place) {
    let database = place.open();
    let first = accept_and_claim(&database, &job(1, "a")).await;
    database.begin_attempt(first, "http://a").await.unwrap().unwrap();
    let second = Lease { job: first.job, epoch: 2 };
    database.settle_job(second, settlement(JobStatus::Succeeded, vec![output("a")])).await.unwrap();
    assert_eq!(database.trash(10).await.unwrap(), [gateway_core::output::storage_prefix(first.job, 1)]);
}

async fn jobs_that_the_queue_was_not_told_of_are_found_until_it_is(place: Place) {
    let database = place.open();
    let (first, second) = (job(1, "a"), job(2, "a"));
    for new in [&first, &second] {
        database.accept_job(new).await.unwrap();
    }
    assert!(database.undispatched_jobs(Timestamp::from_millis(2_000_000), 10).await.unwrap().is_empty());
    database.mark_undispatched(&[first.id, second.id]).await.unwrap();
    let forgotten = database.undispatched_jobs(Timestamp::from_millis(2_000_000), 10).await.unwrap();
    assert_eq!(forgotten.iter().map(|job| job.id).collect::<Vec<_>>(), [first.id, second.id]);
    database.mark_dispatched(&[first.id]).await.unwrap();
    let forgotten = database.undispatched_jobs(Timestamp::from_millis(2_000_000), 10).await.unwrap();
    assert_eq!(forgotten.iter().map(|job| job.id).collect::<Vec<_>>(), [second.id]);
    assert!(database.undispatched_jobs(Timestamp::from_millis(1_000_002), 10).await.unwrap().is_empty());
    assert_eq!(database.queued_jobs(Some(first.id), 10).await.unwrap().len(), 1);
}

async fn a_worker_whose_queue_is_away_finds_what_is_urgent_due_and_within_its_means(place: Place) {
    let database = place.open();
    let needs: NeedsId = "00000000000000000000000000000001".parse().unwrap();
    let normal = NewJob { needs: Some(needs), ..job(1, "a") };
    let high = NewJob { priority: Priority::High, ..job(2, "a") };
    let later = NewJob { not_before: Some(database.now().plus_millis(60_000)), ..job(3, "a") };
    for new in [&normal, &high, &later, &job(4, "a")] {
        database.accept_job(new).await.unwrap();
    }
    let ids = async |cannot: &[NeedsId]| {
        let found = database.urgent_jobs(&cannot.iter().copied().collect(), 10).await.unwrap();
        found.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]).await, [high.id, normal.id, job(4, "a").id]);
    assert_eq!(ids(&[needs]).await, [high.id, job(4, "a").id]);
    assert_eq!(database.count_queued().await.unwrap(), 4);
    assert_eq!(find(&database, normal.id).await.needs, Some(needs));
}

async fn a_job_that_may_have_a_prompt_somewhere_says_where(place: Place) {
    let database = place.open();
    let new = job(1, "a");
    let lease = accept_and_claim(&database, &new).await;
    let release = Release { not_before: None, used_attempt: false, prompt_may_live: true, logs: Vec::new() };
    assert!(database.release_job(lease, release).await.unwrap());
    let waiting = database.queued_jobs(None, 10).await.unwrap();
    assert_eq!(waiting.first().and_then(|job| job.home.as_deref()), Some("http://a"));
}

async fn the_marker_of_the_queue_is_the_one_that_was_noted_last(place: Place) {
    let database = place.open();
    assert_eq!(database.queue_marker().await.unwrap(), None);
    for marker in ["a", "b"] {
        database.set_queue_marker(marker).await.unwrap();
        assert_eq!(database.queue_marker().await.unwrap().as_deref(), Some(marker));
    }
}

async fn processes_that_share_a_queue_keep_one_away_that_does_not(place: Place) {
    let open = |access| Database::open(&place.settings(), access);
    let (one, two) = (open(Access::Shared).unwrap(), open(Access::Shared).unwrap());
    assert!(matches!(open(Access::Exclusive), Err(crate::DbError::InUse { .. })));
    open(Access::Beside).unwrap();
    drop((one, two));
    // A server may take a moment to see that the sessions are gone.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while open(Access::Exclusive).is_err() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn one_faulty_row_fails_alone_among_those_committed_with_it(place: Place) {
    let database = place.open();
    database.accept_job(&job(0, "a")).await.unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let database = database.clone();
            tokio::spawn(async move { database.accept_job(&job(number, "a")).await })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += usize::from(task.await.unwrap().is_err());
    }
    assert_eq!(failed, 1);
    assert_eq!(database.list_jobs(Scope::All, Filter::default(), None, 1_000).await.unwrap().len(), 100);
}

async fn a_second_opening_of_the_same_database_is_refused_with_the_reason(place: Place) {
    let database = place.open();
    let refused = Database::open(&place.settings(), Access::Exclusive).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, DbError::InUse { .. }), "{text}");
    assert!(text.contains("DATABASE_URL"), "{text}");
    if database.engine() == "sqlite" {
        assert!(text.contains(&std::process::id().to_string()), "{text}");
    }
    drop(database);
    // The session of a server ends a moment after its connection.
    let opened = (0..500).find_map(|_| {
        std::thread::yield_now();
        Database::open(&place.settings(), Access::Exclusive).ok()
    });
    assert!(opened.is_some());
}

async fn what_was_written_is_there_after_a_new_opening(place: Place) {
    let database = Database::open(&place.settings(), Access::Shared).unwrap();
    let new = job(1, "a");
    database.accept_job(&new).await.unwrap();
    let key = database.cursor_key([1; 32]).await.unwrap().seal("l", new.id);
    drop(database);
    let database = Database::open(&place.settings(), Access::Shared).unwrap();
    assert_eq!(find(&database, new.id).await.id, new.id);
    assert_eq!(database.cursor_key([2; 32]).await.unwrap().open("l", &key), Some(new.id), "the secret is drawn once");
}

async fn processes_that_start_together_bring_the_tables_up_to_date_once(place: Place) {
    let place = std::sync::Arc::new(place);
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let place = std::sync::Arc::clone(&place);
            tokio::task::spawn_blocking(move || Database::open(&place.settings(), Access::Shared).map(drop))
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
}

async fn of_two_processes_one_claims_each_job(place: Place) {
    let open = || Database::open(&place.settings(), Access::Shared).unwrap();
    let (one, other) = (open(), open());
    for number in 1..=40 {
        one.accept_job(&job(number, "a")).await.unwrap();
    }
    let claim_all = |database: Database| async move {
        let mut won = Vec::new();
        for number in 1..=40 {
            won.extend(database.claim_job(job(number, "a").id, claim()).await.unwrap().map(|claimed| claimed.job.id));
        }
        won
    };
    let (first, second) = tokio::join!(tokio::spawn(claim_all(one.clone())), tokio::spawn(claim_all(other)));
    let mut won = [first.unwrap(), second.unwrap()].concat();
    won.sort_unstable();
    assert_eq!(won, (1..=40).map(|number| job(number, "a").id).collect::<Vec<_>>());
    assert!(one.list_jobs(Scope::All, Filter::default(), None, 100).await.unwrap().iter().all(|job| job.epoch == 1));
}

async fn a_job_that_is_claimed_and_canceled_at_once_is_one_or_the_other(place: Place) {
    let open = || Database::open(&place.settings(), Access::Shared).unwrap();
    let (worker, api) = (open(), open());
    for number in 1..=40 {
        let new = job(number, "a");
        api.accept_job(&new).await.unwrap();
        let (claimed, canceled) = tokio::join!(worker.claim_job(new.id, claim()), api.cancel_job(new.id, Scope::All));
        let (claimed, canceled) = (claimed.unwrap().is_some(), canceled.unwrap());
        let found = find(&api, new.id).await;
        match canceled {
            CancelOutcome::Canceled(_) => assert_eq!((claimed, found.status), (false, JobStatus::Canceled)),
            CancelOutcome::Requested => assert_eq!((claimed, found.status), (true, JobStatus::Running)),
            other => panic!("{other:?}"),
        }
        assert!(found.cancel_requested);
    }
}

async fn a_sweep_that_looked_before_the_end_or_a_renewal_changes_nothing(place: Place) {
    let database = place.open();
    for renewed in [true, false] {
        let lease = accept_and_claim(&database, &job(u8::from(renewed), "a")).await;
        let id = lease.job.to_string();
        let read = move |connection: &mut crate::engine::Conn| {
            let row =
                crate::schema::jobs::table.find(id).select(JobRow::as_select()).get_result::<JobRow>(connection)?;
            Ok(row)
        };
        let seen = database.write(read).await.unwrap();
        let status = if renewed {
            // The same claim, for longer than the sweep saw.
            let leases = vec![lease];
            let other = database.clone();
            let renew = move || other.renew_leases(leases, LEASE * 2).unwrap();
            tokio::task::spawn_blocking(renew).await.unwrap();
            JobStatus::Running
        } else {
            database.settle_job(lease, settlement(JobStatus::Succeeded, vec![output("a")])).await.unwrap().unwrap();
            JobStatus::Succeeded
        };
        let moment = database.moment();
        let recover = move |connection: &mut crate::engine::Conn| {
            let mut recovered = Recovered::default();
            sweep::recover(connection, &seen, 3, moment, &mut recovered)?;
            Ok(recovered)
        };
        let recovered = database.write(recover).await.unwrap();
        let found = find(&database, lease.job).await;
        assert_eq!((recovered.jobs, found.status, found.crashes), (Vec::new(), status, 0));
    }
}

on_both_engines!(
    a_sweep_that_looked_before_the_end_or_a_renewal_changes_nothing,
    an_accepted_job_is_there_as_it_was_given,
    a_job_is_claimed_once_and_the_claim_stores_the_prompt_id,
    a_job_is_not_claimed_before_its_time_nor_when_it_is_unknown,
    a_settled_job_has_its_outputs_and_never_changes_again,
    a_worker_whose_claim_is_lost_changes_nothing,
    a_new_attempt_has_a_new_epoch_and_a_new_prompt_id,
    a_job_that_is_given_back_without_a_run_has_used_no_attempt,
    the_renewal_tells_of_a_wish_to_cancel,
    a_waiting_job_whose_prompt_may_live_is_handed_out_to_be_stopped,
    only_claims_that_ran_out_are_recovered_and_a_deadly_job_fails,
    a_job_of_another_owner_is_not_there,
    lists_are_newest_first_and_filtered,
    a_deleted_job_takes_its_records_and_leaves_its_files_to_the_trash,
    files_of_lost_claims_go_to_the_trash_when_the_job_is_settled,
    jobs_that_the_queue_was_not_told_of_are_found_until_it_is,
    a_worker_whose_queue_is_away_finds_what_is_urgent_due_and_within_its_means,
    a_job_that_may_have_a_prompt_somewhere_says_where,
    the_marker_of_the_queue_is_the_one_that_was_noted_last,
    processes_that_share_a_queue_keep_one_away_that_does_not,
    one_faulty_row_fails_alone_among_those_committed_with_it,
    a_second_opening_of_the_same_database_is_refused_with_the_reason,
    what_was_written_is_there_after_a_new_opening,
    processes_that_start_together_bring_the_tables_up_to_date_once,
    of_two_processes_one_claims_each_job,
    a_job_that_is_claimed_and_canceled_at_once_is_one_or_the_other,
);

#[test]
fn a_server_that_is_not_there_is_told_with_its_reason_and_without_its_password() {
    let settings = gateway_config::DatabaseSettings {
        target: gateway_config::DatabaseTarget::Postgres {
            url: secrecy::SecretString::from("postgres://someone:hunter2@127.0.0.1:9/gateway"),
            shown: String::from("postgres://127.0.0.1:9/gateway"),
        },
        connections: 1,
        statement_timeout: Duration::from_secs(1),
        redact: false,
    };
    let text = Database::open(&settings, Access::Shared).unwrap_err().to_string();
    assert!(text.contains("refused") && text.contains("postgres://127.0.0.1:9/gateway"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_session_that_the_server_ends_costs_nobody_an_error() {
    use diesel::RunQueryDsl as _;
    let Some(place) = Place::postgres() else { return };
    let database = place.open();
    for number in 1..=3 {
        let ended = database
            .write(|connection| {
                Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()"))
                    .get_result::<i32>(connection)?)
            })
            .await
            .unwrap();
        let other = Database::open(&place.settings(), Access::Beside).unwrap();
        other
            .write(move |connection| {
                let end = format!("pg_terminate_backend({ended})");
                Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(&end)).get_result::<bool>(connection)?)
            })
            .await
            .unwrap();
        database.accept_job(&job(number, "a")).await.unwrap();
        assert_eq!(find(&database, job(number, "a").id).await.status, JobStatus::Queued);
    }
}
