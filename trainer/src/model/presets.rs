//! Sizes of Vision Transformers under their customary names.

use millsight_export::graph::{Pooling, VitSpec};

/// Named sizes, as in timm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Width 192, depth 12, heads 3: 5.5 million parameters.
    Tiny,
    /// Width 384, depth 12, heads 6: 22 million parameters.
    Small,
    /// Width 768, depth 12, heads 12: 86 million parameters.
    Base,
}

impl Preset {
    /// The sizes at 224 pixels with patches of 16 and class-token pooling.
    pub fn spec(self, classes: usize) -> VitSpec {
        let (width, heads) = match self {
            Self::Tiny => (192, 3),
            Self::Small => (384, 6),
            Self::Base => (768, 12),
        };
        VitSpec {
            image_height: 224,
            image_width: 224,
            patch: 16,
            width,
            depth: 12,
            heads,
            mlp_width: 4 * width,
            qkv_bias: true,
            layer_scale: false,
            pooling: Pooling::ClassToken,
            classes,
            layer_norm_epsilon: 1e-6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_known_numbers_of_parameters() {
        for (preset, parameters) in [
            (Preset::Tiny, 5_717_416),
            (Preset::Small, 22_050_664),
            (Preset::Base, 86_567_656),
        ] {
            let spec = preset.spec(1000);
            assert!(spec.check().is_ok());
            let elements = |(_, shape): (_, Vec<usize>)| shape.iter().product::<usize>();
            let all: usize = spec.parameters().into_iter().map(elements).sum();
            assert_eq!(all, parameters);
        }
    }
}
