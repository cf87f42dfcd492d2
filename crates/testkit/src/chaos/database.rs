//! A database that ends its sessions.

use super::{Found, Place, Random, Trial, all_succeeded, must_meet, states};

/// Experiment 28, its second half.
pub(super) async fn sessions_ended(place: &Place) -> Found {
    let (times, jobs) = place.scale.of((8, 200), (100, 3_000));
    let trial = Trial::start(place, |config| config.switches.node_ms = 5).await;
    let load = trial.submit(jobs, Some(place.scale.of(40.0, 25.0)));
    let mut random = Random::new(place.seed);
    let (mut ended, mut met) = (0, 0);
    for _ in 0..times {
        random.pause(place.scale.of(900, 2_000)).await;
        let under_way = trial.waiting().await.unwrap_or(0);
        let sessions = trial.stack.postgres.end_sessions();
        ended += sessions;
        met += usize::from(under_way > 0 && sessions > 0);
    }
    let submitted = load.await.expect("the load");
    let refusals: Vec<u16> = submitted.iter().flat_map(|job| job.refusals.iter().copied()).collect();
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    if let Some(bad) = refusals.iter().find(|status| **status != 503) {
        audit.broken.push(format!("a POST was answered with {bad}"));
    }
    must_meet(&mut audit.broken, met, "no job waited or ran when sessions were ended");
    Found {
        done: format!("{times} times all sessions ended ({ended} in all), {met} of them under work, {jobs} jobs"),
        measured: format!("{}; {} POSTs answered 503 first", states(&audit), refusals.len()),
        broken: audit.broken,
    }
}
