//! The page on which people review a record.

use std::path::Path;

use axum::Router;

use super::accounts::Accounts;
use super::follow::Follower;
use super::running::Running;
use super::server::{ServeError, Settings, router};

/// The page of a record.
pub struct Page {
    /// Everything that is served.
    pub routes: Router,
    /// Name and one-time password of the first account, where it was made just now.
    pub first_account: Option<(&'static str, String)>,
    /// Keeps the queue up to date as long as it lives.
    pub follower: Follower,
}

impl Page {
    /// Opens the page of the record in a folder, which may be written meanwhile: by the
    /// run of this program, or by another one.
    ///
    /// # Errors
    /// When there is no record, or what is kept beside it cannot be used.
    pub fn open(
        folder: &Path,
        settings: Settings,
        running: Option<Running>,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            routes: router(folder, settings, running.clone())?,
            first_account: Accounts::open(folder)?.first()?,
            follower: Follower::start(folder, running.map(|running| running.live))?,
        })
    }
}
