//! A block as one operation of burn's automatic differentiation.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};

use super::block::{Kept, PARAMETERS, Sizes, Weights};
use super::tensors::{Tracked, elements, from_elements};

/// Input and parameters.
pub(super) const PARENTS: usize = 1 + PARAMETERS;

fn weights(parents: &[FlexTensor; PARENTS]) -> Weights<'_> {
    Weights(std::array::from_fn(|index| elements(&parents[1 + index])))
}

/// Factors of drop path for the two branches, one for each image, or none.
type Shares = [Vec<f32>; 2];

fn borrowed(shares: &Shares) -> [&[f32]; 2] {
    shares.each_ref().map(Vec::as_slice)
}

/// The forward pass alone.
pub(super) fn infer(sizes: &Sizes, shares: Shares, parents: [FlexTensor; PARENTS]) -> FlexTensor {
    let parents = parents.map(|parent| parent.to_contiguous());
    let (out, _) = sizes.forward(
        weights(&parents),
        borrowed(&shares),
        elements(&parents[0]),
        false,
    );
    from_elements(out, parents[0].shape())
}

/// The forward pass, with the backward pass for later when a gradient is
/// needed.
pub(super) fn record(sizes: Sizes, shares: Shares, parents: [Tracked; PARENTS]) -> Tracked {
    let nodes = parents.each_ref().map(|parent| parent.node());
    let parents = parents.map(|parent| parent.into_primitive().to_contiguous());
    let shape = parents[0].shape();
    let x = elements(&parents[0]);
    match BlockBackward
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prepared) => {
            let (out, kept) = sizes.forward(weights(&parents), borrowed(&shares), x, true);
            let state = State {
                sizes,
                shares,
                kept: Arc::new(kept),
                parents,
            };
            prepared.finish(state, from_elements(out, shape))
        }
        OpsKind::UnTracked(prepared) => {
            let (out, _) = sizes.forward(weights(&parents), borrowed(&shares), x, false);
            prepared.finish(from_elements(out, shape))
        }
    }
}

#[derive(Debug)]
struct BlockBackward;

#[derive(Debug, Clone)]
struct State {
    sizes: Sizes,
    shares: Shares,
    kept: Arc<Option<Kept>>,
    parents: [FlexTensor; PARENTS],
}

impl Backward<Flex, PARENTS> for BlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, PARENTS>, graph: &mut Graph, _: &mut Checkpointer) {
        let gradient = graph.consume::<Flex>(&ops.node).to_contiguous();
        let State {
            sizes,
            shares,
            kept,
            parents,
        } = &ops.state;
        let Some(kept) = &**kept else { return };
        let gradients = sizes.backward(
            weights(parents),
            borrowed(shares),
            elements(&parents[0]),
            kept,
            elements(&gradient),
            std::array::from_fn(|index| ops.parents[1 + index].is_some()),
        );
        let all = std::iter::once(Some(gradients.x)).chain(gradients.parameters);
        for ((node, gradient), parent) in ops.parents.iter().zip(all).zip(parents) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                graph.register::<Flex>(node.id, from_elements(gradient, parent.shape()));
            }
        }
    }
}
