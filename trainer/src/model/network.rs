//! Which network a run trains.

use millsight_export::graph::{ScreenSpec, VitSpec, YoloClsSpec};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::data::table::Table;

/// A network with its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture")]
pub enum Network {
    /// A Vision Transformer.
    #[serde(rename = "vit")]
    Vit(VitSpec),
    /// A convolutional network in the manner of YOLOv8-cls, size n.
    #[serde(rename = "yolo-cls-n")]
    YoloCls(YoloClsSpec),
    /// A small convolutional network that tells only whether there is a defect.
    #[serde(rename = "screen")]
    Screen(ScreenSpec),
}

impl Network {
    /// The name of the architecture, as in `--arch` and in the model card.
    pub fn architecture(&self) -> &'static str {
        match self {
            Self::Vit(_) => "vit",
            Self::YoloCls(_) => "yolo-cls-n",
            Self::Screen(_) => "screen",
        }
    }

    /// Height and width of the input in pixels.
    pub fn image_size(&self) -> [usize; 2] {
        match self {
            Self::Vit(spec) => [spec.image_height, spec.image_width],
            Self::YoloCls(spec) => [spec.image_height, spec.image_width],
            Self::Screen(spec) => [spec.image_height, spec.image_width],
        }
    }

    /// Name and shape of every parameter that is learnt.
    pub fn learnt(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Vit(spec) => spec.parameters(),
            Self::YoloCls(spec) => spec.learnt(),
            Self::Screen(spec) => spec.learnt(),
        }
    }

    /// Whether it has batch norms, which need more than one tile at a time.
    pub fn has_batch_norms(&self) -> bool {
        !matches!(self, Self::Vit(_))
    }

    /// Names the tiles of a table as the network tells them apart: a screen
    /// knows one kind of defect.
    pub fn relabel(&self, table: &mut Table) {
        if let Self::Screen(_) = self {
            table.unite_defects();
        }
    }

    /// The sizes of the Vision Transformer that `option` needs.
    ///
    /// # Errors
    /// When the network is another one.
    pub fn vit(&self, option: &'static str) -> Result<&VitSpec, TrainError> {
        match self {
            Self::Vit(spec) => Ok(spec),
            Self::YoloCls(_) | Self::Screen(_) => Err(TrainError::NeedsVit { option }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::presets::Preset;

    #[test]
    fn networks_keep_their_sizes_and_are_told_apart_by_name() {
        let sizes = YoloClsSpec {
            image_height: 224,
            image_width: 192,
            classes: 5,
        };
        for network in [
            Network::Vit(Preset::Tiny.spec(5)),
            Network::YoloCls(sizes.clone()),
            Network::Screen(ScreenSpec {
                image_height: 512,
                image_width: 512,
                stem: 8,
                widths: vec![16, 32],
                classes: 2,
            }),
        ] {
            let json = serde_json::to_value(&network).unwrap();
            assert_eq!(json["architecture"], network.architecture());
            let read: Network = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(read, network);
            let mut other = json;
            other["fields"] = 3.into();
            assert!(serde_json::from_value::<Network>(other).is_err());
        }
        let network = Network::YoloCls(sizes);
        assert_eq!(network.image_size(), [224, 192]);
        let refused = network.vit("--patch").unwrap_err().to_string();
        assert!(refused.starts_with("--patch needs a Vision Transformer"));
    }
}
