//! Weights to start from when there are none.

use millsight_export::weights::NamedArrays;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{CHANNELS, MaeSpec, sincos};
use crate::data::order::{Stream, generator};
use crate::model::ModelError;

/// Deviation of class and mask token.
const STD: f32 = 0.02;

/// Initial weights as `initialize_weights` in `models_mae.py` draws them.
///
/// Linear weights and the flattened patch projection: uniform within
/// `sqrt(6 / (inputs + outputs))` (Glorot and Bengio, 2010); class and mask
/// token: normal with deviation 0.02; positions: [`sincos::positions`]; bias of
/// the patch projection: uniform within `sqrt(1 / inputs)` (PyTorch's default,
/// which the official code leaves); other biases 0, norms 1, LayerScale
/// `layer_scale`. The seed alone decides.
///
/// # Errors
/// When the sizes do not fit one another.
pub fn weights(spec: &MaeSpec, layer_scale: f32, seed: u64) -> Result<NamedArrays, ModelError> {
    spec.check()?;
    let [rows, columns] = spec.grid();
    let mut random = generator(seed, Stream::Weights, 0);
    let mut weights = NamedArrays::new();
    for (name, shape) in spec.parameters() {
        let count = shape.iter().product();
        let mut uniform = |bound: f32| -> Vec<f32> {
            let mut draw = || random.random_range(-bound..=bound);
            (0..count).map(|_| draw()).collect()
        };
        let data = match name.as_str() {
            "pos_embed" | "decoder_pos_embed" => sincos::positions(shape[2], rows, columns),
            "cls_token" | "mask_token" => {
                let mut unit = || random.sample::<f32, _>(StandardNormal);
                (0..count).map(|_| unit() * STD).collect()
            }
            "patch_embed.proj.bias" => {
                let inputs = CHANNELS * spec.encoder.patch * spec.encoder.patch;
                uniform((1.0 / inputs as f32).sqrt())
            }
            name if name.ends_with(".gamma") => vec![layer_scale; count],
            name if name.ends_with(".bias") => vec![0.0; count],
            _ if shape.len() == 1 => vec![1.0; count],
            _ => {
                let inputs: usize = shape[1..].iter().product();
                uniform((6.0 / (inputs + shape[0]) as f32).sqrt())
            }
        };
        weights.insert(name, shape, data)?;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::mae::DecoderSpec;
    use crate::model::presets::Preset;

    #[test]
    fn weights_follow_the_official_code() {
        let encoder = Preset::Tiny.spec(1);
        let spec = MaeSpec {
            decoder: DecoderSpec::proportional_to(&encoder),
            encoder,
        };
        let weights = weights(&spec, 1.0, 1).unwrap();
        let data = |name: &str| &weights.require(name).unwrap().data;
        let deviation = |name: &str| {
            let data = data(name);
            (data.iter().map(|value| value * value).sum::<f32>() / data.len() as f32).sqrt()
        };
        // A uniform within b has the deviation b / sqrt(3).
        for (name, expected) in [
            ("cls_token", 0.02),
            ("mask_token", 0.02),
            ("patch_embed.proj.weight", (2.0f32 / (768.0 + 192.0)).sqrt()),
            ("patch_embed.proj.bias", (1.0f32 / 3.0 / 768.0).sqrt()),
            (
                "blocks.3.attn.qkv.weight",
                (2.0f32 / (192.0 + 576.0)).sqrt(),
            ),
            ("decoder_embed.weight", (2.0f32 / (192.0 + 128.0)).sqrt()),
            ("decoder_pred.weight", (2.0f32 / (128.0 + 768.0)).sqrt()),
        ] {
            let got = deviation(name);
            assert!((got / expected - 1.0).abs() < 0.2, "{name}: {got}");
        }
        for (name, expected) in [
            ("blocks.0.norm1.weight", 1.0),
            ("decoder_norm.weight", 1.0),
            ("norm.bias", 0.0),
            ("decoder_blocks.7.mlp.fc1.bias", 0.0),
        ] {
            assert!(data(name).iter().all(|value| *value == expected), "{name}");
        }
        assert!(weights.get("decoder_blocks.8.norm1.weight").is_none());
    }

    #[test]
    fn a_decoder_is_two_thirds_of_its_encoder() {
        let decoder = |preset: Preset| DecoderSpec::proportional_to(&preset.spec(1));
        let expected = |width, depth, heads| DecoderSpec {
            width,
            depth,
            heads,
        };
        assert_eq!(decoder(Preset::Tiny), expected(128, 8, 4));
        assert_eq!(decoder(Preset::Small), expected(256, 8, 8));
        assert_eq!(decoder(Preset::Base), expected(512, 8, 16));
    }
}
