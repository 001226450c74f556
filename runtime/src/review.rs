//! What people say of the tiles that were flagged or left unjudged.
//!
//! [`Review`] reads a record, of which it changes nothing, and keeps decisions in a
//! database beside it (`review.sqlite`; see `review/schema.sql`). Decisions are
//! appended, never changed or deleted, and each is on the disk before its reviewer
//! is told so.

pub mod accounts;
mod api;
mod decision;
mod error;
mod follow;
mod labels;
mod login;
mod page;
mod pages;
mod queue;
mod server;
mod store;
mod tables;
mod tile;

#[cfg(test)]
mod tests;

pub use decision::{Decision, NewDecision};
pub use error::ReviewError;
pub use follow::Follower;
pub use labels::{Exported, TABLE};
pub use page::Page;
pub use queue::{Order, Waiting};
pub use server::{ServeError, Settings, router};
pub use store::{Review, review_path};
pub use tile::{Neighbour, Tile};
