//! A whole gateway on Postgres: the same as on a file, and more that can go wrong.

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use gateway_testkit::{TestBuilder, TestGateway, tiny_workflow, until};
use serde_json::json;

/// A database of a test's own on the tests' server.
pub(crate) struct Own {
    server: String,
    name: String,
}

impl Own {
    /// `None` where the test command has said that there is no server.
    #[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
    pub(crate) fn new() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
            assert!(std::env::var("TEST_WITHOUT_POSTGRES").is_ok(), "no Postgres: run the tests by `cargo xtask test`");
            return None;
        };
        let own = Self { server, name: format!("t_{}", uuid::Uuid::new_v4().simple()) };
        own.execute(&format!("CREATE DATABASE {}", own.name));
        Some(own)
    }

    pub(crate) fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a database in the URL");
        format!("{server}/{}", self.name)
    }

    fn execute(&self, sql: &str) {
        PgConnection::establish(&self.server).expect("the server").batch_execute(sql).expect("a statement");
    }

    /// Ends every session on it.
    fn end_sessions(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname";
        self.execute(&format!("{end} = '{}'", self.name));
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

async fn gateway(own: &Own) -> TestGateway {
    let test = TestBuilder::default().database(own.url()).start().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

#[tokio::test]
async fn jobs_run_and_outlive_a_restart_on_postgres_as_on_a_file() {
    let Some(own) = Own::new() else { return };
    let mut test = gateway(&own).await;
    assert_eq!(test.get("/health").await.json()["database"], "postgres");
    let job = test.run("tiny", json!({"color": 5})).await;
    assert_eq!((&job["status"], job["outputs"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{job}");
    let url = job["outputs"][0]["url"].as_str().expect("a URL").to_owned();

    test.sim.update(|switches| switches.node_ms = 300);
    let running = test.submit("tiny", json!({"color": 6})).await;
    let waiting = test.submit("tiny", json!({"color": 7})).await;
    test.wait_status(&running, "running").await;
    test.stop_gateway().await;
    test.start_gateway().await;
    for id in [&running, &waiting] {
        assert_eq!(test.wait_ended(id).await["status"], "succeeded");
    }
    assert!(test.sim.stats().starts.values().all(|count| *count == 1));
    let _picture = test.get(&url).await.expect(200);
    let listed = test.get("/jobs?status=succeeded&limit=2").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    assert!(listed["nextCursor"].is_string(), "{listed}");
    assert_eq!(test.get("/jobs/stats").await.json()["jobs"]["succeeded"], 3);
}

#[tokio::test]
async fn sessions_that_the_server_ends_again_and_again_lose_no_job_and_run_none_twice() {
    let Some(own) = Own::new() else { return };
    let test = gateway(&own).await;
    test.sim.update(|switches| switches.node_ms = 5);
    let mut accepted = Vec::new();
    for color in 0..60 {
        if color % 10 == 5 {
            own.end_sessions();
        }
        let answer = test.post("/jobs", &json!({"workflowId": "tiny", "inputs": {"color": color}})).await;
        match answer.status {
            202 => accepted.push(answer.json()["jobId"].as_str().expect("an id").to_owned()),
            503 => assert!(!answer.header("retry-after").is_empty(), "{}", answer.json()),
            other => panic!("{other}: {}", answer.json()),
        }
    }
    assert!(accepted.len() >= 50, "{}", accepted.len());
    for id in &accepted {
        until("the job ends", || async {
            let answer = test.get(&format!("/jobs/{id}")).await;
            (answer.status == 200 && answer.json()["status"] == "succeeded").then_some(())
        })
        .await;
    }
    assert!(test.sim.stats().starts.values().all(|count| *count == 1), "{:?}", test.sim.stats().starts);
}
