//! Follows a prompt to its end. The socket's messages are hints and progress; what counts is the history, and
//! that a prompt is gone only what queue and history both don't know, twice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use comfyui_client::{CallError, Event, ExecutionFailure, HistoryEntry, NodeState, QueuePlace};
use gateway_broker::BackendState;
use gateway_core::chain;
use gateway_core::event::{JobEvent, LogLevel};
use gateway_core::progress::ProgressTracker;
use gateway_db::Output;
use serde_json::{Map, Value};

use super::collect::CollectError;
use super::prepare::picture_nodes;
use super::preview::Previews;
use super::stop::{Reason, Stop};
use super::{Ended, Finished, Run};
use crate::backend::{Registration, Update};
use crate::notify::ProgressTeller;

/// Between two messages of progress: 4 a second.
const PROGRESS_GAP: Duration = Duration::from_millis(250);
/// Between the first look that finds nothing and the one that settles it.
const ABSENT_FOR: Duration = Duration::from_millis(1_000);
/// A server that is gone this long does not keep the job waiting for it.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// The same for a job that its owner wants canceled.
const CANCELED_AFTER: Duration = Duration::from_secs(3);
/// How long pictures may take that come over the socket only, once the history has the end of their prompt.
const PICTURES_WITHIN: Duration = Duration::from_secs(2);
/// How long a history entry may be unreadable before it counts as such.
const UNREADABLE_FOR: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(250);

/// What is known of a prompt that is followed.
pub(super) struct Following {
    pub(super) registration: Registration,
    tracker: ProgressTracker,
    /// Since when ComfyUI runs it; waiting there does not count as running.
    pub(super) running_since: Option<Instant>,
    absent_since: Option<Instant>,
    unreadable_since: Option<Instant>,
    gone_since: Option<Instant>,
    published: Instant,
    /// Whether something has happened since.
    unpublished: bool,
    pictures: Result<Vec<Output>, CollectError>,
    expects_pictures: bool,
    /// Until when more pictures may come; `None` where none are due.
    pictures_due: Pictures,
    blocked: Option<ExecutionFailure>,
    pub(super) stop: Option<Stop>,
    teller: ProgressTeller,
    previews: Previews,
    /// How long such runs take, in milliseconds, where that is known.
    usual_ms: Option<i64>,
}

/// Pictures that come over the socket only.
#[derive(Debug, Clone, Copy)]
enum Pictures {
    /// None, or all are there.
    None,
    /// Until then, once the end of their prompt is known.
    Due(Option<Instant>),
}

/// Whether ComfyUI answers and yet can't give this entry: asking again brings the same.
pub(super) const fn is_unreadable(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Status { status: 500, .. } | CallError::Malformed { .. } | CallError::AnswerTooLarge { .. }
    )
}

impl Following {
    /// `undisturbed`: the event stream is the one that the prompt was sent under, and nothing of it was lost.
    fn finished(&mut self, entry: HistoryEntry, undisturbed: bool) -> Ended {
        let end_was_heard = matches!(self.pictures_due, Pictures::None);
        Ended::Finished(Box::new(Finished {
            entry,
            pictures: std::mem::replace(&mut self.pictures, Ok(Vec::new())),
            pictures_missed: self.expects_pictures && !(undisturbed && end_was_heard),
            blocked: self.blocked.take(),
            stopped: self.stop.as_ref().map(|stop| stop.reason),
        }))
    }

    /// The history was faster than the socket: whether to wait for the pictures that come there.
    fn waits_for_pictures(&mut self) -> bool {
        match &mut self.pictures_due {
            Pictures::None => false,
            Pictures::Due(until) => *until.get_or_insert_with(|| Instant::now() + PICTURES_WITHIN) > Instant::now(),
        }
    }
}

