//! What callers see of the crate, on pictures that are really encoded and on synthetic films and sounds.
#![cfg(test)]

mod bombs;
mod convert;
mod inspect;
mod strip;
mod strip_all;
mod synth;
