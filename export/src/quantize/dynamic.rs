//! Linear layers with ranges that are found in each run.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

use super::QuantizeError;
use super::sites::{Operator, Site, constants, sites};
use super::weights::{replace_nodes, whole};
use crate::graph::parts::{self, constant, node, with_integer};
use crate::tensor::floats;

/// Replaces linear layers by `MatMulInteger` of their activations, put into
/// whole numbers by `DynamicQuantizeLinear`, and their weights.
///
/// # Errors
/// When there is no linear layer.
pub(super) fn rewrite(graph: &mut GraphProto) -> Result<(), QuantizeError> {
    let sites: HashMap<usize, Site> = sites(graph)
        .into_iter()
        .filter(|site| site.operator != Operator::Convolution)
        .map(|site| (site.node, site))
        .collect();
    if sites.is_empty() {
        return Err(QuantizeError::NothingToDo("no linear layer"));
    }
    let known = constants(graph);
    let mut rewriter = Rewriter::default();
    for (index, original) in graph.node.iter().enumerate() {
        let site = sites.get(&index);
        let weights = site.and_then(|site| {
            let weight = known.get(site.weight.as_str())?;
            Some((site, weight, floats(weight)?))
        });
        match weights {
            Some((site, weight, elements)) => rewriter.linear(site, weight, &elements),
            None => rewriter.nodes.push(original.clone()),
        }
    }
    replace_nodes(graph, rewriter.nodes, rewriter.constants);
    Ok(())
}

#[derive(Default)]
struct Rewriter {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Activations that are in whole numbers already.
    quantized: HashSet<String>,
}

impl Rewriter {
    fn linear(&mut self, site: &Site, weight: &TensorProto, elements: &[f32]) {
        let [levels, scale, zero] =
            ["levels", "scale", "zero"].map(|part| format!("{}/{part}", site.input));
        if self.quantized.insert(site.input.clone()) {
            let mut quantize = node("DynamicQuantizeLinear", &[&site.input], &levels);
            quantize.output = vec![levels.clone(), scale.clone(), zero.clone()];
            self.nodes.push(quantize);
        }
        // `[inputs, outputs]`, as the product takes them.
        let (elements, inputs, outputs) = match site.axis() {
            1 => (elements.to_vec(), weight.dims[0], weight.dims[1]),
            _ => {
                let (outputs, inputs) = (weight.dims[0] as usize, weight.dims[1] as usize);
                let transposed = (0..inputs * outputs)
                    .map(|at| elements[at % outputs * inputs + at / outputs])
                    .collect();
                (transposed, weight.dims[1], weight.dims[0])
            }
        };
        let whole = whole(&elements, &[inputs, outputs], 1);
        let name = |part: &str| format!("{}/{part}", site.output);
        let bytes = whole.levels.iter().map(|&level| level as u8).collect();
        self.constants.extend([
            constant(name("weight"), DataType::INT8, &[inputs, outputs], bytes),
            parts::floats(name("weight/scale"), &[outputs], &whole.scales),
            constant(name("weight/zero"), DataType::INT8, &[], vec![0]),
        ]);
        let last = match &site.bias {
            Some(_) => name("product"),
            None => site.output.clone(),
        };
        let (sums, scales) = (name("sums"), name("scales"));
        let float = name("sums/float");
        let product = [
            levels.as_str(),
            &name("weight"),
            &zero,
            &name("weight/zero"),
        ];
        self.nodes.extend([
            node("MatMulInteger", &product, &sums),
            with_integer(node("Cast", &[&sums], &float), "to", DataType::FLOAT as i64),
            node("Mul", &[&scale, &name("weight/scale")], &scales),
            node("Mul", &[&float, &scales], &last),
        ]);
        if let Some(bias) = &site.bias {
            self.nodes.push(node("Add", &[&last, bias], &site.output));
        }
    }
}
