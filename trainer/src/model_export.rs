//! A trained network as the model file that the runtime loads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millsight_export::card::{
    ElementType, InputSpec, ModelCard, NO_DEFECT, OutputKind, OutputSpec, Parity, Provenance,
};
use millsight_export::distance;
use millsight_export::engine::{self, EngineRequest, embedded};
use millsight_export::graph::{INPUT, OUTPUT};
use millsight_export::graph::{InputForm, screen_classifier, vit_classifier, yolo_classifier};
use millsight_export::labelled;
use millsight_export::metrics;
use millsight_export::model_file::ModelFile;
use millsight_export::verify::{self, Reference};

use crate::TrainError;
use crate::data::order::spread;
use crate::data::table::{Split, Table, UNLABELLED};
use crate::data::tiles::{Colour, TileForm, Tiles};
use crate::evaluate::operating_point::OperatingReport;
use crate::evaluate::report::Report;
use crate::evaluate::{self, Source};
use crate::machine::Machine;
use crate::model::network::Network;
use crate::trained::Trained;

/// What the model file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Raw grey levels, `u8` `[N, 1, height, width]`; replication to three
    /// channels, scaling and normalisation are part of the graph.
    Folded,
    /// Normalised values, `f32` `[N, 3, height, width]`.
    Normalised,
}

/// What is exported, and how it is checked.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Name of the model, for people.
    pub name: String,
    /// What the file takes.
    pub form: Form,
    /// Least probability, 0 to 1, at which a defect class is flagged; goes
    /// before that of the operating point.
    pub thresholds: BTreeMap<String, f32>,
    /// Temperature and thresholds for a stated miss rate. Those of other
    /// weights or another table are left out.
    pub operating: Option<OperatingReport>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Figures for the card.
    pub reports: Vec<Report>,
    /// Where tiles for the check come from.
    pub source: Source,
    /// How many tiles are checked; all when there are fewer.
    pub samples: usize,
    /// Tiles of the train part by which a classifier is to tell how far others are from
    /// them; all when there are fewer, and not at all with 0.
    pub distance_tiles: usize,
    /// Largest difference of a logit that is tolerated.
    pub tolerance: f32,
    /// The engine that runs the check.
    pub engine: EngineRequest,
}

/// Makes the model file and checks it: the engine must give the trainer's
/// logits for real tiles. A classifier is then made to tell how far tiles are from those
/// that it was trained on. Nothing is written.
///
/// # Errors
/// When the network has no such form, a tile cannot be read, no engine runs
/// the graph, or a logit differs by more than the tolerance.
pub fn export(
    trained: &Trained,
    settings: &ExportSettings,
    machine: Machine,
) -> Result<ModelFile, TrainError> {
    let config = &trained.config;
    if settings.form == Form::Folded && config.colour == Colour::Rgb {
        return Err(TrainError::FoldedColour);
    }
    let model = model(trained, settings.form, card(trained, settings)?)?;
    let reference = reference(trained, settings, &model.card, machine)?;
    let mut started = engine::start(&model, &settings.engine, 1)?;
    let engine = &mut started.engines[0];
    let model = verify::verified(engine.as_mut(), &model, &reference, settings.tolerance)?;
    let (table, train) = training_tiles(trained, settings)?;
    match train.len() {
        0 | 1 => Ok(model),
        _ => Ok(distance::with_distance(&model, &train, &table.sha256)?),
    }
}

/// The table, and the tiles of its train part by which a distance is measured. A screen
/// needs none: what the classifier sees it decides by its suspicion.
fn training_tiles(
    trained: &Trained,
    settings: &ExportSettings,
) -> Result<(Table, Vec<PathBuf>), TrainError> {
    let table = Table::read(&settings.source.table)?;
    if matches!(trained.config.network, Network::Screen(_)) {
        return Ok((table, Vec::new()));
    }
    let rows = table.rows.iter();
    let train: Vec<_> = rows
        .filter(|row| row.split == Some(Split::Train) && row.label != UNLABELLED)
        .collect();
    let root = &settings.source.data_root;
    let files = spread(train.len(), settings.distance_tiles)
        .into_iter()
        .map(|row| root.join(&train[row].path))
        .collect();
    Ok((table, files))
}

/// The model file with this card.
fn model(trained: &Trained, form: Form, card: ModelCard) -> Result<ModelFile, TrainError> {
    let config = &trained.config;
    let form = match form {
        Form::Folded => InputForm::FoldedGrey {
            mean: config.preprocessing.mean,
            std: config.preprocessing.std,
        },
        Form::Normalised => InputForm::Normalised,
    };
    let graph = match &config.network {
        Network::Vit(spec) => vit_classifier(spec, &trained.weights, form),
        Network::YoloCls(spec) => yolo_classifier(spec, &trained.weights, form),
        Network::Screen(spec) => screen_classifier(spec, &trained.weights, form),
    };
    let graph = graph.map_err(crate::model::ModelError::from)?;
    Ok(ModelFile::from_graph(graph, card)?)
}

