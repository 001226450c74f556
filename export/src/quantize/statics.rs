//! Weights and activations with scales that are known beforehand.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, NodeProto};

use super::QuantizeError;
use super::range::Levels;
use super::sites::{Operator, Site, constants, sites};
use super::stem::Stem;
use super::weights::{Whole, replace_nodes, whole};
use crate::graph::parts::{self, constant, node, with_integer};
use crate::tensor::floats;

/// What is put into whole numbers.
pub(super) struct Plan {
    sites: Vec<Site>,
    /// Tensors that become whole numbers, each once.
    tensors: Vec<Tensor>,
    /// Casts of raw grey levels, by what they give.
    raw: HashMap<String, Raw>,
    /// Convolutions that alone take one of these, and end in whole numbers.
    pub(super) stems: Vec<Stem>,
}

/// A tensor that becomes whole numbers.
struct Tensor {
    name: String,
    /// Whether everything that takes it gets the whole numbers: what a
    /// convolution gives is fused with them. Else the sites alone do.
    for_all: bool,
}

/// A cast of raw grey levels, which are whole numbers already.
struct Raw {
    node: usize,
    /// The grey levels.
    input: String,
}

impl Plan {
    /// # Errors
    /// When nothing in the graph can be quantized.
    pub(super) fn of(graph: &GraphProto) -> Result<Self, QuantizeError> {
        let sites = sites(graph);
        if sites.is_empty() {
            return Err(QuantizeError::NothingToDo("no convolution or linear layer"));
        }
        let mut consumers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
        for node in &graph.node {
            for input in &node.input {
                consumers.entry(input).or_default().push(node);
            }
        }
        let outputs: HashSet<&str> = graph
            .output
            .iter()
            .map(|value| value.name.as_str())
            .collect();
        let raw = raw_levels(graph, &sites, &consumers);
        let (mut tensors, mut stems): (Vec<Tensor>, Vec<Stem>) = Default::default();
        let mut add =
            |name: &str, for_all: bool| match tensors.iter_mut().find(|tensor| tensor.name == name)
            {
                Some(tensor) => tensor.for_all |= for_all,
                None => tensors.push(Tensor {
                    name: name.to_owned(),
                    for_all,
                }),
            };
        for site in &sites {
            if !raw.contains_key(&site.input) {
                add(&site.input, false);
            }
            if site.operator == Operator::Convolution {
                let given = rectified(&site.output, &consumers);
                if outputs.contains(given) {
                    continue;
                }
                add(given, true);
                if let Some(raw) = raw.get(&site.input)
                    && consumers.get(site.input.as_str()).map_or(0, Vec::len) == 1
                {
                    stems.push(stem(site, raw, given));
                }
            }
        }
        Ok(Self {
            sites,
            tensors,
            raw,
            stems,
        })
    }

    /// The tensors whose ranges must be known.
    pub(super) fn observed(&self) -> Vec<String> {
        let names = self.tensors.iter().map(|tensor| tensor.name.clone());
        names.collect()
    }
}

/// What a convolution gives: where a rectifier alone takes that, what the
/// rectifier gives, with which engines fuse it.
fn rectified<'a>(output: &'a str, consumers: &HashMap<&str, Vec<&'a NodeProto>>) -> &'a str {
    match consumers.get(output).map(Vec::as_slice) {
        Some([only]) if only.op_type == "Relu" => only.output.first().map_or(output, |name| name),
        _ => output,
    }
}

/// Casts of a graph's `u8` input that sites alone take.
fn raw_levels(
    graph: &GraphProto,
    sites: &[Site],
    consumers: &HashMap<&str, Vec<&NodeProto>>,
) -> HashMap<String, Raw> {
    let is_raw = |name: &str| {
        let input = graph.input.iter().find(|value| value.name == name);
        input.is_some_and(|value| value.type_.tensor_type().elem_type == DataType::UINT8 as i32)
    };
    let casts = graph.node.iter().enumerate();
    casts
        .filter(|(_, node)| node.op_type == "Cast")
        .filter_map(|(index, node)| {
            let (input, output) = (node.input.first()?, node.output.first()?);
            let taken = consumers.get(output.as_str()).map_or(0, Vec::len);
            let by_sites = sites.iter().filter(|site| site.input == *output).count();
            let raw = Raw {
                node: index,
                input: input.clone(),
            };
            (is_raw(input) && taken == by_sites && taken > 0).then(|| (output.clone(), raw))
        })
        .collect()
}

/// Name of the whole numbers that stand for a tensor, and of what is made of
/// them.
fn names(tensor: &str) -> [String; 4] {
    ["scale", "zero", "levels", "values"].map(|part| format!("{tensor}/{part}"))
}

/// The names that a convolution of raw grey levels has, and that of what it is
/// `rectified` to.
fn stem(site: &Site, raw: &Raw, rectified: &str) -> Stem {
    let [scale, zero, weights, _] = names(&weight_name(site));
    let [bias_scale, _, bias, _] = names(&bias_name(site));
    let [.., values] = names(&site.input);
    let [_, _, levels, _] = names(rectified);
    Stem {
        input: raw.input.clone(),
        values,
        output: site.output.clone(),
        rectified: rectified.to_owned(),
        levels,
        weights,
        of_outputs: [scale, zero, bias, bias_scale],
    }
}

/// Name of the weights of a site: weights that two sites share are written for each.
fn weight_name(site: &Site) -> String {
    format!("{}/weight", site.output)
}

fn bias_name(site: &Site) -> String {
    format!("{}/{}", site.output, site.bias.as_deref().unwrap_or("bias"))
}

