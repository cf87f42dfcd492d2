//! A database that ends its sessions.

use super::{Found, Place, Random, Trial, all_succeeded, states};

/// Experiment 28, its second half.
pub(super) async fn sessions_ended(place: &Place) -> Found {
    let (times, jobs) = place.scale.of((8, 200), (100, 3_000));
    let trial = Trial::start(place, |config| config.switches.node_ms = 5).await;
    let load = trial.submit(jobs, Some(place.scale.of(40.0, 25.0)));
    let mut random = Random::new(place.seed);
    let mut ended = 0;
    for _ in 0..times {
        random.pause(place.scale.of(900, 2_000)).await;
        ended += trial.stack.postgres.end_sessions();
    }
    let submitted = load.await.expect("the load");
    let refusals: Vec<u16> = submitted.iter().flat_map(|job| job.refusals.iter().copied()).collect();
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    if let Some(bad) = refusals.iter().find(|status| **status != 503) {
        audit.broken.push(format!("a POST was answered with {bad}"));
    }
    Found {
        done: format!("{times} times all sessions ended ({ended} in all) under {jobs} jobs"),
        measured: format!("{}; {} POSTs answered 503 first", states(&audit), refusals.len()),
        broken: audit.broken,
    }
}
