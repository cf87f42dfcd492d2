//! Who is told of ends of jobs, while those who tell die and others do not listen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gateway_core::{JobStatus, Scope};
use gateway_db::Database;

use super::{Found, Place, Random, Trial, must_meet, percentile, states};
use crate::receiver::{Fate, Received, Receiver, Reply};
use crate::stack::Submitted;
use crate::wait::{DEADLINE, within};

/// How late the receiver of experiment 48 answers.
const LATE: Duration = Duration::from_millis(300);
/// How long after its answer a message is usually noted, and how long after something happens it has been seen at the latest.
const NOTED: Duration = Duration::from_millis(100);
const SLACK: Duration = Duration::from_millis(500);
/// Longer than a message is held by a sender that died.
const HELD: Duration = Duration::from_secs(40);
/// Messages to one host that may be under way at a time, and how long each of them waits for an answer.
const PER_HOST: usize = 4;
const UNANSWERED: Duration = Duration::from_secs(10);

/// Experiment 48.
pub(super) async fn sender_killed(place: &Place) -> Found {
    let kills = place.scale.of(3, 100);
    let mut trial = Trial::start(place, |config| {
        config.workers = 2;
        config.reply = Reply::late(LATE);
    })
    .await;
    let (submitted, killed) = kill_senders(&mut trial, kills, &mut Random::new(place.seed)).await;
    let (mut audit, stack) = trial.audit(&submitted).await;
    if killed.len() < kills {
        audit.broken.push(format!("no message was under way for {} s", HELD.as_secs()));
    }
    // What may not have arrived is sent again: nothing comes any more once all is noted.
    let database = stack.database().await;
    let noted = || async { unnoted(&database, &submitted).await.filter(|left| *left == 0) };
    if within(DEADLINE, noted).await.is_none() {
        let left = unnoted(&database, &submitted).await.unwrap_or(submitted.len());
        audit.broken.push(format!("messages about {left} jobs are not noted as delivered"));
    }
    let again = came_again(&stack.receiver.requests(), &killed, &mut audit.broken);
    if again > killed.len() {
        audit.broken.push(format!("{again} messages came again in {} kills", killed.len()));
    }
    must_meet(&mut audit.broken, again, "nobody was killed between sending a message and noting it");
    Found {
        done: format!(
            "{} kills of one of 2 workers when one message was under way, {} jobs",
            killed.len(),
            submitted.len()
        ),
        measured: format!(
            "{}; {} messages, {} cut off, {again} of all came again",
            states(&audit),
            stack.receiver.count(),
            cut_off(&stack.receiver)
        ),
        broken: audit.broken,
    }
}

/// Kills workers at random, each at a random moment at which one message is under way; gives the jobs that were submitted,
/// and when a worker was killed. About half of the kills miss who sends it: it goes on until some have met.
async fn kill_senders(trial: &mut Trial, kills: usize, random: &mut Random) -> (Vec<Submitted>, Vec<Instant>) {
    let (mut submitted, mut killed) = (Vec::new(), Vec::new());
    while killed.len() < kills || (cut_off(&trial.stack.receiver) < kills.div_ceil(4) && killed.len() < kills * 5) {
        // Apart by more than a message takes.
        let load = trial.submit_named(&format!("k{}", killed.len()), 6, Some(2.0));
        let caught = one_under_way(&trial.stack.receiver, random).await;
        if caught {
            let victim = usize::try_from(random.below(2)).unwrap_or(0);
            trial.stack.workers[victim].process.kill();
            killed.push(Instant::now());
            trial.stack.restart_worker(victim).await;
        }
        submitted.extend(load.await.expect("the load"));
        if !caught {
            break;
        }
    }
    (submitted, killed)
}

/// Waits for a random moment at which one message is under way and all others are noted; `false` where none comes.
async fn one_under_way(receiver: &Receiver, random: &mut Random) -> bool {
    let alone = || {
        let waiting = receiver.count_where(|message| message.fate == Fate::Waits);
        let fresh = |message: &Received| message.fate == Fate::Answered && message.at.elapsed() < LATE + NOTED;
        (waiting == 1 && receiver.count_where(fresh) == 0).then_some(())
    };
    while within(HELD, || async { alone() }).await.is_some() {
        random.pause(LATE.as_millis() as u64).await;
        if alone().is_some() {
            return true;
        }
    }
    false
}

/// How many of these jobs have messages that are not noted as delivered.
async fn unnoted(database: &Database, jobs: &[Submitted]) -> Option<usize> {
    let mut left = 0;
    for job in jobs {
        let records = database.deliveries_of(&job.id).await.ok()?;
        left += usize::from(records.iter().any(|record| record.status != "delivered"));
    }
    Some(left)
}

/// Messages whose senders were gone before they were answered.
fn cut_off(receiver: &Receiver) -> usize {
    receiver.count_where(|message| message.fate == Fate::Cut)
}

/// How often messages came again. Each must have been received once, and come again only where a sender was killed who
/// may not have noted it.
fn came_again(requests: &[Received], killed: &[Instant], broken: &mut Vec<String>) -> usize {
    let mut messages: BTreeMap<&str, Vec<(Instant, Fate)>> = BTreeMap::new();
    for request in requests {
        messages.entry(request.header("webhook-id")).or_default().push((request.at, request.fate));
    }
    let mut again = 0;
    for (id, comings) in &messages {
        if !comings.iter().any(|(_, fate)| *fate == Fate::Answered) {
            broken.push(format!("message {id} is lost: it was never answered"));
        }
        again += comings.len() - 1;
        for (at, fate) in comings.iter().take(comings.len() - 1) {
            let open = match fate {
                Fate::Answered => *at + LATE - SLACK..*at + LATE + SLACK,
                Fate::Waits | Fate::Cut => *at - SLACK..*at + LATE + SLACK,
            };
            if !killed.iter().any(|kill| open.contains(kill)) {
                broken.push(format!("message {id} came again, and nobody was killed while it was under way"));
            }
        }
    }
    again
}

