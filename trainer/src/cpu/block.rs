//! A pre-norm Transformer block (Dosovitskiy et al., 2021) and its gradients,
//! on slices.

use super::attention::Attention;
use super::buffers::Buffer;
use super::residual::Factors;
use super::{gelu, linear, norm};

/// Sizes and constants of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) attention: Attention,
    /// Width of the MLP.
    pub(super) hidden: usize,
    /// Added to the variance by the two norms.
    pub(super) epsilons: [f32; 2],
}

/// Parameters of a block in the order of its fields; names for their places
/// in an array.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(usize)]
pub(super) enum Name {
    Norm1Weight,
    Norm1Bias,
    QkvWeight,
    QkvBias,
    ProjWeight,
    ProjBias,
    Scale1,
    Norm2Weight,
    Norm2Bias,
    Fc1Weight,
    Fc1Bias,
    Fc2Weight,
    Fc2Bias,
    Scale2,
}

/// How many parameters a block has at most.
pub(super) const PARAMETERS: usize = 14;

/// The parameters of a block; those that it lacks are empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a>(pub(super) [&'a [f32]; PARAMETERS]);

impl<'a> Weights<'a> {
    fn get(self, name: Name) -> &'a [f32] {
        self.0[name as usize]
    }
}

/// What the forward pass keeps for the backward pass, besides its input.
#[derive(Debug)]
pub(super) struct Kept {
    statistics1: Vec<[f32; 2]>,
    qkv: Buffer,
    probabilities: Buffer,
    mixed: Buffer,
    /// What attention adds, before its factors, when the block scales it.
    branch1: Option<Buffer>,
    /// Between attention and MLP.
    middle: Buffer,
    statistics2: Vec<[f32; 2]>,
    /// Before GELU.
    hidden: Buffer,
    /// What the MLP adds, before its factors, when the block scales it.
    branch2: Option<Buffer>,
}

/// Gradients at the input and at the parameters that were asked for.
#[derive(Debug)]
pub(super) struct Gradients {
    pub(super) x: Vec<f32>,
    pub(super) parameters: [Option<Vec<f32>>; PARAMETERS],
}

impl Sizes {
    fn tokens(&self) -> usize {
        self.attention.images * self.attention.tokens
    }

    fn factors<'a>(&self, scale: &'a [f32], shares: &'a [f32]) -> Factors<'a> {
        let width = self.attention.width;
        Factors {
            scale,
            shares,
            image: self.attention.tokens * width,
            width,
        }
    }

