//! What lies in `deploy/` and the compose file: as far as it can be proved without an engine that runs containers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_config::{Overrides, VARIABLES};
use serde_yaml_ng::Value;

use crate::support::{Place, url_of};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose(path: &str) -> Value {
    let mut file: Value = serde_yaml_ng::from_str(&read(path)).expect("YAML");
    // What is merged may merge others itself.
    for _ in 0..4 {
        file.apply_merge().expect("merges");
    }
    file
}

/// `${NAME:-default}` as it is where NAME is not set.
fn substituted(text: &str) -> String {
    let mut parts = text.split("${");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').expect("an end");
        plain.push_str(variable.split_once(":-").map_or("", |(_, default)| default));
        plain.push_str(rest);
    }
    plain
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => substituted(text),
        Value::Number(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let variables = service.get("environment").and_then(Value::as_mapping).into_iter().flatten();
    variables.map(|(name, value)| (name.as_str().expect("a name").to_owned(), text(value))).collect()
}

#[test]
fn the_stack_has_all_its_parts_each_with_a_health_check_and_settings_that_the_gateway_takes() {
    let file = compose("docker-compose.yml");
    let services = file["services"].as_mapping().expect("services");
    for name in [
        "proxy",
        "api-1",
        "api-2",
        "worker-1",
        "worker-2",
        "sim-1",
        "sim-2",
        "worker-gpu",
        "redis",
        "postgres",
        "s3",
        "prometheus",
        "grafana",
    ] {
        assert!(services.contains_key(name), "{name}");
    }
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        assert!(service.get("healthcheck").is_some(), "{name} has no health check");
        for other in service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten() {
            assert!(services.contains_key(other.0), "{name} depends on {:?}", other.0);
        }
        if service.get("image").and_then(Value::as_str) != Some("comfyui-gateway") {
            continue;
        }
        let mut overrides = Overrides::default();
        for (variable, value) in environment(service).into_iter().filter(|(variable, _)| variable != "NOT_BESIDE") {
            let variable = known.get(variable.as_str()).unwrap_or_else(|| panic!("{name}: {variable} is no variable"));
            overrides = overrides.with(variable, Some(value));
        }
        let settings = gateway_config::load(Path::new("/nonexistent/.env"), &overrides);
        let settings = settings.unwrap_or_else(|error| panic!("{name}: {error}"));
        let shared = settings.queue.redis.is_some() && settings.database.file().is_none();
        assert!(shared || name.starts_with("sim"), "{name} is alone");
    }
}

/// What decides who may call, and what bounds callers.
const ACCESS: [&str; 14] = [
    "API_KEYS",
    "JWT_SECRET",
    "JWT_PUBLIC_KEY",
    "JWT_ALGORITHM",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_ROLE_CLAIM",
    "GATEWAY_ENV",
    "TRUSTED_PROXIES",
    "PRIVACY_MODE",
    "OWNER_QUEUE_LIMIT",
    "OWNER_RUNNING_LIMIT",
    "ALLOW_RAW_WORKFLOWS",
    "CORS_ORIGINS",
];

#[test]
fn who_may_call_is_handed_on_everywhere() {
    let compose_files = ["docker-compose.yml", "docker-compose.yml", "deploy/compose.single.yml"];
    for (path, service) in compose_files.into_iter().zip(["api-1", "api-2", "gateway"]) {
        let given = compose(path)["services"][service]["environment"].clone();
        let missing: Vec<&str> = ACCESS.into_iter().filter(|name| given.get(*name).is_none()).collect();
        assert!(missing.is_empty(), "{path}, {service}: {missing:?}");
    }
    for paths in [
        &["deploy/systemd/gateway.env.example"][..],
        &["deploy/kubernetes/configmap.yaml", "deploy/kubernetes/secret.example.yaml"],
    ] {
        let text: String = paths.iter().map(|path| read(path)).collect();
        let missing: Vec<&str> = ACCESS.into_iter().filter(|name| !text.contains(name)).collect();
        assert!(missing.is_empty(), "{paths:?}: {missing:?}");
    }
}

#[test]
fn the_apis_of_the_stack_believe_its_own_balancer_and_no_other_network() {
    let file = compose("docker-compose.yml");
    let subnet = file["networks"]["default"]["ipam"]["config"][0]["subnet"].as_str().expect("a network");
    let api = environment(&file["services"]["api-1"]);
    let (_, trusted) = api.iter().find(|(name, _)| name == "TRUSTED_PROXIES").expect("trusted proxies");
    assert_eq!(trusted.trim_end_matches(','), substituted(subnet));
    let balancer = read("deploy/haproxy.cfg");
    assert!(balancer.contains("option forwardfor") && balancer.contains("del-header X-Forwarded-For unless"));
    assert!(read("deploy/nginx.conf").contains("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"));
}

