//! Memory that a thread uses again and again.
//!
//! A training step allocates the same sizes in the same order each time.
//! Fresh memory from the operating system costs a page fault for each 4 KiB;
//! kept buffers cost nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A slice that goes back to the free buffers of the thread that drops it.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<f32>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` elements of any value.
    pub(super) fn new(length: usize) -> Self {
        let found = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, unless most of it would lie idle.
            let (index, size) = free
                .iter()
                .enumerate()
                .map(|(index, memory)| (index, memory.len()))
                .filter(|&(_, size)| size >= length && size / 2 <= length)
                .min_by_key(|&(_, size)| size)?;
            debug_assert!(size >= length);
            Some(free.swap_remove(index))
        });
        Self {
            memory: found.unwrap_or_else(|| vec![0.0; length]),
            length,
        }
    }

    /// A buffer with the same elements.
    pub(super) fn copy_of(elements: &[f32]) -> Self {
        let mut buffer = Self::new(elements.len());
        buffer.copy_from_slice(elements);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // At the end of a thread its buffers are gone already.
        let _ = FREE.try_with(|free| free.borrow_mut().push(memory));
    }
}
