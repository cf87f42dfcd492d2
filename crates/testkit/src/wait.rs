//! Waits for conditions, with a deadline.

use std::time::Duration;

/// How long anything in a test may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls `check` until it gives something; panics with `what` after [`DEADLINE`].
pub async fn until<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
