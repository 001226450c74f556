//! Products of matrices that lie in slices.

/// A matrix that is read: element `(i, j)` is
/// `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that follow one another without a gap.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    /// Rows whose beginnings are `row_stride` apart.
    ///
    /// # Panics
    /// When the last element lies outside `data`.
    pub(super) fn with_stride(
        data: &'a [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(end(rows, columns, row_stride) <= data.len());
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The transposed matrix, of the same elements.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix that is written; the elements of a row lie side by side.
pub(super) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// Rows that follow one another without a gap.
    pub(super) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    /// Rows whose beginnings are `row_stride` apart.
    ///
    /// # Panics
    /// When the rows overlap or the last element lies outside `data`.
    pub(super) fn with_stride(
        data: &'a mut [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(columns <= row_stride && end(rows, columns, row_stride) <= data.len());
        Self {
            data,
            rows,
            columns,
            row_stride,
        }
    }
}

/// One past the index of the last element.
fn end(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * row_stride + columns
    }
}

/// What becomes of the elements that a product is written to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Into {
    /// They are replaced.
    Replaced,
    /// The product is added to them.
    Sum,
}

/// `out = scale · a b`, or `out += scale · a b`, on the calling thread.
///
/// # Panics
/// When the shapes do not fit one another.
pub(super) fn multiply(out: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, scale: f32, into: Into) {
    assert_eq!(
        (out.rows, out.columns, a.columns),
        (a.rows, b.columns, b.rows)
    );
    // SAFETY: every element that these sizes and strides reach lies inside
    // its slice, which `Matrix` and `MatrixMut` asserted when they were made;
    // `out` is borrowed alone, and its rows do not overlap. No stride exceeds
    // `isize`, as no slice is longer.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            a.columns,
            out.data.as_mut_ptr(),
            1,
            out.row_stride as isize,
            into == Into::Sum,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_reach_into_larger_matrices() {
        // The middle columns of a 3 x 4 matrix times a transposed 2 x 2.
        let data: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let a = Matrix::with_stride(&data[1..], 3, 2, 4);
        let b = [1.0, 2.0, 3.0, 4.0];
        let mut out = vec![100.0; 9];
        let view = MatrixMut::with_stride(&mut out, 3, 2, 3);
        multiply(view, a, Matrix::new(&b, 2, 2).transposed(), 2.0, Into::Sum);
        // Rows (1, 2), (5, 6), (9, 10) by columns (1, 2), (3, 4).
        assert_eq!(
            out,
            [
                110.0, 122.0, 100.0, 134.0, 178.0, 100.0, 158.0, 234.0, 100.0
            ]
        );
        multiply(
            MatrixMut::new(&mut out[..2], 1, 2),
            Matrix::new(&[1.0], 1, 1),
            Matrix::new(&[5.0, 6.0], 1, 2),
            1.0,
            Into::Replaced,
        );
        assert_eq!(out[..3], [5.0, 6.0, 100.0]);
    }

    #[test]
    #[should_panic(expected = "data.len()")]
    fn a_matrix_lies_inside_its_slice() {
        Matrix::with_stride(&[0.0; 8], 3, 2, 4);
    }
}
