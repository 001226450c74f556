//! A network that begins with a checkpoint of DINO equals DINO's
//! `VisionTransformer`, at its own size of image and at others.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Tensor, TensorData, activation};
use millsight_export::graph::VitSpec;
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::model::parameters::to_vec;
use millsight_trainer::model::vit::Vit;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::initialise::fit;
use millsight_trainer::weights::layouts::Layout;

#[test]
fn a_network_on_the_teacher_equals_dino() {
    let mut problems = Vec::new();
    for case in golden::cases("dino/backbone") {
        let teacher = teacher(&case);
        for entry in case.expected() {
            let name = entry.name.as_str();
            // Stochastic depth belongs to DINO's training and its tests.
            if name == "droppath_cls" {
                continue;
            }
            let (what, size) = name.rsplit_once('_').unwrap_or((name, ""));
            let got = match (what, golden::network::pixels(size)) {
                ("pos", Some(size)) => {
                    let (_, weights) = network(&case, &teacher, size);
                    weights.require("pos_embed").unwrap().data.clone()
                }
                ("cls", Some(_)) => {
                    let run = Run::new(&case, &teacher, &format!("input_{size}"));
                    class_token(run.vit.forward_steps(run.images).tokens)
                }
                _ => match name {
                    "last_attention" => last_attention(Run::new(&case, &teacher, "attn_input")),
                    "feat_last2_cls" => last_two(Run::new(&case, &teacher, "attn_input")),
                    _ => case.unknown(name),
                },
            };
            problems.extend(case.check(name, &got).err());
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The network that `config.weights` names: `FILE, prefix PREFIX`.
fn teacher(case: &GoldenCase) -> Backbone {
    let weights = case.manifest.config["weights"].as_str().expect("weights");
    let (file, prefix) = weights.split_once(", prefix ").expect("a prefix");
    let teacher = Backbone::open(&case.folder.join(file)).unwrap();
    assert_eq!(teacher.prefix, prefix, "the part of {file}");
    assert_eq!(teacher.layout, Layout::Dino);
    teacher
}

/// The network for images of a height and width, its weights with a head of
/// one class.
fn network(
    case: &GoldenCase,
    teacher: &Backbone,
    [image_height, image_width]: [usize; 2],
) -> (VitSpec, NamedArrays) {
    let config = &case.manifest.config;
    let heads = config["heads"].as_u64().expect("heads") as usize;
    let network = VitSpec {
        image_height,
        image_width,
        layer_norm_epsilon: config["ln_eps"].as_f64().expect("ln_eps") as f32,
        ..teacher.network(Some(heads), 1).unwrap()
    };
    let (mut weights, adoption) = fit(&network, None, teacher).unwrap();
    assert_eq!(adoption.missing, ["head.weight", "head.bias"]);
    for (name, shape) in network.parameters() {
        if weights.get(&name).is_none() {
            let zeros = vec![0.0; shape.iter().product()];
            weights.insert(name, shape, zeros).unwrap();
        }
    }
    (network, weights)
}

/// A network and the images of an input of the case.
struct Run {
    vit: Vit,
    heads: usize,
    images: Tensor<4>,
}

impl Run {
    fn new(case: &GoldenCase, teacher: &Backbone, input: &str) -> Self {
        let device = Device::flex();
        let NamedArray { shape, data } = case.array(input);
        let shape: [usize; 4] = shape.try_into().unwrap();
        let (network, weights) = network(case, teacher, [shape[2], shape[3]]);
        Self {
            vit: Vit::from_weights(&network, &weights, &device).unwrap(),
            heads: network.heads,
            images: Tensor::from_data(TensorData::new(data, shape), &device),
        }
    }
}

/// The class tokens of `[n, tokens, width]`.
fn class_token(tokens: Tensor<3>) -> Vec<f32> {
    to_vec(tokens.narrow(1, 0, 1), "class tokens").unwrap()
}

/// Whom each token of the last block looks at, `[n, heads, tokens, tokens]`.
fn last_attention(run: Run) -> Vec<f32> {
    let mut x = run.vit.forward_steps(run.images).embedded;
    let (last, others) = run.vit.blocks.split_last().expect("a block");
    for block in others {
        x = block.forward(x);
    }
    let [n, tokens, width] = x.dims();
    let length = width / run.heads;
    let qkv = last.attn.qkv.forward(last.norm1.forward(x));
    let part = |index: usize| {
        let part = qkv.clone().narrow(2, index * width, width);
        part.reshape([n, tokens, run.heads, length]).swap_dims(1, 2)
    };
    let scores = part(0).matmul(part(1).transpose()) * (length as f64).powf(-0.5);
    to_vec(activation::softmax(scores, 3), "attention").unwrap()
}

/// The class tokens of the last two blocks, each through the final norm, the
/// earlier one first, `[n, 2 * width]`.
fn last_two(run: Run) -> Vec<f32> {
    let mut x = run.vit.forward_steps(run.images).embedded;
    let norm = run.vit.norm.as_ref().expect("a norm");
    let mut tokens = Vec::new();
    for block in &run.vit.blocks {
        x = block.forward(x);
        tokens.push(norm.forward(x.clone()).narrow(1, 0, 1));
    }
    let last = tokens.split_off(tokens.len() - 2);
    to_vec(Tensor::cat(last, 2), "class tokens").unwrap()
}
