//! Weights to start from when there are none.

use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::ModelError;
use crate::data::order::{Stream, generator};

/// Deviation of linear weights and positions in timm.
const STD: f32 = 0.02;

/// Initial weights as timm's `VisionTransformer` draws them by default, but for
/// the mean of the patch filters.
///
/// Linear weights and positions: normal with deviation 0.02 (timm cuts it at
/// two units, a hundred deviations, so that nothing is ever cut); class token:
/// normal with deviation 1e-6; patch projection: uniform within
/// `sqrt(1 / inputs)`, bias included (PyTorch's default for convolutions), and
/// then each filter less its mean: tiles of steel differ far more in brightness
/// than in texture, and filters that answer to brightness drown the rest; other
/// biases 0, norms 1, LayerScale `layer_scale`. The seed alone decides.
///
/// # Errors
/// When the sizes do not fit one another.
pub fn vit(spec: &VitSpec, layer_scale: f32, seed: u64) -> Result<NamedArrays, ModelError> {
    spec.check()?;
    let mut random = generator(seed, Stream::Weights, 0);
    let bound = (1.0 / (3 * spec.patch * spec.patch) as f32).sqrt();
    let mut weights = NamedArrays::new();
    for (name, shape) in spec.parameters() {
        let count = shape.iter().product();
        let mut normal = |std: f32| -> Vec<f32> {
            let mut unit = || random.sample::<f32, _>(StandardNormal);
            (0..count).map(|_| unit() * std).collect()
        };
        let data = match name.as_str() {
            "cls_token" => normal(1e-6),
            "pos_embed" => normal(STD),
            name if name.starts_with("patch_embed.") => {
                let mut uniform = || random.random_range(-bound..=bound);
                let mut data: Vec<f32> = (0..count).map(|_| uniform()).collect();
                if name.ends_with(".weight") {
                    let pixels = 3 * spec.patch * spec.patch;
                    data.chunks_exact_mut(pixels).for_each(subtract_mean);
                }
                data
            }
            name if name.ends_with(".gamma") => vec![layer_scale; count],
            name if name.ends_with(".bias") => vec![0.0; count],
            _ if shape.len() == 1 => vec![1.0; count],
            _ => normal(STD),
        };
        weights.insert(name, shape, data)?;
    }
    Ok(weights)
}

fn subtract_mean(filter: &mut [f32]) {
    let mean = filter.iter().sum::<f32>() / filter.len() as f32;
    for value in filter {
        *value -= mean;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::presets::Preset;

    #[test]
    fn weights_follow_timm() {
        let spec = VitSpec {
            layer_scale: true,
            ..Preset::Tiny.spec(5)
        };
        let weights = vit(&spec, 1e-5, 1).unwrap();
        let data = |name: &str| &weights.require(name).unwrap().data;
        let deviation = |name: &str| {
            let data = data(name);
            (data.iter().map(|value| value * value).sum::<f32>() / data.len() as f32).sqrt()
        };
        for (name, expected) in [
            ("blocks.3.attn.qkv.weight", 0.02),
            ("blocks.0.mlp.fc2.weight", 0.02),
            ("head.weight", 0.02),
            ("pos_embed", 0.02),
            ("cls_token", 1e-6),
            // A uniform within b has the deviation b / sqrt(3).
            ("patch_embed.proj.weight", (1.0f32 / 768.0 / 3.0).sqrt()),
        ] {
            let got = deviation(name);
            assert!((got / expected - 1.0).abs() < 0.15, "{name}: {got}");
        }
        for (name, expected) in [
            ("blocks.0.norm1.weight", 1.0),
            ("norm.weight", 1.0),
            ("norm.bias", 0.0),
            ("blocks.0.attn.qkv.bias", 0.0),
            ("head.bias", 0.0),
            ("blocks.11.ls2.gamma", 1e-5),
        ] {
            assert!(data(name).iter().all(|value| *value == expected), "{name}");
        }
        for filter in data("patch_embed.proj.weight").chunks_exact(3 * 16 * 16) {
            assert!(filter.iter().sum::<f32>().abs() < 1e-4);
        }
        assert_eq!(weights, vit(&spec, 1e-5, 1).unwrap());
        assert_ne!(weights, vit(&spec, 1e-5, 2).unwrap());
    }
}
