//! Against a real server: what only a shared queue can do, and what it does when Redis fails.

use std::collections::HashSet;

use deadpool_redis::redis::AsyncCommands as _;
use secrecy::SecretString;

use super::*;
use crate::suite::{self, drain, entry, needs, offer, take, terms};

/// Keys of a test's own on the server that the test command started; `None` where it has said that there is none.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
fn settings() -> Option<RedisSettings> {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        assert!(std::env::var("TEST_WITHOUT_REDIS").is_ok(), "no Redis: run the tests by `cargo xtask test`");
        return None;
    };
    let prefix = format!("t{:016x}", rand::random::<u64>());
    Some(RedisSettings { url: SecretString::from(url), shown: String::from("redis://test"), prefix })
}

async fn broker() -> Option<RedisBroker> {
    Some(RedisBroker::open(&settings()?, suite::AGEING).await.unwrap())
}

async fn open() -> Option<Arc<dyn Broker>> {
    Some(Arc::new(broker().await?))
}

suite::keeps_the_contract!(open);

async fn raw(broker: &RedisBroker) -> deadpool_redis::redis::aio::MultiplexedConnection {
    broker.shared.link.client().get_multiplexed_async_connection().await.unwrap()
}

/// The server's number for the connection that calls of `broker` share.
async fn connection_id(broker: &RedisBroker) -> u64 {
    let mut command = redis::pipe();
    command.cmd("CLIENT").arg("ID");
    let (id,): (u64,) = broker.shared.link.send(&command).await.unwrap();
    id
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_made_anew_once_for_all_and_is_no_outage() {
    let Some(broker) = broker().await else { return };
    let broker = Arc::new(broker);
    let states = broker.shared.link.states();
    let first = connection_id(&broker).await;
    assert_eq!(connection_id(&broker).await, first, "calls share a connection");
    let killed: i64 =
        redis::cmd("CLIENT").arg("KILL").arg("ID").arg(first).query_async(&mut raw(&broker).await).await.unwrap();
    assert_eq!(killed, 1);

    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let broker = Arc::clone(&broker);
        calls.spawn(async move {
            broker.depth().await.unwrap();
            connection_id(&broker).await
        });
    }
    let ids: HashSet<u64> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(!ids.contains(&first));
    assert!(!states.has_changed().unwrap() && broker.shared.link.is_up());
}

#[test]
fn the_shared_connection_outlives_the_runtime_of_whoever_called_first() {
    let whole = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Some(broker) = whole.block_on(broker()) else { return };
    broker.shared.link.forget_connection();
    let ids = [(); 2].map(|()| {
        let short = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        short.block_on(connection_id(&broker))
    });
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_entry_that_nobody_can_read_is_set_aside_alone() {
    let Some(broker) = broker().await else { return };
    let (first, second) = (entry(1, 2_000), entry(2, 1_000));
    broker.enqueue(vec![first.clone()]).await.unwrap();
    let lane = broker.shared.link.key(&format!("lane:{}:first", keys::lane(&first)));
    let mut connection = raw(&broker).await;
    let _id: String = connection.xadd(&lane, "*", &[("nonsense", "1")]).await.unwrap();
    let _id: String = connection.xadd(&lane, "*", &[("job", "not-one-of-ours"), ("since", "5")]).await.unwrap();
    broker.enqueue(vec![second.clone()]).await.unwrap();
    assert_eq!(drain(&broker, 2, &offer(8)).await, [first, second]);
    let dead: usize = connection.xlen(broker.shared.link.key("dead")).await.unwrap();
    assert_eq!(dead, 2);
}

#[tokio::test]
async fn entries_that_waited_when_the_group_was_lost_are_handed_out_all_the_same() {
    let Some(broker) = broker().await else { return };
    let (first, second) = (entry(1, 2_000), entry(2, 1_000));
    broker.enqueue(vec![first.clone(), second.clone()]).await.unwrap();
    let lane = broker.shared.link.key(&format!("lane:{}:first", keys::lane(&first)));
    let mut connection = raw(&broker).await;
    let _gone: i64 =
        redis::cmd("XGROUP").arg("DESTROY").arg(&lane).arg("workers").query_async(&mut connection).await.unwrap();
    assert_eq!(drain(&broker, 2, &offer(1)).await, [first, second]);
}

#[tokio::test]
async fn what_a_worker_took_and_never_claimed_comes_back_and_until_then_is_known() {
    let Some(broker) = broker().await else { return };
    let (waiting, other) = (entry(1, 5_000), entry(2, 0));
    broker.enqueue(vec![waiting.clone()]).await.unwrap();
    assert_eq!(take(&broker, &offer(1)).await.len(), 1);
    assert_eq!(broker.unknown(&[waiting.job, other.job]).await.unwrap(), [other.job]);
    assert_eq!(broker.reclaim().await.unwrap(), 0, "it was handed out a moment ago");
    assert_eq!(broker.shared.reclaim(0).await.unwrap(), 1);
    assert_eq!(drain(&broker, 1, &offer(1)).await, std::slice::from_ref(&waiting));
    // The note that it is done goes with others.
    while broker.unknown(&[waiting.job]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.shared.reclaim(0).await.unwrap(), 0);
}

#[tokio::test]
async fn a_job_waits_for_the_server_that_may_have_its_prompt_while_that_is_there() {
    let Some(broker) = broker().await else { return };
    let home = Entry { home: Some(String::from("http://127.0.0.1:8188@a")), ..entry(1, 100) };
    let report = |state| WorkerReport {
        id: String::from("w-a"),
        node: String::from("a"),
        version: String::new(),
        state: crate::WorkerState::Running,
        backends: vec![crate::BackendReport {
            name: String::from("http://127.0.0.1:8188@a"),
            url: String::new(),
            state,
            problem: None,
            version: None,
            devices: Vec::new(),
            node_classes: None,
            node_catalog: None,
            checkpoints: Vec::new(),
            loaded: Vec::new(),
            concurrency: 1,
            in_flight: 0,
        }],
    };
    broker.announce(report(crate::BackendState::Ready)).await;
    broker.enqueue(vec![home.clone(), entry(2, 50)]).await.unwrap();
    assert_ne!(drain(&broker, 1, &offer(1)).await, std::slice::from_ref(&home));
    let at_home = Offer { homes: HashSet::from([String::from("http://127.0.0.1:8188@a")]), ..offer(1) };
    assert_eq!(drain(&broker, 1, &at_home).await, [home]);
    let gone = Entry { home: Some(String::from("http://127.0.0.1:8188@b")), ..entry(3, 100) };
    broker.enqueue(vec![gone.clone()]).await.unwrap();
    assert_eq!(drain(&broker, 1, &offer(1)).await, [gone], "a server that nobody has heard of");
}

#[tokio::test]
async fn all_keys_lie_in_one_slot_of_a_cluster_and_nothing_is_left_of_jobs_that_are_done() {
    let Some(broker) = broker().await else { return };
    let many = (0..50).map(|number| Entry { needs: Some(needs((number % 7) as u8)), ..entry(number, 1_000) });
    broker.enqueue(many.collect()).await.unwrap();
    let jobs: Vec<JobId> = drain(&broker, 50, &offer(8)).await.into_iter().map(|entry| entry.job).collect();
    while broker.unknown(&jobs).await.unwrap().len() < jobs.len() {
        tokio::task::yield_now().await;
    }
    let mut connection = raw(&broker).await;
    let root = broker.shared.link.root().to_owned();
    let keys: Vec<String> = connection.keys(format!("*{}*", root.trim_matches(['{', '}', ':']))).await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with(&root)), "{keys:?}");
    let mut kept: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix(&root)).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["floor", "ping", "vtimes:1"]);
}

