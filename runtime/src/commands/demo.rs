//! `demo`: simulated steel before the shipped models.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::engine::EngineRequest;
use millsight_firmware_config::{Pace, Source as Config, Station};

use super::inspect::{Task, inspect};
use super::progress;
use crate::bench::trial;
use crate::source::prerendered::Prerendered;
use crate::{networks, station};

/// Inspect simulated steel with the shipped models (the default).
///
/// Draws some metres of hot strip and lets them pass as fast as before a camera of
/// 67,000 lines a second, or, where this computer does not hold that, as fast as it
/// judges. The shipped screen looks at every tile, the shipped classifier at those
/// that it does not clear. A summary is printed: lines, tiles by state, what was
/// flagged, and how that compares with what was truly drawn. It needs no camera, no
/// files and no GPU. The images of flagged tiles lie in the record folder that the
/// summary names.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  millsight                                the same as `millsight demo`
  millsight demo --metres 100 --seed 7     more steel, and other
  millsight demo --out runs/look --json    the summary as one line of JSON")]
pub struct DemoArguments {
    /// Metres of simulated strip to inspect.
    #[arg(long, value_name = "METRES")]
    metres: Option<f64>,

    /// Seed of the simulated strip: the same seed, the same steel.
    #[arg(long)]
    seed: Option<u64>,

    /// Folder for the record; without it a new one in your data folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How much faster a computer must judge than lines come, to be trusted to hold that.
const RESERVE: f64 = 1.2;

/// For how long it is tried how fast a computer judges.
const TRIED: Duration = Duration::from_millis(500);

/// Rows of tiles with which that is tried.
const TRIED_ROWS: usize = 8;

/// Share of their tiles with a defect, about that of the demonstration.
const TRIED_DEFECTS: f64 = 0.08;

/// Runs the demo station.
pub fn demo(arguments: &DemoArguments, json: bool) -> Result<ExitCode> {
    let mut station = Station::ready("demo")?;
    if let Config::Simulator { seed, metres, .. } = &mut station.source {
        *seed = arguments.seed.unwrap_or(*seed);
        *metres = arguments.metres.unwrap_or(*metres);
    }
    // Other metres may be none that the simulator draws.
    let mut station = checked(&station)?;
    let request = station::engine_request(&station.engine);
    let mut notices = Vec::new();
    if let Ok(paced) = checked(&paced(&station)) {
        let held = progress::waiting("trying how fast this computer judges", json, || {
            lines_per_second(&station, &request)
        })?;
        let rate = station.camera.line_rate_hz;
        if held >= RESERVE * rate {
            station = paced;
        } else {
            notices.push(format!(
                "this computer judges about {held:.0} lines a second with this engine, too few \
                 for a camera of {rate:.0}: the lines come as fast as it judges"
            ));
        }
    }
    let folder = arguments.out.clone().unwrap_or_else(|| {
        let moment = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ");
        station::data_folder("demo").join(moment.to_string())
    });
    let task = Task {
        station: &station,
        request,
        folder: Some(&folder),
        notices,
        camera_is_known: true,
    };
    inspect(task, json)
}

/// The station as it would be read from a file.
fn checked(station: &Station) -> Result<Station> {
    Ok(Station::parse(
        &station.to_toml().into_diagnostic()?,
        "demo",
    )?)
}

/// The station with its lines at the camera's rate. Drawing does not keep up with that.
fn paced(station: &Station) -> Station {
    let mut station = station.clone();
    if let Config::Simulator {
        pace,
        drawn_beforehand,
        ..
    } = &mut station.source
    {
        (*pace, *drawn_beforehand) = (Pace::LineRate, true);
    }
    station
}

/// How fast this computer judges steel like that of a station.
fn lines_per_second(station: &Station, request: &EngineRequest) -> Result<f64> {
    let width = station.camera.pixels_per_line;
    let drawn = Prerendered::draw(width, TRIED_ROWS, TRIED_DEFECTS, 1).into_diagnostic()?;
    let networks = networks::start(station, request).into_diagnostic()?;
    Ok(trial::fastest(station, networks, &drawn, None, TRIED))
}
