#![doc = include_str!("../README.md")]

pub mod cli;
mod commands;
mod exit;
mod gateway;
mod http;
mod output;

pub use gateway::{Gateway, StartError};
