//! Resampled position embeddings equal timm's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_tests::golden::{self, network, network::Expectation};
use millsight_trainer::weights::positions::resample;

#[test]
fn resampled_positions_equal_timm() {
    let mut problems = Vec::new();
    for case in golden::cases("vit") {
        for entry in case.expected() {
            let Expectation::Positions(pixels, convention) = Expectation::of(&case, entry) else {
                continue;
            };
            let positions = case.array("pos_embed");
            let patch = case.manifest.config["patch"].as_u64().expect("patch") as usize;
            let from = network::grid(&case, &positions, patch);
            let to = pixels.map(|side| side / patch);
            let got = resample(&positions, from, to, convention);
            assert_eq!(got.shape, entry.shape, "{}", entry.name);
            problems.extend(case.check(&entry.name, &got.data).err());
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
