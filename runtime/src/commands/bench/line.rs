//! What is drawn, and what looks at it.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, miette};
use millsight_export::engine::EngineRequest;
use millsight_firmware_config::{Screen, Station};

use crate::bench::optics;
use crate::commands::{EngineArguments, ModelArguments, share};
use crate::flat_field::FlatField;
use crate::source::prerendered::Prerendered;
use crate::station;

/// The line that is measured: what is drawn, and what looks at it.
#[derive(Debug, Args)]
pub struct Line {
    /// Share of the tiles with a defect, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    defect_share: f64,

    /// Seed of the steel.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Threads that judge; without it one for each core.
    #[arg(long)]
    workers: Option<usize>,

    #[command(flatten)]
    model: ModelArguments,

    /// ONNX file of the screen that looks first, instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    screen: Option<PathBuf>,

    /// Let the classifier look at every tile.
    #[arg(long, conflicts_with = "screen")]
    no_screen: bool,

    #[command(flatten)]
    engine: EngineArguments,
}

impl Line {
    /// The station `strip` with these networks, and the engine that runs them.
    ///
    /// # Errors
    /// Never: the ready stations can be used.
    pub fn station(&self) -> miette::Result<(Station, EngineRequest)> {
        let mut station = Station::ready("strip")?;
        station.model.file.clone_from(&self.model.model);
        station.model.sidecar.clone_from(&self.model.sidecar);
        station.screen = (!self.no_screen).then(|| Screen {
            file: self.screen.clone(),
            sidecar: None,
        });
        station.engine.workers = self.workers;
        let mut request = station::engine_request(&station.engine);
        self.engine.apply(&mut request);
        Ok((station, request))
    }

    /// Rows of its steel, as a camera gives them whose pixels are not alike.
    ///
    /// # Errors
    /// When the simulator refuses.
    pub fn draw(&self, width: usize, rows: usize) -> miette::Result<Prerendered> {
        self.draw_with(width, rows, self.defect_share)
    }

    /// Rows of its steel with another share of defects.
    ///
    /// # Errors
    /// When the simulator refuses.
    pub fn draw_with(&self, width: usize, rows: usize, share: f64) -> miette::Result<Prerendered> {
        draw(width, rows, share, self.seed)
    }
}

/// Rows of steel of which a share of the tiles has a defect, as a camera gives them
/// whose pixels are not alike.
pub fn draw(width: usize, rows: usize, share: f64, seed: u64) -> miette::Result<Prerendered> {
    let drawn = Prerendered::draw(width, rows, share, seed).into_diagnostic()?;
    let given = optics::uncorrected(drawn.pixels(), &optics::reference(width));
    Ok(drawn.with_pixels(given))
}

/// What corrects the lines of [`draw`].
pub fn flat_field(width: usize) -> miette::Result<FlatField> {
    FlatField::new(&optics::reference(width), width).map_err(|reason| miette!("{reason}"))
}
