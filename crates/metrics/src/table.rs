//! The one table of metrics.

use crate::family::{Counters, Family, Gauges, Histograms, Kind, Shown};

/// Requests: as long as `Prefer: wait` may take.
const REQUESTS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Stores: from what a file takes to what is given up.
const STORES: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Jobs: from a picture of a small model to a film.
const JOBS_TAKE: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
/// Outputs: fetched, converted and stored.
const OUTPUTS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Receivers: they have ten seconds.
const RECEIVERS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

macro_rules! families {
    (@kind Counters) => { Kind::Counter };
    (@kind Gauges) => { Kind::Gauge };
    (@kind Histograms $buckets:ident) => { Kind::Histogram($buckets) };
    ($($(#[doc = $help:literal])* $kinds:ident $(($buckets:ident))? $ident:ident = $name:literal, [$($label:literal),*], $shown:ident;)*) => {
        $(
            $(#[doc = $help])*
            pub static $ident: $kinds<{ <[&str]>::len(&[$($label),*]) }> = $kinds(Family {
                name: $name,
                kind: families!(@kind $kinds $($buckets)?),
                labels: &[$($label),*],
                shown: Shown::$shown,
                help: concat!($($help),*).trim_ascii(),
            });
        )*

        /// Every family, in the order of the table.
        pub static ALL: &[&Family] = &[$($ident.family()),*];
    };
}

families! {
    /// Requests that were answered, by route template and status; `-` is the route of those that were answered before one was looked for.
    Counters HTTP_REQUESTS = "gateway_http_requests_total", ["method", "route", "status"], Api;
    /// Time until an answer began; with `Prefer: wait` the wait is in it.
    Histograms(REQUESTS) HTTP_DURATION = "gateway_http_request_duration_seconds", ["method", "route"], Api;
    /// Requests that were refused because there were too many, by what was counted: a key, an address, or wrong credentials of an address (login).
    Counters RATE_LIMIT_REFUSALS = "gateway_rate_limit_refusals_total", ["counted"], Api;
    /// Requests that were refused for their credentials, by what was wrong with these.
    Counters AUTH_FAILURES = "gateway_auth_failures_total", ["reason"], Api;
    /// Requests that were refused because as many jobs waited as may: of all (queue), or of one owner.
    Counters QUEUE_REFUSALS = "gateway_queue_refusals_total", ["bound"], Api;
    /// Jobs that were accepted, by what became of them: queued, joined to an identical job, or a cache_hit.
    Counters JOBS_ACCEPTED = "gateway_jobs_accepted_total", ["workflow", "outcome"], Api;
    /// Jobs whose result has a name, by whether it was there: hit, joined (somebody makes it), or miss.
    Counters CACHE_LOOKUPS = "gateway_cache_lookups_total", ["workflow", "result"], Api;

    /// Jobs that have not ended, by state; queued ones with those that wait for an identical job or for their time.
    Gauges JOBS = "gateway_jobs", ["status"], Fleet;
    /// Jobs that could be run now, by lane.
    Gauges QUEUE_DEPTH = "gateway_queue_depth", ["lane"], Fleet;
    /// How long the job has waited that has waited longest, by lane; 0 where none waits.
    Gauges QUEUE_OLDEST_WAIT = "gateway_queue_oldest_wait_seconds", ["lane"], Fleet;
    /// Jobs that wait for their time: another attempt, or notBefore.
    Gauges QUEUE_DELAYED = "gateway_queue_delayed", [], Fleet;
    /// Jobs that may wait (QUEUE_MAX_DEPTH).
    Gauges QUEUE_LIMIT = "gateway_queue_limit", [], Fleet;
    /// Whether an operator has paused the queue.
    Gauges QUEUE_PAUSED = "gateway_queue_paused", [], Fleet;
    /// Whether the queue answers; one in the process always does.
    Gauges QUEUE_UP = "gateway_queue_up", [], Fleet;
    /// Whether the database answers.
    Gauges DATABASE_UP = "gateway_database_up", [], Fleet;
    /// Workers that live, by what they do.
    Gauges WORKERS = "gateway_workers", ["state"], Fleet;
    /// ComfyUI servers of workers that live, by their state.
    Gauges COMFYUI_SERVERS = "gateway_comfyui_servers", ["state"], Fleet;
    /// Webhooks that are still to be delivered, counted to 100000.
    Gauges WEBHOOKS_PENDING = "gateway_webhooks_pending", [], Fleet;
    /// For how long the webhook is overdue that is most overdue; 0 where none is.
    Gauges WEBHOOK_LAG = "gateway_webhook_lag_seconds", [], Fleet;

    /// Time from the acceptance of a job, or its notBefore, until a worker took it.
    Histograms(JOBS_TAKE) JOB_WAIT = "gateway_job_wait_seconds", ["workflow"], Worker;
    /// Time from when a worker took a job until ComfyUI had made its outputs, of jobs that succeeded.
    Histograms(JOBS_TAKE) JOB_RUN = "gateway_job_run_seconds", ["workflow"], Worker;
    /// Time until the outputs of a job were stored, of jobs that succeeded.
    Histograms(OUTPUTS) JOB_STORE = "gateway_job_store_seconds", ["workflow"], Worker;
    /// Attempts that failed and are followed by another, by error code.
    Counters JOB_RETRIES = "gateway_job_retries_total", ["workflow", "code"], Worker;
    /// Jobs whose worker was lost: its claims ran out.
    Counters CLAIMS_EXPIRED = "gateway_claims_expired_total", [], Worker;
    /// Jobs that this worker has in hand.
    Gauges WORKER_JOBS = "gateway_worker_jobs", [], Worker;
    /// Whether a ComfyUI server can be given jobs. `server` is its place in COMFYUI_URL, from 0.
    Gauges COMFYUI_UP = "gateway_comfyui_up", ["server"], Worker;
    /// 1 for the state that a ComfyUI server is in, 0 for the others.
    Gauges COMFYUI_STATE = "gateway_comfyui_state", ["server", "state"], Worker;
    /// Always 1: the URL (hidden in production) and version of a ComfyUI server.
    Gauges COMFYUI_INFO = "gateway_comfyui_info", ["server", "url", "version"], Worker;
    /// Prompts of this worker at a ComfyUI server.
    Gauges COMFYUI_PROMPTS = "gateway_comfyui_prompts", ["server"], Worker;
    /// Prompts that a ComfyUI server is given to run at once (MAX_CONCURRENCY).
    Gauges COMFYUI_CONCURRENCY = "gateway_comfyui_concurrency", ["server"], Worker;
    /// How long a ComfyUI server could be given jobs, in whole seconds.
    Counters COMFYUI_UP_SECONDS = "gateway_comfyui_up_seconds_total", ["server"], Worker;
    /// How much of that it had a prompt of this worker, in whole seconds: the rest it was idle.
    Counters COMFYUI_BUSY_SECONDS = "gateway_comfyui_busy_seconds_total", ["server"], Worker;
    /// Memory of a device, as ComfyUI says.
    Gauges COMFYUI_VRAM = "gateway_comfyui_vram_bytes", ["server", "device"], Worker;
    /// Free memory of a device, as ComfyUI says; at most 10 s old.
    Gauges COMFYUI_VRAM_FREE = "gateway_comfyui_vram_free_bytes", ["server", "device"], Worker;
    /// Tries to deliver webhooks, by outcome (delivered, retried, given_up) and what was wrong: the class of the status, or why there was none.
    Counters WEBHOOK_TRIES = "gateway_webhook_tries_total", ["outcome", "reason"], Worker;
    /// How long tries to deliver webhooks took.
    Histograms(RECEIVERS) WEBHOOK_DURATION = "gateway_webhook_try_duration_seconds", [], Worker;

    /// Jobs that have ended, by state, and those that failed by error code. Cache hits and cancels of waiting jobs end in an API, all others in a worker.
    Counters JOBS_ENDED = "gateway_jobs_ended_total", ["workflow", "status", "code"], Every;
    /// How long the database took: a read, or a commit of all that was to be written.
    Histograms(STORES) DATABASE_DURATION = "gateway_database_duration_seconds", ["operation"], Every;
    /// How long reads waited for a free connection.
    Histograms(STORES) DATABASE_WAIT = "gateway_database_wait_seconds", [], Every;
    /// Connections that read, by whether they are in use.
    Gauges DATABASE_CONNECTIONS = "gateway_database_connections", ["state"], Every;
    /// Connections that may read (DATABASE_POOL_SIZE).
    Gauges DATABASE_CONNECTIONS_LIMIT = "gateway_database_connections_limit", [], Every;
    /// How long Redis took to answer, with the wait for a connection.
    Histograms(STORES) REDIS_DURATION = "gateway_redis_duration_seconds", [], Redis;
    /// Calls that Redis did not answer as it should.
    Counters REDIS_ERRORS = "gateway_redis_errors_total", [], Redis;
    /// Always 1: the version of the gateway.
    Gauges BUILD_INFO = "gateway_build_info", ["version"], Every;

    /// CPU time of the process.
    Counters PROCESS_CPU = "process_cpu_seconds_total", [], Every;
    /// Files and connections that the process has open.
    Gauges PROCESS_FILES = "process_open_fds", [], Every;
    /// Files and connections that it may have open.
    Gauges PROCESS_FILES_LIMIT = "process_max_fds", [], Every;
    /// Memory of the process.
    Gauges PROCESS_MEMORY = "process_resident_memory_bytes", [], Every;
    /// Its address space.
    Gauges PROCESS_ADDRESSES = "process_virtual_memory_bytes", [], Every;
    /// The limit of its address space.
    Gauges PROCESS_ADDRESSES_LIMIT = "process_virtual_memory_max_bytes", [], Every;
    /// When it started, since the Unix epoch.
    Gauges PROCESS_START = "process_start_time_seconds", [], Every;
    /// Its threads.
    Gauges PROCESS_THREADS = "process_threads", [], Every;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_as_prometheus_wants_them() {
        let mut seen = BTreeSet::new();
        for family in ALL {
            let name = family.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit()),
                "{name}"
            );
            assert!(name.starts_with("gateway_") || name.starts_with("process_"), "{name}");
            assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(
                matches!(family.kind, Kind::Histogram(_)),
                name.ends_with("_seconds") && family.kind != Kind::Gauge,
                "{name}"
            );
            // The exporter would not add its own.
            assert!(!["_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
            assert!(family.help.ends_with('.') && !family.help.starts_with(' '), "{name}");
            assert!(!family.labels.contains(&"le") && !family.labels.contains(&"instance"), "{name}");
        }
    }

    #[test]
    fn bounds_of_buckets_grow() {
        for family in ALL {
            if let Kind::Histogram(buckets) = family.kind {
                assert!(!buckets.is_empty() && buckets.is_sorted(), "{}", family.name);
            }
        }
    }
}
