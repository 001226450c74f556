//! `demo`, `run` and `replay`: lines go in, recorded verdicts come out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::engine::{self, EngineRequest};
use millsight_firmware_config::{Pace, READY_STATIONS, Source as Config, Station, TILE_SIZE};

use super::{EngineArguments, ModelArguments, progress, summary};
use crate::classify::{Classifier, SettledRow};
use crate::decide::Decider;
use crate::flat_field::FlatField;
use crate::ledger::{Ledger, ModelIdentity, Summary};
use crate::pipeline::{self, Drive, Outcome, Run};
use crate::position::Geometry;
use crate::record::{Recorder, RunDescription};
use crate::source::Source;
use crate::source::simulated::TruthJudge;
use crate::station;

/// Arguments of `millsight demo`.
#[derive(Debug, Default, Args)]
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

/// Arguments of `millsight run`.
#[derive(Debug, Args)]
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

/// Arguments of `millsight replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
The strip may be a recording (`millsight simulate --strip`), a PNG or TIFF whose rows are \
lines (its width a multiple of 512 pixels), or a folder of 512×512 tiles. It is judged as \
fast as the machine can; no tile is left out for lack of time.")]
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

/// Runs the demo station.
pub fn demo(arguments: &DemoArguments, json: bool) -> miette::Result<ExitCode> {
    let mut station = Station::ready("demo")?;
    if let Config::Simulator { seed, metres, .. } = &mut station.source {
        *seed = arguments.seed.unwrap_or(*seed);
        *metres = arguments.metres.unwrap_or(*metres);
    }
    let folder = arguments.out.clone().unwrap_or_else(|| {
        let moment = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ");
        station::data_folder("demo").join(moment.to_string())
    });
    let request = station::engine_request(&station.engine);
    inspect(&station, request, Some(&folder), json)
}

/// Runs a station.
pub fn run(arguments: &RunArguments, json: bool) -> miette::Result<ExitCode> {
    let station = load_station(&arguments.station)?;
    let folder = arguments.out.as_ref().unwrap_or(&station.recording.folder);
    let mut request = station::engine_request(&station.engine);
    arguments.engine.apply(&mut request);
    inspect(&station, request, Some(folder), json)
}

