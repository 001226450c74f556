//! The Vision Transformer (Dosovitskiy et al., 2021) in timm's form.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::NamedArrays;

use super::drop_path::Factors;
use super::layers::{Block, LayerNorm, Linear, PatchEmbedding, empty};
use super::{ModelError, parameters};
use crate::weights::positions::{self, Convention};

/// Channels of the input.
const CHANNELS: usize = 3;

/// A Vision Transformer classifier, or a backbone without a head; fields are
/// named as timm's parameters.
#[derive(Module, Debug)]
pub struct Vit {
    /// Image -> patch tokens.
    pub patch_embed: PatchEmbedding,
    /// `[1, 1, width]`.
    pub cls_token: Param<Tensor<3>>,
    /// `[1, 1 + patches, width]`, the class token's first.
    pub pos_embed: Param<Tensor<3>>,
    /// The body.
    pub blocks: Vec<Block>,
    /// Final norm of all tokens, with class-token pooling.
    pub norm: Option<LayerNorm>,
    /// Norm of the pooled token, with mean pooling.
    pub fc_norm: Option<LayerNorm>,
    /// Pooled token -> logits; a backbone has none.
    pub head: Option<Linear>,
    /// Rows and columns of patches to which the positions belong.
    grid: [usize; 2],
}

/// Everything that a forward pass computes on its way.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Class and patch tokens with positions, `[n, tokens, width]`.
    pub embedded: Tensor<3>,
    /// Output of the first block, `[n, tokens, width]`.
    pub after_first_block: Tensor<3>,
    /// All tokens after the last block, normalised when pooling takes the
    /// class token, `[n, tokens, width]`.
    pub tokens: Tensor<3>,
    /// What the head sees, `[n, width]`.
    pub pooled: Tensor<2>,
    /// `[n, classes]`; of a backbone the same as `pooled`.
    pub logits: Tensor<2>,
}

impl Vit {
    /// A network of the given sizes, filled from named weights.
    ///
    /// On a device with autodiff every parameter requires a gradient.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        spec: &VitSpec,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        parameters::fill(Self::of_zeros(spec, device)?, weights)
    }

    /// A network of zeros.
    ///
    /// # Errors
    /// When the sizes do not fit one another.
    pub(super) fn of_zeros(spec: &VitSpec, device: &Device) -> Result<Self, ModelError> {
        spec.check()?;
        let width = spec.width;
        let norm = || LayerNorm::new(width, spec.layer_norm_epsilon, device);
        let mean = spec.pooling == Pooling::Mean;
        Ok(Self {
            patch_embed: PatchEmbedding::new(CHANNELS, spec.patch, width, device),
            cls_token: empty([1, 1, width], device),
            pos_embed: empty([1, 1 + spec.patches(), width], device),
            blocks: (0..spec.depth).map(|_| Block::new(spec, device)).collect(),
            norm: (!mean).then(norm),
            fc_norm: mean.then(norm),
            head: (spec.classes > 0).then(|| Linear::new(width, spec.classes, true, device)),
            grid: [
                spec.image_height / spec.patch,
                spec.image_width / spec.patch,
            ],
        })
    }

    /// Length of a token.
    pub fn width(&self) -> usize {
        self.cls_token.dims()[2]
    }

    /// Normalised images `[n, 3, height, width]` -> logits `[n, classes]`, or
    /// the pooled token `[n, width]` where there is no head.
    ///
    /// Height and width are multiples of the patch. For another number of
    /// patches than the network's own, positions are resampled as DINO does.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_dropping(images, None)
    }

    /// As [`Vit::forward`], while the network learns: the branches of its
    /// blocks are multiplied by `factors`.
    pub fn forward_dropping(&self, images: Tensor<4>, factors: Option<&Factors>) -> Tensor<2> {
        let mut x = self.embed(images);
        for (number, block) in self.blocks.iter().enumerate() {
            let factors = factors.and_then(|factors| factors.block(number));
            x = block.forward_scaled(x, factors);
        }
        self.classify(self.pool(x).1)
    }

    /// As [`Vit::forward`], keeping what lies between.
    pub fn forward_steps(&self, images: Tensor<4>) -> Forward {
        let embedded = self.embed(images);
        let mut x = embedded.clone();
        let mut after_first_block = embedded.clone();
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if number == 0 {
                after_first_block = x.clone();
            }
        }
        let (tokens, pooled) = self.pool(x);
        Forward {
            embedded,
            after_first_block,
            tokens,
            logits: self.classify(pooled.clone()),
            pooled,
        }
    }

    fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let [_, _, height, image_width] = images.dims();
        let patch = self.patch_embed.patch();
        let patches = self.patch_embed.forward(images);
        let [n, _, width] = patches.dims();
        let class = self.cls_token.val().expand([n, 1, width]);
        let positions = self.positions([height / patch, image_width / patch]);
        Tensor::cat(vec![class, patches], 1) + positions
    }

    /// Positions for so many rows and columns of patches, in a form through
    /// which they learn.
    fn positions(&self, grid: [usize; 2]) -> Tensor<3> {
        let own = self.pos_embed.val();
        if grid == self.grid {
            return own;
        }
        let [_, tokens, width] = own.dims();
        let matrix = positions::matrix(self.grid, grid, Convention::Dino);
        let shape = [1, grid[0] * grid[1], tokens - 1];
        let matrix: Tensor<3> = Tensor::from_data(TensorData::new(matrix, shape), &own.device());
        let class = own.clone().narrow(1, 0, 1);
        let patches = own.narrow(1, 1, tokens - 1);
        let resampled = matrix
            .cast(patches.dtype())
            .matmul(patches)
            .reshape([1, shape[1], width]);
        Tensor::cat(vec![class, resampled], 1)
    }

    fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        match &self.head {
            Some(head) => head.forward(pooled),
            None => pooled,
        }
    }

    fn pool(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let x = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let [n, tokens, width] = x.dims();
        let pooled = match &self.fc_norm {
            Some(norm) => norm.forward(
                x.clone()
                    .narrow(1, 1, tokens - 1)
                    .mean_dim(1)
                    .reshape([n, width]),
            ),
            None => x.clone().narrow(1, 0, 1).reshape([n, width]),
        };
        (x, pooled)
    }
}
