//! `millsight simulate`: strips and tiles of simulated steel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::{durable, output};
use serde_json::json;

use super::stop_on_interrupt;
use crate::source::LineBlock;
use crate::source::recording::{Header, RecordingWriter};
use crate::source::simulator::{
    ClassShares, Material, SimulatorSettings, Strip, TILE, TileSetSettings, write_tiles,
};

/// Lines written to a recording at once.
const BLOCK_LINES: usize = 512;

/// Draw simulated steel: a strip with its ground truth, or tiles to train on.
///
/// With --strip a recording is written that `millsight replay` judges, and
/// beside it FILE.truth.json with class, severity and outline of every defect.
/// With --tiles images are written into a folder for each class, as
/// `millsight-train index` takes them. Texture, oxide, lamps, noise and defects
/// follow from the seed: the same seed gives the same bytes.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["strip", "tiles"]),
    after_help = "\
Examples:
  millsight simulate --strip coil.lines --metres 20
  millsight simulate --strip bar.lines --metres 5 --material rod --seed 3
  millsight simulate --tiles 4000 --out steel
  millsight simulate --tiles 4000 --out steel --shares balanced
  millsight simulate --tiles 4000 --out steel --shares 0.6,0.1,0.1,0.1,0.1"
)]
pub struct Arguments {
    /// Write a recording of a strip to this file, and its ground truth
    /// (class, severity, outline of every defect) to FILE.truth.json.
    #[arg(long, value_name = "FILE", requires = "metres")]
    strip: Option<PathBuf>,

    /// Length of the strip in metres.
    #[arg(long, requires = "strip")]
    metres: Option<f64>,

    /// Write this many tiles, at least one, into class folders.
    #[arg(long, value_name = "N", requires = "out", value_parser = at_least_one)]
    tiles: Option<usize>,

    /// Folder for the tiles.
    #[arg(long, value_name = "DIR", requires = "tiles")]
    out: Option<PathBuf>,

    /// Side of the images in pixels, 64 to 512. Below 512 each is a part of a
    /// tile, at the same scale, that shows its defect: good to begin training
    /// on.
    #[arg(long, value_name = "PIXELS", default_value_t = TILE, conflicts_with = "strip")]
    side: usize,

    /// Seed: the same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// What passes the camera; tiles are of all three unless one is chosen.
    #[arg(long)]
    material: Option<MaterialName>,

