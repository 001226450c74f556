//! AdamW (Loshchilov and Hutter, 2019) as in `torch.optim.AdamW`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::weights::NamedArrays;
use serde::{Deserialize, Serialize};

use super::gradients::Gradients;
use crate::cpu::Update;
use crate::model::ModelError;
use crate::model::parameters;

/// Hyper-parameters of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// What decays.
    pub decays: Decays,
    /// By what the learning rate shrinks from a layer to the one below it;
    /// see [`rate_factor`].
    pub layer_decay: Option<f64>,
}

/// Which parameters decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decays {
    /// Matrices and kernels. Biases, norms and scales (one dimension) do not,
    /// nor do class token and positions, as in timm's `no_weight_decay` and
    /// with it in MAE's fine-tuning.
    Matrices,
    /// Everything of more than one dimension, class and mask tokens included,
    /// as in the official pretraining with MAE and with DINO.
    NotVectors,
    /// Everything, as when PyTorch is handed all parameters in one group.
    All,
}

impl Decays {
    /// Whether the parameter of a name and a number of dimensions decays.
    pub fn applies(self, name: &str, dimensions: usize) -> bool {
        match self {
            Self::Matrices => dimensions > 1 && !matches!(name, "cls_token" | "pos_embed"),
            Self::NotVectors => dimensions > 1,
            Self::All => true,
        }
    }
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.05,
            decays: Decays::Matrices,
            layer_decay: None,
        }
    }
}

/// The optimiser with its moments, kept on the device.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    /// One for each parameter, none for a frozen one.
    states: Vec<Option<State>>,
}

/// Moments of one parameter, flattened.
#[derive(Debug)]
struct State {
    name: String,
    decays: bool,
    /// Its learning rate as a multiple of that of the step.
    rate_factor: f64,
    /// Updates so far; counted for each parameter, as in PyTorch.
    updates: u32,
    first: Tensor<1>,
    second: Tensor<1>,
}

impl AdamW {
    /// An optimiser for the parameters of `network`, with empty moments on
    /// `device`, which must be without autodiff. A frozen parameter, one that
    /// requires no gradient on a device with autodiff, has no moments.
    pub fn new<M: Module>(config: AdamWConfig, network: &M, device: &Device) -> Self {
        let shapes = parameters::shapes(network);
        let numbers = shapes.iter().filter_map(|(name, _)| block(name));
        let mut start = Start {
            config,
            blocks: numbers.max().map_or(0, |last| last + 1),
            device,
            path: parameters::Path::default(),
            states: Vec::new(),
        };
        network.visit(&mut start);
        Self {
            config,
            states: start.states,
        }
    }

    /// Changes the weight decay for the steps to come.
    pub fn set_weight_decay(&mut self, weight_decay: f64) {
        self.config.weight_decay = weight_decay;
    }

    /// Moves every parameter by one step along its gradient. A parameter
    /// without a gradient is left alone: no decay, no update of its moments.
    pub fn step<M: Module>(&mut self, network: M, gradients: Gradients, rate: f64) -> M {
        network.map(&mut Step {
            config: self.config,
            states: self.states.iter_mut(),
            gradients: gradients.into_iter(),
            rate,
        })
    }

    /// Adds the moments to `arrays`: `exp_avg.NAME` and `exp_avg_sq.NAME` as
    /// in PyTorch, and `step.NAME`.
    ///
    /// # Errors
    /// When the device does not give them.
    pub fn save(&self, arrays: &mut NamedArrays) -> Result<(), ModelError> {
        for State {
            name,
            updates,
            first,
            second,
            ..
        } in self.states.iter().flatten()
        {
            let count = first.dims()[0];
            let first = parameters::to_vec(first.clone(), name)?;
            let second = parameters::to_vec(second.clone(), name)?;
            arrays.insert(format!("exp_avg.{name}"), [count], first)?;
            arrays.insert(format!("exp_avg_sq.{name}"), [count], second)?;
            arrays.insert(format!("step.{name}"), [], vec![*updates as f32])?;
        }
        Ok(())
    }

