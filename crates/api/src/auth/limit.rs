//! How many requests whoever may send: counted over all processes where they share a queue, and in this one while that
//! is away.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use gateway_auth::limit::{Decision, Rule};

use crate::state::ApiState;

/// Failed logins that an address may have before it has to wait.
pub(super) const FAILURES: Rule = Rule { per_window: 20, window_ms: 15 * 60_000, burst: 20 };

/// What an answer says of the limit.
#[derive(Debug, Clone)]
pub(crate) struct LimitHeaders {
    rule: Rule,
    decision: Decision,
}

/// Counts one request of `name`, whose own limit may be given.
pub(super) async fn take(state: &ApiState, name: &str, own: Option<u32>) -> (Decision, LimitHeaders) {
    let rate = state.parts.access.rate;
    let requests = own.unwrap_or(rate.requests);
    let window_ms = u64::try_from(rate.window.as_millis()).unwrap_or(u64::MAX);
    let rule = Rule { per_window: requests, window_ms, burst: requests };
    let decision = counted(state, name, rule, 1).await;
    (decision, LimitHeaders { rule, decision })
}

/// Counts `cost` requests of `name` under `rule`.
pub(super) async fn counted(state: &ApiState, name: &str, rule: Rule, cost: u32) -> Decision {
    match state.parts.broker.limit(name, rule, cost).await {
        Ok(decision) => decision,
        Err(error) => {
            tracing::debug!(%error, "requests are counted in this process alone");
            // Others may let in as much: half is closer to the truth than the whole.
            let share = Rule { per_window: rule.per_window.div_ceil(2), burst: rule.burst.div_ceil(2), ..rule };
            state.limiter.take_many(name, state.parts.database.now().as_millis(), share, cost)
        }
    }
}

impl LimitHeaders {
    /// Adds the headers of the IETF's draft, and those that most clients know.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { rule, decision } = self;
        let (reset, seconds) = (decision.reset_after_seconds(), rule.window_ms.div_ceil(1000));
        let texts = [
            ("ratelimit-policy", format!("\"default\";q={};w={seconds}", rule.per_window)),
            ("ratelimit", format!("\"default\";r={};t={reset}", decision.remaining)),
            ("x-ratelimit-limit", rule.per_window.to_string()),
            ("x-ratelimit-remaining", decision.remaining.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
        ];
        for (name, text) in texts {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
