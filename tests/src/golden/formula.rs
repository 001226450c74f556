//! Weights and inputs that are too large to store: numbers from a counter.
//!
//! Element `i` (from 0, row-major) of the tensor NAME: the seed is FNV-1a-64
//! of `SALT/NAME`; `z = seed + (i + 1) * 0x9E3779B97F4A7C15`, then the
//! finaliser of SplitMix64; `u = (z >> 40) / 2^24`; the value is
//! `(u * 2 - 1) * a + b`, each operation rounded to `f32`.

use millsight_export::weights::NamedArray;
use serde_json::Value;

/// The tensor that `entry` (`shape`, `a`, `b`, `first4`) describes.
pub(super) fn array(salt: &str, name: &str, entry: &Value) -> NamedArray {
    let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).expect("a shape");
    let number = |key: &str| {
        entry[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: no `{key}`"))
    };
    let (scale, offset) = (number("a") as f32, number("b") as f32);
    let seed = fnv1a(format!("{salt}/{name}").as_bytes());
    let elements = shape.iter().product::<usize>() as u64;
    let data: Vec<f32> = (0..elements)
        .map(|index| {
            let bits = finalise(seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            let unit = (bits >> 40) as f32 / 16_777_216.0;
            (unit * 2.0 - 1.0) * scale + offset
        })
        .collect();
    if let Some(first) = entry["first4"].as_array() {
        for (value, expected) in data.iter().zip(first) {
            let expected = expected.as_f64().expect("a number in first4") as f32;
            assert_eq!(*value, expected, "{name}: the formula gives other numbers");
        }
    }
    NamedArray { shape, data }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64 as the vectors use it.
fn finalise(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}
