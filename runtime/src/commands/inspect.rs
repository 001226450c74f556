//! `run` and `replay`: lines go in, recorded verdicts come out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use miette::{IntoDiagnostic, miette};
use millsight_export::engine::EngineRequest;
use millsight_firmware_config::{Pace, READY_STATIONS, Source as Config, Station, TILE_SIZE, Web};

use super::{EngineArguments, ModelArguments, progress, stop_on_interrupt, summary};
use crate::classify::SettledRow;
use crate::cores;
use crate::exchange::Exchange;
use crate::flat_field::FlatField;
use crate::ledger::{Ledger, ModelIdentity, Summary};
use crate::metrics::{self, Metrics};
use crate::networks::{self, Networks};
use crate::pipeline::{self, Drive, Outcome, Run};
use crate::position::Geometry;
use crate::record::{Recorder, RunDescription};
use crate::review::{About, Follower, Live, Page, Running, Settings};
use crate::source::Source;
use crate::source::recording::Header;
use crate::source::simulated::{self, TruthJudge};
use crate::station;
use crate::web::{Encryption, Server};

/// Run a station until its source ends or Ctrl-C.
///
/// A station is a TOML file that describes camera, optics, material, source,
/// model, engine and record. Its lines become tiles, each tile is judged, and
/// what was flagged or left unjudged is recorded with its image. Lines that come
/// at a line rate are never held up: a tile that cannot be judged in time is
/// counted as unjudged with its reason.
///
/// The first Ctrl-C (or SIGTERM) ends the run in order: what has entered is
/// judged and recorded, and the summary is printed. The second ends it at once;
/// the record stays readable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight run --station strip                     a ready station
  millsight config show demo > line3.toml           begin a station of your own
  millsight config check line3.toml
  millsight doctor --station line3.toml             will it run on this machine?
  millsight run --station line3.toml --out record/monday
  millsight run --station line3.toml --json         the summary for programs

Exit codes: 0 all lines were read and all tiles judged, 1 the summary names \
problems, 2 wrong usage.")]
pub struct RunArguments {
    /// Station file, or the name of a ready station (demo, wire, rod, strip, replay).
    #[arg(long, value_name = "FILE")]
    station: PathBuf,

    /// Folder for the record, instead of the station's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineArguments,
}

/// Judge a recorded strip.
///
/// The strip may be a recording (`millsight simulate --strip`), a PNG or TIFF
/// image whose rows are lines, its width a multiple of 512 pixels, or a folder
/// of tiles of 512 × 512 pixels. It is judged as fast as the machine can; no
/// tile is left out for lack of time. A recording carries its own geometry and
/// the name of its piece, which go before those of the station.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight replay coil.lines
  millsight replay coil.png --out record/coil --station line3.toml
  millsight replay coil.png --model model.onnx --json")]
pub struct ReplayArguments {
    /// Recording, strip image, or folder of tiles.
    strip: PathBuf,

    /// Station that the strip came from: geometry, thresholds, flat field.
    #[arg(long, value_name = "FILE")]
    station: Option<PathBuf>,

    /// Folder for the record; without it verdicts are only counted.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    engine: EngineArguments,
}

/// Runs a station.
pub fn run(arguments: &RunArguments, json: bool) -> miette::Result<ExitCode> {
    let (station, notices) = load_station(&arguments.station)?;
    let folder = arguments.out.as_ref().unwrap_or(&station.recording.folder);
    let mut request = station::engine_request(&station.engine);
    arguments.engine.apply(&mut request);
    let task = Task {
        station: &station,
        request,
        folder: Some(folder),
        notices,
        camera_is_known: true,
    };
    inspect(task, json)
}

/// Judges a recorded strip.
pub fn replay(arguments: &ReplayArguments, json: bool) -> miette::Result<ExitCode> {
    let (mut station, notices) = match &arguments.station {
        Some(path) => load_station(path)?,
        None => (Station::ready("replay")?, Vec::new()),
    };
    station.source = Config::Replay {
        path: arguments.strip.clone(),
        pace: Pace::Unpaced,
    };
    if arguments.model.model.is_some() {
        station.model.file = arguments.model.model.clone();
        station.model.sidecar = arguments.model.sidecar.clone();
    }
    let mut request = station::engine_request(&station.engine);
    arguments.engine.apply(&mut request);
    let task = Task {
        station: &station,
        request,
        folder: arguments.out.as_deref(),
        notices,
        camera_is_known: arguments.station.is_some(),
    };
    inspect(task, json)
}

/// A station file, or a ready station when no file of that name exists, with
/// what is doubtful about it; that is also shown on standard error.
pub fn load_station(path: &Path) -> miette::Result<(Station, Vec<String>)> {
    let ready = path
        .to_str()
        .filter(|name| READY_STATIONS.iter().any(|(known, _)| known == name));
    match ready {
        Some(name) if !path.exists() => Ok((Station::ready(name)?, Vec::new())),
        _ => {
            let (station, warnings) = Station::load_with_warnings(path)?;
            let notices = warnings.iter().map(ToString::to_string).collect();
            for warning in warnings {
                eprintln!("{:?}", miette::Report::new(warning));
            }
            Ok((station, notices))
        }
    }
}

