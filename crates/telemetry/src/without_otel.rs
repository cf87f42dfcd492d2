//! The interface of traces in a program that was built without them.

use std::fmt;

use gateway_config::TraceSettings;
use gateway_core::TraceParent;

use crate::InitError;
use crate::trace::{Kind, Parent};

/// There is none.
pub(crate) enum Export {}

impl Export {
    #[expect(clippy::unused_async, reason = "with traces it waits for the collector")]
    pub(crate) async fn flush(self) {
        match self {}
    }
}

/// Refuses: whoever names a collector expects traces there.
pub(crate) fn start(_settings: &TraceSettings) -> Result<Export, InitError> {
    Err(InitError::NoTraces)
}

/// There is none.
pub(crate) enum Begun {}

impl Begun {
    pub(crate) fn new(_name: &'static str, _kind: Kind, _parent: Option<Parent>) -> Option<Self> {
        None
    }

    pub(crate) fn context(&self) -> Option<TraceParent> {
        match *self {}
    }

    pub(crate) fn text(&self, _key: &'static str, _value: impl fmt::Display) {
        match *self {}
    }

    pub(crate) fn number(&self, _key: &'static str, _value: i64) {
        match *self {}
    }

    pub(crate) fn fail(&self) {
        match *self {}
    }

    pub(crate) fn rename(&self, _name: impl FnOnce() -> String) {
        match *self {}
    }
}
