//! facebookresearch/mae: `models_mae.py` (pretraining) and `models_vit.py`
//! (fine-tuning), whose encoder has timm's names.

use super::{Place, timm};

pub(super) fn place(name: &str) -> Place {
    match name {
        "mask_token" => Place::Training,
        name if name.starts_with("decoder_") => Place::Training,
        name => timm::place(name),
    }
}
