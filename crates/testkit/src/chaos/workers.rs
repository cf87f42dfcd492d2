//! Workers that die, freeze, are replaced or stop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gateway_core::{JobStatus, Scope};
use gateway_db::{Database, Job};
use serde_json::{Value, json};

use super::{Found, Place, Random, Trial, all_succeeded, must_meet, percentile, states};
use crate::stack::{Audit, Stack};
use crate::wait::{DEADLINE, within};
use crate::workflows::sampler_workflow;

/// Longer than it takes until somebody looks for claims that ran out.
const SWEPT: Duration = Duration::from_secs(20);

/// Experiment 1.
pub(super) async fn killed(place: &Place) -> Found {
    let (kills, jobs, workers) = place.scale.of((6, 80, 3), (200, 2_000, 4));
    let mut trial = Trial::start(place, |config| {
        config.workers = workers;
        // Long enough to be caught at it.
        config.switches.node_ms = 60;
    })
    .await;
    let load = trial.submit(jobs, Some(place.scale.of(25.0, 8.0)));
    let mut random = Random::new(place.seed);
    for _ in 0..kills {
        random.pause(place.scale.of(700, 1_500)).await;
        let victim = usize::try_from(random.below(workers as u64)).unwrap_or(0);
        trial.stack.restart_worker(victim).await;
    }
    let submitted = load.await.expect("the load");
    let (mut audit, stack) = trial.audit(&submitted).await;
    let mut recoveries = recoveries(&stack).await;
    let limit = (stack.config.lease + 15) as f64 * 1_000.0;
    let p95 = percentile(&mut recoveries, 0.95);
    if p95 > limit {
        audit.broken.push(format!("recovery takes {p95:.0} ms at p95, more than {limit:.0} ms"));
    }
    must_meet(&mut audit.broken, recoveries.len(), "no worker ran a job when it was killed");
    // Three losses hold a job: by chance, few have that many.
    let most_dead = jobs / 200;
    if audit.dead > most_dead || audit.states.get("failed").copied().unwrap_or(0) > audit.dead {
        audit.broken.push(format!("{:?}, {} held", audit.states, audit.dead));
    }
    Found {
        done: format!("{kills} kills of {workers} workers over {jobs} jobs, claims of {} s", stack.config.lease),
        measured: format!("{}; {} recoveries, p95 {:.1} s", states(&audit), recoveries.len(), p95 / 1_000.0),
        broken: audit.broken,
    }
}

/// How long it took at most until each job that lost a worker was back in the queue: from the beginning of its run on.
async fn recoveries(stack: &Stack) -> Vec<Duration> {
    let database = stack.database().await;
    let mut found = Vec::new();
    for job in stack.jobs().await.iter().filter(|job| job.crashes > 0 && job.status.is_ended()) {
        let lines = database.logs_of(job.id).await.unwrap_or_default();
        let lost = lines.iter().find(|line| line.event == "worker_lost");
        if let (Some(lost), Some(started)) = (lost, job.started_at) {
            let waited = lost.time.millis_since(started).max(0);
            found.push(Duration::from_millis(u64::try_from(waited).unwrap_or(0)));
        }
    }
    found
}

/// Experiment 5.
pub(super) async fn frozen(place: &Place) -> Found {
    let (times, jobs) = place.scale.of((1, 12), (100, 1_800));
    let mut trial = Trial::start(place, |config| {
        config.workers = 2;
        // Long enough to be frozen in the middle of a job.
        config.switches.node_ms = 400;
    })
    .await;
    let load = trial.submit(jobs, Some(place.scale.of(6.0, 3.0)));
    let lease = trial.stack.config.lease;
    let database = trial.stack.database().await;
    let mut random = Random::new(place.seed);
    let (mut broken, mut met) = (Vec::new(), 0);
    for number in 0..times {
        let victim = number % 2;
        if within(DEADLINE, || async { trial.busy().await.contains(&victim).then_some(()) }).await.is_none() {
            broken.push(format!("a worker got no job for {} s", DEADLINE.as_secs()));
        }
        random.pause(300).await;
        trial.stack.workers[victim].process.signal("STOP");
        let id = &trial.stack.workers[victim].id;
        let holds = |job: &Job| job.status == JobStatus::Running && job.worker_id.as_ref() == Some(id);
        let held = trial.stack.jobs().await.into_iter().find(holds);
        tokio::time::sleep(Duration::from_secs(lease * 3 / 2)).await;
        if let Some(held) = held {
            met += usize::from(within(SWEPT, || has_lost_more(&database, &held)).await.is_some());
        }
        let worker = &mut trial.stack.workers[victim].process;
        worker.signal("CONT");
        if !worker.runs() {
            broken.push(format!("a worker that was frozen has ended: {}", worker.log_tail()));
        }
    }
    let submitted = load.await.expect("the load");
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    audit.broken.extend(broken);
    must_meet(&mut audit.broken, met, "no worker had lost its job when it woke");
    Found {
        done: format!(
            "{times} times a worker frozen for at least {} s, {met} of them until it had lost its job, claims of {lease} s",
            lease * 3 / 2
        ),
        measured: states(&audit),
        broken: audit.broken,
    }
}

