//! What the manifests of learning say.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use millsight_export::card::Preprocessing;
use millsight_export::graph::VitSpec;
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::GoldenCase;
use millsight_trainer::data::tiles::Colour;
use millsight_trainer::model::dino::DinoNetwork;
use millsight_trainer::model::network::Network;
use millsight_trainer::model::parameters;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::optimise::adamw::{AdamWConfig, Decays};
use millsight_trainer::optimise::moving_average;
use millsight_trainer::pretext::dino::config::DinoConfig;
use millsight_trainer::pretext::dino::distillation::Distillation;
use millsight_trainer::run::config::{Method, RunConfig};
use millsight_trainer::training::Moment;

use crate::arrays::{backbone, crop_names, groups, head, section};

/// A run as a case has made it.
pub struct Setup {
    pub config: RunConfig,
    weights: NamedArrays,
    centre: NamedArray,
    pub crops: Vec<NamedArray>,
    pub batch: usize,
    pub steps_per_epoch: usize,
}

impl Setup {
    pub fn of(case: &GoldenCase) -> Self {
        let config = &case.manifest.config;
        let size = |key: &str| config[key].as_u64().expect(key) as usize;
        let number = |key: &str| config[key].as_f64().expect(key);
        let (mut weights, inputs) = match config["base_weights"].as_str() {
            Some(file) => {
                let load = |file: &str| NamedArrays::load(&case.folder.join(file)).unwrap();
                (load(file), load(config["inputs"].as_str().unwrap()))
            }
            None => {
                let mut inputs = NamedArrays::new();
                for name in crop_names(case).chain(["center0".to_owned()]) {
                    let array = case.array(&name);
                    inputs.insert(name, array.shape, array.data).unwrap();
                }
                (NamedArrays::new(), inputs)
            }
        };
        for (name, array) in case.weights().unwrap().iter() {
            let (shape, data) = (array.shape.clone(), array.data.clone());
            weights.insert(name, shape, data).unwrap();
        }
        let crops: Vec<NamedArray> = (0..2 + size("n_local"))
            .map(|crop| inputs.require(&format!("crop{crop}")).unwrap().clone())
            .collect();
        let side = size("global_size");
        let student = "student.backbone.";
        let network = backbone(&weights, student, [side, side], Some(size("heads")));
        let norm_last_layer = config["norm_last_layer"].as_bool().unwrap();
        let head = head(&section(&weights, "student."), norm_last_layer);
        assert_eq!(
            (head.outputs, head.hidden, head.bottleneck, 3),
            (
                size("out_dim"),
                size("head_hidden"),
                size("head_bottleneck"),
                size("head_nlayers")
            )
        );
        let lists = ["lr", "weight_decay", "momentum"].map(|key| list(config, key));
        let [rate, decay, momentum] = lists.map(|list| Cosine::of(&list));
        let steps_per_epoch = size("niter_per_epoch");
        let recipe = DinoConfig {
            local_crops: size("n_local"),
            local_size: size("local_size"),
            head,
            drop_path: number("drop_path"),
            learning_rate: rate.base,
            final_learning_rate: rate.last,
            warmup_epochs: rate.warmup as f64 / steps_per_epoch as f64,
            final_weight_decay: decay.last,
            clip_gradient_norm: Some(number("clip_grad")),
            frozen_last_layer_epochs: size("freeze_last_layer"),
            teacher_momentum: momentum.base,
            centre_momentum: number("center_momentum"),
            student_temperature: number("student_temp"),
            first_teacher_temperature: number("warmup_teacher_temp"),
            teacher_temperature: number("teacher_temp"),
            temperature_warmup_epochs: size("warmup_teacher_temp_epochs"),
            ..DinoConfig::official(side, size("patch"))
        };
        let config = RunConfig {
            network: Network::Vit(network),
            layer_scale: 1.0,
            classes: Vec::new(),
            colour: Colour::Grey,
            preprocessing: Preprocessing::imagenet(),
            table: "table.csv".into(),
            table_sha256: String::new(),
            data_root: ".".into(),
            initial_weights: None,
            epochs: size("epochs"),
            batch_size: size("batch"),
            optimiser: AdamWConfig {
                weight_decay: decay.base,
                decays: Decays::NotVectors,
                ..AdamWConfig::default()
            },
            method: Method::Dino(recipe),
            seed: 0,
            shard_size: size("batch"),
            precision: Precision::F32,
            git_revision: String::new(),
            command: String::new(),
        };
        Self {
            batch: config.batch_size,
            config,
            weights,
            centre: inputs.require("center0").unwrap().clone(),
            crops,
            steps_per_epoch,
        }
    }

