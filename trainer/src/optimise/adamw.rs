//! AdamW (Loshchilov and Hutter, 2019) as in `torch.optim.AdamW`.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::weights::NamedArrays;
use serde::{Deserialize, Serialize};

use super::gradients::Gradients;
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
    /// Whether biases, norms, class token and positions decay as well, as
    /// they do when PyTorch is handed all parameters in one group.
    pub decay_all: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.05,
            decay_all: false,
        }
    }
}

/// The optimiser with its moments, kept on the device.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    states: Vec<State>,
}

/// Moments of one parameter, flattened.
#[derive(Debug)]
struct State {
    name: String,
    decays: bool,
    /// Updates so far; counted for each parameter, as in PyTorch.
    updates: u32,
    first: Tensor<1>,
    second: Tensor<1>,
}

impl AdamW {
    /// An optimiser for the parameters of `network`, with empty moments on
    /// `device`, which must be without autodiff.
    pub fn new<M: Module>(config: AdamWConfig, network: &M, device: &Device) -> Self {
        let states = parameters::shapes(network)
            .into_iter()
            .map(|(name, shape)| {
                let zeros = Tensor::zeros([shape.iter().product::<usize>()], device);
                State {
                    decays: config.decay_all || decays(&name, shape.len()),
                    name,
                    updates: 0,
                    first: zeros.clone(),
                    second: zeros,
                }
            })
            .collect();
        Self { config, states }
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
        } in &self.states
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
        for state in &mut self.states {
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

/// Matrices and kernels decay; biases, norms, scales (one dimension), class
/// token and positions do not.
fn decays(name: &str, dimensions: usize) -> bool {
    dimensions > 1 && !matches!(name, "cls_token" | "pos_embed")
}

struct Step<'a> {
    config: AdamWConfig,
    states: std::slice::IterMut<'a, State>,
    gradients: std::vec::IntoIter<Option<Tensor<1>>>,
    rate: f64,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (Some(state), Some(Some(gradient))) = (self.states.next(), self.gradients.next())
        else {
            return parameter;
        };
        let (beta_1, beta_2) = self.config.betas;
        state.updates += 1;
        let updates = state.updates as i32;
        state.first = state.first.clone() * beta_1 + gradient.clone() * (1.0 - beta_1);
        state.second = state.second.clone() * beta_2 + gradient.square() * (1.0 - beta_2);
        let correction = (1.0 - beta_2.powi(updates)).sqrt();
        let denominator = state.second.clone().sqrt() / correction + self.config.epsilon;
        let step_size = self.rate / (1.0 - beta_1.powi(updates));
        let change = state.first.clone() / denominator * step_size;
        let decay = if state.decays {
            1.0 - self.rate * self.config.weight_decay
        } else {
            1.0
        };
        parameter.map(|old| {
            let new = old.clone().inner() * decay - change.reshape(old.dims());
            if old.is_autodiff() {
                Tensor::from_inner(new).require_grad()
            } else {
                new
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_decay_and_the_rest_does_not() {
        assert!(decays("blocks.0.attn.qkv.weight", 2));
        assert!(decays("patch_embed.proj.weight", 4));
        for (name, dimensions) in [
            ("blocks.0.attn.qkv.bias", 1),
            ("norm.weight", 1),
            ("blocks.0.ls1.gamma", 1),
            ("cls_token", 3),
            ("pos_embed", 3),
        ] {
            assert!(!decays(name, dimensions), "{name}");
        }
    }
}
