//! Small runs: their configurations, and what tests do with several methods.
#![allow(
    dead_code,
    reason = "not every test file that shares this module needs all of it"
)]

use std::path::Path;

use millsight_export::card::Preprocessing;
use millsight_export::graph::{Pooling, VitSpec};
use millsight_trainer::data::table::Table;
use millsight_trainer::data::tiles::Colour;
use millsight_trainer::downstream;
use millsight_trainer::downstream::class_weights::ClassWeighting;
use millsight_trainer::downstream::loss::Reduction;
use millsight_trainer::machine::Machine;
use millsight_trainer::model::network::Network;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::optimise::adamw::AdamWConfig;
use millsight_trainer::pretext;
use millsight_trainer::run::config::{
    FinetuneConfig, Method, PinnedWeights, RunConfig, Supervision,
};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::training::Event;
use millsight_trainer::training::checkpoint::Checkpoint;

use crate::tiles;

/// A small network on the classes of the tiles, which learns as a whole.
pub fn config(data: &Path, epochs: usize) -> RunConfig {
    let table = Table::read(&data.join("split.csv")).unwrap();
    RunConfig {
        network: Network::Vit(VitSpec {
            image_height: 32,
            image_width: 32,
            patch: 8,
            width: 32,
            depth: 2,
            heads: 2,
            mlp_width: 64,
            qkv_bias: true,
            layer_scale: true,
            pooling: Pooling::ClassToken,
            classes: table.classes().len(),
            layer_norm_epsilon: 1e-6,
        }),
        layer_scale: 1.0,
        classes: table.classes(),
        colour: Colour::Grey,
        preprocessing: Preprocessing::imagenet(),
        table: table.path,
        table_sha256: table.sha256,
        data_root: data.to_path_buf(),
        initial_weights: None,
        epochs,
        batch_size: 8,
        optimiser: AdamWConfig::default(),
        method: Method::Finetune(FinetuneConfig {
            supervision: Supervision {
                learning_rate: 2e-3,
                warmup_epochs: 1.0,
                final_learning_rate: Some(0.0),
                class_weighting: ClassWeighting::Inverse,
                focal_gamma: 0.0,
                loss_reduction: Reduction::WeightedMean,
                balanced_sampling: false,
                labels: None,
                early_stopping: None,
            },
            clip_gradient_norm: Some(1.0),
            drop_path: 0.0,
            augmentations: Vec::new(),
            distillation: None,
        }),
        seed: 5,
        shard_size: 3,
        precision: Precision::F32,
        git_revision: String::new(),
        command: String::new(),
    }
}

/// How a run of [`config`] fine-tunes.
pub fn recipe(config: &mut RunConfig) -> &mut FinetuneConfig {
    match &mut config.method {
        Method::Finetune(recipe) => recipe,
        _ => panic!("not a run that fine-tunes"),
    }
}

/// The Vision Transformer of a run of [`config`].
pub fn vit(config: &mut RunConfig) -> &mut VitSpec {
    match &mut config.network {
        Network::Vit(spec) => spec,
        _ => panic!("not a Vision Transformer"),
    }
}

/// So many workers.
pub fn machine(workers: usize) -> Machine {
    Machine {
        workers,
        ..Machine::cpu()
    }
}

/// Forty tiles of three classes, in three parts.
pub fn data() -> tempfile::TempDir {
    let data = tiles::folder(&[("no_defect", 20), ("cracks", 10), ("overfill", 10)], 32);
    tiles::split(data.path());
    data
}

/// Pretrains in a new folder to the end.
pub fn pretrained(folder: &Path, config: &RunConfig, machine: Machine) -> RunFolder {
    let run = RunFolder::create(folder, config).unwrap();
    pretext::train(&run, config, machine, |_| {}).unwrap();
    run
}

/// Pretrains a whole run with one worker, and one with two from what the first
/// had left behind within its second epoch.
pub fn whole_and_resumed(out: &Path, config: &RunConfig) -> [RunFolder; 2] {
    let whole = RunFolder::create(&out.join("whole"), config).unwrap();
    let stopped = out.join("stopped");
    let every_step = Machine {
        checkpoint_steps: 1,
        ..machine(1)
    };
    let (mut epoch, mut steps) = (0, 0);
    pretext::train(&whole, config, every_step, |event| match event {
        Event::Epoch { epoch: next, .. } => (epoch, steps) = (next, 0),
        Event::Step { .. } => {
            steps += 1;
            // The checkpoint is written after the step is told, so that this
            // one holds the first step of the epoch.
            if (epoch, steps) == (2, 2) {
                std::fs::create_dir(&stopped).unwrap();
                for name in ["config.json", "log.jsonl", "last.safetensors"] {
                    std::fs::copy(whole.path().join(name), stopped.join(name)).unwrap();
                }
            }
        }
        _ => {}
    })
    .unwrap();
    let checkpoint = Checkpoint::load(&stopped.join("last.safetensors")).unwrap();
    let position = checkpoint.unwrap().position;
    assert_eq!((position.epochs, position.steps), (1, 1));
    let (resumed, same) = RunFolder::open(&stopped).unwrap();
    assert_eq!(same, *config);
    pretext::train(&resumed, &same, machine(2), |_| {}).unwrap();
    for file in [RunFolder::last, RunFolder::backbone] {
        let same = std::fs::read(file(&whole)).unwrap() == std::fs::read(file(&resumed)).unwrap();
        assert!(same, "{}", file(&whole).display());
    }
    [whole, resumed]
}

/// Fine-tunes a classifier that begins with the backbone of a pretrained run,
/// which lacks nothing but the head.
pub fn tuned_from(pretrained: &RunFolder, pretraining: &RunConfig, folder: &Path) -> RunFolder {
    let mut method = config(&pretraining.data_root, 1).method;
    if let Method::Finetune(recipe) = &mut method {
        recipe.clip_gradient_norm = None;
        recipe.supervision = Supervision {
            learning_rate: 1e-3,
            warmup_epochs: 0.0,
            final_learning_rate: None,
            class_weighting: ClassWeighting::None,
            ..recipe.supervision.clone()
        };
    }
    let tuning = RunConfig {
        initial_weights: Some(PinnedWeights::of(&pretrained.backbone()).unwrap()),
        optimiser: AdamWConfig::default(),
        method,
        ..pretraining.clone()
    };
    let tuned = RunFolder::create(folder, &tuning).unwrap();
    let mut adopted = false;
    downstream::train(&tuned, &tuning, machine(2), |event| {
        if let Event::Initialised { adoption, .. } = event {
            assert_eq!(adoption.missing, ["head.weight", "head.bias"]);
            assert!(adoption.unknown.is_empty());
            adopted = true;
        }
    })
    .unwrap();
    assert!(adopted);
    tuned
}

/// Pretraining continues from a classifier, whose head it leaves out.
pub fn pretrained_from(tuned: &RunFolder, pretraining: RunConfig, folder: &Path) -> RunFolder {
    let more = RunConfig {
        initial_weights: Some(PinnedWeights::of(&tuned.best()).unwrap()),
        ..pretraining
    };
    let again = RunFolder::create(folder, &more).unwrap();
    pretext::train(&again, &more, machine(2), |event| {
        if let Event::Initialised { adoption, .. } = event {
            assert!(adoption.missing.is_empty(), "{adoption:?}");
        }
    })
    .unwrap();
    again
}
