//! Pretraining as a masked autoencoder on small synthetic tiles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod runs;
mod tiles;

use std::path::Path;

use millsight_export::weights::NamedArrays;
use millsight_trainer::data::augment::Change;
use millsight_trainer::downstream;
use millsight_trainer::model::mae::DecoderSpec;
use millsight_trainer::optimise::schedule::Course;
use millsight_trainer::pretext;
use millsight_trainer::pretext::mae;
use millsight_trainer::pretext::mae::rate::LearningRate;
use millsight_trainer::pretext::masking::Masking;
use millsight_trainer::run::config::{MaeConfig, Method, RunConfig};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::run::log::EpochRecord;
use runs::{data, machine, pretrained as run};

fn config(data: &Path, epochs: usize) -> RunConfig {
    let mut config = runs::config(data, epochs);
    runs::vit(&mut config).layer_scale = false;
    RunConfig {
        optimiser: mae::optimiser(0.05),
        method: Method::Mae(MaeConfig {
            decoder: DecoderSpec {
                width: 16,
                depth: 1,
                heads: 2,
            },
            masking: Masking::Grid,
            mask_ratio: 0.75,
            normalise_patches: false,
            learning_rate: LearningRate {
                base: 2e-3,
                course: Course::Cosine,
                last: 0.0,
                warmup_epochs: 1.0,
            },
            picture_interval: 2,
            augmentations: vec![Change::FlipHorizontal { probability: 0.5 }],
        }),
        ..config
    }
}

fn recipe(config: &mut RunConfig) -> &mut MaeConfig {
    match &mut config.method {
        Method::Mae(recipe) => recipe,
        _ => panic!("another method"),
    }
}

fn losses(log: &[EpochRecord]) -> Vec<(f64, f64)> {
    log.iter()
        .map(|record| (record.figure("train_loss"), record.figure("val_loss")))
        .collect()
}

#[test]
fn tiles_are_filled_in_better_and_better_with_every_masking() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    for (masking, normalise_patches) in [
        (Masking::Random, false),
        (Masking::Block, true),
        (Masking::Grid, false),
    ] {
        let mut config = config(data.path(), 30);
        recipe(&mut config).masking = masking;
        recipe(&mut config).normalise_patches = normalise_patches;
        let run = run(
            &out.path().join(format!("{masking:?}")),
            &config,
            machine(2),
        );
        let losses = losses(&run.log().records().unwrap());
        let (first, last) = (losses[0], losses[29]);
        // Normalised pixels of noise cannot be known; their marks can.
        let share = if normalise_patches { 0.97 } else { 0.7 };
        assert!(last.0 < share * first.0, "{masking:?}: {losses:?}");
        assert!(last.1 < share * first.1, "{masking:?}: {losses:?}");
    }
}

#[test]
fn pictures_show_tiles_and_come_at_intervals() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 5);
    recipe(&mut config).normalise_patches = true;
    let run = run(&out.path().join("run"), &config, machine(2));
    let written: Vec<usize> = (1..=5)
        .filter(|&epoch| run.picture(epoch).exists())
        .collect();
    assert_eq!(written, [2, 4, 5]);
    let [first, last] = [2, 5].map(|epoch| image::open(run.picture(epoch)).unwrap().to_rgb8());
    // Six tiles of the validation part, with gaps of 4 pixels.
    assert_eq!(first.dimensions(), (3 * 32 + 2 * 4, 6 * 36 - 4));
    let at = |x: u32, y: u32, column: u32| first.get_pixel(x + 36 * column, y).0;
    let mut removed = 0;
    for tile in 0..6 {
        for patch in 0..16 {
            let (left, top) = (patch % 4 * 8, tile * 36 + patch / 4 * 8);
            let pixels = (0..64).map(|pixel| (left + pixel % 8, top + pixel / 8));
            let gone = pixels.clone().all(|(x, y)| at(x, y, 1) == [128; 3]);
            removed += u32::from(gone);
            for (x, y) in pixels {
                // The same tiles each time, with the same patches removed.
                for column in [0, 1] {
                    assert_eq!(at(x, y, column), last.get_pixel(x + 36 * column, y).0);
                }
                // Known patches are shown as they are.
                if !gone {
                    assert_eq!([at(x, y, 1), at(x, y, 2)], [at(x, y, 0); 2]);
                }
            }
        }
    }
    assert_eq!(removed, 6 * 12);
}

