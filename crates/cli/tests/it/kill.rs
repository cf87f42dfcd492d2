//! Experiments that break what a gateway is made of, in their short form; `cargo xtask chaos` runs them at full size.

use std::path::PathBuf;

use gateway_testkit::chaos::{Place, Scale, run, table};
use tokio::sync::RwLock;

use crate::support::server;

/// Those that ask what is done in a time: no other experiment runs beside them.
const OF_PACE: [u32; 2] = [24, 45];
static MACHINE: RwLock<()> = RwLock::const_new(());

/// Runs one; without a Postgres and a Redis server only what needs neither.
async fn holds(number: u32) {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_comfyui-gateway"));
    let postgres = match number {
        0 => String::new(),
        _ => match (server("POSTGRES"), server("REDIS")) {
            (Some(postgres), Some(_)) => postgres,
            _ => return,
        },
    };
    let place = Place { binary, postgres, scale: Scale::Short, seed: 3 };
    let (_alone, _beside) = match OF_PACE.contains(&number) {
        true => (Some(MACHINE.write().await), None),
        false => (None, Some(MACHINE.read().await)),
    };
    let outcome = run(number, &place).await;
    assert!(outcome.broken.is_empty(), "{}", table(&[outcome]));
}

macro_rules! experiments {
    ($($name:ident: $number:literal),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { holds($number).await; })*
    };
}

experiments!(
    a_killed_gateway_loses_no_job_and_runs_no_prompt_twice: 0,
    killed_workers_lose_no_job: 1,
    killed_apis_lose_no_job_and_make_none_twice: 2,
    a_frozen_worker_writes_nothing_when_it_wakes: 5,
    a_lost_answer_of_comfyui_makes_no_second_prompt: 9,
    a_deadly_job_is_held_after_three_deaths_and_takes_no_other_with_it: 10,
    workers_are_replaced_under_load_without_a_trace: 15,
    of_many_equal_jobs_one_is_run_whoever_dies: 18,
    a_flushed_redis_costs_time_only: 21,
    a_killed_redis_without_persistence_costs_time_only: 22,
    jobs_are_accepted_and_run_while_redis_is_away: 24,
    ended_database_sessions_cost_nobody_a_job: 28,
    a_cancel_at_any_moment_ends_as_it_was_answered: 35,
    a_stopped_worker_hands_back_what_it_does_not_finish: 42,
    a_full_queue_is_taken_up_again_after_everything_was_restarted: 45,
    a_webhook_whose_sender_died_is_sent_again_as_it_was: 48,
    a_receiver_that_never_answers_delays_no_other: 50,
);