    /// Takes the moments that [`AdamW::save`] gave.
    ///
    /// # Errors
    /// When one is missing or of another size.
    pub fn load(&mut self, arrays: &NamedArrays, device: &Device) -> Result<(), ModelError> {
        for state in self.states.iter_mut().flatten() {
            let count = state.first.dims()[0];
            let moment = |kind: &str| {
                let name = format!("{kind}.{}", state.name);
                let array = arrays.require(&name)?;
                if array.data.len() != count {
                    return Err(ModelError::Shape {
                        name,
                        got: array.shape.clone(),
                        expected: vec![count],
                    });
                }
                let data = TensorData::new(array.data.clone(), [count]);
                Ok(Tensor::from_data(data, device))
            };
            let (first, second) = (moment("exp_avg")?, moment("exp_avg_sq")?);
            let updates = arrays.require(&format!("step.{}", state.name))?;
            state.updates = updates.data.first().map_or(0, |&updates| updates as u32);
            state.first = first;
            state.second = second;
        }
        Ok(())
    }
}

struct Start<'a> {
    config: AdamWConfig,
    blocks: usize,
    device: &'a Device,
    path: parameters::Path,
    states: Vec<Option<State>>,
}

impl ModuleVisitor for Start<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let frozen = value.is_autodiff() && !value.is_require_grad();
        self.states.push((!frozen).then(|| {
            let name = self.path.name();
            let zeros = Tensor::zeros([value.shape().num_elements()], self.device);
            State {
                decays: self.config.decays.applies(&name, D),
                rate_factor: match self.config.layer_decay {
                    Some(decay) => rate_factor(&name, self.blocks, decay),
                    None => 1.0,
                },
                name,
                updates: 0,
                first: zeros.clone(),
                second: zeros,
            }
        }));
    }
}

/// The learning rate of a parameter of a Vision Transformer with so many
/// blocks, as a multiple of the highest: `decay^(blocks + 1 - layer)`, where
/// patch embedding, class token and positions are layer 0, block `i` is layer
/// `i + 1`, and norm and head are layer `blocks + 1`.
///
/// Source: facebookresearch/mae `util/lr_decay.py` (after BEiT, Bao et al.,
/// 2022).
pub fn rate_factor(name: &str, blocks: usize, decay: f64) -> f64 {
    let layer = match block(name) {
        Some(block) => block + 1,
        None if name.starts_with("patch_embed.") => 0,
        None if matches!(name, "cls_token" | "pos_embed") => 0,
        None => blocks + 1,
    };
    decay.powi((blocks + 1 - layer) as i32)
}

/// The number of the block that a parameter belongs to.
fn block(name: &str) -> Option<usize> {
    name.strip_prefix("blocks.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

struct Step<'a> {
    config: AdamWConfig,
    states: std::slice::IterMut<'a, Option<State>>,
    gradients: std::vec::IntoIter<Option<Tensor<1>>>,
    rate: f64,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (Some(Some(state)), Some(Some(gradient))) = (self.states.next(), self.gradients.next())
        else {
            return parameter;
        };
        state.updates += 1;
        let update = self.update(state);
        parameter.map(|old| {
            let autodiff = old.is_autodiff();
            let old = old.inner();
            let moments = [&mut state.first, &mut state.second];
            let new = match update.apply(&old, &gradient, moments) {
                Some(new) => new,
                None => plain(update, old, gradient, state),
            };
            if autodiff {
                Tensor::from_inner(new).require_grad()
            } else {
                new
            }
        })
    }
}

impl Step<'_> {
    fn update(&self, state: &State) -> Update {
        let AdamWConfig {
            betas: (beta_1, beta_2),
            epsilon,
            weight_decay,
            ..
        } = self.config;
        let updates = state.updates as i32;
        let decay = if state.decays { weight_decay } else { 0.0 };
        let rate = self.rate * state.rate_factor;
        Update {
            betas: [beta_1, beta_2].map(|beta| [beta as f32, (1.0 - beta) as f32]),
            correction: (1.0 - beta_2.powi(updates)).sqrt() as f32,
            epsilon: epsilon as f32,
            step_size: (rate / (1.0 - beta_1.powi(updates))) as f32,
            kept: (1.0 - rate * decay) as f32,
        }
    }
}

