//! A convolution without bias as one operation of burn's automatic
//! differentiation, with products of matrices for all three passes.
//!
//! burn's CPU backend finds the gradient of the filters by a convolution whose
//! kernel is as large as the image, in steps as short as the filters are wide.
//! Here the pixels under a filter become a column (Chellapilla et al., 2006), and
//! each pass is one product for each image.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::buffers::Buffer;
use super::matrix::{Into, Matrix, MatrixMut, multiply};
use super::tensors::{Tracked, elements, from_elements};

/// Sizes of a convolution with square filters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) images: usize,
    pub(super) inputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Zeros on each side of the image.
    pub(super) pad: usize,
}

impl Sizes {
    /// Places of the output along a side of `length` pixels.
    fn places(&self, length: usize) -> usize {
        (length + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Whether a filter fits into the padded image.
    pub(super) fn fit(&self) -> bool {
        self.height.min(self.width) + 2 * self.pad >= self.kernel
    }

    fn out_shape(&self) -> Shape {
        let (height, width) = (self.places(self.height), self.places(self.width));
        Shape::from([self.images, self.outputs, height, width])
    }

    /// Places of the output in an image.
    fn pixels(&self) -> usize {
        self.places(self.height) * self.places(self.width)
    }

    /// Values under a filter.
    fn depth(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// Values of an image.
    fn image(&self) -> usize {
        self.inputs * self.height * self.width
    }

    /// Whether an image is its own matrix of columns.
    fn is_pointwise(&self) -> bool {
        (self.kernel, self.stride, self.pad) == (1, 1, 0)
    }

    /// The part of a filter that lies inside the image at a place along a side of
    /// `length` pixels, and the pixel under its beginning.
    fn inside(&self, place: usize, length: usize) -> (Range<usize>, usize) {
        let start = place * self.stride;
        let from = self.pad.saturating_sub(start).min(self.kernel);
        let to = (length + self.pad).saturating_sub(start).min(self.kernel);
        (from..to.max(from), (start + from).saturating_sub(self.pad))
    }

    /// Calls `visit` with every run of pixels under a line of a filter: where it lies
    /// in the columns, `[pixels, depth]`, where in the image, and its length.
    #[inline(always)]
    fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let kernel = self.kernel;
        let (lines, places) = (self.places(self.height), self.places(self.width));
        let (plane, depth) = (self.height * self.width, self.depth());
        for line in 0..lines {
            let (ys, top) = self.inside(line, self.height);
            for place in 0..places {
                let (xs, left) = self.inside(place, self.width);
                let column = (line * places + place) * depth + xs.start;
                for channel in 0..self.inputs {
                    let corner = channel * plane + top * self.width + left;
                    for (below, y) in ys.clone().enumerate() {
                        let at = column + (channel * kernel + y) * kernel;
                        visit(at, corner + below * self.width, xs.len());
                    }
                }
            }
        }
    }

    /// The pixels under each place of the filters, `[pixels, depth]`.
    fn unfold(&self, image: &[f32], columns: &mut [f32]) {
        if self.pad > 0 {
            columns.fill(0.0);
        }
        self.runs(|at, first, length| {
            let (columns, pixels) = (&mut columns[at..][..length], &image[first..][..length]);
            // A length that the compiler knows is copied without a call.
            match length {
                3 => columns[..3].copy_from_slice(&pixels[..3]),
                8 => columns[..8].copy_from_slice(&pixels[..8]),
                _ => columns.copy_from_slice(pixels),
            }
        });
    }

    /// Adds the values of columns to the pixels that they stand for.
    fn fold(&self, columns: &[f32], image: &mut [f32]) {
        self.runs(|at, first, length| {
            let pixels = image[first..][..length].iter_mut();
            for (pixel, column) in pixels.zip(&columns[at..][..length]) {
                *pixel += column;
            }
        });
    }

    /// Runs `compute` for each image with its number and the pixels under each place,
    /// `[depth, pixels]`.
    fn for_each_image(&self, x: &[f32], mut compute: impl FnMut(usize, Matrix<'_>)) {
        let mut room = self.room();
        for (number, image) in x.chunks_exact(self.image()).enumerate() {
            if self.is_pointwise() {
                compute(number, Matrix::new(image, self.depth(), self.pixels()));
            } else {
                self.unfold(image, &mut room);
                let columns = Matrix::new(&room, self.pixels(), self.depth());
                compute(number, columns.transposed());
            }
        }
    }

    /// Room for the columns of an image.
    fn room(&self) -> Buffer {
        Buffer::new(if self.is_pointwise() {
            0
        } else {
            self.depth() * self.pixels()
        })
    }

    fn weights<'a>(&self, weight: &'a [f32]) -> Matrix<'a> {
        Matrix::new(weight, self.outputs, self.depth())
    }

    /// `x`, `[images, inputs, height, width]` -> `[images, outputs, …]`.
    fn forward(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let size = self.outputs * self.pixels();
        let mut out = vec![0.0; self.images * size];
        self.for_each_image(x, |image, columns| {
            let out = &mut out[image * size..][..size];
            multiply(
                MatrixMut::new(out, self.outputs, self.pixels()),
                self.weights(weight),
                columns,
                1.0,
                Into::Replaced,
            );
        });
        out
    }

    /// The gradient at the filters, summed over the images in their order.
    fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let size = self.outputs * self.pixels();
        let mut out = vec![0.0; self.outputs * self.depth()];
        self.for_each_image(x, |image, columns| {
            multiply(
                MatrixMut::new(&mut out, self.outputs, self.depth()),
                Matrix::new(&gradient[image * size..], self.outputs, self.pixels()),
                columns.transposed(),
                1.0,
                Into::Sum,
            );
        });
        out
    }

