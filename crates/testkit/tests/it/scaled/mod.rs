//! A gateway of several processes: what one accepts another runs, and each sees what the others do.

mod fleet;
mod limits;
mod owners;
mod redis;
mod work;

use std::path::PathBuf;

use comfyui_sim::SimConfig;
use gateway_config::{DatabaseTarget, RedisSettings, Settings, StorageBackend};
use gateway_testkit::{TestBuilder, TestGateway, until};
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;

/// What the gateways of one test share.
struct Shared {
    folder: TempDir,
    redis: String,
    prefix: String,
}

impl Shared {
    /// With the Redis that the test command started; `None` where it has said that there is none.
    #[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
    fn new() -> Option<Self> {
        let Ok(redis) = std::env::var("TEST_REDIS_URL") else {
            assert!(std::env::var("TEST_WITHOUT_REDIS").is_ok(), "no Redis: run the tests by `cargo xtask test`");
            return None;
        };
        Some(Self::on(redis))
    }

    /// With the Redis at `redis`.
    fn on(redis: String) -> Self {
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        Self { folder: tempfile::tempdir().expect("a folder"), redis, prefix }
    }

    fn tweak(&self, node: &str) -> impl Fn(&mut Settings) + Send + Sync + 'static + use<> {
        let (folder, node): (PathBuf, _) = (self.folder.path().to_owned(), node.to_owned());
        let queue = self.queue();
        move |settings| {
            settings.database.target = DatabaseTarget::Sqlite { path: folder.join("gateway.db") };
            settings.storage.backend = StorageBackend::Local { root: folder.join("outputs") };
            settings.worker.node.clone_from(&node);
            settings.queue.redis = Some(queue.clone());
        }
    }

    /// Their queue.
    fn queue(&self) -> RedisSettings {
        let url = SecretString::from(self.redis.clone());
        RedisSettings { url, shown: String::from("redis://test"), prefix: self.prefix.clone() }
    }

    /// An API and a worker.
    async fn node(&self, name: &str, sim: SimConfig) -> TestGateway {
        self.node_with(name, sim, |_settings| {}).await
    }

    async fn node_with(
        &self,
        name: &str,
        sim: SimConfig,
        more: impl Fn(&mut Settings) + Send + Sync + 'static,
    ) -> TestGateway {
        let tweak = self.tweak(name);
        let settings = move |settings: &mut Settings| {
            tweak(settings);
            more(settings);
        };
        let test = TestBuilder::default().sim(sim).settings(settings).start_unready().await;
        let url = test.sim.url();
        worker(&test, &url).await;
        test
    }

    /// An API alone.
    async fn api(&self) -> TestGateway {
        TestBuilder::default().api_alone().settings(self.tweak("api")).start_unready().await
    }
}

/// The worker that drives the ComfyUI at `url`, once `test` knows that it can, and what that has.
async fn worker(test: &TestGateway, url: &str) -> Value {
    until("the worker is known", || async {
        let workers = test.get("/workers").await.json();
        let mut items = workers["items"].as_array()?.iter();
        let fits = |worker: &&Value| {
            let backend = &worker["backends"][0];
            backend["url"] == url && backend["state"] == "ready" && backend["nodeClasses"].is_u64()
        };
        items.find(fits).cloned()
    })
    .await
}

fn with_checkpoints(names: &[&str]) -> SimConfig {
    SimConfig { checkpoints: names.iter().map(|name| (*name).to_owned()).collect(), ..SimConfig::default() }
}
