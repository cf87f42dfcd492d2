//! `worker`: a worker alone, one a machine with GPUs.

use std::sync::Arc;

use gateway_api::HealthServer;
use gateway_config::Overrides;
use serde_json::json;

use crate::cli::Setting;
use crate::commands::run::{in_the_log, wait_for_stop};
use crate::exit::Failure;
use crate::measure;
use crate::stores::{StartError, Stores, VERSION};

/// Takes jobs from the queue that processes share, until SIGTERM or Ctrl-C; a second one ends it at once.
pub(crate) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let Some(redis) = settings.queue.redis.clone() else {
        return Err(Failure::usage(
            "a worker alone needs a queue that processes share (REDIS_URL), and none is set; \
             `comfyui-gateway run` serves the API and works the queue in one process",
        ));
    };
    let telemetry = gateway_telemetry::init(&settings.log, settings.traces.as_ref()).map_err(Failure::usage)?;
    for warning in settings.warnings(true) {
        tracing::warn!("{warning}");
    }
    let backends: Vec<String> = settings.comfyui.backends.iter().map(|backend| backend.display_url.clone()).collect();
    let (host, port, node) = (settings.http.host.clone(), settings.worker.port, settings.worker.node.clone());
    let log = settings.log.clone();
    let told = |error: StartError| in_the_log(error.into(), setting, &log);
    let metrics = measure::begin(settings.metrics)?;
    let stores = Stores::open(&settings).await.map_err(told)?;
    let database = stores.database.clone();
    let _upkeep = measure::watch(&metrics, &database);
    let worker = stores.worker(settings, &metrics).await.map_err(told)?;
    let health = match port {
        0 => None,
        port => {
            let address = format!("{host}:{port}");
            let bound = HealthServer::start(&host, port, Arc::new(worker.problem()), metrics);
            Some(bound.map_err(|source| told(StartError::Bind { address, variable: "WORKER_PORT", source }))?)
        }
    };
    tracing::info!(
        worker = worker.id(),
        node,
        backends = backends.join(", "),
        queue = redis.shown,
        database = database.shown(),
        version = VERSION,
        "the worker works"
    );
    let address = health.as_ref().map(|health| health.address().to_string());
    setting.output.json(&json!({"worker": worker.id(), "node": node, "health": address}));
    wait_for_stop().await;
    tracing::info!("stopping: jobs under way may end; a second signal ends it at once");
    let stop = async {
        worker.drain().await;
        if let Some(health) = health {
            health.stop().await;
        }
    };
    tokio::select! {
        () = stop => tracing::info!("stopped"),
        () = wait_for_stop() => tracing::warn!("ended at once; its jobs are recovered when their claims run out"),
    }
    telemetry.flush().await;
    Ok(())
}
