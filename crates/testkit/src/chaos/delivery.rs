//! Who waits for a result, and who is told of it, while those who make and tell it die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::{JobStatus, Scope};
use gateway_db::Filter;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Found, Place, Random, Trial, all_succeeded, percentile, states};
use crate::receiver::{Receiver, Reply};
use crate::stack::{Stack, Submitted};
use crate::wait::until;

/// Experiment 18.
pub(super) async fn shared(place: &Place) -> Found {
    let (keys, each, kills) = place.scale.of((5, 12, 2), (10, 100, 20));
    let mut trial = Trial::start(place, |config| {
        config.workers = 3;
        config.switches.node_ms = 300;
        config.variables.push((String::from("CACHE_ENABLED"), String::from("true")));
    })
    .await;
    let rounds = place.scale.of(1, 10);
    let mut random = Random::new(place.seed);
    let mut submitted = Vec::new();
    for round in 0..rounds {
        let posts = post_equal(&trial.stack, round, keys, each);
        for _ in 0..kills / rounds {
            random.pause(800).await;
            let victim = usize::try_from(random.below(3)).unwrap_or(0);
            trial.stack.restart_worker(victim).await;
        }
        submitted.extend(posts.join_all().await);
    }
    let database = trial.stack.database().await;
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    // Every file is that of several jobs.
    audit.broken.retain(|broken| !broken.starts_with("I11: ") || broken.contains("entries"));
    let run = jobs_that_ran(&database).await;
    if run.values().any(|jobs| *jobs > 1) {
        audit.broken.push(format!("jobs that ran, by what they make: {run:?}"));
    }
    Found {
        done: format!("{} posts for {} results, {kills} kills of 3 workers", submitted.len(), keys * rounds),
        measured: format!("{}; {} jobs ran", states(&audit), run.values().sum::<usize>()),
        broken: audit.broken,
    }
}

/// `each` clients at once for each of `keys` results.
fn post_equal(stack: &Stack, round: usize, keys: usize, each: usize) -> JoinSet<Submitted> {
    let mut posts = JoinSet::new();
    for number in 0..keys * each {
        let (client, url) = (stack.client().clone(), stack.url("/jobs"));
        let request_id = format!("s-{round}-{number}");
        let body = json!({
            "workflowId": "tiny",
            "inputs": {"color": round * 1_000 + number % keys},
            "metadata": {"requestId": request_id},
            "callbackUrl": stack.receiver.url("/hook"),
        });
        posts.spawn(async move {
            loop {
                if let Ok(answer) = client.post(&url).json(&body).send().await
                    && answer.status().is_success()
                    && let Ok(job) = answer.json::<Value>().await
                {
                    let id = job["jobId"].as_str().unwrap_or_default().to_owned();
                    return Submitted { id, request_id, took: Duration::ZERO, refusals: Vec::new() };
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    posts
}

/// How many jobs were run for each colour.
async fn jobs_that_ran(database: &gateway_db::Database) -> BTreeMap<String, usize> {
    let mut run: BTreeMap<String, usize> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = database.list_jobs(Scope::All, Filter::default(), cursor, 500).await.expect("jobs");
        let Some(last) = page.last() else { return run };
        cursor = Some(last.id);
        for job in page.iter().filter(|job| job.epoch > 0) {
            *run.entry(job.inputs["color"].to_string()).or_default() += 1;
        }
    }
}

/// Experiment 48.
pub(super) async fn sender_killed(place: &Place) -> Found {
    let (kills, jobs) = place.scale.of((3, 30), (100, 600));
    let mut trial = Trial::start(place, |config| config.workers = 2).await;
    let load = trial.submit(jobs, Some(place.scale.of(8.0, 4.0)));
    let mut random = Random::new(place.seed);
    for _ in 0..kills {
        let before = trial.stack.receiver.count();
        // A message has just come, and whoever sent it may not have noted that yet.
        until("a message comes", || async { (trial.stack.receiver.count() > before).then_some(()) }).await;
        let victim = usize::try_from(random.below(2)).unwrap_or(0);
        trial.stack.restart_worker(victim).await;
    }
    let submitted = load.await.expect("the load");
    let (mut audit, _stack) = trial.audit(&submitted).await;
    let again = audit.messages.saturating_sub(submitted.len());
    // Each worker sends several at a time.
    if again > kills * 64 {
        audit.broken.push(format!("{again} messages came again in {kills} kills"));
    }
    Found {
        done: format!("{kills} kills of 2 workers when a message had come, {jobs} jobs"),
        measured: format!("{}; {} messages, {again} of them again", states(&audit), audit.messages),
        broken: audit.broken,
    }
}

/// Experiment 50.
pub(super) async fn dead_receiver(place: &Place) -> Found {
    let (dead_jobs, good_jobs) = place.scale.of((60, 20), (4_000, 400));
    let dead = Receiver::scripted([Reply::hang()]).await;
    let allowed = |good: u16| format!("127.0.0.1:{good},127.0.0.1:{}", dead.port());
    let good = Receiver::start().await;
    let trial = Trial::start(place, |config| {
        config.switches.node_ms = 5;
        config.variables.push((String::from("WEBHOOK_ALLOWED_DOMAINS"), allowed(good.port())));
    })
    .await;
    let client = trial.stack.client().clone();
    let mut load = trial.stack.load("dead", dead_jobs, None);
    load.callback = Some(dead.url("/hook"));
    load.run(client.clone()).await;
    let mut load = trial.stack.load("good", good_jobs, Some(place.scale.of(10.0, 20.0)));
    load.callback = Some(good.url("/hook"));
    let submitted = load.run(client).await;
    let wanted: BTreeSet<String> = submitted.iter().map(|job| job.id.clone()).collect();
    let mut broken = Vec::new();
    let arrive = good.until_count(good_jobs);
    if tokio::time::timeout(Duration::from_secs(120), arrive).await.is_err() {
        broken.push(format!("{} of {good_jobs} messages came to the good receiver", good.count()));
    }
    let mut waits = waits(&trial.stack, &wanted).await;
    let p99 = percentile(&mut waits, 0.99);
    if p99 > 5_000.0 {
        broken.push(format!("messages to the good receiver wait {p99:.0} ms at p99"));
    }
    let count = dead.count();
    if count == 0 {
        broken.push(String::from("the dead receiver was never tried"));
    }
    Found {
        done: format!("{dead_jobs} messages to a receiver that never answers, {good_jobs} to one that does"),
        measured: format!("{} came, waiting {p99:.0} ms at p99; the dead one was tried {count} times", good.count()),
        broken,
    }
}

/// How long the messages about these jobs waited for their first try.
async fn waits(stack: &Stack, jobs: &BTreeSet<String>) -> Vec<Duration> {
    let database = stack.database().await;
    let mut waits = Vec::new();
    for id in jobs {
        let job = database.find_job(id.parse().expect("an id"), Scope::All).await.ok().flatten();
        let records = database.deliveries_of(id).await.unwrap_or_default();
        let first = records.first().and_then(|record| record.tries.first());
        if let (Some(job), Some(first)) = (job.filter(|job| job.status == JobStatus::Succeeded), first) {
            let wait = first.time.millis_since(job.finished_at.unwrap_or(job.created_at));
            waits.push(Duration::from_millis(u64::try_from(wait).unwrap_or(0)));
        }
    }
    waits
}
