//! The Vision Transformer in burn against timm's outputs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::weights::NamedArray;
use millsight_tests::golden::network::{self, Scalar, Step};
use millsight_trainer::model::parameters::{read, to_vec};
use millsight_trainer::model::vit::Vit;

fn images(input: &NamedArray, device: &Device) -> Tensor<4> {
    let shape: [usize; 4] = input.shape.clone().try_into().unwrap();
    Tensor::from_data(TensorData::new(input.data.clone(), shape), device)
}

#[test]
fn the_forward_pass_equals_timm() {
    let mut problems = Vec::new();
    for forward in network::forwards() {
        let (case, spec, weights) = (&forward.case, &forward.spec, &forward.weights);
        let device = Device::flex();
        let vit = Vit::from_weights(spec, weights, &device).unwrap();
        let input = images(&forward.input, &device);
        let steps = vit.forward_steps(input.clone());
        let logits = to_vec(steps.logits, "logits").unwrap();
        let embedded = to_vec(steps.embedded, "").unwrap();
        let first = to_vec(steps.after_first_block, "").unwrap();
        let tokens = to_vec(steps.tokens, "").unwrap();
        let pooled = to_vec(steps.pooled, "").unwrap();
        for (step, name) in &forward.expected {
            let got = match step {
                Step::Embedded => &embedded,
                Step::FirstBlock => &first,
                Step::Tokens => &tokens,
                Step::Pooled => &pooled,
                Step::Logits => &logits,
            };
            problems.extend(case.check(name, got).err());
        }
        for scalar in &forward.scalars {
            match *scalar {
                Scalar::Parameters(count) => assert_eq!(weights.parameters(), count),
                Scalar::TokenVariance(expected) => {
                    let got = median_variance(&embedded, spec.width);
                    assert!(
                        (got / expected - 1.0).abs() < 1e-3,
                        "{}: {got} instead of {expected}",
                        case.manifest.case
                    );
                }
            }
        }
        assert_eq!(to_vec(vit.forward(input), "logits").unwrap(), logits);
        // Autodiff computes some layers from smaller operations.
        let device = device.autodiff();
        let training = Vit::from_weights(spec, weights, &device).unwrap();
        let input = images(&forward.input, &device);
        let got = to_vec(training.forward(input).inner(), "logits").unwrap();
        if let Some(name) = forward.logits() {
            problems.extend(case.check(name, &got).err());
        }
        assert_eq!(read(&training).unwrap(), *weights, "weights come back");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The median over all tokens of the variance of their elements.
fn median_variance(tokens: &[f32], width: usize) -> f64 {
    let mut variances: Vec<f64> = tokens
        .chunks_exact(width)
        .map(|token| {
            let mean = token.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let squares = token.iter().map(|&x| (f64::from(x) - mean).powi(2));
            squares.sum::<f64>() / width as f64
        })
        .collect();
    variances.sort_by(f64::total_cmp);
    variances[(variances.len() - 1) / 2]
}
