//! `list-workflows`.

use gateway_config::Overrides;
use gateway_db::{Database, DbError};
use serde_json::{Value, json};

use crate::cli::Setting;
use crate::exit::Failure;
use crate::http::Remote;

/// Lists from the database, or from the gateway that holds it.
pub(crate) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let database_settings = settings.database.clone();
    let opened = tokio::task::spawn_blocking(move || Database::open(&database_settings)).await;
    let items: Vec<Value> = match opened.map_err(Failure::failed)? {
        Ok(database) => database
            .list_workflows()
            .await
            .map_err(Failure::failed)?
            .into_iter()
            .map(|w| json!({"id": w.id, "name": w.name, "description": w.description, "version": w.version}))
            .collect(),
        Err(DbError::InUse { .. }) => {
            let answer = Remote::local(&settings)?.get("/workflows").await?;
            answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        Err(error) => return Err(Failure::failed(error)),
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
