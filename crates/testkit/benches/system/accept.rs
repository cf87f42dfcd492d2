//! `POST /jobs` a second against the bare limit: one handler that parses the same body and inserts it through a writer
//! that commits what waits together, on the same kind of database.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::load;
use crate::process::{Process, Shape, free_port, system};

const CONNECTIONS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 4;
const BATCH: usize = 256;

pub(crate) async fn run(binary: &Path) {
    let note = "x".repeat(1_800);
    let body = json!({"workflowId": "tiny", "inputs": {"color": 7}, "metadata": {"note": note}}).to_string();
    let request = load::post("/jobs", &body);
    let (mut bare, mut gateway) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(measure_bare(binary, &request).await);
        let system = system(binary, Shape { sim: None, env: &[("LOG_LEVEL", "error")] }).await;
        let address = system.gateway.url.trim_start_matches("http://");
        gateway.push(load::rate(address, &request, "HTTP/1.1 202", CONNECTIONS, TIME).await);
    }
    let (bare, gateway) = (median(&mut bare), median(&mut gateway));
    println!(
        "accept    POST /jobs {gateway:.0}/s, bare batched handler {bare:.0}/s, ratio {:.2} ({CONNECTIONS} connections, {} byte bodies, medians of {ROUNDS} interleaved rounds)",
        gateway / bare,
        body.len(),
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0
}

async fn measure_bare(binary: &Path, request: &[u8]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--binary").arg(binary).args(["bare-server", &port.to_string()]).arg(folder.path().join("bare.db"));
    let process = Process::start(command, format!("http://127.0.0.1:{port}"), "/").await;
    load::rate(process.url.trim_start_matches("http://"), request, "HTTP/1.1 202", CONNECTIONS, TIME).await
}

struct Row {
    id: String,
    body: String,
    done: oneshot::Sender<()>,
}

diesel::table! {
    bare (id) { id -> Text, body -> Text, }
}

/// Serves the bare handler until it is killed.
pub(crate) async fn serve_bare(port: u16, database: &Path) {
    let (rows, queue) = channel::<Row>();
    let mut connection = SqliteConnection::establish(&database.to_string_lossy()).unwrap();
    connection
        .batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bare (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
        .unwrap();
    std::thread::spawn(move || {
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(row) = queue.try_recv()
            {
                batch.push(row);
            }
            connection
                .immediate_transaction::<(), diesel::result::Error, _>(|connection| {
                    for row in &batch {
                        diesel::insert_into(bare::table)
                            .values((bare::id.eq(&row.id), bare::body.eq(&row.body)))
                            .execute(connection)?;
                    }
                    Ok(())
                })
                .unwrap();
            for row in batch {
                let _ = row.done.send(());
            }
        }
    });
    HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(rows.clone()))
            .route("/", web::get().to(HttpResponse::Ok))
            .route("/jobs", web::post().to(insert))
    })
    .bind(("127.0.0.1", port))
    .unwrap()
    .run()
    .await
    .unwrap();
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
