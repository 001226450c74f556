//! What people say of the tiles that were flagged or left unjudged.
//!
//! [`Review`] reads a record, of which it changes nothing, and keeps decisions in a
//! database beside it (`review.sqlite`; see `review/schema.sql`). Decisions are
//! appended, never changed or deleted, and each is on the disk before its reviewer
//! is told so.

pub mod accounts;
mod alarms;
mod api;
mod decision;
mod error;
mod follow;
mod history;
mod labels;
mod live;
mod login;
mod page;
mod pages;
mod piece;
mod queue;
mod reliability;
mod running;
mod saliency;
mod server;
mod store;
mod tables;
mod tile;
mod watch;

#[cfg(test)]
mod tests;

pub use alarms::{Alarm, AlarmKind};
pub use decision::{Decision, NewDecision};
pub use error::ReviewError;
pub use follow::Follower;
pub use history::{Agreement, Distribution, History, Period, Span};
pub use labels::{Exported, TABLE};
pub use live::{About, Counts, Live, Shown, StripRow, Watching};
pub use page::Page;
pub use piece::{
    ClassCount, Defect, Finding, LostLines, Piece, PieceReport, RepeatingMark, Stretch,
};
pub use queue::{Order, Waiting};
pub use reliability::ClassReliability;
pub use running::Running;
pub use saliency::{Saliency, SaliencyError};
pub use server::{ServeError, Settings, router};
pub use store::{Review, review_path};
pub use tile::{Neighbour, Tile};
pub use watch::Health;
