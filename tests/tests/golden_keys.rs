//! The names and shapes of official networks are all known, and give the
//! network that they belong to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;

use millsight_export::weights::NamedArrays;
use millsight_tests::golden;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::file::WeightsFile;
use serde::Deserialize;

/// What a model's state dictionary holds.
#[derive(Deserialize)]
struct Keys {
    model: String,
    keys: BTreeMap<String, Vec<usize>>,
}

#[test]
fn names_of_official_networks_are_known() {
    let folder = golden::folder().join("keys");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        assert!(golden::is_elsewhere(), "no {}", folder.display());
        eprintln!("skipped: there is no {}", folder.display());
        return;
    };
    let mut networks = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let keys: Keys = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let model = &keys.model;
        let mut arrays = NamedArrays::new();
        for (name, shape) in &keys.keys {
            let zeros = vec![0.0; shape.iter().product()];
            arrays.insert(name.clone(), shape.clone(), zeros).unwrap();
        }
        let backbone = Backbone::of(WeightsFile::of_arrays(Path::new(model), arrays));
        if model.starts_with("DINOHead") {
            let error = backbone.unwrap_err().to_string();
            assert!(error.contains("none of its arrays"), "{error}");
            continue;
        }
        let backbone = backbone.unwrap();
        assert!(
            backbone.unknown.is_empty(),
            "{model}: {:?}",
            backbone.unknown
        );
        let decoder = |name: &String| name.starts_with("decoder_") || name == "mask_token";
        let decoders = keys.keys.keys().filter(|name| decoder(name)).count();
        assert_eq!(backbone.not_needed.len(), decoders, "{model}");
        assert!(backbone.not_needed.iter().all(decoder), "{model}");

        let classes = backbone.sizes.classes.unwrap_or(1);
        let mut network = backbone.network(None, classes).unwrap();
        let pixels = backbone
            .sizes
            .grid
            .unwrap()
            .map(|side| side * network.patch);
        [network.image_height, network.image_width] = pixels;
        let mut parameters: BTreeMap<_, _> = network.parameters().into_iter().collect();
        if backbone.sizes.classes.is_none() {
            parameters.retain(|name, _| !name.starts_with("head."));
        }
        let shape = |(name, array): (&str, &millsight_export::weights::NamedArray)| {
            (name.to_owned(), array.shape.clone())
        };
        let found: BTreeMap<_, _> = backbone.weights.iter().map(shape).collect();
        assert_eq!(found, parameters, "{model}");
        networks += 1;
    }
    assert!(networks > 0, "{} lists no network", folder.display());
}
