//! A Redis that forgets, dies, is away, or comes back to a full queue.

use std::time::{Duration, Instant};

use gateway_core::Scope;

use super::{Found, Place, Random, Scale, Trial, all_succeeded, must_meet, percentile, states};
use crate::stack::{Redis, Submitted};
use crate::wait::{DEADLINE, within};

/// How long a flush may keep a job waiting.
const LONGEST_WAIT_MS: i64 = 70_000;
/// Flushes where jobs wait; nothing comes between looking and flushing.
const FLUSH_WAITING: &str = "if redis.call('ZCARD', KEYS[1]) == 0 then return 0 end redis.call('FLUSHALL') return 1";

/// Experiment 21.
pub(super) async fn flushed(place: &Place) -> Found {
    let (times, pause, jobs) = place.scale.of((3, 2, 160), (20, 30, 12_000));
    // Close to what the workers do, so that some jobs wait.
    let trial = Trial::start(place, |config| config.switches.node_ms = 30).await;
    let load = trial.submit(jobs, Some(20.0));
    let mut met = 0;
    for _ in 0..times {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        met += usize::from(flush(&trial.stack.redis).await);
    }
    let submitted = load.await.expect("the load");
    let (mut audit, stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    let database = stack.database().await;
    let mut longest = 0;
    for job in &submitted {
        let row = database.find_job(job.id.parse().expect("an id"), Scope::All).await.expect("a row").expect("the job");
        longest = longest.max(row.started_at.map_or(0, |started| started.millis_since(row.created_at)));
    }
    if longest > LONGEST_WAIT_MS {
        audit.broken.push(format!("a job waited {longest} ms"));
    }
    must_meet(&mut audit.broken, met, "no job waited in Redis when it was flushed");
    Found {
        done: format!("{times} times FLUSHALL, {met} of them with jobs in it, at 20 jobs a second, {jobs} in all"),
        measured: format!("{}; the longest wait was {:.1} s", states(&audit), longest as f64 / 1_000.0),
        broken: audit.broken,
    }
}

/// Flushes Redis at a moment when jobs wait there; where none do for a while, all the same. Tells whether any did.
async fn flush(redis: &Redis) -> bool {
    let command = ["eval", FLUSH_WAITING, "1", "{gateway}:waiting:1"];
    let met = within(Duration::from_secs(5), || async { (redis.ask(&command) == "1").then_some(()) }).await.is_some();
    if !met {
        assert_eq!(redis.ask(&["flushall"]), "OK");
    }
    met
}

/// Experiment 22.
pub(super) async fn killed(place: &Place) -> Found {
    let (times, jobs) = place.scale.of((3, 150), (50, 3_000));
    let mut trial = Trial::start(place, |config| {
        config.redis_appends = false;
        config.switches.node_ms = 5;
    })
    .await;
    let load = trial.submit(jobs, Some(25.0));
    let mut random = Random::new(place.seed);
    for _ in 0..times {
        random.pause(2_500).await;
        trial.stack.redis.kill();
        random.pause(500).await;
        trial.stack.redis.restart().await;
    }
    let submitted = load.await.expect("the load");
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    Found {
        done: format!("{times} kills of a Redis without persistence under {jobs} jobs"),
        measured: states(&audit),
        broken: audit.broken,
    }
}

/// Experiment 24.
pub(super) async fn away(place: &Place) -> Found {
    let seconds = place.scale.of(6, 600);
    let rate = 20.0;
    let mut trial = Trial::start(place, |config| config.switches.node_ms = 5).await;
    let part = |seconds: u64| usize::try_from(seconds).unwrap_or(0) * rate as usize;
    let before = trial.submit_named("before", part(seconds.min(30)), Some(rate)).await.expect("the load");
    let idle = within(DEADLINE, || async { (trial.waiting().await? == 0).then_some(()) }).await;
    trial.stack.redis.kill();
    let load = trial.submit_named("away", part(seconds), Some(rate));
    let away = load.await.expect("the load");
    let left = trial.waiting().await.unwrap_or(usize::MAX);
    trial.stack.redis.restart().await;
    let after = trial.submit_named("after", part(2), Some(rate)).await.expect("the load");
    let p99 = |jobs: &[Submitted]| percentile(&mut jobs.iter().map(|job| job.took).collect::<Vec<_>>(), 0.99);
    // The first calls find out that it is away.
    let settled = away.get(away.len() / 4..).unwrap_or_default();
    let (usual, without) = (p99(&before), p99(settled));
    let refusals: Vec<_> = away.iter().flat_map(|job| &job.refusals).collect();
    let all: Vec<Submitted> = before.into_iter().chain(away.clone()).chain(after).collect();
    let (mut audit, _stack) = trial.audit(&all).await;
    all_succeeded(&mut audit);
    if idle.is_none() {
        audit.broken.push(format!("what came before was not done after {} s", DEADLINE.as_secs()));
    }
    if !refusals.is_empty() {
        audit.broken.push(format!("POSTs were answered with another status than 202: {refusals:?}"));
    }
    // What each machine can show at leisure; too few jobs say nothing in seconds.
    if place.scale == Scale::Full && without > usual * 1.5 {
        audit.broken.push(format!("POST p99 {without:.1} ms without Redis, more than 1.5 times {usual:.1} ms"));
    }
    if left > away.len() / 2 {
        audit.broken.push(format!("{left} of {} jobs still waited while Redis was away", away.len()));
    }
    Found {
        done: format!("Redis away for {seconds} s at {rate} POSTs a second"),
        measured: format!(
            "{}; {left} of {} left to do when it came back; POST p99 {without:.1} ms, {usual:.1} ms with Redis",
            states(&audit),
            away.len()
        ),
        broken: audit.broken,
    }
}

/// Experiment 45.
pub(super) async fn restarted_full(place: &Place) -> Found {
    let jobs = place.scale.of(600, 50_000);
    let mut trial = Trial::start(place, |config| {
        config.switches.node_ms = 1;
        config.redis_appends = false;
        config.variables.push((String::from("QUEUE_MAX_DEPTH"), String::from("1000000")));
    })
    .await;
    let paused = trial.stack.client().post(trial.stack.url("/queue/pause")).send().await.expect("an answer");
    assert_eq!(paused.status(), 200);
    let submitted = trial.submit(jobs, None).await.expect("the load");
    for number in 0..trial.stack.workers.len() {
        trial.stack.workers[number].process.kill();
    }
    trial.stack.redis.kill();
    trial.stack.redis.restart().await;
    let resumed = trial.stack.client().post(trial.stack.url("/queue/resume")).send().await.expect("an answer");
    assert_eq!(resumed.status(), 200);
    let began = Instant::now();
    for number in 0..2 {
        trial.stack.restart_api(number);
    }
    for number in 0..trial.stack.workers.len() {
        trial.stack.restart_worker(number).await;
    }
    let mut most_sessions = 0;
    let mut done = None;
    let first = within(DEADLINE, || async {
        let started: u64 = trial.stack.sims.iter().map(|sim| sim.stats().prompts_started).sum();
        (started > 0).then(|| began.elapsed())
    })
    .await
    .unwrap_or(DEADLINE);
    while done.is_none() && began.elapsed() < Duration::from_secs(5) {
        most_sessions = most_sessions.max(trial.stack.postgres.sessions());
        done = trial.waiting().await.filter(|waiting| *waiting == 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let processes = 2 + trial.stack.workers.len();
    // Readers, the writer, the lock, and what looks on.
    let allowed = processes * (4 + 2) + 4;
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    if first > Duration::from_secs(5) {
        audit.broken.push(format!("no job started for {:.1} s", first.as_secs_f64()));
    }
    if most_sessions > allowed {
        audit.broken.push(format!("{most_sessions} sessions on the database, {allowed} allowed"));
    }
    Found {
        done: format!("APIs, workers and an empty Redis started with {jobs} jobs waiting"),
        measured: format!(
            "first job after {:.1} s; {most_sessions} database sessions at most; {}",
            first.as_secs_f64(),
            states(&audit)
        ),
        broken: audit.broken,
    }
}
