//! Messages to the owners of jobs: an outbox. A message is written in the transaction that makes it true; whoever sends
//! it holds it for a while, and notes each try. Sends nothing.

mod room;

use std::time::Duration;

use diesel::prelude::*;
use gateway_core::webhook::WebhookEvent;
use gateway_core::{DeliveryId, Scope, Timestamp, TraceParent};
use serde_json::{Value, json};

use crate::engine::Conn;
use crate::schema::{deliveries, delivery_tries};
use crate::{Database, DbError};

use self::room::HostRoom;

const PENDING: &str = "pending";
const DELIVERED: &str = "delivered";
const FAILED: &str = "failed";
/// Whoever looks for messages to be sent goes one at a time, so that no host is sent more than it may.
const TURN: &str = "deliveries";

/// A message to be written.
pub(crate) struct Message<'a> {
    pub(crate) owner: &'a str,
    /// The job or batch that it is about.
    pub(crate) subject: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) trace_parent: Option<TraceParent>,
    pub(crate) url: &'a str,
    pub(crate) event: WebhookEvent,
    pub(crate) data: Value,
}

/// A message that is due, held by whoever asked for it.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// What it tells.
    pub event: String,
    /// The job or batch that it is about.
    pub subject: String,
    /// Where to.
    pub url: String,
    /// The host and port of that.
    pub host: String,
    /// What: the same bytes on every try.
    pub body: String,
    /// Follows its job through every log line.
    pub correlation_id: String,
    /// The trace that it belongs to.
    pub trace_parent: Option<TraceParent>,
    /// The number of this try.
    pub try_number: i32,
    /// Tries that have failed so far.
    pub failures: i32,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryTry {
    /// When it began.
    pub time: Timestamp,
    /// What the receiver answered.
    pub http_status: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// Why it failed.
    pub error: Option<String>,
}

/// What follows from a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTry {
    /// It arrived.
    Delivered,
    /// It is tried again then.
    At(Timestamp),
    /// It is not tried again.
    Never,
}

/// A message with its tries.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// What it tells.
    pub event: String,
    /// Where to.
    pub url: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// Its tries, the first one first.
    pub tries: Vec<DeliveryTry>,
}

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
struct DueRow {
    id: String,
    event: String,
    subject_id: String,
    url: String,
    host: String,
    body: String,
    correlation_id: String,
    trace_parent: Option<String>,
    tries: i32,
    failures: i32,
}

/// Writes a message; it is due at once.
pub(crate) fn tell(connection: &mut Conn, message: Message<'_>, now: Timestamp) -> Result<(), DbError> {
    let id = DeliveryId::new(now, rand::random());
    let body = json!({"type": message.event, "id": id, "timestamp": now, "data": message.data}).to_string();
    let row = (
        deliveries::id.eq(id.to_string()),
        deliveries::owner.eq(message.owner),
        deliveries::subject_id.eq(message.subject),
        deliveries::event.eq(message.event.as_str()),
        deliveries::url.eq(message.url),
        deliveries::host.eq(host_of(message.url)),
        deliveries::body.eq(body),
        deliveries::correlation_id.eq(message.correlation_id),
        deliveries::trace_parent.eq(message.trace_parent.map(|trace| trace.to_string())),
        deliveries::status.eq(PENDING),
        deliveries::next_at.eq(now.as_millis()),
        deliveries::created_at.eq(now.as_millis()),
    );
    diesel::insert_into(deliveries::table).values(row).execute(connection)?;
    Ok(())
}

fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    host.unwrap_or_default()
}