/// Something once a job counts more lost workers than it did.
async fn has_lost_more(database: &Database, before: &Job) -> Option<()> {
    let job = database.find_job(before.id, Scope::All).await.ok()??;
    (job.crashes > before.crashes).then_some(())
}

/// Experiment 10.
pub(super) async fn poisoned(place: &Place) -> Found {
    let (jobs, workers) = place.scale.of((40, 3), (500, 4));
    let mut trial = Trial::start(place, |config| {
        config.workers = workers;
        config.switches.step_ms = 20;
    })
    .await;
    let client = trial.stack.client().clone();
    // One that takes long enough to be caught at it.
    let mut slow = sampler_workflow();
    slow["id"] = json!("poison");
    let created = client.post(trial.stack.url("/workflows")).json(&slow).send().await.expect("an answer");
    assert_eq!(created.status(), 201);
    let poison = json!({"workflowId": "poison", "inputs": {"steps": 100}, "priority": "high"});
    let answer = client.post(trial.stack.url("/jobs")).json(&poison).send().await.expect("an answer");
    let id = answer.json::<Value>().await.expect("JSON")["jobId"].as_str().expect("an id").to_owned();
    let load = trial.submit(jobs, Some(20.0));
    let mut deaths = 0;
    loop {
        let url = trial.stack.url(&format!("/jobs/{id}"));
        let Ok(answer) = client.get(&url).send().await else { continue };
        let job: Value = answer.json().await.unwrap_or_default();
        match job["status"].as_str() {
            Some("running") => {
                let worker = job["worker"].as_str().unwrap_or_default().to_owned();
                let victim = trial.stack.workers.iter().position(|node| node.id == worker);
                if let Some(victim) = victim {
                    deaths += 1;
                    // ComfyUI dies with it: nothing is left to be adopted.
                    trial.stack.workers[victim].process.kill();
                    trial.stack.sims[victim].crash().await;
                    trial.stack.sims[victim].restart().await.expect("the simulator");
                    trial.stack.restart_worker(victim).await;
                }
            }
            Some("queued") | None => {}
            Some(_ended) => break,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let submitted = load.await.expect("the load");
    let (mut audit, stack) = trial.audit(&submitted).await;
    let job = stack.database().await.find_job(id.parse().expect("an id"), Scope::All).await.expect("a row");
    let job = job.expect("the job");
    if job.status == JobStatus::Succeeded {
        // It was quicker than whoever was to kill its worker: nothing was shown.
        audit.broken.push(String::from("the deadly job was not deadly"));
    } else if (job.crashes, deaths) != (3, 3) || audit.dead != 1 {
        audit.broken.push(format!("held after {} losses and {deaths} deaths; {} held", job.crashes, audit.dead));
    }
    let succeeded = audit.states.get("succeeded").copied().unwrap_or_default();
    if succeeded != jobs {
        audit.broken.push(format!("{succeeded} of {jobs} other jobs succeeded"));
    }
    Found {
        done: format!("one deadly job among {jobs}, {workers} workers"),
        measured: format!("held after {deaths} deaths; {}", states(&audit)),
        broken: audit.broken,
    }
}

/// Experiment 15.
pub(super) async fn replaced(place: &Place) -> Found {
    let (rounds, workers, jobs) = place.scale.of((1, 3, 340), (20, 4, 9_000));
    let mut trial = Trial::start(place, |config| {
        config.workers = workers;
        config.switches.node_ms = 40;
    })
    .await;
    let load = trial.submit(jobs, Some(20.0));
    let mut names = BTreeMap::new();
    let mut broken = Vec::new();
    for _ in 0..rounds {
        for number in 0..workers {
            let next = trial.stack.spawn_worker(number).await;
            let mut old = std::mem::replace(&mut trial.stack.workers[number], next);
            *names.entry(old.id.clone()).or_insert(0) += 1;
            old.process.signal("TERM");
            let ended = old.process.ended(Duration::from_secs(trial.stack.config.grace + 15)).await;
            if !ended.is_some_and(|status| status.success()) {
                broken.push(format!("a worker did not stop: {}", old.process.log_tail()));
            }
        }
    }
    for number in (0..2).cycle().take(2 * rounds) {
        trial.stack.apis[number].signal("TERM");
        let ended = trial.stack.apis[number].ended(Duration::from_secs(25)).await;
        if !ended.is_some_and(|status| status.success()) {
            broken.push(format!("an API did not stop: {}", trial.stack.apis[number].log_tail()));
        }
        trial.stack.restart_api(number);
        trial.stack.wait_live(number).await;
        trial.stack.wait_balanced().await;
    }
    let submitted = load.await.expect("the load");
    let disturbed = submitted.iter().filter(|job| !job.refusals.is_empty()).count();
    let (mut audit, stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    no_losses(&mut audit, &stack).await;
    audit.broken.extend(broken);
    if disturbed > 0 {
        audit.broken.push(format!("{disturbed} clients noticed"));
    }
    if names.values().any(|times| *times > 1) {
        audit.broken.push(String::from("a name was used twice"));
    }
    Found {
        done: format!("{} workers, then {} APIs replaced under {jobs} jobs", rounds * workers, rounds * 2),
        measured: format!("{disturbed} clients noticed; {}", states(&audit)),
        broken: audit.broken,
    }
}

/// Experiment 42.
pub(super) async fn stopped(place: &Place) -> Found {
    let times = place.scale.of(2, 100);
    let grace = place.scale.of(3, 30);
    let mut trial = Trial::start(place, |config| {
        config.workers = 2;
        config.grace = grace;
    })
    .await;
    // From a moment to longer than the grace.
    trial.stack.sims[0].update(|switches| switches.node_ms = 50);
    trial.stack.sims[1].update(|switches| switches.node_ms = grace * 1_000);
    let load = trial.submit(times * 6, Some(5.0));
    let mut longest = Duration::ZERO;
    let mut broken = Vec::new();
    let mut random = Random::new(place.seed);
    for number in 0..times {
        random.pause(1_500).await;
        let victim = (number + 1) % 2;
        let worker = &mut trial.stack.workers[victim].process;
        let began = Instant::now();
        worker.signal("TERM");
        let ended = worker.ended(Duration::from_secs(grace + 30)).await;
        longest = longest.max(began.elapsed());
        if !ended.is_some_and(|status| status.success()) {
            broken.push(format!("a worker did not stop: {}", worker.log_tail()));
        }
        trial.stack.restart_worker(victim).await;
    }
    trial.stack.sims[1].update(|switches| switches.node_ms = 50);
    if longest > Duration::from_secs(grace + 1) {
        broken.push(format!("the slowest took {:.1} s", longest.as_secs_f64()));
    }
    let submitted = load.await.expect("the load");
    let (mut audit, stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    no_losses(&mut audit, &stack).await;
    audit.broken.extend(broken);
    Found {
        done: format!("{times} stops with a grace of {grace} s, jobs shorter and longer than that"),
        measured: format!("slowest stop {:.1} s; {}", longest.as_secs_f64(), states(&audit)),
        broken: audit.broken,
    }
}

/// No job counts the loss of a worker.
async fn no_losses(audit: &mut Audit, stack: &Stack) {
    let jobs = stack.jobs().await;
    let lost = jobs.iter().filter(|job| job.crashes > 0);
    audit.broken.extend(lost.map(|job| format!("{} counts {} lost workers", job.id, job.crashes)));
}
