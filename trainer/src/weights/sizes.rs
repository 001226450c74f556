//! The network that weights belong to.

use std::collections::BTreeSet;

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::{NamedArray, NamedArrays};

use super::layouts::block;

/// Length of a head in the networks that are published.
const HEAD: usize = 64;

/// Side of the images of the networks that are published, in pixels.
const IMAGE: usize = 224;

/// Sizes of a Vision Transformer as its weights show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Length of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Width of the hidden layer of the block's perceptron.
    pub mlp_width: usize,
    /// Whether query, key and value have a bias.
    pub qkv_bias: bool,
    /// Whether blocks scale what they add.
    pub layer_scale: bool,
    /// What the head looks at.
    pub pooling: Pooling,
    /// Rows and columns of patches that have a position.
    pub grid: Option<[usize; 2]>,
    /// Attention heads, which the weights themselves do not show: known of
    /// files that say it in their metadata.
    pub heads: Option<usize>,
    /// Height and width of the images, known like the heads.
    pub image: Option<[usize; 2]>,
    /// Classes of the head, where there is one.
    pub classes: Option<usize>,
}

impl Sizes {
    /// Reads the sizes off weights with timm's names; `stated` is what the
    /// file says of its network.
    ///
    /// # Errors
    /// A sentence without its subject, the file: when the shapes are not those
    /// of a Vision Transformer for three channels.
    pub fn of(weights: &NamedArrays, stated: Option<&VitSpec>) -> Result<Self, String> {
        let name = "patch_embed.proj.weight";
        let [width, channels, patch, across] = shape(weights, name)?;
        if channels != 3 {
            return Err(format!(
                "its projection of patches takes images of {channels} channel{}, but the network \
                 takes 3 (grey tiles are repeated); take weights of a network for colour images",
                if channels == 1 { "" } else { "s" }
            ));
        }
        if patch != across || patch == 0 || width == 0 {
            return Err(format!(
                "{name} has the shape {:?}; patches must be square",
                [width, channels, patch, across]
            ));
        }
        let [mlp_width, _] = shape(weights, "blocks.0.mlp.fc1.weight")?;
        let has = |name: &str| weights.get(name).is_some();
        let pooling = match has("fc_norm.weight") {
            true => Pooling::Mean,
            false => Pooling::ClassToken,
        };
        let positions = weights.get("pos_embed");
        Ok(Self {
            patch,
            width,
            depth: depth(weights)?,
            mlp_width,
            qkv_bias: has("blocks.0.attn.qkv.bias"),
            layer_scale: has("blocks.0.ls1.gamma"),
            pooling,
            grid: positions.map(|array| grid(array, stated)).transpose()?,
            heads: stated.map(|spec| spec.heads),
            image: stated.map(|spec| [spec.image_height, spec.image_width]),
            classes: weights
                .get("head.weight")
                .and_then(|head| head.shape.first().copied()),
        })
    }

    /// The network of these sizes. Without `heads` they are those that the
    /// file states, else of 64 channels each, as in every network that is
    /// published in these layouts; images are of the size that the file
    /// states, else of 224 pixels.
    ///
    /// # Errors
    /// A sentence without its subject, the file: when the heads are not known.
    pub fn network(&self, heads: Option<usize>, classes: usize) -> Result<VitSpec, String> {
        let usual = (self.width.is_multiple_of(HEAD)).then_some(self.width / HEAD);
        let heads = heads.or(self.heads).or(usual).ok_or_else(|| {
            format!(
                "it does not say how many attention heads its width of {} is divided into; \
                 give --heads",
                self.width
            )
        })?;
        let [image_height, image_width] = self.image.unwrap_or([IMAGE; 2]);
        Ok(VitSpec {
            image_height,
            image_width,
            patch: self.patch,
            width: self.width,
            depth: self.depth,
            heads,
            mlp_width: self.mlp_width,
            qkv_bias: self.qkv_bias,
            layer_scale: self.layer_scale,
            pooling: self.pooling,
            classes,
            layer_norm_epsilon: 1e-6,
        })
    }

