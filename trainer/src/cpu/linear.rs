//! `y = x weightᵀ + bias` over rows.

use multiversion::multiversion;

use super::matrix::{Into, Matrix, MatrixMut, multiply};

/// `out = x weightᵀ + bias` for rows of `inputs` elements; without a bias
/// when it is empty.
pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], inputs: usize, out: &mut [f32]) {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    let into = if bias.is_empty() {
        Into::Replaced
    } else {
        for row in out.chunks_exact_mut(outputs) {
            row.copy_from_slice(bias);
        }
        Into::Sum
    };
    multiply(
        MatrixMut::new(out, rows, outputs),
        Matrix::new(x, rows, inputs),
        Matrix::new(weight, outputs, inputs).transposed(),
        1.0,
        into,
    );
}

/// The gradient at the output -> that at the input, which is replaced.
pub(super) fn input_gradient(gradient: &[f32], weight: &[f32], inputs: usize, out: &mut [f32]) {
    let outputs = weight.len() / inputs;
    let rows = gradient.len() / outputs;
    multiply(
        MatrixMut::new(out, rows, inputs),
        Matrix::new(gradient, rows, outputs),
        Matrix::new(weight, outputs, inputs),
        1.0,
        Into::Replaced,
    );
}

/// The gradient at the weight, `[outputs, inputs]`.
pub(super) fn weight_gradient(gradient: &[f32], x: &[f32], inputs: usize) -> Vec<f32> {
    let rows = x.len() / inputs;
    let outputs = gradient.len() / rows;
    let mut out = vec![0.0; outputs * inputs];
    multiply(
        MatrixMut::new(&mut out, outputs, inputs),
        Matrix::new(gradient, rows, outputs).transposed(),
        Matrix::new(x, rows, inputs),
        1.0,
        Into::Replaced,
    );
    out
}

/// The gradient at the bias: the sum of the rows.
pub(super) fn bias_gradient(gradient: &[f32], outputs: usize) -> Vec<f32> {
    let mut out = vec![0.0; outputs];
    add_rows(gradient, &mut out);
    out
}

#[multiversion(targets = "simd")]
fn add_rows(rows: &[f32], out: &mut [f32]) {
    for row in rows.chunks_exact(out.len()) {
        for (out, value) in out.iter_mut().zip(row) {
            *out += value;
        }
    }
}
