//! Keys and the audit log, the same on either engine.

use gateway_core::access::{KeyRights, OwnTerms};
use gateway_core::audit::{ChainCheck, ChainFault};
use gateway_core::{Owner, Role, Timestamp};

use crate::testing::{Place, on_both_engines};
use crate::{AuditFilter, Database, DbError, NewAudit, StoredKey};

fn key(id: &str, expires: Option<i64>) -> StoredKey {
    StoredKey {
        id: id.to_owned(),
        name: String::from("shop"),
        role: Role::User,
        hash: String::from("00"),
        rights: KeyRights { rate_limit: Some(5), workflows: Some(vec![String::from("w")]), ..KeyRights::default() },
        created_at: Timestamp::from_millis(7),
        created_by: String::from("key:a"),
        expires_at: expires.map(Timestamp::from_millis),
        last_used_at: None,
        revoked_at: None,
    }
}

async fn a_key_is_kept_used_and_revoked(place: Place) {
    let database = place.open();
    assert!(!database.has_keys().await.unwrap());
    database.put_key(key("k1", Some(1))).await.unwrap();
    assert!(database.has_keys().await.unwrap(), "it has expired, and was made");
    database.put_key(key("k2", None)).await.unwrap();
    assert!(database.has_keys().await.unwrap());
    assert!(matches!(database.put_key(key("k2", None)).await, Err(DbError::Duplicate)));
    assert_eq!(database.find_key("k2").await.unwrap(), Some(key("k2", None)));
    assert_eq!(database.find_key("k3").await.unwrap(), None);
    database.note_key_use("k2", Timestamp::from_millis(60_000)).await.unwrap();
    assert!(database.revoke_key("k2").await.unwrap());
    assert!(!database.revoke_key("k2").await.unwrap());
    assert!(!database.revoke_key("k3").await.unwrap());
    let [first, second] = database.list_keys().await.unwrap().try_into().unwrap();
    assert_eq!([first.id.as_str(), &second.id], ["k1", "k2"]);
    assert_eq!(second.last_used_at, Some(Timestamp::from_millis(60_000)));
    assert!(second.revoked_at.is_some() && database.has_keys().await.unwrap(), "a gateway was opened");
}

async fn keys_say_what_their_owners_get(place: Place) {
    let database = place.open();
    let put = async |id: &str, created: i64, running: Option<u32>, weight: Option<u32>| {
        let rights = KeyRights { running_limit: running, weight, ..KeyRights::default() };
        let key = StoredKey { created_at: Timestamp::from_millis(created), rights, ..key(id, None) };
        database.put_key(key).await.unwrap();
    };
    let terms = async || database.owner_terms().await.unwrap().get(&Owner::new("shop")).copied();
    put("k1", 1, None, None).await;
    assert_eq!(terms().await, None);
    put("k3", 3, Some(3), None).await;
    put("k2", 2, Some(2), Some(5)).await;
    put("k4", 4, None, None).await;
    assert_eq!(terms().await, Some(OwnTerms { running: Some(3), weight: Some(5) }), "the newest that says it");
    database.revoke_key("k3").await.unwrap();
    assert_eq!(terms().await, Some(OwnTerms { running: Some(2), weight: Some(5) }));
    database.revoke_key("k2").await.unwrap();
    assert_eq!(terms().await, None, "of those that are good none says anything");
    for id in ["k1", "k4"] {
        database.revoke_key(id).await.unwrap();
    }
    assert_eq!(terms().await.and_then(|own| own.running), Some(3), "no key is left: its jobs stay bounded");
}

fn entry(actor: &str, action: &'static str) -> NewAudit {
    NewAudit {
        actor: actor.to_owned(),
        action,
        target: String::from("t"),
        correlation_id: String::from("c"),
        address: String::from("127.0.0.1"),
        detail: String::new(),
    }
}

async fn verify(database: &Database) -> Result<i64, ChainFault> {
    let mut check = ChainCheck::default();
    for record in database.audit_chain(0, 1_000).await.unwrap() {
        check.next(&record.entry, &record.hash)?;
    }
    Ok(check.head().0)
}

async fn entries_of_many_at_once_make_one_chain(place: Place) {
    let databases = [place.open_shared(), place.open_shared()];
    let mut tasks = Vec::new();
    for number in 0..60 {
        let database = databases[number % 2].clone();
        tasks.push(tokio::spawn(async move { database.audit(entry("a", "x")).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(verify(&databases[0]).await, Ok(60));
}

async fn entries_are_listed_by_who_and_what_and_a_change_is_found(place: Place) {
    let database = place.open();
    for (actor, action) in [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")] {
        database.audit(entry(actor, action)).await.unwrap();
    }
    let seqs = |filter: AuditFilter, cursor, limit| {
        let database = database.clone();
        async move {
            let records = database.list_audit(filter, cursor, limit).await.unwrap();
            records.into_iter().map(|record| record.entry.seq).collect::<Vec<_>>()
        }
    };
    let of = |actor: &str, action: &str| AuditFilter {
        actor: Some(actor.to_owned()),
        action: Some(action.to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(seqs(AuditFilter::default(), None, 10).await, [4, 3, 2, 1]);
    assert_eq!(seqs(AuditFilter::default(), Some(3), 1).await, [2]);
    assert_eq!(seqs(of("a", "x"), None, 10).await, [4, 1]);
    let future = AuditFilter { after: Some(database.now().plus_millis(60_000)), ..AuditFilter::default() };
    assert_eq!(seqs(future, None, 10).await, [0; 0]);
    assert_eq!(verify(&database).await, Ok(4));
    use diesel::prelude::*;
    let change = |connection: &mut crate::engine::Conn| {
        use crate::schema::audit::dsl::*;
        Ok(diesel::update(audit.filter(seq.eq(3))).set(target.eq("other")).execute(connection)?)
    };
    database.write(change).await.unwrap();
    assert_eq!(verify(&database).await, Err(ChainFault::Entry(3)));
}

on_both_engines!(
    a_key_is_kept_used_and_revoked,
    keys_say_what_their_owners_get,
    entries_of_many_at_once_make_one_chain,
    entries_are_listed_by_who_and_what_and_a_change_is_found,
);
