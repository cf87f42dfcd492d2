//! `run`: the gateway, until it is told to stop.

use gateway_config::{LogSettings, Overrides};

use crate::cli::{RunArgs, Setting};
use crate::exit::Failure;
use crate::gateway::Gateway;

/// Serves until SIGTERM or Ctrl-C; a second one ends it at once.
pub(crate) async fn run(setting: &Setting<'_>, args: RunArgs) -> Result<(), Failure> {
    let overrides = Overrides::default().with("PORT", args.port).with("HOST", args.host);
    let settings = setting.load(&overrides)?;
    let telemetry = gateway_telemetry::init(&settings.log, settings.traces.as_ref()).map_err(Failure::usage)?;
    let works = settings.queue.redis.is_none() || args.with_worker;
    for warning in settings.warnings(works) {
        tracing::warn!("{warning}");
    }
    let backends: Vec<String> = settings.comfyui.backends.iter().map(|backend| backend.display_url.clone()).collect();
    let queue = settings.queue.redis.as_ref().map(|redis| redis.shown.clone());
    let log = settings.log.clone();
    let started = Gateway::start(settings, args.with_worker).await;
    let gateway = started.map_err(|error| in_the_log(error.into(), setting, &log))?;
    tracing::info!(
        url = gateway.url(),
        address = %gateway.address(),
        backends = works.then(|| backends.join(", ")),
        queue = queue.as_deref().unwrap_or("in this process"),
        database = gateway.database().shown(),
        version = env!("CARGO_PKG_VERSION"),
        "the gateway serves"
    );
    setting.output.json(&serde_json::json!({"url": gateway.url(), "address": gateway.address().to_string()}));
    wait_for_stop().await;
    tracing::info!("stopping: jobs under way may end; a second signal ends it at once");
    tokio::select! {
        () = gateway.stop() => tracing::info!("stopped"),
        () = wait_for_stop() => tracing::warn!("ended at once; running jobs are recovered at the next start"),
    }
    telemetry.flush().await;
    Ok(())
}

/// Why a process can't start, told as its log tells all else where programs read that.
pub(crate) fn in_the_log(failure: Failure, setting: &Setting<'_>, log: &LogSettings) -> Failure {
    if setting.output.is_json() || !gateway_telemetry::is_json(log) || !tracing::enabled!(tracing::Level::ERROR) {
        return failure;
    }
    tracing::error!(error = %failure, "it can't start");
    failure.told()
}

/// Returns at SIGTERM or Ctrl-C.
pub(crate) async fn wait_for_stop() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C can't be heard");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = terminate() => {}
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be heard");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending::<()>().await;
}
