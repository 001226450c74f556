//! Sizes of a Vision Transformer: presets and checks.

use millsight_export::graph::{Pooling, VitSpec};
use serde::{Deserialize, Serialize};

use super::ModelError;

/// Named sizes, as in timm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Width 192, depth 12, heads 3: 5.5 million parameters.
    Tiny,
    /// Width 384, depth 12, heads 6: 22 million parameters.
    Small,
    /// Width 768, depth 12, heads 12: 86 million parameters.
    Base,
}

/// A preset at 224 pixels with patches of 16 and class-token pooling.
pub fn preset(preset: Preset, classes: usize) -> VitSpec {
    let (width, heads) = match preset {
        Preset::Tiny => (192, 3),
        Preset::Small => (384, 6),
        Preset::Base => (768, 12),
    };
    VitSpec {
        image_size: [224, 224],
        patch_size: 16,
        width,
        depth: 12,
        heads,
        mlp_ratio: 4.0,
        qkv_bias: true,
        pooling: Pooling::ClassToken,
        classes,
        layer_norm_epsilon: 1e-6,
    }
}

/// Checks that the sizes fit one another.
///
/// # Errors
/// [`ModelError::Sizes`] with the values and the remedy.
pub fn check(spec: &VitSpec) -> Result<(), ModelError> {
    let VitSpec {
        image_size,
        patch_size,
        width,
        depth,
        heads,
        ..
    } = *spec;
    let problem = if [patch_size, width, depth, heads].contains(&0) {
        "patch, width, depth and heads must be above 0".to_owned()
    } else if let Some(side) = image_size
        .into_iter()
        .find(|&side| side == 0 || !side.is_multiple_of(patch_size))
    {
        let next = side.div_ceil(patch_size).max(1) * patch_size;
        format!("the image side {side} is not a multiple of the patch {patch_size}; use {next}")
    } else if !width.is_multiple_of(heads) {
        format!("the width {width} is not a multiple of the {heads} heads")
    } else if spec.hidden_width() == 0 {
        format!("the MLP ratio {} gives an empty MLP", spec.mlp_ratio)
    } else if spec.classes < 2 {
        format!("{} classes; at least two are needed", spec.classes)
    } else {
        return Ok(());
    };
    Err(ModelError::Sizes(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_fit() {
        for name in [Preset::Tiny, Preset::Small, Preset::Base] {
            assert!(check(&preset(name, 5)).is_ok());
        }
    }

    #[test]
    fn sizes_that_do_not_fit_name_a_remedy() {
        let spec = VitSpec {
            image_size: [224, 225],
            ..preset(Preset::Tiny, 5)
        };
        let message = check(&spec).map_err(|error| error.to_string());
        assert!(message.is_err_and(|message| message.contains("use 240")));
    }
}
