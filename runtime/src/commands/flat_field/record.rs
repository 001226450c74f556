//! `millsight flat-field record`: a flat field from the station's camera.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use miette::{IntoDiagnostic, miette};
use millsight_firmware_config::{Source as Config, Station};

use super::super::inspect::load_station;
use super::super::progress;
use super::{WELL_EXPOSED, brightest, finish, mean};
use crate::flat_field::{MeanLine, Reference, Taken};
use crate::source::{Event, Source};
use crate::station;

/// Mean level above which the lens cannot have been covered: 20 % of the range.
const DARK: f32 = 51.0;

/// Time without a line after which the camera is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Record the flat field of a station's camera.
///
/// Twice it says what to do and waits for Enter: cover the lens; then light a
/// white target as steel will be lit, at operating exposure, and move it. The
/// brightest pixel of the target must stay below 80 % of the range (level
/// 204), or nothing is written.
///
/// The file notes exposure and scan direction. A run refuses it for the other
/// scan direction, and says so when the exposure is another: record one file
/// for each scan direction, and anew after each change of light, lens or
/// exposure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight flat-field record --station line3.toml --out line3.flat.json
  millsight flat-field record --station line3.toml --lines 65536 --out line3.flat.json")]
pub struct Arguments {
    /// Station file whose camera is used, with its exposure.
    #[arg(long, value_name = "FILE")]
    station: PathBuf,

    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Lines to average, for dark and for white each.
    #[arg(long, value_name = "LINES", default_value_t = 16_384,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    lines: u64,

    /// Grey level, 1 to 255, to which white is brought [default: its mean].
    #[arg(long, value_name = "LEVEL")]
    target: Option<f32>,
}

/// Has the user cover the lens and show a white target, averages what the camera sees and
/// writes the flat field.
pub fn record(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let (station, _) = load_station(&arguments.station)?;
    check_source(&station)?;
    let source = station::open_source(&station).into_diagnostic()?;
    let camera = Watched::new(source, arguments.lines)?;
    wait_for_enter("Cover the lens, so that no light reaches the camera, and press Enter.")?;
    let dark = progress::waiting("recording dark", json, || camera.mean_line())?;
    let level = mean(&dark);
    if level > DARK {
        return Err(miette!(
            help = "cover the lens with its cap, or switch the light off and darken the room",
            "the mean level is {level:.0}, which is not dark (at most {DARK:.0}); nothing is written"
        ));
    }
    wait_for_enter(
        "Uncover the lens, light a white target as steel will be lit, move it, and press Enter.",
    )?;
    let white = progress::waiting("recording white", json, || camera.mean_line())?;
    let level = brightest(&white);
    if level > WELL_EXPOSED {
        return Err(miette!(
            help = "less light, a smaller aperture or a shorter exposure; if the exposure is \
                    changed in the station, both parts are recorded with it",
            "the brightest pixel has the level {level:.0}, above {WELL_EXPOSED:.0} (80 % of the \
             range): what is over-exposed cannot be corrected; nothing is written"
        ));
    }
    let reference = Reference {
        target: arguments.target.unwrap_or_else(|| mean(&white)),
        dark,
        white,
        taken: Some(Taken {
            exposure_us: station.camera.exposure_us,
            scan_direction: station.optics.scan_direction,
            lines: arguments.lines,
        }),
    };
    finish(&reference, "dark and white", &arguments.out, json)
}

/// Only what looks through a lens can be shown a target.
fn check_source(station: &Station) -> miette::Result<()> {
    match &station.source {
        Config::Feed { socket: None } => Err(miette!(
            help = "let lines come through a socket (`source.socket`)",
            "the station reads lines from standard input, where Enter is waited for"
        )),
        source if source.is_camera() => Ok(()),
        _ => Err(miette!(
            help = "for strips that were recorded: `millsight flat-field --dark … --white …`",
            "the station has no camera: its `source.kind` must be \"v4l2\", \"genicam\" or \"feed\""
        )),
    }
}

fn wait_for_enter(text: &str) -> miette::Result<()> {
    eprintln!("{text}");
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line).into_diagnostic()? {
        0 => Err(miette!(
            "standard input has ended before Enter was pressed; nothing is written"
        )),
        _ => Ok(()),
    }
}

/// A camera whose lines are looked at all the time, so that those that are averaged are of
/// the moment and did not wait in a buffer.
struct Watched {
    /// Gone when nobody will ask any more.
    asked: Option<Sender<()>>,
    answers: Receiver<miette::Result<Vec<f32>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    /// Watches a camera, of which `lines` lines are averaged when they are asked for.
    fn new(mut source: Box<dyn Source>, lines: u64) -> miette::Result<Self> {
        let (asked, to_do) = bounded(1);
        let (answer, answers) = bounded(1);
        let thread = thread::Builder::new()
            .name("millsight-flat-field".into())
            .spawn(move || {
                while let Some(mean) = next_mean(source.as_mut(), lines, &to_do).transpose() {
                    let failed = mean.is_err();
                    if answer.send(mean).is_err() || failed {
                        break;
                    }
                }
            })
            .into_diagnostic()?;
        Ok(Self {
            asked: Some(asked),
            answers,
            thread: Some(thread),
        })
    }

    /// The mean level of each pixel over the lines that come from now on.
    fn mean_line(&self) -> miette::Result<Vec<f32>> {
        // Where nobody takes the request any more, the answer says why.
        let _ = self.asked.as_ref().map(|asked| asked.send(()));
        let gone = |_| miette!("the thread that reads the camera has failed; nothing is written");
        self.answers.recv().map_err(gone)?
    }
}

impl Drop for Watched {
    /// Has the camera closed before the program ends.
    fn drop(&mut self) {
        self.asked = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Passes lines over until some are asked for, and averages the next ones; nothing when
/// nobody can ask any more.
fn next_mean(
    source: &mut dyn Source,
    lines: u64,
    to_do: &Receiver<()>,
) -> miette::Result<Option<Vec<f32>>> {
    let width = source.pixels_per_line();
    let mut averaged: Option<MeanLine> = None;
    let mut last_line = Instant::now();
    loop {
        if averaged.is_none() {
            match to_do.try_recv() {
                Ok(()) => {
                    averaged = Some(MeanLine::new(width));
                    last_line = Instant::now();
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(None),
            }
        }
        let event = source.next_event().into_diagnostic()?;
        if let Event::End = event {
            return Err(miette!("the camera's lines have ended; nothing is written"));
        }
        let Some(line) = &mut averaged else {
            continue;
        };
        // What did not come need not be averaged.
        if let Event::Lines(block) = event {
            let left = usize::try_from(lines - line.lines()).unwrap_or(usize::MAX);
            let pixels = block.pixels.len().min(left.saturating_mul(width));
            line.add(&block.pixels[..pixels]);
            last_line = Instant::now();
        }
        if line.lines() >= lines {
            return Ok(line.mean());
        }
        if last_line.elapsed() > PATIENCE {
            return Err(miette!(
                help = "try it with `millsight capture`",
                "no line has come from the camera for {} s; nothing is written",
                PATIENCE.as_secs()
            ));
        }
    }
}