impl Run {
    pub(super) async fn follow(&mut self, registration: Registration, graph: &Map<String, Value>) -> Ended {
        let expects_pictures = !picture_nodes(graph).is_empty();
        let mut following = Following {
            registration,
            tracker: ProgressTracker::new(graph),
            running_since: None,
            absent_since: None,
            unreadable_since: None,
            gone_since: None,
            published: Instant::now(),
            unpublished: false,
            pictures: Ok(Vec::new()),
            expects_pictures,
            pictures_due: if expects_pictures { Pictures::Due(None) } else { Pictures::None },
            blocked: None,
            stop: None,
            teller: ProgressTeller::default(),
            previews: Previews::default(),
            usual_ms: self.context.usual_run(&self.job, self.backend.name()).await,
        };
        let hand_back = self.context.hand_back.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ended = tokio::select! {
                update = following.registration.next() => self.news(&mut following, update).await,
                _ = tick.tick() => self.tick(&mut following).await,
                () = hand_back.cancelled() => return self.hand_back(&following).await,
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    async fn news(&mut self, following: &mut Following, update: Update) -> Option<Ended> {
        match update {
            Update::Event(event) => self.event(following, event).await,
            Update::Place(place) => {
                following.absent_since = None;
                following.gone_since = None;
                if place == QueuePlace::Running {
                    following.running_since.get_or_insert_with(Instant::now);
                }
                None
            }
            Update::Preview { node, format, bytes } => {
                following.previews.show(&self.context, self.job.id, node, format, &bytes);
                None
            }
            Update::Absent => self.absent(following).await,
            Update::Unseen => self.history(following).await,
            Update::Stuck => self.take_back(following).await,
        }
    }

    async fn event(&mut self, following: &mut Following, event: Event) -> Option<Ended> {
        match event {
            Event::ExecutionStart { .. } => {
                following.running_since.get_or_insert_with(Instant::now);
            }
            Event::Cached { nodes, .. } => following.tracker.cached(nodes.iter().map(String::as_str)),
            Event::Executing { node: Some(node), display_node, .. } => {
                following.tracker.executing(display_node.as_deref().unwrap_or(&node));
            }
            Event::Executing { node: None, .. } => {
                // Pictures come before the end on the same socket.
                following.pictures_due = Pictures::None;
                return self.history(following).await;
            }
            Event::Progress { node: Some(node), value, max, .. } => following.tracker.advance(&node, value, max),
            Event::ProgressState { nodes, .. } => {
                for node in &nodes {
                    let id = node.display_node_id.as_deref().unwrap_or(&node.node_id);
                    match node.state {
                        NodeState::Finished => following.tracker.finish(id),
                        _ => following.tracker.advance(id, node.value, node.max),
                    }
                }
            }
            Event::Error { failure, blocked: true, .. } => {
                self.log(LogLevel::Warn, "blocked", "a node stopped its branch of the workflow");
                following.blocked = Some(failure);
            }
            Event::Preview { node_id: Some(node), bytes, .. } => self.take_picture(following, &node, bytes).await,
            _ => {}
        }
        following.unpublished = true;
        self.publish(following);
        None
    }

    /// Stores a picture that came over the socket, before the next one comes.
    async fn take_picture(&mut self, following: &mut Following, node: &str, bytes: Bytes) {
        let Ok(pictures) = &mut following.pictures else { return };
        if !self.workflow.is_output(node) {
            return;
        }
        match self.keep_as_wished(node, pictures.len() + 1, bytes).await {
            Ok(picture) => pictures.push(picture),
            Err(error) => following.pictures = Err(error),
        }
    }

    fn is_undisturbed(&self) -> bool {
        self.stream.is_some() && self.stream == self.backend.stream()
    }

    /// Tells whoever watches how far it is: at most so often, and never not at all of what came last.
    fn publish(&mut self, following: &mut Following) {
        let now = Instant::now();
        if !following.unpublished || now.duration_since(following.published) < PROGRESS_GAP {
            return;
        }
        (following.published, following.unpublished) = (now, false);
        let since = following.running_since.unwrap_or(self.began);
        let elapsed = i64::try_from(now.duration_since(since).as_millis()).unwrap_or(i64::MAX);
        let mut progress = following.tracker.snapshot(elapsed);
        progress.expect(following.usual_ms, elapsed);
        if self.context.parts.privacy {
            // A title is its author's words.
            let class = progress.node.as_deref().and_then(|node| self.workflow.class_type(node));
            progress.node_title = class.map(str::to_owned);
        }
        following.teller.tell(&self.context, &self.job, &progress);
        self.context.parts.broker.publish(self.job.id, JobEvent::Progress(progress));
    }

    /// Its end, where the history has it.
    async fn history(&mut self, following: &mut Following) -> Option<Ended> {
        match self.backend.client.history(following.registration.prompt_id()).await {
            Ok(Some(entry)) => Some(following.finished(entry, self.is_undisturbed())),
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the history can't be read; the next look will");
                None
            }
        }
    }

    /// Not in the queue: it has ended, or it is lost.
    async fn absent(&mut self, following: &mut Following) -> Option<Ended> {
        following.gone_since = None;
        match self.backend.client.history(following.registration.prompt_id()).await {
            Ok(Some(_)) if following.waits_for_pictures() && self.backend.current_client_id().is_some() => return None,
            Ok(Some(entry)) => return Some(following.finished(entry, self.is_undisturbed())),
            Ok(None) => following.unreadable_since = None,
            // An entry that can't be read says nothing of the prompt.
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the history can't be read; the next look will");
                let since = is_unreadable(&error).then(|| *following.unreadable_since.get_or_insert_with(Instant::now));
                let in_vain = since.is_some_and(|since| since.elapsed() >= UNREADABLE_FOR);
                return in_vain.then(|| Ended::Unreadable(Box::new(error)));
            }
        }
        let since = *following.absent_since.get_or_insert_with(Instant::now);
        if since.elapsed() < ABSENT_FOR {
            return None;
        }
        let canceled = following.stop.as_ref().is_some_and(|stop| stop.reason == Reason::Cancel);
        let timed_out = following.stop.as_ref().is_some_and(|stop| stop.reason == Reason::Timeout);
        Some(match (canceled, timed_out) {
            (true, _) => Ended::Canceled,
            (_, true) => Ended::TimedOut,
            _ => Ended::Lost,
        })
    }

