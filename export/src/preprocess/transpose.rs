//! Transposing bytes by blocks of 16 x 16.

/// Side of a block.
pub(super) const SIDE: usize = 16;

/// Rows of a block.
pub(super) type Block = [[u8; SIDE]; SIDE];

/// Exchanges the rows and columns of a block.
///
/// Interleaving row `i` with row `i + 8` four times moves every bit of the
/// row number to the column number and back: a perfect shuffle, which the
/// compiler turns into the processor's unpack instructions.
#[inline(always)]
pub(super) fn transpose(block: Block) -> Block {
    interleave(interleave(interleave(interleave(block))))
}

#[inline(always)]
fn interleave(block: Block) -> Block {
    let mut result = [[0; SIDE]; SIDE];
    for row in 0..SIDE / 2 {
        let (upper, lower) = (block[row], block[row + SIDE / 2]);
        for column in 0..SIDE / 2 {
            result[2 * row][2 * column] = upper[column];
            result[2 * row][2 * column + 1] = lower[column];
            result[2 * row + 1][2 * column] = upper[column + SIDE / 2];
            result[2 * row + 1][2 * column + 1] = lower[column + SIDE / 2];
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_exchanged() {
        let block: Block =
            std::array::from_fn(|row| std::array::from_fn(|column| (16 * row + column) as u8));
        let expected: Block =
            std::array::from_fn(|row| std::array::from_fn(|column| (16 * column + row) as u8));
        assert_eq!(transpose(block), expected);
    }
}
