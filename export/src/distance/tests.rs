#![allow(clippy::unwrap_used)]

use std::path::Path;

use nalgebra::DVector;

use super::*;
use crate::card::Parity;
use crate::engine::Batch;
use crate::graph::testing::{model_file, reproducible};
use crate::graph::{InputForm, ScreenSpec, screen_classifier};
use crate::quantize::{Clipping, Form, quantized};
use crate::verify::ReferenceInput;

const SIDE: usize = 16;

fn model() -> ModelFile {
    let spec = ScreenSpec {
        image_height: SIDE,
        image_width: SIDE,
        stem: 4,
        widths: vec![4, 6],
        classes: 3,
    };
    let form = InputForm::FoldedGrey {
        mean: [0.5; 3],
        std: [0.25; 3],
    };
    let graph = screen_classifier(&spec, &reproducible(&spec.parameters()), form).unwrap();
    model_file(graph, [SIDE; 2], &["no_defect", "a", "b"], form)
}

/// Tiles of noise around a level, and one far away from them.
fn tiles(folder: &Path) -> (Vec<PathBuf>, PathBuf) {
    let noisy = |number: u32, level: u32, name: &str| {
        let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
        let image = image::GrayImage::from_fn(SIDE as u32, SIDE as u32, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Luma([(level + (state >> 29)) as u8])
        });
        let path = folder.join(name);
        image.save(&path).unwrap();
        path
    };
    let alike = (0..40).map(|number| noisy(number, 90 + number % 3, &format!("{number}.png")));
    (alike.collect(), noisy(99, 190, "other.png"))
}

fn run(model: &ModelFile, tile: &Path) -> (Vec<f32>, Vec<f32>) {
    let mut engine = Embedded::load(model).unwrap();
    let input = labelled::prepared(&model.card, std::iter::once(tile)).unwrap();
    let mut scores = Vec::new();
    engine.run(input.batch(1, 0, 1), 1, &mut scores).unwrap();
    (scores, engine.distances().to_vec())
}

#[test]
fn a_sample_that_is_small_is_thought_to_spread_more_alike_in_all_directions() {
    // Deviations ±1 and ±2 without correlation: covariance diag(1, 4). By hand, with
    // tr S = 5 and tr S² = 17: shrinkage 25 / (40 · 4.5).
    let four = [0.0, 0.0, 2.0, 0.0, 0.0, 4.0, 2.0, 4.0];
    let points = DMatrix::from_row_slice(40, 2, &four.repeat(10));
    let spread = Spread::of(&points).unwrap();
    let part = 25.0 / 180.0;
    let [first, second] = [1.0, 4.0].map(|own| (1.0 - part) * own + part * 2.5);
    let got = spread.distance(&DVector::from_column_slice(&[4.0, 1.0]));
    let expected = f64::sqrt(9.0 / first + 1.0 / second);
    assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    assert_eq!(Spread::of(&DMatrix::from_element(5, 3, 0.25)), None);
}

#[test]
fn a_model_tells_how_far_a_tile_is_from_the_training_data() {
    let folder = tempfile::tempdir().unwrap();
    let (alike, other) = tiles(folder.path());
    let mut bare = model();
    bare.card.provenance.parity = Some(Parity {
        engine: "another".into(),
        samples: 1,
        max_abs: 0.0,
        tolerance: 1e-3,
        vectors: Vec::new(),
    });
    let with = with_distance(&bare, &alike, "00ff").unwrap();
    let card = with.card.output.distance.clone().unwrap();
    assert_eq!((card.tiles, card.data_sha256.as_str()), (40, "00ff"));
    let distances: Vec<f32> = alike.iter().map(|tile| run(&with, tile).1[0]).collect();
    let below = |limit: f32| distances.iter().filter(|found| **found <= limit).count();
    assert!((19..=22).contains(&below(1.0 + 1e-4)), "{distances:?}");
    assert!(below(card.percentile_99 + 1e-4) >= 39, "{card}");
    let (scores, far) = run(&with, &other);
    assert!(far[0] > 2.0 * card.percentile_99, "{} {card}", far[0]);
    assert_eq!(run(&bare, &other), (scores, Vec::new()));
    // It can be verified from the file alone now.
    let mut engine = Embedded::load(&with).unwrap();
    let difference = verify::reproduce(&mut engine, &with).unwrap();
    assert!(difference.is_some_and(|difference| difference < 1e-4));
    // Measured once more it is replaced.
    let again = with_distance(&with, &alike, "00ff").unwrap();
    assert_eq!(again.sha256, with.sha256);
}

