//! `keys` and `audit verify`: what is done is chained, and a change past the gateway is named.

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};

use crate::support::{Ended, Place};

const ADMIN: &str = "administrator-0123456789";

/// Makes a key; gives its id.
fn make(place: &Place, name: &str) -> String {
    let made = place.run(&["--json", "keys", "create", "--name", name]).expect(0).json();
    made["id"].as_str().expect("an id").to_owned()
}

fn verify(place: &Place) -> Ended {
    place.run(&["--json", "audit", "verify"])
}

/// Writes into the database past the gateway.
fn tamper(place: &Place, change: &str) {
    let path = place.path("data/gateway.db").display().to_string();
    let mut connection = SqliteConnection::establish(&path).expect("the database");
    connection.batch_execute(&format!("PRAGMA busy_timeout = 5000; {change}")).expect("a statement");
}

#[test]
fn an_untouched_log_is_good_and_its_head_is_told() {
    let place = Place::new();
    place.run(&["audit", "verify"]).expect(1).says(&["there is no database ", "data/gateway.db", "--gateway URL"]);
    place.run(&["keys", "list"]).expect(1).says(&["there is no database "]);
    assert!(!place.path("data").exists(), "looking makes nothing");
    place.run(&["init"]).expect(0);
    let empty = verify(&place).expect(0).json();
    assert_eq!((&empty["entries"], &empty["firstBad"]), (&json!(0), &Value::Null), "{empty}");
    let one = make(&place, "one");
    make(&place, "two");
    place.run(&["keys", "revoke", &one]).expect(0);
    place.run(&["keys", "revoke", &one]).expect(1).says(&[&one]);
    place.run(&["keys", "create", "--name", "two words"]).expect(2);
    let good = verify(&place).expect(0).json();
    assert_eq!((&good["entries"], &good["firstBad"]), (&json!(3), &Value::Null), "what failed is not in it: {good}");
    let head = good["head"].as_str().expect("a hash").to_owned();
    assert!(head.len() == 64 && head != empty["head"], "{good} {empty}");
    let told = place.run(&["audit", "verify"]).expect(0).out;
    assert!(told.contains("3 entries are as they were written") && told.contains(&head), "{told}");
    assert_eq!(verify(&place).expect(0).json(), good, "looking leaves nothing");
}

#[test]
fn a_row_that_was_changed_in_the_file_is_named_as_the_first_that_is_bad() {
    let place = Place::new();
    let ids = ["one", "two", "three"].map(|name| make(&place, name));
    tamper(&place, "UPDATE audit SET target = '00000000' WHERE seq = 2");
    let bad = place.run(&["audit", "verify"]).expect(1);
    bad.says(&["entry 2 was changed, removed or put in", "the 1 before it are good"]);
    // What comes afterwards does not hide it.
    make(&place, "four");
    place.run(&["audit", "verify"]).expect(1).says(&["entry 2 "]);
    tamper(&place, &format!("UPDATE audit SET target = '{}' WHERE seq = 2", ids[1]));
    assert_eq!(verify(&place).expect(0).json()["entries"], 4, "as it was, it is good again");
    tamper(&place, "UPDATE audit SET action = 'key.revoke' WHERE seq = 1");
    place.run(&["audit", "verify"]).expect(1).says(&["entry 1 ", "the 0 before it are good"]);
}

#[test]
fn an_end_that_was_cut_off_and_made_anew_is_told_by_the_head_that_was_kept() {
    let place = Place::new();
    for name in ["one", "two", "three"] {
        make(&place, name);
    }
    let good = verify(&place).expect(0).json();
    let kept = format!("3:{}", good["head"].as_str().expect("a hash"));
    let beside = |head: &str| place.run(&["audit", "verify", "--head", head]);
    make(&place, "four");
    beside(&kept).expect(0);
    tamper(&place, "DELETE FROM audit WHERE seq > 2");
    assert_eq!(verify(&place).expect(0).json()["entries"], 2, "a chain that is whole in itself");
    beside(&kept).expect(1).says(&["does not lead over the kept head of entry 3", "which one can't be told"]);
    let told = place.run(&["--json", "audit", "verify", "--head", &kept]).expect(1).json();
    assert_eq!((&told["leadsOverHead"], &told["firstBad"]), (&json!(false), &Value::Null), "{told}");
    for name in ["five", "six"] {
        make(&place, name);
    }
    assert_eq!(verify(&place).expect(0).json()["entries"], 4);
    beside(&kept).expect(1).says(&["the kept head of entry 3"]);
    beside("3").expect(2).says(&["SEQ:HASH"]);
}

