//! Multi-head attention (Vaswani et al., 2017) between the product that makes
//! queries, keys and values and the one that mixes the heads.

use super::buffers::Buffer;
use super::matrix::{Into, Matrix, MatrixMut, multiply};
use super::softmax;

/// Sizes of an attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    /// Images.
    pub(super) images: usize,
    /// Tokens of an image.
    pub(super) tokens: usize,
    /// Heads.
    pub(super) heads: usize,
    /// Length of a token.
    pub(super) width: usize,
}

impl Attention {
    /// Distance of the rows of probabilities: whole vectors of 16 elements.
    fn stride(self) -> usize {
        self.tokens.next_multiple_of(16)
    }

    /// Length of the probabilities of one head.
    fn square(self) -> usize {
        self.tokens * self.stride()
    }

    fn length(self) -> usize {
        self.width / self.heads
    }

    fn scale(self) -> f32 {
        (self.length() as f32).sqrt().recip()
    }

    /// Queries (0), keys (1) or values (2) of a head, `[tokens, length]`, in
    /// `qkv`, which is `[images, tokens, 3, heads, length]`.
    fn part(self, qkv: &[f32], image: usize, head: usize, part: usize) -> Matrix<'_> {
        let begin = self.part_begin(image, head, part);
        Matrix::with_stride(&qkv[begin..], self.tokens, self.length(), 3 * self.width)
    }

    fn part_mut(self, qkv: &mut [f32], image: usize, head: usize, part: usize) -> MatrixMut<'_> {
        let begin = self.part_begin(image, head, part);
        MatrixMut::with_stride(
            &mut qkv[begin..],
            self.tokens,
            self.length(),
            3 * self.width,
        )
    }

    fn part_begin(self, image: usize, head: usize, part: usize) -> usize {
        image * self.tokens * 3 * self.width + part * self.width + head * self.length()
    }

    /// Index of the first element of a head in `[images, tokens, heads, length]`.
    fn head_begin(self, image: usize, head: usize) -> usize {
        image * self.tokens * self.width + head * self.length()
    }

    fn square_of<'a>(self, probabilities: &'a [f32]) -> Matrix<'a> {
        Matrix::with_stride(probabilities, self.tokens, self.tokens, self.stride())
    }

    /// Images and heads, with the place of a head's probabilities.
    fn each_head(self) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
        (0..self.images * self.heads).map(move |index| {
            let begin = index * self.square();
            (
                index / self.heads,
                index % self.heads,
                begin..begin + self.square(),
            )
        })
    }

    /// Room for what [`Attention::forward`] keeps for the backward pass.
    pub(super) fn probabilities(self) -> Buffer {
        Buffer::new(self.images * self.heads * self.square())
    }

    /// Room for the probabilities of one head, when there is no backward pass.
    pub(super) fn probabilities_of_a_head(self) -> Buffer {
        Buffer::new(self.square())
    }

    /// `qkv`, `[images, tokens, 3, heads, length]` -> `mixed`,
    /// `[images, tokens, heads, length]`.
    ///
    /// `probabilities` has room for all heads or for one; in the latter case
    /// they are overwritten from head to head.
    pub(super) fn forward(self, qkv: &[f32], probabilities: &mut [f32], mixed: &mut [f32]) {
        let keep = probabilities.len() > self.square();
        for (image, head, place) in self.each_head() {
            let place = if keep { place } else { 0..self.square() };
            let square = &mut probabilities[place];
            multiply(
                MatrixMut::with_stride(square, self.tokens, self.tokens, self.stride()),
                self.part(qkv, image, head, 0),
                self.part(qkv, image, head, 1).transposed(),
                self.scale(),
                Into::Replaced,
            );
            softmax::forward(square, self.tokens, self.stride());
            let begin = self.head_begin(image, head);
            multiply(
                MatrixMut::with_stride(&mut mixed[begin..], self.tokens, self.length(), self.width),
                self.square_of(square),
                self.part(qkv, image, head, 2),
                1.0,
                Into::Replaced,
            );
        }
    }

    /// The gradient at `mixed` -> that at `qkv`, which is replaced.
    pub(super) fn backward(
        self,
        qkv: &[f32],
        probabilities: &[f32],
        mixed_gradient: &[f32],
        qkv_gradient: &mut [f32],
    ) {
        let mut scores_gradient = Buffer::new(self.square());
        for (image, head, place) in self.each_head() {
            let probabilities = &probabilities[place];
            let begin = self.head_begin(image, head);
            let mixed = Matrix::with_stride(
                &mixed_gradient[begin..],
                self.tokens,
                self.length(),
                self.width,
            );
            multiply(
                self.part_mut(qkv_gradient, image, head, 2),
                self.square_of(probabilities).transposed(),
                mixed,
                1.0,
                Into::Replaced,
            );
            multiply(
                MatrixMut::with_stride(
                    &mut scores_gradient,
                    self.tokens,
                    self.tokens,
                    self.stride(),
                ),
                mixed,
                self.part(qkv, image, head, 2).transposed(),
                1.0,
                Into::Replaced,
            );
            softmax::backward(
                probabilities,
                &mut scores_gradient,
                self.tokens,
                self.stride(),
            );
            let scores = self.square_of(&scores_gradient);
            let (queries, keys) = (
                self.part(qkv, image, head, 0),
                self.part(qkv, image, head, 1),
            );
            let queries_gradient = self.part_mut(qkv_gradient, image, head, 0);
            multiply(queries_gradient, scores, keys, self.scale(), Into::Replaced);
            let keys_gradient = self.part_mut(qkv_gradient, image, head, 1);
            multiply(
                keys_gradient,
                scores.transposed(),
                queries,
                self.scale(),
                Into::Replaced,
            );
        }
    }
}
