//! The one worker: takes a prompt, runs it, writes its history entry, takes the next.

mod cache;
mod events;
mod execution;
mod order;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::Profile;
use crate::heap::Item;
use crate::history::Finished;
use crate::life::Life;
use crate::pyjson;
use crate::validate::structure::{self, Damage};

use events::Events;
use execution::{Execution, Memory};

/// Works until it is dropped.
pub(crate) async fn work(life: Arc<Life>) {
    let mut memory = Memory::default();
    loop {
        life.wait_while_zombie().await;
        let free = life.take_free();
        memory.free(free);
        let Some(item) = life.take() else {
            life.wait_for_work().await;
            continue;
        };
        run(&life, &mut memory, item).await;
    }
}

async fn run(life: &Arc<Life>, memory: &mut Memory, item: Arc<Item>) {
    life.app.stats.prompt_started(&item.prompt_id);
    tracing::info!(promptId = %item.prompt_id, nodes = item.prompt.as_object().map_or(0, Map::len), "prompt started");
    if let Some(after) = life.switches().die_after_ms {
        die_later(life, Duration::from_millis(after));
    }
    let mut events = Events::new(life.clone(), &item.prompt_id, item.client_id());
    let damage = item.prompt.as_object().and_then(|nodes| structure::damage(nodes, &item.extra_data));
    match damage {
        Some(Damage::WorkerDiesSilently) => return life.kill_worker(),
        Some(Damage::ProcessExits) => return die(life).await,
        Some(Damage::WorkerDies) => {
            let mut data = Map::new();
            data.insert("prompt_id".to_owned(), Value::from(item.prompt_id.as_str()));
            events.record("execution_start", data, false);
            return life.kill_worker();
        }
        None => {}
    }
    life.begin();
    let execution = Execution::new(life, memory, &item, events);
    let outcome = execution.run().await;
    let waits = life.switches().history_after_success_ms;
    if outcome.success && waits > 0 {
        tokio::time::sleep(Duration::from_millis(waits)).await;
    }
    let success = outcome.success;
    finish(life, &item, outcome);
    Events::executing_nothing(life, &item.prompt_id, item.client_id());
    tracing::info!(promptId = %item.prompt_id, success, "prompt finished");
}

/// How a prompt ended.
struct Outcome {
    success: bool,
    outputs: Map<String, Value>,
    messages: Vec<Value>,
}

fn finish(life: &Life, item: &Arc<Item>, outcome: Outcome) {
    let switches = life.switches();
    let mut outputs = if switches.empty_outputs { Map::new() } else { outcome.outputs };
    let described = outputs
        .keys()
        .map(|id| (id.clone(), json!({"node_id": id, "display_node": id, "parent_node": null, "real_node_id": id})));
    let meta = described.collect();
    if switches.nan_in_history {
        let values = vec![pyjson::float(f64::NAN), pyjson::float(f64::INFINITY), pyjson::float(f64::NEG_INFINITY)];
        outputs.insert("999".to_owned(), json!({"scores": values}));
    }
    life.app.stats.prompt_finished();
    life.finish(Finished {
        item: item.clone(),
        outputs,
        meta,
        success: outcome.success,
        completed: outcome.success || switches.error_completed_true,
        messages: outcome.messages,
        poisoned: switches.poison_history,
    });
}

/// Whether cached results of nodes that did not run are listed too.
fn lists_cached_outputs(profile: Profile) -> bool {
    profile < Profile::V0_3_70
}

fn die_later(life: &Arc<Life>, after: Duration) {
    let (app, token) = (life.app.clone(), life.token.clone());
    life.tracker.spawn(async move {
        let dies = token.run_until_cancelled(tokio::time::sleep(after)).await.is_some();
        if dies {
            app.die(app.switches().down_ms.map(Duration::from_millis));
        }
    });
}

/// The process dies here; the future never ends.
async fn die(life: &Arc<Life>) {
    life.app.die(life.switches().down_ms.map(Duration::from_millis));
    std::future::pending().await
}