#[test]
fn where_a_gateway_holds_the_database_it_is_asked_with_the_key_of_the_settings() {
    let mut place = Place::new();
    place.set("API_KEYS", &format!("{ADMIN}:admin:boss"));
    let before = make(&place, "before");
    let _gateway = place.start_gateway();
    place.run(&["audit", "verify"]).expect(1).says(&["AUTH_FAILED (401)"]);
    place.run(&["keys", "create", "--name", "shop"]).expect(1).says(&["AUTH_FAILED (401)", "GATEWAY_API_KEY"]);
    place.set("GATEWAY_API_KEY", ADMIN);
    let made = make(&place, "shop");
    place.run(&["keys", "revoke", &before]).expect(0);
    let listed = place.run(&["--json", "keys", "list"]).expect(0);
    assert!(
        !listed.out.contains("gw_") && listed.out.contains(&made) && listed.out.contains(&before),
        "{}",
        listed.out
    );
    let good = verify(&place).expect(0).json();
    assert_eq!((&good["entries"], &good["firstBad"]), (&json!(3), &Value::Null), "{good}");
    place.run(&["audit", "verify"]).expect(0);
    place.set("GATEWAY_API_KEY", "wrong");
    place.run(&["audit", "verify"]).expect(1).says(&["AUTH_FAILED (401)"]);
}

#[test]
fn keys_and_workflows_are_shown_alike_by_the_database_and_by_a_gateway() {
    let mut place = Place::new();
    place.set("API_KEYS", &format!("{ADMIN}:admin:boss"));
    place.set("GATEWAY_API_KEY", ADMIN);
    place.run(&["init"]).expect(0);
    let rights = ["--rate-limit=5", "--workflow=icon_512", "--raw", "--expires-days=2"];
    let create = [&["--json", "keys", "create", "--name", "shop"][..], &rights].concat();
    let fields = |made: &Value| made.as_object().expect("a key").keys().cloned().collect::<Vec<_>>();
    let lists = |place: &Place| {
        [&["keys", "list"][..], &["list-workflows"]]
            .map(|list| place.run(&[&["--json"][..], list].concat()).expect(0).json())
    };
    let by_database = place.run(&create).expect(0).json();
    assert_eq!((&by_database["rateLimit"], &by_database["workflows"]), (&json!(5), &json!(["icon_512"])));
    let listed = lists(&place);
    let _gateway = place.start_gateway();
    assert_eq!(lists(&place), listed);
    assert_eq!(fields(&place.run(&create).expect(0).json()), fields(&by_database));
    for (name, role, told) in [("key-1", "user", "--name must be"), ("shop", "root", "--role must be")] {
        place.run(&["keys", "create", "--name", name, "--role", role]).expect(2).says(&[told]);
    }
}

#[test]
fn a_gateway_on_another_port_is_advised_to_be_named_and_can_be() {
    let mut place = Place::new();
    place.set("API_KEYS", &format!("{ADMIN}:admin:boss"));
    place.set("GATEWAY_API_KEY", ADMIN);
    let _gateway = place.start_gateway();
    let port = place.get("PORT").to_owned();
    place.set("PORT", "9");
    for command in [&["keys", "list"][..], &["audit", "verify"]] {
        place.run(command).expect(4).says(&["holds the database: name its address with --gateway URL"]);
    }
    let url = format!("http://127.0.0.1:{port}");
    place.run(&["keys", "create", "--name", "shop", "--gateway", &url]).expect(0);
    let listed = place.run(&["keys", "--gateway", &url, "list"]).expect(0);
    assert!(listed.out.contains("shop"), "{}", listed.out);
    let good = place.run(&["--json", "audit", "verify", "--gateway", &url]).expect(0).json();
    assert_eq!((&good["entries"], &good["firstBad"]), (&json!(1), &Value::Null), "{good}");
}

#[test]
fn a_gateway_that_is_asked_too_often_is_asked_again_when_it_says() {
    let mut place = Place::new();
    place.set("API_KEYS", &format!("{ADMIN}:admin:boss"));
    place.set("GATEWAY_API_KEY", ADMIN);
    place.set("RATE_LIMIT_MAX", "1");
    place.set("RATE_LIMIT_WINDOW_MS", "8000");
    make(&place, "before");
    let _gateway = place.start_gateway();
    place.run(&["keys", "list"]).expect(0);
    let verified = place.run(&["audit", "verify"]).expect(0);
    verified.says(&["0 entries; the gateway takes no more requests for "]);
    assert!(verified.out.contains("1 entries are as they were written"), "{}", verified.out);
}

#[test]
fn a_key_is_made_in_the_database_within_the_same_bounds_as_by_a_gateway() {
    let place = Place::new();
    for flag in ["--rate-limit", "--queue-limit", "--running-limit", "--weight", "--expires-days"] {
        place.run(&["keys", "create", "--name", "shop", flag, "0"]).expect(2).says(&[flag]);
        place.run(&["keys", "create", "--name", "shop", flag, "1"]).expect(0);
    }
    for name in ["local", "key-01234567", "jwt:alice"] {
        place.run(&["keys", "create", "--name", name]).expect(2).says(&["--name must be", "not local"]);
    }
    let many = ["--workflow=icon_512"; 101];
    let create = [&["keys", "create", "--name", "shop"][..], &many].concat();
    place.run(&create).expect(2).says(&["100 times at most"]);
}
