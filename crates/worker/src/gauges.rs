//! How a worker and its ComfyUI servers are at the moment, as metrics.

use std::sync::Arc;

use gateway_broker::BackendState;
use gateway_metrics::{
    CLAIMS_EXPIRED, COMFYUI_BUSY_SECONDS, COMFYUI_CONCURRENCY, COMFYUI_INFO, COMFYUI_PROMPTS, COMFYUI_STATE,
    COMFYUI_UP, COMFYUI_UP_SECONDS, COMFYUI_VRAM, COMFYUI_VRAM_FREE, SharedString, WEBHOOK_DURATION, WEBHOOK_TRIES,
    WORKER_JOBS,
};

use crate::backend::Backend;
use crate::context::Context;

/// Devices of a server that are shown.
const DEVICES: usize = 16;
/// Characters of a version that are shown: it is whatever the server says.
const VERSION: usize = 40;

/// Shows what counts from 0, before anything of it has happened: what was never there has no rate.
pub(crate) fn begin() {
    CLAIMS_EXPIRED.of([]).increment(0);
    WEBHOOK_TRIES.of(["delivered".into(), "".into()]).increment(0);
    drop(WEBHOOK_DURATION.of([]));
}

/// Sets all gauges; without addresses where `hidden`.
pub(crate) fn show(context: &Context, backends: &[Arc<Backend>], hidden: bool) {
    WORKER_JOBS.of([]).set(u32::try_from(context.jobs.len()).unwrap_or(u32::MAX));
    for (place, backend) in backends.iter().enumerate() {
        show_backend(&SharedString::from(place.to_string()), backend, hidden);
    }
}

fn show_backend(server: &SharedString, backend: &Backend, hidden: bool) {
    let of = || [server.clone()];
    let report = backend.report(true);
    COMFYUI_UP.of(of()).set(u8::from(report.state == BackendState::Ready));
    for state in BackendState::ALL {
        COMFYUI_STATE.of([server.clone(), state.as_str().into()]).set(u8::from(report.state == state));
    }
    let url = if hidden { SharedString::from("hidden") } else { report.url.into() };
    let version: String = report.version.unwrap_or_default().chars().take(VERSION).collect();
    COMFYUI_INFO.of([server.clone(), url, version.into()]).set(1);
    COMFYUI_PROMPTS.of(of()).set(u32::try_from(report.in_flight).unwrap_or(u32::MAX));
    COMFYUI_CONCURRENCY.of(of()).set(u32::try_from(report.concurrency).unwrap_or(u32::MAX));
    let times = backend.prompts.times();
    COMFYUI_UP_SECONDS.of(of()).absolute(times.up.as_secs());
    COMFYUI_BUSY_SECONDS.of(of()).absolute(times.busy.as_secs());
    for (device, memory) in backend.memory().into_iter().enumerate().take(DEVICES) {
        let of = || [server.clone(), SharedString::from(device.to_string())];
        if let Some(total) = memory.total {
            COMFYUI_VRAM.of(of()).set(total as f64);
        }
        if let Some(free) = memory.free {
            COMFYUI_VRAM_FREE.of(of()).set(free as f64);
        }
    }
}
