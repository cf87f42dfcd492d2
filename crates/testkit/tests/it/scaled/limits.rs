//! How exact the count of requests is that several APIs share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway_auth::key::ConfiguredKeys;
use gateway_testkit::{TestBuilder, TestGateway};
use tokio::task::JoinSet;

use super::Shared;

/// What a key may send in a second, over all APIs.
const RATE: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn three_apis_admit_together_what_one_would() {
    exact(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask soak"]
async fn three_apis_admit_together_what_one_would_for_a_minute() {
    exact(Duration::from_secs(60)).await;
}

/// One key sends ten times what it may through three APIs for `long`, another half of what it may: the first is
/// admitted what it may to 2 %, the other always.
async fn exact(long: Duration) {
    let Some(shared) = Shared::new() else { return };
    let mut apis = Vec::new();
    for name in ["a", "b", "c"] {
        let tweak = shared.tweak(name);
        let settings = move |settings: &mut gateway_config::Settings| {
            tweak(settings);
            settings.access.rate.requests = RATE;
            settings.access.rate.window = Duration::from_secs(1);
            let text = "greedy-0123456789abcdef:user:greedy,modest-0123456789abcdef:user:modest";
            settings.access.keys = ConfiguredKeys::parse(text).expect("keys");
        };
        apis.push(TestBuilder::default().api_alone().settings(settings).start_unready().await);
    }
    let (greedy, modest) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for (number, api) in apis.iter().enumerate() {
        // In step, so that what is offered does not depend on how fast it is answered.
        for _ in 0..8 {
            send(&mut senders, api, "greedy-0123456789abcdef", &greedy, (Duration::from_millis(24), long));
        }
        if number == 0 {
            send(&mut senders, api, "modest-0123456789abcdef", &modest, (Duration::from_millis(20), long));
        }
    }
    while let Some(sender) = senders.join_next().await {
        sender.expect("no panic");
    }
    let took = begun.elapsed().as_secs_f64();
    let (admitted, refused) = (greedy.admitted.load(Ordering::SeqCst), greedy.refused.load(Ordering::SeqCst));
    // What may come at once, and what was earned since.
    let allowed = f64::from(RATE) * (1.0 + took);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let part = admitted as f64 / allowed;
    assert!(refused > admitted, "not more was offered than allowed: {admitted} admitted, {refused} refused");
    assert!((0.98..=1.02).contains(&part), "{admitted} admitted of {allowed:.0} allowed in {took:.2} s");
    assert_eq!(modest.refused.load(Ordering::SeqCst), 0, "the modest key was refused");
    assert!(modest.admitted.load(Ordering::SeqCst) > 0);
}

#[derive(Default)]
struct Count {
    admitted: AtomicU64,
    refused: AtomicU64,
}

/// Sends one request each `every` for `long`, both of `pace`.
fn send(
    senders: &mut JoinSet<()>,
    api: &TestGateway,
    key: &'static str,
    count: &Arc<Count>,
    (every, long): (Duration, Duration),
) {
    let request = api.client().get(api.url("/jobs?limit=1")).bearer_auth(key);
    let count = Arc::clone(count);
    senders.spawn(async move {
        let end = Instant::now() + long;
        let mut tick = tokio::time::interval(every);
        while Instant::now() < end {
            tick.tick().await;
            let request = request.try_clone().expect("no body");
            match request.send().await.expect("an answer").status().as_u16() {
                200 => count.admitted.fetch_add(1, Ordering::SeqCst),
                429 => count.refused.fetch_add(1, Ordering::SeqCst),
                other => panic!("{other}"),
            };
        }
    });
}
