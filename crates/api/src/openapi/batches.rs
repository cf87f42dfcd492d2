//! Batches.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_path, reference};
use super::examples;

const TAG: &str = "Batches";

pub(super) fn operations() -> Vec<Operation> {
    vec![create(), find(), cancel()]
}

pub(super) fn id() -> Value {
    in_path("id", "The batch.", reference("schemas", "BatchId"), examples::BATCH)
}

/// A batch, with the ways on from it.
fn whole(description: &str) -> Answer {
    let id = json!({"id": "$response.body#/batchId"});
    Answer::json(description, "Batch", examples::batch())
        .link("getBatch", &id)
        .link("cancelBatch", &id)
        .link("listBatchDeliveries", &id)
        .link("getJob", &json!({"id": "$response.body#/jobIds/0"}))
}

fn create() -> Operation {
    let items = json!({
        "workflowId": "icon_512",
        "inputs": {"size": 256},
        "items": [{"inputs": {"prompt": "a kite", "seed": 1}}, {"inputs": {"prompt": "a boat", "seed": 2}}],
    });
    let sweep =
        json!({"workflowId": "icon_512", "inputs": {"prompt": "a kite"}, "sweep": {"cfg": [4, 6], "seed": [1, 2, 3]}});
    let examples = [("items", "Two pictures.", items), ("sweep", "Six jobs: every combination.", sweep)];
    Operation::new("POST", "/batches", "createBatch", TAG)
        .about(
            "Submit many jobs",
            "1 to 1,000 jobs of one workflow, accepted together or not at all. `callbackUrl` is told once, when the last has ended. At most 12 MiB.",
        )
        .with(reference("parameters", "IdempotencyKey"))
        .takes("BatchRequest", &examples)
        .answers(200, whole("The batch of the same request that was sent before.").header("Location"))
        .answers(202, whole("It is accepted.").header("Location"))
        .fails(&[ErrorCode::Forbidden, ErrorCode::WorkflowNotFound, ErrorCode::Gone])
        .fails(&[ErrorCode::IdempotencyKeyReused, ErrorCode::CallbackNotAllowed, ErrorCode::QueueFull])
        .fails(&[ErrorCode::StorageError])
}

fn find() -> Operation {
    Operation::new("GET", "/batches/{id}", "getBatch", TAG)
        .about("Show a batch", "How its jobs stand, and their ids in order.")
        .with(id())
        .answers(200, whole("The batch."))
        .fails(&[ErrorCode::BatchNotFound])
}

fn cancel() -> Operation {
    let example = json!({"batchId": examples::BATCH, "cancelRequested": true, "jobs": 2});
    Operation::new("POST", "/batches/{id}/cancel", "cancelBatch", TAG)
        .about("Cancel a batch", "Every job that has not ended is canceled. Takes no body.")
        .with(id())
        .reads()
        .answers(202, Answer::json("It was asked for.", "CanceledBatch", example))
        .fails(&[ErrorCode::BatchNotFound, ErrorCode::Conflict])
}
