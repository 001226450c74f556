//! Live progress of a run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millsight_firmware_config::TILE_SIZE;

use crate::ledger::Ledger;

/// A progress line on standard error; silent where that is no terminal.
pub struct Display {
    bar: ProgressBar,
    begun: Instant,
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
        Self {
            bar,
            begun: Instant::now(),
        }
    }

    /// Shows the counts of the moment.
    pub fn update(&mut self, ledger: &Ledger) {
        let tiles = ledger.tiles();
        self.bar.set_position(tiles.settled());
        let lines = ledger.line_counts();
        let rate = lines.r#in as f64 / self.begun.elapsed().as_secs_f64();
        let mut message = format!("{rate:.0} lines/s  {:.0} tiles/s", self.bar.per_sec());
        let seen = tiles.cleared + tiles.judged;
        if tiles.cleared > 0 {
            let cleared = 100.0 * tiles.cleared as f64 / seen as f64;
            message += &format!("  {cleared:.1} % cleared");
        }
        let latency = ledger.latency_quantile(0.99).as_secs_f64() * 1000.0;
        message += &format!("  {latency:.0} ms p99  {} flagged", ledger.flagged());
        for (count, name) in [
            (tiles.unjudged, "unjudged"),
            (ledger.backlog(), "of them waiting"),
            (lines.missing, "lines missing"),
        ] {
            if count > 0 {
                message += &format!("  {count} {name}");
            }
        }
        self.bar.set_message(message);
    }

    /// Takes the line away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Shows that something that may take long is being done, and for how long
/// already. Nothing is drawn with `quiet`.
pub fn waiting<T>(what: &'static str, quiet: bool, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner();
    if quiet {
        spinner.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner:.green} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    spinner.finish_and_clear();
    done
}
