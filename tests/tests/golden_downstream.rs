//! Losses, gradients and optimiser steps of fine-tuning and of a linear probe
//! against PyTorch, by the code that training uses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::{self, GoldenCase, TensorEntry};
use millsight_trainer::downstream::class_weights::ClassWeighting;
use millsight_trainer::downstream::loss::{self, Reduction};
use millsight_trainer::downstream::probe::LinearProbe;
use millsight_trainer::model::parameters::{self, to_vec};
use millsight_trainer::model::vit::Vit;
use millsight_trainer::optimise::adamw::{AdamW, AdamWConfig, Decays};
use millsight_trainer::optimise::gradients::{self, Gradients};
use millsight_trainer::optimise::workers::Workers;

/// Tiles that one worker computes at a time; batches have six.
const SHARD: usize = 4;

/// What a case must give.
enum Expectation {
    /// Logits of the first batch.
    Logits,
    /// Losses before each step, then that of the first batch after the last.
    Losses,
    /// The gradient of a parameter in the first batch.
    Gradient,
    /// A parameter after the last step.
    Stepped,
}

impl Expectation {
    fn of(case: &GoldenCase, entry: &TensorEntry, steps: usize) -> Self {
        match (entry.file.as_str(), entry.name.as_str()) {
            ("tensors.safetensors", "logits0") => Self::Logits,
            ("tensors.safetensors", "losses") => Self::Losses,
            ("grads.safetensors", _) => Self::Gradient,
            (file, _) if file == format!("after{steps}.safetensors") => Self::Stepped,
            (file, name) => case.unknown(&format!("{name} of {file}")),
        }
    }
}

/// What happened, by name.
struct Outcome {
    logits: Vec<f32>,
    losses: Vec<f32>,
    gradients: NamedArrays,
    stepped: NamedArrays,
}

fn number(case: &GoldenCase, name: &str) -> f64 {
    let value = &case.manifest.config[name];
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{}: no `{name}`", case.manifest.case))
}

fn spec(case: &GoldenCase, weights: &NamedArrays) -> VitSpec {
    let size = |name: &str| number(case, name) as usize;
    VitSpec {
        image_height: size("img"),
        image_width: size("img"),
        patch: size("patch"),
        width: size("embed"),
        depth: size("depth"),
        heads: size("heads"),
        mlp_width: weights.require("blocks.0.mlp.fc1.weight").unwrap().shape[0],
        qkv_bias: true,
        layer_scale: false,
        pooling: Pooling::ClassToken,
        classes: size("num_classes"),
        layer_norm_epsilon: 1e-6,
    }
}

/// Batches of images or features with their labels.
struct Batches {
    inputs: Vec<NamedArray>,
    labels: Vec<Vec<usize>>,
}

impl Batches {
    fn of(case: &GoldenCase, steps: usize) -> Self {
        let file = case.manifest.config["inputs"].as_str().expect("inputs");
        let folder = case.folder.join(file).parent().unwrap().to_owned();
        let inputs = GoldenCase::load(&folder);
        let labels = inputs.integers("y");
        let size = labels.len() / steps;
        Self {
            inputs: (0..steps)
                .map(|step| inputs.array(&format!("x{step}")))
                .collect(),
            labels: labels
                .chunks(size)
                .map(|labels| labels.iter().map(|&label| label as usize).collect())
                .collect(),
        }
    }
}

fn tensor<const D: usize>(data: &[f32], item: &[usize], device: &Device) -> Tensor<D> {
    let count = data.len() / item.iter().product::<usize>();
    let shape: Vec<usize> = [count].into_iter().chain(item.iter().copied()).collect();
    let shape: [usize; D] = shape.try_into().unwrap();
    Tensor::from_data(TensorData::new(data.to_vec(), shape), device)
}

fn named(network: &impl Module, gradients: &Gradients) -> NamedArrays {
    let mut arrays = NamedArrays::new();
    for ((name, shape), gradient) in parameters::shapes(network).into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            let data = to_vec(gradient.clone(), &name).unwrap();
            arrays.insert(name, shape, data).unwrap();
        }
    }
    arrays
}

/// Trains a network for as many steps as there are batches.
fn run<M: Module + Sync, const D: usize>(
    case: &GoldenCase,
    mut network: M,
    batches: &Batches,
    class_weights: &[f32],
    reduction: Reduction,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<2> + Sync,
) -> Outcome {
    let config = &case.manifest.config;
    let every = config["optimizer"]
        .as_str()
        .is_some_and(|text| text.contains("EVERY parameter decayed"));
    let betas: (f64, f64) = serde_json::from_value(config["betas"].clone()).unwrap();
    let device = Device::flex();
    let training_device = device.clone().autodiff();
    let workers = Workers::new(2).unwrap();
    let settings = AdamWConfig {
        betas,
        epsilon: number(case, "eps"),
        weight_decay: number(case, "weight_decay"),
        decays: if every { Decays::All } else { Decays::Matrices },
        layer_decay: None,
    };
    let mut optimiser = AdamW::new(settings, &network, &device);
    let differentiate = |network: &M, batch: usize| {
        let (input, labels) = (&batches.inputs[batch], &batches.labels[batch]);
        let item = &input.shape[1..];
        let shares = loss::shares(labels, class_weights, reduction);
        let inputs: Vec<&[f32]> = input
            .data
            .chunks(SHARD * item.iter().product::<usize>())
            .collect();
        let labels: Vec<&[usize]> = labels.chunks(SHARD).collect();
        let shares: Vec<&[f32]> = shares.chunks(SHARD).collect();
        gradients::summed(network, &workers, inputs.len(), |network, shard, device| {
            let logits = forward(network, tensor(inputs[shard], item, device));
            loss::cross_entropy(logits, labels[shard], shares[shard], 0.0, device)
        })
        .unwrap()
    };
    let first = &batches.inputs[0];
    let logits = forward(
        &network,
        tensor(&first.data, &first.shape[1..], &training_device),
    );
    let logits = to_vec(logits.inner(), "logits").unwrap();
    let in_memory = loss::of_logits(&logits, &batches.labels[0], class_weights, reduction, 0.0);
    let mut losses = Vec::new();
    let mut gradients = None;
    for batch in 0..batches.inputs.len() {
        let (loss, batch_gradients) = differentiate(&network, batch);
        losses.push(loss as f32);
        gradients.get_or_insert_with(|| named(&network, &batch_gradients));
        network = optimiser.step(network, batch_gradients, number(case, "lr"));
    }
    // The loss of logits in memory, as of the validation part, is the same.
    assert!((in_memory - f64::from(losses[0])).abs() < 1e-5);
    losses.push(differentiate(&network, 0).0 as f32);
    Outcome {
        logits,
        losses,
        gradients: gradients.unwrap(),
        stepped: parameters::read(&network).unwrap(),
    }
}

