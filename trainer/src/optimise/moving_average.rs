//! The exponential moving average of a network that learns.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Moves every parameter of `average` towards that of `network`:
/// `a = momentum * a + (1 - momentum) * n`. Parameters that do not learn are
/// moved as well. Both have the same sizes; `average` lies on a device without
/// autodiff.
pub fn follow<M: Module>(average: M, network: &M, momentum: f64) -> M {
    let mut values = Values(Vec::new());
    network.visit(&mut values);
    average.map(&mut Follow {
        values: values.0.into_iter(),
        momentum,
    })
}

/// Parameters, flattened, in the order of the network's fields.
struct Values(Vec<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let value = if value.is_autodiff() {
            value.inner()
        } else {
            value
        };
        self.0.push(value.reshape([-1]));
    }
}

struct Follow {
    values: std::vec::IntoIter<Tensor<1>>,
    momentum: f64,
}

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.next() else {
            return parameter;
        };
        parameter.map(|old| {
            let value = value.reshape(old.dims());
            old * self.momentum + value * (1.0 - self.momentum)
        })
    }
}
