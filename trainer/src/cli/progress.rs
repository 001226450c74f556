//! Progress on standard error: bars on a terminal, else plain lines.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use millsight_trainer::training::Event;
use millsight_trainer::weights::initialise::Adoption;

const TEMPLATE: &str = "{prefix:>12} {wide_bar} {pos}/{len} tiles, {rate}, {eta} left";
const OVERALL: &str = "{msg:>12} {wide_bar} {percent} %, {eta} left";

/// A bar over tiles; invisible where standard error is not a terminal.
pub fn bar(prefix: &'static str, tiles: usize) -> ProgressBar {
    bar_on(ProgressDrawTarget::stderr(), TEMPLATE, tiles).with_prefix(prefix)
}

fn bar_on(target: ProgressDrawTarget, template: &str, length: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // A text in memory takes all that is written.
        let _ = write!(text, "{:.1}/s", state.per_sec());
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}

/// Shows a training run: two bars on a terminal, else a line now and then.
pub struct TrainingProgress {
    epochs: usize,
    bars: MultiProgress,
    overall: ProgressBar,
    bar: ProgressBar,
    lines: Option<Lines>,
    /// Share of the current epoch that is to come in this sitting.
    share: f64,
}

/// What is said where nobody sees bars.
struct Lines {
    what: String,
    tiles: usize,
    done: usize,
    begin: Instant,
    said: Instant,
}

/// Time between lines.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

impl Lines {
    fn of(what: String, tiles: usize) -> Self {
        let now = Instant::now();
        Self {
            what,
            tiles,
            done: 0,
            begin: now,
            said: now,
        }
    }

    /// The line that is due after so many tiles, if one is.
    fn due(&mut self, done: usize, now: Instant) -> Option<String> {
        self.done = done;
        if now - self.said < LINE_INTERVAL {
            return None;
        }
        self.said = now;
        let rate = done as f64 / (now - self.begin).as_secs_f64();
        let left = duration(self.tiles.saturating_sub(done) as f64 / rate);
        let (what, tiles) = (&self.what, self.tiles);
        Some(format!(
            "{what}: {done}/{tiles} tiles, {rate:.1}/s, {left} left"
        ))
    }
}

/// Some seconds for people; without end where they are no number.
fn duration(seconds: f64) -> HumanDuration {
    HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

impl TrainingProgress {
    /// Nothing is shown before the first event.
    pub fn new(epochs: usize) -> Self {
        let is_seen = std::io::stderr().is_terminal();
        Self {
            epochs,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            overall: ProgressBar::hidden(),
            bar: ProgressBar::hidden(),
            lines: (!is_seen).then(|| Lines::of(String::new(), 0)),
            share: 1.0,
        }
    }

    /// Takes an event of the run.
    pub fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Initialised { file, adoption } => {
                report_adoption("begins with the weights of", file, adoption);
            }
            Event::Epoch { epoch, tiles, of } => {
                self.share = tiles as f64 / of.max(1) as f64;
                if self.overall.length().is_none() {
                    self.overall = self.add(OVERALL, self.epochs.saturating_mul(of));
                }
                let done = (epoch - 1) * of + (of - tiles);
                self.overall.set_position(done as u64);
                self.overall
                    .set_message(format!("epoch {epoch}/{}", self.epochs));
                self.begin("training", format!("epoch {epoch}/{}", self.epochs), tiles);
            }
            Event::Step { tiles, loss } => {
                self.bar.set_prefix(format!("loss {loss:.4}"));
                self.overall.inc(tiles as u64);
                self.advance(tiles, &format!(", loss {loss:.4}"));
            }
            Event::Features { done, of } => self.looks("features", done, of),
            Event::Teacher { done, of } => self.looks("teacher", done, of),
            Event::Best { tiles } => {
                self.bars.remove(&self.overall);
                self.begin(
                    "best",
                    "best weights on the validation part".to_owned(),
                    tiles,
                );
            }
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Validated { tiles } => {
                let all = self.bar.length().unwrap_or_default();
                if self.bar.position() == all {
                    // The epoch's own tiles are done.
                    self.bar.set_prefix("validation");
                } else {
                    self.advance(tiles, "");
                    if self.bar.position() == all {
                        self.bar.finish_and_clear();
                    }
                }
            }
            Event::Complete { record, best } => {
                self.bar.finish_and_clear();
                let epoch = record.seconds / self.share.max(f64::MIN_POSITIVE);
                let left = match self.epochs - record.epoch {
                    0 => String::new(),
                    epochs => format!("  {} left", duration(epoch * epochs as f64)),
                };
                let figure = |name: &str| match record.figures.get(name) {
                    Some(value) => format!("  {} {value:.4}", spoken(name)),
                    None => String::new(),
                };
                self.say(&format!(
                    "epoch {:>3}/{}{}  {:.1} images/s{left}{}",
                    record.epoch,
                    self.epochs,
                    SHOWN.map(figure).concat(),
                    record.images_per_second,
                    if best { "  (best)" } else { "" },
                ));
            }
        }
    }

    /// Begins to count tiles.
    fn begin(&mut self, prefix: &'static str, what: String, tiles: usize) {
        self.bar = self.add(TEMPLATE, tiles).with_prefix(prefix);
        if let Some(lines) = &mut self.lines {
            *lines = Lines::of(what, tiles);
        }
    }

    /// A further bar below the others. It must not draw itself before it knows
    /// that there are others.
    fn add(&self, template: &str, length: usize) -> ProgressBar {
        let hidden = ProgressDrawTarget::hidden();
        self.bars.add(bar_on(hidden, template, length))
    }

    /// So many tiles were looked at once, before the first epoch.
    fn looks(&mut self, what: &'static str, done: usize, of: usize) {
        if done == 0 {
            self.begin(what, what.to_owned(), of);
        }
        let before = self.bar.position() as usize;
        self.advance(done.saturating_sub(before), "");
    }

    fn advance(&mut self, tiles: usize, more: &str) {
        self.bar.inc(tiles as u64);
        if let Some(lines) = &mut self.lines
            && let Some(line) = lines.due(lines.done + tiles, Instant::now())
        {
            eprintln!("{line}{more}");
        }
    }

    /// A line that stays, above the bars.
    fn say(&self, line: &str) {
        self.bars.suspend(|| eprintln!("{line}"));
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
    let other_decoder = grouped(&adoption.other_decoder);
    for (what, names) in [
        ("not in the file", &adoption.missing),
        ("for other classes in the file", &adoption.other_classes),
        ("of a decoder of other sizes, left out", &other_decoder),
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
    fn lines_come_at_intervals_with_what_is_done_and_left() {
        let mut lines = Lines::of("epoch 2/50".to_owned(), 1000);
        let after = |seconds| lines.begin + Duration::from_secs(seconds);
        let (early, due, soon) = (after(29), after(40), after(60));
        assert_eq!(lines.due(200, early), None);
        assert_eq!(
            lines.due(400, due).as_deref(),
            Some("epoch 2/50: 400/1000 tiles, 10.0/s, 60 seconds left")
        );
        assert_eq!(lines.due(500, soon), None);
    }

    #[test]
    fn no_duration_is_too_long() {
        for seconds in [f64::INFINITY, f64::NAN, 1e300] {
            assert!(!duration(seconds).to_string().is_empty());
        }
    }

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
