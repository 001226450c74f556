//! What an ONNX graph takes and gives, and what it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{ModelProto, ValueInfoProto, type_proto};
use protobuf::Enum;
use serde::Serialize;

use super::ModelFileError;
use super::limits::{LARGEST_TENSOR, elements};
use crate::card::{ElementType, ModelCard};

/// What an ONNX graph takes and gives, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Name and version of the program that wrote the file.
    pub producer: String,
    /// Version of the standard operators.
    pub opset: i64,
    /// Inputs, without those that are weights.
    pub inputs: Vec<TensorInfo>,
    /// Outputs.
    pub outputs: Vec<TensorInfo>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// Number of elements in all weights together.
    pub parameters: u64,
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// ONNX's name of the element type, for example `FLOAT`.
    pub element: String,
    /// Extent of each dimension; `None` where the graph does not say.
    pub shape: Option<Vec<Dimension>>,
}

/// Extent of one dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Dimension {
    /// A number, at least 1.
    Fixed(usize),
    /// Open; the name may be empty.
    Free(String),
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.name, self.element)?;
        let Some(shape) = &self.shape else {
            return formatter.write_str(" of unstated shape");
        };
        let extents: Vec<String> = shape
            .iter()
            .map(|dimension| match dimension {
                Dimension::Fixed(extent) => extent.to_string(),
                Dimension::Free(name) if name.is_empty() => "?".to_owned(),
                Dimension::Free(name) => name.clone(),
            })
            .collect();
        write!(formatter, " [{}]", extents.join(", "))
    }
}

impl TensorInfo {
    fn of(value: &ValueInfoProto) -> Self {
        let tensor = match &value.type_.value {
            Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
            _ => None,
        };
        let element = match tensor.map(|tensor| DataType::from_i32(tensor.elem_type)) {
            Some(Some(element)) => format!("{element:?}"),
            Some(None) => "an unknown type".to_owned(),
            None => "not a tensor".to_owned(),
        };
        let shape = tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| {
                shape
                    .dim
                    .iter()
                    .map(|dim| match &dim.value {
                        Some(dimension::Value::DimParam(name)) => Dimension::Free(name.clone()),
                        // Some exporters write 0 or -1 for an open dimension.
                        Some(dimension::Value::DimValue(extent)) if *extent > 0 => {
                            usize::try_from(*extent)
                                .map_or_else(|_| Dimension::Free(String::new()), Dimension::Fixed)
                        }
                        Some(_) | None => Dimension::Free(String::new()),
                    })
                    .collect()
            });
        Self {
            name: value.name.clone(),
            element,
            shape,
        }
    }

    /// The element type, where it is one that Millsight feeds.
    pub(super) fn element_type(&self) -> Option<ElementType> {
        match self.element.as_str() {
            "FLOAT" => Some(ElementType::F32),
            "UINT8" => Some(ElementType::U8),
            _ => None,
        }
    }

    /// Whether the graph fixes the extent of `axis` to something else.
    fn contradicts(&self, axis: usize, extent: usize) -> bool {
        match self.shape.as_ref().and_then(|shape| shape.get(axis)) {
            Some(Dimension::Fixed(stated)) => *stated != extent,
            Some(Dimension::Free(_)) | None => false,
        }
    }
}

impl Signature {
    /// Reads the signature off a model.
    pub fn of(proto: &ModelProto) -> Self {
        let graph = &proto.graph;
        let weights: BTreeSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let mut operators = BTreeMap::new();
        for node in &graph.node {
            *operators.entry(node.op_type.clone()).or_insert(0) += 1;
        }
        let standard = proto
            .opset_import
            .iter()
            .find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
        Self {
            producer: format!("{} {}", proto.producer_name, proto.producer_version)
                .trim()
                .to_owned(),
            opset: standard.map_or(0, |set| set.version),
            // Before IR version 4 weights were listed among the inputs.
            inputs: graph
                .input
                .iter()
                .filter(|input| !weights.contains(input.name.as_str()))
                .map(TensorInfo::of)
                .collect(),
            outputs: graph.output.iter().map(TensorInfo::of).collect(),
            operators,
            parameters: graph
                .initializer
                .iter()
                .map(|tensor| elements(tensor.dims.iter().map(|dim| dim.unsigned_abs())))
                .fold(0, u64::saturating_add),
        }
    }