    fn recipe(&self) -> &DinoConfig {
        match &self.config.method {
            Method::Dino(recipe) => recipe,
            _ => panic!("another method"),
        }
    }

    fn spec(&self) -> &VitSpec {
        self.config.network.vit("DINO").unwrap()
    }

    pub fn moment(&self, iteration: usize) -> Moment {
        Moment {
            epoch: iteration / self.steps_per_epoch,
            step: iteration % self.steps_per_epoch,
            steps_per_epoch: self.steps_per_epoch,
        }
    }

    /// A student and a teacher that differ, as the case has them.
    pub fn learner(&self) -> Distillation<'_> {
        let (config, recipe) = (&self.config, self.recipe());
        let student = section(&self.weights, "student.");
        let device = Device::flex();
        let (spec, steps) = (self.spec(), self.steps_per_epoch);
        let mut learner = Distillation::new(config, spec, recipe, steps, &student, device).unwrap();
        let mut state = learner.save().unwrap();
        for (name, array) in self.weights.iter() {
            let (shape, data) = (array.shape.clone(), array.data.clone());
            state.insert(name, shape, data).unwrap();
        }
        let centre = self.centre.clone();
        state.insert("centre", centre.shape, centre.data).unwrap();
        learner.restore(&state).unwrap();
        learner
    }

    pub fn network(&self, prefix: &str) -> DinoNetwork {
        let weights = section(&self.weights, prefix);
        let head = &self.recipe().head;
        DinoNetwork::from_weights(self.spec(), head, &weights, &Device::flex()).unwrap()
    }

    /// The crops of an iteration: its rows are those of the first one, rolled.
    pub fn crops_of(
        &self,
        iteration: usize,
    ) -> impl Fn(Range<usize>, usize, &Device) -> Vec<Tensor<4>> + Sync + '_ {
        move |range, count, device| groups(&self.crops, range, count, iteration, device)
    }

    pub fn average(&self, name: &str, momentum: f64) -> Vec<f32> {
        let (teacher, student) = (self.network("teacher."), self.network("student."));
        let moved = moving_average::follow(teacher, &student, momentum);
        let moved = parameters::read(&moved).unwrap();
        moved.require(name).unwrap().data.clone()
    }

    /// Our schedules against the numbers that the case lists.
    pub fn schedules(&self, case: &GoldenCase) -> Vec<String> {
        let learner = self.learner();
        let schedules = learner.schedules();
        let mut problems = Vec::new();
        for (key, schedule) in [
            ("lr", schedules.rate),
            ("weight_decay", schedules.weight_decay),
            ("momentum", schedules.momentum),
        ] {
            for (step, expected) in list(&case.manifest.config, key).iter().enumerate() {
                let got = schedule.value(step);
                if (got - expected).abs() > 1e-12 {
                    problems.push(format!("{key} of step {step} is {got}, not {expected}"));
                }
            }
        }
        problems
    }
}

fn list(config: &serde_json::Value, key: &str) -> Vec<f64> {
    serde_json::from_value(config[key].clone()).expect(key)
}

/// Where a schedule, of which a case lists the values alone, begins and ends.
struct Cosine {
    base: f64,
    last: f64,
    warmup: usize,
}

impl Cosine {
    fn of(values: &[f64]) -> Self {
        // The base value comes twice after a warm-up, else it is the first.
        let base = if values[0] == 0.0 {
            values.iter().copied().fold(0.0, f64::max)
        } else {
            values[0]
        };
        let warmup = match values[0] == 0.0 {
            true => 1 + values.iter().position(|value| *value == base).unwrap(),
            false => 0,
        };
        let span = (values.len() - warmup) as f64;
        let share = 0.5 * (1.0 + (std::f64::consts::PI * (span - 1.0) / span).cos());
        let last = (values[values.len() - 1] - share * base) / (1.0 - share);
        Self { base, last, warmup }
    }
}