fn outcome(case: &GoldenCase, steps: usize) -> Outcome {
    let name = case.manifest.case.rsplit('/').next().unwrap();
    let (protocol, weighting) = name.split_once('_').expect("PROTOCOL_LOSS");
    let weights = case.weights().expect("weights");
    let spec = spec(case, &weights);
    let mut batches = Batches::of(case, steps);
    let weighted: Vec<f32> =
        serde_json::from_value(case.manifest.config["class_weights"].clone()).unwrap();
    let (class_weights, reduction) = match weighting {
        "weighted_mean" => (weighted, Reduction::WeightedMean),
        "batch_mean" => (weighted, Reduction::BatchMean),
        "unweighted" => (vec![1.0; weighted.len()], Reduction::WeightedMean),
        _ => case.unknown(weighting),
    };
    let device = Device::flex().autodiff();
    match protocol {
        "finetune" => run(
            case,
            Vit::from_weights(&spec, &weights, &device).unwrap(),
            &batches,
            &class_weights,
            reduction,
            |network, images: Tensor<4>| network.forward(images),
        ),
        "linear" => {
            let (mut backbone, mut head) = (weights.clone(), NamedArrays::new());
            for name in ["head.weight", "head.bias"] {
                let array = backbone.remove(name).unwrap();
                head.insert(name, array.shape, array.data).unwrap();
            }
            let headless = VitSpec {
                classes: 0,
                ..spec.clone()
            };
            let frozen = Vit::from_weights(&headless, &backbone, &Device::flex()).unwrap();
            for input in &mut batches.inputs {
                let images = tensor(&input.data, &input.shape[1..], &Device::flex());
                *input = NamedArray {
                    shape: vec![input.shape[0], spec.width],
                    data: to_vec(frozen.forward(images), "features").unwrap(),
                };
            }
            let probe =
                LinearProbe::from_weights(spec.width, spec.classes, &head, &device).unwrap();
            run(
                case,
                probe,
                &batches,
                &class_weights,
                reduction,
                |probe, features: Tensor<2>| probe.forward(features),
            )
        }
        _ => case.unknown(protocol),
    }
}

/// The class weights of a case are those that training computes.
fn check_class_weights(case: &GoldenCase) {
    let config = &case.manifest.config;
    let counts: Vec<f64> = serde_json::from_value(config["counts"].clone()).unwrap();
    let labels: Vec<usize> = counts
        .iter()
        .enumerate()
        .flat_map(|(class, &count)| std::iter::repeat_n(class, count as usize))
        .collect();
    let expected: Vec<f32> = serde_json::from_value(config["class_weights"].clone()).unwrap();
    let got = ClassWeighting::Inverse.weights(&labels, counts.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got / expected - 1.0).abs() < 1e-6, "{got} {expected}");
    }
}

#[test]
fn losses_gradients_and_steps_equal_pytorch() {
    let mut problems = Vec::new();
    for case in golden::cases("downstream") {
        if let Some(name) = case
            .manifest
            .scalars
            .as_object()
            .and_then(|found| found.keys().next())
        {
            case.unknown(name);
        }
        // A case that others take their inputs from expects nothing itself.
        if case.expected().next().is_none() {
            continue;
        }
        check_class_weights(&case);
        let steps = number(&case, "steps") as usize;
        let outcome = outcome(&case, steps);
        for entry in case.expected() {
            let of = |arrays: &NamedArrays| match arrays.get(&entry.name) {
                Some(array) => array.data.clone(),
                None => case.unknown(&entry.name),
            };
            let got = match Expectation::of(&case, entry, steps) {
                Expectation::Logits => outcome.logits.clone(),
                Expectation::Losses => outcome.losses.clone(),
                Expectation::Gradient => of(&outcome.gradients),
                Expectation::Stepped => of(&outcome.stepped),
            };
            problems.extend(case.check_entry(entry, &got).err());
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
#[should_panic(expected = "expects `head.bias of moments.safetensors`, which no test checks")]
fn an_expected_tensor_that_no_test_checks_is_a_failure() {
    let case = GoldenCase {
        folder: golden::folder(),
        manifest: serde_json::from_value(serde_json::json!({
            "case": "downstream/linear_new", "config": {}, "tensors": [{
                "name": "head.bias", "file": "moments.safetensors", "shape": [1],
                "role": "expected",
            }],
        }))
        .unwrap(),
    };
    let entry = case.expected().next().unwrap();
    Expectation::of(&case, entry, 3);
}
