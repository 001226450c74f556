//! The run that writes the record, as the page sees it.

use std::sync::Arc;

use super::live::Live;
use crate::classify::SettledRow;
use crate::exchange::Exchange;

/// A run with a page.
#[derive(Clone)]
pub struct Running {
    /// What passes.
    pub live: Arc<Live>,
    /// The models that judge it.
    pub exchange: Arc<Exchange>,
}

impl Running {
    /// Shows a row to those who watch, people and models.
    pub fn row(&self, row: &SettledRow) {
        self.live.row(row);
        self.exchange.row(row);
    }
}
