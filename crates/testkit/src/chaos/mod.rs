//! Experiments that break what a gateway is made of while it works, and count what was promised.

mod api;
mod comfy;
mod database;
mod delivery;
mod queue;
mod sharing;
mod single;
mod workers;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stack::{Audit, Stack, StackConfig, Submitted, Watch};

/// How large experiments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds: to run with every change.
    Short,
    /// At their full sizes.
    Full,
}

impl Scale {
    /// One of two sizes.
    pub(crate) fn of<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// Where experiments run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The gateway's binary.
    pub binary: PathBuf,
    /// The Postgres server.
    pub postgres: String,
    /// How large they are.
    pub scale: Scale,
    /// Decides what is random.
    pub seed: u64,
}

/// What an experiment found.
#[derive(Debug)]
pub struct Outcome {
    /// Its number; 0 for the one that has none.
    pub number: u32,
    /// What was done.
    pub done: String,
    /// What was measured.
    pub measured: String,
    /// What broke a promise; empty where all hold.
    pub broken: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Every experiment: its number and what it breaks.
pub const EXPERIMENTS: &[(u32, &str)] = &[
    (0, "kill -9 the one process that is a whole gateway"),
    (1, "kill -9 a random worker"),
    (2, "kill -9 a random API"),
    (5, "freeze a worker for longer than its claims hold"),
    (9, "lose ComfyUI's answer to a prompt"),
    (10, "a job that kills its worker every time"),
    (15, "replace all workers one by one"),
    (18, "kill who makes what many wait for"),
    (21, "flush Redis"),
    (22, "kill -9 a Redis that keeps nothing"),
    (24, "Redis away"),
    (28, "end all sessions of the database"),
    (35, "cancel at a random moment"),
    (42, "SIGTERM with jobs of all lengths"),
    (45, "restart everything with a full queue"),
    (48, "kill -9 who sends a webhook while it is under way"),
    (50, "a receiver that never answers"),
];

/// Runs one experiment.
pub async fn run(number: u32, place: &Place) -> Outcome {
    let began = Instant::now();
    let limit = place.scale.of(Duration::from_secs(150), Duration::from_secs(4 * 3_600));
    let found = tokio::time::timeout(limit, experiment(number, place)).await.unwrap_or_else(|_elapsed| Found {
        broken: vec![format!("it did not end within {} s", limit.as_secs())],
        ..Found::default()
    });
    Outcome { number, done: found.done, measured: found.measured, broken: found.broken, took: began.elapsed() }
}

async fn experiment(number: u32, place: &Place) -> Found {
    match number {
        0 => single::run(place).await,
        1 => workers::killed(place).await,
        2 => api::killed(place).await,
        5 => workers::frozen(place).await,
        9 => comfy::lost_answers(place).await,
        10 => workers::poisoned(place).await,
        15 => workers::replaced(place).await,
        18 => sharing::run(place).await,
        21 => queue::flushed(place).await,
        22 => queue::killed(place).await,
        24 => queue::away(place).await,
        28 => database::sessions_ended(place).await,
        35 => comfy::canceled(place).await,
        42 => workers::stopped(place).await,
        45 => queue::restarted_full(place).await,
        48 => delivery::sender_killed(place).await,
        50 => delivery::dead_receiver(place).await,
        other => Found { broken: vec![format!("there is no experiment {other}")], ..Found::default() },
    }
}

/// What an experiment says when it is over.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) done: String,
    pub(crate) measured: String,
    pub(crate) broken: Vec<String>,
}

/// Outcomes as a table for people.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let verdict = if outcome.broken.is_empty() { "holds" } else { "BROKEN" };
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "{:>3}  {verdict:<6}  {:>5.1} s  {}\n                       {}",
            outcome.number,
            outcome.took.as_secs_f64(),
            outcome.done,
            outcome.measured
        );
        for broken in outcome.broken.iter().take(20) {
            let _ = writeln!(text, "                       ! {broken}");
        }
    }
    text
}

