//! Kills a real gateway process again and again while jobs run, then counts what the promise says: nothing lost,
//! nothing stuck, each output once and intact, no prompt run twice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comfyui_sim::{SimConfig, Simulator, Switches};
use reqwest::Client;
use serde_json::{Value, json};

use crate::common::sha256;
use crate::stack::{Process, free_port};
use crate::wait::{until, within};
use crate::workflows::tiny_workflow;

use super::{Found, Place, Random};

/// Kills the one process of a gateway without other servers.
pub(super) async fn run(place: &Place) -> Found {
    let (kills, jobs) = place.scale.of((12, 60), (200, 800));
    let report = Chaos { binary: place.binary.clone(), kills, jobs, seed: place.seed }.run().await;
    Found {
        done: format!("{kills} kills of the one process, {} jobs accepted", report.accepted),
        measured: format!("{} jobs known, {} prompts", report.known, report.started),
        broken: report.broken,
    }
}

/// What a run does.
#[derive(Debug, Clone)]
struct Chaos {
    binary: PathBuf,
    /// How often it is killed.
    kills: usize,
    /// How many jobs are accepted.
    jobs: usize,
    /// Decides when.
    seed: u64,
}

/// What was counted.
#[derive(Debug)]
struct Report {
    accepted: usize,
    /// Jobs in the database, those among them whose answer was lost in a kill.
    known: usize,
    /// Prompts that ComfyUI started.
    started: u64,
    broken: Vec<String>,
}

struct Setting {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    comfyui: String,
}

impl Setting {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(&self) -> Process {
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .current_dir(&self.folder)
            .env("HOST", "127.0.0.1")
            .env("PORT", self.port.to_string())
            .env("COMFYUI_URL", &self.comfyui)
            .env("DATABASE_URL", self.folder.join("gateway.db"))
            .env("STORAGE_LOCAL_PATH", self.folder.join("outputs"))
            .env("RATE_LIMIT_MAX", "1000000000")
            .env("LOG_LEVEL", "error");
        Process::start("gateway", command, &self.folder)
    }
}

impl Chaos {
    async fn run(self) -> Report {
        let folder = tempfile::tempdir().expect("a folder");
        let switches = Switches { node_ms: 15, ..Switches::default() };
        let sim = Simulator::start(SimConfig { switches, ..SimConfig::default() }).await.expect("the simulator starts");
        let setting = Setting {
            binary: self.binary.clone(),
            folder: folder.path().to_owned(),
            port: free_port(),
            comfyui: sim.url(),
        };
        let client = Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        let process = setting.start();
        wait_live(&client, &setting.url()).await;
        let mut workflow = tiny_workflow();
        workflow["id"] = json!("tiny");
        let created =
            client.post(format!("{}/workflows", setting.url())).json(&workflow).send().await.expect("an answer");
        assert_eq!(created.status(), 201);
        let killing = Arc::new(AtomicBool::new(true));
        let submitter = tokio::spawn(submit(client.clone(), setting.url(), self.jobs, Arc::clone(&killing)));
        let process = self.kill_often(&setting, process, &client).await;
        killing.store(false, Ordering::Relaxed);
        let accepted = submitter.await.expect("the submitter");
        let report = count(&client, &setting.url(), accepted, &sim).await;
        drop(process);
        sim.stop().await;
        report
    }

    async fn kill_often(&self, setting: &Setting, mut process: Process, client: &Client) -> Process {
        let mut random = Random::new(self.seed);
        for _ in 0..self.kills {
            // From before it listens to well into its work.
            tokio::time::sleep(Duration::from_millis(random.below(700))).await;
            drop(process);
            process = setting.start();
            if random.below(3) > 0 {
                wait_live(client, &setting.url()).await;
            }
        }
        wait_live(client, &setting.url()).await;
        process
    }
}

async fn wait_live(client: &Client, url: &str) {
    until("the gateway is live", || async {
        let answer = client.get(format!("{url}/health/live")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

/// Submits `jobs` jobs, spread over the kills; gives the ids of those that were accepted.
async fn submit(client: Client, url: String, jobs: usize, killing: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    let mut color = 0;
    while accepted.len() < jobs {
        color += 1;
        let body = json!({"workflowId": "tiny", "inputs": {"color": color}});
        match client.post(format!("{url}/jobs")).json(&body).send().await {
            Ok(answer) if answer.status() == 202 => {
                if let Some(id) =
                    answer.json::<Value>().await.ok().and_then(|job| job["jobId"].as_str().map(str::to_owned))
                {
                    accepted.insert(id);
                }
                if killing.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
            // Down at the moment.
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    accepted
}

async fn all_jobs(client: &Client, url: &str) -> Option<Vec<Value>> {
    let mut jobs = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: Value = client.get(format!("{url}/jobs?limit=100{cursor}")).send().await.ok()?.json().await.ok()?;
        jobs.extend(page["items"].as_array()?.iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(jobs),
        }
    }
}

async fn count(client: &Client, url: &str, accepted: BTreeSet<String>, sim: &Simulator) -> Report {
    let mut broken = Vec::new();
    let patience = Duration::from_secs(60 + accepted.len() as u64 / 10);
    let ended = within(patience, || async {
        let jobs = all_jobs(client, url).await?;
        jobs.iter().all(|job| !matches!(job["status"].as_str(), Some("queued" | "running"))).then_some(jobs)
    })
    .await;
    if ended.is_none() {
        broken.push(format!("not every job has ended after {} s", patience.as_secs()));
    }
    let jobs = match ended {
        Some(jobs) => jobs,
        None => all_jobs(client, url).await.unwrap_or_default(),
    };
    let known: BTreeSet<&str> = jobs.iter().filter_map(|job| job["jobId"].as_str()).collect();
    broken.extend(accepted.iter().filter(|id| !known.contains(id.as_str())).map(|id| format!("{id} is lost")));
    for job in &jobs {
        let id = job["jobId"].as_str().unwrap_or_default();
        let outputs = job["outputs"].as_array().cloned().unwrap_or_default();
        if job["status"] != "succeeded" || outputs.len() != 1 {
            broken.push(format!("{id} is {} with {} outputs: {}", job["status"], outputs.len(), job["error"]));
            continue;
        }
        if let Err(fault) = check_output(client, url, &outputs[0]).await {
            broken.push(format!("{id}: {fault}"));
        }
    }
    let stats = sim.stats();
    broken.extend(
        stats.starts.iter().filter(|(_, starts)| **starts > 1).map(|(prompt, _)| format!("prompt {prompt} ran twice")),
    );
    if stats.prompts_started != jobs.len() as u64 {
        broken.push(format!("{} prompts ran for {} jobs", stats.prompts_started, jobs.len()));
    }
    Report { accepted: accepted.len(), known: jobs.len(), started: stats.prompts_started, broken }
}

/// Fetches an output; what is wrong with it where anything is.
async fn check_output(client: &Client, url: &str, output: &Value) -> Result<(), String> {
    let link = output["url"].as_str().ok_or("its output has no URL")?;
    let unfetched = |error: reqwest::Error| format!("its output can't be fetched: {error}");
    let answer = client.get(format!("{url}{link}")).send().await.map_err(unfetched)?;
    if !answer.status().is_success() {
        return Err(format!("its output answers {}", answer.status()));
    }
    let bytes = answer.bytes().await.map_err(unfetched)?;
    if output["sha256"] != sha256(&bytes).as_str() || output["size"] != bytes.len() {
        return Err(String::from("its output is not what the record says"));
    }
    Ok(())
}
