//! Answers of ComfyUI that get lost, and jobs that are canceled at any moment.

use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use super::{Found, Place, Random, Trial, all_succeeded, must_meet, states};
use crate::stack::{Load, Submitted};

/// Experiment 9.
pub(super) async fn lost_answers(place: &Place) -> Found {
    let losses = place.scale.of(12, 200);
    let trial = Trial::start(place, |config| {
        config.workers = 2;
        config.switches.lose_prompt_reply = u32::try_from(losses / 2).unwrap_or(0);
    })
    .await;
    let jobs = losses * 2;
    let submitted = trial.submit(jobs, None).await.expect("the load");
    let (mut audit, stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    let sent: u64 = stack.sims.iter().map(|sim| sim.stats().prompts_accepted).sum();
    if sent != jobs as u64 {
        audit.broken.push(format!("{sent} prompts were queued for {jobs} jobs"));
    }
    let kept: u32 = stack.sims.iter().map(|sim| sim.switches().lose_prompt_reply).sum();
    let lost = losses - usize::try_from(kept).unwrap_or(losses);
    must_meet(&mut audit.broken, lost, "no answer was lost");
    Found {
        done: format!("{lost} answers to POST /prompt lost, {jobs} jobs"),
        measured: states(&audit),
        broken: audit.broken,
    }
}

/// Experiment 35.
pub(super) async fn canceled(place: &Place) -> Found {
    let jobs = place.scale.of(60_u64, 5_000);
    let trial = Trial::start(place, |config| config.switches.node_ms = 250).await;
    let client = trial.stack.client().clone();
    let load = trial.stack.load("r", 0, None);
    let mut random = Random::new(place.seed);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..jobs {
        // As many as the workers do, so that some wait, some run, and some have ended.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let after = (random.below(2) == 0).then(|| Duration::from_millis(random.below(900)));
        clients.spawn(one(load.clone(), client.clone(), number, after));
    }
    let (submitted, answers): (Vec<_>, Vec<_>) = clients.join_all().await.into_iter().unzip();
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    let url = trial.stack.url("/jobs");
    let (mut audit, stack) = trial.audit(&submitted).await;
    let mut ends = (0, 0);
    let mut asked = std::collections::BTreeSet::new();
    for (id, status, answer) in &answers {
        let job = client.get(format!("{url}/{id}")).send().await.expect("an answer");
        let job: Value = job.json().await.unwrap_or_default();
        let end = job["status"].as_str().unwrap_or_default().to_owned();
        asked.insert(id.as_str());
        let agrees = match (*status, answer["status"].as_str()) {
            (202, Some("canceled")) => end == "canceled",
            (202, Some("running")) => matches!(end.as_str(), "canceled" | "succeeded"),
            (409, _) => matches!(end.as_str(), "canceled" | "succeeded"),
            _ => false,
        };
        let canceled = usize::from(end == "canceled");
        ends = (ends.0 + canceled, ends.1 + 1 - canceled);
        if !agrees {
            audit.broken.push(format!("{id}: the answer was {status} {answer}, and it is {end}"));
        }
    }
    let database = stack.database().await;
    for job in submitted.iter().filter(|job| !asked.contains(job.id.as_str())) {
        let row = database.find_job(job.id.parse().expect("an id"), gateway_core::Scope::All).await.expect("a row");
        if row.is_none_or(|row| row.status != gateway_core::JobStatus::Succeeded) {
            audit.broken.push(format!("{} was not to be canceled, and did not succeed", job.id));
        }
    }
    // Some while they waited, some while they ran, some too late.
    let interrupted = audit.prompts as usize - audit.states.get("succeeded").copied().unwrap_or(0);
    if ends.0 == 0 || ends.1 == 0 || interrupted == 0 {
        audit.broken.push(format!(
            "{} canceled, {interrupted} of them running, {} too late: nothing was shown",
            ends.0, ends.1
        ));
    }
    Found {
        done: format!("{} of {jobs} jobs canceled at a random moment", answers.len()),
        measured: format!(
            "{} canceled ({interrupted} while they ran), {} too late; {}",
            ends.0,
            ends.1,
            states(&audit)
        ),
        broken: audit.broken,
    }
}

/// Submits a job, and cancels it `after` that; gives the answer to the latter.
async fn one(
    load: Load,
    client: Client,
    number: u64,
    after: Option<Duration>,
) -> (Submitted, Option<(String, u16, Value)>) {
    let job = load.submit(&client, number).await;
    let Some(after) = after else { return (job, None) };
    tokio::time::sleep(after).await;
    let answer = client.post(format!("{}/jobs/{}/cancel", load.url, job.id)).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let answer = (job.id.clone(), status, answer.json::<Value>().await.unwrap_or_default());
    (job, Some(answer))
}