    /// Checks that a card describes this graph; returns the batch where the
    /// graph fixes it.
    pub(super) fn check(
        &self,
        card: &ModelCard,
        origin: &str,
    ) -> Result<Option<usize>, ModelFileError> {
        let fixed_batch = self.check_input(card);
        fixed_batch
            .and_then(|fixed| self.check_output(card).map(|()| fixed))
            .map_err(|reason| ModelFileError::Mismatch {
                origin: origin.to_owned(),
                reason,
            })
    }

    fn check_input(&self, card: &ModelCard) -> Result<Option<usize>, String> {
        let [input] = self.inputs.as_slice() else {
            return Err(format!(
                "its graph has {} inputs, but a classifier of tiles has one, [batch, channels, height, width]",
                self.inputs.len()
            ));
        };
        let spec = &card.input;
        if input.name != spec.name {
            return Err(format!(
                "the card's `input.name` is `{}`, but the graph's input is {input}; correct or remove the line",
                spec.name
            ));
        }
        let Some(element) = input.element_type() else {
            return Err(format!(
                "the graph's input is {input}, but tiles are given as FLOAT or UINT8; export the model with a 32-bit float input"
            ));
        };
        if element != spec.element {
            return Err(format!(
                "the card's `input.element` is {:?}, but the graph's input is {input}; correct the card",
                spec.element
            ));
        }
        if let Some(shape) = &input.shape
            && shape.len() != 4
        {
            return Err(format!(
                "the graph's input is {input}, but images are [batch, channels, height, width]; this is no image classifier"
            ));
        }
        let sides = [
            ("channels", 1, spec.channels),
            ("height", 2, spec.height),
            ("width", 3, spec.width),
        ];
        for (side, axis, extent) in sides {
            if input.contradicts(axis, extent) {
                return Err(format!(
                    "the card's `input.{side}` is {extent}, but the graph's input is {input}; correct the card or export the model for that size"
                ));
            }
        }
        let Some([Dimension::Fixed(batch), ..]) = input.shape.as_deref() else {
            return Ok(None);
        };
        let extents = [*batch, spec.channels, spec.height, spec.width];
        if elements(extents.map(|extent| extent as u64)) > LARGEST_TENSOR {
            return Err(format!(
                "the graph's input is {input}, but at most {LARGEST_TENSOR} numbers are given at once; export the model for fewer images or with a free batch"
            ));
        }
        Ok(Some(*batch))
    }

    fn check_output(&self, card: &ModelCard) -> Result<(), String> {
        let wanted = &card.output.name;
        let Some(output) = self.outputs.iter().find(|output| output.name == *wanted) else {
            let names: Vec<&str> = self
                .outputs
                .iter()
                .map(|output| output.name.as_str())
                .collect();
            return Err(format!(
                "the card's `output.name` is `{wanted}`, but the graph gives {}; correct or remove the line",
                names.join(", ")
            ));
        };
        if output.element != "FLOAT" {
            return Err(format!(
                "the graph's output is {output}, but scores are FLOAT; export the model with a 32-bit float output"
            ));
        }
        let Some(shape) = &output.shape else {
            return Ok(());
        };
        if shape.len() != 2 {
            return Err(format!(
                "the graph's output is {output}, but a classifier gives [batch, classes]; is this a detector?"
            ));
        }
        if output.contradicts(1, card.classes.len()) {
            return Err(format!(
                "the card names {} classes, but the graph's output is {output}; list one class for each score, in the order of training",
                card.classes.len()
            ));
        }
        self.check_distance(card)
    }

    fn check_distance(&self, card: &ModelCard) -> Result<(), String> {
        let Some(distance) = &card.output.distance else {
            return Ok(());
        };
        let wanted = &distance.name;
        let output = self.outputs.iter().find(|output| output.name == *wanted);
        let fits = output.is_some_and(|output| {
            let is_column = output.shape.as_ref().is_none_or(|shape| shape.len() == 2);
            output.element == "FLOAT" && is_column && !output.contradicts(1, 1)
        });
        match fits {
            true => Ok(()),
            false => Err(format!(
                "the card's `output.distance.name` is `{wanted}`, but the graph has no such output \
                 of FLOAT [batch, 1]; remove the section, or let `millsight-export distance` write it"
            )),
        }
    }
}
