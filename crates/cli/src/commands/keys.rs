//! `keys create`, `keys list` and `keys revoke`: in the database, or through the gateway that holds it.

use gateway_auth::key::ApiKey;
use gateway_config::{Overrides, Settings};
use gateway_core::access::{KeyRights, MAX_WORKFLOWS};
use gateway_core::{Owner, Role, Timestamp};
use gateway_db::{Database, DbError, NewAudit, StoredKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{CreateKey, Keys, KeysCommand, Setting};
use crate::exit::Failure;
use crate::http::{Remote, elsewhere};
use crate::stores::open_beside;

const DAY_MS: i64 = 86_400_000;
/// Who did it, in the audit log.
const ACTOR: &str = "cli";

/// Runs one of them.
pub(crate) async fn run(setting: &Setting<'_>, keys: Keys) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let place = Place::open(&settings, keys.gateway.as_deref()).await?;
    match keys.command {
        KeysCommand::Create(args) => create(setting, &place, args).await,
        KeysCommand::List => list(setting, &place).await,
        KeysCommand::Revoke { id } => revoke(setting, &place, &id).await,
    }
}

/// Where the keys are.
enum Place {
    Database(Database),
    /// A gateway that was named, or that holds the database.
    Gateway(Remote, Option<DbError>),
}

impl Place {
    async fn open(settings: &Settings, gateway: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = gateway {
            return Ok(Self::Gateway(Remote::new(url)?.with_key(settings), None));
        }
        match open_beside(settings).await {
            Ok(database) => Ok(Self::Database(database)),
            Err(held @ DbError::InUse { .. }) => Ok(Self::Gateway(Remote::local(settings)?, Some(held))),
            Err(error) => Err(Failure::failed(error)),
        }
    }
}

async fn create(setting: &Setting<'_>, place: &Place, args: CreateKey) -> Result<(), Failure> {
    let rights = KeyRights {
        rate_limit: args.rate_limit,
        queue_limit: args.queue_limit,
        running_limit: args.running_limit,
        weight: args.weight,
        workflows: Some(args.workflow.clone()).filter(|workflows| !workflows.is_empty()),
        raw: args.raw,
    };
    let made = match place {
        Place::Database(database) => store(database, &args, rights).await?,
        Place::Gateway(remote, held) => {
            let mut body = json!(rights);
            if let Some(object) = body.as_object_mut() {
                object.insert(String::from("name"), json!(args.name));
                object.insert(String::from("role"), json!(args.role));
                if let Some(days) = args.expires_days {
                    object.insert(String::from("expiresAt"), json!(now()?.plus_millis(i64::from(days) * DAY_MS)));
                }
            }
            let made = remote.send(Method::POST, "/keys", Some(&body)).await;
            made.map_err(|error| elsewhere(error, held.as_ref()))?
        }
    };
    let key = made.get("key").and_then(Value::as_str).unwrap_or_default();
    setting
        .output
        .say(format!("{key}\n\nIt is shown this once; send it as X-API-Key. Its jobs belong to {}.", args.name));
    setting.output.json(&made);
    Ok(())
}

async fn store(database: &Database, args: &CreateKey, rights: KeyRights) -> Result<Value, Failure> {
    let role = Role::parse(&args.role).ok_or_else(|| Failure::usage("--role must be admin or user"))?;
    if Owner::named(&args.name).is_none() {
        let allowed = "1 to 64 of A-Z, a-z, 0-9, ., _, @ and -, not beginning with key- and not local";
        return Err(Failure::usage(format!("--name must be {allowed}")));
    }
    if args.workflow.len() > MAX_WORKFLOWS {
        return Err(Failure::usage(format!("--workflow can be given {MAX_WORKFLOWS} times at most")));
    }
    let secret = ApiKey::generate(&rand::random());
    let now = database.now();
    let key = StoredKey {
        id: secret.id().to_owned(),
        name: args.name.clone(),
        role,
        hash: secret.hash().to_hex(),
        rights,
        created_at: now,
        created_by: ACTOR.to_owned(),
        expires_at: args.expires_days.map(|days| now.plus_millis(i64::from(days) * DAY_MS)),
        last_used_at: None,
        revoked_at: None,
    };
    database.put_key(key).await.map_err(Failure::failed)?;
    note(database, "key.create", secret.id()).await?;
    Ok(json!({"id": secret.id(), "name": args.name, "role": role.as_str(), "key": secret.expose()}))
}

async fn list(setting: &Setting<'_>, place: &Place) -> Result<(), Failure> {
    let items: Vec<Value> = match place {
        Place::Database(database) => {
            let keys = database.list_keys().await.map_err(Failure::failed)?;
            keys.iter().map(view).collect()
        }
        Place::Gateway(remote, held) => {
            let answer = remote.get("/keys").await.map_err(|error| elsewhere(error, held.as_ref()))?;
            answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
        }
    };
    if items.is_empty() {
        setting.output.say("there are no keys in the database; `comfyui-gateway keys create --name NAME` makes one");
    }
    for item in &items {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or("-");
        let state = if item.get("revokedAt").is_some_and(Value::is_string) { "revoked" } else { "" };
        setting.output.say(format!(
            "{:<10} {:<24} {:<6} last used {:<26} expires {:<26} {state}",
            text("id"),
            text("name"),
            text("role"),
            text("lastUsedAt"),
            text("expiresAt")
        ));
    }
    setting.output.json(&json!({"items": items}));
    Ok(())
}

fn view(key: &StoredKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role.as_str(),
        "createdAt": key.created_at,
        "createdBy": key.created_by,
        "expiresAt": key.expires_at,
        "lastUsedAt": key.last_used_at,
        "revokedAt": key.revoked_at,
    })
}

async fn revoke(setting: &Setting<'_>, place: &Place, id: &str) -> Result<(), Failure> {
    match place {
        Place::Database(database) => {
            if !database.revoke_key(id).await.map_err(Failure::failed)? {
                return Err(Failure::failed(format!("there is no key {id} that was not revoked before")));
            }
            note(database, "key.revoke", id).await?;
        }
        Place::Gateway(remote, held) => {
            let sent = remote.send(Method::DELETE, &format!("/keys/{id}"), None).await;
            sent.map_err(|error| elsewhere(error, held.as_ref()))?;
        }
    }
    setting.output.say(format!("{id} is revoked: within a second no replica takes it any more"));
    setting.output.json(&json!({"id": id, "revoked": true}));
    Ok(())
}

async fn note(database: &Database, action: &'static str, target: &str) -> Result<(), Failure> {
    let entry = NewAudit {
        actor: ACTOR.to_owned(),
        action,
        target: target.to_owned(),
        correlation_id: String::new(),
        address: String::new(),
        detail: String::new(),
    };
    database.audit(entry).await.map(drop).map_err(Failure::failed)
}

fn now() -> Result<Timestamp, Failure> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    millis.map(Timestamp::from_millis).ok_or_else(|| Failure::failed("this machine's clock is before 1970"))
}
