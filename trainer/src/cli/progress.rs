//! Progress on standard error: bars on a terminal, else plain lines.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millsight_trainer::training::Event;
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
            Event::Warning(text) => self.bar.suspend(|| eprintln!("warning: {text}")),
            Event::Validated { .. } => self.bar.set_prefix("validation"),
            Event::Complete { record, best } => {
                self.bar.finish_and_clear();
                let left = record.seconds * (self.epochs - record.epoch) as f64;
                let figure = |name: &str| match record.figures.get(name) {
                    Some(value) => format!("  {} {value:.4}", spoken(name)),
                    None => String::new(),
                };
                eprintln!(
                    "epoch {:>3}/{}{}  {:.1} images/s  {} left{}",
                    record.epoch,
                    self.epochs,
                    SHOWN.map(figure).concat(),
                    record.images_per_second,
                    indicatif::HumanDuration(Duration::from_secs_f64(left)),
                    if best { "  (best)" } else { "" },
                );
            }
        }
    }
}

/// Figures of an epoch that are shown, where a method has them.
const SHOWN: [&str; 5] = [
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
];

/// The short name of a figure.
fn spoken(name: &str) -> &str {
    match name {
        "train_loss" => "loss",
        "val_loss" => "val loss",
        "val_accuracy" => "accuracy",
        "val_balanced_accuracy" => "balanced",
        "val_macro_f1" => "F1",
        other => other,
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
