//! A network begins with the weights of a file, as far as they fit.

use std::path::Path;

use millsight_export::graph::VitSpec;
use millsight_export::weights::{NamedArray, NamedArrays};

use super::positions::{Convention, resample};
use crate::TrainError;

const POSITIONS: &str = "pos_embed";
const HEAD: &str = "head.";

/// What became of the weights of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Parameters of the network that keep their initial values, because the
    /// file has none.
    pub missing: Vec<String>,
    /// Arrays of the file for which the network has no place.
    pub unknown: Vec<String>,
    /// Parameters of the head that keep their initial values, because the
    /// file's head is for another number of classes.
    pub other_classes: Vec<String>,
    /// Grid of patches (rows, columns) from which positions were resampled.
    pub resampled_from: Option<[usize; 2]>,
}

/// Replaces initial weights by `given` ones with timm's names; `file` names
/// their origin in errors.
///
/// Position embeddings for another number of patches are resampled as timm
/// does; their grid is taken to be square. A head for another number of
/// classes is left out, and so is what the network has no place for: the
/// [`Adoption`] lists both.
///
/// # Errors
/// When nothing fits, or an array other than head and positions has another
/// shape than the network needs.
pub fn adopt(
    weights: &mut NamedArrays,
    network: &VitSpec,
    given: &NamedArrays,
    file: &Path,
) -> Result<Adoption, TrainError> {
    let mut given = given.clone();
    let misfit = |reason: String| TrainError::Initial {
        path: file.to_path_buf(),
        reason,
    };
    let mut adoption = Adoption::default();
    let grid = [
        network.image_height / network.patch,
        network.image_width / network.patch,
    ];
    let mut adopted = 0;
    for (name, shape) in network.parameters() {
        let Some(array) = given.remove(&name) else {
            adoption.missing.push(name);
            continue;
        };
        let array = if name == POSITIONS {
            let (array, from) = positions(array, grid, network.width).map_err(misfit)?;
            adoption.resampled_from = from;
            array
        } else {
            array
        };
        if array.shape != shape {
            if name.starts_with(HEAD) {
                adoption.other_classes.push(name);
                continue;
            }
            return Err(misfit(format!(
                "{name} has the shape {:?}, but the network needs {shape:?}; \
                 give the options of the network that the weights belong to",
                array.shape
            )));
        }
        weights.insert(name, array.shape, array.data)?;
        adopted += 1;
    }
    adoption.unknown = given.names().map(str::to_owned).collect();
    if adopted == 0 {
        return Err(misfit(format!(
            "none of its arrays has the name of a parameter; it holds {}",
            adoption.unknown.join(", ")
        )));
    }
    Ok(adoption)
}

/// Brings positions to a grid; says from which grid, where they were
/// resampled.
fn positions(
    array: NamedArray,
    grid: [usize; 2],
    width: usize,
) -> Result<(NamedArray, Option<[usize; 2]>), String> {
    let [1, tokens, length] = array.shape[..] else {
        return Err(format!(
            "{POSITIONS} has the shape {:?}, not [1, tokens, width]",
            array.shape
        ));
    };
    if tokens == 1 + grid[0] * grid[1] || length != width {
        return Ok((array, None));
    }
    let side = tokens.saturating_sub(1).isqrt();
    if side == 0 || side * side + 1 != tokens {
        return Err(format!(
            "{POSITIONS} has {tokens} tokens, which are not a class token and a square grid"
        ));
    }
    let from = [side, side];
    Ok((resample(&array, from, grid, Convention::Timm), Some(from)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::initial;
    use crate::model::presets::Preset;

    fn network(side: usize, classes: usize) -> VitSpec {
        VitSpec {
            image_height: side,
            image_width: side,
            depth: 1,
            width: 24,
            mlp_width: 24,
            ..Preset::Tiny.spec(classes)
        }
    }

    #[test]
    fn weights_of_the_same_network_are_taken_whole() {
        let spec = network(32, 5);
        let given = initial::vit(&spec, 1.0, 1).unwrap();
        let mut weights = initial::vit(&spec, 1.0, 2).unwrap();
        let adoption = adopt(&mut weights, &spec, &given, Path::new("given")).unwrap();
        assert_eq!(adoption, Adoption::default());
        assert_eq!(weights, given);
    }

    #[test]
    fn what_does_not_fit_is_listed() {
        let (small, large) = (network(32, 5), network(64, 3));
        let mut given = initial::vit(&small, 1.0, 1).unwrap();
        given.remove("cls_token");
        given.insert("mask_token", [1], vec![0.0]).unwrap();
        let before = initial::vit(&large, 1.0, 2).unwrap();
        let mut weights = before.clone();
        let adoption = adopt(&mut weights, &large, &given, Path::new("given")).unwrap();
        assert_eq!(adoption.missing, ["cls_token"]);
        assert_eq!(adoption.unknown, ["mask_token"]);
        assert_eq!(adoption.other_classes, ["head.weight", "head.bias"]);
        assert_eq!(adoption.resampled_from, Some([2, 2]));
        let shape = |name: &str| weights.require(name).unwrap().shape.clone();
        assert_eq!(shape(POSITIONS), [1, 17, 24]);
        assert_eq!(weights.get("head.weight"), before.get("head.weight"));
        assert_eq!(
            weights.get("blocks.0.attn.qkv.weight"),
            given.get("blocks.0.attn.qkv.weight")
        );
    }

    #[test]
    fn another_network_and_foreign_files_are_refused() {
        let spec = network(32, 5);
        let mut weights = initial::vit(&spec, 1.0, 2).unwrap();
        let other = VitSpec {
            width: 48,
            ..spec.clone()
        };
        let file = Path::new("given");
        let wide = initial::vit(&other, 1.0, 1).unwrap();
        let error = adopt(&mut weights, &spec, &wide, file).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cls_token has the shape [1, 1, 48]")
        );
        let mut foreign = NamedArrays::new();
        foreign
            .insert("model.0.conv.weight", [1], vec![1.0])
            .unwrap();
        let error = adopt(&mut weights, &spec, &foreign, file).unwrap_err();
        assert!(error.to_string().contains("model.0.conv.weight"));
    }
}
