//! Threads that compute shards of a batch.
//!
//! burn's CPU backend runs element-wise work on one thread and gains little
//! from a second one in its matrix products. A batch is therefore cut into
//! shards, and each worker computes whole shards on a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that compute shards, each with a pool of one thread for burn.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<rayon::ThreadPool>,
}

impl Workers {
    /// Starts `count` threads; 0 leaves all work to the calling thread and
    /// the backend's own threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pools = (0..count)
            .map(|number| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    .thread_name(move |_| format!("worker-{number}"))
                    .build()
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pools })
    }

    /// Computes `job(0)` to `job(jobs - 1)` and hands the results to `take`
    /// in that order, each as soon as it and all before it are there.
    pub fn in_order<T: Send>(
        &self,
        jobs: usize,
        job: impl Fn(usize) -> T + Sync,
        mut take: impl FnMut(T) + Send,
    ) {
        if self.pools.is_empty() {
            for number in 0..jobs {
                take(job(number));
            }
            return;
        }
        let next = AtomicUsize::new(0);
        let waiting = Mutex::new((0, BTreeMap::new(), take));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return;
                }
                let result = job(number);
                let mut guard = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let (due, results, take) = &mut *guard;
                results.insert(number, result);
                while let Some(result) = results.remove(due) {
                    take(result);
                    *due += 1;
                }
            }
        };
        std::thread::scope(|scope| {
            for pool in &self.pools {
                scope.spawn(|| pool.install(work));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_workers() {
        for count in [0, 1, 3] {
            let mut taken = Vec::new();
            Workers::new(count).unwrap().in_order(
                20,
                |number| {
                    std::thread::sleep(std::time::Duration::from_micros(number as u64 * 7 % 50));
                    number
                },
                |number| taken.push(number),
            );
            assert_eq!(taken, (0..20).collect::<Vec<_>>());
        }
    }
}
