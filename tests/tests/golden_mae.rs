//! The masked autoencoder and its training against facebookresearch/mae.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::mae::{Expectation, Kind, scalars, spec, weights};
use millsight_tests::golden::{self, GoldenCase, TensorEntry};
use millsight_trainer::model::mae::masks::Masks;
use millsight_trainer::model::mae::{Mae, sincos, targets_of};
use millsight_trainer::model::parameters::{read, shapes, to_vec};
use millsight_trainer::model::patches;
use millsight_trainer::optimise::adamw::{AdamW, Decays, rate_factor};
use millsight_trainer::optimise::gradients::Gradients;
use millsight_trainer::optimise::schedule::Course;
use millsight_trainer::optimise::workers::Workers;
use millsight_trainer::pretext::mae::rate::LearningRate;
use millsight_trainer::pretext::{mae, masking};
use serde_json::Value;

/// Images of a shard: the last one of a batch of four has fewer.
const SHARD: usize = 3;

fn cases(kind: Kind) -> impl Iterator<Item = GoldenCase> {
    let cases = golden::cases("mae").into_iter();
    cases.filter(move |case| Kind::of(case) == kind)
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// A network with what it is fed.
struct Setting {
    case: GoldenCase,
    images: NamedArray,
    /// Masks of each step.
    masks: Vec<Masks>,
    weights: NamedArrays,
    normalised: bool,
}

impl Setting {
    fn of(case: &GoldenCase) -> Self {
        let name = if case.has("imgs") { "imgs" } else { "input" };
        let images = case.array(name);
        let noise = case.array("noise");
        let config = &case.manifest.config;
        let patches = spec(case).encoder.patches();
        // The official models mask three quarters where nothing else is said.
        let ratio = config["mask_ratio"].as_f64().unwrap_or(0.75);
        let visible = masking::visible(patches, ratio);
        let steps = noise.data.chunks(images.shape[0] * patches);
        let masks = steps.map(|noise| {
            let orders = noise.chunks(patches).map(masking::by_noise).collect();
            Masks::new(orders, visible)
        });
        Self {
            masks: masks.collect(),
            weights: weights(case, sincos::positions),
            normalised: config["norm_pix_loss"].as_bool().unwrap(),
            case: case.clone(),
            images,
        }
    }

    fn network(&self, device: &Device) -> Mae {
        Mae::from_weights(&spec(&self.case), &self.weights, device).unwrap()
    }

    fn images(&self, images: std::ops::Range<usize>, device: &Device) -> Tensor<4> {
        let shape: [usize; 4] = self.images.shape.clone().try_into().unwrap();
        let all = TensorData::new(self.images.data.clone(), shape);
        Tensor::from_data(all, device).slice([images])
    }

    fn count(&self) -> usize {
        self.images.shape[0]
    }

    /// Loss and gradients as a step of training computes them.
    fn gradients(&self, network: &Mae, step: usize) -> (f64, Gradients) {
        let masks = self.masks[step].shards(SHARD);
        let workers = Workers::new(2).unwrap();
        mae::gradients(
            network,
            &workers,
            &masks,
            self.normalised,
            |shard, device| {
                let first = shard * SHARD;
                self.images(first..(first + SHARD).min(self.count()), device)
            },
        )
        .unwrap()
    }
}

#[test]
fn masks_predictions_and_loss_equal_the_official_code() {
    let mut problems = Vec::new();
    for case in cases(Kind::Network) {
        let setting = Setting::of(&case);
        let device = Device::flex();
        let network = setting.network(&device);
        let masks = &setting.masks[0];
        let images = setting.images(0..setting.count(), &device);
        let latent = network.encode(images.clone(), masks);
        let loss = network.loss(images.clone(), masks, setting.normalised);
        let loss = to_vec(loss, "loss").unwrap();
        for entry in case.expected() {
            let got = match Expectation::of(&case, entry) {
                Expectation::Mask => {
                    let got: Vec<u8> = masks.removed().into_iter().map(u8::from).collect();
                    assert_eq!(got, case.bytes(&entry.name), "{}", case.manifest.case);
                    continue;
                }
                Expectation::Restore => {
                    let got: Vec<i64> = masks
                        .ranks()
                        .concat()
                        .iter()
                        .map(|&rank| rank as i64)
                        .collect();
                    assert_eq!(got, case.integers(&entry.name), "{}", case.manifest.case);
                    continue;
                }
                Expectation::Latent => to_vec(latent.clone(), "latent"),
                Expectation::LatentClass => to_vec(latent.clone().narrow(1, 0, 1), "latent"),
                Expectation::Target => {
                    let pixels = patches::cut(images.clone(), spec(&case).encoder.patch);
                    let [n, patches, length] = pixels.dims();
                    let pixels = pixels.reshape([n * patches, length]);
                    to_vec(targets_of(pixels, setting.normalised), "target")
                }
                Expectation::Prediction => {
                    to_vec(network.predict(images.clone(), masks), "prediction")
                }
                Expectation::Loss => Ok(loss.clone()),
                Expectation::Losses | Expectation::Gradient | Expectation::Stepped => continue,
            };
            problems.extend(case.check_entry(entry, &got.unwrap()).err());
        }
        for (name, value) in scalars(&case) {
            match name {
                "len_keep" => assert_eq!(masks.visible() as u64, value.as_u64().unwrap()),
                "loss_f64_reference" => {
                    let difference = f64::from(loss[0]) - number(value);
                    assert!(
                        difference.abs() < 2e-5,
                        "{}: {difference}",
                        case.manifest.case
                    );
                }
                other => case.unknown(other),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn gradients_and_steps_equal_the_official_code() {
    let mut problems = Vec::new();
    for case in cases(Kind::Network) {
        let expected = |kind: Expectation| {
            let expected: Vec<TensorEntry> = case
                .expected()
                .filter(|entry| Expectation::of(&case, entry) == kind)
                .cloned()
                .collect();
            expected
        };
        if expected(Expectation::Gradient).is_empty() {
            continue;
        }
        let setting = Setting::of(&case);
        let device = Device::flex();
        let training = device.clone().autodiff();
        let mut network = setting.network(&training);
        let config = &case.manifest.config;
        let optimiser = mae::optimiser(number(&config["weight_decay"]));
        let betas = [optimiser.betas.0, optimiser.betas.1].map(Value::from);
        assert_eq!(config["betas"].as_array().unwrap(), &betas);
        assert_eq!(number(&config["eps"]), optimiser.epsilon);
        let mut optimiser = AdamW::new(optimiser, &network, &device);
        let names: Vec<String> = shapes(&network).into_iter().map(|(name, _)| name).collect();

        let steps = config["steps"].as_u64().unwrap() as usize;
        let mut losses = Vec::new();
        for step in 0..=steps {
            let (loss, gradients) = setting.gradients(&network, step);
            losses.push(loss as f32);
            if step == 0 {
                for entry in expected(Expectation::Gradient) {
                    let index = names.iter().position(|name| *name == entry.name).unwrap();
                    let gradient = gradients[index].clone().expect("a gradient");
                    let gradient = to_vec(gradient, &entry.name).unwrap();
                    problems.extend(case.check_entry(&entry, &gradient).err());
                }
                check_frozen(&case, &names, &gradients);
            }
            if step < steps {
                network = optimiser.step(network, gradients, number(&config["lr"]));
            }
        }
        let after = read(&network).unwrap();
        for entry in expected(Expectation::Stepped) {
            let got = &after.require(&entry.name).unwrap().data;
            problems.extend(case.check_entry(&entry, got).err());
        }
        for entry in expected(Expectation::Losses) {
            problems.extend(case.check_entry(&entry, &losses).err());
        }
        for frozen in ["pos_embed", "decoder_pos_embed"] {
            assert_eq!(after.get(frozen), setting.weights.get(frozen), "{frozen}");
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Exactly the parameters for which the case has no gradient get none.
fn check_frozen(case: &GoldenCase, names: &[String], gradients: &Gradients) {
    for (name, gradient) in names.iter().zip(gradients) {
        let expected = case.expected().any(|entry| {
            entry.name == *name && Expectation::of(case, entry) == Expectation::Gradient
        });
        assert_eq!(gradient.is_some(), expected, "{name}");
    }
}

/// Name, number of dimensions and whether it is trained, of each parameter.
#[derive(Default)]
struct Trained {
    path: Vec<String>,
    found: Vec<(String, usize, bool)>,
}

impl ModuleVisitor for Trained {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let trained = parameter.val().is_require_grad();
        self.found.push((self.path.join("."), D, trained));
    }
}

#[test]
fn the_official_parameters_decay_and_are_frozen() {
    for case in cases(Kind::Weights) {
        let weights = case.weights().unwrap();
        let device = Device::flex().autodiff();
        let network = Mae::from_weights(&spec(&case), &weights, &device).unwrap();
        let mut trained = Trained::default();
        network.visit(&mut trained);
        let decays = mae::optimiser(0.05).decays;
        for (name, value) in scalars(&case) {
            let mut expected: Vec<&str> = value
                .as_array()
                .unwrap_or_else(|| case.unknown(name))
                .iter()
                .map(|name| name.as_str().unwrap())
                .collect();
            let wanted: &dyn Fn(&str, usize, bool) -> bool = match name {
                "frozen" => &|_, _, trained| !trained,
                "decay" => &|name, dimensions, trained| trained && decays.applies(name, dimensions),
                "no_decay" => {
                    &|name, dimensions, trained| trained && !decays.applies(name, dimensions)
                }
                other => case.unknown(other),
            };
            let chosen = trained
                .found
                .iter()
                .filter(|(name, dimensions, trained)| wanted(name, *dimensions, *trained));
            let mut got: Vec<&str> = chosen.map(|(name, ..)| name.as_str()).collect();
            expected.sort_unstable();
            got.sort_unstable();
            assert_eq!(got, expected, "{name}");
        }
    }
}

#[test]
fn tables_equal_those_of_the_official_functions() {
    let mut problems = Vec::new();
    for case in cases(Kind::Tables) {
        for entry in case.expected() {
            let positions = positions(&entry.name).unwrap_or_else(|| case.unknown(&entry.name));
            problems.extend(case.check_entry(entry, &positions).err());
        }
        for (name, table) in scalars(&case) {
            match name {
                "len_keep" => {
                    for row in table.as_array().unwrap() {
                        let patches = row[0].as_u64().unwrap() as usize;
                        let got = masking::visible(patches, number(&row[1]));
                        assert_eq!(got as u64, row[2].as_u64().unwrap(), "{row}");
                    }
                }
                "lr_sched" => check_rates(table),
                other => match other.strip_prefix("layer_decay_").map(str::parse) {
                    Some(Ok(decay)) => check_fine_tuning(&case, decay, table),
                    _ => case.unknown(other),
                },
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The positions that a name such as `sincos_d48_g4_cls1` stands for.
fn positions(name: &str) -> Option<Vec<f32>> {
    let (width, rest) = name.strip_prefix("sincos_d")?.split_once("_g")?;
    let (side, class) = rest.split_once("_cls")?;
    let (width, side) = (width.parse().ok()?, side.parse().ok()?);
    let positions = sincos::positions(width, side, side);
    match class {
        "0" => Some(positions[width..].to_vec()),
        "1" => Some(positions),
        _ => None,
    }
}

fn check_rates(table: &Value) {
    let rate = LearningRate {
        base: number(&table["lr"]),
        course: Course::Cosine,
        last: number(&table["min_lr"]),
        warmup_epochs: number(&table["warmup_epochs"]),
    };
    let epochs = table["epochs"].as_u64().unwrap() as usize;
    for point in table["points"].as_array().unwrap() {
        let got = rate.after(number(&point[0]), epochs);
        let expected = number(&point[1]);
        assert!((got - expected).abs() < 1e-15, "{point}: {got}");
    }
}

/// Rate and weight decay of each parameter in fine-tuning whose learning rate
/// shrinks from block to block by `decay`.
fn check_fine_tuning(case: &GoldenCase, decay: f64, table: &Value) {
    let groups = table.as_object().unwrap();
    let block = |name: &String| {
        let (number, _) = name.strip_prefix("blocks.")?.split_once('.')?;
        number.parse::<usize>().ok()
    };
    let blocks = 1 + groups.keys().filter_map(block).max().expect("blocks");
    for (name, group) in groups {
        for (figure, expected) in group.as_object().unwrap() {
            let expected = number(expected);
            match figure.as_str() {
                "lr_scale" => {
                    let got = rate_factor(name, blocks, decay);
                    assert!((got - expected).abs() < 1e-12, "{name}: {got} {expected}");
                }
                "weight_decay" => {
                    let one = name.ends_with(".bias") || name.contains("norm");
                    let decays = Decays::Matrices.applies(name, if one { 1 } else { 2 });
                    assert_eq!(decays, expected > 0.0, "{name}");
                }
                other => case.unknown(&format!("{other} of {name}")),
            }
        }
    }
}
