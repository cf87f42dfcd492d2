//! Answers of ComfyUI that get lost, and jobs that are canceled at any moment.

use serde_json::Value;

use super::{Found, Place, Random, Trial, all_succeeded, states};

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
    Found {
        done: format!("{losses} answers to POST /prompt lost, {jobs} jobs"),
        measured: states(&audit),
        broken: audit.broken,
    }
}

/// Experiment 35.
pub(super) async fn canceled(place: &Place) -> Found {
    let jobs = place.scale.of(120, 5_000);
    let trial = Trial::start(place, |config| config.switches.node_ms = 10).await;
    let submitted = trial.submit(jobs, Some(place.scale.of(60.0, 40.0)));
    let submitted = {
        // Each one while others come: some wait, some run, some have ended.
        let submitted = submitted.await.expect("the load");
        let mut random = Random::new(place.seed);
        let mut cancels = tokio::task::JoinSet::new();
        for job in &submitted {
            if random.below(2) == 0 {
                continue;
            }
            random.pause(25).await;
            let url = trial.stack.url(&format!("/jobs/{}/cancel", job.id));
            let (client, id) = (trial.stack.client().clone(), job.id.clone());
            cancels.spawn(async move {
                let answer = client.post(url).send().await.expect("an answer");
                let status = answer.status().as_u16();
                (id, status, answer.json::<Value>().await.unwrap_or_default())
            });
        }
        let answers = cancels.join_all().await;
        (submitted, answers)
    };
    let (submitted, answers) = submitted;
    let url = trial.stack.url("/jobs");
    let client = trial.stack.client().clone();
    let (mut audit, stack) = trial.audit(&submitted).await;
    let mut asked = std::collections::BTreeSet::new();
    for (id, status, answer) in &answers {
        let job: Value = match client.get(format!("{url}/{id}")).send().await {
            Ok(job) => job.json().await.unwrap_or_default(),
            Err(error) => panic!("{error}"),
        };
        let end = job["status"].as_str().unwrap_or_default().to_owned();
        asked.insert(id.as_str());
        let agrees = match (*status, answer["status"].as_str()) {
            (202, Some("canceled")) => end == "canceled",
            (202, Some("running")) => matches!(end.as_str(), "canceled" | "succeeded"),
            (409, _) => matches!(end.as_str(), "canceled" | "succeeded"),
            _ => false,
        };
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
    Found {
        done: format!("{} of {jobs} jobs canceled at a random moment", answers.len()),
        measured: states(&audit),
        broken: audit.broken,
    }
}
