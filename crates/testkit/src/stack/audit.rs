//! What must hold after everything: nothing lost, nothing twice, nothing stuck, nothing left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_core::{JobId, JobStatus, Scope};
use gateway_db::{Database, Filter, Job};
use s3_testserver::BUCKET;
use tokio::task::JoinHandle;

use super::{Stack, Submitted};
use crate::common::sha256;
use crate::files::files_below;
use crate::wait::within;

/// Attempts and losses that a job may have.
const MOST_ATTEMPTS: i32 = 3;
const MOST_CRASHES: i32 = 3;
const PAGE: i64 = 500;

/// What was found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Jobs by state.
    pub states: BTreeMap<&'static str, usize>,
    /// Jobs that failed because their workers were lost.
    pub dead: usize,
    /// Workers that jobs have lost.
    pub losses: usize,
    /// Prompts that began to run.
    pub prompts: u64,
    /// Messages that arrived, those that came again among them.
    pub messages: usize,
    /// What the storage is to hold, by the keys in records of outputs: jobs with the same result share one.
    pub objects: BTreeSet<String>,
    /// What broke a promise; empty where all hold.
    pub broken: Vec<String>,
}

/// Looks at the rows while things happen: an epoch never falls, an end never changes.
pub struct Watch {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    rows: BTreeMap<JobId, (i64, JobStatus)>,
    broken: Vec<String>,
}

impl Watch {
    /// Begins to look.
    pub fn start(database: Database) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let began = tokio::time::Instant::now();
                    if let Ok(jobs) = all_jobs(&database).await {
                        seen.lock().expect("no panic").compare(&jobs);
                    }
                    // Looking must not be what keeps the database busy.
                    tokio::time::sleep(Duration::from_millis(300).max(began.elapsed() * 4)).await;
                }
            }
        });
        Self { task, seen }
    }

    fn stop(self, last: &[Job]) -> Vec<String> {
        self.task.abort();
        let mut seen = self.seen.lock().expect("no panic");
        seen.compare(last);
        std::mem::take(&mut seen.broken)
    }
}

impl Seen {
    fn compare(&mut self, jobs: &[Job]) {
        for job in jobs {
            if let Some((epoch, status)) = self.rows.insert(job.id, (job.epoch, job.status)) {
                if job.epoch < epoch {
                    self.broken.push(format!("I5: the epoch of {} fell from {epoch} to {}", job.id, job.epoch));
                }
                if status.is_ended() && status != job.status {
                    self.broken.push(format!("I3: {} was {status} and is {}", job.id, job.status));
                }
            }
        }
    }
}

/// All jobs that there are.
pub(super) async fn all_jobs(database: &Database) -> Result<Vec<Job>, gateway_db::DbError> {
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let cursor = jobs.last().map(|job| job.id);
        let page = database.list_jobs(Scope::All, Filter::default(), cursor, PAGE).await?;
        let done = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        jobs.extend(page);
        if done {
            return Ok(jobs);
        }
    }
}