    /// Checks that a network can begin with these weights: it may have another
    /// image size, pooling and head, and add LayerScale.
    ///
    /// # Errors
    /// A sentence without its subject, the file, with the options to give.
    pub fn check(&self, network: &VitSpec) -> Result<(), String> {
        let sizes = [
            ("patch", Some(self.patch), network.patch),
            ("width", Some(self.width), network.width),
            ("depth", Some(self.depth), network.depth),
            ("heads", self.heads, network.heads),
            ("MLP width", Some(self.mlp_width), network.mlp_width),
        ];
        let mut wrong: Vec<String> = sizes
            .iter()
            .filter_map(|(name, held, wanted)| {
                let held = held.filter(|held| held != wanted)?;
                Some(format!("{name} {held} instead of {wanted}"))
            })
            .collect();
        if self.layer_scale && !network.layer_scale {
            wrong.push("LayerScale".to_owned());
        }
        if self.qkv_bias != network.qkv_bias {
            let bias = if self.qkv_bias { "a" } else { "no" };
            wrong.push(format!("{bias} bias of query, key and value"));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!(
            "its network is another one: {}; leave out the options of the network, or give {}",
            wrong.join(", "),
            self.options()
        ))
    }

    /// The options of the command line that ask for this network.
    fn options(&self) -> String {
        let mut options = format!(
            "--patch {} --width {} --depth {}",
            self.patch, self.width, self.depth
        );
        if let Some(heads) = self
            .heads
            .or((self.width / HEAD > 0).then_some(self.width / HEAD))
        {
            options += &format!(" --heads {heads}");
        }
        if self.mlp_width != 4 * self.width {
            let ratio = mlp_ratio(self.width, self.mlp_width);
            options += &format!(" --mlp-ratio {ratio}");
        }
        if !self.qkv_bias {
            options += " --qkv-bias false";
        }
        if self.layer_scale {
            options += " --layer-scale 1";
        }
        options
    }
}

/// The ratio whose product with `width`, rounded down, is `mlp_width`.
fn mlp_ratio(width: usize, mlp_width: usize) -> f64 {
    let ratio = mlp_width as f64 / width as f64;
    if (width as f64 * ratio) as usize == mlp_width {
        ratio
    } else {
        (mlp_width as f64 + 0.5) / width as f64
    }
}

fn shape<const D: usize>(weights: &NamedArrays, name: &str) -> Result<[usize; D], String> {
    let array = weights
        .get(name)
        .ok_or_else(|| format!("it lacks {name}, which every Vision Transformer has"))?;
    let shape = array.shape.as_slice();
    shape
        .try_into()
        .map_err(|_| format!("{name} has the shape {shape:?}, not {D} dimensions"))
}

/// Number of blocks, which must be numbered without gaps.
fn depth(weights: &NamedArrays) -> Result<usize, String> {
    let numbers: BTreeSet<usize> = weights
        .names()
        .filter_map(|name| Some(block(name)?.0))
        .collect();
    let gap = (0..numbers.len()).find(|number| !numbers.contains(number));
    match gap {
        Some(gap) => Err(format!(
            "it has {} blocks, but none of the number {gap}; part of it is missing",
            numbers.len()
        )),
        None => Ok(numbers.len()),
    }
}

/// Rows and columns of patches: those that the file states, else of a square.
fn grid(positions: &NamedArray, stated: Option<&VitSpec>) -> Result<[usize; 2], String> {
    let [1, tokens, _] = positions.shape[..] else {
        return Err(format!(
            "pos_embed has the shape {:?}, not [1, tokens, width]",
            positions.shape
        ));
    };
    let patches = tokens.saturating_sub(1);
    let stated = stated
        .map(|spec| {
            [
                spec.image_height / spec.patch.max(1),
                spec.image_width / spec.patch.max(1),
            ]
        })
        .filter(|[rows, columns]| patches > 0 && rows * columns == patches);
    let side = patches.isqrt();
    let square = (side > 0 && side * side == patches).then_some([side, side]);
    stated.or(square).ok_or_else(|| {
        format!(
            "pos_embed has {tokens} tokens, which are not a class token and a square of patches"
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_recommended_ratio_gives_the_width_again() {
        for width in 1..200_usize {
            for mlp_width in 1..800_usize {
                let given: f64 = mlp_ratio(width, mlp_width).to_string().parse().unwrap();
                assert_eq!((width as f64 * given) as usize, mlp_width, "of {width}");
            }
        }
        assert_eq!(mlp_ratio(8, 16), 2.0);
    }

    #[test]
    fn a_file_without_patches_is_refused() {
        let positions = NamedArray {
            shape: vec![1, 1, 4],
            data: vec![0.0; 4],
        };
        let stated = VitSpec {
            image_height: 0,
            ..crate::model::presets::Preset::Tiny.spec(2)
        };
        let message = grid(&positions, Some(&stated)).unwrap_err();
        assert!(message.contains("1 tokens"), "{message}");
    }
}
