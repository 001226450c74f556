//! The convolutional network on small synthetic tiles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod program;
mod runs;
mod tiles;

use std::path::Path;

use burn::tensor::Device;
use millsight_export::card::ElementType;
use millsight_export::graph::YoloClsSpec;
use millsight_export::model_file::ModelFile;
use millsight_export::weights::NamedArrays;
use millsight_trainer::data::augment::Change;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::data::tiles::{TileForm, Tiles};
use millsight_trainer::downstream;
use millsight_trainer::machine::Machine;
use millsight_trainer::model::convolution::initial;
use millsight_trainer::model::network::Network;
use millsight_trainer::model::yolo_cls::YoloCls;
use millsight_trainer::model::{parameters, pixels};
use millsight_trainer::optimise::adamw::Decays;
use millsight_trainer::run::config::{Method, PinnedWeights, ProbeConfig, RunConfig};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::training::Event;
use program::{complaint, json, program, text};
use runs::{machine, recipe};
use serde_json::Value;

/// A run of the network on the classes of the tiles.
fn config(data: &Path, epochs: usize) -> RunConfig {
    let config = runs::config(data, epochs);
    RunConfig {
        network: Network::YoloCls(YoloClsSpec {
            image_height: 32,
            image_width: 64,
            classes: config.classes.len(),
        }),
        shard_size: 4,
        ..config
    }
}

fn run(folder: &Path, config: &RunConfig, machine: Machine) -> RunFolder {
    let run = RunFolder::create(folder, config).unwrap();
    downstream::train(&run, config, machine, |_| {}).unwrap();
    run
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn sixteen_tiles_are_learnt_by_heart() {
    let data = tiles::folder(&[("no_defect", 8), ("cracks", 4), ("overfill", 4)], 32);
    tiles::split_all_into_train_and_val(data.path());
    let out = tempfile::tempdir().unwrap();
    let config = config(data.path(), 15);
    let run = run(&out.path().join("run"), &config, machine(2));
    let log = run.log().records().unwrap();
    let last = log.last().unwrap();
    // With the statistics that were gathered; those of four tiles tell little.
    assert!(last.figure("val_loss") < 0.05, "{last:?}");
    assert_eq!(last.figure("val_balanced_accuracy"), 1.0, "{last:?}");
}

#[test]
fn a_run_that_stopped_within_an_epoch_equals_one_that_did_not_with_any_number_of_workers() {
    let data = runs::data();
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 3);
    recipe(&mut config).augmentations = vec![Change::FlipHorizontal { probability: 0.5 }];
    let whole = RunFolder::create(&out.path().join("whole"), &config).unwrap();
    let stopped = out.path().join("stopped");
    let careful = |workers| Machine {
        checkpoint_steps: 1,
        ..machine(workers)
    };
    let mut steps = 0;
    downstream::train(&whole, &config, careful(1), |event| {
        if let Event::Step { .. } = event {
            steps += 1;
            // The second epoch's third step: its checkpoint is that of the second.
            if steps == 4 + 3 {
                std::fs::create_dir(&stopped).unwrap();
                for name in [
                    "config.json",
                    "log.jsonl",
                    "last.safetensors",
                    "best.safetensors",
                ] {
                    std::fs::copy(whole.path().join(name), stopped.join(name)).unwrap();
                }
            }
        }
    })
    .unwrap();
    // 28 tiles of the training part: the last batch is one shard of four.
    assert_eq!(steps, 12);
    let (resumed, same) = RunFolder::open(&stopped).unwrap();
    assert_eq!(same, config);
    downstream::train(&resumed, &same, careful(3), |_| {}).unwrap();
    for file in [RunFolder::last, RunFolder::best, RunFolder::predictions] {
        let (one, other) = (bytes(&file(&whole)), bytes(&file(&resumed)));
        assert!(one == other, "{}", file(&whole).display());
    }
}

