//! The alert rules and the dashboard in `deploy/`: of metrics that exist, each documented, and valid as Prometheus reads
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_metrics::ALL;
use serde_yaml_ng::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The program; `None` where it can't be had and its tests are left out.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its programs are")]
pub(crate) fn promtool() -> Option<PathBuf> {
    let promtool = std::env::var("TEST_PROMTOOL").ok().map(PathBuf::from);
    let left_out = std::env::var("TEST_WITHOUT_PROMTOOL").is_ok();
    assert!(promtool.is_some() || left_out, "no promtool: run the tests by `cargo xtask test`");
    promtool
}

/// Runs promtool; panics with what it says where something is wrong.
fn check(arguments: &[&str]) {
    let Some(promtool) = promtool() else { return };
    let output = Command::new(promtool).args(arguments).current_dir(root()).output().expect("promtool");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// The rules, each a mapping.
fn rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read("deploy/prometheus/alerts.yml")).expect("YAML");
    let groups = file["groups"].as_sequence().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value:?}"))
}

/// The queries of the dashboard with the titles of their panels, as Prometheus would get them.
fn queries() -> Vec<(String, String)> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/gateway.json")).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query.replace("$__rate_interval", "1m").replace("$workflow", ".*");
            assert!(!query.contains('$'), "{title}: {query}");
            queries.push((title.to_owned(), query));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["query"]["query"].as_str().expect("a query");
        queries.push((String::from("a variable"), query.to_owned()));
    }
    queries
}

/// The names of metrics of the gateway in a query, without what histograms add.
fn names(query: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = query
        .split(|c: char| !word(c))
        .filter(|word| ["gateway_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
    let base = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

/// Labels that are asked for with a name, such as `lane` in `by (lane)` or in `{lane="high"}`.
fn labels(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (open, close, keyed) in [("by (", ')', false), ("on (", ')', false), ("{", '}', true)] {
        for part in query.split(open).skip(1) {
            let inner = part.split(close).next().unwrap_or_default();
            let names = inner.split(',').filter_map(|part| part.split(['=', '!']).next());
            let names = names.map(str::trim).filter(|name| !name.is_empty());
            if !keyed || inner.contains('=') {
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn rules_and_dashboard_ask_for_metrics_and_labels_that_are_in_the_table() {
    let known: BTreeMap<&str, &[&str]> = ALL.iter().map(|family| (family.name, family.labels)).collect();
    let rules = rules().into_iter().map(|rule| (text(&rule, "alert").to_owned(), text(&rule, "expr").to_owned()));
    let mut asked = 0;
    for (place, query) in rules.chain(queries()) {
        let names = names(&query);
        for name in &names {
            assert!(known.contains_key(name.as_str()), "{place}: there is no {name}");
        }
        if names.is_empty() {
            continue;
        }
        asked += 1;
        let of_these: BTreeSet<&str> = names.iter().flat_map(|name| known[name.as_str()].iter().copied()).collect();
        for label in labels(&query) {
            let given = ["instance", "job", "le"].contains(&label.as_str()) || of_these.contains(label.as_str());
            assert!(given, "{place}: nothing has the label {label}: {query}");
        }
    }
    assert!(asked > 50, "{asked} queries");
}

#[test]
fn every_metric_is_on_the_page_for_operators_and_the_page_names_no_other() {
    let page = read("docs/OPERATIONS.md");
    let section = page.split("\n## Metrics\n").nth(1).expect("a section on metrics");
    let section = section.split("\n## ").next().expect("its text");
    let mut documented = BTreeMap::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let mut cells = line.split('|').map(str::trim);
        let name = cells.next().expect("a name").trim_end_matches('`');
        let labels: BTreeSet<String> =
            cells.next().expect("labels").split(',').map(|label| label.trim().trim_matches('`').to_owned()).collect();
        documented.insert(name.to_owned(), labels);
    }
    let table: BTreeMap<String, BTreeSet<String>> = ALL
        .iter()
        .map(|family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned());
            let labels: BTreeSet<String> =
                if family.labels.is_empty() { ["–".to_owned()].into() } else { labels.collect() };
            (family.name.to_owned(), labels)
        })
        .collect();
    assert_eq!(documented, table);
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do_and_has_been_seen_to_fire() {
    let page = read("docs/OPERATIONS.md");
    let tests: Value = serde_yaml_ng::from_str(&read("deploy/prometheus/alerts.test.yml")).expect("YAML");
    let mut fired = BTreeSet::new();
    for test in tests["tests"].as_sequence().expect("tests") {
        for case in test.get("alert_rule_test").and_then(Value::as_sequence).into_iter().flatten() {
            if case.get("exp_alerts").is_some() {
                fired.insert(text(case, "alertname").to_owned());
            }
        }
    }
    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let name = text(&rule, "alert");
        assert!(alerts.insert(name.to_owned()), "{name} twice");
        assert!(["critical", "warning"].contains(&text(&rule["labels"], "severity")), "{name}");
        let runbook = text(&rule["annotations"], "runbook");
        assert_eq!(runbook, format!("docs/OPERATIONS.md#{}", name.to_lowercase()));
        assert!(page.contains(&format!("\n### {name}\n")), "nothing says what to do about {name}");
        assert!(!text(&rule["annotations"], "summary").is_empty(), "{name}");
    }
    assert_eq!(fired, alerts, "each is tried");
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    check(&["check", "config", "deploy/prometheus.yml"]);
    check(&["check", "rules", "deploy/prometheus/alerts.yml"]);
    check(&["test", "rules", "deploy/prometheus/alerts.test.yml"]);
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let queries = queries();
    let asked = queries.iter().filter(|(_, query)| !query.starts_with("label_values("));
    let rules: Vec<_> = asked
        .enumerate()
        .map(|(number, (_, query))| serde_json::json!({"record": format!("panel:{number}"), "expr": query}))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dashboard.yml");
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(&file, groups.to_string()).expect("a file");
    check(&["check", "rules", &file.to_string_lossy()]);
}

#[test]
fn the_stack_scrapes_its_own_processes_and_prometheus_has_the_rules() {
    let scraped: Value = serde_yaml_ng::from_str(&read("deploy/prometheus.yml")).expect("YAML");
    let compose = read("docker-compose.yml");
    let services: Value = serde_yaml_ng::from_str(&compose).expect("YAML");
    let mut targets = BTreeSet::new();
    for job in scraped["scrape_configs"].as_sequence().expect("jobs") {
        let fixed = job.get("static_configs").and_then(Value::as_sequence).into_iter().flatten();
        for target in fixed.flat_map(|config| config["targets"].as_sequence().expect("targets").clone()) {
            targets.insert(target.as_str().expect("a target").split(':').next().expect("a host").to_owned());
        }
        let found = job.get("dns_sd_configs").and_then(Value::as_sequence).into_iter().flatten();
        for name in found.flat_map(|config| config["names"].as_sequence().expect("names").clone()) {
            targets.insert(name.as_str().expect("a name").to_owned());
        }
    }
    for host in &targets {
        assert!(services["services"].get(host.as_str()).is_some(), "{host} is no service");
    }
    for process in ["api-1", "api-2", "worker-1", "worker-2", "worker-gpu"] {
        assert!(targets.contains(process), "{process} is not scraped");
    }
    assert!(compose.contains("./deploy/prometheus:/etc/prometheus/prometheus:ro"));
}
