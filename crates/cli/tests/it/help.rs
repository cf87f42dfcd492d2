//! What `--help` tells, and what wrong usage gets.

use crate::support::Place;

const COMMANDS: [&str; 10] =
    ["init", "add-workflow", "list-workflows", "run", "worker", "health", "submit", "mcp", "sim", "demo"];

#[test]
fn help_names_every_command_and_what_the_exit_codes_mean() {
    let place = Place::new();
    let help = place.run(&["--help"]).expect(0).out;
    for command in COMMANDS {
        let listed = help.lines().any(|line| line.trim_start().starts_with(&format!("{command} ")));
        assert!(listed, "{command} is not in:\n{help}");
        place.run(&[command, "--help"]).expect(0);
    }
    assert!(help.contains("Exit codes: 0 done"), "{help}");
}

#[test]
fn wrong_usage_ends_with_2_and_starts_nothing() {
    let place = Place::new();
    for arguments in [&[][..], &["nope"], &["run", "--port", "x"], &["sim", "--profile", "1.0"], &["submit"]] {
        place.run(arguments).expect(2);
    }
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0, "something was made");
}

#[test]
fn a_worker_alone_ends_at_once_with_2_and_says_what_to_do_instead() {
    let place = Place::new();
    place.run(&["worker"]).expect(2).says(&["REDIS_URL", "none is set", "`comfyui-gateway run`"]);
    let json = place.run(&["--json", "worker"]).expect(2).json();
    assert!(json["error"].as_str().is_some_and(|error| error.contains("REDIS_URL")), "{json}");
}

#[test]
fn an_empty_variable_hides_nothing_that_the_file_says() {
    let mut place = Place::new();
    place.write(".env", "PORT=99999\n");
    for empty in ["", " "] {
        place.set("PORT", empty);
        place.run(&["health"]).expect(2).says(&["PORT is `99999` (from .env)"]);
    }
}
