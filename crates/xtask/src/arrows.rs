//! Proves who may know whom, from the real dependency graph.

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::shell::cargo_output;

/// A crate, and what must not be among its dependencies.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "gateway-core",
        &[
            "tokio",
            "diesel",
            "reqwest",
            "actix-web",
            "figment",
            "tracing-subscriber",
            "gateway-config",
            "gateway-db",
            "gateway-broker",
            "gateway-storage",
            "gateway-api",
            "gateway-worker",
            "comfyui-client",
        ],
    ),
    (
        "gateway-auth",
        &["tokio", "diesel", "reqwest", "actix-web", "figment", "gateway-config", "gateway-db", "comfyui-client"],
    ),
    (
        "gateway-metrics",
        &[
            "tokio",
            "diesel",
            "reqwest",
            "actix-web",
            "figment",
            "gateway-config",
            "gateway-db",
            "gateway-broker",
            "comfyui-client",
        ],
    ),
    ("gateway-config", &["tokio", "diesel", "reqwest", "actix-web", "gateway-db", "gateway-broker", "comfyui-client"]),
    (
        "gateway-telemetry",
        &["diesel", "actix-web", "gateway-db", "gateway-broker", "gateway-storage", "comfyui-client"],
    ),
    ("gateway-db", &["reqwest", "actix-web", "gateway-broker", "gateway-storage", "gateway-api", "comfyui-client"]),
    ("gateway-broker", &["diesel", "reqwest", "actix-web", "gateway-db", "gateway-storage", "comfyui-client"]),
    ("gateway-storage", &["diesel", "actix-web", "gateway-db", "gateway-broker", "comfyui-client"]),
    ("gateway-egress", &["diesel", "actix-web", "gateway-db", "gateway-broker", "comfyui-client"]),
    (
        "gateway-media",
        &[
            "tokio",
            "diesel",
            "reqwest",
            "actix-web",
            "gateway-config",
            "gateway-db",
            "gateway-storage",
            "comfyui-client",
        ],
    ),
    (
        "gateway-mcp",
        &[
            "diesel",
            "reqwest",
            "actix-web",
            "gateway-config",
            "gateway-db",
            "gateway-broker",
            "gateway-storage",
            "gateway-api",
            "gateway-worker",
            "comfyui-client",
        ],
    ),
    ("gateway-api", &["gateway-worker", "comfyui-client", "comfyui-sim", "comfyui-gateway", "tokio-tungstenite"]),
    ("gateway-worker", &["actix-web", "gateway-api", "comfyui-sim", "comfyui-gateway"]),
    ("comfyui-client", &["gateway-core", "gateway-config", "gateway-db", "diesel", "actix-web"]),
    ("comfyui-sim", &["gateway-core", "gateway-config", "comfyui-client", "diesel", "actix-web", "reqwest"]),
    ("comfyui-gateway", &["gateway-testkit"]),
];

/// Who alone may name a library.
const OWNERS: &[(&str, &[&str])] = &[
    ("diesel", &["gateway-db"]),
    ("actix-web", &["gateway-api"]),
    ("tokio-tungstenite", &["comfyui-client"]),
    ("figment", &["gateway-config"]),
    ("jsonwebtoken", &["gateway-auth"]),
    ("rust-s3", &["gateway-storage"]),
    ("deadpool-redis", &["gateway-broker"]),
    ("metrics", &["gateway-metrics"]),
    ("metrics-exporter-prometheus", &["gateway-metrics"]),
    ("tracing-subscriber", &["gateway-telemetry"]),
    ("rmcp", &["gateway-mcp"]),
];

const CRATES: &[&str] = &[
    "gateway-core",
    "gateway-auth",
    "gateway-metrics",
    "gateway-config",
    "gateway-telemetry",
    "gateway-db",
    "gateway-broker",
    "gateway-storage",
    "gateway-egress",
    "gateway-media",
    "gateway-mcp",
    "gateway-api",
    "gateway-worker",
    "comfyui-client",
    "comfyui-sim",
    "comfyui-gateway",
    "gateway-testkit",
    "s3-testserver",
];

/// Fails with each arrow that points the wrong way.
pub(crate) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    let everything = tree(&["--workspace"])?;
    for (name, forbidden) in FORBIDDEN {
        let below = tree(&["--package", name])?;
        for library in *forbidden {
            // A misspelt name would never be found: it must be somewhere.
            if !everything.contains(*library) {
                wrong.push(format!("{library} is nowhere in the workspace: is the name right?"));
            } else if below.contains(*library) {
                wrong.push(format!("{name} depends on {library}"));
            }
        }
    }
    for name in CRATES {
        let named = tree(&["--package", name, "--depth", "1"])?;
        for (library, owners) in OWNERS {
            match (named.contains(*library), owners.contains(name)) {
                (true, false) => wrong.push(format!("{name} names {library}; only {} may", owners.join(", "))),
                (false, true) => wrong.push(format!("{name} does not name {library}: is the rule out of date?")),
                _ => {}
            }
        }
    }
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { bail!("wrong arrows:\n  {}", wrong.join("\n  ")) }
}

/// The names of all crates in the part of the dependency graph that `args` select.
fn tree(args: &[&str]) -> Result<HashSet<String>> {
    let mut command = vec!["tree", "--quiet", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    command.extend(args);
    let text = cargo_output(&command)?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
