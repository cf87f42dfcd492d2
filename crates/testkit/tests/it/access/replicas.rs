//! Several APIs over one Postgres and one Redis: what one of them is told the others know, and they count together.

use gateway_core::ErrorCode;
use gateway_testkit::stack::Redis;
use gateway_testkit::{Answer, TestBuilder, TestGateway, tiny_workflow, until};
use serde_json::json;
use tempfile::TempDir;

use super::keys::revoked;
use super::{
    ADMIN, ALICE, BOB, NOWHERE, Shown, delete, get, guarded, key, make, nothing, proxied, refused, submit, wish,
};
use crate::postgres::Own;

/// So many requests are let in.
const FEW: usize = 10;

/// What the APIs of one test share.
struct Fleet {
    own: Own,
    redis: Redis,
    folder: TempDir,
}

impl Fleet {
    /// With servers of its own; `None` where the test command has said that there are none.
    #[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
    async fn new() -> Option<Self> {
        if std::env::var("TEST_WITHOUT_REDIS").is_ok() {
            return None;
        }
        let own = Own::new()?;
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::with(folder.path(), &[]).await;
        Some(Self { own, redis, folder })
    }

    /// One of its APIs.
    async fn api(&self, builder: TestBuilder) -> TestGateway {
        let outputs = self.folder.path().join("outputs").display().to_string();
        let builder = builder.database(self.own.url()).variable("STORAGE_LOCAL_PATH", outputs);
        builder.variable("REDIS_URL", self.redis.url()).api_alone().comfyui_url(NOWHERE).start_unready().await
    }

    /// Two of them.
    async fn apis(&self, begin: impl Fn() -> TestBuilder) -> [TestGateway; 2] {
        [self.api(begin()).await, self.api(begin()).await]
    }
}

fn sparing() -> TestBuilder {
    guarded().variable("RATE_LIMIT_MAX", FEW.to_string()).variable("RATE_LIMIT_WINDOW_MS", "3600000")
}

/// How many of so many requests are let in, sent to one API after the other.
async fn admitted(apis: &[&TestGateway], count: usize, shown: &Shown) -> usize {
    let mut admitted = 0;
    for api in apis.iter().cycle().take(count) {
        let answer = get(api, shown, "/jobs").await;
        if answer.status == 429 {
            refused(&answer, ErrorCode::RateLimited);
        } else {
            assert_eq!(answer.status, shown.let_in(), "{}", answer.json());
            admitted += 1;
        }
    }
    admitted
}

/// How many more requests `answer` says could come.
#[track_caller]
fn left(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining").parse().expect("a number")
}

#[tokio::test]
async fn a_key_that_is_made_at_one_api_is_known_to_all_and_one_that_is_revoked_to_none() {
    let Some(fleet) = Fleet::new().await else { return };
    let [one, other] = fleet.apis(guarded).await;
    for (here, there) in [(&one, &other), (&other, &one)] {
        let made = make(here, json!({"name": "shop"})).await;
        for api in [here, there] {
            let _known = get(api, &key(&made.key), "/jobs").await.expect(200);
        }
        revoked(here, there, &made).await;
        refused(&get(here, &key(&made.key), "/jobs").await, ErrorCode::AuthFailed);
        refused(&delete(there, &key(ADMIN), &format!("/keys/{}", made.id)).await, ErrorCode::KeyNotFound);
    }
    let noted = other.get("/audit").await.expect(200).json();
    let seqs: Vec<_> = noted["items"].as_array().expect("a list").iter().map(|entry| entry["seq"].clone()).collect();
    let expected: Vec<_> = (1..=seqs.len()).rev().map(|seq| json!(seq)).collect();
    assert!(seqs == expected && seqs.len() >= 4, "{noted}");
}

#[tokio::test]
async fn the_first_key_closes_all_apis() {
    let Some(fleet) = Fleet::new().await else { return };
    let [one, other] = fleet.apis(TestBuilder::default).await;
    for api in [&one, &other] {
        let _open = get(api, &nothing(), "/jobs").await.expect(200);
    }
    let boss = make(&one, json!({"name": "boss", "role": "admin"})).await;
    refused(&get(&one, &nothing(), "/jobs").await, ErrorCode::AuthFailed);
    until("the other asks for keys, too", || async {
        (get(&other, &nothing(), "/jobs").await.status == 401).then_some(())
    })
    .await;
    let _known = get(&other, &key(&boss.key), "/keys").await.expect(200);
}

#[tokio::test]
async fn requests_are_counted_over_all_apis() {
    let Some(fleet) = Fleet::new().await else { return };
    let [one, other] = fleet.apis(sparing).await;
    assert_eq!(admitted(&[&one, &other], 3 * FEW, &key(ALICE)).await, FEW);
    // By address, too, and nobody takes from another.
    assert_eq!(admitted(&[&one, &one, &other], 3 * FEW, &nothing()).await, FEW);
    let (mut last, bob) = (FEW as u64, key(BOB));
    for api in [&one, &other, &other, &one] {
        let answer = get(api, &bob, "/jobs").await.expect(200);
        assert_eq!(left(&answer), last - 1);
        last -= 1;
    }
    let strict = key(&make(&one, json!({"name": "shop", "rateLimit": 3})).await.key);
    assert_eq!(admitted(&[&other, &one], FEW, &strict).await, 3);
}

#[tokio::test]
async fn failed_logins_are_counted_over_all_apis() {
    let Some(fleet) = Fleet::new().await else { return };
    let [one, other] = fleet.apis(proxied).await;
    let mut seen: Vec<u16> = Vec::new();
    for (number, api) in [&one, &other].into_iter().cycle().take(24).enumerate() {
        let wrong = key(&format!("wrong-{number}")).at("192.0.2.1");
        seen.push(get(api, &wrong, "/jobs").await.status);
    }
    assert_eq!(seen, [vec![401_u16; 20], vec![429; 4]].concat());
    for api in [&one, &other] {
        refused(&get(api, &key(ALICE).at("192.0.2.1"), "/jobs").await, ErrorCode::RateLimited);
        let _another = get(api, &key(ALICE).at("192.0.2.2"), "/jobs").await.expect(200);
    }
}

#[tokio::test]
async fn while_redis_is_away_each_api_lets_in_half_and_afterwards_they_count_together_again() {
    let Some(mut fleet) = Fleet::new().await else { return };
    let [one, other] = fleet.apis(sparing).await;
    one.register("tiny", tiny_workflow()).await;
    let watch = key(&make(&one, json!({"name": "watch", "rateLimit": 2_000})).await.key);
    assert_eq!(admitted(&[&one, &other], 2 * FEW, &key(ALICE)).await, FEW);
    fleet.redis.kill();
    for (color, api) in [&one, &other].into_iter().enumerate() {
        assert_eq!(admitted(&[api], 2 * FEW, &key(BOB)).await, FEW / 2);
        assert_eq!(admitted(&[api], 2 * FEW, &nothing()).await, FEW / 2);
        submit(api, &watch, &wish("tiny", json!({"color": color})), 202).await;
    }
    fleet.redis.restart().await;
    until("they count together again", || async {
        let (first, second) = (get(&one, &watch, "/jobs").await, get(&other, &watch, "/jobs").await);
        (left(&first) == left(&second) + 1 && left(&first) > 1_000).then_some(())
    })
    .await;
    assert_eq!(admitted(&[&other, &one], 2 * FEW, &key(BOB)).await, FEW);
}
