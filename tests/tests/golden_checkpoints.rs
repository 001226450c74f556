//! Checkpoints that the official programs wrote hold the case's weights.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use millsight_export::weights::NamedArray;
use millsight_tests::golden;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::layouts::Layout;

/// What the names of the network begin with that DINO keeps.
const TEACHER: &str = "teacher.backbone.";

#[test]
fn checkpoints_hold_the_weights_of_their_case() {
    let mut checkpoints = 0;
    for (kind, layout) in [("mae", Layout::Mae), ("dino", Layout::Dino)] {
        for case in golden::cases(kind) {
            let files = case.manifest.files.keys();
            for file in files.filter(|name| name.ends_with(".pth")) {
                let path = case.folder.join(file);
                if !path.exists() {
                    continue;
                }
                let backbone = Backbone::open(&path).unwrap();
                assert_eq!(backbone.layout, layout, "{file}");
                assert!(
                    backbone.unknown.is_empty(),
                    "{file}: {:?}",
                    backbone.unknown
                );
                let weights = case.weights().expect("the case's weights");
                let teacher = weights.names().any(|name| name.starts_with(TEACHER));
                let prefix = if teacher { TEACHER } else { "" };
                let pretext = |name: &str| name.starts_with("decoder_") || name == "mask_token";
                let expected: BTreeMap<&str, &NamedArray> = weights
                    .iter()
                    .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)))
                    .filter(|(name, _)| !pretext(name))
                    .collect();
                let got: BTreeMap<&str, &NamedArray> = backbone.weights.iter().collect();
                assert!(got == expected, "{} differs", path.display());
                checkpoints += 1;
            }
        }
    }
    assert!(checkpoints > 0 || golden::is_elsewhere(), "no checkpoint");
}
