//! Studies: many runs that answer one question together.
//!
//! A study is a folder. Its queue ([`plan`]) is written before the first run begins; each
//! run is a process of its own ([`queue`]), so that one that fails, or is killed for its
//! memory, stops no other; what is finished is known by files ([`folder`]), so that a study
//! that was killed goes on where it was. [`labels`] asks how many labels are needed.

pub mod error;
pub mod folder;
pub mod labels;
pub mod plan;
pub mod queue;

pub use error::StudyError;
