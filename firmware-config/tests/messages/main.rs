//! What is said of a station that is wrong, to the letter.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod keys;
mod limits;
mod ranges;
mod relations;
mod rendering;
mod types;
mod warnings;
