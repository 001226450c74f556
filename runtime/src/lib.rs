//! The Millsight runtime: from a camera's lines to recorded verdicts.
//!
//! The walk of one tile, one module for each arrow:
//! [`source`] yields blocks of lines, [`assemble`] makes rows of tiles of
//! them, [`classify`] runs the network, [`decide`] turns scores into a
//! verdict, [`record`] keeps what happened, and the [`ledger`] holds every
//! tile in exactly one state. [`pipeline`] connects them by threads.

pub mod assemble;
pub mod bench;
pub mod classify;
pub mod commands;
pub mod cores;
pub mod decide;
pub mod exchange;
pub mod flat_field;
pub mod ledger;
pub mod metrics;
pub mod networks;
pub mod pipeline;
pub mod position;
pub mod record;
pub mod review;
pub mod source;
pub mod station;
pub mod web;

#[cfg(test)]
mod testing;
