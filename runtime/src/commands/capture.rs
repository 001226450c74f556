//! `millsight capture`: lines of a camera, recorded as they come.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, bounded};
use miette::{IntoDiagnostic, miette};
use millsight_export::output;
use millsight_firmware_config::{MAXIMUM_LINES_PER_METRE, Station};
use serde_json::json;

use super::inspect::load_station;
use super::{progress, stop_on_interrupt};
use crate::source::recording::{Header, RecordingError, RecordingWriter};
use crate::source::{EncoderSpan, Event, LineBlock, Source};
use crate::station;

/// Blocks that wait for the disk. A disk that stalls for longer costs lines, which are
/// then a gap of the recording.
const WAITING: usize = 64;

/// Record the lines of a station's camera, for `millsight replay`.
///
/// Lines are written as they come, uncorrected; those that are lost are a gap of
/// the recording. It ends after --lines, or with Ctrl-C; then the file gets its name.
/// Without --out the camera is only tried.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight capture --station line3.toml --out coil.lines --lines 670000
  millsight capture --station line3.toml --lines 670000       try the camera
  millsight replay coil.lines --station line3.toml --out record/coil")]
pub struct Arguments {
    /// Station file whose camera is recorded, or the name of a ready station.
    #[arg(long, value_name = "FILE")]
    station: PathBuf,

    /// Recording to write; without it lines are counted and not kept.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Lines after which it ends; without it, with Ctrl-C.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..))]
    lines: Option<u64>,
}

/// What was captured.
#[derive(Debug, Default, Clone, Copy)]
struct Captured {
    lines: u64,
    gaps: u64,
    missing: u64,
}

/// Records a camera.
pub fn capture(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let (station, _) = load_station(&arguments.station)?;
    let mut source = station::open_source(&station).into_diagnostic()?;
    let header = match source.header() {
        Some(header) => header.clone(),
        None => header(&station, source.pixels_per_line()),
    };
    let writer = match &arguments.out {
        Some(out) => Some(RecordingWriter::create(out, &header).into_diagnostic()?),
        None => None,
    };
    let stop = stop_on_interrupt()?;
    let (blocks_in, blocks) = bounded(WAITING);
    let (free_in, free) = bounded(WAITING + 2);
    let most = arguments.lines.unwrap_or(u64::MAX);
    let captured = thread::scope(|scope| {
        let writing = thread::Builder::new()
            .name("millsight-capture".into())
            .spawn_scoped(scope, move || write(writer, &blocks, &free_in))
            .into_diagnostic()?;
        let read = progress::waiting("capturing", as_json, || {
            read(source.as_mut(), most, &blocks_in, &free, &|| {
                stop.load(Ordering::Relaxed)
            })
        });
        drop(blocks_in);
        writing
            .join()
            .map_err(|_| miette!("the thread that writes the recording failed"))?
            .into_diagnostic()?;
        read
    })?;
    let camera = source.camera();
    if as_json {
        output::line(json!({
            "recording": arguments.out,
            "lines": captured.lines,
            "gaps": captured.gaps,
            "missing": captured.missing,
            "camera": camera,
        }))?;
    } else {
        output::line(format_args!(
            "{}{} lines, {} missing in {} gaps",
            (arguments.out.as_ref()).map_or_else(String::new, |out| format!("{}: ", out.display())),
            captured.lines,
            captured.missing,
            captured.gaps
        ))?;
    }
    Ok(match captured.missing {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn header(station: &Station, width: usize) -> Header {
    let speed = station.material.speed_m_per_s.nominal;
    Header {
        pixels_per_line: width,
        line_rate_hz: station.camera.line_rate_hz,
        lines_per_metre: station.lines_per_metre(speed).min(MAXIMUM_LINES_PER_METRE),
        mm_per_pixel: station.optics.mm_per_pixel,
        piece: station.material.piece_id.clone(),
        origin: format!("millsight capture, station {}", station.name),
    }
}

/// Lines on their way to the disk.
struct Block {
    first_line: u64,
    timestamp: Duration,
    encoder: Option<EncoderSpan>,
    pixels: Vec<u8>,
}

fn read(
    source: &mut dyn Source,
    most: u64,
    blocks: &Sender<Block>,
    free: &Receiver<Vec<u8>>,
    stopped: &dyn Fn() -> bool,
) -> miette::Result<Captured> {
    let width = source.pixels_per_line().max(1);
    let mut captured = Captured::default();
    while captured.lines < most && !stopped() {
        match source.next_event().into_diagnostic()? {
            Event::Lines(block) => {
                let left = usize::try_from(most - captured.lines).unwrap_or(usize::MAX);
                let lines = (block.pixels.len() / width).min(left);
                let mut pixels = free.try_recv().unwrap_or_default();
                pixels.clear();
                pixels.extend_from_slice(&block.pixels[..lines * width]);
                captured.lines += lines as u64;
                let block = Block {
                    first_line: block.first_line,
                    timestamp: block.timestamp,
                    encoder: block.encoder,
                    pixels,
                };
                if blocks.send(block).is_err() {
                    // The writer has failed and says why.
                    break;
                }
            }
            Event::Gap(gap) | Event::Unreadable(gap) | Event::Lost(gap) => {
                captured.gaps += 1;
                captured.missing += gap.lines;
                eprintln!(
                    "warning: {} lines from line {} on are missing: {}",
                    gap.lines, gap.first_line, gap.reason
                );
            }
            Event::Nothing => {}
            Event::End => break,
        }
    }
    Ok(captured)
}

fn write(
    mut writer: Option<RecordingWriter>,
    blocks: &Receiver<Block>,
    free: &Sender<Vec<u8>>,
) -> Result<(), RecordingError> {
    for block in blocks {
        if let Some(writer) = &mut writer {
            writer.write(&LineBlock {
                first_line: block.first_line,
                pixels: &block.pixels,
                timestamp: block.timestamp,
                encoder: block.encoder,
            })?;
        }
        // Where there are enough already, it goes.
        let _ = free.try_send(block.pixels);
    }
    writer.map_or(Ok(()), RecordingWriter::finish)
}
