#![doc = include_str!("../README.md")]

pub mod address;
pub mod jwt;
pub mod key;
pub mod limit;
