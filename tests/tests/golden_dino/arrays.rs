//! From arrays of a case to networks and their input.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::GoldenCase;
use millsight_trainer::model::dino::HeadSpec;
use millsight_trainer::training::checkpoint;

pub fn crop_names(case: &GoldenCase) -> impl Iterator<Item = String> + '_ {
    let names = (0..).map(|crop| format!("crop{crop}"));
    names.take_while(|name| case.has(name))
}

/// The first `count` crops of some images, those of one resolution together;
/// row `j` of the batch is row `j - roll` of the arrays.
pub fn groups(
    crops: &[NamedArray],
    images: Range<usize>,
    count: usize,
    roll: usize,
    device: &Device,
) -> Vec<Tensor<4>> {
    crops[..count]
        .chunk_by(|one, next| one.shape == next.shape)
        .map(|group| {
            let [batch, channels, height, width] = group[0].shape[..] else {
                panic!("a crop is no batch of images");
            };
            let length = channels * height * width;
            let mut data = Vec::new();
            for crop in group {
                for image in images.clone() {
                    let row = (image + batch * roll - roll) % batch;
                    data.extend_from_slice(&crop.data[row * length..][..length]);
                }
            }
            let rows = group.len() * images.len();
            Tensor::from_data(
                TensorData::new(data, [rows, channels, height, width]),
                device,
            )
        })
        .collect()
}

pub fn matrix(array: &NamedArray) -> Tensor<2> {
    let shape: [usize; 2] = array.shape.clone().try_into().unwrap();
    Tensor::from_data(TensorData::new(array.data.clone(), shape), &Device::flex())
}

pub fn section(weights: &NamedArrays, prefix: &str) -> NamedArrays {
    checkpoint::section(weights, prefix).unwrap()
}

/// Sizes of the backbone whose weights have the prefix; heads of width 64
/// where their number is not given.
pub fn backbone(
    weights: &NamedArrays,
    prefix: &str,
    [image_height, image_width]: [usize; 2],
    heads: Option<usize>,
) -> VitSpec {
    let shape = |name: &str| &weights.require(&format!("{prefix}{name}")).unwrap().shape;
    let embedding = shape("patch_embed.proj.weight");
    let blocks = weights
        .names()
        .filter(|name| name.starts_with(prefix) && name.ends_with(".attn.qkv.weight"));
    VitSpec {
        image_height,
        image_width,
        patch: embedding[2],
        width: embedding[0],
        depth: blocks.count(),
        heads: heads.unwrap_or(embedding[0] / 64),
        mlp_width: shape("blocks.0.mlp.fc1.weight")[0],
        qkv_bias: true,
        layer_scale: false,
        pooling: Pooling::ClassToken,
        classes: 0,
        layer_norm_epsilon: 1e-6,
    }
}

pub fn head(weights: &NamedArrays, norm_last_layer: bool) -> HeadSpec {
    let shape = |name: &str| &weights.require(&format!("head.{name}")).unwrap().shape;
    HeadSpec {
        hidden: shape("mlp.0.weight")[0],
        bottleneck: shape("mlp.4.weight")[0],
        outputs: shape("last_layer.weight_v")[0],
        norm_last_layer,
    }
}
