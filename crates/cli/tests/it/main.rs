//! The command line as a user meets it: the built binary, each time in a folder of its own.
#![cfg(test)]

mod audit;
mod demo;
mod deploy;
mod doctor;
mod health;
mod help;
mod init;
mod kill;
mod logs;
mod mcp;
mod metrics;
mod monitoring;
mod privacy;
mod remote;
mod run;
mod scrape;
mod secrets;
mod submit;
mod support;
mod tls;
mod traces;
mod workflows;