#[test]
fn several_tiles_at_once_have_a_distance_each() {
    let folder = tempfile::tempdir().unwrap();
    let (alike, other) = tiles(folder.path());
    let with = with_distance(&model(), &alike, "").unwrap();
    let files = [&alike[0], &other, &alike[1]].map(PathBuf::as_path);
    let input = labelled::prepared(&with.card, files.into_iter()).unwrap();
    let mut engine = Embedded::load(&with).unwrap();
    let mut scores = Vec::new();
    engine.run(input.batch(3, 0, 3), 3, &mut scores).unwrap();
    let alone: Vec<f32> = files.iter().map(|tile| run(&with, tile).1[0]).collect();
    assert_eq!(engine.distances(), alone);
    // A run that fails leaves nothing of the one before.
    engine.run(Batch::U8(&[1]), 1, &mut scores).unwrap_err();
    assert_eq!(engine.distances(), [0.0; 0]);
}

#[test]
fn a_model_in_8_bits_has_to_be_measured_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (alike, other) = tiles(folder.path());
    let with = with_distance(&model(), &alike, "").unwrap();
    let ReferenceInput::U8(levels) =
        labelled::prepared(&with.card, alike.iter().map(PathBuf::as_path)).unwrap()
    else {
        panic!("the model takes levels");
    };
    let count = alike.len();
    let input = ReferenceInput::U8(levels);
    let small = quantized(&with, Form::Static, Clipping::None, &input, count).unwrap();
    assert_eq!(small.card.output.distance, None);
    assert_eq!(run(&small, &other).1, [0.0; 0]);
    let small = with_distance(&small, &alike, "").unwrap();
    let [far, near] = [&other, &alike[3]].map(|tile| run(&small, tile).1[0]);
    assert!(far > 2.0 * near, "{far} {near}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (alike, _) = tiles(folder.path());
    let refused = |model: &ModelFile, tiles: &[PathBuf]| {
        let error = with_distance(model, tiles, "").unwrap_err();
        error.to_string()
    };
    let message = refused(&model(), &alike[..1]);
    assert!(message.contains("at least two"), "{message}");
    let message = refused(&model(), &vec![alike[0].clone(); 3]);
    assert!(message.contains("same embedding"), "{message}");
    // A graph whose scores come from a sum of two computed values.
    let whole = model();
    let mut proto = parsed(&whole).unwrap();
    let graph = proto.graph.mut_or_insert_default();
    let scores = whole.card.output.name.clone();
    graph.output[0].name = "doubled".into();
    let inputs = [scores.as_str(), &scores];
    graph
        .node
        .push(crate::graph::parts::node("Add", &inputs, "doubled"));
    let mut card = whole.card.clone();
    card.output.name = "doubled".into();
    let doubled = ModelFile::from_graph(proto, card).unwrap();
    let message = refused(&doubled, &alike);
    assert!(message.contains("by a node Add"), "{message}");
}

#[test]
fn a_card_that_names_an_output_which_is_not_there_is_refused() {
    let mut card = model().card;
    card.output.distance = Some(Distance {
        name: "nowhere".into(),
        tiles: 1,
        data_sha256: String::new(),
        percentile_99: 1.0,
    });
    let message = model().with_card(card.clone()).unwrap_err().to_string();
    assert!(message.contains("`nowhere`"), "{message}");
    if let Some(distance) = &mut card.output.distance {
        distance.percentile_99 = f32::NAN;
    }
    let message = model().with_card(card).unwrap_err().to_string();
    assert!(
        message.contains("output.distance.percentile_99"),
        "{message}"
    );
}
