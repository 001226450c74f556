//! A classifier that begins with MAE's encoder equals MAE's `models_vit`, with
//! either pooling.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::NamedArrays;
use millsight_tests::golden::mae::Kind;
use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::downstream::batch_norm::BatchNorm;
use millsight_trainer::model::parameters::to_vec;
use millsight_trainer::model::vit::Vit;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::initialise::fit;
use millsight_trainer::weights::layouts::Layout;
use millsight_trainer::weights::positions::resample;

/// Poolings by the end of the names of what they give.
const POOLINGS: [(&str, Pooling); 2] = [("gp0", Pooling::ClassToken), ("gp1", Pooling::Mean)];

#[test]
fn a_classifier_on_the_encoder_equals_mae() {
    let mut problems = Vec::new();
    let all = golden::cases("mae");
    let of_kind = |kind| all.iter().filter(move |case| Kind::of(case) == kind);
    for case in of_kind(Kind::Classifier) {
        let shared = of_kind(Kind::Weights)
            .next()
            .expect("the encoder's weights");
        let encoder = Backbone::open(&shared.folder.join("weights.safetensors")).unwrap();
        assert_eq!(encoder.layout, Layout::Mae);
        let outputs =
            POOLINGS.map(|(end, pooling)| (end, Outputs::of(case, &encoder, end, pooling)));
        for entry in case.expected() {
            let name = entry.name.as_str();
            if let Some(size) = name.strip_prefix("interp_out_") {
                let got = resampled(case, &encoder, size);
                problems.extend(case.check(name, &got).err());
                continue;
            }
            if let Some(what) = name.strip_prefix("linprobe_bn_") {
                let got = normalised(case, what).unwrap_or_else(|| case.unknown(name));
                problems.extend(case.check(name, &got).err());
                continue;
            }
            let (what, end) = name.rsplit_once('_').unwrap_or_default();
            let outputs = outputs.iter().find(|(pooling, _)| *pooling == end);
            let got = match (what, outputs) {
                ("features", Some((_, outputs))) => &outputs.features,
                ("logits", Some((_, outputs))) => &outputs.logits,
                _ => case.unknown(name),
            };
            problems.extend(case.check(name, got).err());
        }
        for (name, expected) in case.manifest.scalars.as_object().expect("scalars") {
            let end = name.strip_prefix("missing_keys_");
            let outputs = outputs.iter().find(|(pooling, _)| Some(*pooling) == end);
            let Some((_, outputs)) = outputs else {
                case.unknown(name)
            };
            let mut expected: Vec<String> = serde_json::from_value(expected.clone()).unwrap();
            expected.sort_unstable();
            assert_eq!(outputs.missing, expected, "{name}");
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What a classifier gives for the images of a case.
struct Outputs {
    features: Vec<f32>,
    logits: Vec<f32>,
    /// Parameters that the encoder's file lacks, in the order of their names.
    missing: Vec<String>,
}

impl Outputs {
    fn of(case: &GoldenCase, encoder: &Backbone, end: &str, pooling: Pooling) -> Self {
        let config = &case.manifest.config;
        let number = |key: &str| config[key].as_u64().expect("a number") as usize;
        let network = encoder.network(Some(number("heads")), number("num_classes"));
        let network = VitSpec {
            image_height: number("img"),
            image_width: number("img"),
            layer_norm_epsilon: config["ln_eps"].as_f64().expect("ln_eps") as f32,
            pooling,
            ..network.unwrap()
        };
        let (mut weights, adoption) = fit(&network, None, encoder).unwrap();
        let mut missing = adoption.missing;
        missing.sort_unstable();
        for name in &missing {
            let array = case.array(&format!("{end}.{name}"));
            weights.insert(name, array.shape, array.data).unwrap();
        }
        let device = Device::flex();
        let images = case.array("imgs");
        let shape: [usize; 4] = images.shape.try_into().unwrap();
        let images = Tensor::from_data(TensorData::new(images.data, shape), &device);
        let steps = Vit::from_weights(&network, &weights, &device)
            .unwrap()
            .forward_steps(images);
        Self {
            features: to_vec(steps.pooled, "features").unwrap(),
            logits: to_vec(steps.logits, "logits").unwrap(),
            missing,
        }
    }
}

/// What the batch normalisation before a linear probe has done after one batch
/// of features, or its statistics; `None` for something else.
fn normalised(case: &GoldenCase, what: &str) -> Option<Vec<f32>> {
    let features = case.array("features_gp0");
    let width = features.shape[1];
    let mut norm = BatchNorm::new(width);
    let mut batch = features.data.clone();
    norm.normalise(&mut batch);
    let mut statistics = NamedArrays::new();
    norm.save(&mut statistics).unwrap();
    match what {
        "train" => Some(batch),
        "eval" => {
            // Folded into a layer that changes nothing.
            let identity = |at: usize| f32::from(u8::from(at / width == at % width));
            let identity: Vec<f32> = (0..width * width).map(identity).collect();
            let (weight, bias) = norm.folded(&identity, &vec![0.0; width]);
            let layer = |row: &[f32]| -> Vec<f32> {
                let outputs = weight.chunks(width).zip(&bias);
                let output = |(weight, bias): (&[f32], &f32)| {
                    bias + row.iter().zip(weight).map(|(x, w)| x * w).sum::<f32>()
                };
                outputs.map(output).collect()
            };
            Some(features.data.chunks(width).flat_map(layer).collect())
        }
        name => statistics.get(name).map(|array| array.data.clone()),
    }
}

/// `interp_in` for images of a size `HEIGHTxWIDTH`.
fn resampled(case: &GoldenCase, encoder: &Backbone, size: &str) -> Vec<f32> {
    let patch = encoder.sizes.patch;
    let [height, width] = golden::network::pixels(size).unwrap_or_else(|| case.unknown(size));
    let side = case.manifest.config["img"].as_u64().expect("img") as usize / patch;
    let positions = case.array("interp_in");
    let to = [height / patch, width / patch];
    resample(&positions, [side, side], to, encoder.layout.convention()).data
}