#[test]
fn a_resumed_run_equals_one_that_was_not_stopped() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let config = config(data.path(), 4);
    let logs = runs::whole_and_resumed(out.path(), &config)
        .map(|run| losses(&run.log().records().unwrap()));
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_workers() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 2);
    recipe(&mut config).masking = Masking::Random;
    let bytes = |name: &str, config: &RunConfig, workers: usize| {
        let run = run(&out.path().join(name), config, machine(workers));
        let pictures = std::fs::read(run.picture(2)).unwrap();
        (std::fs::read(run.last()).unwrap(), pictures)
    };
    let one = bytes("one", &config, 1);
    assert_eq!(one, bytes("three", &config, 3));
    config.seed += 1;
    assert_ne!(one.0, bytes("other", &config, 2).0);
}

#[test]
fn frozen_positions_are_kept_and_have_no_moments() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let run = run(&out.path().join("run"), &config(data.path(), 1), machine(2));
    let checkpoint = NamedArrays::load(&run.last()).unwrap();
    for frozen in ["pos_embed", "decoder_pos_embed"] {
        let positions = checkpoint.require(&format!("model.{frozen}")).unwrap();
        let width = positions.shape[2];
        let expected = millsight_trainer::model::mae::sincos::positions(width, 4, 4);
        assert_eq!(positions.data, expected);
        assert!(checkpoint.get(&format!("exp_avg.{frozen}")).is_none());
    }
    assert!(checkpoint.get("exp_avg.mask_token").is_some());
}

#[test]
fn a_classifier_begins_with_the_backbone() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let pretraining = config(data.path(), 1);
    let pretrained = run(&out.path().join("mae"), &pretraining, machine(2));
    let backbone = NamedArrays::load(&pretrained.backbone()).unwrap();
    assert!(backbone.names().all(|name| !name.starts_with("decoder")));
    assert!(backbone.get("head.weight").is_none());
    let tuned = runs::tuned_from(&pretrained, &pretraining, &out.path().join("tuned"));

    // And pretraining continues from the classifier, whose head it leaves out.
    let again = runs::pretrained_from(&tuned, pretraining, &out.path().join("again"));
    let backbone = NamedArrays::load(&again.backbone()).unwrap();
    assert!(backbone.get("head.weight").is_none());
    let trained = NamedArrays::load(&tuned.best()).unwrap();
    assert_eq!(backbone.get("pos_embed"), trained.get("pos_embed"));
}

#[test]
fn one_folder_of_tiles_without_labels_is_enough() {
    let data = tiles::folder(&[("unlabelled", 20)], 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let run = run(&out.path().join("run"), &config(data.path(), 1), machine(2));
    assert!(run.backbone().exists());
}

#[test]
fn errors_name_what_is_wrong() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let good = config(data.path(), 1);
    let fails = |name: &str, config: &RunConfig| {
        let run = RunFolder::create(&out.path().join(name), config).unwrap();
        pretext::train(&run, config, machine(1), |_| {})
            .unwrap_err()
            .to_string()
    };
    for (ratio, visible) in [(0.95, 0), (1.0, 0), (0.0, 16), (-0.5, 24), (f64::NAN, 0)] {
        let mut wrong = good.clone();
        recipe(&mut wrong).mask_ratio = ratio;
        let message = fails(&format!("ratio {ratio}"), &wrong);
        assert!(
            message.contains(&format!("--mask-ratio {ratio}")),
            "{message}"
        );
        assert!(message.contains(&format!("{visible} of 16")), "{message}");
    }

    let mut rate = good.clone();
    recipe(&mut rate).learning_rate.base = -1.0;
    assert!(fails("rate", &rate).contains("--learning-rate"));

    let mut decoder = good.clone();
    recipe(&mut decoder).decoder.heads = 3;
    assert!(fails("decoder", &decoder).contains("the decoder: "));

    let mut wild = good.clone();
    recipe(&mut wild).learning_rate = LearningRate {
        base: 1e30,
        course: Course::Constant,
        last: 0.0,
        warmup_epochs: 0.0,
    };
    assert!(fails("wild", &wild).contains("there is no checkpoint yet"));

    // A run of one command is not continued by the other.
    let run = RunFolder::create(&out.path().join("other"), &good).unwrap();
    let message = downstream::train(&run, &good, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("pretrain --resume"), "{message}");
}