/// Puts pairs of `QuantizeLinear` and `DequantizeLinear` around what the plan
/// names; `levels` are those of its tensors.
pub(super) fn rewrite(graph: &mut GraphProto, plan: &Plan, levels: &[Levels]) {
    let mut rewriter = Rewriter {
        nodes: Vec::new(),
        constants: Vec::new(),
        scales: HashMap::new(),
    };
    let by_name: HashMap<&str, (&Tensor, Levels)> = plan
        .tensors
        .iter()
        .zip(levels)
        .map(|(tensor, &levels)| (tensor.name.as_str(), (tensor, levels)))
        .collect();
    for (output, raw) in &plan.raw {
        // A level stands for itself.
        let step = Levels {
            scale: 1.0,
            zero: 0,
        };
        rewriter.levels(output, step);
        let [scale, zero, _, values] = names(output);
        let inputs = [raw.input.as_str(), &scale, &zero];
        rewriter
            .nodes
            .push(node("DequantizeLinear", &inputs, &values));
    }
    for input in &graph.input {
        rewriter.quantize(&input.name, &by_name);
    }
    let sites: HashMap<usize, &Site> = plan.sites.iter().map(|site| (site.node, site)).collect();
    let casts: HashSet<usize> = plan.raw.values().map(|raw| raw.node).collect();
    let known = constants(graph);
    for (index, original) in graph.node.iter().enumerate() {
        if casts.contains(&index) {
            continue;
        }
        let mut changed = original.clone();
        let site = sites.get(&index);
        for input in &mut changed.input {
            let for_all = by_name
                .get(input.as_str())
                .is_some_and(|(tensor, _)| tensor.for_all);
            let of_site = site.is_some_and(|site| site.input == *input);
            if for_all || of_site {
                let [.., values] = names(input);
                *input = values;
            }
        }
        if let Some(site) = site
            && let Some(weight) = known.get(site.weight.as_str())
            && let Some(elements) = floats(weight)
        {
            let whole = whole(&elements, &weight.dims, site.axis());
            changed.input[1] = rewriter.weights(site, &weight.dims, &whole);
            if let Some(bias) = &site.bias
                && let Some(elements) = known.get(bias.as_str()).and_then(|bias| floats(bias))
            {
                changed.input[2] = rewriter.bias(site, &elements, &whole.scales);
            }
        }
        let outputs = changed.output.clone();
        rewriter.nodes.push(changed);
        for output in &outputs {
            rewriter.quantize(output, &by_name);
        }
    }
    replace_nodes(graph, rewriter.nodes, rewriter.constants);
    for stem in &plan.stems {
        stem.rewrite(graph);
    }
}

struct Rewriter {
    nodes: Vec<NodeProto>,
    constants: Vec<onnx_protobuf::TensorProto>,
    /// Scale of each tensor of whole numbers.
    scales: HashMap<String, f32>,
}

impl Rewriter {
    /// The constants of a tensor's levels.
    fn levels(&mut self, tensor: &str, levels: Levels) {
        let [scale, zero, ..] = names(tensor);
        self.scales.insert(tensor.to_owned(), levels.scale);
        self.constants
            .push(parts::floats(scale, &[], &[levels.scale]));
        self.constants
            .push(constant(zero, DataType::UINT8, &[], vec![levels.zero]));
    }

    /// Puts a tensor into whole numbers and back, where it is among those of
    /// the plan.
    fn quantize(&mut self, tensor: &str, plan: &HashMap<&str, (&Tensor, Levels)>) {
        let Some((_, levels)) = plan.get(tensor) else {
            return;
        };
        self.levels(tensor, *levels);
        let [scale, zero, whole, values] = names(tensor);
        let inputs = [tensor, &scale, &zero];
        self.nodes.push(node("QuantizeLinear", &inputs, &whole));
        let inputs = [whole.as_str(), &scale, &zero];
        self.nodes.push(node("DequantizeLinear", &inputs, &values));
    }

    /// Weights of a site in whole numbers; gives the name of their values.
    fn weights(&mut self, site: &Site, shape: &[i64], whole: &Whole) -> String {
        let [scale, zero, levels, values] = names(&weight_name(site));
        let outputs = whole.scales.len();
        let bytes = whole.levels.iter().map(|&level| level as u8).collect();
        self.constants.extend([
            constant(levels.clone(), DataType::INT8, shape, bytes),
            parts::floats(scale.clone(), &[outputs as i64], &whole.scales),
            constant(
                zero.clone(),
                DataType::INT8,
                &[outputs as i64],
                vec![0; outputs],
            ),
        ]);
        let inputs = [levels.as_str(), &scale, &zero];
        let back = node("DequantizeLinear", &inputs, &values);
        let axis = site.axis() as i64;
        self.nodes.push(with_integer(back, "axis", axis));
        values
    }

    /// The bias of a site in the steps of its sums, those of the activations
    /// times those of the weights.
    fn bias(&mut self, site: &Site, bias: &[f32], scales: &[f32]) -> String {
        let [scale, _, levels, values] = names(&bias_name(site));
        let input = self.scales.get(&site.input).copied().unwrap_or(1.0);
        let steps: Vec<f32> = scales.iter().map(|scale| scale * input).collect();
        let bytes = bias.iter().zip(&steps).flat_map(|(&bias, &step)| {
            let level = (f64::from(bias) / f64::from(step)).round();
            (level.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32).to_le_bytes()
        });
        let bytes = bytes.collect();
        let shape = [bias.len() as i64];
        self.constants.extend([
            constant(levels.clone(), DataType::INT32, &shape, bytes),
            parts::floats(scale.clone(), &shape, &steps),
        ]);
        let back = node("DequantizeLinear", &[levels.as_str(), &scale], &values);
        self.nodes.push(with_integer(back, "axis", 0));
        values
    }
}