/// A small generator: the same seed gives the same run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    pub(crate) async fn pause(&mut self, most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(most_ms))).await;
    }
}

/// A stack under load, and who watches it.
pub(crate) struct Trial {
    pub(crate) stack: Stack,
    watch: Watch,
}

impl Trial {
    pub(crate) async fn start(place: &Place, change: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig::new(place.binary.clone(), place.postgres.clone());
        change(&mut config);
        let stack = Stack::start(config).await;
        let watch = Watch::start(stack.database().await);
        Self { stack, watch }
    }

    /// Submits jobs in the background.
    pub(crate) fn submit(&self, jobs: usize, rate: Option<f64>) -> tokio::task::JoinHandle<Vec<Submitted>> {
        self.submit_named("r", jobs, rate)
    }

    /// The same under another name than that of other loads of the trial.
    pub(crate) fn submit_named(
        &self,
        name: &str,
        jobs: usize,
        rate: Option<f64>,
    ) -> tokio::task::JoinHandle<Vec<Submitted>> {
        let load = self.stack.load(name, jobs, rate);
        tokio::spawn(load.run(self.stack.client().clone()))
    }

    /// What `GET path` gives; `None` where it is not answered as usual.
    async fn ask(&self, path: &str) -> Option<Value> {
        let answer = self.stack.client().get(self.stack.url(path)).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// How many jobs wait or run.
    pub(crate) async fn waiting(&self) -> Option<usize> {
        let stats = self.ask("/jobs/stats").await?;
        let count = |state: &str| usize::try_from(stats["jobs"][state].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        Some(count("queued") + count("running"))
    }

    /// The workers that run jobs, by their places in the stack.
    pub(crate) async fn busy(&self) -> Vec<usize> {
        let jobs = self.ask("/jobs?status=running").await.unwrap_or_default();
        let jobs = jobs["items"].as_array().map_or(&[][..], Vec::as_slice);
        let runs = |id: &str| jobs.iter().any(|job| job["worker"] == id);
        let workers = self.stack.workers.iter().enumerate();
        workers.filter(|(_, worker)| runs(&worker.id)).map(|(place, _)| place).collect()
    }

    /// Waits for the end of all jobs and counts.
    pub(crate) async fn audit(self, accepted: &[Submitted]) -> (Audit, Stack) {
        let patience = Duration::from_secs(120 + accepted.len() as u64 / 20);
        let audit = Audit::of(&self.stack, accepted, self.watch, patience).await;
        (audit, self.stack)
    }
}

/// The value at `share` of the sorted `values`, in milliseconds.
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> f64 {
    values.sort_unstable();
    let place = ((values.len() as f64 - 1.0) * share).round().max(0.0) as usize;
    values.get(place).map_or(0.0, |value| value.as_secs_f64() * 1_000.0)
}

/// Jobs by state, for the table.
pub(crate) fn states(audit: &Audit) -> String {
    let states: Vec<String> = audit.states.iter().map(|(state, jobs)| format!("{jobs} {state}")).collect();
    let dead = if audit.dead > 0 { format!(" ({} held as deadly)", audit.dead) } else { String::new() };
    format!("{}{dead}, {} prompts", states.join(", "), audit.prompts)
}

/// All that a clean run has: every job done.
pub(crate) fn all_succeeded(audit: &mut Audit) {
    let others: Vec<String> = audit
        .states
        .iter()
        .filter(|(state, _)| **state != "succeeded")
        .map(|(state, jobs)| format!("{jobs} jobs are {state}"))
        .collect();
    audit.broken.extend(others);
}

/// What has to be said where a fault met no work: the experiment proves nothing then, and does not hold.
pub(crate) fn must_meet(broken: &mut Vec<String>, met: usize, otherwise: &str) {
    if met == 0 {
        broken.push(format!("{otherwise}: nothing was shown"));
    }
}