/// After one step over two shards the statistics of the first norm are their
/// mean, which is that of all tiles.
#[test]
fn a_step_gathers_the_mean_over_its_shards_and_no_more() {
    let data = tiles::folder(&[("no_defect", 4), ("cracks", 4)], 32);
    tiles::split_all_into_train_and_val(data.path());
    let out = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), 1);
    // What decays would show.
    config.optimiser.decays = Decays::All;
    config.optimiser.weight_decay = 10.0;
    let Network::YoloCls(spec) = &config.network else {
        panic!("another network")
    };
    let rows = Table::read(&config.table).unwrap();
    let tiles = Tiles::new(
        &rows.part(Split::Train).unwrap(),
        &config.classes,
        data.path(),
        TileForm::of(&config.network, config.colour),
        0,
        &config.table,
    )
    .unwrap();
    let levels = (0..8).flat_map(|tile| tiles.tile(tile).unwrap().levels.into_owned());
    let device = Device::flex().autodiff();
    let images = pixels::normalised(
        levels.collect(),
        1,
        tiles.form.size,
        &config.preprocessing,
        &device,
    );
    let weights = initial(spec.parameters(), config.seed).unwrap();
    let network = YoloCls::from_weights(spec, &weights, &device).unwrap();
    let (_, statistics) = network.forward_training(images);
    let mean = parameters::to_vec(statistics[0].mean.clone(), "the mean").unwrap();

    let run = run(&out.path().join("run"), &config, machine(2));
    let state = NamedArrays::load(&run.last()).unwrap();
    let gathered = &state.require("model.model.0.bn.running_mean").unwrap().data;
    for (gathered, mean) in gathered.iter().zip(&mean) {
        assert!((gathered - mean).abs() < 1e-5, "{gathered} {mean}");
    }
    let gathered = |name: &str| name.contains(".running_");
    let (statistics, moments): (Vec<&str>, Vec<&str>) = state
        .names()
        .filter(|name| gathered(name))
        .partition(|name| name.starts_with("model."));
    assert_eq!(statistics.len(), 52);
    assert_eq!(moments, [""; 0], "they are not learnt");
}

#[test]
fn what_needs_a_vision_transformer_or_more_tiles_is_refused() {
    let data = runs::data();
    let good = config(data.path(), 1);
    let check = |change: &dyn Fn(&mut RunConfig)| {
        let mut config = good.clone();
        change(&mut config);
        downstream::check(&config).map_err(|error| error.to_string())
    };
    let refuses = |change: &dyn Fn(&mut RunConfig), beginning: &str| {
        let message = check(change).unwrap_err();
        assert!(message.starts_with(beginning), "{message}");
    };
    assert_eq!(check(&|_| {}), Ok(()));
    refuses(
        &|config| recipe(config).drop_path = 0.1,
        "--drop-path needs a Vision Transformer",
    );
    refuses(
        &|config| config.optimiser.layer_decay = Some(0.7),
        "--layer-decay needs a Vision Transformer",
    );
    let table = PinnedWeights::of(&good.table).unwrap();
    refuses(
        &|config| config.initial_weights = Some(table.clone()),
        "--init needs a Vision Transformer",
    );
    refuses(
        &|config| {
            config.method = Method::Probe(ProbeConfig {
                supervision: recipe(config).supervision.clone(),
                batch_norm: false,
            });
        },
        "--protocol probe needs a Vision Transformer",
    );
    refuses(
        &|config| config.shard_size = 1,
        "--shard-size must be 2 or above",
    );
    refuses(
        &|config| config.batch_size = 1,
        "--batch-size must be 2 or above",
    );
}

