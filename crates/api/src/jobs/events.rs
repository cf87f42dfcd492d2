//! `GET /jobs/{id}/events`: Server-Sent Events. Begins with where the job stands, so a client that comes
//! back misses nothing that still matters.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use gateway_broker::EventReceiver;
use gateway_core::event::JobEvent;
use gateway_core::{JobId, Scope};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::error::ApiError;
use crate::jobs::{parse_id, view};
use crate::query::Query;
use crate::state::ApiState;

/// A comment keeps proxies from closing a quiet connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The events of one job until it ends.
pub(crate) async fn watch_job(
    state: Data<ApiState>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::read(&request, &["previews"])?;
    // Taken, and none come: whether there are any is up to ComfyUI all the same.
    query.flag("previews");
    query.check()?;
    let id = parse_id(&path)?;
    let scope = state.caller().scope();
    // Before the look, so that nothing falls between.
    let receiver = state.parts.broker.watch(id);
    let stopping = state.stopping.subscribe();
    let mut watch = Watch { state: state.get_ref().clone(), id, scope, receiver, stopping, next_id: 0, over: false };
    let first = watch.snapshot().await?;
    let events = stream::unfold((watch, Some(first)), |(mut watch, first)| async move {
        let bytes = match first {
            Some(first) => first,
            None => watch.next().await?,
        };
        Some((Ok::<_, actix_web::Error>(bytes), (watch, None)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

struct Watch {
    state: ApiState,
    id: JobId,
    scope: Scope,
    receiver: EventReceiver,
    stopping: watch::Receiver<bool>,
    next_id: u64,
    over: bool,
}

impl Watch {
    /// Where the job stands: its state and progress, and its end where it has ended.
    async fn snapshot(&mut self) -> Result<Bytes, ApiError> {
        let database = &self.state.parts.database;
        let job = database.find_job(self.id, self.scope.clone()).await?.ok_or_else(ApiError::job_not_found)?;
        let mut text = self.event("status", &json!({"jobId": job.id, "status": job.status}).to_string());
        if job.status.is_ended() {
            let outputs = self.state.parts.database.outputs_of(self.id).await?;
            let body = view::render(&self.state, &job, &outputs, false).await?;
            text.push_str(&self.event("end", &String::from_utf8_lossy(&body)));
            self.over = true;
        } else if let Some(progress) = self.state.parts.broker.progress(self.id).await {
            text.push_str(&self.event("progress", &json!(progress).to_string()));
        }
        Ok(Bytes::from(text))
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut stopping = self.stopping.clone();
        let heard = tokio::select! {
            heard = tokio::time::timeout(HEARTBEAT, self.receiver.recv()) => heard,
            // The client comes back, to whoever serves then.
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        match heard {
            Ok(Ok(JobEvent::Progress(progress))) => {
                Some(Bytes::from(self.event("progress", &json!(progress).to_string())))
            }
            Ok(Ok(JobEvent::Status(status))) if !status.is_ended() => {
                let data = json!({"jobId": self.id, "status": status}).to_string();
                Some(Bytes::from(self.event("status", &data)))
            }
            // The end, or events were missed: the truth is in the database.
            Ok(Ok(JobEvent::Status(_)) | Err(RecvError::Lagged(_))) => self.snapshot().await.ok(),
            Ok(Err(RecvError::Closed)) => {
                self.receiver = self.state.parts.broker.watch(self.id);
                self.snapshot().await.ok()
            }
            Err(_elapsed) => Some(Bytes::from_static(b": still here\n\n")),
        }
    }

    fn event(&mut self, name: &str, data: &str) -> String {
        self.next_id += 1;
        format!("id: {}\nevent: {name}\ndata: {data}\n\n", self.next_id)
    }
}
