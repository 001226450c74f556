//! A network's parameters by name, in and out.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use millsight_export::weights::NamedArrays;

use super::ModelError;

/// Name and shape of each parameter in the order of the network's fields, for
/// example `blocks.0.attn.qkv.weight`, `[576, 192]`.
pub fn shapes<M: Module>(network: &M) -> Vec<(String, Vec<usize>)> {
    let mut visitor = Shapes::default();
    network.visit(&mut visitor);
    visitor.shapes
}

#[derive(Default)]
struct Shapes {
    path: Path,
    shapes: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let shape = parameter.val().dims().to_vec();
        self.shapes.push((self.path.name(), shape));
    }
}

/// Where a visitor stands in the tree of modules.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// The variants of an enum add nothing to a name.
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        let variant = container.starts_with("Enum:");
        self.0.push(if variant { "" } else { name }.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    pub(crate) fn name(&self) -> String {
        let parts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let named = |part: &&str| !part.is_empty();
        parts
            .into_iter()
            .filter(named)
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// Copies all parameters from the device.
///
/// # Errors
/// When the device does not give them.
pub fn read<M: Module>(network: &M) -> Result<NamedArrays, ModelError> {
    let mut reader = Reader {
        path: Path::default(),
        result: Ok(NamedArrays::default()),
    };
    network.visit(&mut reader);
    reader.result
}

struct Reader {
    path: Path,
    result: Result<NamedArrays, ModelError>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Ok(arrays) = &mut self.result {
            let name = self.path.name();
            let value = parameter.val();
            let shape = value.dims().to_vec();
            let read = to_vec(value, &name).and_then(|data| Ok(arrays.insert(name, shape, data)?));
            if let Err(error) = read {
                self.result = Err(error);
            }
        }
    }
}

/// Copies a tensor from the device, row-major; `what` names it in errors.
///
/// # Errors
/// When the device does not give it.
pub fn to_vec<const D: usize>(tensor: Tensor<D>, what: &str) -> Result<Vec<f32>, ModelError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| ModelError::Device {
            what: what.to_owned(),
            reason: format!("{error:?}"),
        })
}

/// Replaces all parameters by weights of the same names and shapes.
///
/// # Errors
/// With the names that are missing, unknown or of another shape.
pub fn fill<M: Module>(network: M, weights: &NamedArrays) -> Result<M, ModelError> {
    let names: Vec<String> = shapes(&network).into_iter().map(|(name, _)| name).collect();
    let missing: Vec<String> = names
        .iter()
        .filter(|name| weights.get(name).is_none())
        .cloned()
        .collect();
    let known: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
    let unknown: Vec<String> = weights
        .names()
        .filter(|name| !known.contains(name))
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() || !unknown.is_empty() {
        return Err(ModelError::Names { missing, unknown });
    }
    let mut filler = Filler {
        path: Path::default(),
        weights,
        problem: None,
    };
    let network = network.map(&mut filler);
    match filler.problem {
        Some(problem) => Err(problem),
        None => Ok(network),
    }
}

struct Filler<'a> {
    path: Path,
    weights: &'a NamedArrays,
    problem: Option<ModelError>,
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let array = match self.weights.require(&name) {
            Ok(array) => array,
            Err(error) => {
                self.problem.get_or_insert(error.into());
                return parameter;
            }
        };
        parameter.map(|old| {
            let expected = old.dims();
            if array.shape != expected {
                self.problem.get_or_insert(ModelError::Shape {
                    name,
                    got: array.shape.clone(),
                    expected: expected.to_vec(),
                });
                return old;
            }
            let data = TensorData::new(array.data.clone(), expected);
            let new = Tensor::from_data(data, &old.device());
            if old.is_require_grad() {
                new.require_grad()
            } else {
                new
            }
        })
    }
}
