//! Pretraining with DINO on small synthetic tiles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod runs;
mod tiles;

use std::path::Path;

use millsight_export::weights::NamedArrays;
use millsight_trainer::downstream;
use millsight_trainer::model::dino::HeadSpec;
use millsight_trainer::pretext;
use millsight_trainer::pretext::dino;
use millsight_trainer::pretext::dino::config::DinoConfig;
use millsight_trainer::run::config::{Method, RunConfig};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::run::log::EpochRecord;
use millsight_trainer::training::Event;
use runs::{data, machine, pretrained as run};

fn config(data: &Path, epochs: usize) -> RunConfig {
    let mut config = runs::config(data, epochs);
    runs::vit(&mut config).layer_scale = false;
    RunConfig {
        optimiser: dino::optimiser(0.04),
        method: Method::Dino(DinoConfig {
            local_crops: 2,
            local_size: 16,
            head: HeadSpec {
                hidden: 48,
                bottleneck: 24,
                outputs: 96,
                norm_last_layer: true,
            },
            learning_rate: 1e-3,
            warmup_epochs: 1.0,
            ..DinoConfig::official(32, 8)
        }),
        ..config
    }
}

fn recipe(config: &mut RunConfig) -> &mut DinoConfig {
    match &mut config.method {
        Method::Dino(recipe) => recipe,
        _ => panic!("another method"),
    }
}

/// Everything in the log but the time that it took.
fn figures(log: &[EpochRecord]) -> Vec<(usize, Vec<(String, f64)>)> {
    let figures = |record: &EpochRecord| record.figures.clone().into_iter().collect();
    log.iter().map(|r| (r.steps, figures(r))).collect()
}

#[test]
fn the_student_learns_to_predict_the_teacher() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 30);
    // A teacher that stands still, and a centre that is always the last
    // batch's: what the student has to learn does not move.
    recipe(&mut config).teacher_momentum = 0.99999;
    recipe(&mut config).centre_momentum = 0.0;
    recipe(&mut config).learning_rate = 3e-3;
    let run = run(&out.path().join("run"), &config, machine(2));
    let log = run.log().records().unwrap();
    // 28 tiles of the training part make three whole batches.
    assert_eq!(log[0].steps, 3);
    let losses: Vec<f64> = log.iter().map(|r| r.figure("train_loss")).collect();
    assert!(losses[29] < 0.9 * losses[0], "{losses:?}");
    let last = &log[29];
    assert_eq!(last.figure("collapsed"), 0.0, "{last:?}");
    // Such a teacher has learnt nothing that its neighbours could show; what
    // they say is tested by itself.
    assert!((0.0..=1.0).contains(&last.figure("knn_balanced_accuracy")));
}

#[test]
fn a_resumed_run_equals_one_that_was_not_stopped() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 4);
    recipe(&mut config).head.norm_last_layer = false;
    recipe(&mut config).temperature_warmup_epochs = 3;
    let logs = runs::whole_and_resumed(out.path(), &config)
        .map(|run| figures(&run.log().records().unwrap()));
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_workers() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 2);
    recipe(&mut config).drop_path = 0.5;
    let bytes = |name: &str, config: &RunConfig, workers: usize| {
        let run = run(&out.path().join(name), config, machine(workers));
        std::fs::read(run.last()).unwrap()
    };
    let one = bytes("one", &config, 1);
    assert!(one == bytes("three", &config, 3));
    recipe(&mut config).drop_path = 0.0;
    assert!(one != bytes("whole", &config, 2));
    recipe(&mut config).drop_path = 0.5;
    config.seed += 1;
    assert!(one != bytes("other", &config, 2));
}

#[test]
fn the_last_layer_is_frozen_in_the_first_epoch() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let config = config(data.path(), 2);
    let run = RunFolder::create(&out.path().join("run"), &config).unwrap();
    let mut checkpoints = Vec::new();
    pretext::train(&run, &config, machine(2), |event| {
        if let Event::Complete { .. } = event {
            checkpoints.push(NamedArrays::load(&run.last()).unwrap());
        }
    })
    .unwrap();
    let data = |epoch: usize, name: &str| &checkpoints[epoch].require(name).unwrap().data;
    let directions = "head.last_layer.weight_v";
    let (student, teacher) = (
        format!("student.{directions}"),
        format!("teacher.{directions}"),
    );
    let apart = |epoch: usize| {
        let pairs = data(epoch, &student).iter().zip(data(epoch, &teacher));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(
        apart(0) < 1e-6 && apart(1) > 1e-5,
        "{} {}",
        apart(0),
        apart(1)
    );
    let steps = [directions, "head.mlp.0.weight"];
    let steps = steps.map(|name| [0, 1].map(|epoch| data(epoch, &format!("step.{name}"))[0]));
    assert_eq!(steps, [[0.0, 3.0], [3.0, 6.0]]);
    // Lengths that do not learn have no moments, and stay.
    let lengths = data(1, "student.head.last_layer.weight_g");
    assert!(lengths.iter().all(|length| *length == 1.0));
    assert!(
        checkpoints[1]
            .get("exp_avg.head.last_layer.weight_g")
            .is_none()
    );
}

