#![doc = include_str!("../README.md")]

pub mod address;
mod hex;
pub mod jwt;
pub mod key;
pub mod limit;
