//! Whether a ComfyUI server answers, and what it can do. Never judges by one slow answer: a server that loads
//! a model is silent for a while.

use std::sync::Arc;
use std::time::Duration;

use comfyui_client::{CallError, Device, ServerInfo};
use gateway_broker::BackendState;
use gateway_core::workflow::NodeCatalog;
use gateway_core::{chain, comfyui_holes};
use tokio::time::Instant;

use crate::backend::{Backend, DeviceMemory};
use crate::context::Context;

/// Between two looks at a server that answers.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks at one that does not.
const EAGER: Duration = Duration::from_millis(500);
/// A look that takes longer has failed: long enough for a server that loads a model.
const PROBE: Duration = Duration::from_secs(10);
/// How old what is known of the node classes may be: models are installed while a server runs.
const CATALOG_AGE: Duration = Duration::from_secs(60);
/// Failed looks in a row before a server that answered counts as gone.
const PATIENCE: u32 = 3;

/// Watches `backend` for ever.
pub(crate) async fn run(context: Arc<Context>, backend: Arc<Backend>) {
    let mut failures = 0;
    let mut asked = None;
    loop {
        let silent = || CallError::Timeout { source: None };
        let probed = tokio::time::timeout(PROBE, backend.client.probe()).await;
        match probed.unwrap_or_else(|_elapsed| Err(silent())) {
            Ok(info) => {
                failures = 0;
                answered(&context, &backend, info, &mut asked).await;
            }
            Err(error) => {
                failures += 1;
                failed(&backend, &error, failures);
            }
        }
        let pause = if backend.state() == BackendState::Ready && failures == 0 { CALM } else { EAGER };
        let mut health = backend.watch_health();
        health.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Somebody else found it gone.
            _ = health.wait_for(|health| health.state == BackendState::Unreachable), if pause == CALM => {}
        }
    }
}

async fn answered(context: &Arc<Context>, backend: &Arc<Backend>, info: ServerInfo, asked: &mut Option<Instant>) {
    let before = backend.state();
    warn_of_holes(backend, info.version_text.as_deref());
    let of = |device: &Device| DeviceMemory { total: device.vram_total, free: device.vram_free };
    backend.set_memory(info.stats.devices.iter().map(of).collect());
    let checkpoints = backend.client.models("checkpoints").await.unwrap_or_default();
    let mut other_models = false;
    backend.health.send_if_modified(|health| {
        other_models = health.checkpoints != checkpoints;
        let devices: Vec<String> = info.stats.devices.into_iter().map(|device| device.name).collect();
        let changed =
            (&health.version, &health.devices, &health.checkpoints) != (&info.version_text, &devices, &checkpoints);
        health.version = info.version_text;
        health.devices = devices;
        health.checkpoints = checkpoints;
        changed
    });
    // Only progress in its queue shows that a stuck server runs again.
    if before != BackendState::Stuck {
        backend.set_state(BackendState::Ready, None);
    }
    let outdated = asked.is_none_or(|asked| asked.elapsed() >= CATALOG_AGE);
    if before != BackendState::Ready || other_models || outdated {
        *asked = Some(Instant::now());
        // Large and slow on a server with many custom nodes; nothing waits for it.
        let leave = leave_catalog(Arc::clone(context), Arc::clone(backend));
        tokio::spawn(context.draining.clone().run_until_cancelled_owned(leave));
    }
}

/// Says once what is known to be dangerous about a version, when a server is first seen with it.
fn warn_of_holes(backend: &Backend, version: Option<&str>) {
    if backend.health.borrow().version.as_deref() == version {
        return;
    }
    if let Some(warning) = version.and_then(|version| comfyui_holes::warning(version, false)) {
        tracing::warn!(backend = backend.name(), "{warning}");
    }
}

async fn leave_catalog(context: Arc<Context>, backend: Arc<Backend>) {
    match backend.client.object_info().await {
        Ok(info) => {
            let catalog = Arc::new(NodeCatalog::parse(&info));
            let (digest, classes) = (catalog.digest(), catalog.len());
            context.parts.broker.put_node_catalog(&digest, Arc::clone(&catalog)).await;
            let news = backend.health.send_if_modified(|health| {
                let other = health.node_catalog.as_ref() != Some(&digest);
                (health.node_classes, health.node_catalog) = (Some(classes), Some(digest));
                other
            });
            if news {
                backend.with_ability(|ability| ability.set_catalog(catalog));
                backend.abilities.send_replace(());
            }
        }
        Err(error) => {
            tracing::debug!(backend = backend.name(), error = %chain(&error), "the node classes are not known")
        }
    }
    backend.classes_asked.send_replace(true);
}

fn failed(backend: &Backend, error: &CallError, failures: u32) {
    if let CallError::Misconfigured { reason, .. } = error {
        return backend.mark_misconfigured(reason);
    }
    let patient = backend.state() == BackendState::Ready && !error.is_unreachable() && failures < PATIENCE;
    if !patient {
        backend.set_state(BackendState::Unreachable, Some(explain(backend.url(), error)));
    }
}

/// What is wrong, and what it usually is.
fn explain(url: &str, error: &CallError) -> String {
    let local = url.contains("127.0.0.1") || url.contains("localhost") || url.contains("[::1]");
    let hint = match error {
        CallError::Unreachable { .. } if local => {
            "is ComfyUI running? From inside a container, 127.0.0.1 is the container itself: use \
             http://host.docker.internal:8188 and start ComfyUI with --listen"
        }
        CallError::Unreachable { .. } => {
            "is ComfyUI running and started with --listen? Check the port and the firewall in between"
        }
        CallError::Timeout { .. } => "it accepts connections but does not answer: it may be loading, or hang",
        _ => "does another program answer on that port?",
    };
    format!("{error}; {hint}")
}
