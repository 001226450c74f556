//! Tiles on their way into the network.

use millsight_export::card::{ElementType, ModelCard};
use millsight_export::engine::Batch;
use millsight_export::preprocess::{ImageView, Preprocessor};
use millsight_firmware_config::TILE_SIZE;

use super::ClassifyError;

/// The prepared tiles of one batch.
pub(crate) struct Input {
    preprocessor: Preprocessor,
    element: ElementType,
    levels: Vec<u8>,
    values: Vec<f32>,
}

impl Input {
    /// Room for `tiles` tiles.
    pub(crate) fn new(card: &ModelCard, tiles: usize) -> Self {
        let preprocessor = Preprocessor::new(&card.input, &card.preprocessing);
        let elements = tiles * preprocessor.output_len();
        let element = card.input.element;
        let (levels, values) = match element {
            ElementType::U8 => (elements, 0),
            ElementType::F32 => (0, elements),
        };
        Self {
            preprocessor,
            element,
            levels: vec![0; levels],
            values: vec![0.0; values],
        }
    }

    /// Prepares a tile into a slot, straight from the row of tiles in which it
    /// lies: `tile` are the pixels from its first one on, `width` those of a line.
    pub(crate) fn prepare(
        &mut self,
        slot: usize,
        tile: &[u8],
        width: usize,
    ) -> Result<(), ClassifyError> {
        let view = ImageView::new(TILE_SIZE, TILE_SIZE, 1, width, tile)?;
        let size = self.preprocessor.output_len();
        let range = slot * size..(slot + 1) * size;
        match self.element {
            ElementType::U8 => self
                .preprocessor
                .prepare_u8(view, &mut self.levels[range])?,
            ElementType::F32 => self
                .preprocessor
                .prepare_f32(view, &mut self.values[range])?,
        }
        Ok(())
    }

    /// The tiles in the first slots.
    pub(crate) fn batch(&self, tiles: usize) -> Batch<'_> {
        let elements = tiles * self.preprocessor.output_len();
        match self.element {
            ElementType::U8 => Batch::U8(&self.levels[..elements]),
            ElementType::F32 => Batch::F32(&self.values[..elements]),
        }
    }
}
