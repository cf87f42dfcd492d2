use std::time::Duration;

use gateway_core::{Owner, Priority};

use super::*;

fn entry(number: u8) -> Entry {
    let since = now();
    Entry {
        job: JobId::new(since, [number; 10]),
        priority: Priority::Normal,
        owner: Owner::local(),
        since,
        not_before: None,
    }
}

fn broker() -> Arc<MemoryBroker> {
    Arc::new(MemoryBroker::new(Duration::from_secs(600)))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it should have happened by now")
}

#[tokio::test]
async fn a_waiting_consumer_wakes_when_work_arrives() {
    let broker = broker();
    let consumer = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.next(5).await.unwrap() }
    });
    let waiting = entry(1);
    broker.enqueue(vec![waiting.clone()]).await.unwrap();
    assert_eq!(soon(consumer).await.unwrap(), vec![waiting]);
}

#[tokio::test]
async fn a_delayed_entry_is_handed_out_when_it_is_due_without_any_other_arrival() {
    let broker = broker();
    let due = now().plus_millis(60);
    broker.enqueue(vec![Entry { not_before: Some(due), ..entry(1) }]).await.unwrap();
    assert_eq!(soon(broker.next(1)).await.unwrap().len(), 1);
    assert!(now() >= due);
}

#[tokio::test]
async fn no_more_than_asked_for_is_handed_out_and_two_consumers_share() {
    let broker = broker();
    broker.enqueue((0..10).map(entry).collect()).await.unwrap();
    let first = broker.next(4).await.unwrap();
    let second = broker.next(100).await.unwrap();
    assert_eq!((first.len(), second.len()), (4, 6));
    assert!(first.iter().all(|taken| !second.contains(taken)));
}

#[tokio::test]
async fn what_is_forgotten_is_not_handed_out() {
    let broker = broker();
    let (gone, kept) = (entry(1), entry(2));
    broker.enqueue(vec![gone.clone(), kept.clone()]).await.unwrap();
    broker.forget(gone.job).await.unwrap();
    assert_eq!(broker.position(gone.job).await.unwrap(), None);
    assert_eq!(broker.next(9).await.unwrap(), vec![kept]);
}

#[tokio::test]
async fn wishes_to_cancel_reach_whoever_listens() {
    let broker = broker();
    let mut cancels = broker.cancels();
    let job = entry(1).job;
    broker.signal_cancel(job).await.unwrap();
    assert_eq!(soon(cancels.recv()).await.unwrap(), job);
}
