//! Which patches of an image the encoder sees.

use std::ops::Range;

/// Which patches of each image of a batch are visible, and in which order the
/// encoder sees them. All images have equally many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    patches: usize,
    visible: usize,
    /// Of each image every patch once: first the visible ones, then those that
    /// are removed (`ids_shuffle` in `models_mae.py`).
    orders: Vec<Vec<usize>>,
}

impl Masks {
    /// Of each image all its patches, the `visible` ones first.
    ///
    /// # Panics
    /// When an order does not have every patch once.
    pub fn new(orders: Vec<Vec<usize>>, visible: usize) -> Self {
        let patches = orders.first().map_or(0, Vec::len);
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..patches), "each patch once");
        }
        assert!(visible <= patches, "as many visible patches as there are");
        Self {
            patches,
            visible,
            orders,
        }
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// Visible patches of an image.
    pub fn visible(&self) -> usize {
        self.visible
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.orders.len()
    }

    /// The masks of each `size` images; the last ones may be fewer.
    pub fn shards(&self, size: usize) -> Vec<Self> {
        let shard = |orders: &[Vec<usize>]| Self {
            orders: orders.to_vec(),
            ..*self
        };
        self.orders.chunks(size).map(shard).collect()
    }

    /// Of each image and patch whether it is removed, image by image.
    pub fn removed(&self) -> Vec<bool> {
        let removed = |rank: usize| rank >= self.visible;
        self.ranks().into_iter().flatten().map(removed).collect()
    }

    /// Of each image and patch its place in the order (`ids_restore` in
    /// `models_mae.py`).
    pub fn ranks(&self) -> Vec<Vec<usize>> {
        let ranks = |order: &Vec<usize>| {
            let mut ranks = vec![0; order.len()];
            for (rank, &patch) in order.iter().enumerate() {
                ranks[patch] = rank;
            }
            ranks
        };
        self.orders.iter().map(ranks).collect()
    }

    /// The visible patches, image by image.
    pub(super) fn visible_patches(&self) -> impl Iterator<Item = usize> {
        let visible = |order: &Vec<usize>| order[..self.visible].to_vec();
        self.orders.iter().flat_map(visible)
    }

    /// Rows of the visible patches among all patches of all images.
    pub(super) fn visible_rows(&self) -> impl Iterator<Item = usize> {
        self.rows(0..self.visible, 0)
    }

    /// Rows of the removed patches among all patches of all images, when in
    /// each image `before` rows of another kind come first.
    pub(super) fn removed_rows(&self, before: usize) -> impl Iterator<Item = usize> {
        self.rows(self.visible..self.patches, before)
    }

    fn rows(&self, ranks: Range<usize>, before: usize) -> impl Iterator<Item = usize> {
        let stride = before + self.patches;
        let images = self.orders.iter().enumerate();
        images.flat_map(move |(image, order)| {
            let first = image * stride + before;
            order[ranks.clone()].iter().map(move |patch| first + patch)
        })
    }

    /// For the class token and each patch of each image the row of what the
    /// encoder gave of it, where that has for each image the class token and
    /// the visible patches, and one row at the end for all that are removed.
    pub(super) fn restored_rows(&self) -> impl Iterator<Item = usize> {
        let stride = 1 + self.visible;
        let removed = self.images() * stride;
        let images = self.ranks().into_iter().enumerate();
        images.flat_map(move |(image, ranks)| {
            let class = image * stride;
            let row = move |rank: usize| {
                if rank < stride - 1 {
                    class + 1 + rank
                } else {
                    removed
                }
            };
            std::iter::once(class).chain(ranks.into_iter().map(row))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_patches() {
        let masks = Masks::new(vec![vec![2, 0, 1], vec![1, 2, 0]], 1);
        assert_eq!(masks.visible_rows().collect::<Vec<_>>(), [2, 4]);
        assert_eq!(masks.visible_patches().collect::<Vec<_>>(), [2, 1]);
        assert_eq!(masks.removed_rows(0).collect::<Vec<_>>(), [0, 1, 5, 3]);
        assert_eq!(masks.removed_rows(1).collect::<Vec<_>>(), [1, 2, 7, 5]);
        assert_eq!(
            masks.restored_rows().collect::<Vec<_>>(),
            [0, 4, 4, 1, 2, 4, 3, 4]
        );
        assert_eq!(masks.ranks(), [[1, 2, 0], [2, 0, 1]]);
        assert_eq!(masks.removed(), [true, true, false, true, false, true]);
        let one = |order: [usize; 3]| Masks::new(vec![order.to_vec()], 1);
        assert_eq!(masks.shards(1), [one([2, 0, 1]), one([1, 2, 0])]);
    }

    #[test]
    #[should_panic(expected = "each patch once")]
    fn an_order_has_every_patch_once() {
        Masks::new(vec![vec![0, 1, 1]], 1);
    }
}