    /// Class shares: `plant` (90.8 % no_defect), `balanced`, or five numbers
    /// for no_defect, cracks, scrap_mark, overfill, scrap_mark_ii.
    #[arg(long, default_value = "plant", value_parser = parse_shares)]
    shares: ClassShares,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MaterialName {
    /// Flat strip.
    Strip,
    /// Rod.
    Rod,
    /// Wire.
    Wire,
}

impl From<MaterialName> for Material {
    fn from(name: MaterialName) -> Self {
        match name {
            MaterialName::Strip => Material::Strip,
            MaterialName::Rod => Material::Rod,
            MaterialName::Wire => Material::Wire,
        }
    }
}

fn parse_shares(text: &str) -> Result<ClassShares, String> {
    let shares = match text {
        "plant" => ClassShares::PLANT,
        "balanced" => ClassShares::BALANCED,
        _ => {
            let numbers: Vec<f64> = text
                .split(',')
                .map(|part| part.trim().parse::<f64>())
                .collect::<Result<_, _>>()
                .map_err(|_| "give `plant`, `balanced`, or five numbers with commas".to_owned())?;
            let &[a, b, c, d, e] = numbers.as_slice() else {
                return Err(format!(
                    "five numbers are needed, {} were given",
                    numbers.len()
                ));
            };
            ClassShares::new(a, b, c, d, e)
        }
    };
    shares.validate().map_err(|error| error.to_string())?;
    Ok(shares)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Draws what was asked for.
pub fn simulate(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    match (
        &arguments.strip,
        arguments.metres,
        arguments.tiles,
        &arguments.out,
    ) {
        (Some(path), Some(metres), _, _) => strip(arguments, path, metres, json)?,
        (_, _, Some(tiles), Some(folder)) => tile_set(arguments, tiles, folder, json)?,
        _ => {
            return Err(miette!(
                "give --strip FILE --metres N, or --tiles N --out DIR"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn strip(arguments: &Arguments, path: &Path, metres: f64, json: bool) -> miette::Result<()> {
    let material = arguments.material.map_or(Material::Strip, Material::from);
    let settings = SimulatorSettings {
        seed: arguments.seed,
        metres: Some(metres),
        class_shares: arguments.shares,
        ..SimulatorSettings::for_material(material)
    };
    let header = Header {
        pixels_per_line: settings.pixels_per_line,
        line_rate_hz: settings.line_rate_hz,
        lines_per_metre: settings.lines_per_metre,
        mm_per_pixel: settings.millimetres_per_pixel,
        piece: format!("simulated {} {}", material.name(), arguments.seed),
        origin: concat!("millsight simulate ", env!("CARGO_PKG_VERSION")).into(),
    };
    let mut strip = Strip::new(settings).into_diagnostic()?;
    let total = strip.total_lines().unwrap_or_default();
    // Before there is a file that would be left behind.
    let stop = stop_on_interrupt()?;
    let mut writer = RecordingWriter::create(path, &header).into_diagnostic()?;
    let bar = progress(total, "lines", json);
    let mut block = vec![0; BLOCK_LINES * header.pixels_per_line];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(miette!("stopped: {} was not written", path.display()));
        }
        let first_line = strip.position();
        let lines = strip.next_lines(&mut block);
        if lines == 0 {
            break;
        }
        let end = first_line + lines as u64;
        writer
            .write(&LineBlock {
                first_line,
                pixels: &block[..lines * header.pixels_per_line],
                timestamp: Duration::from_secs_f64(end as f64 / header.line_rate_hz),
                encoder: None,
            })
            .into_diagnostic()?;
        bar.set_position(end);
    }
    writer.finish().into_diagnostic()?;
    bar.finish_and_clear();
    let truth = strip.truth(total);
    let mut truth_path = path.as_os_str().to_owned();
    truth_path.push(".truth.json");
    let truth_path = PathBuf::from(truth_path);
    let text = serde_json::to_vec_pretty(&truth).into_diagnostic()?;
    durable::replace_file(&truth_path, &text)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", truth_path.display()))?;
    if json {
        output::line(json!({
            "strip": path,
            "truth": truth_path,
            "lines": total,
            "defects": truth.defects.len(),
        }))?;
    } else {
        output::line(format_args!(
            "{}: {total} lines, {} defects ({})",
            path.display(),
            truth.defects.len(),
            truth_path.display()
        ))?;
    }
    Ok(())
}

fn tile_set(arguments: &Arguments, tiles: usize, folder: &Path, json: bool) -> miette::Result<()> {
    let settings = TileSetSettings {
        seed: arguments.seed,
        class_shares: arguments.shares,
        material: arguments.material.map(Material::from),
        side: arguments.side,
        ..TileSetSettings::default()
    };
    let bar = progress(tiles as u64, "tiles", json);
    let stop = stop_on_interrupt()?;
    let summary = write_tiles(folder, tiles, &settings, &stop, &|done| {
        bar.set_position(done as u64)
    })
    .into_diagnostic()?;
    bar.finish_and_clear();
    if json {
        output::line(serde_json::to_string(&summary).into_diagnostic()?)?;
        return Ok(());
    }
    output::write(|out| {
        writeln!(
            out,
            "{}: {} tiles of {} pieces",
            folder.display(),
            summary.tiles,
            summary.pieces
        )?;
        for (class, count) in &summary.classes {
            writeln!(out, "  {class:<16} {count}")?;
        }
        Ok(())
    })?;
    Ok(())
}

fn progress(length: u64, unit: &str, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = format!("{{bar:32.cyan/blue}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
