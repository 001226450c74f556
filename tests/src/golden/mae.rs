//! What the manifests of masked autoencoders expect.

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::NamedArrays;
use millsight_trainer::model::mae::{DecoderSpec, MaeSpec};
use serde_json::Value;

use super::{GoldenCase, TensorEntry};

/// What a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A masked autoencoder with stored or computed weights.
    Network,
    /// Tables of small functions.
    Tables,
    /// Weights that other cases share, and which of them decay.
    Weights,
    /// A classifier that begins with an encoder: checked with the imported
    /// checkpoints.
    Classifier,
}

impl Kind {
    /// The kind of a case.
    ///
    /// # Panics
    /// When it means nothing to any test.
    pub fn of(case: &GoldenCase) -> Self {
        let config = &case.manifest.config;
        let scalar = |name: &str| !case.manifest.scalars[name].is_null();
        if !config["norm_pix_loss"].is_null() {
            Self::Network
        } else if !config["num_classes"].is_null() {
            Self::Classifier
        } else if scalar("frozen") {
            Self::Weights
        } else if scalar("lr_sched") {
            Self::Tables
        } else {
            panic!("{} is of no known kind", case.manifest.case)
        }
    }
}

/// What an expected tensor of a [`Kind::Network`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Of each patch 1 when it is removed.
    Mask,
    /// Of each patch its place in the shuffled order.
    Restore,
    /// What the encoder gives.
    Latent,
    /// Its class token.
    LatentClass,
    /// What is to be predicted of all patches.
    Target,
    /// What is predicted of all patches.
    Prediction,
    /// The loss.
    Loss,
    /// The losses before each step and after the last.
    Losses,
    /// The gradient of the parameter of this name.
    Gradient,
    /// The parameter of this name after the steps.
    Stepped,
}

impl Expectation {
    /// Reads what is expected off the file and the name of a tensor.
    ///
    /// # Panics
    /// When they mean nothing to any test.
    pub fn of(case: &GoldenCase, entry: &TensorEntry) -> Self {
        Self::read(&entry.file, &entry.name).unwrap_or_else(|| case.unknown(&entry.name))
    }

    fn read(file: &str, name: &str) -> Option<Self> {
        match (file, name) {
            ("grads.safetensors", _) => Some(Self::Gradient),
            ("after3.safetensors", _) => Some(Self::Stepped),
            (_, "mask") => Some(Self::Mask),
            (_, "ids_restore") => Some(Self::Restore),
            (_, "latent") => Some(Self::Latent),
            (_, "latent_cls") => Some(Self::LatentClass),
            (_, "target") => Some(Self::Target),
            (_, "pred") => Some(Self::Prediction),
            (_, "loss") => Some(Self::Loss),
            (_, "losses") => Some(Self::Losses),
            _ => None,
        }
    }
}

/// The expected plain numbers of a case, each with its name.
pub fn scalars(case: &GoldenCase) -> impl Iterator<Item = (&str, &Value)> {
    let scalars = case.manifest.scalars.as_object().into_iter().flatten();
    scalars.map(|(name, value)| (name.as_str(), value))
}

/// Sizes of the case's network, as `config` states them or the name of an
/// official model means them.
pub fn spec(case: &GoldenCase) -> MaeSpec {
    let config = &case.manifest.config;
    let [side, patch, width, depth, heads, mlp_ratio] = match config["model"].as_str() {
        Some("mae_vit_base_patch16") => [224, 16, 768, 12, 12, 4],
        Some(other) => panic!("{}: unknown model {other}", case.manifest.case),
        None => ["img", "patch", "embed", "depth", "heads", "mlp_ratio"].map(|size| {
            let value = config[size].as_u64();
            value.unwrap_or_else(|| panic!("{}: config.{size}", case.manifest.case)) as usize
        }),
    };
    let encoder = VitSpec {
        image_height: side,
        image_width: side,
        patch,
        width,
        depth,
        heads,
        mlp_width: mlp_ratio * width,
        qkv_bias: true,
        layer_scale: false,
        pooling: Pooling::ClassToken,
        classes: 1,
        layer_norm_epsilon: config["ln_eps"].as_f64().unwrap_or(1e-6) as f32,
    };
    let decoder = match config["decoder_embed"].as_u64() {
        Some(width) => {
            let size = |name: &str| config[name].as_u64().expect("a size of the decoder") as usize;
            DecoderSpec {
                width: width as usize,
                depth: size("decoder_depth"),
                heads: size("decoder_heads"),
            }
        }
        None => DecoderSpec::proportional_to(&encoder),
    };
    MaeSpec { encoder, decoder }
}

/// The case's weights; positions are those that `positions` gives (width,
/// rows, columns) where the case has none.
pub fn weights(
    case: &GoldenCase,
    positions: impl Fn(usize, usize, usize) -> Vec<f32>,
) -> NamedArrays {
    let mut weights = case.weights().expect("weights");
    let spec = spec(case);
    let [rows, columns] = spec.grid();
    for (name, width) in [
        ("pos_embed", spec.encoder.width),
        ("decoder_pos_embed", spec.decoder.width),
    ] {
        if weights.get(name).is_none() {
            let shape = [1, 1 + rows * columns, width];
            weights
                .insert(name, shape, positions(width, rows, columns))
                .expect("whole positions");
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(manifest: Value) -> GoldenCase {
        GoldenCase {
            folder: crate::golden::folder(),
            manifest: serde_json::from_value(manifest).expect("a manifest"),
        }
    }

    #[test]
    #[should_panic(expected = "mae/new expects `attention`, which no test checks")]
    fn an_expected_tensor_that_no_test_checks_is_a_failure() {
        let case = case(serde_json::json!({
            "case": "mae/new", "config": { "norm_pix_loss": true }, "tensors": [{
                "name": "attention", "file": "t.safetensors", "shape": [1], "role": "expected",
            }],
        }));
        case.expected().for_each(|entry| {
            Expectation::of(&case, entry);
        });
    }

    #[test]
    #[should_panic(expected = "mae/odd is of no known kind")]
    fn a_case_that_no_test_checks_is_a_failure() {
        Kind::of(&case(serde_json::json!({
            "case": "mae/odd", "config": {}, "tensors": [],
        })));
    }
}
