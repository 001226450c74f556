//! How far a tile is from those that a model was trained on: by it one sees that the
//! material, the light or the camera is no longer what the model knows, before it errs.
//!
//! The last layer of a classifier multiplies an embedding of the tile by a weight for each
//! class. The distance of a tile is that of its embedding `x` from the mean `μ` of the
//! training tiles' embeddings, in the units of their spread (Mahalanobis, "On the
//! generalised distance in statistics", 1936), divided by its median `m` over these tiles,
//! so that 1 is usual for what the model knows, whatever the width of the network:
//!
//! ```text
//! distance = √((x - μ)ᵀ Σ⁻¹ (x - μ)) / m = ‖L⁻¹ (x - μ)‖ / m,   Σ = L Lᵀ
//! ```
//!
//! It tells whether something
//! is unlike all classes together (Kamoi and Kobayashi, "Why is the Mahalanobis Distance
//! Effective for Anomaly Detection?", 2020), not which. It is computed by four nodes that
//! are added to the graph, so that every engine gives it together with the scores.
//!
//! * [`covariance`]: `μ` and `Σ` of a sample.
//! * [`nodes`]: where the embedding is in a graph, and the nodes that are added.

mod covariance;
mod nodes;

use std::path::PathBuf;

use nalgebra::DMatrix;
use onnx_protobuf::{Message, ModelProto};

use crate::card::{Distance, ModelCard};
use crate::engine::embedded::Tracer;
use crate::engine::{Embedded, Engine, EngineError};
use crate::labelled::{self, LabelledError};
use crate::model_file::{ModelFile, ModelFileError};
use crate::verify::{self, VerifyError};

use covariance::Spread;

/// Largest part by which the distance that an engine gives may be off the one that is
/// computed here in double precision.
const TOLERANCE: f64 = 1e-2;

/// Tiles for which the two are compared.
const COMPARED: usize = 8;

/// Largest difference of a score with and without the nodes that are added, which do not
/// touch it; engines may add up in another order.
const SCORE_TOLERANCE: f32 = 1e-4;

/// Why a model cannot tell how far tiles are from those that it was trained on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistanceError {
    /// The graph cannot be read.
    #[error("the graph cannot be read: {0}")]
    Graph(String),
    /// There is no embedding.
    #[error(
        "the graph's output `{output}` is not given by a layer (Gemm or MatMul) with constant \
         weights, but by {found}: there is no embedding of a tile of which the distance could be \
         taken"
    )]
    NoEmbedding {
        /// The output.
        output: String,
        /// What gives it.
        found: String,
    },
    /// The spread of so few tiles is not known.
    #[error("{0} tile(s) have no spread; give at least two of the train part")]
    TooFewTiles(usize),
    /// Most tiles have the same embedding.
    #[error(
        "most of the {0} tiles have the same embedding: they are all alike, or the model is damaged"
    )]
    NoSpread(usize),
    /// A value in the graph is no number.
    #[error("the embedding of {} is not finite: the model is damaged", .0.display())]
    NotFinite(PathBuf),
    /// What is written gives something else.
    #[error(
        "the graph that was written gives the distance {got} for {}, but {expected} was computed",
        tile.display()
    )]
    Differs {
        /// The tile.
        tile: PathBuf,
        /// What an engine gives.
        got: f32,
        /// What it should be.
        expected: f64,
    },
    /// A tile cannot be read.
    #[error(transparent)]
    Tile(#[from] LabelledError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The scores are not what they were.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelFileError),
}

