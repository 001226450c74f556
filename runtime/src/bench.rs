//! How fast the line is inspected.
//!
//! * [`burst`]: more defects than can be judged in time.
//! * [`engine`]: what an engine judges.
//! * [`ingest`]: what a core does before any network.
//! * [`optics`]: a camera whose pixels are not alike.
//! * [`page`]: the page while the line runs.
//! * [`peak`]: what a core can compute at most.
//! * [`process`]: what the program takes of the machine.
//! * [`trial`]: a run at a rate, and whether it was held.
//! * [`search`]: the highest rate that is held.

pub mod burst;
pub mod engine;
pub mod ingest;
pub mod optics;
pub mod page;
pub mod peak;
pub mod process;
pub mod search;
pub mod trial;

/// The value in the middle, or between the two there; `None` where there is none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }
}
