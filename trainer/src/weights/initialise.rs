//! A network begins with the weights of a file, as far as they fit.

use std::collections::HashSet;

use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use serde::Serialize;

use super::backbone::Backbone;
use super::positions::resample;
use crate::TrainError;
use crate::model::mae::{DECODER_POSITIONS, is_of_decoder};

const POSITIONS: &str = "pos_embed";
const HEAD: &str = "head.";
/// The norms of which a network has the one that its pooling needs.
const NORMS: [&str; 2] = ["norm.", "fc_norm."];

/// What became of the weights of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Adoption {
    /// Whose names the file has, and in which part of it the network lay.
    pub recognised: String,
    /// Parameters of the network that keep their initial values, because the
    /// file has none.
    pub missing: Vec<String>,
    /// Arrays of the file that mean nothing here.
    pub unknown: Vec<String>,
    /// Arrays of the file that only its own training or another pooling needs.
    pub not_needed: Vec<String>,
    /// Parameters of the head that keep their initial values, because the
    /// file's head is for other classes, or for the same in another order.
    pub other_classes: Vec<String>,
    /// Arrays of the file's decoder, with their names in the file, that keep
    /// their initial values, because the decoder has other sizes.
    pub other_decoder: Vec<String>,
    /// Whether a head was taken of which the file does not say what its classes
    /// are.
    pub unnamed_classes: bool,
    /// The head of the file, where it has one.
    #[serde(skip)]
    pub head: Vec<String>,
    /// Grid of patches (rows, columns) from which positions were resampled.
    pub resampled_from: Option<[usize; 2]>,
    /// Whether they were resampled as the program does whose file it seems to
    /// be, though it might be timm's.
    pub guessed_convention: bool,
}

impl Adoption {
    /// For a method that takes no head from a file: the file's head, whatever
    /// its classes, is not needed.
    pub fn leave_out_head(&mut self) {
        self.other_classes.clear();
        self.unnamed_classes = false;
        self.unknown.retain(|name| !self.head.contains(name));
        self.not_needed.extend(self.head.iter().cloned());
    }
}

/// The weights of a file that a network can begin with, and what became of the
/// others.
///
/// Position embeddings for another grid of patches are resampled as the
/// program that wrote the file does. A head is left out when its classes are
/// others than `classes`, the names of the network's own in their order; where
/// these or those of the file are not known, when their number is another.
///
/// # Errors
/// When the file is of another network, or an array has another shape than the
/// sizes of its network ask for.
pub fn fit(
    network: &VitSpec,
    classes: Option<&[String]>,
    backbone: &Backbone,
) -> Result<(NamedArrays, Adoption), TrainError> {
    backbone.check(network)?;
    let mut adoption = Adoption {
        recognised: match backbone.prefix.trim_end_matches('.') {
            "" => backbone.layout.title().to_owned(),
            part => format!("{}, {part}", backbone.layout.title()),
        },
        not_needed: backbone.not_needed.clone(),
        unknown: backbone.unknown.clone(),
        head: backbone
            .weights
            .names()
            .filter(|name| name.starts_with(HEAD))
            .map(str::to_owned)
            .collect(),
        ..Adoption::default()
    };
    let grid = [
        network.image_height / network.patch,
        network.image_width / network.patch,
    ];
    let other_classes = match (classes, &backbone.classes) {
        (Some(classes), Some(learnt)) => classes != learnt,
        _ => false,
    };
    let parameters = network.parameters();
    let mut fitting = NamedArrays::new();
    for (name, shape) in parameters.clone() {
        let Some(mut array) = backbone.weights.get(&name).cloned() else {
            adoption.missing.push(name);
            continue;
        };
        if let (POSITIONS, Some(from)) = (name.as_str(), backbone.sizes.grid)
            && from != grid
            && array.shape[2] == network.width
        {
            array = resample(&array, from, grid, backbone.layout.convention());
            adoption.resampled_from = Some(from);
            adoption.guessed_convention = backbone.guessed;
        }
        let of_head = name.starts_with(HEAD);
        if of_head && (other_classes || array.shape != shape) {
            adoption.other_classes.push(name);
            continue;
        }
        if array.shape != shape {
            return Err(backbone.misfit(format!(
                "{name} has the shape {:?}, but its network needs {shape:?}",
                array.shape
            )));
        }
        adoption.unnamed_classes |= of_head && classes.is_some() && backbone.classes.is_none();
        fitting.insert(name, array.shape, array.data)?;
    }
    let known: HashSet<String> = parameters.into_iter().map(|(name, _)| name).collect();
    for name in backbone
        .weights
        .names()
        .filter(|name| !known.contains(*name))
    {
        let other_pooling = NORMS.iter().any(|norm| name.starts_with(norm));
        let list = match other_pooling {
            true => &mut adoption.not_needed,
            false => &mut adoption.unknown,
        };
        list.push(name.to_owned());
    }
    Ok((fitting, adoption))
}