    /// `x`, `[images, tokens, width]`, through the block; with `keep` also
    /// what the backward pass needs. `shares` are the factors of drop path for
    /// the two branches, one for each image, or empty.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        shares: [&[f32]; 2],
        x: &[f32],
        keep: bool,
    ) -> (Vec<f32>, Option<Kept>) {
        let get = |name| weights.get(name);
        let (tokens, width) = (self.tokens(), self.attention.width);

        let mut normed = Buffer::new(x.len());
        let mut statistics1 = vec![[0.0; 2]; tokens];
        norm::statistics(x, width, self.epsilons[0], &mut statistics1);
        let (weight, bias) = (get(Name::Norm1Weight), get(Name::Norm1Bias));
        norm::apply(x, &statistics1, weight, bias, &mut normed);
        let mut qkv = Buffer::new(3 * x.len());
        let (weight, bias) = (get(Name::QkvWeight), get(Name::QkvBias));
        linear::forward(&normed, weight, bias, width, &mut qkv);
        let mut mixed = Buffer::new(x.len());
        let mut probabilities = if keep {
            self.attention.probabilities()
        } else {
            self.attention.probabilities_of_a_head()
        };
        self.attention.forward(&qkv, &mut probabilities, &mut mixed);
        let mut middle = Buffer::new(x.len());
        let (weight, bias) = (get(Name::ProjWeight), get(Name::ProjBias));
        linear::forward(&mixed, weight, bias, width, &mut middle);
        let factors = self.factors(get(Name::Scale1), shares[0]);
        let branch1 = (keep && !factors.scale.is_empty()).then(|| Buffer::copy_of(&middle));
        factors.add(x, &mut middle);

        let mut statistics2 = vec![[0.0; 2]; tokens];
        norm::statistics(&middle, width, self.epsilons[1], &mut statistics2);
        let (weight, bias) = (get(Name::Norm2Weight), get(Name::Norm2Bias));
        norm::apply(&middle, &statistics2, weight, bias, &mut normed);
        let mut hidden = Buffer::new(tokens * self.hidden);
        let (weight, bias) = (get(Name::Fc1Weight), get(Name::Fc1Bias));
        linear::forward(&normed, weight, bias, width, &mut hidden);
        let mut activated = Buffer::new(hidden.len());
        gelu::forward(&hidden, &mut activated);
        let mut out = vec![0.0; x.len()];
        let (weight, bias) = (get(Name::Fc2Weight), get(Name::Fc2Bias));
        linear::forward(&activated, weight, bias, self.hidden, &mut out);
        let factors = self.factors(get(Name::Scale2), shares[1]);
        let branch2 = (keep && !factors.scale.is_empty()).then(|| Buffer::copy_of(&out));
        factors.add(&middle, &mut out);

        let kept = keep.then_some(Kept {
            statistics1,
            qkv,
            probabilities,
            mixed,
            branch1,
            middle,
            statistics2,
            hidden,
            branch2,
        });
        (out, kept)
    }

    /// The gradient at the output -> those at the input and at the parameters
    /// of which `wanted` says so.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        shares: [&[f32]; 2],
        x: &[f32],
        kept: &Kept,
        gradient: &[f32],
        wanted: [bool; PARAMETERS],
    ) -> Gradients {
        let get = |name| weights.get(name);
        let width = self.attention.width;
        let mut backward = Backward {
            wanted,
            parameters: [const { None }; PARAMETERS],
        };

        // The MLP.
        let factors = self.factors(get(Name::Scale2), shares[1]);
        backward.scale(Name::Scale2, factors, gradient, kept.branch2.as_deref());
        let mut scaled = Buffer::new(x.len());
        let branch = branch_gradient(factors, gradient, &mut scaled);
        let mut hidden = Buffer::new(kept.hidden.len());
        linear::input_gradient(branch, get(Name::Fc2Weight), self.hidden, &mut hidden);
        let mut activated = Buffer::new(kept.hidden.len());
        gelu::backward(&kept.hidden, &mut hidden, &mut activated);
        let names = (Name::Fc2Weight, Name::Fc2Bias);
        backward.linear(names, branch, &activated, self.hidden);
        drop(activated);
        let mut normed = Buffer::new(x.len());
        let (weight, bias) = (get(Name::Norm2Weight), get(Name::Norm2Bias));
        norm::apply(&kept.middle, &kept.statistics2, weight, bias, &mut normed);
        backward.linear((Name::Fc1Weight, Name::Fc1Bias), &hidden, &normed, width);
        let mut normed_gradient = normed;
        linear::input_gradient(&hidden, get(Name::Fc1Weight), width, &mut normed_gradient);
        drop(hidden);
        let mut x_gradient = gradient.to_vec();
        backward.norm(
            (Name::Norm2Weight, Name::Norm2Bias),
            (&kept.middle, &kept.statistics2, weight),
            &mut normed_gradient,
            &mut x_gradient,
        );

        // Attention.
        let factors = self.factors(get(Name::Scale1), shares[0]);
        backward.scale(Name::Scale1, factors, &x_gradient, kept.branch1.as_deref());
        let branch = branch_gradient(factors, &x_gradient, &mut scaled);
        let names = (Name::ProjWeight, Name::ProjBias);
        backward.linear(names, branch, &kept.mixed, width);
        let mut mixed = normed_gradient;
        linear::input_gradient(branch, get(Name::ProjWeight), width, &mut mixed);
        let mut qkv = Buffer::new(kept.qkv.len());
        let attention = self.attention;
        attention.backward(&kept.qkv, &kept.probabilities, &mixed, &mut qkv);
        let mut normed = mixed;
        let (weight, bias) = (get(Name::Norm1Weight), get(Name::Norm1Bias));
        norm::apply(x, &kept.statistics1, weight, bias, &mut normed);
        backward.linear((Name::QkvWeight, Name::QkvBias), &qkv, &normed, width);
        let mut normed_gradient = normed;
        linear::input_gradient(&qkv, get(Name::QkvWeight), width, &mut normed_gradient);
        backward.norm(
            (Name::Norm1Weight, Name::Norm1Bias),
            (x, &kept.statistics1, weight),
            &mut normed_gradient,
            &mut x_gradient,
        );
        Gradients {
            x: x_gradient,
            parameters: backward.parameters,
        }
    }
}

fn branch_gradient<'a>(
    factors: Factors<'_>,
    gradient: &'a [f32],
    scaled: &'a mut [f32],
) -> &'a [f32] {
    if factors.are_one() {
        return gradient;
    }
    factors.branch_gradient(gradient, scaled);
    scaled
}

/// Gradients of the parameters as they come.
struct Backward {
    wanted: [bool; PARAMETERS],
    parameters: [Option<Vec<f32>>; PARAMETERS],
}

impl Backward {
    fn put(&mut self, name: Name, gradient: impl FnOnce() -> Vec<f32>) {
        if self.wanted[name as usize] {
            self.parameters[name as usize] = Some(gradient());
        }
    }

    fn linear(&mut self, names: (Name, Name), gradient: &[f32], x: &[f32], inputs: usize) {
        let outputs = gradient.len() / (x.len() / inputs);
        self.put(names.0, || linear::weight_gradient(gradient, x, inputs));
        self.put(names.1, || linear::bias_gradient(gradient, outputs));
    }

    fn scale(
        &mut self,
        name: Name,
        factors: Factors<'_>,
        gradient: &[f32],
        branch: Option<&[f32]>,
    ) {
        if let Some(branch) = branch {
            self.put(name, || factors.scale_gradient(gradient, branch));
        }
    }

    fn norm(
        &mut self,
        names: (Name, Name),
        (x, statistics, weight): (&[f32], &[[f32; 2]], &[f32]),
        gradient: &mut [f32],
        x_gradient: &mut [f32],
    ) {
        let mut weight_gradient = vec![0.0; weight.len()];
        let mut bias_gradient = vec![0.0; weight.len()];
        norm::backward(
            x,
            statistics,
            weight,
            gradient,
            x_gradient,
            &mut weight_gradient,
            &mut bias_gradient,
        );
        self.put(names.0, || weight_gradient);
        self.put(names.1, || bias_gradient);
    }
}
