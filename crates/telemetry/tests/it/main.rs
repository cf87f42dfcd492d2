//! The names of fields, over the whole workspace.
#![cfg(test)]

mod fields;
