//! The supervised loop on small synthetic tiles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod runs;
mod tiles;

use std::path::Path;

use millsight_trainer::TrainError;
use millsight_trainer::data::augment::Change;
use millsight_trainer::data::table::Table;
use millsight_trainer::downstream::class_weights::ClassWeighting;
use millsight_trainer::downstream::train;
use millsight_trainer::machine::Machine;
use millsight_trainer::run::config::RunConfig;
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::run::log::EpochRecord;
use millsight_trainer::training::Event;
use runs::{config, machine, recipe, vit};

fn losses(log: &[EpochRecord]) -> Vec<(f64, f64)> {
    log.iter()
        .map(|record| (record.figure("train_loss"), record.figure("val_loss")))
        .collect()
}

fn run(folder: &Path, config: &RunConfig, machine: Machine) -> RunFolder {
    let run = RunFolder::create(folder, config).unwrap();
    train(&run, config, machine, |_| {}).unwrap();
    run
}

#[test]
fn sixteen_tiles_are_learnt_by_heart() {
    let data = tiles::folder(&[("no_defect", 8), ("cracks", 4), ("overfill", 4)], 32);
    tiles::split_all_into_train_and_val(data.path());
    let out = tempfile::tempdir().unwrap();
    let config = config(data.path(), 100);
    let run = run(&out.path().join("run"), &config, machine(2));
    let log = run.log().records().unwrap();
    let last = log.last().unwrap();
    assert!(last.figure("train_loss") < 0.05, "{last:?}");
    assert_eq!(last.figure("val_balanced_accuracy"), 1.0, "{last:?}");
}

#[test]
fn a_resumed_run_equals_one_that_was_not_stopped() {
    let data = tiles::folder(&[("no_defect", 20), ("cracks", 10), ("overfill", 10)], 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 5);
    recipe(&mut config).augmentations = vec![
        Change::FlipHorizontal { probability: 0.5 },
        Change::Brightness { strength: 0.1 },
        Change::Noise { deviation: 4.0 },
    ];
    let whole = RunFolder::create(&out.path().join("whole"), &config).unwrap();
    let stopped = out.path().join("stopped");
    train(&whole, &config, machine(1), |event| {
        if let Event::Complete { record, .. } = event
            && record.epoch == 2
        {
            // What a run that dies now leaves behind, with a line of the log
            // that its checkpoint does not cover and one that is cut.
            std::fs::create_dir(&stopped).unwrap();
            for file in std::fs::read_dir(whole.path()).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), stopped.join(file.file_name())).unwrap();
            }
            let log = stopped.join("log.jsonl");
            let mut text = std::fs::read_to_string(&log).unwrap();
            let line = text
                .lines()
                .last()
                .unwrap()
                .replace("\"epoch\":2", "\"epoch\":3");
            text.push_str(&line);
            text.push_str("\n{\"epoch\":4,\"tra");
            std::fs::write(&log, text).unwrap();
        }
    })
    .unwrap();
    let (resumed, same) = RunFolder::open(&stopped).unwrap();
    assert_eq!(same, config);
    train(&resumed, &same, machine(2), |_| {}).unwrap();
    let (whole_log, resumed_log) = (
        whole.log().records().unwrap(),
        resumed.log().records().unwrap(),
    );
    assert_eq!(losses(&whole_log), losses(&resumed_log));
    assert_eq!(whole_log.len(), 5);
    assert_eq!(
        std::fs::read(whole.last()).unwrap(),
        std::fs::read(resumed.last()).unwrap()
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_workers() {
    let data = tiles::folder(&[("no_defect", 12), ("cracks", 9), ("overfill", 9)], 40);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 2);
    let demanding = recipe(&mut config);
    demanding.supervision.balanced_sampling = true;
    demanding.supervision.class_weighting = ClassWeighting::Effective { beta: 0.9 };
    demanding.supervision.focal_gamma = 2.0;
    demanding.drop_path = 0.5;
    demanding.augmentations = vec![
        Change::RandomCrop {
            area: (0.6, 1.0),
            aspect: Change::ASPECT,
        },
        Change::Noise { deviation: 4.0 },
        Change::Illumination { strength: 0.5 },
    ];
    let one = run(&out.path().join("one"), &config, machine(1));
    let three = run(
        &out.path().join("three"),
        &config,
        Machine {
            // Nothing is cached: every tile is decoded anew.
            cache_bytes: 0,
            ..machine(3)
        },
    );
    assert_eq!(
        std::fs::read(one.last()).unwrap(),
        std::fs::read(three.last()).unwrap()
    );
    recipe(&mut config).drop_path = 0.0;
    let kept = run(&out.path().join("kept"), &config, machine(2));
    assert_ne!(
        std::fs::read(one.last()).unwrap(),
        std::fs::read(kept.last()).unwrap()
    );
    config.seed += 1;
    let other = run(&out.path().join("other"), &config, machine(2));
    assert_ne!(
        std::fs::read(one.last()).unwrap(),
        std::fs::read(other.last()).unwrap()
    );
}