    /// The gradient at the input.
    fn input_gradient(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let size = self.outputs * self.pixels();
        let mut out = vec![0.0; self.images * self.image()];
        let mut columns = self.room();
        let images = out.chunks_exact_mut(self.image());
        for (image, gradient) in images.zip(gradient.chunks_exact(size)) {
            let weights = self.weights(weight);
            let gradient = Matrix::new(gradient, self.outputs, self.pixels());
            if self.is_pointwise() {
                let out = MatrixMut::new(image, self.depth(), self.pixels());
                multiply(out, weights.transposed(), gradient, 1.0, Into::Replaced);
            } else {
                let out = MatrixMut::new(&mut columns, self.pixels(), self.depth());
                multiply(out, gradient.transposed(), weights, 1.0, Into::Replaced);
                self.fold(&columns, image);
            }
        }
        out
    }
}

/// The forward pass alone, of input and filters.
pub(super) fn infer(sizes: &Sizes, parents: [FlexTensor; 2]) -> FlexTensor {
    let [x, weight] = parents.map(|parent| parent.to_contiguous());
    let out = sizes.forward(elements(&x), elements(&weight));
    from_elements(out, sizes.out_shape())
}

/// The forward pass, with the backward pass for later when a gradient is needed.
pub(super) fn record(sizes: Sizes, parents: [Tracked; 2]) -> Tracked {
    let nodes = parents.each_ref().map(|parent| parent.node());
    let parents = parents.map(|parent| parent.into_primitive().to_contiguous());
    let out = sizes.forward(elements(&parents[0]), elements(&parents[1]));
    let out = from_elements(out, sizes.out_shape());
    match ConvolutionBackward
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prepared) => prepared.finish(State { sizes, parents }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct ConvolutionBackward;

#[derive(Debug, Clone)]
struct State {
    sizes: Sizes,
    parents: [FlexTensor; 2],
}

impl Backward<Flex, 2> for ConvolutionBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, graph: &mut Graph, _: &mut Checkpointer) {
        let gradient = graph.consume::<Flex>(&ops.node).to_contiguous();
        let gradient = elements(&gradient);
        let State { sizes, parents } = &ops.state;
        let [x, weight] = parents.each_ref().map(elements);
        if let Some(node) = &ops.parents[0] {
            let at_input = sizes.input_gradient(weight, gradient);
            graph.register::<Flex>(node.id, from_elements(at_input, parents[0].shape()));
        }
        if let Some(node) = &ops.parents[1] {
            let at_filters = sizes.weight_gradient(x, gradient);
            graph.register::<Flex>(node.id, from_elements(at_filters, parents[1].shape()));
        }
    }
}
