//! Workers and the queue.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_path, reference};
use super::{examples, jobs};

const WORKERS: &str = "Workers";
const QUEUE: &str = "Queue";

pub(super) fn operations() -> Vec<Operation> {
    vec![list_workers(), drain(), pause(), resume(), list_dead(), retry_dead()]
}

fn list_workers() -> Operation {
    let worker = json!({
        "id": examples::WORKER,
        "node": "gpu-1",
        "version": "0.1.0",
        "state": "running",
        "backends": [examples::backend()],
    });
    let example = json!({"items": [worker], "nextCursor": Value::Null});
    let answer =
        Answer::json("They.", "WorkerList", example).link("drainWorker", &json!({"id": "$response.body#/items/0/id"}));
    Operation::new("GET", "/workers", "listWorkers", WORKERS)
        .about("List workers", "Those that live, with their ComfyUI servers.")
        .admin()
        .answers(200, answer)
}

fn drain() -> Operation {
    let example = json!({"id": examples::WORKER, "state": "draining"});
    let schema = json!({"type": "string", "minLength": 1});
    Operation::new("POST", "/workers/{id}/drain", "drainWorker", WORKERS)
        .about(
            "Drain a worker",
            "It takes no more jobs and ends those that it has. It takes jobs again after a restart. Takes no body.",
        )
        .admin()
        .with(in_path("id", "The worker.", schema, examples::WORKER))
        .reads()
        .answers(202, Answer::json("It is told.", "DrainedWorker", example))
        .fails(&[ErrorCode::NotFound, ErrorCode::QueueUnavailable])
}

fn pause() -> Operation {
    Operation::new("POST", "/queue/pause", "pauseQueue", QUEUE)
        .about(
            "Pause the queue",
            "Workers take no more jobs; jobs are accepted and wait, and those that run go on. Takes no body.",
        )
        .admin()
        .reads()
        .answers(200, Answer::json("It is paused.", "QueueState", json!({"paused": true})))
}

fn resume() -> Operation {
    Operation::new("POST", "/queue/resume", "resumeQueue", QUEUE)
        .about("Resume the queue", "Workers take jobs again. Takes no body.")
        .admin()
        .reads()
        .answers(200, Answer::json("It is not paused.", "QueueState", json!({"paused": false})))
}

fn list_dead() -> Operation {
    let mut job = examples::job();
    if let Some(fields) = job.as_object_mut() {
        let error = json!({"code": "WORKER_LOST", "message": "its workers were lost", "retryable": true});
        fields.insert(String::from("status"), json!("failed"));
        fields.insert(String::from("progress"), json!({"percent": 0, "nodesDone": 0, "nodesTotal": 8}));
        fields.insert(String::from("outputs"), json!([]));
        fields.insert(String::from("error"), error);
    }
    let example = json!({"items": [job], "nextCursor": Value::Null});
    let answer = Answer::json("A page of them.", "JobList", example)
        .link("retryDeadJob", &json!({"id": "$response.body#/items/0/jobId"}));
    Operation::new("GET", "/queue/dead", "listDeadJobs", QUEUE)
        .about(
            "List jobs that nobody could run",
            "Those that failed with WORKER_LOST: whoever ran them died, too often.",
        )
        .admin()
        .with(jobs::limit(20))
        .with(reference("parameters", "Cursor"))
        .answers(200, answer)
        .fails(&[ErrorCode::BadCursor])
}

fn retry_dead() -> Operation {
    jobs::retries(Operation::new("POST", "/queue/dead/{id}/retry", "retryDeadJob", QUEUE))
        .about(
            "Run a job again that nobody could run",
            "As `POST /jobs/{id}/retry`: a new job with the same inputs. Takes no body.",
        )
        .admin()
}