/// The model with an output that tells how far a tile is from `tiles`, some of those that
/// it was trained on; `data_sha256` is that of the table that names them. What it gave of
/// that kind before is replaced. Scores do not change, which is checked, and a card that
/// states parity gets the vectors that it lacks.
///
/// # Errors
/// When the graph has no embedding, a tile cannot be read, there are too few or they are
/// all alike, or the engine inside the program cannot run the graph.
pub fn with_distance(
    model: &ModelFile,
    tiles: &[PathBuf],
    data_sha256: &str,
) -> Result<ModelFile, DistanceError> {
    if tiles.len() < 2 {
        return Err(DistanceError::TooFewTiles(tiles.len()));
    }
    let (mut proto, mut card) = (parsed(model)?, model.card.clone());
    remove(&mut proto, &mut card);
    let bare = ModelFile::from_graph(proto.clone(), card.clone())?;
    let embedding = nodes::embedding(&proto.graph, &card.output.name)?;
    let points = embeddings(&bare, &embedding, tiles)?;
    let spread = Spread::of(&points).ok_or(DistanceError::NoSpread(tiles.len()))?;
    let mut distances: Vec<f64> = points
        .row_iter()
        .map(|point| spread.distance(&point.transpose()))
        .collect();
    let median = quantile(&distances, 0.5);
    if median.is_nan() || median <= 0.0 {
        return Err(DistanceError::NoSpread(tiles.len()));
    }
    distances
        .iter_mut()
        .for_each(|distance| *distance /= median);
    let graph = proto.graph.mut_or_insert_default();
    card.output.distance = Some(Distance {
        name: nodes::add(graph, &embedding, &spread, median),
        tiles: tiles.len(),
        data_sha256: data_sha256.to_owned(),
        percentile_99: quantile(&distances, 0.99) as f32,
    });
    let with = ModelFile::from_graph(proto, card)?;
    check(&bare, with, tiles, &distances)
}

/// Takes away what [`with_distance`] has added.
pub(crate) fn remove(proto: &mut ModelProto, card: &mut ModelCard) {
    if card.output.distance.take().is_some() {
        nodes::remove(proto.graph.mut_or_insert_default());
    }
}

fn parsed(model: &ModelFile) -> Result<ModelProto, DistanceError> {
    ModelProto::parse_from_bytes(&model.onnx)
        .map_err(|error| DistanceError::Graph(error.to_string()))
}

/// The embeddings of tiles, `[tiles, dimensions]`.
fn embeddings(
    model: &ModelFile,
    tensor: &str,
    tiles: &[PathBuf],
) -> Result<DMatrix<f64>, DistanceError> {
    let tracer = Tracer::load(model, &[tensor.to_owned()])?;
    let mut values = Vec::new();
    for tile in tiles {
        let input = labelled::prepared(&model.card, std::iter::once(tile.as_path()))?;
        let traced = tracer.run(input.batch(1, 0, 1))?;
        let embedding = traced.first().map(Vec::as_slice).unwrap_or_default();
        if embedding.is_empty() || embedding.iter().any(|value| !value.is_finite()) {
            return Err(DistanceError::NotFinite(tile.clone()));
        }
        values.extend(embedding.iter().map(|&value| f64::from(value)));
    }
    let dimensions = values.len() / tiles.len();
    Ok(DMatrix::from_row_slice(tiles.len(), dimensions, &values))
}

/// The value below which a share of the values lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[place]
}

/// Runs what was written, and what it was written from.
fn check(
    bare: &ModelFile,
    mut with: ModelFile,
    tiles: &[PathBuf],
    distances: &[f64],
) -> Result<ModelFile, DistanceError> {
    let mut engine = Embedded::load(&with)?;
    let mut scores = Vec::new();
    let step = tiles.len().div_ceil(COMPARED);
    for (tile, &expected) in tiles.iter().zip(distances).step_by(step) {
        let input = labelled::prepared(&with.card, std::iter::once(tile.as_path()))?;
        engine.run(input.batch(1, 0, 1), 1, &mut scores)?;
        let got = engine.distances().first().copied().unwrap_or(f32::NAN);
        let is_near = (f64::from(got) - expected).abs() <= TOLERANCE * expected.max(1.0);
        if !is_near {
            return Err(DistanceError::Differs {
                tile: tile.clone(),
                got,
                expected,
            });
        }
    }
    let mut before = Embedded::load(bare)?;
    let vectors = verify::unchanged(&mut before, bare, &mut engine, SCORE_TOLERANCE)?;
    if let Some(parity) = &mut with.card.provenance.parity
        && parity.vectors.is_empty()
    {
        parity.vectors = vectors;
        let card = with.card.clone();
        with = with.with_card(card)?;
    }
    Ok(with)
}

#[cfg(test)]
mod tests;
