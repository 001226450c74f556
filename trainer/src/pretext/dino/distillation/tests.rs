#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_export::card::Preprocessing;
use millsight_export::graph::VitSpec;

use super::*;
use crate::data::tiles::Colour;
use crate::device::Devices;
use crate::model::dino::{HeadSpec, initial_head};
use crate::model::initial;
use crate::model::network::Network;
use crate::model::precision::Precision;
use crate::model::presets::Preset;
use crate::pretext::dino::optimiser;
use crate::run::config::Method;

fn recipe() -> DinoConfig {
    DinoConfig {
        local_crops: 2,
        local_size: 16,
        head: HeadSpec {
            hidden: 48,
            bottleneck: 24,
            outputs: 96,
            norm_last_layer: true,
        },
        drop_path: 0.3,
        frozen_last_layer_epochs: 0,
        ..DinoConfig::official(32, 8)
    }
}

fn spec() -> VitSpec {
    VitSpec {
        image_height: 32,
        image_width: 32,
        patch: 8,
        width: 24,
        depth: 2,
        mlp_width: 48,
        ..Preset::Tiny.spec(3)
    }
}

fn config() -> RunConfig {
    RunConfig {
        network: Network::Vit(spec()),
        layer_scale: 1.0,
        classes: Vec::new(),
        colour: Colour::Grey,
        preprocessing: Preprocessing::imagenet(),
        table: "table.csv".into(),
        table_sha256: String::new(),
        data_root: ".".into(),
        initial_weights: None,
        epochs: 2,
        batch_size: 5,
        optimiser: optimiser(0.04),
        method: Method::Dino(recipe()),
        seed: 0,
        shard_size: 2,
        precision: Precision::F32,
        git_revision: String::new(),
        command: String::new(),
    }
}

/// Two steps: their losses, and everything that they leave.
fn steps(workers: &Workers) -> (Vec<f64>, NamedArrays) {
    let (config, spec, recipe) = (config(), spec(), recipe());
    let mut weights = NamedArrays::new();
    let head = initial_head(&recipe.head, spec.width, 0).unwrap();
    add_section(&mut weights, "head.", head).unwrap();
    let backbone = initial::vit(&spec.backbone(), 1.0, 0).unwrap();
    add_section(&mut weights, "backbone.", backbone).unwrap();
    let mut learner =
        Distillation::new(&config, &spec, &recipe, 1, &weights, Device::flex()).unwrap();
    let of = |images: Range<usize>, count: usize, device: &Device| {
        let group = |crops: Range<usize>, side: usize| {
            let pixels: Vec<f32> = crops
                .clone()
                .flat_map(|crop| images.clone().map(move |image| crop * 31 + image * 17))
                .flat_map(|seed| (0..3 * side * side).map(move |at| ((at + seed) as f32).sin()))
                .collect();
            let rows = crops.len() * images.len();
            Tensor::from_data(TensorData::new(pixels, [rows, 3, side, side]), device)
        };
        let small = (count > 2).then(|| group(2..count, recipe.local_size));
        std::iter::once(group(0..2, 32)).chain(small).collect()
    };
    let crops = Crops {
        images: config.batch_size,
        of: &of,
    };
    let losses = (0..2).map(|epoch| {
        let moment = Moment {
            epoch,
            step: 0,
            steps_per_epoch: 1,
        };
        learner.step(crops, moment, workers).unwrap().loss
    });
    (losses.collect(), learner.save().unwrap())
}

#[test]
fn several_devices_leave_the_same_bytes_as_one() {
    let one = steps(&Workers::new(1).unwrap());
    let devices = Devices {
        first: Device::flex(),
        others: vec![Device::flex()],
    };
    let two = steps(&Workers::on(devices, 0, Precision::F32).unwrap());
    assert_eq!(one.0, two.0);
    assert_eq!(one.1.digest(), two.1.digest());
}

/// Outputs lie within -1 and 1, which `bf16` rounds by up to 1/512; temperatures of
/// 0.04 and 0.1 make up to 0.05 and 0.02 of that.
#[test]
fn losses_in_bf16_are_near_those_in_f32() {
    let (full, weights) = steps(&Workers::new(1).unwrap());
    let workers = Workers::on(Device::flex().into(), 1, Precision::Bf16).unwrap();
    let (half, learnt) = steps(&workers);
    for (full, half) in full.iter().zip(&half) {
        assert!((full - half).abs() < 0.05 * full, "{full} and {half}");
    }
    assert_ne!(full, half);
    for (name, array) in weights.iter() {
        let other = learnt.require(name).unwrap();
        assert_eq!(array.shape, other.shape, "{name}");
        assert!(other.data.iter().all(|value| value.is_finite()), "{name}");
    }
}
