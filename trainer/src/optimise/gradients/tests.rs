#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_export::graph::VitSpec;

use super::*;
use crate::device::Devices;
use crate::downstream::loss;
use crate::model::drop_path::DropPath;
use crate::model::mae::masks::Masks;
use crate::model::mae::{DecoderSpec, Mae, MaeSpec};
use crate::model::parameters::to_vec;
use crate::model::precision::Precision;
use crate::model::presets::Preset;
use crate::model::vit::Vit;
use crate::model::{initial, mae};
use crate::pretext;

/// Images of a batch, and of a shard: the last one is smaller.
const BATCH: usize = 7;
const SHARD: usize = 2;

fn spec() -> VitSpec {
    VitSpec {
        image_height: 32,
        image_width: 48,
        patch: 8,
        width: 24,
        depth: 2,
        mlp_width: 48,
        ..Preset::Tiny.spec(3)
    }
}

fn devices(number: usize) -> Devices {
    Devices {
        first: Device::flex(),
        others: vec![Device::flex(); number - 1],
    }
}

fn shards() -> usize {
    BATCH.div_ceil(SHARD)
}

/// The images of a shard.
fn images(shard: usize, device: &Device) -> Tensor<4> {
    let count = SHARD.min(BATCH - shard * SHARD);
    let pixels = (0..count * 3 * 32 * 48).map(|at| ((at + shard * 977) as f32 * 0.37).sin());
    let data = burn::tensor::TensorData::new(pixels.collect::<Vec<_>>(), [count, 3, 32, 48]);
    Tensor::from_data(data, device)
}

/// Loss and gradients of a classifier some of whose branches are dropped, and
/// which also sees images of another size than its own.
fn of_classifier(workers: &Workers) -> (f64, Gradients) {
    let weights = initial::vit(&spec(), 1.0, 3).unwrap();
    let network = Vit::from_weights(&spec(), &weights, &Device::flex().autodiff()).unwrap();
    let drop_path = DropPath::new(0.4, spec().depth).unwrap();
    let loss = |network: &Vit, shard: usize, device: &Device| {
        let images = images(shard, device);
        let count = images.dims()[0];
        let draws: Vec<Vec<f32>> = (0..count)
            .flat_map(|image| drop_path.draw(1, 1, 0, shard * SHARD + image))
            .collect();
        let draws: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
        let factors = drop_path.factors(&draws, device);
        let labels: Vec<usize> = (0..count).map(|image| (shard + image) % 3).collect();
        let shares = vec![1.0 / BATCH as f32; count];
        let crops = images.clone().narrow(3, 0, 32);
        let logits = network.forward_dropping(images, Some(&factors)) + network.forward(crops);
        loss::cross_entropy(logits, &labels, &shares, 0.0, device)
    };
    summed(&network, workers, shards(), loss).unwrap()
}

/// Loss and gradients of a masked autoencoder.
fn of_autoencoder(workers: &Workers) -> (f64, Gradients) {
    let spec = MaeSpec {
        decoder: DecoderSpec::proportional_to(&spec()),
        encoder: spec(),
    };
    let weights = mae::initial::weights(&spec, 1.0, 3).unwrap();
    let network = Mae::from_weights(&spec, &weights, &Device::flex().autodiff()).unwrap();
    let order = |image| {
        (0..24)
            .map(move |rank| (rank * 5 + image * 7) % 24)
            .collect()
    };
    let masks = Masks::new((0..BATCH).map(order).collect(), 6).shards(SHARD);
    pretext::mae::gradients(&network, workers, &masks, true, images).unwrap()
}

/// The gradients' elements.
fn elements(gradients: &Gradients) -> Vec<Option<Vec<f32>>> {
    let read = |gradient: &Tensor<1>| to_vec(gradient.clone(), "a gradient").unwrap();
    gradients.iter().map(|one| one.as_ref().map(read)).collect()
}

#[test]
fn several_devices_give_the_same_bytes_as_one() {
    for of in [of_classifier, of_autoencoder] {
        let one = of(&Workers::new(1).unwrap());
        for number in [2, 3] {
            let workers = Workers::on(devices(number), 0, Precision::F32).unwrap();
            let several = of(&workers);
            assert_eq!(one.0.to_bits(), several.0.to_bits(), "{number} devices");
            assert!(
                elements(&one.1) == elements(&several.1),
                "{number} devices give other gradients"
            );
        }
    }
}

/// `bf16` keeps 8 bits: an element may be off by 1/256 of itself, and a sum of
/// products of many by a few times that of the largest.
#[test]
fn gradients_in_bf16_are_near_those_in_f32() {
    for of in [of_classifier, of_autoencoder] {
        let full = of(&Workers::new(1).unwrap());
        let workers = Workers::on(devices(1), 1, Precision::Bf16).unwrap();
        let half = of(&workers);
        let apart = (full.0 - half.0).abs() / full.0;
        assert!(apart < 0.02, "{} and {}", full.0, half.0);
        assert!(half.1.iter().flatten().all(|one| one.dtype() == DType::F32));
        let (full, half) = (elements(&full.1), elements(&half.1));
        let (mut differences, mut squares) = (0.0, 0.0);
        for (full, half) in full.iter().zip(&half) {
            assert_eq!(full.is_some(), half.is_some());
            for (full, half) in full.iter().flatten().zip(half.iter().flatten()) {
                differences += f64::from(full - half).powi(2);
                squares += f64::from(*full).powi(2);
            }
        }
        let apart = (differences / squares).sqrt();
        assert!(apart < 0.05, "{apart}");
        // Computed in `f32` after all, they would be equal.
        assert!(apart > 1e-4, "{apart}");
    }
}

#[test]
fn clipping_scales_to_the_common_norm() {
    let device = Device::flex();
    let tensor = |values: [f32; 2]| Some(Tensor::<1>::from_floats(values, &device));
    let mut gradients = vec![tensor([3.0, 0.0]), None, tensor([0.0, 4.0])];
    assert_eq!(clip(&mut gradients, 10.0, &device).unwrap(), 5.0);
    assert_eq!(clip(&mut gradients, 1.0, &device).unwrap(), 5.0);
    let norm = clip(&mut gradients, 1.0, &device).unwrap();
    assert!((norm - 1.0).abs() < 1e-5, "{norm}");
}

#[test]
fn each_gradient_may_be_clipped_by_itself() {
    let device = Device::flex();
    let tensor = |values: [f32; 2]| Some(Tensor::<1>::from_floats(values, &device));
    let mut gradients = vec![
        tensor([3.0, 4.0]),
        None,
        tensor([0.0, 0.5]),
        tensor([0.0; 2]),
    ];
    let norms = clip_each(&mut gradients, 1.0);
    let values = |gradients: &Gradients| -> Vec<Option<Vec<f32>>> {
        let read = |gradient: &Tensor<1>| gradient.clone().try_into_vec_as::<f32>().unwrap();
        let all = gradients.iter().map(|one| one.as_ref().map(read));
        all.collect()
    };
    let norms = values(&norms);
    assert_eq!(norms[0], Some(vec![5.0]));
    assert_eq!(norms[1..], [None, Some(vec![0.5]), Some(vec![0.0])]);
    let clipped = values(&gradients);
    let first = clipped[0].as_ref().unwrap();
    assert!((first[0] - 0.6).abs() < 1e-6 && (first[1] - 0.8).abs() < 1e-6);
    assert_eq!(clipped[2..], [Some(vec![0.0, 0.5]), Some(vec![0.0; 2])]);
}
