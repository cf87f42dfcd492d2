//! The headers of one message: who it is, and that it is ours.

use gateway_core::trace::TRACEPARENT;
use gateway_core::webhook::SigningSecrets;
use gateway_core::{Timestamp, TraceParent};

/// The headers of a webhook with this `body`, sent at `time`; without signatures where there is no secret.
pub fn webhook_headers(
    secrets: &SigningSecrets,
    id: &str,
    time: Timestamp,
    body: &[u8],
    correlation_id: &str,
) -> Vec<(String, String)> {
    let seconds = time.as_millis().div_euclid(1000);
    let mut headers = vec![
        ("content-type", String::from("application/json")),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("x-request-id", correlation_id.to_owned()),
    ];
    headers.extend(secrets.standard(id, seconds, body).map(|signature| ("webhook-signature", signature)));
    headers.extend(secrets.x_signature(body).map(|signature| ("x-signature", signature)));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The header that says which trace a message belongs to. No signature has it: proxies may put their own in its place.
pub(super) fn trace_header(parent: Option<TraceParent>) -> Option<(String, String)> {
    parent.map(|parent| (TRACEPARENT.to_owned(), parent.to_string()))
}
