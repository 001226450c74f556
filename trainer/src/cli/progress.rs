//! Progress on standard error: bars on a terminal, else plain lines.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millsight_trainer::downstream::supervised::Event;
use millsight_trainer::weights::initialise::Adoption;

const TEMPLATE: &str = "{prefix:>10} {wide_bar} {pos}/{len} tiles, {per_sec}, {eta} left{msg}";

/// A bar over tiles; invisible where standard error is not a terminal.
pub fn bar(prefix: &'static str, tiles: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(tiles as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.set_prefix(prefix);
    bar
}

/// Shows a training run.
pub struct TrainingProgress {
    epochs: usize,
    bar: ProgressBar,
}

impl TrainingProgress {
    /// Nothing is shown before the first event.
    pub fn new(epochs: usize) -> Self {
        Self {
            epochs,
            bar: ProgressBar::hidden(),
        }
    }

    /// Takes an event of the run.
    pub fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Initialised { file, adoption } => report_adoption(file, adoption),
            Event::Epoch { epoch, tiles } => {
                self.bar = bar("training", tiles);
                self.bar
                    .set_message(format!(", epoch {epoch}/{}", self.epochs));
            }
            Event::Step { tiles, loss } => {
                self.bar.inc(tiles as u64);
                self.bar.set_prefix(format!("loss {loss:.4}"));
            }
            Event::Validated { .. } => self.bar.set_prefix("validation"),
            Event::Complete { record, best } => {
                self.bar.finish_and_clear();
                let left = record.seconds * (self.epochs - record.epoch) as f64;
                eprintln!(
                    "epoch {:>3}/{}  loss {:.4}  val loss {:.4}  accuracy {:.4}  balanced {:.4}  \
                     F1 {:.4}  {:.1} images/s  {} left{}",
                    record.epoch,
                    self.epochs,
                    record.train_loss,
                    record.val.loss,
                    record.val.accuracy,
                    record.val.balanced_accuracy,
                    record.val.macro_f1,
                    record.images_per_second,
                    indicatif::HumanDuration(Duration::from_secs_f64(left)),
                    if best { "  (best)" } else { "" },
                );
            }
        }
    }
}

/// Says what the network took from a file and what it did not.
fn report_adoption(file: &Path, adoption: &Adoption) {
    eprintln!("begins with the weights of {}", file.display());
    if let Some([rows, columns]) = adoption.resampled_from {
        eprintln!("  positions resampled from {rows} x {columns} patches");
    }
    for (what, names) in [
        ("not in the file, begins anew", &adoption.missing),
        (
            "for other classes in the file, begins anew",
            &adoption.other_classes,
        ),
        ("unknown to the network, left out", &adoption.unknown),
    ] {
        if !names.is_empty() {
            eprintln!("  {what}: {}", names.join(", "));
        }
    }
}
