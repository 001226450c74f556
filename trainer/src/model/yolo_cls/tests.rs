#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::TensorData;

use super::*;
use crate::model::convolution::{initial, momentum};
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
    let weights = initial(SPEC.parameters(), 1).unwrap();
    for device in [Device::flex(), Device::flex().autodiff()] {
        let network = YoloCls::from_weights(&SPEC, &weights, &device).unwrap();
        assert_eq!(read(&network).unwrap(), weights);
    }
}

#[test]
fn gathered_statistics_become_those_of_the_batch() {
    let device = Device::flex().autodiff();
    let weights = initial(SPEC.parameters(), 1).unwrap();
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
    let weights = initial(SPEC.parameters(), 1).unwrap();
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

#[test]
fn a_batch_has_the_mean_of_its_shards_by_their_images() {
    let device = Device::flex();
    let statistics = |mean: f32, variance: f32| {
        let tensor = |value| Tensor::<1>::from_floats([value, 2.0 * value], &device);
        vec![Statistics {
            mean: tensor(mean),
            variance: tensor(variance),
        }]
    };
    let shards = [
        (3, statistics(1.0, 4.0)),
        (1, statistics(5.0, 8.0)),
        (1, Vec::new()),
    ];
    let all = Statistics::of_batch(&shards);
    assert_eq!(all.len(), 1);
    let read = |tensor: &Tensor<1>| to_vec(tensor.clone(), "").unwrap();
    assert_eq!(read(&all[0].mean), [2.0, 4.0]);
    assert_eq!(read(&all[0].variance), [5.0, 10.0]);
    assert!(Statistics::of_batch(&shards[2..]).is_empty());
}

#[test]
fn one_image_is_normed_with_what_was_gathered() {
    let device = Device::flex().autodiff();
    let weights = initial(SPEC.parameters(), 1).unwrap();
    let network = YoloCls::from_weights(&SPEC, &weights, &device).unwrap();
    let image = images(1, [32, 64], &device);
    let (logits, statistics) = network.forward_training(image.clone());
    assert!(statistics.is_empty());
    let read = |logits: Tensor<2>| to_vec(logits.inner(), "logits").unwrap();
    assert_eq!(read(logits), read(network.forward(image)));
    let before = parameters::read(&network).unwrap();
    let after = network.gather(statistics, 0.5);
    assert_eq!(parameters::read(&after).unwrap(), before);
}

#[test]
fn statistics_are_a_mean_at_first_and_move_on_later() {
    assert_eq!([0, 1, 3].map(momentum), [1.0, 0.5, 0.25]);
    assert_eq!([40, 4000].map(momentum), [0.03, 0.03]);
}
