//! `list-workflows`.

use gateway_config::{Overrides, Settings};
use gateway_db::{DbError, WorkflowSummary};
use serde_json::{Value, json};

use crate::cli::{ListWorkflows, Setting};
use crate::exit::Failure;
use crate::http::{Remote, elsewhere};
use crate::stores::open_beside;

/// Lists from the database, or from the gateway that holds it.
pub(crate) async fn run(setting: &Setting<'_>, args: ListWorkflows) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let items = match &args.gateway {
        Some(url) => of_gateway(&Remote::new(url)?.with_key(&settings)).await?,
        // A look makes nothing.
        None if settings.database.file().is_some_and(|path| !path.exists()) => Vec::new(),
        None => of_database(&settings).await?,
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

async fn of_gateway(remote: &Remote) -> Result<Vec<Value>, Failure> {
    let answer = remote.get("/workflows").await?;
    Ok(answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

async fn of_database(settings: &Settings) -> Result<Vec<Value>, Failure> {
    let opened = open_beside(settings).await;
    let view =
        |w: WorkflowSummary| json!({"id": w.id, "name": w.name, "description": w.description, "version": w.version});
    match opened {
        Ok(database) => {
            let workflows = database.list_workflows().await.map_err(Failure::failed)?;
            Ok(workflows.into_iter().map(view).collect())
        }
        Err(held @ DbError::InUse { .. }) => {
            of_gateway(&Remote::local(settings)?).await.map_err(|error| elsewhere(error, &held))
        }
        Err(error) => Err(Failure::failed(error)),
    }
}
