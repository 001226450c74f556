//! The masked autoencoder (He et al., CVPR 2022) as `models_mae.py` of
//! facebookresearch/mae, with its parameter names.
//!
//! The encoder is a Vision Transformer that sees only the patches that a mask
//! leaves visible; the decoder, a smaller one, predicts the pixels of the
//! others from what the encoder makes of these.
//!
//! * [`masks`]: which patches are visible.
//! * [`sincos`]: the positions, which are not learnt.
//! * [`initial`]: weights to start from.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use serde::{Deserialize, Serialize};

use super::layers::{Block, LayerNorm, Linear, PatchEmbedding, empty};
use super::{ModelError, parameters, patches};
use masks::Masks;

pub mod initial;
pub mod masks;
pub mod sincos;

/// Channels of the images.
const CHANNELS: usize = 3;

/// Added to the variance of a patch when its pixels are normalised, as in
/// `models_mae.py`.
const PATCH_EPSILON: f64 = 1e-6;

/// Sizes of the decoder. Its MLPs are four times as wide as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderSpec {
    /// Length of a token; a multiple of 4 and of the heads.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads in each block.
    pub heads: usize,
}

impl DecoderSpec {
    /// The decoder in the proportions of the official ViT-Base, whose encoder
    /// of width 768 and depth 12 has a decoder of width 512 and depth 8 with
    /// heads of 32: two thirds of both, the width rounded to whole heads. For
    /// ViT-Tiny that is width 128, depth 8 and 4 heads; with three quarters of
    /// the patches masked a decoder of these proportions costs about as much
    /// as its encoder, whatever the size.
    pub fn proportional_to(encoder: &VitSpec) -> Self {
        let heads = (encoder.width * 2).div_ceil(3 * 32).max(1);
        Self {
            width: heads * 32,
            depth: (encoder.depth * 2).div_ceil(3).max(1),
            heads,
        }
    }
}

/// Sizes of a masked autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct MaeSpec {
    /// The encoder, with class-token pooling; its classes do not matter.
    pub encoder: VitSpec,
    /// The decoder.
    pub decoder: DecoderSpec,
}

impl MaeSpec {
    /// Checks that the sizes go together.
    ///
    /// # Errors
    /// With the size that does not.
    pub fn check(&self) -> Result<(), ModelError> {
        self.encoder.check()?;
        let decoder = self.blocks_of_decoder();
        decoder.check().map_err(ModelError::Decoder)?;
        for (what, width) in [
            ("width", self.encoder.width),
            ("decoder's width", self.decoder.width),
        ] {
            if !width.is_multiple_of(4) {
                return Err(ModelError::PositionWidth { what, width });
            }
        }
        Ok(())
    }

    /// Name and shape of every parameter; the sizes must fit one another.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        parameters::shapes(&Mae::of_zeros(self, &Device::flex()))
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> [usize; 2] {
        let VitSpec { patch, .. } = self.encoder;
        [
            self.encoder.image_height / patch,
            self.encoder.image_width / patch,
        ]
    }

    fn blocks_of_decoder(&self) -> VitSpec {
        VitSpec {
            width: self.decoder.width,
            depth: self.decoder.depth,
            heads: self.decoder.heads,
            mlp_width: 4 * self.decoder.width,
            qkv_bias: true,
            layer_scale: false,
            ..self.encoder.clone()
        }
    }
}

/// The positions of the decoder, which are not learnt.
pub const DECODER_POSITIONS: &str = "decoder_pos_embed";

/// Whether a parameter is of the decoder and not of the encoder.
pub fn is_of_decoder(name: &str) -> bool {
    name.starts_with("decoder_") || name == "mask_token"
}

/// A masked autoencoder; fields are named as the official parameters.
#[derive(Module, Debug)]
pub struct Mae {
    /// `[1, 1, width]`.
    pub cls_token: Param<Tensor<3>>,
    /// `[1, 1 + patches, width]`, frozen.
    pub pos_embed: Param<Tensor<3>>,
    /// What the decoder sees in place of a removed patch,
    /// `[1, 1, decoder width]`.
    pub mask_token: Param<Tensor<3>>,
    /// `[1, 1 + patches, decoder width]`, frozen.
    pub decoder_pos_embed: Param<Tensor<3>>,
    /// Pixels of a patch -> token.
    pub patch_embed: PatchEmbedding,
    /// The encoder's body.
    pub blocks: Vec<Block>,
    /// The encoder's final norm.
    pub norm: LayerNorm,
    /// Token of the encoder -> token of the decoder.
    pub decoder_embed: Linear,
    /// The decoder's body.
    pub decoder_blocks: Vec<Block>,
    /// The decoder's final norm.
    pub decoder_norm: LayerNorm,
    /// Token of the decoder -> pixels of its patch (row, column, channel).
    pub decoder_pred: Linear,
}

