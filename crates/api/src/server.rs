//! Binds the port, runs the workers of actix, stops gracefully. Knows no route.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_cors::Cors;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use gateway_config::Origins;
use tokio::sync::watch;

use crate::auth::identify;
use crate::connection::{self, HEADER_DEADLINE, KEEP_ALIVE};
use crate::correlate::correlate;
use crate::routes;
use crate::state::ApiState;
use crate::tls;

/// Why no server can be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// What it is to be served with can't be used; names the variable and the file.
    #[error(transparent)]
    Certificate(io::Error),
    /// The address can't be bound.
    #[error(transparent)]
    Address(#[from] io::Error),
}

/// A server that is bound and not yet running.
pub struct Server {
    server: actix_web::dev::Server,
    address: SocketAddr,
    stopping: Arc<watch::Sender<bool>>,
    leaving: Arc<AtomicBool>,
    delay: Duration,
}

/// Stops a running server.
#[derive(Clone)]
pub struct ServerHandle {
    handle: actix_web::dev::ServerHandle,
    stopping: Arc<watch::Sender<bool>>,
    leaving: Arc<AtomicBool>,
    delay: Duration,
}

/// Which pages of other origins may call. Never with what a browser keeps for this one: there is nothing.
fn cors(origins: &Origins) -> Cors {
    let exposed =
        ["etag", "location", "retry-after", "x-request-id", "ratelimit", "ratelimit-policy", "preference-applied"];
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "DELETE"])
        .allow_any_header()
        .expose_headers(exposed)
        .max_age(600);
    match origins {
        Origins::Any => cors.allow_any_origin().send_wildcard(),
        Origins::Listed(origins) => origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin)),
    }
}

impl Server {
    /// Binds the configured address. `grace` is how long answers under way may take once a stop was asked for.
    ///
    /// # Errors
    /// Whatever keeps it from binding.
    pub fn bind(state: ApiState, grace: Duration) -> Result<Self, BindError> {
        let http = state.parts.http.clone();
        let (stopping, leaving, delay) = (Arc::clone(&state.stopping), Arc::clone(&state.leaving), http.delay);
        let tls = state.parts.access.tls.as_ref().map(tls::configuration).transpose();
        let tls = tls.map_err(BindError::Certificate)?;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(state.clone()))
                .wrap(from_fn(identify))
                .wrap(cors(&state.parts.access.origins))
                .wrap(from_fn(correlate))
                .configure(routes::configure)
        })
        .on_connect(connection::bound)
        .client_request_timeout(HEADER_DEADLINE)
        .keep_alive(KEEP_ALIVE)
        // Without it each event waits for the client's delayed acknowledgement of the one before: 40 ms.
        .tcp_nodelay(true)
        .shutdown_timeout(grace.as_secs())
        .disable_signals();
        let address = (http.host.as_str(), http.port);
        let server = match tls {
            Some(tls) => server.bind_rustls_0_23(address, tls)?,
            None => server.bind(address)?,
        };
        let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
        Ok(Self { server: server.run(), address, stopping, leaving, delay })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle to stop it with.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            handle: self.server.handle(),
            stopping: Arc::clone(&self.stopping),
            leaving: Arc::clone(&self.leaving),
            delay: self.delay,
        }
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// Whatever ends the server early.
    pub async fn run(self) -> io::Result<()> {
        self.server.await
    }
}

impl ServerHandle {
    /// Serves on for the configured delay, no longer live for load balancers; then stops accepting, lets answers under
    /// way end, returns.
    pub async fn stop(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.delay).await;
        self.stopping.send_replace(true);
        self.handle.stop(true).await;
    }
}
