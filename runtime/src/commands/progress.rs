//! Live progress of a run.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millsight_firmware_config::TILE_SIZE;

use crate::ledger::Ledger;

/// A progress line on standard error; silent where that is no terminal.
pub struct Display {
    bar: ProgressBar,
}

impl Display {
    /// A display for a source of `expected_lines` lines (unknown: a spinner).
    /// Nothing is drawn with `quiet`.
    pub fn new(expected_lines: Option<u64>, columns: usize, quiet: bool) -> Self {
        let rows = expected_lines.map(|lines| lines.div_ceil(TILE_SIZE as u64));
        let bar = match rows {
            Some(rows) => ProgressBar::new(rows * columns as u64),
            None => ProgressBar::new_spinner(),
        };
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = if rows.is_some() {
            "{spinner:.green} {bar:32.cyan/blue} {pos}/{len} tiles  {msg}"
        } else {
            "{spinner:.green} {pos} tiles  {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Shows the counts of the moment.
    pub fn update(&mut self, ledger: &Ledger) {
        let tiles = ledger.tiles();
        self.bar.set_position(tiles.settled());
        self.bar.set_message(format!(
            "{:.0} tiles/s  {} flagged  {} unjudged",
            self.bar.per_sec(),
            ledger.flagged(),
            tiles.unjudged
        ));
    }

    /// Takes the line away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
