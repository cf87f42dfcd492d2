//! The health and the metrics of a worker that serves no API, for whoever restarts and watches it. Knows nothing of
//! workers but whether there is a problem.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use gateway_metrics::Exposition;
use serde_json::json;

/// Why no job can be run at the moment.
type Look = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Answers `GET /health/live`, `GET /health/ready` and `GET /metrics`.
pub struct HealthServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl HealthServer {
    /// Serves on `host` and `port`; `look` gives the problem, where there is one.
    ///
    /// # Errors
    /// Whatever keeps it from binding.
    pub fn start(host: &str, port: u16, look: Look, metrics: Arc<Exposition>) -> io::Result<Self> {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::new(Arc::clone(&look)))
                .app_data(Data::from(Arc::clone(&metrics)))
                .route("/health/live", web::get().to(live))
                .route("/health/ready", web::get().to(ready))
                .route("/metrics", web::get().to(show_metrics))
        })
        .workers(1)
        .disable_signals()
        .bind((host, port))?;
        let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, handle })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"ok": true}))
}

async fn ready(look: Data<Look>) -> HttpResponse {
    match look() {
        None => HttpResponse::Ok().json(json!({"ok": true})),
        Some(problem) => HttpResponse::ServiceUnavailable().json(json!({"ok": false, "problem": problem})),
    }
}

async fn show_metrics(metrics: Data<Exposition>) -> HttpResponse {
    match metrics.render(|| ()) {
        Some(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, gateway_metrics::CONTENT_TYPE)).body(text),
        None => HttpResponse::NotFound().json(json!({"ok": false, "problem": "metrics are off (METRICS_ENABLED)"})),
    }
}