impl Audit {
    /// Waits until every job has ended, then counts. `accepted` are the jobs that a client was told of.
    pub async fn of(stack: &Stack, accepted: &[Submitted], watch: Watch, patience: Duration) -> Self {
        let database = stack.database().await;
        let deadline = tokio::time::Instant::now() + patience;
        let jobs = loop {
            match all_jobs(&database).await {
                Ok(jobs) if jobs.iter().all(|job| job.status.is_ended()) => break jobs,
                Ok(jobs) if tokio::time::Instant::now() > deadline => break jobs,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let mut audit = Self { broken: watch.stop(&jobs), ..Self::default() };
        audit.rows(&jobs, accepted);
        audit.outputs(stack, &database, &jobs).await;
        audit.prompts(stack, &jobs).await;
        audit.messages(stack, &database, &jobs).await;
        audit.left_over(stack, &database).await;
        audit
    }

    /// I1, I2, I7, I8.
    fn rows(&mut self, jobs: &[Job], accepted: &[Submitted]) {
        let known: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
        let lost = accepted.iter().filter(|job| !known.contains(&job.id));
        self.broken.extend(lost.map(|job| format!("I1: {} was accepted and is not there", job.id)));
        let mut requests: BTreeMap<&str, usize> = BTreeMap::new();
        for job in jobs {
            *self.states.entry(job.status.as_str()).or_default() += 1;
            if let Some(request) = &job.request_id {
                *requests.entry(request).or_default() += 1;
            }
            if !job.status.is_ended() {
                self.broken.push(format!("I2: {} is {} for good: {job:?}", job.id, job.status));
            }
            if job.error.as_ref().is_some_and(|error| error.code == gateway_core::ErrorCode::WorkerLost) {
                self.dead += 1;
            }
            self.losses += usize::try_from(job.crashes).unwrap_or(0);
            if job.attempt > MOST_ATTEMPTS + job.crashes || job.crashes > MOST_CRASHES {
                self.broken.push(format!("I8: {} has {} attempts and {} losses", job.id, job.attempt, job.crashes));
            }
        }
        let twice = requests.iter().filter(|(_, jobs)| **jobs > 1);
        self.broken.extend(twice.map(|(request, jobs)| format!("I7: request {request} made {jobs} jobs")));
    }

    /// I4.
    async fn outputs(&mut self, stack: &Stack, database: &Database, jobs: &[Job]) {
        let ids = jobs.iter().map(|job| job.id).collect();
        let outputs = match database.outputs_of_many(ids).await {
            Ok(outputs) => outputs,
            Err(error) => return self.broken.push(format!("I4: {error}")),
        };
        for job in jobs {
            let own = outputs.get(&job.id).map_or(&[][..], Vec::as_slice);
            let wanted = usize::from(job.status == JobStatus::Succeeded);
            if own.len() != wanted {
                self.broken.push(format!("I4: {} is {} with {} outputs", job.id, job.status, own.len()));
            }
            for output in own {
                self.objects.insert(output.storage_key.clone());
                let url = stack.url(&format!("/outputs/{}/{}", job.id, output.file));
                let bytes = match stack.client().get(url).send().await {
                    Ok(answer) if answer.status().is_success() => answer.bytes().await.unwrap_or_default(),
                    _ => Default::default(),
                };
                if sha256(&bytes) != output.sha256 || bytes.len() as i64 != output.size {
                    self.broken.push(format!("I4: the output of {} is not what its record says", job.id));
                }
            }
        }
    }

    /// I10.
    async fn prompts(&mut self, stack: &Stack, jobs: &[Job]) {
        let idle = within(Duration::from_secs(30), || async {
            let stats: Vec<_> = stack.sims.iter().map(|sim| sim.stats()).collect();
            stats.iter().all(|stats| stats.prompts_finished >= stats.prompts_started || stats.crashes > 0).then_some(())
        });
        if idle.await.is_none() {
            self.broken.push(String::from("I10: prompts of jobs that have ended run on"));
        }
        let mut starts: BTreeMap<String, u64> = BTreeMap::new();
        for sim in &stack.sims {
            for (prompt, times) in sim.stats().starts {
                *starts.entry(prompt).or_default() += times;
            }
        }
        self.prompts = starts.values().sum();
        for job in jobs {
            let own =
                (1..=job.epoch).map(|epoch| starts.get(&job.id.prompt_id(epoch).to_string()).copied().unwrap_or(0));
            let own: Vec<u64> = own.collect();
            if own.iter().any(|times| *times > 1) {
                self.broken.push(format!("I10: a prompt of {} ran twice", job.id));
            }
            // A run whose worker died has used its attempt, too.
            if own.iter().sum::<u64>() > u64::try_from(job.attempt.max(0)).unwrap_or(0) {
                self.broken.push(format!("I10: {} ran {own:?} times in {} attempts", job.id, job.attempt));
            }
        }
    }

    /// I6.
    async fn messages(&mut self, stack: &Stack, database: &Database, jobs: &[Job]) {
        let told: Vec<&Job> =
            jobs.iter().filter(|job| job.options.callback.is_some() && job.status.is_ended()).collect();
        // One whose sender died is sent again when it lets go of it, and one that failed by its schedule. Which of them
        // are missing after that is counted below.
        let _all = within(Duration::from_secs(120), || async {
            let heard = heard(stack);
            told.iter().all(|job| heard.contains_key(&job.id.to_string())).then_some(())
        })
        .await;
        let mut heard = heard(stack);
        for job in told {
            let id = job.id.to_string();
            let Some(bodies) = heard.remove(&id) else {
                self.broken.push(format!("I6: nobody was told of the end of {id}"));
                continue;
            };
            self.messages += bodies.len();
            if bodies.iter().collect::<BTreeSet<_>>().len() > 1 {
                self.broken.push(format!("I6: messages about {id} differ"));
            }
            let wanted = format!("\"type\":\"job.{}\"", job.status);
            if !bodies.iter().all(|(_, body)| body.contains(&wanted)) {
                self.broken.push(format!("I6: {id} is {}, and its message says otherwise", job.status));
            }
            match database.deliveries_of(&id).await {
                Ok(records) if records.len() == 1 => {}
                Ok(records) => self.broken.push(format!("I6: {} messages were written about {id}", records.len())),
                Err(error) => self.broken.push(format!("I6: {error}")),
            }
        }
        let strange = heard
            .into_iter()
            .map(|(id, bodies)| format!("I6: {} messages about {id:?}, which was to tell nothing", bodies.len()));
        self.broken.extend(strange);
    }

    /// I11.
    async fn left_over(&mut self, stack: &Stack, database: &Database) {
        let key = |name: &str| format!("{{gateway}}:{name}");
        let count = |command: &str, name: &str| stack.redis.ask(&[command, &key(name)]);
        let empty = within(Duration::from_secs(40), || async {
            let counts = [
                count("HLEN", "places"),
                count("SCARD", "streams"),
                count("ZCARD", "delayed"),
                count("HLEN", "bypassed"),
                count("ZCARD", "waiting:1"),
            ];
            counts.iter().all(|count| count == "0").then_some(())
        });
        if empty.await.is_none() {
            self.broken.push(format!("I11: {} entries are left in the queue", count("HLEN", "places")));
        }
        let clean = within(Duration::from_secs(40), || async {
            let trash = database.trash(1).await.ok()?;
            (trash.is_empty() && objects(stack) == self.objects).then_some(())
        });
        if clean.await.is_none() {
            let stored = objects(stack);
            let (more, fewer) = (stored.difference(&self.objects), self.objects.difference(&stored));
            self.broken.extend(more.map(|key| format!("I11: {key} is stored and nothing refers to it")));
            self.broken.extend(fewer.map(|key| format!("I11: {key} is referred to and not stored")));
            if let Ok(trash) = database.trash(PAGE).await
                && !trash.is_empty()
            {
                self.broken.push(format!("I11: {} folders were to be removed and are not", trash.len()));
            }
        }
    }
}

/// The id and the body of each message that came, by the job that it is about.
fn heard(stack: &Stack) -> BTreeMap<String, Vec<(String, String)>> {
    let mut heard: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for request in stack.receiver.requests() {
        let job = request.json()["data"]["jobId"].as_str().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        heard.entry(job).or_default().push((request.header("webhook-id").to_owned(), body));
    }
    heard
}

/// The keys of the objects in the storage.
fn objects(stack: &Stack) -> BTreeSet<String> {
    let bucket = stack.s3.folder().join(BUCKET);
    let key = |file: PathBuf| {
        file.strip_prefix(&bucket).map_or_else(|_| String::new(), |key| key.to_string_lossy().into_owned())
    };
    files_below(&bucket).into_iter().map(key).collect()
}
