//! Figures on what goes on at the moment, for whoever watches a gateway. They cost by what waits and runs, not by what has
//! ended.

use diesel::dsl::{count_star, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gateway_core::{JobStatus, Priority, Timestamp};

use crate::deliveries::next_free;
use crate::engine::{Conn, on_engine};
use crate::rows::JOINED;
use crate::schema::jobs;
use crate::{Database, DbError};

/// When a waiting job that is due began to wait, of the one that has waited longest.
const SINCE: &str = "min(CASE WHEN not_before > created_at THEN not_before ELSE created_at END)";
/// How many messages are to be sent; nobody has to know it exactly where there are very many.
pub(super) const MESSAGES: &str =
    "SELECT count(*) AS number FROM (SELECT 1 FROM deliveries WHERE status = 'pending' LIMIT 100000) AS pending";

/// What waits and runs, and what is to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Waiting jobs that are due, by lane, the most urgent first.
    pub lanes: Vec<LaneFigures>,
    /// Waiting jobs that are not due yet.
    pub delayed: i64,
    /// Jobs that wait for an identical one.
    pub joined: i64,
    /// Jobs that run.
    pub running: i64,
    /// Messages that are to be sent, counted to 100,000.
    pub messages: i64,
    /// When the message was due that is most overdue, of those that nobody has in hand.
    pub overdue_since: Option<Timestamp>,
}

/// Waiting jobs of one lane that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneFigures {
    /// The lane.
    pub priority: Priority,
    /// How many wait.
    pub waiting: i64,
    /// Since when the one waits that has waited longest.
    pub since: Option<Timestamp>,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Level, number and longest wait of the waiting jobs that are due.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn due_by_level(now: i64) -> _ {
    let queued: &'static str = JobStatus::Queued.as_str();
    let since: SqlLiteral<BigInt> = sql(SINCE);
    jobs::table
        .filter(jobs::status.eq(queued))
        .filter(jobs::not_before.is_null().or(jobs::not_before.le(now)))
        .group_by(jobs::priority)
        .select((jobs::priority, count_star(), since))
}

/// Jobs in a state, as it is stored.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn in_state(state: &'static str) -> _ {
    jobs::table.filter(jobs::status.eq(state)).select(count_star())
}

/// Waiting jobs that are not due yet.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn delayed(now: i64) -> _ {
    let queued: &'static str = JobStatus::Queued.as_str();
    jobs::table.filter(jobs::status.eq(queued)).filter(jobs::not_before.gt(now)).select(count_star())
}

/// The waiting jobs that are due, by lane.
pub(super) fn lanes(connection: &mut Conn, now: Timestamp) -> QueryResult<Vec<LaneFigures>> {
    let levels: Vec<(i32, i64, i64)> = due_by_level(now.as_millis()).load(connection)?;
    let of = |priority: Priority| {
        let level = levels.iter().find(|(level, ..)| *level == priority.level());
        let (waiting, since) = level.map_or((0, None), |(_, waiting, since)| (*waiting, Some(*since)));
        LaneFigures { priority, waiting, since: since.map(Timestamp::from_millis) }
    };
    Ok(Priority::LANES.map(of).to_vec())
}

impl Database {
    /// What waits and runs, and what is to be sent.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn figures(&self) -> Result<Figures, DbError> {
        let now = self.now();
        self.read(move |connection| {
            let messages: Number = on_engine!(connection, inner => diesel::sql_query(MESSAGES).get_result(inner))?;
            let next: Option<i64> = next_free(now.as_millis()).limit(1).get_result(connection).optional()?;
            Ok(Figures {
                lanes: lanes(connection, now)?,
                delayed: delayed(now.as_millis()).get_result(connection)?,
                joined: in_state(JOINED).get_result(connection)?,
                running: in_state(JobStatus::Running.as_str()).get_result(connection)?,
                messages: messages.number,
                overdue_since: next.map(Timestamp::from_millis).filter(|due| *due <= now),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_core::Scope;
    use gateway_core::record::JobOptions;
    use gateway_core::webhook::{Callback, WebhookEvent};

    use super::*;
    use crate::jobs::tests::{accept_and_claim, job};
    use crate::testing::{Place, on_both_engines};
    use crate::{Filter, NewJob};

    on_both_engines!(
        what_waits_and_runs_is_told_by_lane_and_by_when_its_wait_began,
        a_message_is_overdue_until_somebody_has_it_in_hand,
    );

    async fn what_waits_and_runs_is_told_by_lane_and_by_when_its_wait_began(place: Place) {
        let database = place.open();
        let now = database.now();
        let lane = |figures: &Figures, priority| {
            let lane = figures.lanes.iter().find(|lane| lane.priority == priority).copied().unwrap();
            (lane.waiting, lane.since)
        };
        let empty = database.figures().await.unwrap();
        assert_eq!(empty.lanes.len(), 3);
        assert_eq!(lane(&empty, Priority::Normal), (0, None));

        // Accepted first, but due only lately; and one that waits since it was accepted.
        let due = now.plus_millis(-1_000);
        let first = NewJob { not_before: Some(due), ..job(1, "a") };
        let second = job(2, "a");
        let later = NewJob { not_before: Some(now.plus_millis(60_000)), ..job(3, "a") };
        let urgent = NewJob { priority: Priority::High, not_before: Some(due), ..job(4, "a") };
        for new in [&first, &second, &later, &urgent] {
            database.accept_job(new).await.unwrap();
        }
        let leader =
            NewJob { options: JobOptions { cache_key: Some("k".into()), ..JobOptions::default() }, ..job(5, "a") };
        accept_and_claim(&database, &leader).await;
        let follower = NewJob { id: job(6, "a").id, ..leader };
        database.accept_job(&follower).await.unwrap();

        let figures = database.figures().await.unwrap();
        assert_eq!(lane(&figures, Priority::High), (1, Some(due)));
        assert_eq!(lane(&figures, Priority::Normal), (2, Some(second.id.timestamp())));
        assert_eq!(lane(&figures, Priority::Low), (0, None));
        assert_eq!((figures.delayed, figures.joined, figures.running), (1, 1, 1));

        let stats = database.job_stats().await.unwrap();
        assert_eq!(stats.oldest_queued, Some(second.id.timestamp()));
        assert_eq!((stats.by_status["queued"], stats.queued_by_priority["normal"]), (5, 3));
        let listed = database.list_jobs(Scope::All, Filter::default(), None, 10).await.unwrap();
        assert_eq!(listed.len(), 6);
    }

    async fn a_message_is_overdue_until_somebody_has_it_in_hand(place: Place) {
        let database = place.open();
        let callback = Callback { url: String::from("https://a.example/"), events: vec![WebhookEvent::Started] };
        let options = JobOptions { callback: Some(callback), ..JobOptions::default() };
        let before = database.now();
        accept_and_claim(&database, &NewJob { options, ..job(1, "a") }).await;
        let figures = database.figures().await.unwrap();
        assert_eq!(figures.messages, 1);
        assert!(figures.overdue_since.is_some_and(|since| since >= before && since <= database.now()), "{figures:?}");
        assert_eq!(database.due_deliveries(10, 4, Duration::from_secs(60)).await.unwrap().len(), 1);
        let figures = database.figures().await.unwrap();
        assert_eq!((figures.messages, figures.overdue_since), (1, None));
    }
}
