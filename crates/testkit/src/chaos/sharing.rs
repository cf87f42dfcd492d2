//! Many who wait for one result, while those who make it die.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_db::Job;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Found, Place, Random, Trial, all_succeeded, must_meet, states};
use crate::stack::{Stack, Submitted};
use crate::wait::within;

/// Experiment 18.
pub(super) async fn run(place: &Place) -> Found {
    let (keys, each, kills) = place.scale.of((5, 12, 2), (10, 100, 20));
    let mut trial = Trial::start(place, |config| {
        config.workers = 3;
        config.switches.node_ms = 300;
        config.variables.push((String::from("CACHE_ENABLED"), String::from("true")));
    })
    .await;
    let rounds = place.scale.of(1, 10);
    let results = keys * rounds;
    let mut random = Random::new(place.seed);
    let (mut submitted, mut killed) = (Vec::new(), 0);
    for round in 0..rounds {
        let posts = post_equal(&trial.stack, round, keys, each);
        for _ in 0..kills / rounds {
            random.pause(400).await;
            let busy = || async { Some(trial.busy().await).filter(|busy| !busy.is_empty()) };
            // A result whose maker was lost is made anew once its claim holds no more.
            let busy = within(Duration::from_secs(trial.stack.config.lease + 10), busy).await.unwrap_or_default();
            if let Some(victim) = busy.get(random.below(busy.len() as u64) as usize) {
                trial.stack.restart_worker(*victim).await;
                killed += 1;
            }
        }
        submitted.extend(posts.join_all().await);
    }
    let (mut audit, stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    must_meet(&mut audit.broken, audit.losses, "no worker made a result when it was killed");
    let run = jobs_that_ran(&stack.jobs().await);
    if run.len() != results || run.values().any(|jobs| *jobs != 1) {
        audit.broken.push(format!("jobs that ran, by what they make: {run:?}"));
    }
    if audit.objects.len() != results {
        audit.broken.push(format!("{} files for {results} results", audit.objects.len()));
    }
    Found {
        done: format!(
            "{} posts for {results} results, {killed} kills of 3 workers while they made one",
            submitted.len()
        ),
        measured: format!(
            "{}; {} jobs ran and lost {} workers; {} files",
            states(&audit),
            run.values().sum::<usize>(),
            audit.losses,
            audit.objects.len()
        ),
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
fn jobs_that_ran(jobs: &[Job]) -> BTreeMap<String, usize> {
    let mut run = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.epoch > 0) {
        *run.entry(job.inputs["color"].to_string()).or_default() += 1;
    }
    run
}
