//! What the manifests of Vision Transformers expect.

use std::collections::BTreeMap;

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_trainer::weights::positions::{Convention, resample};

use super::{GoldenCase, TensorEntry, cases, folder};

/// Something that a forward pass gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Class and patch tokens with positions.
    Embedded,
    /// Tokens after the first block.
    FirstBlock,
    /// Tokens after the last block and its norm.
    Tokens,
    /// What the head sees.
    Pooled,
    /// The scores.
    Logits,
}

/// What an expected tensor of a Vision Transformer is. A test that checks one
/// kind leaves the others to those that check them, so every expectation is
/// checked or unknown, and then all fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Given by a forward pass on `input`, or on `input_HxW`: images of that
    /// height and width, with resampled positions.
    Forward(Step, Option<[usize; 2]>),
    /// The position embedding for another size of image.
    Positions([usize; 2], Convention),
}

impl Expectation {
    /// Reads the name of an expected tensor, for example `logits`,
    /// `logits_48x32` or `out_48x32_antialias1`.
    ///
    /// # Panics
    /// When the name means nothing to any test.
    pub fn of(case: &GoldenCase, entry: &TensorEntry) -> Self {
        Self::read(&entry.name).unwrap_or_else(|| case.unknown(&entry.name))
    }

    fn read(name: &str) -> Option<Self> {
        if let Some(positions) = name.strip_prefix("out_") {
            let (size, antialias) = positions.split_once("_antialias")?;
            let convention = match antialias {
                "1" => Convention::Timm,
                "0" => Convention::Mae,
                _ => return None,
            };
            return Some(Self::Positions(pixels(size)?, convention));
        }
        let (name, size) = match name.rsplit_once('_') {
            Some((name, size)) if pixels(size).is_some() => (name, pixels(size)),
            _ => (name, None),
        };
        let step = match name {
            "after_pos_embed" => Step::Embedded,
            "after_block0" => Step::FirstBlock,
            "tokens" => Step::Tokens,
            "cls" => Step::Pooled,
            "logits" => Step::Logits,
            _ => return None,
        };
        Some(Self::Forward(step, size))
    }
}

/// Height and width from `HxW`.
pub fn pixels(size: &str) -> Option<[usize; 2]> {
    let (height, width) = size.split_once('x')?;
    Some([height.parse().ok()?, width.parse().ok()?])
}

/// A plain number that a manifest states of a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Number of elements in all weights together.
    Parameters(usize),
    /// Median over all tokens of their variance before the first block.
    TokenVariance(f64),
}

/// One forward pass of a case.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The case.
    pub case: GoldenCase,
    /// The network's dimensions.
    pub spec: VitSpec,
    /// Its weights, positions fitting the input.
    pub weights: NamedArrays,
    /// Images, `[n, 3, height, width]`.
    pub input: NamedArray,
    /// What comes out, with the tensors' names.
    pub expected: Vec<(Step, String)>,
    /// What else is known of the network.
    pub scalars: Vec<Scalar>,
}

impl Forward {
    /// Name of the expected scores, where the case has some.
    pub fn logits(&self) -> Option<&str> {
        let mut expected = self.expected.iter();
        let logits = expected.find(|(step, _)| *step == Step::Logits);
        logits.map(|(_, name)| name.as_str())
    }
}

/// All forward passes of all cases.
///
/// # Panics
/// When a case expects something that no test checks, or lacks what its
/// forward passes need.
pub fn forwards() -> Vec<Forward> {
    let mut forwards = Vec::new();
    for case in cases("vit") {
        let mut by_size: BTreeMap<Option<[usize; 2]>, Vec<(Step, String)>> = BTreeMap::new();
        for entry in case.expected() {
            if let Expectation::Forward(step, size) = Expectation::of(&case, entry) {
                by_size
                    .entry(size)
                    .or_default()
                    .push((step, entry.name.clone()));
            }
        }
        let scalars = scalars(&case);
        assert!(
            scalars.is_empty() || !by_size.is_empty(),
            "{} states numbers of a network that it does not run",
            case.manifest.case
        );
        for (size, expected) in by_size {
            forwards.push(forward(&case, size, expected, scalars.clone()));
        }
    }
    forwards
}

fn forward(
    case: &GoldenCase,
    size: Option<[usize; 2]>,
    expected: Vec<(Step, String)>,
    scalars: Vec<Scalar>,
) -> Forward {
    let mut weights = weights(case);
    let input = match size {
        Some([height, width]) => case.array(&format!("input_{height}x{width}")),
        None => case.array("input"),
    };
    let &[_, _, height, width] = input.shape.as_slice() else {
        panic!("{}: the input is no batch of images", case.manifest.case)
    };
    let spec = spec(case, &weights, [height, width]);
    if size.is_some() {
        let positions = weights.remove("pos_embed").expect("positions");
        let from = grid(case, &positions, spec.patch);
        let to = [height / spec.patch, width / spec.patch];
        let fitting = resample(&positions, from, to, Convention::Timm);
        weights
            .insert("pos_embed", fitting.shape, fitting.data)
            .expect("a whole array");
    }
    Forward {
        case: case.clone(),
        spec,
        weights,
        input,
        expected,
        scalars,
    }
}

