//! Transactions that take turns: none waits for one that waits for it, on either engine.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::testing::{Place, on_both_engines};
use crate::writer::Turns;
use crate::{Database, DbError};

const NAMES: usize = 40;

/// Keeps the writer of `database` busy until the sender is dropped, so that what is wished meanwhile is done together.
async fn hold(database: &Database, turns: Turns) -> Sender<()> {
    let (release, released): (_, Receiver<()>) = channel();
    let (held, holds) = tokio::sync::oneshot::channel();
    let database = database.clone();
    tokio::spawn(async move {
        let wait = move |_: &mut crate::engine::Conn| {
            let _ = held.send(());
            let _ = released.recv();
            Ok(())
        };
        database.writer().write(turns, wait).await
    });
    holds.await.unwrap();
    release
}

async fn whatever_order_turns_are_wished_in_nobody_waits_in_a_circle(place: Place) {
    let databases = [place.open_shared(), place.open_shared()];
    // In a file one process writes at a time: one is held after the other has begun.
    let served = databases[0].engine() == "postgres";
    let mut holds = vec![hold(&databases[0], Turns::Of(Vec::new())).await];
    if served {
        holds.push(hold(&databases[1], Turns::Of(Vec::new())).await);
    }
    let mut wishes: Vec<tokio::task::JoinHandle<Result<(), DbError>>> = Vec::new();
    for number in 0..NAMES {
        for (database, number) in databases.iter().zip([number, NAMES - 1 - number]) {
            let database = database.clone();
            let pair = [format!("n{number}"), format!("n{}", (number * 7) % NAMES)];
            let turns = Turns::Of(vec![pair[0].clone()]);
            // Without the second try that a deadlock gets.
            wishes.push(tokio::spawn(async move {
                database.writer().write(turns, |_| Ok(())).await?;
                let alone = move |connection: &mut crate::engine::Conn| {
                    Ok(connection.take_turns(pair.iter().map(String::as_str))?)
                };
                database.writer().write(Turns::Found, alone).await
            }));
        }
    }
    tokio::task::yield_now().await;
    drop(holds);
    for wish in wishes {
        wish.await.unwrap().unwrap();
    }
}

on_both_engines!(whatever_order_turns_are_wished_in_nobody_waits_in_a_circle);

#[tokio::test]
async fn a_turn_is_kept_until_its_transaction_ends_and_others_do_not_wait() {
    let Some(place) = Place::postgres() else { return };
    let (one, two) = (place.open_shared(), place.open_shared());
    let release = hold(&one, Turns::Of(vec![String::from("a")])).await;
    two.write_in_turn(vec![String::from("b")], |_| Ok(())).await.unwrap();
    assert!(!two.write(|connection| Ok(connection.try_turn("a")?)).await.unwrap(), "two have the same turn");
    drop(release);
    two.write_in_turn(vec![String::from("a")], |_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn what_lies_below_a_prefix_is_found_by_bytes_whatever_the_language_of_the_server() {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Column {
        #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
        collation: Option<String>,
    }
    let Some(place) = Place::postgres() else { return };
    let asked = "SELECT collation_name::text AS collation FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = 'outputs' AND column_name = 'storage_key'";
    let column: Column =
        place.open().read(move |connection| Ok(diesel::sql_query(asked).get_result(connection)?)).await.unwrap();
    assert_eq!(column.collation.as_deref(), Some("C"));
}
