//! Configurations of small runs.

use std::path::Path;

use millsight_export::card::Preprocessing;
use millsight_export::graph::{Pooling, VitSpec};
use millsight_trainer::data::table::Table;
use millsight_trainer::data::tiles::Colour;
use millsight_trainer::downstream::class_weights::ClassWeighting;
use millsight_trainer::downstream::loss::Reduction;
use millsight_trainer::machine::Machine;
use millsight_trainer::optimise::adamw::AdamWConfig;
use millsight_trainer::run::config::{FinetuneConfig, Method, RunConfig, Supervision};

/// A small network on the three classes of the tiles.
pub fn config(data: &Path, epochs: usize) -> RunConfig {
    let table = Table::read(&data.join("split.csv")).unwrap();
    RunConfig {
        network: VitSpec {
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
            classes: 3,
            layer_norm_epsilon: 1e-6,
        },
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
        }),
        seed: 5,
        shard_size: 3,
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

/// So many workers.
pub fn machine(workers: usize) -> Machine {
    Machine {
        workers,
        ..Machine::cpu()
    }
}