/// Replaces initial weights by those of a file, where they [`fit`].
///
/// # Errors
/// As [`fit`].
pub fn adopt(
    weights: &mut NamedArrays,
    network: &VitSpec,
    classes: &[String],
    backbone: &Backbone,
) -> Result<Adoption, TrainError> {
    let (fitting, mut adoption) = fit(network, Some(classes), backbone)?;
    for (name, array) in fitting.iter() {
        weights.insert(name, array.shape.clone(), array.data.clone())?;
    }
    adopt_decoder(weights, backbone, &mut adoption)?;
    Ok(adoption)
}

/// A masked autoencoder that goes on takes the decoder too, whole or not at all.
/// Its positions follow from its sizes and stay.
fn adopt_decoder(
    weights: &mut NamedArrays,
    backbone: &Backbone,
    adoption: &mut Adoption,
) -> Result<(), TrainError> {
    let learnt = |name: &&str| is_of_decoder(name) && *name != DECODER_POSITIONS;
    let own: Vec<String> = weights.names().filter(learnt).map(str::to_owned).collect();
    if own.is_empty() || backbone.decoder.is_empty() {
        return Ok(());
    }
    let is_of_file = |name: &String| {
        let within = name.strip_prefix(&backbone.prefix);
        within.is_some_and(|name| backbone.decoder.get(name).is_some())
    };
    let (decoder, rest) = std::mem::take(&mut adoption.not_needed)
        .into_iter()
        .partition(is_of_file);
    adoption.not_needed = rest;
    let shape =
        |arrays: &NamedArrays, name: &str| arrays.get(name).map(|array| array.shape.clone());
    let fits = own
        .iter()
        .all(|name| shape(&backbone.decoder, name) == shape(weights, name));
    let of_file = backbone.decoder.names().filter(learnt).count();
    if !fits || of_file != own.len() {
        adoption.other_decoder = decoder;
        return Ok(());
    }
    for name in &own {
        let array = backbone.decoder.require(name)?;
        weights.insert(name, array.shape.clone(), array.data.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::path::Path;

    use millsight_export::graph::Pooling;

    use super::*;
    use crate::model::initial;
    use crate::model::mae::{self, DecoderSpec, MaeSpec};
    use crate::model::presets::Preset;
    use crate::weights::backbone::{CLASSES, NETWORK};
    use crate::weights::file::WeightsFile;

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

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}")).collect()
    }

    fn backbone(arrays: NamedArrays) -> Backbone {
        Backbone::of(WeightsFile::of_arrays(Path::new("given"), arrays)).unwrap()
    }

    #[test]
    fn weights_of_the_same_network_are_taken_whole() {
        let spec = network(32, 5);
        let given = initial::vit(&spec, 1.0, 1).unwrap();
        let mut weights = initial::vit(&spec, 1.0, 2).unwrap();
        let adoption = adopt(&mut weights, &spec, &names(5), &backbone(given.clone())).unwrap();
        let expected = Adoption {
            recognised: "timm's names".to_owned(),
            unnamed_classes: true,
            head: vec!["head.bias".to_owned(), "head.weight".to_owned()],
            ..Adoption::default()
        };
        assert_eq!(adoption, expected);
        assert_eq!(weights, given);
    }

    /// As many classes are not yet the same classes, and their order matters.
    #[test]
    fn a_head_is_taken_for_its_own_classes_alone() {
        let spec = network(32, 3);
        let mut given = initial::vit(&spec, 1.0, 1).unwrap();
        given.insert("head.bias", [3], vec![1.0; 3]).unwrap();
        for (key, value) in [
            (NETWORK, serde_json::to_string(&spec).unwrap()),
            (CLASSES, serde_json::to_string(&names(3)).unwrap()),
        ] {
            given.metadata.insert(key.to_owned(), value);
        }
        let given = backbone(given);
        let other_order: Vec<String> = names(3).into_iter().rev().collect();
        for (classes, taken) in [(names(3), true), (other_order, false)] {
            let mut weights = initial::vit(&spec, 1.0, 2).unwrap();
            let adoption = adopt(&mut weights, &spec, &classes, &given).unwrap();
            let bias = [if taken { 1.0 } else { 0.0 }; 3];
            assert_eq!(weights.get("head.bias").unwrap().data, bias);
            assert_eq!(adoption.other_classes.is_empty(), taken);
            assert!(!adoption.unnamed_classes);
        }
    }

    /// Whether the network has a head of its own, as when probing, or none, as
    /// when pretraining.
    #[test]
    fn a_head_that_is_not_needed_is_listed_once() {
        let with_head = initial::vit(&network(32, 3), 1.0, 1).unwrap();
        let mut without = with_head.clone();
        for name in ["head.weight", "head.bias"] {
            without.remove(name);
        }
        for spec in [network(32, 3), network(32, 3).backbone()] {
            for (given, listed) in [(&with_head, 2), (&without, 0)] {
                let (_, mut adoption) = fit(&spec, None, &backbone(given.clone())).unwrap();
                adoption.leave_out_head();
                assert_eq!(adoption.not_needed.len(), listed);
                assert!(adoption.unknown.is_empty());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_listed() {
        let (small, large) = (network(32, 5), network(64, 3));
        let mut given = initial::vit(&small, 1.0, 1).unwrap();
        given.remove("cls_token");
        given.insert("temperature", [1], vec![0.0]).unwrap();
        let before = initial::vit(&large, 1.0, 2).unwrap();
        let mut weights = before.clone();
        let adoption = adopt(&mut weights, &large, &names(3), &backbone(given.clone())).unwrap();
        assert_eq!(adoption.missing, ["cls_token"]);
        assert_eq!(adoption.unknown, ["temperature"]);
        assert_eq!(adoption.other_classes, ["head.weight", "head.bias"]);
        assert_eq!(adoption.resampled_from, Some([2, 2]));
        assert!(!adoption.guessed_convention && !adoption.unnamed_classes);
        let shape = |name: &str| weights.require(name).unwrap().shape.clone();
        assert_eq!(shape(POSITIONS), [1, 17, 24]);
        assert_eq!(weights.get("head.weight"), before.get("head.weight"));
        assert_eq!(
            weights.get("blocks.0.attn.qkv.weight"),
            given.get("blocks.0.attn.qkv.weight")
        );
    }

    /// A decoder of the same sizes goes on learning, another one is left out.
    #[test]
    fn a_decoder_is_taken_whole_or_not_at_all() {
        let encoder = network(32, 5);
        let decoder = |depth| DecoderSpec {
            width: 16,
            depth,
            heads: 2,
        };
        let weights = |depth, seed| {
            let spec = MaeSpec {
                encoder: encoder.clone(),
                decoder: decoder(depth),
            };
            mae::initial::weights(&spec, 1.0, seed).unwrap()
        };
        let given = backbone(weights(1, 1));
        let mut own = weights(1, 2);
        let adoption = adopt(&mut own, &encoder, &names(5), &given).unwrap();
        assert!(adoption.not_needed.is_empty() && adoption.other_decoder.is_empty());
        for name in ["mask_token", "decoder_blocks.0.attn.qkv.weight"] {
            assert_eq!(own.get(name), given.decoder.get(name), "{name}");
        }
        let mut deeper = weights(2, 2);
        let adoption = adopt(&mut deeper, &encoder, &names(5), &given).unwrap();
        assert!(adoption.not_needed.is_empty());
        let listed = |name: &str| adoption.other_decoder.iter().any(|other| other == name);
        assert!(listed("mask_token") && listed("decoder_blocks.0.attn.qkv.weight"));
        assert_eq!(deeper.get("mask_token"), weights(2, 2).get("mask_token"));
    }

    /// As MAE fine-tunes: the norm of the class token makes room for one of
    /// the mean. LayerScale may be added too.
    #[test]
    fn a_network_may_pool_otherwise_and_scale() {
        let spec = network(32, 5);
        let given = backbone(initial::vit(&spec, 1.0, 1).unwrap());
        let other = VitSpec {
            pooling: Pooling::Mean,
            layer_scale: true,
            ..spec
        };
        let mut weights = initial::vit(&other, 1e-5, 2).unwrap();
        let adoption = adopt(&mut weights, &other, &names(5), &given).unwrap();
        assert_eq!(
            adoption.missing,
            [
                "blocks.0.ls1.gamma",
                "blocks.0.ls2.gamma",
                "fc_norm.weight",
                "fc_norm.bias"
            ]
        );
        assert_eq!(adoption.not_needed, ["norm.bias", "norm.weight"]);
        assert_eq!(weights.get("blocks.0.ls1.gamma").unwrap().data, [1e-5; 24]);
    }

    #[test]
    fn positions_of_a_rectangle_are_resampled_when_the_file_states_it() {
        let spec = VitSpec {
            image_height: 64,
            image_width: 16,
            ..network(32, 5)
        };
        let mut given = initial::vit(&spec, 1.0, 1).unwrap();
        let stated = serde_json::to_string(&spec).unwrap();
        given.metadata.insert(NETWORK.to_owned(), stated);
        let given = backbone(given);
        assert_eq!(given.sizes.grid, Some([4, 1]));
        let (fitting, adoption) = fit(&network(32, 5), None, &given).unwrap();
        assert_eq!(adoption.resampled_from, Some([4, 1]));
        assert_ne!(fitting.get(POSITIONS), given.weights.get(POSITIONS));
    }

    #[test]
    fn an_array_of_another_shape_is_named() {
        let spec = network(32, 5);
        let mut given = initial::vit(&spec, 1.0, 1).unwrap();
        given
            .insert("blocks.0.norm1.bias", [2], vec![0.0; 2])
            .unwrap();
        let error = fit(&spec, None, &backbone(given)).unwrap_err().to_string();
        assert!(
            error.contains(
                "given: blocks.0.norm1.bias has the shape [2], but its network needs [24]"
            ),
            "{error}"
        );
    }
}