impl Database {
    /// Messages that are due, at most `limit`, and at most `per_host` of a host under way at a time. Whoever gets them
    /// has them for the length of `lease`.
    ///
    /// # Errors
    /// [`DbError`] where none could be had.
    pub async fn due_deliveries(
        &self,
        limit: usize,
        per_host: usize,
        lease: Duration,
    ) -> Result<Vec<DueDelivery>, DbError> {
        let now = self.now();
        self.write(move |connection| {
            if !connection.try_turn(TURN)? {
                return Ok(Vec::new());
            }
            let mut room = HostRoom::read(connection, per_host, now)?;
            let mut chosen = Vec::new();
            while chosen.len() < limit {
                let page = due_page(connection, room.full(), now, limit)?;
                let before = chosen.len();
                for row in &page {
                    if chosen.len() < limit
                        && !chosen.iter().any(|known: &DueRow| known.id == row.id)
                        && room.take(&row.host)
                    {
                        chosen.push(row.clone());
                    }
                }
                if chosen.len() == before || page.len() < limit {
                    break;
                }
            }
            let until = now.plus_millis(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)).as_millis();
            let ids: Vec<String> = chosen.iter().map(|row| row.id.clone()).collect();
            diesel::update(deliveries::table.filter(deliveries::id.eq_any(ids)))
                .set((deliveries::lease_until.eq(until), deliveries::tries.eq(deliveries::tries + 1)))
                .execute(connection)?;
            chosen.into_iter().map(due).collect()
        })
        .await
    }

    /// Notes how a try ended. `false` where the message was given to somebody else meanwhile: nothing changed then.
    ///
    /// # Errors
    /// [`DbError`] where it could not be noted; it is sent once more then.
    pub async fn note_try(
        &self,
        id: DeliveryId,
        number: i32,
        tried: DeliveryTry,
        next: NextTry,
    ) -> Result<bool, DbError> {
        self.write(move |connection| {
            let held = deliveries::table
                .find(id.to_string())
                .filter(deliveries::status.eq(PENDING))
                .filter(deliveries::tries.eq(number))
                .filter(deliveries::lease_until.is_not_null());
            let ended_at = tried.time.plus_millis(tried.duration_ms).as_millis();
            let (status, next_at, ended_at, failed) = match next {
                NextTry::Delivered => (DELIVERED, None, Some(ended_at), 0),
                NextTry::Never => (FAILED, None, Some(ended_at), 1),
                NextTry::At(at) => (PENDING, Some(at.as_millis()), None, 1),
            };
            let changed = diesel::update(held)
                .set((
                    deliveries::status.eq(status),
                    next_at.map(|at| deliveries::next_at.eq(at)),
                    deliveries::lease_until.eq(None::<i64>),
                    deliveries::failures.eq(deliveries::failures + failed),
                    deliveries::ended_at.eq(ended_at),
                ))
                .execute(connection)?;
            if changed == 0 {
                return Ok(false);
            }
            let row = (
                delivery_tries::delivery_id.eq(id.to_string()),
                delivery_tries::seq.eq(number),
                delivery_tries::time.eq(tried.time.as_millis()),
                delivery_tries::http_status.eq(tried.http_status),
                delivery_tries::duration_ms.eq(tried.duration_ms),
                delivery_tries::error.eq(&tried.error),
            );
            diesel::insert_into(delivery_tries::table).values(row).execute(connection)?;
            Ok(true)
        })
        .await
    }

    /// When the next message is due that nobody has.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>, DbError> {
        let now = self.now().as_millis();
        self.read_row(move |connection| {
            let next: Option<i64> = next_free(now).limit(1).get_result(connection).optional()?;
            Ok(next.map(Timestamp::from_millis))
        })
        .await
    }

    /// The messages about a job or batch with their tries, the first one first.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn deliveries_of(&self, subject: &str) -> Result<Vec<DeliveryRecord>, DbError> {
        let subject = subject.to_owned();
        self.read(move |connection| {
            type Row = (String, String, String, String, i64, i64);
            let rows: Vec<Row> = deliveries::table
                .filter(deliveries::subject_id.eq(&subject))
                .order(deliveries::id)
                .select((
                    deliveries::id,
                    deliveries::event,
                    deliveries::url,
                    deliveries::status,
                    deliveries::created_at,
                    deliveries::next_at,
                ))
                .load(connection)?;
            rows.into_iter()
                .map(|(id, event, url, status, created_at, next_at)| {
                    Ok(DeliveryRecord {
                        tries: tries_of(connection, &id)?,
                        id: parse(&id)?,
                        event,
                        url,
                        created_at: Timestamp::from_millis(created_at),
                        next_at: (status == PENDING).then(|| Timestamp::from_millis(next_at)),
                        status,
                    })
                })
                .collect()
        })
        .await
    }

    /// Has a message sent once more, whether it arrived or not, from the start of its schedule. `false` where there is
    /// none for this caller.
    ///
    /// # Errors
    /// [`DbError`] where it could not be noted.
    pub async fn redeliver(&self, subject: &str, id: DeliveryId, scope: Scope) -> Result<bool, DbError> {
        let (subject, now) = (subject.to_owned(), self.now().as_millis());
        self.write(move |connection| {
            let mut found = deliveries::table.select(deliveries::id).into_boxed();
            found = found.filter(deliveries::id.eq(id.to_string())).filter(deliveries::subject_id.eq(subject.clone()));
            if let Scope::Owner(owner) = &scope {
                found = found.filter(deliveries::owner.eq(owner.as_str().to_owned()));
            }
            if found.get_result::<String>(connection).optional()?.is_none() {
                return Ok(false);
            }
            diesel::update(deliveries::table.find(id.to_string()))
                .set((
                    deliveries::status.eq(PENDING),
                    deliveries::next_at.eq(now),
                    deliveries::failures.eq(0),
                    deliveries::ended_at.eq(None::<i64>),
                ))
                .execute(connection)?;
            Ok(true)
        })
        .await
    }
}

