//! `list-workflows`.

use gateway_config::Overrides;
use serde_json::{Value, json};

use crate::cli::{ListWorkflows, Setting};
use crate::exit::Failure;
use crate::place::Place;

/// Lists from the database, or from the gateway that holds it.
pub(crate) async fn run(setting: &Setting<'_>, args: ListWorkflows) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let items = match &args.gateway {
        // A look makes nothing.
        None if settings.database.file().is_some_and(|path| !path.exists()) => Vec::new(),
        gateway => list(&Place::open(&settings, gateway.as_deref()).await?).await?,
    };
    if items.is_empty() {
        setting.output.say("no workflows are registered; `comfyui-gateway init` registers the bundled ones");
    }
    for item in &items {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = item.get("version").and_then(Value::as_i64).unwrap_or_default();
        setting.output.say(format!("{:<28} v{version:<4} {} - {}", text("id"), text("name"), text("description")));
    }
    setting.output.json(&json!({"items": items}));
    Ok(())
}

async fn list(place: &Place) -> Result<Vec<Value>, Failure> {
    match place {
        Place::Database(database) => {
            let workflows = database.list_workflows().await.map_err(Failure::failed)?;
            Ok(workflows.iter().map(|workflow| Value::Object(workflow.shown())).collect())
        }
        Place::Gateway(remote) => {
            let mut items = remote.items("/workflows").await?;
            // It is about the key that was shown, and no property of a workflow.
            items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| drop(item.remove("mayRun")));
            Ok(items)
        }
    }
}
