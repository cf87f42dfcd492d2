//! What every engine must do alike; run against each of them.

mod events;
mod shares;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_core::event::JobEvent;
use gateway_core::progress::Progress;
use gateway_core::workflow::{NeedsId, NodeCatalog};
use gateway_core::{JobId, JobStatus, Owner, Priority, Timestamp};
use serde_json::json;
use tokio::sync::broadcast::Receiver;

use crate::{BackendReport, BackendState, Broker, Control, Entry, Heard, Offer, Taken, WorkerReport, WorkerState};
pub(crate) use events::*;
pub(crate) use shares::*;

/// The ageing time of the brokers that the suite runs against.
pub(crate) const AGEING: Duration = Duration::from_secs(600);

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// An entry that waits since `ago` milliseconds.
pub(crate) fn entry(number: u16, ago: i64) -> Entry {
    let since = now().plus_millis(-ago);
    let [high, low] = number.to_be_bytes();
    Entry {
        job: JobId::new(since, [high, low, 1, 2, 3, 4, 5, 6, 7, 8]),
        priority: Priority::Normal,
        owner: Owner::local(),
        since,
        not_before: None,
        needs: None,
        home: None,
    }
}

pub(crate) fn needs(number: u8) -> NeedsId {
    format!("{number:032x}").parse().unwrap()
}

pub(crate) fn offer(max: usize) -> Offer {
    Offer { max, worker: String::from("w-1"), ..Offer::default() }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it should have happened by now")
}

pub(crate) async fn take(broker: &dyn Broker, offer: &Offer) -> Vec<Taken> {
    soon(broker.next(offer)).await.unwrap()
}

/// Takes one after the other until `many` are there, each done with at once.
pub(crate) async fn drain(broker: &dyn Broker, many: usize, offer: &Offer) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < many {
        for taken in take(broker, offer).await {
            if let Some(receipt) = taken.receipt {
                broker.done(receipt, taken.entry.job);
            }
            entries.push(taken.entry);
        }
    }
    entries
}

/// The suite, as tests against the broker that `$open` opens; `None` leaves them out.
macro_rules! keeps_the_contract {
    ($open:path: $($name:ident),* $(,)?) => {
        $(#[tokio::test] async fn $name() {
            if let Some(broker) = $open().await {
                crate::suite::$name(broker).await;
            }
        })*
    };
    ($open:path) => {
        crate::suite::keeps_the_contract!($open:
            a_waiting_consumer_wakes_when_work_arrives,
            a_delayed_entry_is_handed_out_when_it_is_due_without_any_other_arrival,
            no_more_than_asked_for_is_handed_out_and_two_consumers_share,
            what_is_forgotten_is_not_handed_out,
            higher_priorities_go_first_and_each_is_first_in_first_out,
            what_has_waited_long_goes_before_what_is_more_urgent,
            of_one_priority_the_owner_that_got_least_is_next,
            twenty_thousand_jobs_of_one_owner_do_not_delay_ten_of_another,
            owners_get_as_much_as_they_weigh,
            no_more_jobs_of_an_owner_run_than_may_and_others_pass_them,
            an_owner_that_is_full_holds_up_no_priority_and_no_age,
            what_workers_have_in_hand_counts_for_all_of_them,
            what_nobody_speaks_for_any_more_does_not_count,
            owners_of_their_own_terms_have_another_limit_than_the_rest,
            needs_that_a_server_does_not_meet_are_left_to_others,
            loaded_models_go_first_but_nothing_is_bypassed_more_than_24_times,
            a_job_that_comes_back_keeps_its_age,
            the_same_job_is_never_there_twice,
            a_consumer_that_stops_waiting_loses_nothing,
            cancels_and_controls_reach_whoever_listens,
            watchers_are_told_and_progress_is_kept_until_the_end,
            what_was_missed_is_told_again_in_order_and_progress_is_not,
            previews_are_wanted_once_somebody_says_so,
            requests_are_counted_by_key_and_by_rule,
            workers_and_their_catalogs_are_known_while_they_live,
            a_marker_is_kept,
        );
    };
}
pub(crate) use keeps_the_contract;

