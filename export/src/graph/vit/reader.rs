//! The weights of a Vision Transformer, taken out of a model file again.

use std::collections::BTreeMap;

use onnx_protobuf::{GraphProto, ModelProto};
use protobuf::Message;

use super::{Pooling, VitSpec};
use crate::card::Preprocessing;
use crate::graph::GraphError;
use crate::graph::fold::unfold_grey;
use crate::model_file::ModelFile;
use crate::tensor;
use crate::weights::{NamedArray, NamedArrays};

/// Layers of which a graph has the weights transposed.
const LINEAR: [&str; 4] = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"];

/// The network and the weights, with timm's names, of a model file that
/// [`vit_classifier`](super::vit_classifier) wrote. The class token is zero, because it
/// has been added to the positions. Filters for grey levels become filters for the
/// card's normalisation, alike in all three channels.
///
/// # Errors
/// [`GraphError::Architecture`] when the graph is no such network, or has weights in
/// 8 bits.
pub fn vit_weights(model: &ModelFile) -> Result<(VitSpec, NamedArrays), GraphError> {
    let proto = ModelProto::parse_from_bytes(&model.onnx)
        .map_err(|error| GraphError::Architecture(error.to_string()))?;
    let mut constants = Constants::of(&proto.graph);
    let spec = constants.network(model)?;
    let mut weights = NamedArrays::new();
    let mut insert = |name: String, array: NamedArray| {
        weights
            .insert(name, array.shape, array.data)
            .map_err(|error| GraphError::Architecture(error.to_string()))
    };
    for (name, shape) in spec.parameters() {
        let array = match name.as_str() {
            "cls_token" => NamedArray {
                data: vec![0.0; spec.width],
                shape: shape.clone(),
            },
            "pos_embed" => constants.take("positions")?,
            "patch_embed.proj.weight" => {
                let bias = constants.take("patch_embed.proj.bias")?;
                let (filters, bias) =
                    of_normalised(constants.take(&name)?, bias, &model.card.preprocessing);
                insert("patch_embed.proj.bias".into(), bias)?;
                filters
            }
            "patch_embed.proj.bias" => continue,
            _ => {
                let array = constants.take(&name)?;
                let is_linear = LINEAR.iter().any(|layer| {
                    name.starts_with("blocks.") && name.ends_with(&format!("{layer}.weight"))
                });
                if is_linear { transposed(array) } else { array }
            }
        };
        if array.shape != shape {
            return Err(GraphError::Architecture(format!(
                "`{name}` has the shape {:?}, but {shape:?} is needed",
                array.shape
            )));
        }
        insert(name, array)?;
    }
    Ok((spec, weights))
}

/// The constants of a graph: those of floats, and the sizes of reshapes.
struct Constants {
    floats: BTreeMap<String, NamedArray>,
    sizes: BTreeMap<String, Vec<i64>>,
    epsilon: Option<f32>,
}

impl Constants {
    fn of(graph: &GraphProto) -> Self {
        let mut constants = Self {
            floats: BTreeMap::new(),
            sizes: BTreeMap::new(),
            epsilon: graph
                .node
                .iter()
                .filter(|node| node.op_type == "LayerNormalization")
                .flat_map(|node| &node.attribute)
                .find(|attribute| attribute.name == "epsilon")
                .map(|attribute| attribute.f),
        };
        for tensor in &graph.initializer {
            let name = tensor.name.clone();
            if let Some(data) = tensor::floats(tensor) {
                let shape = tensor.dims.iter().map(|&size| size as usize).collect();
                constants.floats.insert(name, NamedArray { shape, data });
            } else {
                constants.sizes.insert(name, tensor::integers(tensor));
            }
        }
        constants
    }

    /// The network whose constants they are.
    fn network(&self, model: &ModelFile) -> Result<VitSpec, GraphError> {
        let other = |what: &str| {
            GraphError::Architecture(format!(
                "the graph has no `{what}` in 32-bit floats: it is no Vision Transformer that was \
                 exported here, or one in 8 bits"
            ))
        };
        let array = |name: &str| self.floats.get(name).ok_or_else(|| other(name));
        let filters = array("patch_embed.proj.weight")?;
        let hidden = array("blocks.0.mlp.fc1.weight")?;
        let heads = "blocks.0.attn.query/Reshape/shape";
        let heads = self.sizes.get(heads).ok_or_else(|| other(heads))?;
        let ([width, _, patch, _], [_, mlp_width], [_, _, heads, _]) =
            (&filters.shape[..], &hidden.shape[..], &heads[..])
        else {
            return Err(other("patch_embed.proj.weight"));
        };
        let has = |name: &str| self.floats.contains_key(name);
        let blocks = (0..).take_while(|block| has(&format!("blocks.{block}.norm1.weight")));
        let spec = VitSpec {
            image_height: model.card.input.height,
            image_width: model.card.input.width,
            patch: *patch,
            width: *width,
            depth: blocks.count(),
            heads: usize::try_from(*heads).unwrap_or(0),
            mlp_width: *mlp_width,
            qkv_bias: has("blocks.0.attn.qkv.bias"),
            layer_scale: has("blocks.0.ls1.gamma"),
            pooling: match has("fc_norm.weight") {
                true => Pooling::Mean,
                false => Pooling::ClassToken,
            },
            classes: model.card.classes.len(),
            layer_norm_epsilon: self.epsilon.unwrap_or(1e-6),
        };
        spec.check()?;
        Ok(spec)
    }

    fn take(&mut self, name: &str) -> Result<NamedArray, GraphError> {
        self.floats.remove(name).ok_or_else(|| {
            GraphError::Architecture(format!("the graph has no `{name}` in 32-bit floats"))
        })
    }
}

/// Filters and their offsets for normalised images, whatever they were for.
fn of_normalised(
    filters: NamedArray,
    bias: NamedArray,
    preprocessing: &Preprocessing,
) -> (NamedArray, NamedArray) {
    let [width, 1, height, across] = filters.shape[..] else {
        return (filters, bias);
    };
    if bias.shape != [width] || width == 0 {
        return (filters, bias);
    }
    let Preprocessing { mean, std, .. } = preprocessing;
    let (unfolded, offset) = unfold_grey(&filters.data, &bias.data, *mean, *std);
    let filters = NamedArray {
        shape: vec![width, 3, height, across],
        data: unfolded,
    };
    let bias = NamedArray {
        shape: bias.shape,
        data: offset,
    };
    (filters, bias)
}

fn transposed(array: NamedArray) -> NamedArray {
    let [rows, columns] = array.shape[..] else {
        return array;
    };
    let element = |at: usize| array.data[at % rows * columns + at / rows];
    NamedArray {
        shape: vec![columns, rows],
        data: (0..rows * columns).map(element).collect(),
    }
}