/// What is to be inspected, and how.
pub(super) struct Task<'a> {
    pub station: &'a Station,
    pub request: EngineRequest,
    /// Folder of the record; `None`: verdicts are only counted.
    pub folder: Option<&'a Path>,
    /// What the summary says before the run has begun.
    pub notices: Vec<String>,
    /// Whether the station describes the camera that took the lines; the
    /// template that stands in for a station does not.
    pub camera_is_known: bool,
}

/// Inspects, records and prints the summary.
pub(super) fn inspect(task: Task<'_>, json: bool) -> miette::Result<ExitCode> {
    let Task {
        station,
        request,
        folder,
        mut notices,
        camera_is_known,
    } = task;
    cores::check(&station.cores).into_diagnostic()?;
    let source = match simulated::is_drawn_beforehand(station) {
        true => progress::waiting("drawing the steel", json, || station::open_source(station)),
        false => station::open_source(station),
    }
    .into_diagnostic()?;
    let width = source.pixels_per_line();
    check_width(station, source.as_ref())?;
    let camera_width = station.camera.pixels_per_line;
    if camera_is_known && width != camera_width {
        notices.push(format!(
            "the strip has {width} pixels in a line, the station's camera {camera_width}: \
             positions across the material are counted within the strip"
        ));
    }
    let flat_field = match FlatField::of_station(station, width).into_diagnostic()? {
        Some((flat_field, doubt)) => {
            if let Some(doubt) = doubt {
                eprintln!("warning: {doubt}");
                notices.push(doubt);
            }
            Some(flat_field)
        }
        None => None,
    };
    let Networks {
        classifiers,
        models,
        model,
        decider,
        engine: identity,
        screen,
        notices: of_engines,
    } = progress::waiting("starting the networks", json, || {
        networks::start(station, &request)
    })
    .into_diagnostic()?;
    for notice in &of_engines {
        eprintln!("warning: {notice}");
    }
    notices.extend(of_engines);
    let model_identity = ModelIdentity::of(&model);
    let mut geometry = Geometry {
        pixels_per_line: width,
        ..Geometry::of(station)
    };
    let mut piece = station.material.piece_id.clone();
    if let Some(header) = source.header() {
        geometry = geometry.of_recording(header);
        piece.clone_from(&header.piece);
    }
    let mut recorder = match folder {
        Some(folder) => Some(
            Recorder::begin(
                folder,
                &station.recording,
                RunDescription {
                    station: station.name.clone(),
                    station_toml: station.to_toml().into_diagnostic()?,
                    piece: piece.clone(),
                    engine: identity.clone(),
                    model: model_identity.clone(),
                    card: model.card.clone(),
                    geometry,
                    files: source.files().to_vec(),
                },
            )
            .into_diagnostic()?,
        ),
        None => None,
    };
    let drive = drive(station, source.header());
    let stop = stop_on_interrupt()?;
    let ledger = Arc::new(Ledger::new(&model.card.classes));
    let classes = model.card.classes.clone();
    let about = About {
        station: station.name.clone(),
        piece,
        engine: identity.clone(),
        model: model_identity.clone(),
        screen: screen.clone(),
        classes: classes.clone(),
        line_rate: drive.line_rate(),
        columns: geometry.columns(),
    };
    let running = Running {
        live: Arc::new(Live::new(about, Arc::clone(&ledger))),
        exchange: Arc::new(Exchange::new(
            station.clone(),
            request,
            classifiers.len(),
            Arc::clone(&models),
            model,
        )),
    };
    let _served = match &station.web {
        Some(web) => {
            let folder = recorder.as_ref().map(Recorder::folder);
            serve(web, running.clone(), Arc::clone(&ledger), folder)?
        }
        None => None,
    };
    let mut display = progress::Display::new(source.expected_lines(), width / TILE_SIZE, json);
    let mut truth = match &station.source {
        Config::Simulator { .. } => Some(TruthJudge::new(station, &classes).into_diagnostic()?),
        _ => None,
    };
    let mut observe = |row: &SettledRow| {
        running.row(row);
        if let Some(truth) = &mut truth {
            truth.row(row);
        }
    };
    let Outcome {
        problems,
        notices: found,
    } = pipeline::run(
        Run {
            source,
            geometry,
            classifiers,
            models: &models,
            flat_field,
            recorder: recorder.as_mut(),
            observe: Some(&mut observe),
            drive,
            cores: &station.cores,
            queue_rows: station.deadlines.queue_rows,
            stop: &stop,
            ledger: &ledger,
        },
        |ledger| display.update(ledger),
    );
    display.finish();
    let defects: Vec<usize> = decider.defects().map(|(class, _)| class).collect();
    let mut summary = ledger.summary(defects.into_iter(), identity, model_identity);
    summary.screen = screen;
    summary.truth = truth.map(|truth| truth.comparison());
    summary.notices = notices;
    summary.notices.extend(found);
    summary.problems = problems;
    let stopped = stop.load(Ordering::Relaxed);
    if stopped {
        summary
            .notices
            .push("stopped before the end of the source".into());
    }
    if summary.tiles.unjudged > 0 {
        summary.problems.push(format!(
            "{} of {} tiles are unjudged: nobody has looked at them",
            summary.tiles.unjudged, summary.tiles.total
        ));
    }
    finish_record(recorder, &mut summary, stopped);
    summary::print(&summary, json).into_diagnostic()?;
    Ok(if summary.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends the record. That this fails is a problem of the run like any other:
/// the summary is printed all the same.
fn finish_record(recorder: Option<Recorder>, summary: &mut Summary, stopped: bool) {
    if let Some(recorder) = recorder {
        summary.record = Some(recorder.folder().display().to_string());
        if let Err(error) = recorder.finish(summary, stopped) {
            summary
                .problems
                .push(format!("the record is incomplete: {error}"));
        }
    }
}

/// Serves the metrics of a run and, where there is a record, the page.
fn serve(
    web: &Web,
    running: Running,
    ledger: Arc<Ledger>,
    record: Option<&Path>,
) -> miette::Result<Option<(Server, Option<Follower>)>> {
    let Some(address) = web.address() else {
        return Ok(None);
    };
    let encryption = match web.encryption() {
        Some((certificate, key)) => Some(Encryption::load(certificate, key).into_diagnostic()?),
        None => None,
    };
    let mut routes = metrics::routes(Metrics::new(ledger));
    let (mut follower, mut first_account) = (None, None);
    if let Some(folder) = record {
        let settings = Settings {
            is_encrypted: encryption.is_some(),
            is_insecure: encryption.is_none() && !address.ip().is_loopback(),
            ..Settings::default()
        };
        let page = Page::open(folder, settings, Some(running)).into_diagnostic()?;
        routes = routes.merge(page.routes);
        (follower, first_account) = (Some(page.follower), page.first_account);
    }
    let server = Server::start(address, encryption, routes).into_diagnostic()?;
    let url = server.url();
    eprintln!("metrics at {url}metrics");
    if follower.is_some() {
        eprintln!("page at {url}");
    }
    if let Some((account, password)) = first_account {
        eprintln!("log in as {account} with the password {password}, for the first time only");
    }
    Ok(Some((server, follower)))
}

/// A recording that is held to a line rate is held to its own.
fn drive(station: &Station, header: Option<&Header>) -> Drive {
    if station.source.is_camera() {
        let rate = header.map_or(station.camera.line_rate_hz, |header| header.line_rate_hz);
        return Drive::camera(rate, &station.deadlines);
    }
    match station::pace(station) {
        Some(line_rate) => {
            let of_recording = header
                .map(|header| header.line_rate_hz)
                .filter(|rate| rate.is_finite() && *rate > 0.0);
            Drive::paced(of_recording.unwrap_or(line_rate), &station.deadlines)
        }
        None => Drive::Unpaced,
    }
}

/// A replayed strip may be narrower or wider than the station's camera, but
/// must hold whole tiles.
pub fn check_width(station: &Station, source: &dyn Source) -> miette::Result<()> {
    let width = source.pixels_per_line();
    if width > 0 && width.is_multiple_of(TILE_SIZE) {
        return Ok(());
    }
    let name = match &station.source {
        Config::Replay { path, .. } => path.display().to_string(),
        Config::Simulator { .. } => "the simulator".to_owned(),
        Config::V4l2 { .. } | Config::Genicam { .. } | Config::Feed { .. } => {
            "the camera".to_owned()
        }
    };
    Err(miette!(
        help = format!(
            "crop or pad the strip to a multiple of {TILE_SIZE} pixels; \
             for single images of any size use `millsight classify`"
        ),
        "{name} has {width} pixels in a line, which is no whole number of tiles of {TILE_SIZE}"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_recording_is_paced_at_its_own_rate_and_an_image_at_the_station_s() {
        let mut station = Station::ready("replay").unwrap();
        let mut header = Header {
            pixels_per_line: 4096,
            line_rate_hz: 67_000.0,
            lines_per_metre: 4000.0,
            mm_per_pixel: 0.25,
            piece: "coil 7".into(),
            origin: "test".into(),
        };
        let rate = |station: &Station, header: Option<&Header>| drive(station, header).line_rate();
        assert_eq!(rate(&station, Some(&header)), None);
        station.source = Config::Replay {
            path: "coil.lines".into(),
            pace: Pace::LineRate,
        };
        assert_eq!(rate(&station, Some(&header)), Some(67_000.0));
        assert_eq!(rate(&station, None), Some(6000.0));
        header.line_rate_hz = f64::NAN;
        assert_eq!(rate(&station, Some(&header)), Some(6000.0));
    }
}
