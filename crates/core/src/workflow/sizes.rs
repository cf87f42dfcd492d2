//! Whether a rendered graph stays inside of the limits on picture sides and batches, at every node.
//! How sizes flow from node to node is `flow`'s; here they are compared and put into words.

use serde_json::{Map, Value};

use crate::Fault;

use super::flow::{self, Cause, Made};
use super::value::shorten;

/// The limits on what a graph may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeLimits {
    /// The longest side of a picture, in pixels (`MAX_IMAGE_SIZE`).
    pub max_side: u64,
    /// The largest batch, in pictures (`MAX_BATCH_SIZE`).
    pub max_batch: u64,
}

/// Every node of the rendered `graph` that would make something over the `limits`. `blame` turns the node and input
/// that decide on a size into the path for the fault. Sizes that cannot be known before the run are not checked.
pub fn check_sizes(
    graph: &Map<String, Value>,
    limits: &SizeLimits,
    blame: &dyn Fn(&str, &str) -> String,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for made in flow::sizes(graph) {
        side_faults(&made, limits.max_side, blame, &mut faults);
        let over = made.batch.filter(|batch| exceeds(*batch, limits.max_batch)).zip(made.batch_by.as_ref());
        if let Some((batch, cause)) = over {
            let message = format!(
                "node {} ({}) would make a batch of {}; the limit is {} (MAX_BATCH_SIZE)",
                made.node,
                shorten(made.class, 64),
                pixels(batch),
                limits.max_batch
            );
            faults.push(Fault::new(path(cause, blame), message));
        }
    }
    Fault::in_order(faults)
}

fn side_faults(made: &Made<'_>, limit: u64, blame: &dyn Fn(&str, &str) -> String, faults: &mut Vec<Fault>) {
    let what = match (made.width, made.height) {
        (Some(width), Some(height)) => format!("{}x{}", pixels(width), pixels(height)),
        (Some(width), None) => format!("a width of {}", pixels(width)),
        (None, Some(height)) => format!("a height of {}", pixels(height)),
        (None, None) => return,
    };
    for (side, cause) in [(made.width, &made.width_by), (made.height, &made.height_by)] {
        if let Some(cause) = cause.as_ref().filter(|_| side.is_some_and(|side| exceeds(side, limit))) {
            let class = shorten(made.class, 64);
            let message =
                format!("node {} ({class}) would make {what}; the limit is {limit} (MAX_IMAGE_SIZE)", made.node);
            faults.push(Fault::new(path(cause, blame), message));
        }
    }
}

fn path(cause: &Cause<'_>, blame: &dyn Fn(&str, &str) -> String) -> String {
    blame(cause.node, cause.input)
}

fn exceeds(size: f64, limit: u64) -> bool {
    pixels(size) > limit
}

/// A size as a whole number; what is too large for one becomes the largest.
fn pixels(size: f64) -> u64 {
    size.round() as u64
}
