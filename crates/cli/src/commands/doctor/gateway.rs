//! The gateway of these settings on this machine, where one runs: it is asked, and not disturbed.

use gateway_config::Settings;
use serde_json::Value;

use super::DEADLINE;
use super::finding::{Area, Finding};
use crate::http::Remote;
use crate::stores::VERSION;

const AREA: Area = Area::Gateway;

/// Asks it how it is.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    if settings.http.port == 0 {
        return vec![Finding::note(AREA, "none was asked: with PORT=0 nobody knows where it serves")];
    }
    let Ok(remote) = Remote::local(settings) else { return Vec::new() };
    let base = remote.base();
    match tokio::time::timeout(DEADLINE, remote.get("/health")).await {
        Ok(Ok(health)) => serving(&health, base),
        Ok(Err(failure)) if failure.is_unreachable() => vec![Finding::note(AREA, format!("none serves at {base}"))],
        Ok(Err(failure)) => {
            let remedy = "what is said there; a program that is no gateway is stopped, or PORT is another";
            vec![Finding::warning(AREA, format!("at {base}: {failure}"), remedy)]
        }
        Err(_elapsed) => {
            let seen = format!("what listens at {base} does not answer within {} s", DEADLINE.as_secs());
            vec![Finding::warning(AREA, seen, "see its log; if it is no gateway, choose another PORT")]
        }
    }
}

fn serving(health: &Value, base: &str) -> Vec<Finding> {
    let Some(version) = health.get("version").and_then(Value::as_str) else {
        let seen = format!("what answers at {base} is no gateway");
        return vec![Finding::warning(AREA, seen, "stop that program, or choose another PORT")];
    };
    let mut findings = vec![if version == VERSION {
        Finding::ok(AREA, format!("one serves at {base}"))
    } else {
        let seen = format!("one of version {version} serves at {base}; this program is {VERSION}");
        Finding::warning(AREA, seen, "restart it, so that the new version serves; or look with its own program")
    }];
    if health.pointer("/queue/paused").and_then(Value::as_bool) == Some(true) {
        let seen = "the queue is paused: jobs are accepted, and wait";
        findings.push(Finding::warning(AREA, seen, "POST /queue/resume"));
    }
    findings.extend(drained(health));
    findings
}

/// Workers that take no more jobs: somebody asked that of them, and may have forgotten it.
fn drained(health: &Value) -> Option<Finding> {
    let workers = health.get("workers").and_then(Value::as_array)?;
    let drains = |worker: &&Value| worker.get("state").and_then(Value::as_str) == Some("draining");
    let ids: Vec<&str> = workers.iter().filter(drains).filter_map(|worker| worker.get("id")?.as_str()).collect();
    if ids.is_empty() {
        return None;
    }
    let all = if ids.len() == workers.len() { "no worker takes jobs" } else { "not every worker takes jobs" };
    let seen = format!("{all}: POST /workers/{{id}}/drain was asked of {}", ids.join(", "));
    Some(Finding::warning(AREA, seen, "restart that process: it takes jobs again"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::finding::Report;

    #[test]
    fn a_gateway_that_takes_no_jobs_is_told_of() {
        let health = |states: &[&str]| {
            let workers: Vec<Value> =
                states.iter().map(|state| json!({"id": format!("w-{state}"), "state": state})).collect();
            json!({"version": VERSION, "queue": {"paused": false}, "workers": workers})
        };
        let told = |states: &[&str]| Report::new(serving(&health(states), "http://h"), false).text(false);
        assert!(told(&["draining"]).contains("no worker takes jobs: POST /workers/{id}/drain was asked of w-draining"));
        assert!(told(&["draining", "running"]).contains("not every worker takes jobs"));
        assert!(!told(&["running", "paused"]).contains("drain"));
    }
}
