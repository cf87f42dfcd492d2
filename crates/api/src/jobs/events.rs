//! `GET /jobs/{id}/events`: Server-Sent Events. Begins with where the job stands; a client that comes back with the id
//! of the last event it had is told what it missed.

use std::time::{Duration, Instant};

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use gateway_broker::{EventReceiver, Heard, Replay};
use gateway_core::event::{EventId, JobEvent};
use gateway_core::view::output_view;
use gateway_core::{JobId, Scope};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::auth::Caller;
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
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::read(&request, &["previews"])?;
    // In privacy mode nobody is sent any.
    let previews = query.flag("previews") && !state.parts.access.privacy;
    query.check()?;
    let id = parse_id(&path)?;
    let seen = request.headers().get("last-event-id");
    // What is no number of ours counts as the number before the first.
    let seen = seen.map(|id| id.to_str().ok().and_then(|id| id.parse().ok()).unwrap_or_default());
    let scope = caller.scope();
    // Before the look, so that nothing falls between.
    let receiver = state.parts.broker.watch(id);
    let stopping = state.stopping.subscribe();
    let state = state.get_ref().clone();
    let (last, wished) = (EventId::default(), Instant::now());
    let mut watch = Watch { state, id, scope, receiver, stopping, previews, wished, last, told: None, over: false };
    watch.want_previews().await;
    let first = watch.begin(seen).await?;
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
    previews: bool,
    /// When previews were last asked for.
    wished: Instant,
    /// The number from which the client goes on where it comes back.
    last: EventId,
    /// The latest event that was told, of those that have a number. A client may come with any: only numbers that were
    /// heard count.
    told: Option<EventId>,
    over: bool,
}

impl Watch {
    /// Where the job stands, then what was missed since `seen`.
    async fn begin(&mut self, seen: Option<EventId>) -> Result<Bytes, ApiError> {
        let Replay { missed, newest } = self.state.parts.broker.replay(self.id, seen).await;
        // Until what was missed is told, the client goes on from before it.
        self.last = seen.or(newest).unwrap_or_default();
        self.told = newest.or(self.told);
        self.snapshot(if seen.is_some() { missed } else { Vec::new() }).await
    }

    /// The job's state and progress, what was `missed`, and its end where it has ended.
    async fn snapshot(&mut self, missed: Vec<(EventId, JobEvent)>) -> Result<Bytes, ApiError> {
        let database = &self.state.parts.database;
        let job = database.find_job(self.id, self.scope.clone()).await?.ok_or_else(ApiError::job_not_found)?;
        let mut text = self.event("status", &json!({"jobId": job.id, "status": job.status}));
        if !job.status.is_ended()
            && let Some(progress) = self.state.parts.broker.progress(self.id).await
        {
            text.push_str(&self.event("progress", &json!(progress)));
        }
        // A number that was not given out is no place to go on from.
        self.last = missed.last().map_or(self.last, |(newest, _)| *newest);
        for (id, event) in missed {
            // Where the job stands now was said.
            if let JobEvent::Log(line) = event {
                text.push_str(&format_event(id, "log", &json!(line).to_string()));
            }
        }
        if job.status.is_ended() {
            let outputs = self.state.parts.database.outputs_of(self.id).await?;
            for output in &outputs {
                text.push_str(&self.event("output", &output_view(self.id, output)));
            }
            let body = view::render(&self.state, &job, &outputs, false).await?;
            text.push_str(&format_event(self.last, "end", &body));
            self.over = true;
        }
        Ok(Bytes::from(text))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            if self.wished.elapsed() >= HEARTBEAT {
                self.want_previews().await;
            }
            let mut stopping = self.stopping.clone();
            let heard = tokio::select! {
                heard = tokio::time::timeout(HEARTBEAT, self.receiver.recv()) => heard,
                // The client comes back, to whoever serves then.
                _ = stopping.wait_for(|stopping| *stopping) => return None,
            };
            let told = match heard {
                Ok(Ok(heard)) => self.tell(heard).await,
                // Events were missed: the truth is in the database.
                Ok(Err(RecvError::Lagged(_))) => self.catch_up().await,
                Ok(Err(RecvError::Closed)) => {
                    self.receiver = self.state.parts.broker.watch(self.id);
                    self.catch_up().await
                }
                Err(_elapsed) => Some(Bytes::from_static(b": still here\n\n")),
            };
            match told {
                Some(bytes) if bytes.is_empty() => {}
                told => return told,
            }
        }
    }

    /// What was heard, as the client is told of it; nothing where it was told before.
    async fn tell(&mut self, heard: Heard) -> Option<Bytes> {
        if let Some(id) = heard.id {
            if self.told.is_some_and(|told| id <= told) {
                return Some(Bytes::new());
            }
            (self.last, self.told) = (id, Some(id));
        }
        let text = match heard.event {
            JobEvent::Progress(progress) => self.event("progress", &json!(progress)),
            JobEvent::Status(status) if status.is_ended() => return self.snapshot(Vec::new()).await.ok(),
            JobEvent::Status(status) => self.event("status", &json!({"jobId": self.id, "status": status})),
            JobEvent::Log(line) => self.event("log", &json!(line)),
            JobEvent::Preview(preview) if self.previews => self.event("preview", &json!(preview)),
            JobEvent::Preview(_) => String::new(),
        };
        Some(Bytes::from(text))
    }

    async fn catch_up(&mut self) -> Option<Bytes> {
        let last = self.last;
        self.begin(Some(last)).await.ok()
    }

    async fn want_previews(&mut self) {
        self.wished = Instant::now();
        if self.previews {
            self.state.parts.broker.want_previews(self.id).await;
        }
    }

    fn event(&self, name: &str, data: &Value) -> String {
        format_event(self.last, name, &data.to_string())
    }
}

fn format_event(id: EventId, name: &str, data: &str) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