#[test]
fn from_a_folder_to_a_model_file() {
    let data = tiles::folder(&[("no_defect", 30), ("cracks", 15), ("overfill", 15)], 40);
    let out = tempfile::tempdir().unwrap();
    let (index, split) = (data.path().join("index.csv"), data.path().join("split.csv"));
    let run = out.path().join("run");
    json(&["index", text(data.path())], "");
    json(&["split", text(&index)], "--seed 3");
    let train = ["train", text(&split), "--out", text(&run)];
    let trained = json(
        &train,
        "--arch yolo-cls-n --image-size 64 --epochs 8 --batch-size 4 --learning-rate 1e-3",
    );
    assert_eq!(trained["epochs"], 8);
    // What Ultralytics prints of yolov8n-cls, less 997 of its 1000 classes.
    assert_eq!(trained["parameters"], 2_719_288 - 997 * 1281);
    let config: Value = serde_json::from_slice(&bytes(&run.join("config.json"))).unwrap();
    assert_eq!(config["network"]["architecture"], "yolo-cls-n");
    assert_eq!(config["shard_size"], 2);
    let resumed = json(&["train", "--resume", text(&run)], "");
    assert_eq!(resumed["best"], trained["best"]);

    let report = json(&["evaluate", "--run", text(&run)], "");
    assert_eq!(report["tiles"], 9);
    assert!(
        report["balanced_accuracy"].as_f64().unwrap() > 0.6,
        "{report}"
    );
    let model = out.path().join("model.onnx");
    let export = ["export", "--run", text(&run), "--out", text(&model)];
    for (form, channels, element) in [
        ("folded", 1, ElementType::U8),
        ("normalised", 3, ElementType::F32),
    ] {
        let exported = json(&export, &format!("--engine embedded --form {form}"));
        assert_eq!(exported["parity"]["samples"], 9);
        assert!(exported["parity"]["max_abs"].as_f64().unwrap() < 1e-3);
        let card = ModelFile::load(&model, None).unwrap().card;
        assert_eq!(card.architecture, "yolo-cls-n");
        assert_eq!((card.input.width, card.input.height), (64, 64));
        assert_eq!(
            (card.input.channels, card.input.element),
            (channels, element)
        );
        let accuracy = &report["balanced_accuracy"];
        assert_eq!(*accuracy, card.provenance.metrics["test.balanced_accuracy"]);
    }

    // Nothing that takes the weights of a Vision Transformer takes these.
    let best = run.join("best.safetensors");
    let other = out.path().join("other");
    for begin in [
        &["train", text(&split), "--out", text(&other), "--init"][..],
        &[
            "pretrain",
            "mae",
            text(&split),
            "--out",
            text(&other),
            "--init",
        ],
        &[
            "pretrain",
            "dino",
            text(&split),
            "--out",
            text(&other),
            "--init",
        ],
        &["convert-weights", "--out", text(&other)],
    ] {
        let said = complaint(&[begin, &[text(&best)]].concat(), "");
        assert!(said.contains("best.safetensors: it is of a run"), "{said}");
        assert!(
            said.contains("--arch yolo-cls-n, a convolutional network"),
            "{said}"
        );
        assert!(!other.exists());
    }
}

#[test]
fn options_of_a_vision_transformer_are_refused_before_anything_is_written() {
    let data = runs::data();
    let split = data.path().join("split.csv");
    let run = data.path().join("run");
    let train = [
        "train",
        text(&split),
        "--out",
        text(&run),
        "--arch",
        "yolo-cls-n",
    ];
    for options in [
        "--preset tiny",
        "--patch 16",
        "--width 32",
        "--depth 2",
        "--heads 2",
        "--mlp-ratio 2",
        "--layer-scale 1",
        "--pooling mean",
        "--qkv-bias false",
        "--protocol probe",
        "--init nowhere.pth",
        "--layer-decay 0.7",
        "--drop-path 0.1",
    ] {
        let option = match options {
            "--protocol probe" => options,
            other => other.split(' ').next().unwrap(),
        };
        let said = complaint(&train, options);
        let expected = format!(
            "{option} needs a Vision Transformer, which this network is not; leave it out, or take \
             --arch vit"
        );
        assert!(said.contains(&expected), "{said}");
        assert!(!run.exists());
    }
    for (options, expected) in [
        ("--image-size 100", "--image-size 100 is no multiple of 32"),
        ("--image-size 0", "--image-size 0 is no multiple of 32"),
        ("--image-size 320000", "more than a model file may take"),
        ("--shard-size 1", "--shard-size must be 2 or above"),
    ] {
        let said = complaint(&train, options);
        assert!(said.contains(expected), "{said}");
        assert!(!run.exists());
    }
    // Pretraining knows no other network.
    let begin = ["pretrain", "mae", text(&split), "--out", text(&run)];
    let output = program(&begin, "--arch yolo-cls-n");
    assert_eq!(output.status.code(), Some(2));
}
