//! Every way to tamper with a log, and that each is found at the right entry.

use proptest::prelude::*;

use super::*;

fn entry(seq: u64) -> Entry {
    Entry {
        seq,
        time_ms: 1_700_000_000_000 + i64::try_from(seq).unwrap(),
        actor: format!("actor-{seq}"),
        action: "workflow.update".to_owned(),
        target: "portrait".to_owned(),
        correlation_id: format!("c{seq}"),
        address: "192.0.2.1".to_owned(),
        detail: "{}".to_owned(),
    }
}

fn log(length: u64) -> Vec<(Entry, String)> {
    let mut previous = GENESIS.to_owned();
    (1..=length)
        .map(|seq| {
            previous = link(&previous, &entry(seq));
            (entry(seq), previous.clone())
        })
        .collect()
}

#[test]
fn a_whole_log_is_whole_at_once_and_in_pages() {
    let log = log(20);
    assert_eq!(first_bad(log.clone()), None);
    assert_eq!(first_bad(Vec::new()), None);
    let half = verify(Head::start(), log[..10].to_vec()).unwrap();
    let head = verify(half, log[10..].to_vec()).unwrap();
    assert_eq!(head, Head { seq: 20, hash: log[19].1.clone() });
}

#[test]
fn a_change_of_any_field_is_found_there() {
    let changes: [fn(&mut Entry); 7] = [
        |entry| entry.time_ms += 1,
        |entry| entry.actor.push('x'),
        |entry| entry.action.clear(),
        |entry| entry.target.push(' '),
        |entry| entry.correlation_id.push('\0'),
        |entry| entry.address = "192.0.2.2".to_owned(),
        |entry| entry.detail = "{ }".to_owned(),
    ];
    for change in changes {
        let mut log = log(20);
        change(&mut log[6].0);
        assert_eq!(first_bad(log), Some(7));
    }
}

#[test]
fn a_text_that_moves_to_the_next_field_is_found() {
    let mut log = log(3);
    let moved = log[1].0.actor.pop().unwrap();
    log[1].0.action.insert(0, moved);
    assert_eq!(first_bad(log), Some(2));
}

#[test]
fn a_changed_hash_or_its_other_spelling_is_found() {
    let mut changed = log(5);
    let other = if changed[2].1.starts_with('0') { "1" } else { "0" };
    changed[2].1.replace_range(..1, other);
    assert_eq!(first_bad(changed), Some(3));
    let mut spelled = log(5);
    spelled[2].1 = spelled[2].1.to_uppercase();
    assert_eq!(first_bad(spelled), Some(3));
}

#[test]
fn an_entry_made_anew_with_its_hash_is_found_at_the_next() {
    let mut log = log(5);
    log[2].0.actor = "somebody else".to_owned();
    log[2].1 = link(&log[1].1, &log[2].0);
    assert_eq!(first_bad(log), Some(4));
}

#[test]
fn deleted_moved_inserted_and_repeated_entries_are_found() {
    let mut deleted = log(10);
    deleted.remove(4);
    assert_eq!(first_bad(deleted), Some(6));
    let mut moved = log(10);
    moved.swap(4, 5);
    assert_eq!(first_bad(moved), Some(6));
    let mut repeated = log(10);
    repeated.insert(5, repeated[4].clone());
    assert_eq!(first_bad(repeated), Some(5));
    let mut inserted = log(10);
    let forged = entry(6);
    inserted.insert(5, (forged.clone(), link(&inserted[4].1, &Entry { actor: "x".to_owned(), ..forged })));
    assert_eq!(first_bad(inserted), Some(6));
}

#[test]
fn a_cut_at_the_front_is_found_and_one_at_the_end_by_a_noted_head() {
    let log = log(10);
    assert_eq!(first_bad(log[3..].to_vec()), Some(4));
    let noted = verify(Head::start(), log.clone()).unwrap();
    let found = verify(Head::start(), log[..8].to_vec()).unwrap();
    assert_ne!(found, noted);
    let mut numbered_anew = log[1..].to_vec();
    numbered_anew.iter_mut().for_each(|(entry, _)| entry.seq -= 1);
    assert_eq!(first_bad(numbered_anew), Some(1));
}

#[test]
fn a_number_that_is_left_out_is_found_though_all_hashes_are_right() {
    let first = link(GENESIS, &entry(1));
    let third = link(&first, &entry(3));
    assert_eq!(first_bad([(entry(1), first), (entry(3), third)]), Some(3));
    assert_eq!(first_bad([(entry(2), link(GENESIS, &entry(2)))]), Some(2));
}

#[test]
fn the_hash_stays_what_it_is() {
    // A stored log has to verify in every later version.
    assert_eq!(link(GENESIS, &entry(1)), "5c7c5dc13acbaf7c02435d688cf39b2fccc71745d86749d7fb3be9dbb7436bd9");
}

proptest! {
    #[test]
    fn entries_that_differ_have_hashes_that_differ(
        a in prop::array::uniform6("[ab:,\0]{0,3}"), b in prop::array::uniform6("[ab:,\0]{0,3}")
    ) {
        let make = |[actor, action, target, correlation_id, address, detail]: [String; 6]| Entry {
            seq: 1, time_ms: 0, actor, action, target, correlation_id, address, detail,
        };
        prop_assert_eq!(a == b, link(GENESIS, &make(a)) == link(GENESIS, &make(b)));
    }
}