impl Mae {
    /// A network of the given sizes, filled from named weights.
    ///
    /// On a device with autodiff every parameter but the positions requires a
    /// gradient.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        spec: &MaeSpec,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        spec.check()?;
        parameters::fill(Self::of_zeros(spec, device), weights)
    }

    fn of_zeros(spec: &MaeSpec, device: &Device) -> Self {
        let (encoder, decoder) = (&spec.encoder, &spec.blocks_of_decoder());
        let (width, patch, positions) = (encoder.width, encoder.patch, 1 + encoder.patches());
        let norm = |spec: &VitSpec| LayerNorm::new(spec.width, spec.layer_norm_epsilon, device);
        let blocks = |spec: &VitSpec| (0..spec.depth).map(|_| Block::new(spec, device)).collect();
        let pixels = CHANNELS * patch * patch;
        Self {
            cls_token: empty([1, 1, width], device),
            pos_embed: frozen([1, positions, width], device),
            mask_token: empty([1, 1, decoder.width], device),
            decoder_pos_embed: frozen([1, positions, decoder.width], device),
            patch_embed: PatchEmbedding::new(CHANNELS, patch, width, device),
            blocks: blocks(encoder),
            norm: norm(encoder),
            decoder_embed: Linear::new(width, decoder.width, true, device),
            decoder_blocks: blocks(decoder),
            decoder_norm: norm(decoder),
            decoder_pred: Linear::new(decoder.width, pixels, true, device),
        }
    }

    /// Normalised images `[n, 3, height, width]` -> what the encoder makes of
    /// the class token and the visible patches, in the order of the masks:
    /// `[n, 1 + visible, width]`.
    pub fn encode(&self, images: Tensor<4>, masks: &Masks) -> Tensor<3> {
        self.encode_patches(patches::cut(images, self.patch_embed.patch()), masks)
    }

    /// The pixels of the visible patches are picked before anything is
    /// computed of them, so that the encoder's cost is that of these alone.
    fn encode_patches(&self, pixels: Tensor<3>, masks: &Masks) -> Tensor<3> {
        let [n, all, length] = pixels.dims();
        let device = pixels.device();
        let visible = masks.visible();
        let pixels = pixels.reshape([n * all, length]);
        let pixels = pixels.select(0, indices(masks.visible_rows(), &device));
        let tokens = self
            .patch_embed
            .project(pixels.reshape([n, visible, length]));
        let [_, _, width] = tokens.dims();
        // The first position is the class token's.
        let positions = self.pos_embed.val().reshape([1 + all, width]);
        let places = masks.visible_patches().map(|patch| 1 + patch);
        let places = positions.clone().select(0, indices(places, &device));
        let tokens = tokens + places.reshape([n, visible, width]);
        let class = self.cls_token.val() + positions.narrow(0, 0, 1).unsqueeze();
        let mut x = Tensor::cat(vec![class.expand([n, 1, width]), tokens], 1);
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.norm.forward(x)
    }

    /// What [`Mae::encode`] gives -> tokens of the class and of all patches in
    /// their places, before the decoder's norm: `[n, 1 + patches, width]`.
    fn decode(&self, latent: Tensor<3>, masks: &Masks) -> Tensor<3> {
        let [n, seen, _] = latent.dims();
        let device = latent.device();
        let x = self.decoder_embed.forward(latent);
        let [_, _, width] = x.dims();
        let mask_token = self.mask_token.val().reshape([1, width]);
        let rows = Tensor::cat(vec![x.reshape([n * seen, width]), mask_token], 0);
        let rows = rows.select(0, indices(masks.restored_rows(), &device));
        let positions = self.decoder_pos_embed.val();
        let mut x = rows.reshape([n, 1 + masks.patches(), width]) + positions;
        for block in &self.decoder_blocks {
            x = block.forward(x);
        }
        x
    }

    fn read_pixels<const D: usize>(&self, tokens: Tensor<D>) -> Tensor<D> {
        self.decoder_pred.forward(self.decoder_norm.forward(tokens))
    }

    /// Normalised images `[n, 3, height, width]` -> the pixels that are
    /// predicted of each patch, the visible ones too,
    /// `[n, patches, patch * patch * 3]` (row, column, channel).
    pub fn predict(&self, images: Tensor<4>, masks: &Masks) -> Tensor<3> {
        let tokens = self.decode(self.encode(images, masks), masks);
        self.read_pixels(tokens.narrow(1, 1, masks.patches()))
    }

    /// Mean squared error of the predicted pixels of the removed patches.
    ///
    /// `normalised` compares with the pixels of each patch less their mean and
    /// divided by their deviation (`norm_pix_loss`).
    pub fn loss(&self, images: Tensor<4>, masks: &Masks, normalised: bool) -> Tensor<1> {
        let pixels = patches::cut(images, self.patch_embed.patch());
        let [n, all, length] = pixels.dims();
        let device = pixels.device();
        let targets = pixels
            .clone()
            .reshape([n * all, length])
            .select(0, indices(masks.removed_rows(0), &device));
        let tokens = self.decode(self.encode_patches(pixels, masks), masks);
        let [_, tokens_of_image, width] = tokens.dims();
        // Norm and prediction work on each token by itself: those that the
        // loss does not ask for are left out.
        let tokens = tokens
            .reshape([n * tokens_of_image, width])
            .select(0, indices(masks.removed_rows(1), &device));
        let predicted = self.read_pixels(tokens).cast(DType::F32);
        let difference = predicted - targets_of(targets, normalised);
        difference.square().mean()
    }
}

