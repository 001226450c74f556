//! A network with everything that it needs to look at tiles.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use millsight_export::card::ModelCard;
use millsight_export::engine::Engine;
use millsight_export::panics;
use millsight_firmware_config::TILE_SIZE;

use super::ClassifyError;
use super::cost::Cost;
use super::input::Input;
use crate::decide::{self, Decider, Verdict};

/// An engine with the tiles that go into it and the scores that come out.
pub struct Network {
    engine: Box<dyn Engine>,
    input: Input,
    decider: Decider,
    /// Tiles that go through the network at once, at least one.
    batch: usize,
    scores: Vec<f32>,
    cost: Cost,
}

impl Network {
    /// A network that is given `batch` tiles (at least one) at once.
    pub fn new(engine: Box<dyn Engine>, card: &ModelCard, decider: Decider, batch: usize) -> Self {
        let batch = batch.max(1);
        Self {
            engine,
            input: Input::new(card, batch),
            batch,
            scores: Vec::with_capacity(batch * decider.classes().len()),
            decider,
            cost: Cost::default(),
        }
    }

    /// Tiles that go through the network at once.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Number of its classes.
    pub(super) fn classes(&self) -> usize {
        self.decider.classes().len()
    }

    /// Time that it will take to look at some tiles; nothing while nothing is
    /// known.
    pub(super) fn cost(&self, tiles: usize) -> Duration {
        self.cost.of(tiles, self.batch)
    }

    /// Most tiles that it is thought to look at within a time, but no more than
    /// a batch.
    pub(super) fn within(&self, time: Duration) -> usize {
        let fits = |&tiles: &usize| self.cost(tiles) <= time;
        (1..=self.batch).rev().find(fits).unwrap_or(0)
    }

    /// Lowers what it is thought to take, when tiles were given up because of
    /// that.
    pub(super) fn fade(&mut self) {
        self.cost.fade();
    }

    /// Looks at black tiles, one and then a batch, so that the engine has made
    /// what it makes at first and the cost of a run is known.
    ///
    /// # Errors
    /// As [`Network::look`].
    pub fn warm_up(&mut self) -> Result<(), ClassifyError> {
        self.engine.reserve(self.batch)?;
        let black = vec![0; TILE_SIZE * TILE_SIZE];
        for tiles in BTreeSet::from([1, self.batch]) {
            // The first run of its kind takes longer than those that follow.
            self.run(std::iter::repeat_n((&black[..], TILE_SIZE), tiles), tiles)?;
            self.look(std::iter::repeat_n((&black[..], TILE_SIZE), tiles))?;
        }
        Ok(())
    }

    /// Looks at tiles, no more than a batch. Each is given by the pixels from its
    /// first one on, and those of a line. Nothing is known of them after a
    /// failure.
    ///
    /// # Errors
    /// When a tile cannot be prepared, or the engine fails, panics or gives a
    /// wrong number of scores.
    pub(super) fn look<'a>(
        &mut self,
        tiles: impl ExactSizeIterator<Item = (&'a [u8], usize)>,
    ) -> Result<(), ClassifyError> {
        let (begun, count) = (Instant::now(), tiles.len());
        let run = catch_unwind(AssertUnwindSafe(|| self.run(tiles, count)))
            .unwrap_or_else(|panic| Err(ClassifyError::Panic(panics::message(&*panic))));
        match run {
            Ok(()) => self.cost.note(begun.elapsed(), count),
            Err(_) => self.scores.clear(),
        }
        run
    }

    fn run<'a>(
        &mut self,
        tiles: impl Iterator<Item = (&'a [u8], usize)>,
        count: usize,
    ) -> Result<(), ClassifyError> {
        for (slot, (tile, width)) in tiles.enumerate() {
            self.input.prepare(slot, tile, width)?;
        }
        let batch = self.input.batch(count);
        self.engine.run(batch, count, &mut self.scores)?;
        let classes = self.classes();
        if self.scores.len() != count * classes {
            return Err(ClassifyError::ScoreCount {
                got: self.scores.len(),
                tiles: count,
                classes,
            });
        }
        Ok(())
    }

    /// Whether nothing is known of the tiles that it was to look at.
    pub(super) fn has_failed(&self) -> bool {
        self.scores.is_empty()
    }

    /// What it says of the tile at a place among those that it has looked at:
    /// verdict and probabilities, or `None` where its scores are no numbers or
    /// it has failed. May be asked once for each tile.
    pub(super) fn verdict(&mut self, place: usize) -> Option<(Verdict, &[f32])> {
        let classes = self.classes();
        let scores = self.scores.chunks_exact_mut(classes).nth(place)?;
        if !decide::are_finite(scores) {
            return None;
        }
        Some((self.decider.decide(scores), scores))
    }

    /// How far the tile at a place among those that it has looked at is from those that it
    /// was trained on; `None` where it cannot tell.
    pub(super) fn distance(&self, place: usize) -> Option<f32> {
        let distance = self.engine.distances().get(place);
        distance.copied().filter(|distance| distance.is_finite())
    }

    /// As [`Network::verdict`], with the probability of a defect.
    pub(super) fn suspicion(&mut self, place: usize) -> Option<(Verdict, f32)> {
        let no_defect = self.decider.no_defect();
        let (verdict, probabilities) = self.verdict(place)?;
        Some((verdict, 1.0 - probabilities[no_defect]))
    }
}
