//! Weights to start from when there are none.

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::NamedArrays;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{ModelError, sizes};
use crate::data::order::{Stream, generator};

/// Spread of the linear layers, the class token and the positions in timm.
const STD: f32 = 0.02;

/// Initial weights as timm's `VisionTransformer` draws them.
///
/// Linear weights and positions: normal with deviation 0.02, cut at two units
/// (a hundred deviations, so that nothing is ever cut); class token: normal
/// with deviation 1e-6; patch projection: uniform within
/// `sqrt(1 / inputs)`, bias included (PyTorch's default for convolutions);
/// other biases 0, norms 1, head 0. The seed alone decides. `layer_scale` is
/// the initial value of LayerScale; without it the blocks have none.
///
/// # Errors
/// When the sizes do not fit one another.
pub fn vit(
    spec: &VitSpec,
    layer_scale: Option<f32>,
    seed: u64,
) -> Result<NamedArrays, ModelError> {
    sizes::check(spec)?;
    let mut draw = Draw {
        random: generator(seed, Stream::Weights, 0),
        weights: NamedArrays::default(),
    };
    let width = spec.width;
    let pixels = 3 * spec.patch_size * spec.patch_size;
    let bound = (1.0 / pixels as f32).sqrt();
    draw.uniform(
        "patch_embed.proj.weight",
        &[width, 3, spec.patch_size, spec.patch_size],
        bound,
    )?;
    draw.uniform("patch_embed.proj.bias", &[width], bound)?;
    draw.normal("cls_token", &[1, 1, width], 1e-6)?;
    draw.normal("pos_embed", &[1, 1 + spec.patches(), width], STD)?;
    for block in 0..spec.depth {
        let name = |rest: &str| format!("blocks.{block}.{rest}");
        draw.norm(&name("norm1"), width)?;
        draw.normal(&name("attn.qkv.weight"), &[3 * width, width], STD)?;
        if spec.qkv_bias {
            draw.constant(&name("attn.qkv.bias"), &[3 * width], 0.0)?;
        }
        draw.linear(&name("attn.proj"), width, width)?;
        draw.norm(&name("norm2"), width)?;
        draw.linear(&name("mlp.fc1"), width, spec.hidden_width())?;
        draw.linear(&name("mlp.fc2"), spec.hidden_width(), width)?;
        if let Some(scale) = layer_scale {
            draw.constant(&name("ls1.gamma"), &[width], scale)?;
            draw.constant(&name("ls2.gamma"), &[width], scale)?;
        }
    }
    draw.norm(
        match spec.pooling {
            Pooling::ClassToken => "norm",
            Pooling::Mean => "fc_norm",
        },
        width,
    )?;
    draw.constant("head.weight", &[spec.classes, width], 0.0)?;
    draw.constant("head.bias", &[spec.classes], 0.0)?;
    Ok(draw.weights)
}

struct Draw {
    random: rand_pcg::Pcg64,
    weights: NamedArrays,
}

impl Draw {
    fn insert(
        &mut self,
        name: &str,
        shape: &[usize],
        mut value: impl FnMut(&mut rand_pcg::Pcg64) -> f32,
    ) -> Result<(), ModelError> {
        let count = shape.iter().product();
        let data = (0..count).map(|_| value(&mut self.random)).collect();
        Ok(self.weights.insert(name, shape, data)?)
    }

    fn normal(&mut self, name: &str, shape: &[usize], std: f32) -> Result<(), ModelError> {
        self.insert(name, shape, |random| {
            let unit: f32 = random.sample(StandardNormal);
            unit * std
        })
    }

    fn uniform(&mut self, name: &str, shape: &[usize], bound: f32) -> Result<(), ModelError> {
        self.insert(name, shape, |random| random.random_range(-bound..=bound))
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Result<(), ModelError> {
        self.insert(name, shape, |_| value)
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<(), ModelError> {
        self.normal(&format!("{name}.weight"), &[outputs, inputs], STD)?;
        self.constant(&format!("{name}.bias"), &[outputs], 0.0)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<(), ModelError> {
        self.constant(&format!("{name}.weight"), &[width], 1.0)?;
        self.constant(&format!("{name}.bias"), &[width], 0.0)
    }
}
