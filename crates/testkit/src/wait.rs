//! Waits for conditions, with a deadline.

use std::time::Duration;

/// How long anything in a test may take.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Polls `check` until it gives something; panics with `what` after [`DEADLINE`].
pub async fn until<T, F>(what: &str, check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(DEADLINE, check).await.unwrap_or_else(|| panic!("it did not happen in time: {what}"))
}

/// Polls `check` until it gives something; `None` where that takes longer than `patience`. A check that hangs is cut off.
pub async fn within<T, F>(patience: Duration, mut check: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(patience, found).await.ok()
}