    async fn tick(&mut self, following: &mut Following) -> Option<Ended> {
        let signal = *self.signal.borrow_and_update();
        if signal.lost {
            return Some(Ended::ClaimLost);
        }
        if self.backend.state() == BackendState::Unreachable {
            let since = *following.gone_since.get_or_insert_with(Instant::now);
            let limit = if signal.cancel { CANCELED_AFTER } else { GONE_AFTER };
            return (since.elapsed() >= limit).then_some(Ended::Unreachable);
        }
        following.gone_since = None;
        self.publish(following);
        if !self.context.parts.privacy {
            following.previews.look(&self.context, self.job.id, &following.registration).await;
        }
        if signal.cancel && following.stop.is_none() {
            self.log(LogLevel::Info, "cancel", "ComfyUI is asked to stop the run");
            following.stop = Some(Stop::new(Reason::Cancel));
        }
        let limit = self.time_limit();
        let over = following.running_since.is_some_and(|since| since.elapsed() > limit);
        if over && following.stop.is_none() {
            self.log(
                LogLevel::Warn,
                "timeout",
                format!("ran longer than {} ms: ComfyUI is asked to stop it", limit.as_millis()),
            );
            following.stop = Some(Stop::new(Reason::Timeout));
        }
        self.flush_logs_of_a_long_run().await;
        match following.stop {
            Some(_) => self.stop(following).await,
            None => None,
        }
    }

    /// How long ComfyUI may run this job.
    pub(super) fn time_limit(&self) -> Duration {
        let own = self.job.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        own.unwrap_or(self.context.parts.comfyui.timeout)
    }

    /// The log of a run that takes a while is readable before its end.
    async fn flush_logs_of_a_long_run(&mut self) {
        if self.logs.is_empty() || self.began.elapsed() < Duration::from_secs(1) {
            return;
        }
        let lines = std::mem::take(&mut self.logs);
        if let Err(error) = self.context.parts.database.log_job(self.lease(), lines).await {
            tracing::warn!(%error, "lines of a job's log were not stored");
        }
    }
}
