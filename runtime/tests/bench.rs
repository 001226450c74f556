//! What the benchmarks print.
#![allow(clippy::unwrap_used)]

mod support;

use support::run;

#[test]
fn a_burst_that_is_too_much_is_made_up_for() {
    // 12,000 lines a second are 188 tiles, more than one worker judges.
    let words = "--json bench burst --before 2 --burst 2 --after 2 --rate 12000 \
                 --engine embedded --workers 1 --no-screen";
    let (code, said, message) = run(&words.split_whitespace().collect::<Vec<_>>());
    assert_eq!(code, 0, "{message}");
    let tiles = &said["tiles"];
    let count = |state: &str| tiles[state].as_u64().unwrap();
    assert_eq!(count("total"), 8 * 3 * 47);
    let states = ["background", "cleared", "judged", "unjudged"].map(count);
    assert_eq!(states.iter().sum::<u64>(), count("total"), "{said}");
    assert!(said["most_unjudged"].as_u64().unwrap() > 0, "{said}");
    assert!(count("late") > 0, "{said}");
    let recovered = said["recovered_s"].as_f64();
    assert_eq!(recovered.is_some(), count("unjudged") == 0, "{said}");
    assert!(recovered.unwrap_or(1.0) > 0.0, "{said}");
    assert_eq!(said["recorded"]["tiles_lost"], 0, "{said}");
}
