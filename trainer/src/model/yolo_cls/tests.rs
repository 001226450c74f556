#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::TensorData;

use super::*;
use crate::model::parameters::{read, shapes, to_vec};

const SPEC: YoloClsSpec = YoloClsSpec {
    image_height: 32,
    image_width: 64,
    classes: 3,
};

fn images(n: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let count = n * 3 * height * width;
    let data: Vec<f32> = (0..count)
        .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let shape = [n, 3, height, width];
    Tensor::from_data(TensorData::new(data, shape), device)
}

#[test]
fn weights_come_back_under_the_names_of_the_graph() {
    let weights = initial::yolo_cls(&SPEC, 1).unwrap();
    for device in [Device::flex(), Device::flex().autodiff()] {
        let network = YoloCls::from_weights(&SPEC, &weights, &device).unwrap();
        assert_eq!(read(&network).unwrap(), weights);
    }
}

#[test]
fn gathered_statistics_become_those_of_the_batch() {
    let device = Device::flex().autodiff();
    let weights = initial::yolo_cls(&SPEC, 1).unwrap();
    let mut network = YoloCls::from_weights(&SPEC, &weights, &device).unwrap();
    let images = images(8, [128, 128], &device);
    let (logits, statistics) = network.forward_training(images.clone());
    assert_eq!(logits.dims(), [8, 3]);
    // Six convolutions by themselves and twenty in the four blocks.
    assert_eq!(statistics.len(), 26);
    network = network.gather(statistics, 1.0);
    // Biased and unbiased variance differ by little over so many pixels.
    let trained = to_vec(logits.inner(), "logits").unwrap();
    let evaluated = to_vec(network.forward(images).inner(), "logits").unwrap();
    let apart = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    };
    assert!(
        apart(&trained, &evaluated) < 0.05,
        "{trained:?} {evaluated:?}"
    );
}

#[test]
fn every_parameter_but_the_statistics_has_a_gradient() {
    let device = Device::flex().autodiff();
    let weights = initial::yolo_cls(&SPEC, 1).unwrap();
    let network = YoloCls::from_weights(&SPEC, &weights, &device).unwrap();
    let workers = crate::optimise::workers::Workers::new(1).unwrap();
    let loss = |network: &YoloCls, _: usize, _: &Device| {
        network
            .forward_training(images(2, [32, 64], &device))
            .0
            .square()
            .sum()
    };
    let (_, gradients) = crate::optimise::gradients::summed(&network, &workers, 1, loss).unwrap();
    for ((name, _), gradient) in shapes(&network).iter().zip(gradients) {
        assert_eq!(gradient.is_none(), name.contains("running_"), "{name}");
    }
}
