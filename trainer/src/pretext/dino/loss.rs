//! The loss of DINO and its centre (facebookresearch/dino, `DINOLoss`).
//!
//! Rows of outputs are crop-major: all images of the first crop, then all of
//! the second. The first two crops are the global ones, and only they have
//! passed through the teacher.

use burn::tensor::{DType, Tensor, activation};

/// What the teacher expects: softmax of its centred and sharpened outputs
/// `[rows, outputs]`; `centre` is `[1, outputs]`, that of the step before.
pub fn sharpened(outputs: Tensor<2>, centre: Tensor<2>, temperature: f64) -> Tensor<2> {
    activation::softmax((outputs - centre) / temperature, 1)
}

/// Targets of every crop, `[crops * n, outputs]`, from the teacher's
/// distributions over its two crops, `[2 * n, outputs]`.
///
/// A crop's target is the sum of the distributions of the global crops other
/// than itself, which the loss is linear in.
pub fn targets(teacher: Tensor<2>, crops: usize) -> Tensor<2> {
    let [rows, _] = teacher.dims();
    let n = rows / 2;
    let (first, second) = (
        teacher.clone().narrow(0, 0, n),
        teacher.clone().narrow(0, n, n),
    );
    let both = first.clone() + second.clone();
    let locals = std::iter::repeat_n(both, crops.saturating_sub(2));
    Tensor::cat([second, first].into_iter().chain(locals).collect(), 0)
}

/// Pairs of a teacher's and a student's crop that are compared: those of one
/// and the same global crop are skipped.
pub fn pairs(crops: usize) -> usize {
    2 * crops - 2
}

/// The part of the loss that some images of a batch add: the cross-entropy
/// between [`targets`] and the student's outputs (both `[crops * n, outputs]`,
/// and both on a device with autodiff), over all [`pairs`] and all `images` of
/// the batch.
pub fn cross_entropy(
    student: Tensor<2>,
    targets: Tensor<2>,
    temperature: f64,
    crops: usize,
    images: usize,
) -> Tensor<1> {
    let student = student.cast(DType::F32) / temperature;
    let log_probabilities = activation::log_softmax(student, 1);
    let sum = (targets * log_probabilities).sum();
    sum / -((pairs(crops) * images) as f64)
}

/// The centre `[1, outputs]` after a batch: an average that moves towards the
/// mean of the teacher's outputs over all rows of all `shards`, on whatever
/// devices these lie.
pub fn moved_centre(centre: Tensor<2>, shards: &[Tensor<2>], momentum: f64) -> Tensor<2> {
    let rows: usize = shards.iter().map(|shard| shard.dims()[0]).sum();
    let device = centre.device();
    let sums = shards
        .iter()
        .map(|shard| shard.clone().sum_dim(0).to_device(&device));
    match sums.reduce(|sum, shard| sum + shard) {
        Some(sum) => centre * momentum + sum / rows as f64 * (1.0 - momentum),
        None => centre,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::parameters::to_vec;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn a_crop_is_not_compared_with_itself() {
        let device = Device::flex();
        // Two images; the first global crop has the targets 1 and 2, the
        // second 10 and 20.
        let teacher = Tensor::from_floats([[1.0], [2.0], [10.0], [20.0]], &device);
        let targets = to_vec(targets(teacher, 4), "targets").unwrap();
        assert_eq!(targets, [10.0, 20.0, 1.0, 2.0, 11.0, 22.0, 11.0, 22.0]);
        assert_eq!(pairs(4), 6);
    }

    #[test]
    fn a_student_that_knows_nothing_loses_the_logarithm_of_the_outputs() {
        let device = Device::flex();
        let student = Tensor::zeros([6, 50], &device);
        let outputs: Vec<f32> = (0..200).map(|index| (index as f32).sin()).collect();
        let teacher = Tensor::from_data(TensorData::new(outputs, [4, 50]), &device);
        let teacher = sharpened(teacher, Tensor::zeros([1, 50], &device), 0.04);
        let loss = cross_entropy(student, targets(teacher, 3), 0.1, 3, 2);
        let loss: f32 = loss.into_scalar();
        assert!((loss - 50f32.ln()).abs() < 1e-5, "{loss}");
    }

    #[test]
    fn the_centre_does_not_depend_on_the_shards() {
        let device = Device::flex();
        let centre = Tensor::from_floats([[1.0, 2.0]], &device);
        let rows = Tensor::from_floats([[1.0, 0.0], [2.0, 4.0], [6.0, 2.0]], &device);
        let parts = [rows.clone().narrow(0, 0, 1), rows.clone().narrow(0, 1, 2)];
        for shards in [&[rows][..], &parts] {
            let moved = moved_centre(centre.clone(), shards, 0.9);
            let moved = to_vec(moved, "centre").unwrap();
            assert!((moved[0] - 1.2).abs() < 1e-6 && (moved[1] - 2.0).abs() < 1e-6);
        }
    }
}