/// The images API answers after ten minutes at most.
const IMAGES_HAPROXY: &str = "http-request set-timeout server 630s if { path_beg /images/ /v1/images/ }";

#[test]
fn every_proxy_waits_for_longer_than_an_answer_may_be_kept_back() {
    for (path, lines) in [
        ("deploy/haproxy.cfg", &["timeout client 90s", "timeout server 90s", IMAGES_HAPROXY][..]),
        ("deploy/nginx.conf", &["proxy_send_timeout 90s;", "proxy_read_timeout 90s;", "proxy_read_timeout 630s;"]),
    ] {
        let text = read(path);
        for line in lines {
            assert!(text.lines().any(|each| each.trim() == *line), "{path}: no `{line}`");
        }
    }
    let ingress = compose("deploy/kubernetes/ingress.yaml");
    for (name, value) in [
        ("haproxy.org/timeout-server", "630s"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "630"),
        ("nginx.ingress.kubernetes.io/proxy-send-timeout", "90"),
    ] {
        assert_eq!(ingress["metadata"]["annotations"][name].as_str(), Some(value), "{name}");
    }
}

#[test]
fn kubernetes_gives_no_variable_that_the_gateway_does_not_read() {
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(root().join("deploy/kubernetes")).expect("the folder") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let value = <Value as serde::Deserialize>::deserialize(document).expect("YAML");
            names(&value, &mut seen);
        }
    }
    assert!(seen.contains("WORKER_NODE") && seen.contains("REDIS_URL"), "{seen:?}");
    let strangers: Vec<&String> =
        seen.iter().filter(|name| !known.contains(name.as_str()) && *name != "HOME").collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

/// The names of variables in `env`, and the keys of maps of settings.
fn names(value: &Value, seen: &mut BTreeSet<String>) {
    let is_variable = |name: &str| {
        name.len() > 3 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    match value {
        Value::Mapping(mapping) => {
            for (key, inner) in mapping {
                if let Some(key) = key.as_str().filter(|key| is_variable(key)) {
                    seen.insert(key.to_owned());
                }
                if key.as_str() == Some("name")
                    && let Some(name) = inner.as_str().filter(|name| is_variable(name))
                {
                    seen.insert(name.to_owned());
                }
                names(inner, seen);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| names(item, seen)),
        _ => {}
    }
}

/// The health command of the image.
fn image_check() -> Vec<String> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let line = text.lines().find(|line| line.starts_with("HEALTHCHECK")).expect("a health check").to_owned();
    serde_json::from_str(line.split_once("CMD").expect("a command").1.trim()).expect("JSON")
}

fn holds(command: &[String], variables: &[(&str, &str)]) -> bool {
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).env_remove("PORT").env_remove("WORKER_PORT").envs(variables.iter().copied());
    command.status().expect("it runs").success()
}

#[test]
fn the_health_command_of_the_image_tells_an_api_that_lives_from_none() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    let gateway = place.start_gateway();
    let url = gateway
        .err
        .find("the gateway serves", |line| line.contains("the gateway serves").then(|| url_of(line)).flatten());
    let port = url.rsplit(':').next().expect("a port").to_owned();
    let check = image_check();
    assert!(holds(&check, &[("PORT", &port)]));
    // A worker alone has no API; its own port tells.
    assert!(holds(&check, &[("PORT", "1"), ("WORKER_PORT", &port)]));
    assert!(!holds(&check, &[("PORT", "1")]));
    gateway.terminate();
    gateway.end().expect(0);
    assert!(!holds(&check, &[("PORT", &port)]));
}

#[test]
fn the_health_command_of_the_simulator_tells_whether_it_answers() {
    let (_place, simulator) = Place::with_comfyui(&[]);
    let url = simulator.out.find("its URL", url_of);
    let port = url.rsplit(':').next().expect("a port").to_owned();
    let file = compose("docker-compose.yml");
    let test = file["services"]["sim-1"]["healthcheck"]["test"].as_sequence().expect("a command").clone();
    let command: Vec<String> =
        test.iter().skip(1).map(|part| part.as_str().expect("text").replace("8188", &port)).collect();
    assert!(holds(&command, &[]));
    simulator.terminate();
    drop(simulator);
    assert!(!holds(&command, &[]));
}
