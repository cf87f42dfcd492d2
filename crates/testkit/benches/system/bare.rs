//! The bare limits: a handler that answers at once, one that adds an entry to a stream, and one that parses a job that a
//! thread inserts with what waits together.

use std::sync::mpsc::{Sender, channel};

use actix_web::{App, HttpResponse, HttpServer, web};
use deadpool_redis::redis::{self, aio::MultiplexedConnection};
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};
use tokio::sync::oneshot;

const BATCH: usize = 256;
const TABLE: &str = "CREATE TABLE bare (id TEXT PRIMARY KEY, body TEXT NOT NULL)";

enum Store {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Store {
    fn open(database: &str) -> Self {
        if database.starts_with("postgres") {
            let mut connection = PgConnection::establish(database).unwrap();
            connection.batch_execute(TABLE).unwrap();
            return Self::Postgres(connection);
        }
        let mut connection = SqliteConnection::establish(database).unwrap();
        connection.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").unwrap();
        connection.batch_execute(TABLE).unwrap();
        Self::Sqlite(connection)
    }

    fn insert(&mut self, rows: &[Row]) {
        let values = |row: &Row| (bare::id.eq(row.id.clone()), bare::body.eq(row.body.clone()));
        match self {
            Self::Postgres(connection) => {
                let rows: Vec<_> = rows.iter().map(values).collect();
                diesel::insert_into(bare::table).values(rows).execute(connection).unwrap();
            }
            Self::Sqlite(connection) => connection
                .immediate_transaction::<(), diesel::result::Error, _>(|connection| {
                    for row in rows {
                        diesel::insert_into(bare::table).values(values(row)).execute(connection)?;
                    }
                    Ok(())
                })
                .unwrap(),
        }
    }
}

struct Row {
    id: String,
    body: String,
    done: oneshot::Sender<()>,
}

diesel::table! {
    bare (id) { id -> Text, body -> Text, }
}

/// Serves the bare handler until it is killed: rows go to `database`, hints to the stream of `redis`.
pub(crate) async fn serve(port: u16, database: &str, redis: Option<&str>) {
    let (rows, queue) = channel::<Row>();
    let mut store = Store::open(database);
    let mut stream = redis.map(|url| redis::Client::open(url).unwrap().get_connection().unwrap());
    std::thread::spawn(move || {
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(row) = queue.try_recv()
            {
                batch.push(row);
            }
            store.insert(&batch);
            if let Some(stream) = &mut stream {
                let mut hints = redis::pipe();
                for row in &batch {
                    hints.cmd("XADD").arg("bare").arg("*").arg("job").arg(&row.id).ignore();
                }
                hints.query::<()>(stream).unwrap();
            }
            for row in batch {
                let _ = row.done.send(());
            }
        }
    });
    let hints = match redis {
        Some(url) => Some(redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()),
        None => None,
    };
    HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(rows.clone()))
            .app_data(web::Data::new(hints.clone()))
            .route("/", web::get().to(hello))
            .route("/jobs", web::post().to(insert))
            .route("/xadd", web::post().to(xadd))
    })
    .bind(("127.0.0.1", port))
    .unwrap()
    .run()
    .await
    .unwrap();
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().json(json!({"hello": "world"}))
}

async fn xadd(hints: web::Data<Option<MultiplexedConnection>>) -> HttpResponse {
    let mut connection = Option::clone(&hints).expect("a Redis");
    let mut command = redis::cmd("XADD");
    let _id: String = command.arg("bare").arg("*").arg("job").arg("1").query_async(&mut connection).await.unwrap();
    HttpResponse::Accepted().finish()
}

async fn insert(rows: web::Data<Sender<Row>>, body: web::Json<Value>) -> HttpResponse {
    assert!(body["workflowId"].is_string() && body["inputs"].is_object());
    let id = format!("{:032x}", rand_id());
    let (done, committed) = oneshot::channel();
    rows.send(Row { id: id.clone(), body: body.to_string(), done }).unwrap();
    committed.await.unwrap();
    HttpResponse::Accepted().json(json!({"jobId": id, "status": "queued"}))
}

fn rand_id() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    u128::from(RandomState::new().hash_one(std::thread::current().id())) << 64
        | u128::from(RandomState::new().hash_one(std::time::Instant::now()))
}
