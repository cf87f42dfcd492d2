//! Webhooks: whether they are signed, where they may go, and whether a test message arrives where a URL is given.

use std::time::{Duration, Instant};

use gateway_config::Settings;
use gateway_egress::{Answer, SendError};
use gateway_worker::webhook_headers;
use serde_json::json;
use tokio::task::JoinSet;
use url::Url;

use super::DEADLINE;
use super::clocks::now;
use super::finding::{Area, Finding};
use crate::stores::way_out;

const AREA: Area = Area::Webhooks;
/// Names of the list that are looked up.
const NAMES: usize = 16;
/// How long a receiver may take; webhooks have a little longer.
const ANSWER: Duration = Duration::from_secs(8);

/// Looks at them; sends a test message to `url`.
pub(super) async fn look(settings: &Settings, url: Option<&str>) -> Vec<Finding> {
    let allow = &settings.webhooks.urls.allow;
    let mut findings = Vec::new();
    if !settings.webhooks.secrets.is_empty() {
        findings.push(Finding::ok(AREA, "messages are signed (WEBHOOK_SECRET)"));
    }
    if allow.is_empty() {
        findings.push(Finding::ok(AREA, "callbacks are switched off (WEBHOOK_ALLOWED_DOMAINS=none)"));
    } else {
        let plain = if settings.webhooks.urls.require_https {
            "https alone, but for hosts that are named"
        } else {
            "http, too"
        };
        findings.push(Finding::ok(AREA, format!("may go to {allow}; {plain}")));
        findings.extend(names(allow.names().map(str::to_owned).take(NAMES).collect()).await);
    }
    match url {
        Some(url) => findings.push(send(settings, url).await),
        None if !allow.is_empty() => {
            let seen = "not tried: whether receivers can be reached from here";
            let finding = Finding::note(AREA, seen);
            findings.push(finding.mended_by("`--webhook URL` sends a test message there; workers send the real ones"));
        }
        None => {}
    }
    findings
}

/// Looks the named hosts up.
async fn names(names: Vec<String>) -> Vec<Finding> {
    let mut lookups = JoinSet::new();
    for name in names {
        lookups.spawn(async move { if is_known(&name).await { None } else { Some(name) } });
    }
    let mut unknown = Vec::new();
    while let Some(name) = lookups.join_next().await {
        unknown.extend(name.ok().flatten());
    }
    unknown.sort();
    let told = |name: String| {
        let seen = format!("the name {name} of WEBHOOK_ALLOWED_DOMAINS can't be resolved here");
        let remedy = "correct it, or DNS; names of one compose network are not known in another";
        Finding::warning(AREA, seen, remedy)
    };
    unknown.into_iter().map(told).collect()
}

async fn is_known(name: &str) -> bool {
    match tokio::time::timeout(DEADLINE, tokio::net::lookup_host((name, 443))).await {
        Ok(Ok(mut addresses)) => addresses.next().is_some(),
        _ => false,
    }
}

async fn send(settings: &Settings, url: &str) -> Finding {
    let host = shown(url);
    let client = match way_out(&settings.webhooks.urls) {
        Ok(client) => client,
        Err(error) => return Finding::error(AREA, error.to_string(), "install the package ca-certificates"),
    };
    if let Err(error) = client.check(url).await {
        return refused(&host, &error.to_string());
    }
    let (time, began) = (now(), Instant::now());
    let id = format!("test-{:032x}", rand::random::<u128>());
    let data = json!({"message": "comfyui-gateway doctor looks whether webhooks arrive; nothing has happened"});
    let body = json!({"type": "gateway.test", "id": id, "timestamp": time, "data": data}).to_string().into_bytes();
    let headers = webhook_headers(&settings.webhooks.secrets, &id, time, &body, &id);
    let sent = client.post(url, &headers, body.into(), ANSWER).await;
    judge(&host, sent, began.elapsed())
}

/// Host and port alone: paths and queries hold tokens.
fn shown(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(|| String::from("the URL"), |(host, port)| format!("{host}:{port}"))
}

fn refused(host: &str, reason: &str) -> Finding {
    let remedy = "docs/troubleshooting.md#a-callback-is-refused-callback_not_allowed says what each sentence means; the \
                  list is WEBHOOK_ALLOWED_DOMAINS";
    Finding::error(AREA, format!("{host} may not be called: {reason}"), remedy)
}

fn judge(host: &str, sent: Result<Answer, SendError>, took: Duration) -> Finding {
    let status = match sent {
        Ok(answer) => answer.status,
        Err(SendError::Refused(error)) => return refused(host, &error.to_string()),
        Err(error) => {
            let seen = format!("no test message arrived at {host}: {}: {error}", error.class());
            let remedy = "docs/troubleshooting.md#a-webhook-does-not-arrive says what each class means";
            return match error {
                SendError::Dns | SendError::Connect | SendError::Timeout => Finding::unreachable(AREA, seen, remedy),
                _ => Finding::error(AREA, seen, remedy),
            };
        }
    };
    let seen = format!("{host} answered {status} to a test message (gateway.test) within {} ms", took.as_millis());
    let remedy = match status {
        200..=299 => return Finding::ok(AREA, seen),
        300..=399 => "redirects are not followed: give callers the URL that it leads to",
        401 | 403 => {
            "let the path through the login in front of the receiver, or see why its check of the signature fails"
        }
        404 | 405 => "correct the path; with n8n the workflow must be active",
        410 => "410 is taken for \"never again\": answer something else",
        _ => "see the receiver's own log; what is not known to it (gateway.test) should get a 2xx, too",
    };
    Finding::error(AREA, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Report;

    #[test]
    fn of_a_url_only_host_and_port_are_shown() {
        assert_eq!(shown("https://someone:s3cret@hooks.example/s3cret?token=s3cret"), "hooks.example:443");
        assert_eq!(shown("http://127.0.0.1:9000/s3cret"), "127.0.0.1:9000");
        assert_eq!(shown("s3cret"), "the URL");
    }

    #[test]
    fn what_a_receiver_answers_is_told_with_what_to_do() {
        let answer = |status| Ok(Answer { status, retry_after: None, excerpt: Vec::<u8>::new().into() });
        let told = |sent| Report::new(vec![judge("host:1", sent, Duration::from_millis(7))], false).text(false);
        assert!(told(answer(204)).starts_with("ok"));
        assert!(told(answer(302)).contains("redirects are not followed"));
        assert!(told(answer(500)).starts_with("error"));
        assert!(told(Err(SendError::Dns)).contains("dns: "));
    }
}
