//! Tells a client how far its job is. What it is told only rises, as the protocol wants it: a job that is run a second
//! time begins anew, and says so only once it is farther than before.

use std::convert::Infallible;

use gateway_core::progress::Progress;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;

use crate::words;

/// The whole, where progress is counted in percent.
const WHOLE: f64 = 100.0;

/// The highest that was told.
#[derive(Debug, Default)]
struct Climb(Option<u8>);

impl Climb {
    /// Whether `percent` is to be told: it is more than what was.
    fn rises_to(&mut self, percent: u8) -> bool {
        let rises = self.0.is_none_or(|highest| percent > highest);
        if rises {
            self.0 = Some(percent);
        }
        rises
    }
}

/// Tells `peer` of `progress`, where it gave a token for that; goes on until it is dropped.
pub(crate) async fn tell(
    peer: &Peer<RoleServer>,
    token: Option<ProgressToken>,
    mut progress: watch::Receiver<Progress>,
) -> Infallible {
    let Some(token) = token else { return std::future::pending().await };
    let mut climb = Climb::default();
    loop {
        let now = progress.borrow_and_update().clone();
        if climb.rises_to(now.percent) {
            let told = ProgressNotificationParam::new(token.clone(), f64::from(now.percent))
                .with_total(WHOLE)
                .with_message(words::of_progress(&now));
            // A client that has gone is noticed elsewhere.
            let _ = peer.notify_progress(told).await;
        }
        if progress.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_only_rises() {
        let mut climb = Climb::default();
        let told: Vec<u8> =
            [0, 0, 5, 40, 40, 0, 12, 40, 41, 99].into_iter().filter(|percent| climb.rises_to(*percent)).collect();
        assert_eq!(told, [0, 5, 40, 41, 99]);
    }
}
