//! The handle of a running simulator: what tests, benchmarks and the command line hold.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::App;
use crate::config::SimConfig;
use crate::stats::SimStats;
use crate::switches::Switches;

/// A running ComfyUI that needs no GPU. Dropping it cuts every connection.
pub struct Simulator {
    app: Arc<App>,
}

impl Simulator {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address cannot be bound or the data folder cannot be read.
    pub async fn start(config: SimConfig) -> io::Result<Self> {
        let app = App::new(config)?;
        app.boot().await?;
        Ok(Self { app })
    }

    /// Where it listens, also while it is down.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// The base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address();
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}{}", self.app.config.base_path)
    }

    /// The switches as they are now.
    #[must_use]
    pub fn switches(&self) -> Switches {
        Switches::clone(&self.app.switches())
    }

    /// Replaces all switches.
    pub fn set_switches(&self, switches: Switches) {
        self.app.change_switches(|current| *current = switches);
    }

    /// Changes some switches.
    pub fn update(&self, change: impl FnOnce(&mut Switches)) {
        self.app.change_switches(change);
    }

    /// What happened so far, crashes included.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.app.stats.snapshot()
    }

    /// Cuts all connections and closes the listener. Queue, history, counter, cache and temporary files are lost;
    /// saved and uploaded files stay. Does nothing while it is down.
    pub async fn crash(&self) {
        self.app.crash().await;
    }

    /// Listens again on the same port, empty. Does nothing while it is up.
    ///
    /// # Errors
    /// When the port is taken by another process.
    pub async fn restart(&self) -> io::Result<()> {
        self.app.boot().await
    }

    /// Ends all tasks.
    pub async fn stop(self) {
        self.app.end().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.app.abandon();
    }
}
