//! DINO against the official code: forward and backward pass, centre,
//! schedules, and steps of the optimiser through the code that training uses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arrays;
mod learning;
mod setup;

use arrays::{backbone, crop_names, groups, head, matrix};
use burn::tensor::{Device, Tensor};
use millsight_export::weights::NamedArray;
use millsight_tests::golden::distillation::{BACKBONE, Expectation, Side, scalars};
use millsight_tests::golden::{GoldenCase, TensorEntry, cases};
use millsight_trainer::model::dino::DinoNetwork;
use millsight_trainer::model::drop_path::DropPath;
use millsight_trainer::model::parameters::to_vec;
use millsight_trainer::model::vit::Vit;
use millsight_trainer::optimise::schedule::{CosineSchedule, TemperatureSchedule};
use millsight_trainer::pretext::dino::loss;

#[test]
fn everything_equals_the_official_code() {
    let mut problems = Vec::new();
    for case in cases("dino") {
        let config = &case.manifest.config;
        let found = if case.manifest.case == BACKBONE {
            dropped_branches(&case)
        } else if config["niter_per_epoch"].is_u64() {
            learning::problems(&case)
        } else if config["params"].is_object() {
            forward(&case)
        } else if case.has("center0") {
            centre(&case)
        } else {
            schedules(&case)
        };
        problems.extend(found);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The expected tensors of a case that are checked here.
fn expected(case: &GoldenCase) -> Vec<(&TensorEntry, Expectation)> {
    case.expected()
        .filter_map(|entry| Some((entry, Expectation::of(case, entry)?)))
        .collect()
}

fn schedules(case: &GoldenCase) -> Vec<String> {
    let check = |(entry, expectation): (&TensorEntry, Expectation)| {
        let got: Vec<f64> = match expectation {
            Expectation::Cosine {
                base,
                last,
                warmup,
                steps,
            } => {
                let schedule = CosineSchedule {
                    base,
                    last,
                    warmup,
                    steps,
                };
                (0..steps).map(|step| schedule.value(step)).collect()
            }
            Expectation::Temperature {
                first,
                last,
                warmup,
                epochs,
            } => {
                let schedule = TemperatureSchedule {
                    first,
                    last,
                    warmup,
                };
                (0..epochs).map(|epoch| schedule.value(epoch)).collect()
            }
            _ => case.unknown(&entry.name),
        };
        case.check_doubles(entry, &got).err()
    };
    assert!(scalars(case).is_empty());
    expected(case).into_iter().filter_map(check).collect()
}

fn centre(case: &GoldenCase) -> Vec<String> {
    let shards: Vec<Tensor<2>> = (0..)
        .map(|rank| format!("teacher_out_rank{rank}"))
        .take_while(|name| case.has(name))
        .map(|name| matrix(&case.array(&name)))
        .collect();
    assert!(shards.len() > 1, "{}", case.manifest.case);
    // The case does not state the momentum: it is the official default.
    let moved = loss::moved_centre(matrix(&case.array("center0")), &shards, 0.9);
    let moved = to_vec(moved, "centre").unwrap();
    let check = |(entry, expectation): (&TensorEntry, Expectation)| match expectation {
        Expectation::Centre => case.check_entry(entry, &moved).err(),
        _ => case.unknown(&entry.name),
    };
    assert!(scalars(case).is_empty());
    expected(case).into_iter().filter_map(check).collect()
}

/// A student of official size, from weights by formula.
fn forward(case: &GoldenCase) -> Vec<String> {
    let weights = case.weights().unwrap();
    let crops: Vec<NamedArray> = crop_names(case).map(|name| case.array(&name)).collect();
    let [height, width] = [2, 3].map(|axis| crops[0].shape[axis]);
    let backbone = backbone(&weights, "backbone.", [height, width], None);
    let head = head(&weights, true);
    let device = Device::flex();
    let network = DinoNetwork::from_weights(&backbone, &head, &weights, &device).unwrap();
    let groups = groups(&crops, 0..crops[0].shape[0], crops.len(), 0, &device);
    let outputs = to_vec(network.forward(groups, &[]), "outputs").unwrap();
    let check = |(entry, expectation): (&TensorEntry, Expectation)| match expectation {
        Expectation::Outputs(Side::Student) => case.check_entry(entry, &outputs).err(),
        _ => case.unknown(&entry.name),
    };
    assert!(scalars(case).is_empty());
    expected(case).into_iter().filter_map(check).collect()
}

fn dropped_branches(case: &GoldenCase) -> Vec<String> {
    let config = &case.manifest.config;
    let weights = case.weights().unwrap();
    let images = case.array("attn_input");
    let [height, width] = [2, 3].map(|axis| images.shape[axis]);
    let heads = config["heads"].as_u64().unwrap() as usize;
    let spec = backbone(&weights, "", [height, width], Some(heads));
    let rates: Vec<f32> = match scalars(case)[..] {
        [("droppath_rates", rates)] => serde_json::from_value(rates.clone()).unwrap(),
        _ => panic!("{} states other numbers", case.manifest.case),
    };
    let rate = f64::from(*rates.last().unwrap());
    let drop_path = DropPath::new(rate, spec.depth).unwrap();
    assert_eq!(drop_path.rates(), rates);
    let draws = case.array("droppath_draws");
    assert_eq!(draws.shape, [drop_path.draws(), images.shape[0]]);
    let of_image = |image| -> Vec<f32> {
        let rows = draws.data.chunks_exact(images.shape[0]);
        rows.map(|row| row[image]).collect()
    };
    let draws: Vec<Vec<f32>> = (0..images.shape[0]).map(of_image).collect();
    let draws: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
    let device = Device::flex();
    let vit = Vit::from_weights(&spec, &weights, &device).unwrap();
    let factors = drop_path.factors(&draws, &device);
    let images = groups(&[images], 0..draws.len(), 1, 0, &device).remove(0);
    let features = to_vec(vit.forward_dropping(images, Some(&factors)), "").unwrap();
    expected(case)
        .into_iter()
        .filter_map(|(entry, _)| case.check_entry(entry, &features).err())
        .collect()
}
