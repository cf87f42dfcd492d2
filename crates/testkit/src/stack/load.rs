//! Clients that submit jobs and do not give up: each job has a request id, under which a client whose answer was lost
//! sends it again and is told of the same job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long a client waits until it tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// Clients at the same time.
const CLIENTS: usize = 16;

/// Jobs to submit.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many.
    pub jobs: usize,
    /// How many a second; as fast as they go where there is none.
    pub rate: Option<f64>,
    /// What request ids begin with.
    pub name: String,
    /// Where to.
    pub url: String,
    /// Who is told of the ends of jobs.
    pub callback: Option<String>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub id: String,
    /// Its request id.
    pub request_id: String,
    /// How long the answer that counted took.
    pub took: Duration,
    /// Answers other than 202 that came before, by their status; 0 for a connection that ended without one.
    pub refusals: Vec<u16>,
}

impl Load {
    /// Submits them all; gives them in the order of their numbers.
    pub async fn run(self, client: Client) -> Vec<Submitted> {
        let next = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS.min(self.jobs.max(1)) {
            let (load, client, next) = (self.clone(), client.clone(), Arc::clone(&next));
            clients.spawn(async move {
                let mut submitted = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= load.jobs as u64 {
                        return submitted;
                    }
                    if let Some(rate) = load.rate {
                        let due = Duration::from_secs_f64(number as f64 / rate);
                        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                    }
                    submitted.push(load.submit(&client, number).await);
                }
            });
        }
        let mut all: Vec<Submitted> = clients.join_all().await.into_iter().flatten().collect();
        all.sort_by(|a, b| a.request_id.cmp(&b.request_id));
        all
    }

    /// Submits the job of this number until it is accepted.
    pub async fn submit(&self, client: &Client, number: u64) -> Submitted {
        let request_id = format!("{}-{number:06}", self.name);
        let body = json!({
            "workflowId": "tiny",
            "inputs": {"color": number % 0xff_ffff},
            "metadata": {"requestId": request_id},
            "callbackUrl": self.callback,
        });
        let mut refusals = Vec::new();
        loop {
            let began = Instant::now();
            match client.post(format!("{}/jobs", self.url)).json(&body).send().await {
                // 200: it was accepted before, and the answer was lost.
                Ok(answer) if matches!(answer.status().as_u16(), 200 | 202) => {
                    if let Ok(job) = answer.json::<Value>().await {
                        let id = job["jobId"].as_str().unwrap_or_default().to_owned();
                        return Submitted { id, request_id, took: began.elapsed(), refusals };
                    }
                }
                Ok(answer) => refusals.push(answer.status().as_u16()),
                Err(_cut) => refusals.push(0),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