/// When the messages are due that nobody has, the first one first.
#[diesel::dsl::auto_type(no_type_alias)]
pub(crate) fn next_free(now: i64) -> _ {
    let pending: &'static str = PENDING;
    deliveries::table
        .filter(deliveries::status.eq(pending))
        .filter(deliveries::lease_until.is_null().or(deliveries::lease_until.le(now)))
        .order(deliveries::next_at)
        .select(deliveries::next_at)
}

fn due_page(connection: &mut Conn, full: Vec<String>, now: Timestamp, limit: usize) -> QueryResult<Vec<DueRow>> {
    let free = deliveries::lease_until.is_null().or(deliveries::lease_until.le(now.as_millis()));
    deliveries::table
        .filter(deliveries::status.eq(PENDING))
        .filter(deliveries::next_at.le(now.as_millis()))
        .filter(free)
        .filter(deliveries::host.ne_all(full))
        .order((deliveries::next_at, deliveries::id))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(DueRow::as_select())
        .load(connection)
}

fn due(row: DueRow) -> Result<DueDelivery, DbError> {
    Ok(DueDelivery {
        id: parse(&row.id)?,
        event: row.event,
        subject: row.subject_id,
        url: row.url,
        host: row.host,
        body: row.body,
        correlation_id: row.correlation_id,
        trace_parent: row.trace_parent.and_then(|text| text.parse().ok()),
        try_number: row.tries + 1,
        failures: row.failures,
    })
}

fn parse(id: &str) -> Result<DeliveryId, DbError> {
    id.parse().map_err(|_error| DbError::Corrupt { row: format!("deliveries/{id}"), reason: String::from("id") })
}

fn tries_of(connection: &mut Conn, id: &str) -> QueryResult<Vec<DeliveryTry>> {
    let rows: Vec<(i64, Option<i32>, i64, Option<String>)> = delivery_tries::table
        .filter(delivery_tries::delivery_id.eq(id))
        .order(delivery_tries::seq)
        .select((delivery_tries::time, delivery_tries::http_status, delivery_tries::duration_ms, delivery_tries::error))
        .load(connection)?;
    let of = |(time, http_status, duration_ms, error)| DeliveryTry {
        time: Timestamp::from_millis(time),
        http_status,
        duration_ms,
        error,
    };
    Ok(rows.into_iter().map(of).collect())
}
