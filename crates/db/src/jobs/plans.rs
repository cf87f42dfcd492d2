//! At a million jobs every list and every sweep is answered from an index, on either engine.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Integer, Text};
use gateway_core::{JobId, JobStatus, Owner, Scope, Timestamp};

use crate::deliveries::next_free;
use crate::engine::{Conn, MultiBackend};
use crate::jobs::Filter;
use crate::jobs::figures::{MESSAGES, delayed, due_by_level, in_state};
use crate::jobs::list::page;
use crate::jobs::sweep::{expired, undispatched, urgent, waiting};
use crate::rows::JOINED;
use crate::testing::{Place, on_both_engines};

const JOBS: i64 = 1_000_000;

/// A query whose plan is asked for in place of its rows.
struct Explain<Q, S> {
    how: &'static str,
    query: Q,
    columns: std::marker::PhantomData<S>,
}

impl<Q: QueryFragment<MultiBackend>, S> QueryFragment<MultiBackend> for Explain<Q, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(self.how);
        self.query.walk_ast(out.reborrow())
    }
}

impl<Q, S> QueryId for Explain<Q, S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, S> Query for Explain<Q, S> {
    type SqlType = S;
}

impl<Q, S> RunQueryDsl<Conn> for Explain<Q, S> {}

/// How the engine would answer `query`.
fn plan<Q: QueryFragment<MultiBackend>>(connection: &mut Conn, query: Q) -> String {
    type Steps = (Integer, Integer, Integer, Text);
    let lines: Vec<String> = match connection {
        Conn::Postgres(_) => {
            let explain = Explain::<_, Text> { how: "EXPLAIN ", query, columns: std::marker::PhantomData };
            explain.load(connection).unwrap()
        }
        Conn::Sqlite(_) => {
            let explain = Explain::<_, Steps> { how: "EXPLAIN QUERY PLAN ", query, columns: std::marker::PhantomData };
            let steps: Vec<(i32, i32, i32, String)> = explain.load(connection).unwrap();
            steps.into_iter().map(|step| step.3).collect()
        }
    };
    lines.join("\n")
}

/// A million jobs: nearly all ended, a few wait or run, of many owners. A message about each of some of them, most sent.
fn fill(connection: &mut Conn) {
    let (series, id) = match connection {
        Conn::Postgres(_) => ("generate_series(1, {JOBS}) AS s(n)", "lpad(to_hex(n), 8, '0')"),
        Conn::Sqlite(_) => (
            "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {JOBS}) SELECT n FROM s)",
            "printf('%08x', n)",
        ),
    };
    let series = series.replace("{JOBS}", &JOBS.to_string());
    let insert = format!(
        "INSERT INTO jobs (id, owner, workflow_id, workflow_version, status, priority, inputs, params, resolved, metadata,
            request_id, correlation_id, nodes_total, created_at, lease_until)
         SELECT '01900000-' || substr({id}, 1, 4) || '-7' || substr({id}, 5, 3) || '-8000-0000' || {id}, 'o' || (n % 1000),
            'w' || (n % 50), 1,
            CASE WHEN n % 5000 = 0 THEN 'queued' WHEN n % 5000 = 1 THEN 'running' ELSE 'succeeded' END,
            n % 3, '{{}}', '{{}}', '{{}}', '{{}}', 'r' || n, 'c', 1, n, CASE WHEN n % 5000 = 1 THEN n END
         FROM {series}"
    );
    connection.batch_execute(&insert).unwrap();
    let messages = "INSERT INTO deliveries (id, owner, subject_id, event, url, host, body, correlation_id, status, next_at, created_at)
         SELECT id, owner, id, 'job.succeeded', 'https://example.com', 'example.com:443', '{}', 'c',
            CASE WHEN created_at % 1000 = 0 THEN 'pending' ELSE 'delivered' END, created_at, created_at
         FROM jobs WHERE created_at <= 100000";
    connection.batch_execute(messages).unwrap();
    connection.batch_execute("ANALYZE").unwrap();
}

async fn at_a_million_jobs_lists_and_sweeps_use_their_indexes(place: Place) {
    let database = place.open();
    let plans = database
        .write(|connection| {
            fill(connection);
            let owned = || Scope::Owner(Owner::new("o7"));
            let cursor = Some(JobId::floor(Timestamp::from_millis(1_700_000_000_000)));
            let with = |change: fn(&mut Filter)| {
                let mut filter = Filter::default();
                change(&mut filter);
                filter
            };
            let queued = || with(|filter| filter.status = Some(JobStatus::Queued));
            let workflow = || with(|filter| filter.workflow_id = Some(String::from("w7")));
            let request = || with(|filter| filter.request_id = Some(String::from("r77")));
            Ok(vec![
                ("all", plan(connection, page(Scope::All, Filter::default(), cursor, 50))),
                ("an owner's", plan(connection, page(owned(), Filter::default(), cursor, 50))),
                ("those that wait", plan(connection, page(Scope::All, queued(), cursor, 50))),
                ("an owner's that wait", plan(connection, page(owned(), queued(), cursor, 50))),
                ("a workflow's", plan(connection, page(Scope::All, workflow(), cursor, 50))),
                ("a request's", plan(connection, page(Scope::All, request(), cursor, 50))),
                ("the dead", plan(connection, page(Scope::All, with(|filter| filter.dead = true), cursor, 50))),
                ("the queue's", plan(connection, waiting(String::new(), 500))),
                ("those to dispatch", plan(connection, undispatched(1_000, 500))),
                ("the most urgent", plan(connection, urgent(1_000, vec![String::from("x")], 64))),
                ("those to recover", plan(connection, expired(1_000, 500))),
                ("how many wait by lane", plan(connection, due_by_level(1_000))),
                ("how many wait for later", plan(connection, delayed(1_000))),
                ("how many wait for another", plan(connection, in_state(JOINED))),
                ("how many run", plan(connection, in_state(JobStatus::Running.as_str()))),
                ("how many messages are to be sent", plan(connection, diesel::sql_query(MESSAGES))),
                ("the next message", plan(connection, next_free(1_000))),
            ])
        })
        .await
        .unwrap();
    for (what, plan) in plans {
        let ways = ["USING INDEX", "USING COVERING INDEX", "Index Scan", "Index Only Scan", "Bitmap Index"];
        // A whole table or index, one row after the other.
        let full = plan.contains("SCAN jobs\n") || plan.contains("SCAN jobs USING COVERING INDEX");
        let uses = ways.into_iter().any(|way| plan.contains(way));
        assert!(uses && !plan.contains("Seq Scan") && !full, "{what}: {plan}");
    }
}

on_both_engines!(at_a_million_jobs_lists_and_sweeps_use_their_indexes);
