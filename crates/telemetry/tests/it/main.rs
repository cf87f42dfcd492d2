//! The names of fields and the words of lines, over the whole workspace.
#![cfg(test)]

mod fields;
mod lines;
