//! `bench engine`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::engine::{self, EngineChoice, EngineRequest, embedded, library};
use millsight_export::model_file::ModelFile;
use millsight_export::output;
use millsight_firmware_config::Screen;
use serde::Serialize;

use super::seconds;
use crate::bench::engine::tiles_per_second;
use crate::bench::{median, peak};
use crate::station;

/// Tiles that an engine is given at once.
const BATCHES: [usize; 2] = [1, 8];

/// Measure the engines on one thread.
///
/// Each model runs on each engine that starts on the processor, one tile at a time
/// and eight at a time, in turns. Beside it stands the share of what the core
/// could compute: the multiplications of the model's convolutions and products
/// against as many independent multiply-adds as one thread does in registers
/// (f32), and four times as many for 8 bits where the processor has VNNI.
#[derive(Debug, Args)]
pub struct Arguments {
    /// ONNX files; without any the shipped classifier and screen.
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,

    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,

    /// Runs of each; their median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

/// What was measured of one model on one engine.
#[derive(Debug, Serialize)]
struct Measured {
    model: String,
    engine: String,
    version: String,
    precision: String,
    batch: usize,
    multiply_adds: u64,
    tiles_per_second: f64,
    /// Of what the core computes at most; `None` where that is not known.
    share_of_peak: Option<f64>,
}

pub fn engine(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let models = match arguments.models.as_slice() {
        [] => vec![
            station::load_model(None, None).into_diagnostic()?,
            station::load_screen(&Screen::default()).into_diagnostic()?,
        ],
        files => files
            .iter()
            .map(|file| ModelFile::load(file, None).into_diagnostic())
            .collect::<miette::Result<_>>()?,
    };
    let time = Duration::from_secs_f64(arguments.seconds);
    let peak = peak::multiply_adds_per_second(time);
    let mut measured = Vec::new();
    for model in &models {
        measured.extend(measure(model, arguments.rounds, time, peak)?);
    }
    if as_json {
        let value = serde_json::json!({
            "peak_multiply_adds_per_second": peak,
            "byte_factor": peak::byte_factor(),
            "engines": measured,
        });
        output::line(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write(|out| {
        writeln!(
            out,
            "peak      {:>9.1} billion multiply-adds/s of f32",
            peak / 1e9
        )?;
        for row in &measured {
            let share = row.share_of_peak.map_or("unknown".to_owned(), |share| {
                format!("{:.0} %", 100.0 * share)
            });
            writeln!(
                out,
                "{:<28} {:<24} {:<5} batch {}  {:>8.1} tiles/s  {:>7.1} million multiply-adds  {share} of the peak",
                row.model,
                format!("{} {}", row.engine, row.version),
                row.precision,
                row.batch,
                row.tiles_per_second,
                row.multiply_adds as f64 / 1e6,
            )?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One model on each engine that starts.
fn measure(
    model: &ModelFile,
    rounds: u32,
    time: Duration,
    peak: f64,
) -> miette::Result<Vec<Measured>> {
    let mut choices = vec![EngineChoice::Embedded];
    if !library::candidates(None).is_empty() {
        choices.push(EngineChoice::OnnxRuntime);
    }
    let mut engines = Vec::new();
    for choice in choices {
        let request = EngineRequest {
            choice,
            ..EngineRequest::default()
        };
        engines.extend(engine::start(model, &request, 1).into_diagnostic()?.engines);
    }
    let multiply_adds = embedded::multiply_adds(model).into_diagnostic()?;
    let factor = match model.card.is_quantized() {
        true => peak::byte_factor(),
        false => Some(1.0),
    };
    let mut rates = vec![Vec::new(); engines.len() * BATCHES.len()];
    for _ in 0..rounds {
        let mut of_one = rates.iter_mut();
        for engine in &mut engines {
            for (tiles, rates) in BATCHES.into_iter().zip(&mut of_one) {
                let rate = tiles_per_second(model, engine.as_mut(), tiles, time);
                rates.push(rate.into_diagnostic()?);
            }
        }
    }
    let mut measured = Vec::new();
    let mut medians = rates
        .iter_mut()
        .map(|rates| median(rates).unwrap_or_default());
    for engine in &engines {
        let identity = engine.identity();
        for (batch, rate) in BATCHES.into_iter().zip(&mut medians) {
            measured.push(Measured {
                model: model.card.name.clone(),
                engine: identity.name.clone(),
                version: identity.version.clone(),
                precision: identity.precision.clone(),
                batch,
                multiply_adds,
                tiles_per_second: rate,
                share_of_peak: factor.map(|factor| rate * multiply_adds as f64 / (peak * factor)),
            });
        }
    }
    Ok(measured)
}
