//! The events of one job as the gateway sends them: how far it is, and the job once it has ended.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use gateway_core::progress::Progress;
use gateway_mcp::Job;
use reqwest::Response;
use sse_stream::{Sse, SseStream};
use tokio::sync::watch;

/// Listens until the job has ended or the stream breaks off: gives the job, or nothing.
pub(super) async fn until_end(response: Response, progress: &watch::Sender<Progress>) -> Option<Job> {
    let mut events = pin!(SseStream::from_bytes_stream(response.bytes_stream()));
    loop {
        let Sse { event, data, .. } = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(%error, "the events of a job broke off");
                return None;
            }
        };
        let data = data.unwrap_or_default();
        match event.as_deref() {
            Some("progress") => {
                if let Ok(now) = serde_json::from_str(&data) {
                    progress.send_replace(now);
                }
            }
            Some("end") => match serde_json::from_str(&data) {
                Ok(job) => return Some(job),
                Err(error) => {
                    tracing::warn!(%error, "the end of a job can't be read: is the gateway of another version?");
                    return None;
                }
            },
            _ => {}
        }
    }
}
