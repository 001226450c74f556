//! Linear probing, few labels and early stopping on small synthetic tiles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod runs;
mod tiles;

use std::path::Path;

use millsight_export::weights::NamedArrays;
use millsight_trainer::data::table::Split;
use millsight_trainer::downstream::train;
use millsight_trainer::evaluate::judge::Judge;
use millsight_trainer::evaluate::{Source, evaluate};
use millsight_trainer::run::config::{
    LabelFraction, Method, PinnedWeights, ProbeConfig, RunConfig,
};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::training::Event;
use runs::{config, machine, recipe};

const CLASSES: [(&str, usize); 3] = [("no_defect", 24), ("cracks", 16), ("overfill", 16)];

/// A probe of the same network.
fn probe(data: &Path, epochs: usize, batch_norm: bool) -> RunConfig {
    let mut config = config(data, epochs);
    let mut supervision = recipe(&mut config).supervision.clone();
    supervision.learning_rate = 1e-2;
    config.method = Method::Probe(ProbeConfig {
        supervision,
        batch_norm,
    });
    config
}

fn run(folder: &Path, config: &RunConfig, workers: usize) -> RunFolder {
    let run = RunFolder::create(folder, config).unwrap();
    train(&run, config, machine(workers), |_| {}).unwrap();
    run
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_probe_learns_a_head_and_leaves_the_network_alone() {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let tuned = run(&out.path().join("tuned"), &config(data.path(), 20), 2);
    for batch_norm in [false, true] {
        let mut config = probe(data.path(), 40, batch_norm);
        config.initial_weights = Some(PinnedWeights::of(&tuned.best()).unwrap());
        let probed = run(&out.path().join(format!("probed-{batch_norm}")), &config, 2);
        let records = probed.log().records().unwrap();
        let (first, last) = (&records[0], records.last().unwrap());
        assert!(last.figure("train_loss") < 0.5 * first.figure("train_loss"));
        assert!(last.figure("val_balanced_accuracy") > 0.6, "{last:?}");

        let (given, got) = (
            NamedArrays::load(&tuned.best()).unwrap(),
            NamedArrays::load(&probed.best()).unwrap(),
        );
        assert_eq!(got.len(), given.len());
        for (name, array) in given.iter() {
            let same = got.require(name).unwrap() == array;
            assert_eq!(same, !name.starts_with("head."), "{name}");
        }
        // The whole network says what the head said of the features.
        let mut judge = Judge::open(&probed.best(), machine(1)).unwrap();
        let source = Source {
            table: config.table.clone(),
            data_root: config.data_root.clone(),
            split: Split::Val,
        };
        let whole = evaluate(&mut judge, &source, machine(1), |_| {}, |_| {}).unwrap();
        let best = records
            .iter()
            .map(|record| record.figure("val_balanced_accuracy"))
            .fold(0.0, f64::max);
        assert_eq!(whole.report.balanced_accuracy, best);
    }
}

#[test]
fn a_resumed_probe_computes_no_features_and_equals_one_that_was_not_stopped() {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let config = probe(data.path(), 4, true);
    let whole = RunFolder::create(&out.path().join("whole"), &config).unwrap();
    let stopped = out.path().join("stopped");
    let mut computed = 0;
    train(&whole, &config, machine(1), |event| match event {
        Event::Features { done, .. } => computed = done,
        Event::Complete { record, .. } if record.epoch == 2 => {
            std::fs::create_dir(&stopped).unwrap();
            for file in std::fs::read_dir(whole.path()).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), stopped.join(file.file_name())).unwrap();
            }
        }
        _ => {}
    })
    .unwrap();
    let table = millsight_trainer::data::table::Table::read(&config.table).unwrap();
    let used = [Split::Train, Split::Val].map(|part| table.part(part).unwrap().len());
    assert_eq!(computed, used.iter().sum::<usize>());

    let (resumed, same) = RunFolder::open(&stopped).unwrap();
    assert_eq!(same, config);
    let again = |run: &RunFolder| {
        let mut computed = false;
        train(run, &config, machine(2), |event| {
            computed |= matches!(event, Event::Features { .. });
        })
        .unwrap();
        computed
    };
    assert!(!again(&resumed));
    assert_eq!(bytes(&whole.last()), bytes(&resumed.last()));
    assert_eq!(bytes(&whole.best()), bytes(&resumed.best()));

    // What is damaged, or of other weights, is computed anew.
    let features = resumed.path().join("features.safetensors");
    let good = bytes(&features);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&features, bad).unwrap();
    assert!(again(&resumed));
    assert_eq!(bytes(&features), good);
    let mut other = config.clone();
    other.seed += 1;
    let other = run(&out.path().join("other"), &other, 1);
    std::fs::copy(other.path().join("features.safetensors"), &features).unwrap();
    assert!(again(&resumed));
}

#[test]
fn few_labels_leave_every_class_a_tile() {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 1);
    let mut seen = 0;
    for (fraction, tiles) in [(1e-3, 3), (0.5, 20)] {
        recipe(&mut config).supervision.labels = Some(LabelFraction { fraction, tiles });
        let run = RunFolder::create(&out.path().join(tiles.to_string()), &config).unwrap();
        train(&run, &config, machine(1), |event| {
            if let Event::Epoch { tiles, .. } = event {
                seen = tiles;
            }
        })
        .unwrap();
        assert!(seen.abs_diff(tiles) <= 1, "{seen} instead of {tiles}");
    }
    recipe(&mut config).supervision.labels = Some(LabelFraction {
        fraction: 1.5,
        tiles: 0,
    });
    let run = RunFolder::create(&out.path().join("wrong"), &config).unwrap();
    let error = train(&run, &config, machine(1), |_| {}).unwrap_err();
    assert!(error.to_string().contains("--label-fraction"), "{error}");
}

#[test]
fn a_run_without_progress_stops_early_and_stays_stopped() {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 9);
    let supervision = &mut recipe(&mut config).supervision;
    // Too little to change a weight in single precision.
    supervision.learning_rate = 1e-60;
    supervision.early_stopping = Some(2);
    let run = RunFolder::create(&out.path().join("run"), &config).unwrap();
    for _ in 0..2 {
        let position = train(&run, &config, machine(1), |_| {}).unwrap();
        assert_eq!((position.epochs, position.best_epoch), (3, 1));
        assert_eq!(run.log().records().unwrap().len(), 3);
    }
}

#[test]
fn lower_layers_learn_more_slowly_with_layer_decay() {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 1);
    config.optimiser.weight_decay = 0.0;
    let moved = |name: &str, config: &RunConfig| {
        let run = run(&out.path().join(name), config, 1);
        let spec = config.network.vit("this test").unwrap();
        let before = millsight_trainer::model::initial::vit(spec, 1.0, config.seed);
        let (before, after) = (before.unwrap(), NamedArrays::load(&run.best()).unwrap());
        ["patch_embed.proj.weight", "norm.bias"].map(|name| {
            let pairs = before.require(name).unwrap().data.iter();
            let pairs = pairs.zip(&after.require(name).unwrap().data);
            pairs
                .map(|(a, b)| f64::from((a - b).abs()))
                .fold(0.0, f64::max)
        })
    };
    let plain = moved("plain", &config);
    config.optimiser.layer_decay = Some(0.1);
    let decayed = moved("decayed", &config);
    assert!(decayed[0] < 0.02 * plain[0], "{decayed:?} {plain:?}");
    assert!(decayed[1] > 0.2 * plain[1], "{decayed:?} {plain:?}");
}