/// Judges a recorded strip.
pub fn replay(arguments: &ReplayArguments, json: bool) -> miette::Result<ExitCode> {
    let mut station = match &arguments.station {
        Some(path) => load_station(path)?,
        None => Station::ready("replay")?,
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
    inspect(&station, request, arguments.out.as_deref(), json)
}

/// A station file, or a ready station when no file of that name exists.
pub fn load_station(path: &Path) -> miette::Result<Station> {
    let ready = path
        .to_str()
        .filter(|name| READY_STATIONS.iter().any(|(known, _)| known == name));
    match ready {
        Some(name) if !path.exists() => Ok(Station::ready(name)?),
        _ => {
            let (station, warnings) = Station::load_with_warnings(path)?;
            for warning in warnings {
                eprintln!("{:?}", miette::Report::new(warning));
            }
            Ok(station)
        }
    }
}

fn inspect(
    station: &Station,
    request: EngineRequest,
    folder: Option<&Path>,
    json: bool,
) -> miette::Result<ExitCode> {
    let model = station::load_model(
        station.model.file.as_deref(),
        station.model.sidecar.as_deref(),
    )
    .into_diagnostic()?;
    let decider = Decider::new(&model.card, &station.thresholds).into_diagnostic()?;
    let source = station::open_source(station).into_diagnostic()?;
    let width = source.pixels_per_line();
    check_width(station, source.as_ref())?;
    let flat_field = match &station.flat_field {
        Some(flat_field) => Some(FlatField::load(&flat_field.file, width).into_diagnostic()?),
        None => None,
    };
    let started = engine::start_for(&model, &request, |running| {
        station::workers(&station.engine, running)
    })
    .into_diagnostic()
    .wrap_err("the engine did not start")?;
    let identity = started.identity();
    for notice in &started.notices {
        eprintln!("warning: {notice}");
    }
    let notices = started.notices;
    let batch = station::batch(&station.engine, &model);
    let classifiers = started
        .engines
        .into_iter()
        .map(|engine| {
            let detection = station.material_detection.clone();
            Classifier::new(engine, &model.card, decider.clone(), detection, batch)
        })
        .collect();
    let model_identity = ModelIdentity {
        sha256: model.sha256.clone(),
        name: model.card.name.clone(),
    };
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
                    piece,
                    engine: identity.clone(),
                    model: model_identity.clone(),
                    card: model.card.clone(),
                    geometry,
                },
            )
            .into_diagnostic()?,
        ),
        None => None,
    };
    let stop = stop_on_interrupt()?;
    let ledger = Ledger::new(&model.card.classes);
    let mut display = progress::Display::new(source.expected_lines(), width / TILE_SIZE, json);
    let mut truth = match &station.source {
        Config::Simulator { .. } => Some(TruthJudge::new(station).into_diagnostic()?),
        Config::Replay { .. } => None,
    };
    let mut compare = truth
        .as_mut()
        .map(|truth| |row: &SettledRow| truth.row(row));
    let Outcome {
        problems,
        notices: found,
    } = pipeline::run(
        Run {
            source,
            geometry,
            classifiers,
            flat_field,
            recorder: recorder.as_mut(),
            observe: compare
                .as_mut()
                .map(|compare| compare as &mut (dyn FnMut(&SettledRow) + Send)),
            drive: drive(station),
            queue_rows: station.deadlines.queue_rows,
            stop: &stop,
            ledger: &ledger,
        },
        |ledger| display.update(ledger),
    );
    display.finish();
    let defects: Vec<usize> = decider.defects().map(|(class, _)| class).collect();
    let mut summary = ledger.summary(defects.into_iter(), identity, model_identity);
    summary.truth = truth.map(|truth| truth.comparison());
    summary.notices = notices;
    summary.notices.extend(found);
    summary.problems = problems;
    if stop.load(Ordering::Relaxed) {
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
    finish_record(recorder, &mut summary);
    summary::print(&summary, json).into_diagnostic()?;
    Ok(if summary.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends the record. That this fails is a problem of the run like any other:
/// the summary is printed all the same.
fn finish_record(recorder: Option<Recorder>, summary: &mut Summary) {
    if let Some(recorder) = recorder {
        summary.record = Some(recorder.folder().display().to_string());
        if let Err(error) = recorder.finish(summary) {
            summary
                .problems
                .push(format!("the record is incomplete: {error}"));
        }
    }
}

fn drive(station: &Station) -> Drive {
    match station::pace(station) {
        Some(line_rate) => Drive::Paced {
            line_rate,
            deadline: Duration::from_secs_f64(station.deadlines.verdict_ms / 1000.0),
        },
        None => Drive::Unpaced,
    }
}

/// A replayed strip may be narrower or wider than the station's camera, but
/// must hold whole tiles.
fn check_width(station: &Station, source: &dyn Source) -> miette::Result<()> {
    let width = source.pixels_per_line();
    if width > 0 && width.is_multiple_of(TILE_SIZE) {
        return Ok(());
    }
    let name = match &station.source {
        Config::Replay { path, .. } => path.display().to_string(),
        Config::Simulator { .. } => "the simulator".to_owned(),
    };
    Err(miette!(
        help = format!(
            "crop or pad the strip to a multiple of {TILE_SIZE} pixels; \
             for single images of any size use `millsight classify`"
        ),
        "{name} has {width} pixels in a line, which is no whole number of tiles of {TILE_SIZE}"
    ))
}

/// A flag that Ctrl-C or a termination signal sets.
fn stop_on_interrupt() -> miette::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        // The second signal ends the program at once: SQLite's journal and
        // the renaming of images keep the record readable.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .into_diagnostic()?;
    Ok(stop)
}
