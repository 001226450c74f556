//! How fast the line is inspected.
//!
//! * [`process`]: what the program takes of the machine.
//! * [`trial`]: a run at a rate, and whether it was held.
//! * [`search`]: the highest rate that is held.

pub mod process;
pub mod search;
pub mod trial;