/// Experiment 50.
pub(super) async fn dead_receiver(place: &Place) -> Found {
    // More than all workers send at a time, whatever their hosts: were there no limit for each host, the good one would wait.
    let (workers, dead_jobs, good_jobs) = place.scale.of((1, 80, 20), (3, 4_000, 400));
    let dead = Receiver::scripted([Reply::hang()]).await;
    let good = Receiver::start().await;
    let trial = Trial::start(place, |config| {
        config.workers = workers;
        config.switches.node_ms = 5;
        let allowed = format!("127.0.0.1:{},127.0.0.1:{}", good.port(), dead.port());
        config.variables.push((String::from("WEBHOOK_ALLOWED_DOMAINS"), allowed));
    })
    .await;
    let client = trial.stack.client().clone();
    let mut broken = Vec::new();
    let began = Instant::now();
    let mut load = trial.stack.load("dead", dead_jobs, None);
    load.callback = Some(dead.url("/hook"));
    load.run(client.clone()).await;
    let patience = Duration::from_secs(60 + dead_jobs as u64 / 10);
    if within(patience, || async { (trial.waiting().await? == 0).then_some(()) }).await.is_none() {
        broken.push(format!("jobs for the dead receiver were not done after {} s", patience.as_secs()));
    }
    let mut load = trial.stack.load("good", good_jobs, Some(place.scale.of(10.0, 20.0)));
    load.callback = Some(good.url("/hook"));
    let submitted = load.run(client).await;
    if within(DEADLINE * 2, || async { (good.count() >= good_jobs).then_some(()) }).await.is_none() {
        broken.push(format!("{} of {good_jobs} messages came to the good receiver", good.count()));
    }
    let mut waits = waits(&trial.stack.database().await, &submitted, &mut broken).await;
    let p99 = percentile(&mut waits, 0.99);
    if p99 > 5_000.0 {
        broken.push(format!("messages to the good receiver wait {p99:.0} ms at p99"));
    }
    let count = dead.count();
    must_meet(&mut broken, count, "the dead receiver was never tried");
    let most = PER_HOST * (began.elapsed().as_secs() / UNANSWERED.as_secs() + 1) as usize;
    if count > most {
        broken.push(format!("the dead receiver was tried {count} times: more than {PER_HOST} at a time"));
    }
    Found {
        done: format!("{dead_jobs} messages to a receiver that never answers, {good_jobs} to one that does"),
        measured: format!(
            "{} came, waiting {p99:.0} ms at p99; the dead one was tried {count} times, {most} allowed",
            good.count()
        ),
        broken,
    }
}

/// How long the messages about these jobs waited for their first try, each of which must be noted.
async fn waits(database: &Database, jobs: &[Submitted], broken: &mut Vec<String>) -> Vec<Duration> {
    let mut waits = Vec::new();
    for Submitted { id, .. } in jobs {
        let noted = within(Duration::from_secs(10), || async {
            let job = database.find_job(id.parse().expect("an id"), Scope::All).await.ok()??;
            let records = database.deliveries_of(id).await.ok()?;
            let first = records.first()?.tries.first()?.time;
            (job.status == JobStatus::Succeeded).then(|| first.millis_since(job.finished_at.unwrap_or(job.created_at)))
        });
        match noted.await {
            Some(wait) => waits.push(Duration::from_millis(u64::try_from(wait).unwrap_or(0))),
            None => broken.push(format!("nobody is noted to have been told that {id} succeeded")),
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message `id`, so many milliseconds after `began`.
    fn came(id: &'static str, began: Instant, millis: u64, fate: Fate) -> Received {
        let headers = [("webhook-id", id)].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let at = began + Duration::from_millis(millis);
        Received { path: String::new(), headers: headers.into_iter().collect(), body: Vec::new(), at, fate }
    }

    #[test]
    fn a_message_may_come_again_only_where_its_sender_may_not_have_noted_it() {
        let began = Instant::now() + SLACK;
        let (cut, answered, late) = (
            came("a", began, 0, Fate::Cut),
            came("b", began, 0, Fate::Answered),
            came("c", began, 5_000, Fate::Answered),
        );
        let again = ["a", "b", "c"].map(|id| came(id, began, 20_000, Fate::Answered));
        let requests = [&[cut, answered, late][..], &again[..]].concat();
        let killed = began + LATE;
        let mut broken = Vec::new();
        assert_eq!(came_again(&requests, &[killed], &mut broken), 3);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].starts_with("message c came again"), "{broken:?}");
        assert_eq!(came_again(&requests, &[], &mut broken), 3);
        assert_eq!(broken.len(), 4, "{broken:?}");
    }

    #[test]
    fn a_message_that_was_cut_off_and_never_answered_is_lost() {
        let began = Instant::now() + SLACK;
        let requests = [came("a", began, 0, Fate::Cut), came("b", began, 0, Fate::Answered)];
        let mut broken = Vec::new();
        assert_eq!(came_again(&requests, &[began], &mut broken), 0);
        assert_eq!(broken, ["message a is lost: it was never answered"]);
    }
}
