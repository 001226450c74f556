//! How good the teacher's features are, and whether they collapse.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};

use super::collapse::Signs;
use super::loss;
use crate::TrainError;
use crate::data::order::spread;
use crate::data::table::UNLABELLED;
use crate::data::tiles::Tiles;
use crate::evaluate::knn;
use crate::evaluate::metrics::Confusion;
use crate::evaluate::predict::{self, Means};
use crate::model::dino::DinoNetwork;
use crate::run::config::RunConfig;

/// Tiles that are looked at of the training and of the validation part, so
/// that a look takes a bounded time.
pub const MOST_TILES: [usize; 2] = [2000, 1000];

/// What a look at the features gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Classes of the validation part, as nearest neighbours of the training
    /// part see them; none where fewer than two classes are labelled.
    pub confusion: Option<Confusion>,
    /// Whether the features collapse.
    pub signs: Signs,
}

/// Looks at whole tiles through the teacher; the labels of the training part
/// are used here and nowhere else. Tiles that are [`UNLABELLED`] have no
/// neighbours to be asked about and are none.
///
/// # Errors
/// When a tile cannot be read or the device fails.
pub fn look(
    teacher: &DinoNetwork,
    centre: Tensor<2>,
    temperature: f64,
    config: &RunConfig,
    [train, val]: [&Tiles; 2],
    means: Means<'_>,
    mut seen: impl FnMut(usize),
) -> Result<Look, TrainError> {
    let backbone = &teacher.backbone;
    let width = backbone.width();
    let unlabelled = config.classes.iter().position(|class| class == UNLABELLED);
    let mut features = |tiles: &Tiles, most: usize| -> Result<_, TrainError> {
        let labelled = |tile: &usize| Some(tiles.labels[*tile]) != unlabelled;
        let mut among: Vec<usize> = (0..tiles.len()).filter(labelled).collect();
        if among.is_empty() {
            among = (0..tiles.len()).collect();
        }
        let chosen = spread(among.len(), most).into_iter();
        let which: Vec<usize> = chosen.map(|place| among[place]).collect();
        let (forward, preprocessing) = (|images| backbone.forward(images), &config.preprocessing);
        let raw = predict::logits(forward, tiles, &which, preprocessing, means, &mut seen)?;
        let labels: Vec<usize> = which.iter().map(|&tile| tiles.labels[tile]).collect();
        Ok((raw, labels))
    };
    let (mut known, known_labels) = features(train, MOST_TILES[0])?;
    let (mut queries, labels) = features(val, MOST_TILES[1])?;
    let distributions = distributions(teacher, &queries, width, centre, temperature, means.device);
    knn::normalise(&mut known, width);
    knn::normalise(&mut queries, width);
    let signs = Signs::of(distributions, &queries, width)?;
    let seen_classes: BTreeSet<usize> = known_labels.iter().chain(&labels).copied().collect();
    let confusion = (seen_classes.len() > 1).then(|| {
        let classes = config.classes.len();
        let predicted = means
            .loaders
            .install(|| knn::predict(&known, &known_labels, &queries, width, classes));
        Confusion::of(classes, &labels, &predicted)
    });
    Ok(Look { confusion, signs })
}

/// What the teacher would tell a student of the tiles with these features.
fn distributions(
    teacher: &DinoNetwork,
    features: &[f32],
    width: usize,
    centre: Tensor<2>,
    temperature: f64,
    device: &Device,
) -> Tensor<2> {
    let data = TensorData::new(features.to_vec(), [features.len() / width, width]);
    let outputs = teacher.head.forward(Tensor::from_data(data, device));
    loss::sharpened(outputs, centre, temperature)
}
