//! What owners get: of the servers, and of requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_auth::limit::Rule;
use gateway_core::access::{OwnTerms, Terms};
use gateway_core::{Owner, Priority};

use super::{AGEING, Dyn, drain, entry, offer, soon, take};
use crate::{Broker, Entry, Offer, Run, Taken};

/// Long enough that nothing runs out within a test.
const LEASE: Duration = Duration::from_secs(60);

fn of(owner: &Owner, number: u16, ago: i64) -> Entry {
    Entry { owner: owner.clone(), ..entry(number, ago) }
}

/// Asks for up to `max`, where these owners have terms of their own: how many may run, and their weight.
pub(crate) fn terms(max: usize, own: &[(&Owner, Option<u32>, Option<u32>)]) -> Offer {
    let own = own.iter().map(|(owner, running, weight)| {
        let own = OwnTerms { running: *running, weight: *weight };
        ((*owner).clone(), own)
    });
    let terms = Terms { running: None, own: own.collect::<HashMap<_, _>>() };
    Offer { terms: Arc::new(terms), ..offer(max) }
}

/// What was taken, claimed as a worker does.
fn claimed(broker: &dyn Broker, taken: Vec<Taken>) -> Vec<Run> {
    let claimed = taken.into_iter().map(|Taken { entry, receipt }| {
        if let Some(receipt) = receipt {
            broker.done(receipt, entry.job);
        }
        Run { owner: entry.owner, job: entry.job }
    });
    claimed.collect()
}

async fn nothing(broker: &dyn Broker, offer: &Offer) {
    let taken = tokio::time::timeout(Duration::from_millis(50), broker.next(offer)).await;
    assert!(taken.is_err(), "{taken:?}");
}

pub(crate) async fn of_one_priority_the_owner_that_got_least_is_next(broker: Dyn) {
    let (busy, late) = (Owner::new("busy: one|"), Owner::new("late"));
    let many = (0..200).map(|number| Entry { owner: busy.clone(), ..entry(number, 10_000) });
    broker.enqueue(many.collect()).await.unwrap();
    drain(&*broker, 20, &offer(1)).await;
    let few = (1_000..1_010).map(|number| Entry { owner: late.clone(), ..entry(number, 0) });
    broker.enqueue(few.collect()).await.unwrap();
    let next = drain(&*broker, 22, &offer(1)).await;
    let of_late = next.iter().filter(|entry| entry.owner == late).count();
    assert!((9..=10).contains(&of_late), "{of_late} of 22");
    assert!(next.iter().filter(|entry| entry.owner == busy).count() >= 10);
}

pub(crate) async fn twenty_thousand_jobs_of_one_owner_do_not_delay_ten_of_another(broker: Dyn) {
    let (busy, late) = (Owner::new("busy"), Owner::new("late"));
    let many: Vec<Entry> = (0..20_000).map(|number| of(&busy, number, 10_000)).collect();
    for page in many.chunks(500) {
        broker.enqueue(page.to_vec()).await.unwrap();
    }
    drain(&*broker, 50, &offer(1)).await;
    broker.enqueue((30_000..30_010).map(|number| of(&late, number, 0)).collect()).await.unwrap();
    let next = drain(&*broker, 21, &offer(1)).await;
    assert_eq!(next.iter().filter(|entry| entry.owner == late).count(), 10, "one in two");
}

pub(crate) async fn owners_get_as_much_as_they_weigh(broker: Dyn) {
    let (heavy, light) = (Owner::new("heavy: one|"), Owner::new("light"));
    let offer = terms(4, &[(&heavy, None, Some(3))]);
    broker.enqueue((0..200).map(|number| of(&light, number, 9_000)).collect()).await.unwrap();
    broker.enqueue((500..700).map(|number| of(&heavy, number, 5_000)).collect()).await.unwrap();
    let order = drain(&*broker, 200, &offer).await;
    let of_heavy = order.iter().filter(|entry| entry.owner == heavy).count();
    assert!((149..=151).contains(&of_heavy), "{of_heavy} of 200");
    let longest = order.chunk_by(|a, b| a.owner == b.owner).map(<[Entry]>::len).max();
    assert!(longest <= Some(4), "in turn, not one after the other: {longest:?}");
}

pub(crate) async fn no_more_jobs_of_an_owner_run_than_may_and_others_pass_them(broker: Dyn) {
    let (bounded, free) = (Owner::new("bounded: one|"), Owner::new("free"));
    let offer = terms(8, &[(&bounded, Some(2), None)]);
    broker.enqueue((0..5).map(|number| of(&bounded, number, 9_000)).collect()).await.unwrap();
    broker.enqueue((10..13).map(|number| of(&free, number, 100)).collect()).await.unwrap();
    let runs = claimed(&*broker, take(&*broker, &offer).await);
    let mut of_bounded: Vec<Run> = runs.into_iter().filter(|run| run.owner == bounded).collect();
    assert_eq!(of_bounded.len(), 2);
    assert_eq!(broker.depth().await.unwrap().total, 3, "three of another went on");
    nothing(&*broker, &offer).await;
    for _ in 0..3 {
        let waiting = tokio::spawn({
            let (broker, offer) = (Arc::clone(&broker), offer.clone());
            async move { broker.next(&offer).await.unwrap() }
        });
        tokio::task::yield_now().await;
        let ended = of_bounded.remove(0);
        broker.runs("w-1", &of_bounded, &[ended], LEASE).await.unwrap();
        let mut next = claimed(&*broker, soon(waiting).await.unwrap());
        assert_eq!(next.len(), 1, "as many as have ended");
        of_bounded.append(&mut next);
    }
    broker.runs("w-1", &[], &of_bounded, LEASE).await.unwrap();
    assert_eq!(broker.depth().await.unwrap().total, 0);
}

