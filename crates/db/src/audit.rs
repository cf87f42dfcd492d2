//! What was done by whom: rows that are only ever added, each chained to the one before by its hash. What a hash is made
//! of belongs to gateway-core.

use diesel::prelude::*;
use gateway_core::Timestamp;
use gateway_core::audit::{AuditEntry, AuditRecord, FIRST, link};

use crate::engine::Conn;
use crate::schema::audit;
use crate::{Database, DbError};

/// Whoever adds goes one at a time: each needs the hash of the one before.
const TURN: &str = "audit";

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// At this time or later.
    pub after: Option<Timestamp>,
    /// Before this time.
    pub before: Option<Timestamp>,
}

/// What is to be noted.
#[derive(Debug, Clone)]
pub struct NewAudit {
    /// By whom.
    pub actor: String,
    /// What kind of thing, such as `workflow.create`.
    pub action: &'static str,
    /// What it was done to.
    pub target: String,
    /// Follows the request through every log line.
    pub correlation_id: String,
    /// The client's address.
    pub address: String,
    /// What else there is to say; no secret, no input of a job.
    pub detail: String,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit)]
struct AuditRow {
    seq: i64,
    time: i64,
    actor: String,
    action: String,
    target: String,
    correlation_id: String,
    address: String,
    detail: String,
    hash: String,
}

impl Database {
    /// Adds an entry; gives what became of it.
    ///
    /// # Errors
    /// [`DbError`] where it was not added.
    pub async fn audit(&self, new: NewAudit) -> Result<AuditRecord, DbError> {
        let now = self.now();
        self.write_in_turn(vec![TURN.to_owned()], move |connection| add(connection, &new, now)).await
    }

    /// A page of at most `limit` entries, newest first, before the one numbered `cursor`.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn list_audit(
        &self,
        filter: AuditFilter,
        cursor: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, DbError> {
        self.read(move |connection| {
            let mut query =
                audit::table.select(AuditRow::as_select()).order(audit::seq.desc()).limit(limit).into_boxed();
            if let Some(actor) = filter.actor {
                query = query.filter(audit::actor.eq(actor));
            }
            if let Some(action) = filter.action {
                query = query.filter(audit::action.eq(action));
            }
            if let Some(after) = filter.after {
                query = query.filter(audit::time.ge(after.as_millis()));
            }
            if let Some(before) = filter.before {
                query = query.filter(audit::time.lt(before.as_millis()));
            }
            if let Some(cursor) = cursor {
                query = query.filter(audit::seq.lt(cursor));
            }
            Ok(query.load::<AuditRow>(connection)?.into_iter().map(AuditRow::into_record).collect())
        })
        .await
    }

    /// At most `limit` entries after the one numbered `after`, the oldest first: to verify the chain.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn audit_chain(&self, after: i64, limit: i64) -> Result<Vec<AuditRecord>, DbError> {
        self.read(move |connection| {
            let rows: Vec<AuditRow> = audit::table
                .filter(audit::seq.gt(after))
                .order(audit::seq)
                .limit(limit)
                .select(AuditRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(AuditRow::into_record).collect())
        })
        .await
    }
}

fn add(connection: &mut Conn, new: &NewAudit, now: Timestamp) -> Result<AuditRecord, DbError> {
    let last: Option<(i64, String)> = audit::table
        .order(audit::seq.desc())
        .select((audit::seq, audit::hash))
        .limit(1)
        .get_result(connection)
        .optional()?;
    let (seq, previous) = last.map_or((1, FIRST.to_owned()), |(seq, hash)| (seq + 1, hash));
    let entry = AuditEntry {
        seq,
        time: now,
        actor: new.actor.clone(),
        action: new.action.to_owned(),
        target: new.target.clone(),
        correlation_id: new.correlation_id.clone(),
        address: new.address.clone(),
        detail: new.detail.clone(),
    };
    let row = AuditRow {
        hash: link(&previous, &entry),
        seq,
        time: now.as_millis(),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        correlation_id: entry.correlation_id,
        address: entry.address,
        detail: entry.detail,
    };
    diesel::insert_into(audit::table).values(&row).execute(connection)?;
    Ok(row.into_record())
}

impl AuditRow {
    fn into_record(self) -> AuditRecord {
        let entry = AuditEntry {
            seq: self.seq,
            time: Timestamp::from_millis(self.time),
            actor: self.actor,
            action: self.action,
            target: self.target,
            correlation_id: self.correlation_id,
            address: self.address,
            detail: self.detail,
        };
        AuditRecord { entry, hash: self.hash }
    }
}
