//! The HTTP contract: every route, every refusal.

mod admin;
mod bodies;
mod conventions;
mod ends;
mod events;
mod health;
mod inputs;
mod lists;
mod logs;
mod outputs;
mod queue;
mod registration;
mod routes;
mod sizes;
mod slow;
mod support;
mod workflows;
