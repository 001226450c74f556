//! `export`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use millsight_export::command_line;
use millsight_export::engine::{EngineChoice, EngineRequest};
use millsight_export::output;
use millsight_export::verify::DEFAULT_TOLERANCE;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::evaluate::operating_point::OperatingReport;
use millsight_trainer::model_export::{ExportSettings, Form, export, fits, parity};
use millsight_trainer::run::folder::RunFolder;
use serde_json::json;

use super::evaluate::{NetworkFile, source};
use super::machine::MachineArgs;

/// Write a trained network as the model file that the runtime loads.
///
/// The file is ONNX with a model card inside: classes, input, preprocessing,
/// temperature and thresholds, where it comes from and how good it is (what
/// `evaluate --run` has left in the run's folder). Before it is written, real
/// tiles go through it on an engine, and its logits must equal the trainer's. A
/// classifier also gets an output that tells how far a tile is from those that it
/// was trained on, by which drift is seen (`millsight-export distance`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train export --run runs/first --out model.onnx
  millsight-train export --run runs/first --out model.onnx \\
    --threshold cracks=0.3 --threshold overfill=0.5 --name 'line 3, autumn'

Then:
  millsight-export inspect model.onnx
  millsight classify tile.png --model model.onnx")]
pub struct ExportArgs {
    #[command(flatten)]
    network: NetworkFile,
    /// Model file to write.
    #[arg(short, long, value_name = "ONNX")]
    out: PathBuf,
    /// Name of the model, for people [default: that of the file].
    #[arg(long)]
    name: Option<String>,
    /// What the file takes. A folded one takes raw grey tiles and moves a
    /// twelfth of the bytes [default: folded for grey tiles].
    #[arg(long)]
    form: Option<Form>,
    /// Flag a defect class from this probability on (0 to 1) instead of when
    /// it is the most probable class, or from the run's operating point on.
    /// May be given for each class.
    #[arg(long = "threshold", value_name = "CLASS=P", value_parser = threshold)]
    thresholds: Vec<(String, f32)>,
    /// Tiles with which the file is checked, of the test part, or of another
    /// where it has none.
    #[arg(long, default_value_t = 32)]
    samples: usize,
    /// Tiles of the train part by which the file is to tell how far others are from
    /// them; 0 to leave that out. A screen never tells.
    #[arg(long, value_name = "TILES", default_value_t = 1024)]
    distance_tiles: usize,
    /// Largest difference of a logit that is tolerated.
    #[arg(long, default_value_t = DEFAULT_TOLERANCE, value_parser = command_line::tolerance)]
    tolerance: f32,
    /// Engine for the check.
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,
    /// ONNX Runtime's library [default: searched for].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Another table than that of the run.
    #[arg(long, value_name = "CSV")]
    table: Option<PathBuf>,
    /// Folder to which the table's paths are relative [default: that of the
    /// run, or of --table].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

fn threshold(text: &str) -> Result<(String, f32), String> {
    let (class, value) = text
        .split_once('=')
        .ok_or("expected CLASS=P, for example cracks=0.3")?;
    let value: f32 = value
        .parse()
        .map_err(|_| format!("`{value}` is not a number"))?;
    if !(0.0..=1.0).contains(&value) {
        return Err(format!("{value} is not a probability from 0 to 1"));
    }
    Ok((class.to_owned(), value))
}

impl ExportArgs {
    pub fn run(&self) -> Result<()> {
        let (trained, run) = self.network.load()?;
        let mut source = source(&trained, &self.table, &self.data_root, Split::Test);
        let table = Table::read(&source.table).into_diagnostic()?;
        let has_tiles = |split: &Split| table.rows.iter().any(|row| row.split == Some(*split));
        let parts = [Split::Test, Split::Val, Split::Train];
        if let Some(split) = parts.into_iter().find(has_tiles) {
            source.split = split;
        }
        let name = match (&self.name, self.out.file_stem()) {
            (Some(name), _) => name.clone(),
            (None, Some(stem)) => stem.to_string_lossy().into_owned(),
            (None, None) => return Err(miette!("{} is not a file name", self.out.display())),
        };
        let settings = ExportSettings {
            name,
            form: self.form.unwrap_or(match trained.config.colour.channels() {
                1 => Form::Folded,
                _ => Form::Normalised,
            }),
            thresholds: self.thresholds.iter().cloned().collect(),
            created: jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .into_diagnostic()?
                .to_string(),
            reports: match &run {
                Some(run) => reports(run)?,
                None => Vec::new(),
            },
            operating: match &run {
                Some(run) => OperatingReport::load(&run.operating_point()).into_diagnostic()?,
                None => None,
            },
            source,
            samples: self.samples,
            distance_tiles: self.distance_tiles,
            tolerance: self.tolerance,
            engine: EngineRequest {
                choice: self.engine,
                library: self.library.clone(),
                ..EngineRequest::default()
            },
        };
        let model = export(&trained, &settings, self.machine.machine()).into_diagnostic()?;
        model.save(&self.out).into_diagnostic()?;
        let parity = parity(&model);
        for report in &settings.reports {
            let hashes = [report.weights_sha256.as_str(), &report.data_sha256];
            if let Err(reason) = fits(&trained, hashes) {
                let split = &report.split;
                eprintln!(
                    "the evaluation on the {split} part is of {reason} and was left out: run \
                     `millsight-train evaluate --run RUN --split {split}` again"
                );
            }
        }
        if let Some(report) = &settings.operating {
            let hashes = [report.weights_sha256.as_str(), &report.data_sha256];
            if let Err(reason) = fits(&trained, hashes) {
                eprintln!(
                    "the run's operating point is of {reason} and was left out: run \
                     `millsight-train evaluate --run RUN --operating-point MISS_RATE` again"
                );
            } else if self.tolerance > DEFAULT_TOLERANCE {
                eprintln!(
                    "warning: the run's thresholds leave room for logits that differ by \
                     {DEFAULT_TOLERANCE:.0e}, less than the tolerated {:.0e}: a tile that stands \
                     at a threshold may be missed",
                    self.tolerance
                );
            }
        }
        if self.json {
            output::line(json!({
                "model": self.out,
                "sha256": model.sha256,
                "bytes": model.onnx.len(),
                "parity": parity,
                "distance": model.card.output.distance,
                "metrics": model.card.provenance.metrics,
                "thresholds": model.card.thresholds,
                "temperature": model.card.calibration.as_ref().map(|found| found.temperature),
            }))?;
            return Ok(());
        }
        output::line(format_args!(
            "{}: {} bytes, sha256 {}",
            self.out.display(),
            model.onnx.len(),
            model.sha256
        ))?;
        if let Some(parity) = parity {
            output::line(format_args!(
                "{} tiles on {}: logits differ by at most {:.1e} (tolerated {:.1e})",
                parity.samples, parity.engine, parity.max_abs, parity.tolerance
            ))?;
        }
        if let Some(distance) = &model.card.output.distance {
            output::line(format_args!("distance {distance}"))?;
        }
        if let Some(point) = &model.card.provenance.operating_point {
            let table = point.table(&model.card.thresholds);
            output::write(|out| write!(out, "\n{table}"))?;
        }
        let of_test = |name: &String| name.starts_with("test.");
        if !model.card.provenance.metrics.keys().any(of_test) {
            eprintln!(
                "the card has no figures of the test part, the only ones that took no part in \
                 training: run `millsight-train evaluate --run RUN` before"
            );
        }
        Ok(())
    }
}

/// The evaluations that lie in the run's folder.
fn reports(run: &RunFolder) -> Result<Vec<millsight_trainer::evaluate::report::Report>> {
    let mut reports = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        let path = run.evaluation(split.name());
        if !path.exists() {
            continue;
        }
        let text = std::fs::read(&path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read {}", path.display()))?;
        let report = serde_json::from_slice(&text)
            .into_diagnostic()
            .wrap_err_with(|| format!("{} is not an evaluation", path.display()))?;
        reports.push(report);
    }
    Ok(reports)
}
