//! Resampled position embeddings equal timm's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_export::weights::NamedArray;
use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::weights::positions::{Convention, resample};

/// Height and width in pixels, and whether timm antialiased, from a name such
/// as `out_32x48_antialias1`.
fn target(name: &str) -> Option<([usize; 2], Convention)> {
    let (size, antialias) = name.strip_prefix("out_")?.split_once("_antialias")?;
    let (height, width) = size.split_once('x')?;
    let convention = match antialias {
        "1" => Convention::Timm,
        "0" => Convention::Mae,
        _ => return None,
    };
    Some(([height.parse().ok()?, width.parse().ok()?], convention))
}

fn resampled(case: &GoldenCase, positions: &NamedArray, name: &str) -> Option<NamedArray> {
    let (pixels, convention) = target(name)?;
    let number = |key: &str| case.manifest.config[key].as_u64().expect(key) as usize;
    let (patch, grid) = (number("patch"), number("img") / number("patch"));
    let to = pixels.map(|side| side / patch);
    Some(resample(positions, [grid, grid], to, convention))
}

#[test]
fn resampled_positions_equal_timm() {
    let mut run = 0;
    let mut problems = Vec::new();
    for case in golden::cases("vit") {
        for entry in &case.manifest.tensors {
            if target(&entry.name).is_none() {
                continue;
            }
            let positions = case.array("pos_embed");
            let got = resampled(&case, &positions, &entry.name).expect("a target");
            assert_eq!(got.shape, entry.shape, "{}", entry.name);
            problems.extend(case.check(&entry.name, &got.data).err());
            run += 1;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(run > 0, "no case has resampled positions");
}
