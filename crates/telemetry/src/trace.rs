//! Work as spans of traces. They are made beside what lines are made from: a span that lends fields to lines costs each time
//! it is entered, and one of a trace twice in its life. Must hold nothing that a job is about.

use std::fmt;
use std::sync::Arc;

use gateway_core::TraceParent;

use crate::otel::Begun;

tokio::task_local! {
    /// The span that the task is in.
    static CURRENT: Option<TraceParent>;
}

/// Which side of a call or a queue a span is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Answers.
    Server,
    /// Asks, and waits for the answer.
    Client,
    /// Takes from a queue.
    Consumer,
    /// Neither.
    Internal,
}

/// What a span goes on from.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "nothing is made of it"))]
pub(crate) struct Parent {
    pub(crate) context: TraceParent,
    /// Whether it may be another process'.
    pub(crate) remote: bool,
}

/// A piece of work as a span of a trace, until the last handle on it is dropped. Where no traces are sent it is nothing, and
/// costs nothing.
#[derive(Clone)]
pub struct TraceSpan(Option<Arc<Begun>>);

impl TraceSpan {
    /// Begins one, as part of the trace that something else came with, or of a new one.
    pub fn begin(name: &'static str, kind: Kind, parent: Option<TraceParent>) -> Self {
        Self::new(name, kind, parent.map(|context| Parent { context, remote: true }))
    }

    fn new(name: &'static str, kind: Kind, parent: Option<Parent>) -> Self {
        Self(Begun::new(name, kind, parent).map(Arc::new))
    }

    /// The trace that it is in, and itself as what comes before; `None` where no traces are sent.
    pub fn context(&self) -> Option<TraceParent> {
        self.0.as_ref()?.context()
    }

    /// Sets an attribute.
    pub fn set_text(&self, key: &'static str, value: impl fmt::Display) {
        if let Some(begun) = &self.0 {
            begun.text(key, value);
        }
    }

    /// Sets an attribute that is a number.
    pub fn set_number(&self, key: &'static str, value: impl Into<i64>) {
        if let Some(begun) = &self.0 {
            begun.number(key, value.into());
        }
    }

    /// Says that the work failed.
    pub fn fail(&self) {
        if let Some(begun) = &self.0 {
            begun.fail();
        }
    }

    /// Names it by what has become known of it.
    pub fn rename(&self, name: impl FnOnce() -> String) {
        if let Some(begun) = &self.0 {
            begun.rename(name);
        }
    }

    /// `work` as part of it: whoever is asked by it is told so.
    pub fn around<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        CURRENT.scope(self.context(), work)
    }
}

/// The trace and the span that this task is in, by [`TraceSpan::around`] or [`traced`]; `None` where it is in none, as tasks
/// are that it spawns, and where no traces are sent.
pub fn current_trace() -> Option<TraceParent> {
    CURRENT.try_get().ok().flatten()
}

/// `work` as a span below the one that the task is in; where it is in none, `work` alone.
pub async fn traced<T>(name: &'static str, kind: Kind, work: impl Future<Output = T>) -> T {
    // What is awaited is moved: a box is smaller than two of it.
    let work = Box::pin(work);
    match current_trace() {
        Some(context) => TraceSpan::new(name, kind, Some(Parent { context, remote: false })).around(work).await,
        None => work.await,
    }
}