/// Rows and columns of patches that a position embedding is for: those of the
/// images of `config.img`, else of a square.
pub fn grid(case: &GoldenCase, positions: &NamedArray, patch: usize) -> [usize; 2] {
    let side = match case.manifest.config["img"].as_u64() {
        Some(side) => side as usize / patch,
        None => (positions.shape[1] - 1).isqrt(),
    };
    [side, side]
}

/// The case's weights, or those of the case that its tensors name: "weights of
/// KIND/NAME".
fn weights(case: &GoldenCase) -> NamedArrays {
    if let Some(weights) = case.weights() {
        return weights;
    }
    let named = case.expected().find_map(|entry| {
        let (_, name) = entry.meaning.split_once("weights of ")?;
        name.split([' ', ',', ';']).next()
    });
    let name = named.unwrap_or_else(|| panic!("{} has no weights", case.manifest.case));
    let other = GoldenCase::load(&folder().join(name));
    other
        .weights()
        .unwrap_or_else(|| panic!("{name} has no weights either"))
}

fn scalars(case: &GoldenCase) -> Vec<Scalar> {
    let Some(scalars) = case.manifest.scalars.as_object() else {
        return Vec::new();
    };
    let read = |(name, value): (&String, &serde_json::Value)| {
        let known = match name.as_str() {
            "param_count" => value
                .as_u64()
                .map(|count| Scalar::Parameters(count as usize)),
            "median_token_variance_before_block0" => value.as_f64().map(Scalar::TokenVariance),
            _ => None,
        };
        known.unwrap_or_else(|| case.unknown(name))
    };
    scalars.iter().map(read).collect()
}

/// Dimensions of the case's network for images of a height and width, read off
/// its weights and `config`: timm's models without `config.heads` have heads
/// of width 64.
fn spec(case: &GoldenCase, weights: &NamedArrays, [height, width]: [usize; 2]) -> VitSpec {
    let config = &case.manifest.config;
    let shape = |name: &str| weights.require(name).expect("a ViT's weight").shape.clone();
    let embedding = shape("patch_embed.proj.weight");
    let depth = weights
        .names()
        .filter(|name| name.ends_with(".attn.qkv.weight"))
        .count();
    VitSpec {
        image_height: height,
        image_width: width,
        patch: embedding[2],
        width: embedding[0],
        depth,
        heads: config["heads"]
            .as_u64()
            .map_or(embedding[0] / 64, |heads| heads as usize),
        mlp_width: shape("blocks.0.mlp.fc1.weight")[0],
        qkv_bias: weights.get("blocks.0.attn.qkv.bias").is_some(),
        layer_scale: weights.get("blocks.0.ls1.gamma").is_some(),
        pooling: match weights.get("fc_norm.weight") {
            Some(_) => Pooling::Mean,
            None => Pooling::ClassToken,
        },
        classes: shape("head.weight")[0],
        layer_norm_epsilon: config["ln_eps"].as_f64().unwrap_or(1e-6) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_or_refused() {
        let forward = |step, size| Some(Expectation::Forward(step, size));
        for (name, expected) in [
            ("logits", forward(Step::Logits, None)),
            ("logits_32x48", forward(Step::Logits, Some([32, 48]))),
            ("cls_8x8", forward(Step::Pooled, Some([8, 8]))),
            ("after_block0", forward(Step::FirstBlock, None)),
            (
                "out_16x24_antialias0",
                Some(Expectation::Positions([16, 24], Convention::Mae)),
            ),
            ("after_block1", None),
            ("out_16x24_antialias2", None),
            ("logits_axb", None),
            ("attention", None),
        ] {
            assert_eq!(Expectation::read(name), expected, "{name}");
        }
    }

    fn case(manifest: serde_json::Value) -> GoldenCase {
        GoldenCase {
            folder: folder(),
            manifest: serde_json::from_value(manifest).expect("a manifest"),
        }
    }

    #[test]
    #[should_panic(expected = "vit/new expects `attention`, which no test checks")]
    fn an_expected_tensor_that_no_test_checks_is_a_failure() {
        let case = case(serde_json::json!({
            "case": "vit/new", "config": {}, "tensors": [{
                "name": "attention", "file": "t.safetensors", "shape": [1], "role": "expected",
            }],
        }));
        case.expected().for_each(|entry| {
            Expectation::of(&case, entry);
        });
    }

    #[test]
    #[should_panic(expected = "vit/new expects `flops`, which no test checks")]
    fn an_expected_number_that_no_test_checks_is_a_failure() {
        let case = case(serde_json::json!({
            "case": "vit/new", "config": {}, "tensors": [],
            "scalars": { "param_count": 7, "flops": 9 },
        }));
        scalars(&case);
    }
}
