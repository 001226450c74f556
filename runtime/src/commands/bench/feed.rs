//! `bench feed`.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use miette::{IntoDiagnostic, miette};
use millsight_export::output;
use millsight_firmware_config::Station;
use serde_json::json;

use super::{CAMERA_RATE, line, rate, seconds};
use crate::bench::ingest::Ingest;
use crate::bench::optics;
use crate::bench::process::{Taken, allocations};
use crate::position::Geometry;
use crate::source::LineBlock;
use crate::source::feed::FeedSource;
use crate::source::recording::{BlockWriter, Header};
use crate::station;

/// Rows of tiles that are drawn.
const ROWS: usize = 16;

/// Lines of a block, as a camera's frame has them.
const BLOCK_LINES: usize = 256;

/// Measure what taking lines from another program costs.
///
/// A second process writes simulated steel, drawn beforehand, to a Unix socket at a
/// camera's line rate, as a program with the library of the camera's maker would.
/// This one reads it and does with it what comes before any network: it copies lines
/// into rows, corrects them, searches for material and resizes tiles.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Seconds for which lines come.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,

    /// Lines a second; 4096 bytes each.
    #[arg(long, value_name = "LINES", default_value_t = CAMERA_RATE, value_parser = rate)]
    line_rate: f64,

    /// Socket to which to write; the second process is called with it.
    #[arg(long, value_name = "SOCKET", hide = true)]
    write_to: Option<PathBuf>,
}

pub fn feed(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    if let Some(socket) = &arguments.write_to {
        write_lines(socket, arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let station = Station::ready("strip")?;
    let geometry = Geometry::of(&station);
    let card = station::load_model(None, None).into_diagnostic()?.card;
    let reference = optics::reference(geometry.pixels_per_line);
    let detection = station.material_detection.clone();
    let mut ingest = Ingest::new(geometry, &reference, detection, &card).into_diagnostic()?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let socket = folder.path().join("lines");
    let mut writer = Command::new(std::env::current_exe().into_diagnostic()?)
        .args(["bench", "feed", "--write-to"])
        .arg(&socket)
        .args(["--seconds", &arguments.seconds.to_string()])
        .args(["--line-rate", &arguments.line_rate.to_string()])
        .spawn()
        .into_diagnostic()?;
    let mut source = FeedSource::open(Some(&socket)).into_diagnostic()?;
    let (before, allocated) = (Taken::now(), allocations());
    let passed = ingest.run(&mut source).into_diagnostic()?;
    let (after, allocated) = (Taken::now(), allocations() - allocated);
    if !writer.wait().into_diagnostic()?.success() {
        return Err(miette!("the process that writes lines has failed"));
    }
    let took = passed.took.as_secs_f64();
    let cores = (after.processor - before.processor).as_secs_f64() / took;
    let bytes = passed.lines as f64 * geometry.pixels_per_line as f64 / took;
    if as_json {
        output::line(json!({
            "lines": passed.lines,
            "lines_per_second": passed.lines_per_second(),
            "asked_lines_per_second": arguments.line_rate,
            "bytes_per_second": bytes,
            "cores": cores,
            "allocations": allocated,
            "mib": after.resident >> 20,
        }))?;
    } else {
        output::line(format_args!(
            "{:.0} lines/s of {:.0} asked for ({:.0} MB/s): {cores:.2} cores, {allocated} \
             allocations, {} MiB",
            passed.lines_per_second(),
            arguments.line_rate,
            bytes / 1e6,
            after.resident >> 20
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes lines to a socket at a rate, and then the end.
fn write_lines(socket: &Path, arguments: &Arguments) -> miette::Result<()> {
    let station = Station::ready("strip")?;
    let width = station.camera.pixels_per_line;
    let drawn = line::draw(width, ROWS, 0.01, 1)?;
    let header = Header {
        pixels_per_line: width,
        line_rate_hz: arguments.line_rate,
        lines_per_metre: 3333.0,
        mm_per_pixel: 0.3,
        piece: "bench".into(),
        origin: "millsight bench feed".into(),
    };
    let stream = UnixStream::connect(socket).into_diagnostic()?;
    let mut writer = BlockWriter::begin(stream, &header).into_diagnostic()?;
    let begun = Instant::now();
    let blocks = drawn.pixels().chunks_exact(BLOCK_LINES * width).cycle();
    for (number, pixels) in blocks.enumerate() {
        let first_line = (number * BLOCK_LINES) as u64;
        let due =
            Duration::from_secs_f64((first_line as f64 + BLOCK_LINES as f64) / arguments.line_rate);
        if due.as_secs_f64() > arguments.seconds {
            break;
        }
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let block = LineBlock {
            first_line,
            pixels,
            timestamp: due,
            encoder: None,
        };
        writer
            .write(&block)
            .map_err(|error| miette!("the lines cannot be written: {error:?}"))?;
    }
    writer.end().into_diagnostic()?;
    Ok(())
}
