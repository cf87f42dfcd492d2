//! Names to addresses. Judges nothing.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Semaphore, task, time};

/// Longest wait for the addresses of a name, on the way to a connection.
pub(crate) const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// The system's lookups hold a thread each, also those that nobody waits for any more.
const LOOKUPS_AT_ONCE: usize = 64;

/// Finds the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`, of both families.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Lookups by the operating system.
#[derive(Debug, Clone)]
pub struct SystemLookup {
    threads: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)) }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let found = task::spawn_blocking(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            drop(permit);
            found
        });
        Ok(found.await.map_err(io::Error::other)??.map(|found| found.ip()).collect())
    }
}

/// What a lookup with a limit on its time brought; never an empty list.
pub(crate) async fn addresses(lookup: &dyn Lookup, host: &str, limit: Duration) -> Option<Vec<IpAddr>> {
    let found = time::timeout(limit, lookup.lookup(host)).await.ok()?.ok()?;
    (!found.is_empty()).then_some(found)
}