/// Pixels of patches `[patches, 3 * patch * patch]` in the order of
/// [`patches::cut`] -> what is to be predicted of them (row, column, channel).
pub fn targets_of(pixels: Tensor<2>, normalised: bool) -> Tensor<2> {
    let pixels = patches::channels_last(pixels);
    if !normalised {
        return pixels;
    }
    let (mean, deviation) = patch_statistics(pixels.clone());
    (pixels - mean) / deviation
}

/// Mean and deviation of each patch's pixels, `[patches, 1]` both: the root of
/// the unbiased variance plus 1e-6, as in `models_mae.py`.
pub fn patch_statistics(pixels: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let (variance, mean) = pixels.var_mean(1);
    (mean, (variance + PATCH_EPSILON).sqrt())
}

fn frozen<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), Tensor::zeros(shape, device))
}

fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.map(|row| row as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::presets::Preset;

    fn spec() -> MaeSpec {
        let encoder = VitSpec {
            image_height: 32,
            image_width: 48,
            patch: 8,
            width: 24,
            depth: 2,
            mlp_width: 48,
            ..Preset::Tiny.spec(1)
        };
        MaeSpec {
            decoder: DecoderSpec::proportional_to(&encoder),
            encoder,
        }
    }

    /// Images whose pixels are a function of their place, but for the patches
    /// that are removed, which are `removed`.
    fn images(masks: &Masks, removed: f32) -> Tensor<4> {
        let gone = masks.removed();
        let shape = [masks.images(), 3, 32, 48];
        let pixels = (0..shape.iter().product()).map(|at: usize| {
            let (image, row, column) = (at / (3 * 32 * 48), at / 48 % 32, at % 48);
            let patch = row / 8 * 6 + column / 8;
            match gone[image * 24 + patch] {
                true => removed,
                false => (at as f32 * 0.37).sin(),
            }
        });
        let data = TensorData::new(pixels.collect::<Vec<f32>>(), shape);
        Tensor::from_data(data, &Device::flex())
    }

    #[test]
    fn the_encoder_computes_the_visible_patches_alone() {
        let weights = initial::weights(&spec(), 1.0, 3).unwrap();
        let network = Mae::from_weights(&spec(), &weights, &Device::flex()).unwrap();
        // Three quarters removed; the second image in the reverse order.
        let masks = Masks::new(vec![(0..24).collect(), (0..24).rev().collect()], 6);
        let latent = network.encode(images(&masks, 0.0), &masks);
        // Its cost is that of its tokens: 7 instead of 25.
        assert_eq!(latent.dims(), [2, 7, 24]);
        // What is not a number would spoil whatever is computed of it, even
        // when it is multiplied by 0 at last.
        let spoilt = network.encode(images(&masks, f32::NAN), &masks);
        let (latent, spoilt) = (
            parameters::to_vec(latent, "latent").unwrap(),
            parameters::to_vec(spoilt, "latent").unwrap(),
        );
        assert!(latent.iter().all(|value| value.is_finite()));
        assert_eq!(latent, spoilt);
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let message = |spec: MaeSpec| spec.check().unwrap_err().to_string();
        let decoder = |width, heads| {
            let depth = 1;
            MaeSpec {
                decoder: DecoderSpec {
                    width,
                    depth,
                    heads,
                },
                ..spec()
            }
        };
        assert!(spec().check().is_ok());
        let heads = message(decoder(32, 5));
        assert!(
            heads.contains("the decoder: ") && heads.contains("`heads` 5"),
            "{heads}"
        );
        let width = message(decoder(30, 5));
        assert!(width.contains("decoder's width is 30"), "{width}");
    }
}
