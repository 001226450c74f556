//! What a branch of a block adds to its input: `x + branch · scale · share`,
//! with a factor for each channel (LayerScale) and one for each image (drop
//! path).

use multiversion::multiversion;

/// Factors of a branch; either may be empty, which means 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors<'a> {
    /// For each channel.
    pub(super) scale: &'a [f32],
    /// For each image.
    pub(super) shares: &'a [f32],
    /// Elements of an image.
    pub(super) image: usize,
    /// Channels.
    pub(super) width: usize,
}

impl Factors<'_> {
    /// Whether the branch is added as it is.
    pub(super) fn are_one(self) -> bool {
        self.scale.is_empty() && self.shares.is_empty()
    }

    fn share(self, image: usize) -> f32 {
        self.shares.get(image).copied().unwrap_or(1.0)
    }

    /// `branch = x + branch · factors`.
    pub(super) fn add(self, x: &[f32], branch: &mut [f32]) {
        if self.are_one() {
            return add(x, branch);
        }
        let images = x.chunks(self.image).zip(branch.chunks_mut(self.image));
        for (image, (x, branch)) in images.enumerate() {
            add_scaled(x, self.scale, self.share(image), self.width, branch);
        }
    }

    /// The gradient at the sum -> that at the branch.
    pub(super) fn branch_gradient(self, gradient: &[f32], out: &mut [f32]) {
        let images = gradient.chunks(self.image).zip(out.chunks_mut(self.image));
        for (image, (gradient, out)) in images.enumerate() {
            multiply_scaled(gradient, self.scale, self.share(image), self.width, out);
        }
    }

    /// The gradient at the factors of the channels; `branch` as it was before
    /// them.
    pub(super) fn scale_gradient(self, gradient: &[f32], branch: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.width];
        let images = gradient.chunks(self.image).zip(branch.chunks(self.image));
        for (image, (gradient, branch)) in images.enumerate() {
            add_products(gradient, branch, self.share(image), &mut out);
        }
        out
    }
}

#[multiversion(targets = "simd")]
fn add(x: &[f32], branch: &mut [f32]) {
    for (x, branch) in x.iter().zip(branch) {
        *branch += x;
    }
}

#[multiversion(targets = "simd")]
fn add_scaled(x: &[f32], scale: &[f32], share: f32, width: usize, branch: &mut [f32]) {
    for (x, branch) in x.chunks_exact(width).zip(branch.chunks_exact_mut(width)) {
        if scale.is_empty() {
            for (x, branch) in x.iter().zip(branch) {
                *branch = x + *branch * share;
            }
        } else {
            for ((x, branch), scale) in x.iter().zip(branch).zip(scale) {
                *branch = x + *branch * scale * share;
            }
        }
    }
}

#[multiversion(targets = "simd")]
fn multiply_scaled(gradient: &[f32], scale: &[f32], share: f32, width: usize, out: &mut [f32]) {
    for (gradient, out) in gradient
        .chunks_exact(width)
        .zip(out.chunks_exact_mut(width))
    {
        if scale.is_empty() {
            for (gradient, out) in gradient.iter().zip(out) {
                *out = gradient * share;
            }
        } else {
            for ((gradient, out), scale) in gradient.iter().zip(out).zip(scale) {
                *out = gradient * scale * share;
            }
        }
    }
}

#[multiversion(targets = "simd")]
fn add_products(gradient: &[f32], branch: &[f32], share: f32, out: &mut [f32]) {
    for (gradient, branch) in gradient
        .chunks_exact(out.len())
        .zip(branch.chunks_exact(out.len()))
    {
        for ((gradient, branch), out) in gradient.iter().zip(branch).zip(out.iter_mut()) {
            *out += gradient * branch * share;
        }
    }
}
