//! What watchers of a job hear.

use gateway_core::JobStatus;
use gateway_core::Timestamp;
use gateway_core::event::{EventId, JobEvent, LogLevel, LogLine};
use gateway_core::progress::Progress;

use super::{Dyn, entry, soon};
use crate::Replay;

pub(crate) async fn what_was_missed_is_told_again_in_order_and_progress_is_not(broker: Dyn) {
    let job = entry(1, 0).job;
    let line = |number: u64| {
        JobEvent::Log(LogLine {
            time: Timestamp::from_millis(1),
            level: LogLevel::Info,
            event: format!("e{number}"),
            message: String::from("m with spaces"),
            node: None,
        })
    };
    let happened = [line(1), JobEvent::Status(JobStatus::Running), line(2), JobEvent::Status(JobStatus::Succeeded)];
    for event in &happened {
        broker.publish(job, event.clone());
        broker.publish(job, JobEvent::Progress(Progress { percent: 7, ..Progress::default() }));
    }
    let mut told = Vec::new();
    soon(async {
        while told.len() < happened.len() {
            told = broker.replay(job, None).await.missed;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(told.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), happened);
    assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let newest = Some(told[3].0);
    let future = EventId { millis: u64::MAX, number: 0 };
    // The last was not given out.
    for (after, from) in [(told[1].0, 2), (told[3].0, 4), (future, 0)] {
        assert_eq!(broker.replay(job, Some(after)).await, Replay { missed: told[from..].to_vec(), newest });
    }
    for after in [None, Some(future)] {
        assert_eq!(broker.replay(entry(2, 0).job, after).await, Replay::default(), "nothing is known");
    }
}

pub(crate) async fn previews_are_wanted_once_somebody_says_so(broker: Dyn) {
    let job = entry(1, 0).job;
    assert!(!broker.wants_previews(job).await);
    broker.want_previews(job).await;
    assert!(broker.wants_previews(job).await);
    assert!(!broker.wants_previews(entry(2, 0).job).await);
}