#[test]
fn features_that_collapse_raise_the_alarm() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let mut soft = config(data.path(), 3);
    recipe(&mut soft).first_teacher_temperature = 100.0;
    recipe(&mut soft).teacher_temperature = 100.0;
    recipe(&mut soft).knn_every = 2;
    let mut sharp = config(data.path(), 3);
    // A centre that does not move, and a teacher that is sure of everything.
    recipe(&mut sharp).centre_momentum = 0.9999;
    recipe(&mut sharp).first_teacher_temperature = 1e-4;
    recipe(&mut sharp).teacher_temperature = 1e-4;
    recipe(&mut sharp).knn_every = 2;
    for (name, config, sign) in [
        ("soft", soft, "every output is equally probable"),
        ("sharp", sharp, "one output wins for every tile"),
    ] {
        let run = RunFolder::create(&out.path().join(name), &config).unwrap();
        let mut warnings = Vec::new();
        pretext::train(&run, &config, machine(2), |event| {
            if let Event::Warning(text) = event {
                warnings.push(text.to_owned());
            }
        })
        .unwrap();
        // Looked at after the second epoch and after the last.
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[1].contains(sign), "{warnings:?}");
        let log = run.log().records().unwrap();
        assert!(!log[0].figures.contains_key("collapsed"));
        assert_eq!([&log[1], &log[2]].map(|r| r.figure("collapsed")), [1.0; 2]);
    }
}

#[test]
fn a_classifier_begins_with_the_teacher_and_the_other_way_round() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let pretraining = config(data.path(), 1);
    let pretrained = run(&out.path().join("dino"), &pretraining, machine(2));
    let backbone = NamedArrays::load(&pretrained.backbone()).unwrap();
    let checkpoint = NamedArrays::load(&pretrained.last()).unwrap();
    for (name, array) in backbone.iter() {
        let teacher = checkpoint.require(&format!("teacher.backbone.{name}"));
        assert!(array == teacher.unwrap(), "{name}");
    }
    let tuned = runs::tuned_from(&pretrained, &pretraining, &out.path().join("tuned"));

    // Student and teacher continue from the classifier, whose head they leave
    // out. The rate of the only step of a warm-up is 0.
    let mut more = RunConfig {
        batch_size: 28,
        ..pretraining
    };
    recipe(&mut more).warmup_epochs = 1.0;
    let again = runs::pretrained_from(&tuned, more, &out.path().join("again"));
    let trained = NamedArrays::load(&tuned.best()).unwrap();
    let checkpoint = NamedArrays::load(&again.last()).unwrap();
    for network in ["student", "teacher"] {
        for name in ["pos_embed", "blocks.1.mlp.fc2.weight"] {
            let got = checkpoint
                .require(&format!("{network}.backbone.{name}"))
                .unwrap();
            let near = got.data.iter().zip(&trained.require(name).unwrap().data);
            let largest = near.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-6, "{network} {name}: {largest}");
        }
    }
    assert!(checkpoint.get("student.backbone.head.weight").is_none());
}

#[test]
fn errors_name_what_is_wrong() {
    let data = data();
    let out = tempfile::tempdir().unwrap();
    let good = config(data.path(), 2);
    let fails = |config: &RunConfig| {
        let folder = tempfile::tempdir_in(out.path()).unwrap();
        let run = RunFolder::create(folder.path(), config).unwrap();
        pretext::train(&run, config, machine(1), |_| {})
            .unwrap_err()
            .to_string()
    };
    type Mistake = fn(&mut DinoConfig);
    let wrong: [(&str, Mistake); 14] = [
        ("--local-size", |r| r.local_size = 12),
        ("--global-scale", |r| r.global_scale = [0.5, 0.4]),
        ("--local-scale", |r| r.local_scale = [0.0, 0.4]),
        ("--out-dim", |r| r.head.outputs = 1),
        ("--head-bottleneck", |r| r.head.bottleneck = 0),
        ("--knn-every", |r| r.knn_every = 0),
        ("--learning-rate", |r| r.learning_rate = f64::NAN),
        ("--teacher-temperature", |r| r.teacher_temperature = 0.0),
        ("--clip-gradient-norm", |r| {
            r.clip_gradient_norm = Some(-1.0)
        }),
        ("--teacher-momentum", |r| r.teacher_momentum = 1.0),
        ("--centre-momentum", |r| r.centre_momentum = -0.1),
        ("--drop-path", |r| r.drop_path = 1.0),
        ("--warmup-epochs", |r| r.warmup_epochs = 2.5),
        ("--temperature-warmup-epochs", |r| {
            r.temperature_warmup_epochs = 3
        }),
    ];
    for (option, spoil) in wrong {
        let mut config = good.clone();
        spoil(recipe(&mut config));
        let message = fails(&config);
        assert!(
            message.starts_with(&format!("{option} must be")),
            "{message}"
        );
    }

    let mut wild = good.clone();
    recipe(&mut wild).learning_rate = 1e30;
    recipe(&mut wild).warmup_epochs = 0.0;
    recipe(&mut wild).clip_gradient_norm = None;
    let message = fails(&wild);
    assert!(message.contains("there is no checkpoint yet"), "{message}");

    // A run of one command is not continued by the other.
    let run = RunFolder::create(&out.path().join("other"), &good).unwrap();
    let message = downstream::train(&run, &good, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("pretrain --resume"), "{message}");

    // A checkpoint of a network of other sizes.
    pretext::train(&run, &good, machine(1), |_| {}).unwrap();
    let mut other = good.clone();
    recipe(&mut other).head.outputs = 64;
    let message = pretext::train(&run, &other, machine(1), |_| {})
        .unwrap_err()
        .to_string();
    assert!(message.contains("head.last_layer.weight"), "{message}");
}