#[tokio::test]
async fn what_runs_is_known_again_after_redis_lost_everything_and_nothing_is_left_of_it_at_the_end() {
    let Some(broker) = broker().await else { return };
    let owner = gateway_core::Owner::new("bounded: one|");
    let offer = terms(1, &[(&owner, Some(1), None)]);
    let jobs = [1, 2].map(|number| Entry { owner: owner.clone(), ..entry(number, 1_000) });
    broker.enqueue(jobs.to_vec()).await.unwrap();
    assert_eq!(drain(&broker, 1, &offer).await, jobs[..1]);
    let mut connection = raw(&broker).await;
    let root = broker.shared.link.root().to_owned();
    let keys: Vec<String> = connection.keys(format!("*{}*", root.trim_matches(['{', '}', ':']))).await.unwrap();
    let _gone: i64 = connection.del(keys).await.unwrap();
    let runs = [Run { owner, job: jobs[0].job }];
    broker.runs("w-1", &runs, &[], Duration::from_secs(60)).await.unwrap();
    broker.enqueue(jobs[1..].to_vec()).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(50), broker.next(&offer)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let left = broker.shared.link.key("runs:bounded%3A%20one%7C");
    let seconds: i64 = connection.ttl(&left).await.unwrap();
    assert!((1..=60).contains(&seconds), "a worker that dies leaves nothing for ever: {seconds}");
    broker.runs("w-1", &[], &runs, Duration::from_secs(60)).await.unwrap();
    let there: bool = connection.exists(&left).await.unwrap();
    assert!(!there);
    assert_eq!(drain(&broker, 1, &offer).await, jobs[1..]);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_goes_back_and_is_not_taken_to_run() {
    let Some(broker) = broker().await else { return };
    let offer = terms(1, &[(&gateway_core::Owner::local(), Some(1), None)]);
    let waiting = entry(1, 1_000);
    broker.enqueue(vec![waiting.clone()]).await.unwrap();
    let (asker, answer) = oneshot::channel();
    drop(answer);
    Arc::clone(&broker.shared).claim_for(offer.clone(), asker).await;
    assert_eq!(drain(&broker, 1, &offer).await, [waiting]);
}

#[tokio::test]
async fn a_chore_is_one_process_turn_at_a_time() {
    let Some(broker) = broker().await else { return };
    let long = Duration::from_secs(60);
    assert!(broker.turn("sweep", long).await.unwrap());
    assert!(!broker.turn("sweep", long).await.unwrap());
    assert!(broker.turn("other", Duration::from_millis(1)).await.unwrap());
    while !broker.turn("other", long).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for_and_calls_fail_at_once() {
    let url = SecretString::from("redis://:secret@127.0.0.1:1/0");
    let settings = RedisSettings { url, shown: String::from("redis://127.0.0.1:1"), prefix: String::from("t") };
    let broker = RedisBroker::open(&settings, suite::AGEING).await.unwrap();
    let error = broker.depth().await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(broker.enqueue(vec![entry(1, 0)]).await.is_err());
    assert!(broker.next(&offer(1)).await.is_err());
    assert!(broker.workers().await.is_empty());
}