type Dyn = Arc<dyn Broker>;

pub(crate) async fn a_waiting_consumer_wakes_when_work_arrives(broker: Dyn) {
    let consumer = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.next(&offer(5)).await.unwrap() }
    });
    tokio::task::yield_now().await;
    let waiting = entry(1, 0);
    broker.enqueue(vec![waiting.clone()]).await.unwrap();
    let taken: Vec<Entry> = soon(consumer).await.unwrap().into_iter().map(|taken| taken.entry).collect();
    assert_eq!(taken, [waiting]);
}

pub(crate) async fn a_delayed_entry_is_handed_out_when_it_is_due_without_any_other_arrival(broker: Dyn) {
    let due = now().plus_millis(80);
    let delayed = Entry { not_before: Some(due), ..entry(1, 0) };
    assert_eq!(broker.enqueue(vec![delayed.clone()]).await.unwrap(), [None]);
    let depth = broker.depth().await.unwrap();
    assert_eq!((depth.total, depth.delayed), (1, 1));
    assert_eq!(take(&*broker, &offer(1)).await.first().map(|taken| taken.entry.job), Some(delayed.job));
    assert!(now() >= due);
}

pub(crate) async fn no_more_than_asked_for_is_handed_out_and_two_consumers_share(broker: Dyn) {
    broker.enqueue((0..10).map(|number| entry(number, 100)).collect()).await.unwrap();
    let first = take(&*broker, &offer(4)).await;
    let second = take(&*broker, &Offer { worker: String::from("w-2"), ..offer(100) }).await;
    assert_eq!((first.len(), second.len()), (4, 6));
    assert!(first.iter().all(|taken| !second.contains(taken)));
}

pub(crate) async fn what_is_forgotten_is_not_handed_out(broker: Dyn) {
    let (gone, later, kept) =
        (entry(1, 30), Entry { not_before: Some(now().plus_millis(60_000)), ..entry(2, 20) }, entry(3, 10));
    broker.enqueue(vec![gone.clone(), later.clone(), kept.clone()]).await.unwrap();
    broker.forget(gone.job).await.unwrap();
    broker.forget(later.job).await.unwrap();
    assert_eq!(broker.position(gone.job).await.unwrap(), None);
    assert_eq!(broker.depth().await.unwrap().total, 1);
    assert_eq!(drain(&*broker, 1, &offer(9)).await, [kept]);
}

pub(crate) async fn higher_priorities_go_first_and_each_is_first_in_first_out(broker: Dyn) {
    let low = Entry { priority: Priority::Low, ..entry(1, 400) };
    let (normal, later) = (entry(2, 300), entry(3, 200));
    let high = Entry { priority: Priority::High, ..entry(4, 100) };
    let positions = broker.enqueue(vec![low.clone(), normal.clone(), later.clone(), high.clone()]).await.unwrap();
    assert_eq!(positions.last(), Some(&Some(1)));
    assert_eq!(broker.position(low.job).await.unwrap(), Some(4));
    assert_eq!(broker.position(normal.job).await.unwrap(), Some(2));
    assert_eq!(drain(&*broker, 4, &offer(1)).await, [high, normal, later, low]);
    assert_eq!(broker.depth().await.unwrap().total, 0);
}

pub(crate) async fn what_has_waited_long_goes_before_what_is_more_urgent(broker: Dyn) {
    let ageing = i64::try_from(AGEING.as_millis()).unwrap();
    let old = Entry { priority: Priority::Low, ..entry(1, 2 * ageing + 1_000) };
    let younger = Entry { priority: Priority::Low, ..entry(2, ageing / 2) };
    let high = Entry { priority: Priority::High, ..entry(3, 1_000) };
    broker.enqueue(vec![high.clone(), younger.clone(), old.clone()]).await.unwrap();
    assert_eq!(drain(&*broker, 3, &offer(1)).await, [old, high, younger]);
}