/// Multiplications, each with an addition, for one tile on the line.
///
/// # Errors
/// When the weights do not fit the network.
pub fn multiply_adds(trained: &Trained) -> Result<u64, TrainError> {
    let form = match trained.config.colour {
        Colour::Grey => Form::Folded,
        Colour::Rgb => Form::Normalised,
    };
    let model = model(trained, form, bare_card(trained, form))?;
    Ok(embedded::multiply_adds(&model)?)
}

/// The parity that [`export`] has put into a card.
pub fn parity(model: &ModelFile) -> Option<&Parity> {
    model.card.provenance.parity.as_ref()
}

/// Whether figures with these hashes, of weights and table, are the network's
/// own. Those of other weights or other tiles would be false.
///
/// # Errors
/// What they are of instead.
pub fn fits(trained: &Trained, [weights, table]: [&str; 2]) -> Result<(), &'static str> {
    if weights != trained.sha256 {
        Err("other weights")
    } else if table != trained.config.table_sha256 {
        Err("another table")
    } else {
        Ok(())
    }
}

fn card(trained: &Trained, settings: &ExportSettings) -> Result<ModelCard, TrainError> {
    let config = &trained.config;
    let mut defects = config.classes.iter().filter(|class| *class != NO_DEFECT);
    for class in settings.thresholds.keys() {
        if !defects.clone().any(|defect| defect == class) {
            return Err(TrainError::UnknownClass {
                class: class.clone(),
                known: defects.by_ref().cloned().collect(),
            });
        }
    }
    let mut figures = BTreeMap::new();
    let fitting =
        |report: &&Report| fits(trained, [&report.weights_sha256, &report.data_sha256]).is_ok();
    for report in settings.reports.iter().filter(fitting) {
        let (split, confusion) = (&report.split, &report.confusion);
        figures.extend(metrics::named(split, &config.classes, confusion));
    }
    let operating = settings
        .operating
        .as_ref()
        .filter(|report| fits(trained, [&report.weights_sha256, &report.data_sha256]).is_ok());
    let mut thresholds = operating.map_or_else(BTreeMap::new, |report| report.thresholds.clone());
    thresholds.extend(settings.thresholds.clone());
    let bare = bare_card(trained, settings.form);
    Ok(ModelCard {
        name: settings.name.clone(),
        thresholds,
        calibration: operating.map(|report| report.calibration.clone()),
        provenance: Provenance {
            created: settings.created.clone(),
            metrics: figures,
            // Its figures are not those of other thresholds.
            operating_point: operating
                .filter(|_| settings.thresholds.is_empty())
                .map(|report| report.operating_point.clone()),
            ..bare.provenance
        },
        ..bare
    })
}

/// What the run alone says of its network, which has no name yet.
fn bare_card(trained: &Trained, form: Form) -> ModelCard {
    let config = &trained.config;
    let [height, width] = config.network.image_size();
    let (channels, element) = match form {
        Form::Folded => (1, ElementType::U8),
        Form::Normalised => (3, ElementType::F32),
    };
    let initial_weights = config.initial_weights.as_ref();
    ModelCard {
        schema: ModelCard::SCHEMA,
        name: String::new(),
        architecture: config.network.architecture().into(),
        classes: config.classes.clone(),
        input: InputSpec {
            name: INPUT.into(),
            width,
            height,
            channels,
            element,
        },
        output: OutputSpec {
            name: OUTPUT.into(),
            kind: OutputKind::Logits,
            distance: None,
        },
        preprocessing: config.preprocessing.clone(),
        thresholds: BTreeMap::new(),
        calibration: None,
        provenance: Provenance {
            git_revision: config.git_revision.clone(),
            command: config.command.clone(),
            seed: Some(config.seed),
            data_sha256: config.table_sha256.clone(),
            initial_weights_sha256: initial_weights.map(|file| file.sha256.clone()),
            created: String::new(),
            metrics: BTreeMap::new(),
            operating_point: None,
            parity: None,
            quantization: None,
        },
    }
}

/// Tiles spread evenly over the source, with the trainer's own logits.
fn reference(
    trained: &Trained,
    settings: &ExportSettings,
    card: &ModelCard,
    machine: Machine,
) -> Result<Reference, TrainError> {
    let config = &trained.config;
    let mut table = Table::read(&settings.source.table)?;
    table.rows.retain(|row| row.label != UNLABELLED);
    config.network.relabel(&mut table);
    let rows = table.part(settings.source.split)?;
    let rows: Vec<_> = spread(rows.len(), settings.samples.max(1))
        .into_iter()
        .map(|row| rows[row].clone())
        .collect();
    let tiles = Tiles::new(
        &rows,
        &config.classes,
        &settings.source.data_root,
        TileForm::of(&config.network, config.colour),
        0,
        &settings.source.table,
    )?;
    let logits = evaluate::logits(trained, &tiles, machine, |_| {})?;
    Ok(Reference {
        input: labelled::prepared(card, tiles.files().iter().map(PathBuf::as_path))?,
        logits,
        samples: rows.len(),
    })
}
