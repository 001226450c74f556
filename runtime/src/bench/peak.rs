//! What a core can compute at most.

use std::hint::black_box;
use std::time::{Duration, Instant};

use multiversion::multiversion;

/// Chains of operations that do not wait for one another: twelve registers of
/// the largest kind today, of sixteen numbers, which is more than a core's units
/// and their latencies together can use and less than it has.
const CHAINS: usize = 12 * 16;

const ROUNDS: u32 = 10_000;

/// Multiplications, each with an addition, of `f32` a second on this thread: as
/// many independent ones as fit into registers, again and again.
pub fn multiply_adds_per_second(time: Duration) -> f64 {
    let mut sums = [1.0; CHAINS];
    let begun = Instant::now();
    let mut rounds = 0u64;
    while begun.elapsed() < time {
        chains(&mut sums, black_box(0.999), black_box(1e-3));
        rounds += u64::from(ROUNDS);
    }
    let took = begun.elapsed().as_secs_f64();
    black_box(sums);
    rounds as f64 * CHAINS as f64 / took
}

#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma", "aarch64+neon"))]
fn chains(sums: &mut [f32; CHAINS], factor: f32, addend: f32) {
    let mut own = *sums;
    for _ in 0..ROUNDS {
        for sum in &mut own {
            *sum = sum.mul_add(factor, addend);
        }
    }
    *sums = own;
}

/// How many more multiplications of 8 bits than of `f32` this processor does in
/// the same time: four where it has the instructions for it (VNNI), which work
/// on four times as many numbers in a register; `None` where it has not.
pub fn byte_factor() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
        has.then_some(4.0)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_computes() {
        let rate = multiply_adds_per_second(Duration::from_millis(20));
        assert!(rate > 1e7, "{rate}");
    }
}
