//! The Vision Transformer in burn against timm's outputs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Tensor, TensorData};
use millsight_tests::golden;
use millsight_trainer::model::parameters::{read, to_vec};
use millsight_trainer::model::vit::Vit;

#[test]
fn the_forward_pass_equals_timm() {
    let mut run = 0;
    let mut problems = Vec::new();
    for case in golden::cases("vit") {
        let Some(weights) = case.weights().filter(|_| case.has("logits")) else {
            continue;
        };
        run += 1;
        let spec = case.vit_spec(&weights);
        let device = Device::flex();
        let vit = Vit::from_weights(&spec, &weights, &device).unwrap();
        let input = case.array("input");
        let shape: [usize; 4] = input.shape.try_into().unwrap();
        let images = Tensor::<4>::from_data(TensorData::new(input.data, shape), &device);
        let steps = vit.forward_steps(images.clone());
        let logits = to_vec(steps.logits, "logits").unwrap();
        for (name, got) in [
            ("after_pos_embed", to_vec(steps.embedded, "").unwrap()),
            ("after_block0", to_vec(steps.after_first_block, "").unwrap()),
            ("tokens", to_vec(steps.tokens, "").unwrap()),
            ("cls", to_vec(steps.pooled, "").unwrap()),
            ("logits", logits.clone()),
        ] {
            if case.has(name) {
                problems.extend(case.check(name, &got).err());
            }
        }
        assert_eq!(to_vec(vit.forward(images), "logits").unwrap(), logits);
        // Autodiff computes some layers from smaller operations.
        let device = device.autodiff();
        let training = Vit::from_weights(&spec, &weights, &device).unwrap();
        let input = case.array("input");
        let images = Tensor::<4>::from_data(TensorData::new(input.data, shape), &device);
        let got = to_vec(training.forward(images).inner(), "logits").unwrap();
        problems.extend(case.check("logits", &got).err());
        assert_eq!(read(&training).unwrap(), weights, "weights come back");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(run > 0, "no case has weights and logits");
}