/// The update in burn's operations, for every device.
fn plain<const D: usize>(
    update: Update,
    old: Tensor<D>,
    gradient: Tensor<1>,
    state: &mut State,
) -> Tensor<D> {
    let [[beta_1, rest_1], [beta_2, rest_2]] = update.betas;
    state.first = state.first.clone() * beta_1 + gradient.clone() * rest_1;
    state.second = state.second.clone() * beta_2 + gradient.square() * rest_2;
    let denominator = state.second.clone().sqrt() / update.correction + update.epsilon;
    let change = state.first.clone() / denominator * update.step_size;
    let shape = old.dims();
    old * update.kept - change.reshape(shape)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_decays_follows_from_name_and_dimensions() {
        for (name, dimensions, matrices, not_vectors) in [
            ("blocks.0.attn.qkv.weight", 2, true, true),
            ("patch_embed.proj.weight", 4, true, true),
            ("blocks.0.attn.qkv.bias", 1, false, false),
            ("norm.weight", 1, false, false),
            ("blocks.0.ls1.gamma", 1, false, false),
            ("cls_token", 3, false, true),
            ("pos_embed", 3, false, true),
            ("mask_token", 3, true, true),
        ] {
            let applies = |decays: Decays| decays.applies(name, dimensions);
            assert_eq!(applies(Decays::Matrices), matrices, "{name}");
            assert_eq!(applies(Decays::NotVectors), not_vectors, "{name}");
            assert!(applies(Decays::All), "{name}");
        }
    }

    #[test]
    fn one_pass_gives_what_the_operations_give() {
        let device = Device::flex();
        let numbers = |scale: f32| -> Vec<f32> {
            (0..77)
                .map(|index| ((index * 37 % 50) as f32 - 24.0) * scale)
                .collect()
        };
        let tensor =
            |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [77]), &device);
        let update = Update {
            betas: [[0.9, 0.1], [0.999, 0.001]],
            correction: 0.05,
            epsilon: 1e-8,
            step_size: 0.003,
            kept: 0.999,
        };
        let mut state = State {
            name: String::new(),
            decays: true,
            rate_factor: 1.0,
            updates: 3,
            first: tensor(numbers(0.01)),
            second: tensor(numbers(0.1)).square(),
        };
        let (old, gradient) = (tensor(numbers(1.0)), tensor(numbers(0.5)));
        let (mut first, mut second) = (state.first.clone(), state.second.clone());
        let new = update
            .apply(&old, &gradient, [&mut first, &mut second])
            .unwrap();
        let expected = plain(update, old, gradient, &mut state);
        for (got, expected) in [
            (new, expected),
            (first, state.first),
            (second, state.second),
        ] {
            let got = parameters::to_vec(got, "").unwrap();
            let expected = parameters::to_vec(expected, "").unwrap();
            for (got, expected) in got.into_iter().zip(expected) {
                assert!(
                    (got - expected).abs() <= 1e-6 * expected.abs(),
                    "{got} {expected}"
                );
            }
        }
    }

    #[test]
    fn lower_layers_learn_more_slowly() {
        // param_groups_lrd of MAE for three blocks and a decay of 0.5.
        for (name, expected) in [
            ("cls_token", 0.0625),
            ("pos_embed", 0.0625),
            ("patch_embed.proj.bias", 0.0625),
            ("blocks.0.norm1.weight", 0.125),
            ("blocks.2.attn.qkv.weight", 0.5),
            ("norm.weight", 1.0),
            ("fc_norm.bias", 1.0),
            ("head.weight", 1.0),
        ] {
            assert_eq!(rate_factor(name, 3, 0.5), expected, "{name}");
        }
    }
}