pub(crate) async fn needs_that_a_server_does_not_meet_are_left_to_others(broker: Dyn) {
    let (cannot, can) =
        (Entry { needs: Some(needs(1)), ..entry(1, 100) }, Entry { needs: Some(needs(2)), ..entry(2, 50) });
    broker.enqueue(vec![cannot.clone(), can.clone()]).await.unwrap();
    let choosy = Offer { cannot: HashSet::from([needs(1)]), ..offer(9) };
    assert_eq!(drain(&*broker, 1, &choosy).await, [can]);
    let nothing = tokio::time::timeout(Duration::from_millis(50), broker.next(&choosy)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(drain(&*broker, 1, &offer(9)).await, [cannot]);
}

pub(crate) async fn loaded_models_go_first_but_nothing_is_bypassed_more_than_24_times(broker: Dyn) {
    let cold = Entry { needs: Some(needs(1)), ..entry(1, 500) };
    let warm = (100..140).map(|number| Entry { needs: Some(needs(2)), ..entry(number, 400 - i64::from(number)) });
    broker.enqueue(std::iter::once(cold.clone()).chain(warm).collect()).await.unwrap();
    let offer = Offer { warm: HashSet::from([needs(2)]), ..offer(1) };
    let order = drain(&*broker, 41, &offer).await;
    assert_eq!(order.iter().position(|entry| *entry == cold), Some(24));
    let rest: Vec<&Entry> = order.iter().filter(|entry| **entry != cold).collect();
    assert!(rest.is_sorted_by_key(|entry| entry.since), "loaded ones among themselves stay in order");
}

pub(crate) async fn a_job_that_comes_back_keeps_its_age(broker: Dyn) {
    let (first, second, third) = (entry(1, 30_000), entry(2, 20_000), entry(3, 10_000));
    broker.enqueue(vec![first.clone(), second.clone(), third.clone()]).await.unwrap();
    let taken = take(&*broker, &offer(1)).await;
    assert_eq!(taken.first().map(|taken| taken.entry.job), Some(first.job));
    broker.enqueue(vec![first.clone()]).await.unwrap();
    if let Some(receipt) = taken.into_iter().next().and_then(|taken| taken.receipt) {
        broker.done(receipt, first.job);
    }
    assert_eq!(drain(&*broker, 3, &offer(1)).await, [first, second, third]);
}

pub(crate) async fn the_same_job_is_never_there_twice(broker: Dyn) {
    let (waiting, other) = (entry(1, 200), entry(2, 100));
    broker.enqueue(vec![waiting.clone(), other.clone()]).await.unwrap();
    broker.enqueue(vec![waiting.clone()]).await.unwrap();
    let soon = Entry { not_before: Some(now().plus_millis(40)), ..waiting.clone() };
    broker.enqueue(vec![soon.clone(), soon]).await.unwrap();
    assert_eq!(broker.depth().await.unwrap().total, 2);
    let jobs: Vec<JobId> = drain(&*broker, 2, &offer(1)).await.into_iter().map(|entry| entry.job).collect();
    assert_eq!(jobs, [other.job, waiting.job]);
    assert_eq!(broker.depth().await.unwrap().total, 0);
}

pub(crate) async fn a_consumer_that_stops_waiting_loses_nothing(broker: Dyn) {
    for number in 0..200 {
        let one = offer(1);
        // Cut off at any moment of a claim.
        let impatient = tokio::time::timeout(Duration::from_micros(u64::from(number) * 20), broker.next(&one));
        let waiting = entry(number, 0);
        broker.enqueue(vec![waiting.clone()]).await.unwrap();
        let taken = match impatient.await {
            Ok(taken) => taken.unwrap(),
            Err(_elapsed) => take(&*broker, &offer(1)).await,
        };
        let taken = taken.into_iter().next().unwrap();
        assert_eq!(taken.entry.job, waiting.job);
        if let Some(receipt) = taken.receipt {
            broker.done(receipt, waiting.job);
        }
    }
}

/// Says it over and over until it is heard: who listens may have just begun to.
async fn heard<T, F: Future<Output = ()>>(receiver: &mut Receiver<T>, say: impl Fn() -> F) -> T
where
    T: Clone,
{
    soon(async {
        loop {
            say().await;
            if let Ok(Ok(heard)) = tokio::time::timeout(Duration::from_millis(100), receiver.recv()).await {
                return heard;
            }
        }
    })
    .await
}

pub(crate) async fn cancels_and_controls_reach_whoever_listens(broker: Dyn) {
    let (mut cancels, mut controls) = (broker.cancels(), broker.controls());
    let job = entry(1, 0).job;
    assert_eq!(heard(&mut cancels, || async { broker.signal_cancel(job).await.unwrap() }).await, job);
    let drain = Control::Drain { worker: String::from("w-7") };
    assert_eq!(heard(&mut controls, || async { broker.control(drain.clone()).await.unwrap() }).await, drain);
}

pub(crate) async fn watchers_are_told_and_progress_is_kept_until_the_end(broker: Dyn) {
    let job = entry(1, 0).job;
    // Whoever watches while the connection that listens is being made is told to watch again.
    soon(async {
        loop {
            let mut watcher = broker.watch(job);
            let told = heard_or_closed(&*broker, job, &mut watcher).await;
            if told {
                return;
            }
        }
    })
    .await;
    let progress = Progress { percent: 41, ..Progress::default() };
    broker.publish(job, JobEvent::Progress(progress.clone()));
    soon(async {
        while broker.progress(job).await.as_ref() != Some(&progress) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut watcher = broker.watch(job);
    broker.publish(job, JobEvent::Status(JobStatus::Succeeded));
    let mut last = None;
    soon(async {
        while let Ok(heard) = watcher.recv().await {
            last = Some(heard.event);
        }
    })
    .await;
    assert_eq!(last, Some(JobEvent::Status(JobStatus::Succeeded)), "and the stream is closed after it");
    assert_eq!(broker.progress(job).await, None);
}

async fn heard_or_closed(broker: &dyn Broker, job: JobId, watcher: &mut Receiver<Heard>) -> bool {
    loop {
        broker.publish(job, JobEvent::Progress(Progress { percent: 7, ..Progress::default() }));
        match tokio::time::timeout(Duration::from_millis(100), watcher.recv()).await {
            Ok(Ok(heard)) => {
                assert!(matches!(heard.event, JobEvent::Progress(Progress { percent: 7, .. })));
                return true;
            }
            Ok(Err(_closed)) => return false,
            Err(_elapsed) => {}
        }
    }
}

pub(crate) async fn workers_and_their_catalogs_are_known_while_they_live(broker: Dyn) {
    let catalog = Arc::new(NodeCatalog::parse(&json!({
        "Load": {"input": {"required": {"ckpt_name": [["a.safetensors"], {}], "n": ["INT", {"default": 1, "min": 0}]}}},
    })));
    broker.put_node_catalog(&catalog.digest(), Arc::clone(&catalog)).await;
    let report = WorkerReport {
        id: String::from("w-1"),
        node: String::from("node"),
        version: String::from("1"),
        state: WorkerState::Running,
        backends: vec![BackendReport {
            name: String::from("http://one"),
            url: String::from("http://one"),
            state: BackendState::Ready,
            problem: None,
            version: None,
            devices: Vec::new(),
            node_classes: Some(1),
            node_catalog: Some(catalog.digest()),
            checkpoints: Vec::new(),
            loaded: Vec::new(),
            concurrency: 1,
            in_flight: 0,
        }],
    };
    broker.announce(report.clone()).await;
    assert_eq!(broker.workers().await, [report]);
    let catalogs = broker.node_catalogs().await;
    assert_eq!(catalogs.iter().flatten().map(|catalog| catalog.digest()).collect::<Vec<_>>(), [catalog.digest()]);
    broker.withdraw("w-1").await;
    soon(async {
        while !broker.workers().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

pub(crate) async fn a_marker_is_kept(broker: Dyn) {
    assert_eq!(broker.marker().await.unwrap(), None);
    broker.set_marker("abc").await.unwrap();
    assert_eq!(broker.marker().await.unwrap().as_deref(), Some("abc"));
}
