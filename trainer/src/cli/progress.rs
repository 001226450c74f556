//! Progress on standard error: bars on a terminal, else plain lines.

use std::collections::BTreeMap;
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
            Event::Initialised { file, adoption } => {
                report_adoption("begins with the weights of", file, adoption);
            }
            Event::Epoch { epoch, tiles } => {
                self.bar = bar("training", tiles);
                self.bar
                    .set_message(format!(", epoch {epoch}/{}", self.epochs));
            }
            Event::Step { tiles, loss } => {
                self.bar.inc(tiles as u64);
                self.bar.set_prefix(format!("loss {loss:.4}"));
            }
            Event::Features { done, of } => {
                if done == 0 {
                    self.bar = bar("features", of);
                }
                self.bar.set_position(done as u64);
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
const SHOWN: [&str; 6] = [
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "knn_accuracy",
];

/// The short name of a figure.
fn spoken(name: &str) -> &str {
    match name {
        "train_loss" => "loss",
        "val_loss" => "val loss",
        "val_accuracy" => "accuracy",
        "val_balanced_accuracy" => "balanced",
        "val_macro_f1" => "F1",
        "knn_accuracy" => "k-NN accuracy",
        other => other,
    }
}

/// Says what the network took from a file and what it did not.
pub fn report_adoption(what: &str, file: &Path, adoption: &Adoption) {
    eprintln!("{what} {} ({})", file.display(), adoption.recognised);
    if let Some([rows, columns]) = adoption.resampled_from {
        eprintln!("  positions resampled from {rows} x {columns} patches");
    }
    if adoption.guessed_convention {
        eprintln!(
            "  warning: they were resampled as for {}. Weights of timm's without a head look the \
             same in a .pth file; if these are, save them as .safetensors, and they are resampled \
             as timm does",
            adoption.recognised
        );
    }
    if adoption.unnamed_classes {
        eprintln!("  the head is taken as it is: the file does not name its classes");
    }
    let not_needed = grouped(&adoption.not_needed);
    for (what, names) in [
        ("not in the file", &adoption.missing),
        ("for other classes in the file", &adoption.other_classes),
        ("not needed, left out", &not_needed),
        ("unknown, left out", &adoption.unknown),
    ] {
        if !names.is_empty() {
            eprintln!("  {what}: {}", names.join(", "));
        }
    }
}

/// Names of which many begin alike, as the beginnings and how many there are:
/// the state of an optimiser has hundreds.
fn grouped(names: &[String]) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let is_word = |part: &&&str| part.parse::<usize>().is_err();
        let within = parts.len().saturating_sub(1).clamp(1, 2);
        let beginning: Vec<&str> = parts[..within]
            .iter()
            .take_while(is_word)
            .copied()
            .collect();
        groups.entry(beginning.join(".")).or_default().push(name);
    }
    let shown = |(beginning, names): (String, Vec<&str>)| match names[..] {
        [name] => name.to_owned(),
        _ => format!("{beginning}.* ({})", names.len()),
    };
    groups.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_alike_are_counted() {
        let names = [
            "mask_token",
            "decoder_blocks.0.norm1.weight",
            "decoder_blocks.1.norm1.weight",
            "optimizer.state.0.exp_avg",
            "optimizer.state.1.exp_avg",
            "teacher.head.last_layer.weight_g",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(
            grouped(&names),
            [
                "decoder_blocks.* (2)",
                "mask_token",
                "optimizer.state.* (2)",
                "teacher.head.last_layer.weight_g"
            ]
        );
    }
}
