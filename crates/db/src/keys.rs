//! Keys of callers: who they are, what they may do, when they were used. A key itself is never here, only its hash.

use std::collections::HashMap;

use diesel::prelude::*;
use gateway_core::access::{KeyRights, OwnTerms};
use gateway_core::{Owner, Role, Timestamp};
use serde_json::{Map, Value, json};

use crate::engine::Conn;
use crate::schema::api_keys;
use crate::{Database, DbError};

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredKey {
    /// The part of it that names it.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The hash of the whole key.
    pub hash: String,
    /// Own limits and rights.
    pub rights: KeyRights,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl StoredKey {
    /// The key as whoever looks after keys sees it: without its hash, and rights only where they are set.
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = match json!(self.rights) {
            Value::Object(rights) => rights,
            _ => Map::new(),
        };
        for (name, value) in [
            ("id", json!(self.id)),
            ("name", json!(self.name)),
            ("role", json!(self.role.as_str())),
            ("createdAt", json!(self.created_at)),
            ("createdBy", json!(self.created_by)),
            ("expiresAt", json!(self.expires_at)),
            ("lastUsedAt", json!(self.last_used_at)),
            ("revokedAt", json!(self.revoked_at)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys)]
struct KeyRow {
    id: String,
    name: String,
    role: String,
    hash: String,
    rights: String,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl Database {
    /// Keeps a new key.
    ///
    /// # Errors
    /// [`DbError::Duplicate`] where its id is taken; else where it could not be written.
    pub async fn put_key(&self, key: StoredKey) -> Result<(), DbError> {
        let row = KeyRow {
            id: key.id,
            name: key.name,
            role: key.role.as_str().to_owned(),
            hash: key.hash,
            rights: serde_json::to_string(&key.rights).unwrap_or_else(|_error| String::from("{}")),
            created_at: key.created_at.as_millis(),
            created_by: key.created_by,
            expires_at: key.expires_at.map(Timestamp::as_millis),
            last_used_at: None,
            revoked_at: None,
        };
        self.write(move |connection| {
            diesel::insert_into(api_keys::table).values(&row).execute(connection)?;
            Ok(())
        })
        .await
    }

    /// The key of this id, revoked and expired ones, too.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_key(&self, id: &str) -> Result<Option<StoredKey>, DbError> {
        let id = id.to_owned();
        self.read_row(move |connection| {
            let row: Option<KeyRow> =
                api_keys::table.find(id).select(KeyRow::as_select()).get_result(connection).optional()?;
            row.map(KeyRow::into_key).transpose()
        })
        .await
    }

    /// All keys, the newest first.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn list_keys(&self) -> Result<Vec<StoredKey>, DbError> {
        self.read(|connection| {
            let order = (api_keys::created_at.desc(), api_keys::id);
            let rows: Vec<KeyRow> = api_keys::table.order(order).select(KeyRow::as_select()).load(connection)?;
            rows.into_iter().map(KeyRow::into_key).collect()
        })
        .await
    }

    /// What the keys of owners say of how these share the servers. Of several keys of one owner the newest that says it
    /// counts; those that were revoked or have expired only where no other is left, so that no limit ends with a key whose
    /// jobs still wait.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn owner_terms(&self) -> Result<HashMap<Owner, OwnTerms>, DbError> {
        let now = self.now();
        self.read(move |connection| {
            let order = (api_keys::created_at, api_keys::id);
            let rows: Vec<KeyRow> = api_keys::table.order(order).select(KeyRow::as_select()).load(connection)?;
            let keys = rows.into_iter().map(KeyRow::into_key).collect::<Result<Vec<_>, _>>()?;
            let good = |key: &StoredKey| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now);
            let (good, ended): (Vec<_>, Vec<_>) = keys.into_iter().partition(good);
            let mut terms = terms_of(ended);
            terms.extend(terms_of(good));
            terms.retain(|_, own| *own != OwnTerms::default());
            Ok(terms)
        })
        .await
    }

    /// Whether a key was ever made: a gateway asks for one from then on, also when all are revoked or have expired.
    ///
    /// # Errors
    /// [`DbError`] where that could not be read.
    pub async fn has_keys(&self) -> Result<bool, DbError> {
        self.read_row(|connection| Ok(any(connection)?)).await
    }

    /// Revokes a key. `false` where there is none of this id that was not revoked before.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, DbError> {
        let (id, now) = (id.to_owned(), self.now().as_millis());
        self.write(move |connection| {
            let key = api_keys::table.find(id).filter(api_keys::revoked_at.is_null());
            Ok(diesel::update(key).set(api_keys::revoked_at.eq(now)).execute(connection)? > 0)
        })
        .await
    }

    /// Notes that a key was used at `at`.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn note_key_use(&self, id: &str, at: Timestamp) -> Result<(), DbError> {
        let id = id.to_owned();
        self.write(move |connection| {
            diesel::update(api_keys::table.find(id))
                .set(api_keys::last_used_at.eq(at.as_millis()))
                .execute(connection)?;
            Ok(())
        })
        .await
    }
}

/// Whether there is a key, good or not.
pub(crate) fn any(connection: &mut Conn) -> QueryResult<bool> {
    Ok(api_keys::table.select(api_keys::id).limit(1).get_result::<String>(connection).optional()?.is_some())
}

/// What `keys`, the oldest first, say of their owners.
fn terms_of(keys: Vec<StoredKey>) -> HashMap<Owner, OwnTerms> {
    let mut terms: HashMap<Owner, OwnTerms> = HashMap::new();
    for key in keys {
        let own = terms.entry(Owner::new(key.name)).or_default();
        own.running = key.rights.running_limit.or(own.running);
        own.weight = key.rights.weight.or(own.weight);
    }
    terms
}

impl KeyRow {
    fn into_key(self) -> Result<StoredKey, DbError> {
        let bad = |reason: &str| DbError::Corrupt { row: format!("api_keys/{}", self.id), reason: reason.to_owned() };
        Ok(StoredKey {
            role: Role::parse(&self.role).ok_or_else(|| bad("role"))?,
            rights: serde_json::from_str(&self.rights).map_err(|error| bad(&format!("rights: {error}")))?,
            id: self.id,
            name: self.name,
            hash: self.hash,
            created_at: Timestamp::from_millis(self.created_at),
            created_by: self.created_by,
            expires_at: self.expires_at.map(Timestamp::from_millis),
            last_used_at: self.last_used_at.map(Timestamp::from_millis),
            revoked_at: self.revoked_at.map(Timestamp::from_millis),
        })
    }
}
