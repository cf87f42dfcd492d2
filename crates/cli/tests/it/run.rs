//! `run`: what it refuses to start with, and how it stops.

use crate::support::{Place, url_of};

#[test]
fn a_second_process_on_the_same_database_is_refused_with_a_sentence_and_the_first_goes_on() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    let first = place.start_gateway();
    place.set("PORT", "0");
    let pid = format!("(pid {})", first.id());
    let sentence = [
        "the database ./data/gateway.db is in use by another gateway process",
        &pid,
        "two would run the same jobs twice",
    ];
    place.run(&["run"]).expect(1).says(&sentence);
    place.run(&["demo", "--once"]).expect(1).says(&sentence);
    let error = place.run(&["--json", "run"]).expect(1).json();
    assert!(error["error"].as_str().is_some_and(|error| error.contains(sentence[0])), "{error}");

    let url = first.err.find("its URL", url_of);
    place.run(&["submit", "icon_512", "prompt=still here", "steps=1", "--wait", "--gateway", &url]).expect(0);
}

#[test]
fn a_wrong_variable_stops_the_start_and_is_named_with_its_value_and_what_is_allowed() {
    let mut place = Place::new();
    place.set("PORT", "99999");
    place.set("COMFYUI_URL", "ftp://127.0.0.1");
    place.write(".env", "LOG_LEVEL=loud\nMAX_CONCURRENCY=0\n");
    let everywhere: [&[&str]; 6] =
        [&["run"], &["demo", "--once"], &["init"], &["health"], &["list-workflows"], &["submit", "icon_512"]];
    for command in everywhere {
        place.run(command).expect(2).says(&[
            "PORT is `99999` (from the environment): allowed: a whole number from 0 to 65535",
            "COMFYUI_URL is `ftp://127.0.0.1` (from the environment): allowed: http:// or https:// URLs",
            "LOG_LEVEL is `loud` (from .env): allowed: trace, debug, info, warn, error, fatal or silent; and for single targets",
            "MAX_CONCURRENCY is `0` (from .env): allowed: a whole number from 1 to 256",
        ]);
    }
    assert!(!place.path("data").exists(), "something was made");
    let error = place.run(&["--json", "run"]).expect(2).json();
    assert!(error["error"].as_str().is_some_and(|error| error.contains("PORT is `99999`")), "{error}");
}

#[test]
fn credentials_that_cannot_be_used_stop_the_start_and_are_not_shown() {
    for (name, value, told) in [
        ("API_KEYS", "s3cret-without-a-role", "API_KEYS"),
        ("API_KEYS", "s3cret:owner-of-all", "API_KEYS"),
        ("JWT_SECRET", "s3cret", "JWT_SECRET"),
        ("GATEWAY_ENV", "production", "API_KEYS"),
    ] {
        let mut place = Place::new();
        place.set(name, value);
        let ended = place.run(&["run"]).expect(2);
        ended.says(&[told]);
        assert!(!ended.err.contains("s3cret"), "{}", ended.err);
    }
}

#[test]
fn a_bucket_that_cannot_be_used_stops_the_start_with_what_to_do() {
    // Bound, so that nobody else is there, and never listening.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let endpoint = format!("http://{}", taken.local_addr().unwrap());
    let mut place = Place::new();
    place.set("STORAGE_PROVIDER", "s3");
    place.run(&["run"]).expect(2).says(&["it also needs S3_BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY"]);
    for (name, value) in [
        ("S3_ENDPOINT", endpoint.as_str()),
        ("S3_BUCKET", "pictures"),
        ("S3_ACCESS_KEY", "id"),
        ("S3_SECRET_KEY", "s3cret"),
    ] {
        place.set(name, value);
    }
    let made = place.run(&["init"]).expect(0);
    assert!(!place.path("data/outputs").exists(), "{}", made.out);
    let ended = place.run(&["run"]).expect(1);
    ended.says(&["the bucket pictures can't be used", &format!("{endpoint} can't be reached"), "S3_ENDPOINT"]);
    assert!(!ended.err.contains("s3cret"), "{}", ended.err);
}

#[test]
fn a_port_that_is_taken_stops_the_start_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut place = Place::new();
    place.set("HOST", "127.0.0.1");
    let ended = place.run(&["run", "--port", &port]).expect(1);
    ended.says(&[&format!("127.0.0.1:{port} is in use by another program"), "PORT"]);
    let lines =
        ended.err.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let lines: Vec<serde_json::Value> = lines.collect();
    let last = lines.last().expect("a line");
    assert_eq!((&last["level"], &last["message"]), (&"ERROR".into(), &"it can't start".into()), "{last}");
    let json = place.run(&["--json", "run", "--port", &port]).expect(1).json();
    assert!(json["error"].as_str().is_some_and(|error| error.contains("is in use")), "{json}");
    // Where the log is silent it is said all the same.
    place.set("LOG_LEVEL", "silent");
    place.run(&["run", "--port", &port]).expect(1).says(&["error: 127.0.0.1:", "is in use by another program"]);
}

#[test]
#[cfg(unix)]
fn sigterm_ends_a_gateway_and_a_simulator_with_0_and_what_ran_is_finished() {
    let (mut place, comfyui) = Place::with_comfyui(&["--step-ms", "50"]);
    place.run(&["init"]).expect(0);
    let gateway = place.start_gateway();
    let answer = place.run(&["--json", "submit", "icon_512", "prompt=the last one"]).expect(0).json();
    let id = answer["jobId"].as_str().unwrap().to_owned();
    comfyui.err.find("the prompt begins", |line| line.contains("prompt started").then_some(()));
    gateway.terminate();
    let ended = gateway.end().expect(0);
    assert!(ended.err.contains("\"stopping: jobs under way may end"), "{}", ended.err);
    assert!(ended.err.contains("\"stopped\""), "{}", ended.err);
    assert!(ended.err.contains(&id) && ended.err.contains("\"to\":\"succeeded\""), "{}", ended.err);

    let again = place.start_gateway();
    place.run(&["list-workflows"]).expect(0);
    again.terminate();
    again.end().expect(0);
    comfyui.terminate();
    comfyui.end().expect(0);
}

#[test]
fn a_database_server_that_is_not_there_is_told_with_its_reason_and_without_its_password() {
    let mut place = Place::new();
    place.set("DATABASE_URL", "postgres://someone:s3cret@127.0.0.1:9/gateway");
    place.set("PORT", "0");
    for command in ["run", "list-workflows"] {
        let ended = place.run(&[command]).expect(1);
        ended.says(&["postgres://127.0.0.1:9/gateway", "DATABASE_URL", "refused"]);
        assert!(!format!("{}{}", ended.out, ended.err).contains("s3cret"), "{ended:?}");
    }
    assert!(!place.path("data/gateway.db").exists(), "no file in its place");
}