#[test]
fn errors_name_what_is_wrong() {
    let data = tiles::folder(&[("no_defect", 12), ("cracks", 9), ("overfill", 9)], 40);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let good = config(data.path(), 1);
    let fails = |name: &str, config: &RunConfig| {
        let run = RunFolder::create(&out.path().join(name), config).unwrap();
        train(&run, config, machine(1), |_| {})
            .unwrap_err()
            .to_string()
    };

    let mut changed = good.clone();
    changed.table_sha256 = "00".into();
    assert!(fails("changed", &changed).contains("not the file"));

    let mut unknown = good.clone();
    unknown.classes = vec!["no_defect".into(), "cracks".into(), "rust".into()];
    let message = fails("unknown", &unknown);
    assert!(
        message.contains("overfill") && message.contains("rust"),
        "{message}"
    );

    let mut rate = good.clone();
    recipe(&mut rate).supervision.learning_rate = 0.0;
    assert!(fails("rate", &rate).contains("--learning-rate"));

    let mut dropping = good.clone();
    recipe(&mut dropping).drop_path = 1.0;
    assert!(fails("dropping", &dropping).contains("--drop-path"));

    let mut wild = good.clone();
    recipe(&mut wild).supervision.learning_rate = 1e30;
    wild.epochs = 3;
    recipe(&mut wild).clip_gradient_norm = None;
    assert!(fails("wild", &wild).contains("there is no checkpoint yet"));

    let mut absent = good.clone();
    absent.classes.push("rust".into());
    vit(&mut absent).classes = 4;
    let message = fails("absent", &absent);
    assert!(
        message.contains("no tile of the class \"rust\""),
        "{message}"
    );

    let first = Table::read(&good.table).unwrap().rows[0].path.clone();
    std::fs::write(data.path().join(&first), b"\x89PNG\r\n\x1a\ncut").unwrap();
    assert!(fails("image", &good).contains(&first));

    let run = RunFolder::create(&out.path().join("again"), &good).unwrap();
    std::fs::write(run.last(), b"half a checkpoint").unwrap();
    let again = RunFolder::create(run.path(), &good);
    assert!(matches!(again, Err(TrainError::RunExists { .. })));
    let message = train(&run, &good, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("last.safetensors"), "{message}");
}

#[test]
fn weights_that_are_no_numbers_never_replace_a_checkpoint() {
    let data = tiles::folder(&[("no_defect", 12), ("cracks", 9)], 40);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 1);
    config.classes = vec!["no_defect".into(), "cracks".into()];
    vit(&mut config).classes = 2;
    let run = run(&out.path().join("run"), &config, machine(1));
    let before = std::fs::read(run.last()).unwrap();
    // One step an epoch: its own loss is still a number, what it leaves is not.
    config.batch_size = 64;
    config.epochs = 3;
    recipe(&mut config).supervision.learning_rate = 1e30;
    recipe(&mut config).supervision.warmup_epochs = 0.0;
    recipe(&mut config).clip_gradient_norm = None;
    let message = train(&run, &config, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("the last good checkpoint is"), "{message}");
    assert!(message.contains("last.safetensors"), "{message}");
    assert_eq!(std::fs::read(run.last()).unwrap(), before);
    assert_eq!(run.log().records().unwrap().len(), 1);
}

#[test]
fn a_run_belongs_to_one_program() {
    let data = tiles::folder(&[("no_defect", 12), ("cracks", 9), ("overfill", 9)], 40);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let config = config(data.path(), 1);
    let path = out.path().join("run");
    let run = RunFolder::create(&path, &config).unwrap();
    let in_use = |error: TrainError| {
        let error = error.to_string();
        assert!(
            error.contains("another millsight-train works on"),
            "{error}"
        );
    };
    // From its beginning, when there is no checkpoint yet.
    let other = RunConfig {
        seed: config.seed + 1,
        ..config.clone()
    };
    in_use(RunFolder::create(&path, &other).unwrap_err());
    let (second, same) = RunFolder::open(&path).unwrap();
    assert_eq!(same, config);
    let mut refused = None;
    train(&run, &config, machine(1), |event| {
        if let Event::Complete { .. } = event {
            refused = Some(train(&second, &config, machine(1), |_| {}));
        }
    })
    .unwrap();
    in_use(refused.unwrap().unwrap_err());
}

#[test]
fn what_a_kill_left_half_written_is_removed() {
    let data = tiles::folder(&[("no_defect", 12), ("cracks", 9), ("overfill", 9)], 40);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let left = out.path().join(".partial-4f2a");
    std::fs::write(&left, "half of a checkpoint").unwrap();
    run(out.path(), &config(data.path(), 1), machine(1));
    assert!(!left.exists());
}

#[test]
fn one_class_is_not_enough() {
    let data = tiles::folder(&[("cracks", 20)], 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 1);
    config.classes = vec!["cracks".into(), "no_defect".into()];
    vit(&mut config).classes = 2;
    let run = RunFolder::create(&out.path().join("run"), &config).unwrap();
    let message = train(&run, &config, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("only the class \"cracks\""), "{message}");
}
