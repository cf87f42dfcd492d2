//! APIs that die.

use super::{Found, Place, Random, Trial, all_succeeded, percentile, states};

/// Experiment 2.
pub(super) async fn killed(place: &Place) -> Found {
    let (kills, rate) = place.scale.of((6, 50.0), (200, 50.0));
    let jobs = place.scale.of(250, 6_000);
    let mut trial = Trial::start(place, |config| config.switches.node_ms = 0).await;
    let load = trial.submit(jobs, Some(rate));
    let mut random = Random::new(place.seed);
    for _ in 0..kills {
        random.pause(900).await;
        let victim = usize::try_from(random.below(2)).unwrap_or(0);
        trial.stack.restart_api(victim);
        trial.stack.wait_live(victim).await;
    }
    let submitted = load.await.expect("the load");
    let mut took: Vec<_> = submitted.iter().map(|job| job.took).collect();
    let refused = submitted.iter().filter(|job| !job.refusals.is_empty()).count();
    let (mut audit, _stack) = trial.audit(&submitted).await;
    all_succeeded(&mut audit);
    if submitted.iter().any(|job| job.id.is_empty()) {
        audit.broken.push(String::from("a client has no id"));
    }
    Found {
        done: format!("{kills} kills of 2 APIs behind HAProxy at {rate} POSTs a second, {jobs} in all"),
        measured: format!(
            "{}; {refused} clients saw another status first; POST p99 {:.0} ms",
            states(&audit),
            percentile(&mut took, 0.99)
        ),
        broken: audit.broken,
    }
}
