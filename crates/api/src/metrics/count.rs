//! What is counted while requests are answered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use gateway_core::{JobChange, JobStatus};
use gateway_db::{Accepted, NewJob};
use gateway_metrics::{
    AUTH_FAILURES, CACHE_LOOKUPS, Counter, HTTP_DURATION, HTTP_REQUESTS, Histogram, JOBS_ACCEPTED, QUEUE_REFUSALS,
    RATE_LIMIT_REFUSALS, job_ended, method, workflow,
};

use gateway_telemetry::job_changed;

use crate::routes::Route;

/// Of requests that were answered before a route was looked for, or for which there is none.
const NO_ROUTE: &str = "-";

type Answer = (&'static str, &'static str, u16);

thread_local! {
    /// What was found before: as many as there are routes, methods and statuses.
    static FOUND: RefCell<HashMap<Answer, (Counter, Histogram)>> = RefCell::default();
}

/// Counts an answer that began after `took`.
pub(crate) fn answered(response: &ServiceResponse<BoxBody>, took: Duration) {
    let request = response.request();
    let route = request.app_data::<Route>().map_or(NO_ROUTE, |route| route.0);
    let answer = (method(request.method().as_str()), route, response.status().as_u16());
    FOUND.with_borrow_mut(|found| {
        let (requests, times) = found.entry(answer).or_insert_with(|| find(answer));
        requests.increment(1);
        times.record(took);
    });
}

fn find((method, route, status): Answer) -> (Counter, Histogram) {
    let requests = HTTP_REQUESTS.of([method.into(), route.into(), status.to_string().into()]);
    (requests, HTTP_DURATION.of([method.into(), route.into()]))
}

/// What is told of a job that arrives: by the time that is told, the database has the job.
pub(crate) struct Arrival {
    change: JobChange,
    cacheable: bool,
}

impl Arrival {
    pub(crate) fn of(job: &NewJob) -> Self {
        let change = JobChange {
            job: job.id,
            workflow_id: job.workflow_id.clone(),
            correlation_id: job.correlation_id.clone(),
            trace: job.options.trace_parent,
            from: None,
            to: JobStatus::Queued,
            attempt: 0,
            duration_ms: None,
            code: None,
            error: None,
            not_before: job.not_before,
        };
        Self { change, cacheable: job.options.cache_key.is_some() }
    }

    /// Tells log and metrics of the job, by what became of it.
    pub(crate) fn tell(self, accepted: &Accepted) {
        let (outcome, result, to) = match accepted {
            Accepted::Queued => ("queued", "miss", JobStatus::Queued),
            Accepted::Joined(_) => ("joined", "joined", JobStatus::Queued),
            Accepted::Hit => ("cache_hit", "hit", JobStatus::Succeeded),
            Accepted::Repeated(_) | Accepted::KeyReused => return,
        };
        let change = JobChange { to, ..self.change };
        let workflow = workflow(&change.workflow_id);
        JOBS_ACCEPTED.of([workflow.clone(), outcome.into()]).increment(1);
        if self.cacheable {
            CACHE_LOOKUPS.of([workflow, result.into()]).increment(1);
        }
        if to.is_ended() {
            job_ended(&change);
        }
        job_changed(&change);
    }
}

/// Shows what counts from 0, before anything of it has happened: what was never there has no rate.
pub(crate) fn begin() {
    for counted in ["key", "address", "login"] {
        RATE_LIMIT_REFUSALS.of([counted.into()]).increment(0);
    }
    for reason in ["none", "unknown", "expired", "revoked"] {
        AUTH_FAILURES.of([reason.into()]).increment(0);
    }
    for bound in ["queue", "owner"] {
        QUEUE_REFUSALS.of([bound.into()]).increment(0);
    }
}
