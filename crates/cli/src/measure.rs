//! What a process of the gateway shows of itself: the metrics of all its parts, put together.

use std::sync::Arc;
use std::time::Duration;

use gateway_db::Database;
use gateway_metrics::Exposition;
use tokio::task::JoinHandle;

use crate::stores::{StartError, VERSION};

/// How often histograms are gathered: until then they keep each value.
const UPKEEP: Duration = Duration::from_secs(2);

/// Begins to measure, where that is `enabled`. To be called before anything is made that measures.
pub(crate) fn begin(enabled: bool) -> Result<Arc<Exposition>, StartError> {
    let exposition = if enabled { Exposition::start(VERSION).map_err(StartError::Metrics)? } else { Exposition::off() };
    Ok(Arc::new(exposition))
}

/// Has `exposition` show the database's connections, and keeps it in order until that is dropped.
pub(crate) fn watch(exposition: &Arc<Exposition>, database: &Database) -> Upkeep {
    let database = database.clone();
    exposition.add(move || database.show_connections());
    // It must not keep the database open that the gateway has let go of.
    let exposition = Arc::downgrade(exposition);
    Upkeep(tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            let Some(exposition) = exposition.upgrade() else { return };
            exposition.upkeep();
        }
    }))
}

/// Ends when it is dropped.
pub(crate) struct Upkeep(JoinHandle<()>);

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}