pub(crate) async fn an_owner_that_is_full_holds_up_no_priority_and_no_age(broker: Dyn) {
    let (bounded, free) = (Owner::new("bounded"), Owner::new("free"));
    let offer = terms(1, &[(&bounded, Some(1), Some(100))]);
    let ageing = i64::try_from(AGEING.as_millis()).unwrap();
    let first = Entry { priority: Priority::High, ..of(&bounded, 1, 3 * ageing) };
    let urgent = Entry { priority: Priority::High, ..of(&bounded, 2, 500) };
    let old = Entry { priority: Priority::Low, ..of(&bounded, 3, 3 * ageing) };
    let low = Entry { priority: Priority::Low, ..of(&free, 4, 0) };
    let normal = of(&free, 5, 0);
    let all = [&first, &urgent, &old, &low, &normal];
    broker.enqueue(all.into_iter().cloned().collect()).await.unwrap();
    let runs = claimed(&*broker, take(&*broker, &offer).await);
    assert_eq!(runs, [Run { owner: bounded.clone(), job: first.job }]);
    assert_eq!(drain(&*broker, 2, &offer).await, [normal, low]);
    nothing(&*broker, &offer).await;
    broker.runs("w-1", &[], &runs, LEASE).await.unwrap();
    let runs = claimed(&*broker, take(&*broker, &offer).await);
    assert_eq!(runs, [Run { owner: bounded, job: old.job }], "by its age, as ever");
    broker.runs("w-1", &[], &runs, LEASE).await.unwrap();
    assert_eq!(drain(&*broker, 1, &offer).await, [urgent]);
}

pub(crate) async fn what_workers_have_in_hand_counts_for_all_of_them(broker: Dyn) {
    let owner = Owner::new("bounded");
    let one = terms(1, &[(&owner, Some(2), None)]);
    let other = Offer { worker: String::from("w-2"), ..one.clone() };
    // One that was not handed out by the queue, such as one that was found in the database.
    let found = Run { owner: owner.clone(), job: entry(100, 0).job };
    broker.runs("w-1", std::slice::from_ref(&found), &[], LEASE).await.unwrap();
    broker.enqueue((0..3).map(|number| of(&owner, number, 1_000)).collect()).await.unwrap();
    let taken = claimed(&*broker, take(&*broker, &other).await);
    nothing(&*broker, &one).await;
    // Of one job that two workers have in hand, the end in one is not that in the other.
    broker.runs("w-2", &taken, std::slice::from_ref(&found), LEASE).await.unwrap();
    nothing(&*broker, &one).await;
    broker.runs("w-1", &[], &[found], LEASE).await.unwrap();
    assert_eq!(take(&*broker, &one).await.len(), 1);
    nothing(&*broker, &other).await;
}

pub(crate) async fn what_nobody_speaks_for_any_more_does_not_count(broker: Dyn) {
    let owner = Owner::new("bounded");
    let offer = terms(1, &[(&owner, Some(1), None)]);
    broker.enqueue((0..2).map(|number| of(&owner, number, 1_000)).collect()).await.unwrap();
    let runs = claimed(&*broker, take(&*broker, &offer).await);
    for _ in 0..3 {
        broker.runs("w-1", &runs, &[], Duration::from_millis(200)).await.unwrap();
        nothing(&*broker, &offer).await;
    }
    // Its worker has died.
    let other = Offer { worker: String::from("w-2"), ..offer };
    assert_eq!(take(&*broker, &other).await.len(), 1);
    nothing(&*broker, &other).await;
}

pub(crate) async fn owners_of_their_own_terms_have_another_limit_than_the_rest(broker: Dyn) {
    let owners = ["own", "one", "two"].map(Owner::new);
    let own = HashMap::from([(owners[0].clone(), OwnTerms { running: Some(3), weight: None })]);
    let offer = Offer { terms: Arc::new(Terms { running: Some(1), own }), ..offer(32) };
    for (at, owner) in (0u16..).zip(&owners) {
        broker.enqueue((0..5).map(|number| of(owner, 10 * at + number, 1_000)).collect()).await.unwrap();
    }
    let runs = claimed(&*broker, take(&*broker, &offer).await);
    let count = |owner: &Owner| runs.iter().filter(|run| run.owner == *owner).count();
    assert_eq!(owners.each_ref().map(count), [3, 1, 1]);
    nothing(&*broker, &offer).await;
    // Whoever knows of no limit is bound by none.
    assert_eq!(take(&*broker, &super::offer(32)).await.len(), 10);
}

pub(crate) async fn requests_are_counted_by_key_and_by_rule(broker: Dyn) {
    let rule = Rule { per_window: 3, window_ms: 3_600_000, burst: 3 };
    for left in [2, 1, 0] {
        let decision = broker.limit("a", rule, 1).await.unwrap();
        assert_eq!((decision.allowed, decision.remaining, decision.retry_after_ms), (true, left, 0));
    }
    let refused = broker.limit("a", rule, 1).await.unwrap();
    assert!(!refused.allowed && refused.remaining == 0);
    assert!((1_190_000..=1_200_000).contains(&refused.retry_after_ms), "{refused:?}");
    assert!((3_590_000..=3_600_000).contains(&refused.reset_after_ms), "{refused:?}");
    assert!(broker.limit("b", rule, 3).await.unwrap().allowed, "another key");
    assert!(!broker.limit("b", rule, 1).await.unwrap().allowed);
    assert!(broker.limit("a", Rule { burst: 9, ..rule }, 1).await.unwrap().allowed, "a larger burst");
}
