//! Prints what the table of settings is turned into: `page` is docs/CONFIGURATION.md, `env` is .env.example.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let text = match std::env::args().nth(1).as_deref() {
        Some("page") => gateway_config::page(),
        Some("env") => gateway_config::env_example(),
        _ => return ExitCode::from(2),
    };
    print!("{text}");
    ExitCode::SUCCESS
}
