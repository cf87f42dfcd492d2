//! `keys create`, `keys list` and `keys revoke`: in the database, or through the gateway that holds it.

use gateway_auth::key::ApiKey;
use gateway_config::Overrides;
use gateway_core::access::{KeyRights, MAX_WORKFLOWS};
use gateway_core::owner::NAMES;
use gateway_core::{Owner, Role, Timestamp};
use gateway_db::{Database, NewAudit, StoredKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{CreateKey, Keys, KeysCommand, Setting};
use crate::exit::Failure;
use crate::http::Remote;
use crate::place::{Place, missing};

const DAY_MS: i64 = 86_400_000;
/// Who did it, in the audit log.
const ACTOR: &str = "cli";

/// Runs one of them.
pub(crate) async fn run(setting: &Setting<'_>, keys: Keys) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let gateway = keys.gateway.as_deref();
    match keys.command {
        KeysCommand::Create(args) => {
            let missing = missing(&settings).filter(|_path| gateway.is_none());
            create(setting, &Place::open(&settings, gateway).await?, args).await?;
            if let Some(path) = missing {
                let path = path.display();
                setting.output.note(format!("made {path} for it; a gateway that runs elsewhere: --gateway URL"));
            }
            Ok(())
        }
        KeysCommand::List => list(setting, &Place::of_existing(&settings, gateway).await?).await,
        KeysCommand::Revoke { id } => revoke(setting, &Place::of_existing(&settings, gateway).await?, &id).await,
    }
}

/// What a new key is to be.
struct Wish {
    name: String,
    role: Role,
    rights: KeyRights,
    /// How long it is good for.
    lasts_ms: Option<i64>,
}

impl Wish {
    /// What `args` ask for, where there can be such a key.
    fn read(args: CreateKey) -> Result<Self, Failure> {
        if Owner::named(&args.name).is_none() {
            return Err(Failure::usage(format!("--name must be {NAMES}")));
        }
        if args.workflow.len() > MAX_WORKFLOWS {
            return Err(Failure::usage(format!("--workflow can be given {MAX_WORKFLOWS} times at most")));
        }
        let rights = KeyRights {
            rate_limit: args.rate_limit,
            queue_limit: args.queue_limit,
            running_limit: args.running_limit,
            weight: args.weight,
            workflows: Some(args.workflow).filter(|workflows| !workflows.is_empty()),
            raw: args.raw,
        };
        Ok(Self {
            name: args.name,
            role: Role::parse(&args.role).ok_or_else(|| Failure::usage("--role must be admin or user"))?,
            rights,
            lasts_ms: args.expires_days.map(|days| i64::from(days) * DAY_MS),
        })
    }

    /// Makes the key in the database.
    async fn store(self, database: &Database) -> Result<Value, Failure> {
        let secret = ApiKey::generate(&rand::random());
        let now = database.now();
        let key = StoredKey {
            id: secret.id().to_owned(),
            name: self.name,
            role: self.role,
            hash: secret.hash().to_hex(),
            rights: self.rights,
            created_at: now,
            created_by: ACTOR.to_owned(),
            expires_at: self.lasts_ms.map(|millis| now.plus_millis(millis)),
            last_used_at: None,
            revoked_at: None,
        };
        let mut made = key.shown();
        made.insert(String::from("key"), json!(secret.expose()));
        database.put_key(key).await.map_err(Failure::failed)?;
        note(database, "key.create", secret.id()).await?;
        Ok(Value::Object(made))
    }

    /// Has a gateway make the key.
    async fn send(self, remote: &Remote) -> Result<Value, Failure> {
        let mut body = json!(self.rights);
        if let Some(object) = body.as_object_mut() {
            object.insert(String::from("name"), json!(self.name));
            object.insert(String::from("role"), json!(self.role.as_str()));
            if let Some(millis) = self.lasts_ms {
                object.insert(String::from("expiresAt"), json!(now()?.plus_millis(millis)));
            }
        }
        remote.send(Method::POST, "/keys", Some(&body)).await
    }
}

async fn create(setting: &Setting<'_>, place: &Place, args: CreateKey) -> Result<(), Failure> {
    let wish = Wish::read(args)?;
    let name = wish.name.clone();
    let made = match place {
        Place::Database(database) => wish.store(database).await?,
        Place::Gateway(remote) => wish.send(remote).await?,
    };
    let key = made.get("key").and_then(Value::as_str).unwrap_or_default();
    setting.output.say(format!("{key}\n\nIt is shown this once; send it as X-API-Key. Its jobs belong to {name}."));
    setting.output.json(&made);
    Ok(())
}

async fn list(setting: &Setting<'_>, place: &Place) -> Result<(), Failure> {
    let items: Vec<Value> = match place {
        Place::Database(database) => {
            let keys = database.list_keys().await.map_err(Failure::failed)?;
            keys.iter().map(|key| Value::Object(key.shown())).collect()
        }
        Place::Gateway(remote) => remote.items("/keys").await?,
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

async fn revoke(setting: &Setting<'_>, place: &Place, id: &str) -> Result<(), Failure> {
    match place {
        Place::Database(database) => {
            if !database.revoke_key(id).await.map_err(Failure::failed)? {
                return Err(Failure::failed(format!("there is no key {id} that was not revoked before")));
            }
            note(database, "key.revoke", id).await?;
        }
        Place::Gateway(remote) => {
            remote.send(Method::DELETE, &format!("/keys/{id}"), None).await?;
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
