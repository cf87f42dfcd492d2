//! First looks at what a job makes, for whoever watches it and wants them. What nobody wants is not passed on.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfyui_client::PreviewFormat;
use gateway_core::JobId;
use gateway_core::event::{JobEvent, Preview};

use crate::backend::Registration;
use crate::context::Context;

/// Between two looks whether somebody wants them.
const LOOK: Duration = Duration::from_secs(1);
/// Between two previews.
const GAP: Duration = Duration::from_millis(500);
/// Largest one that is passed on, in bytes.
const LARGEST: usize = 512 * 1024;

/// What is known of the previews of one run.
#[derive(Default)]
pub(super) struct Previews {
    looked: Option<Instant>,
    shown: Option<Instant>,
}

impl Previews {
    /// Looks now and then whether somebody wants previews.
    pub(super) async fn look(&mut self, context: &Context, job: JobId, registration: &Registration) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        registration.set_previews(context.parts.broker.wants_previews(job).await);
    }

    /// Passes one on, unless one was a moment ago.
    pub(super) fn show(&mut self, context: &Context, job: JobId, node: String, format: PreviewFormat, bytes: &[u8]) {
        if bytes.len() > LARGEST || self.shown.is_some_and(|shown| shown.elapsed() < GAP) {
            return;
        }
        self.shown = Some(Instant::now());
        let media = match format {
            PreviewFormat::Jpeg => "image/jpeg",
            PreviewFormat::Png => "image/png",
        };
        let data_url = format!("data:{media};base64,{}", STANDARD.encode(bytes));
        context.parts.broker.publish(job, JobEvent::Preview(Preview { node, data_url }));
    }
}
