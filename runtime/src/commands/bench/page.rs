//! `bench page`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::output;
use serde_json::json;

use super::line::{self, Line};
use super::{CAMERA_RATE, rate, seconds};
use crate::bench::page::{self, Asked, InUse};
use crate::bench::trial::Trial;
use crate::ledger::ModelIdentity;
use crate::networks;
use crate::position::Geometry;
use crate::record::RunDescription;
use crate::review::accounts::{Accounts, Role};
use crate::review::{Page, Review, Settings};
use crate::web::Server;

/// Rows of tiles that are drawn.
const ROWS: usize = 16;

/// Ask for the queue of a large record while lines come.
///
/// A record with many flagged tiles is made and served. Lines then come at a rate,
/// first by themselves, and again while the queue is asked for page after page, as
/// someone does who reviews.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Flagged tiles of the record.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(20..=10_000_000))]
    tiles: u32,

    /// Requests, spread over the time.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    requests: u64,

    /// Seconds of each run.
    #[arg(long, default_value_t = 20.0, value_parser = seconds)]
    seconds: f64,

    /// Lines per second.
    #[arg(long, value_name = "RATE", default_value_t = CAMERA_RATE, value_parser = rate)]
    rate: f64,

    #[command(flatten)]
    line: Line,
}

pub fn page(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let (station, request) = arguments.line.station()?;
    let width = station.camera.pixels_per_line;
    let drawn = arguments.line.draw(width, ROWS)?;
    let start = || networks::start(&station, &request);
    let networks = start().into_diagnostic()?;
    let description = RunDescription {
        station: station.name.clone(),
        station_toml: String::new(),
        piece: station.material.piece_id.clone(),
        engine: networks.engine.clone(),
        model: ModelIdentity::of(&networks.model),
        card: networks.model.card.clone(),
        geometry: Geometry::of(&station),
        files: Vec::new(),
    };
    drop(networks);
    let folder = tempfile::tempdir().into_diagnostic()?;
    page::fill(folder.path(), description, arguments.tiles as usize).into_diagnostic()?;
    Review::open(folder.path())
        .and_then(|review| review.refresh())
        .into_diagnostic()?;
    let accounts = Accounts::open(folder.path()).into_diagnostic()?;
    let token = accounts
        .add_token("bench", Role::Viewer)
        .into_diagnostic()?;
    let Page {
        routes,
        follower: _follower,
        ..
    } = Page::open(folder.path(), Settings::default(), None).into_diagnostic()?;
    let server = Server::start(([127, 0, 0, 1], 0).into(), None, routes).into_diagnostic()?;
    let in_use = page::run(
        &station,
        start,
        &drawn,
        &line::flat_field(width)?,
        (arguments.rate, Duration::from_secs_f64(arguments.seconds)),
        Asked {
            address: server.address(),
            token: &token,
            requests: arguments.requests,
        },
    )
    .into_diagnostic()?;
    if as_json {
        output::line(json!(in_use))?;
        return Ok(ExitCode::SUCCESS);
    }
    let InUse {
        requests,
        failed,
        p50_ms,
        p99_ms,
        max_ms,
        alone,
        used,
    } = in_use;
    output::write(|out| {
        writeln!(out, "requests  {requests:>9} answered, {failed} not")?;
        writeln!(
            out,
            "answers   {p50_ms:>9.1} ms median, {p99_ms:.1} p99, {max_ms:.1} max"
        )?;
        for (name, trial) in [("alone", alone), ("used", used)] {
            let Trial {
                lines_per_second,
                tiles,
                latency_ms,
                cores_used,
                ..
            } = trial;
            writeln!(
                out,
                "{name:<9} {lines_per_second:>9.0} lines/s, {} unjudged, {} late, {:.1} ms p99, \
                 {cores_used:.2} cores",
                tiles.unjudged, tiles.late, latency_ms.p99
            )?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
