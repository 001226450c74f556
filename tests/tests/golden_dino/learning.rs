//! The first pass and some iterations of learning.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use millsight_export::weights::NamedArrays;
use millsight_tests::golden::GoldenCase;
use millsight_tests::golden::distillation::{Expectation, Side, scalars};
use millsight_trainer::model::parameters::{shapes, to_vec};
use millsight_trainer::optimise::gradients::Gradients;
use millsight_trainer::optimise::workers::Workers;
use millsight_trainer::pretext::dino::distillation::Crops;

use crate::arrays::groups;
use crate::expected;
use crate::setup::Setup;

/// Everything that differs from what the case expects.
pub fn problems(case: &GoldenCase) -> Vec<String> {
    let setup = Setup::of(case);
    let (config, crops) = (&setup.config, &setup.crops);
    let batch = setup.batch;
    let workers = Workers::new(1).unwrap();
    let mut problems = setup.schedules(case);

    let mut learner = setup.learner();
    let first =
        |range: Range<usize>, count: usize, device: &Device| groups(crops, range, count, 0, device);
    let first = Crops {
        images: batch,
        of: &first,
    };
    let taught = learner.teach(first, &workers);
    let (loss, gradients) = learner
        .gradients(first, &taught, setup.moment(0), &workers)
        .unwrap();
    let loss_by_epoch: Vec<f32> = (0..config.epochs)
        .map(|epoch| {
            let moment = setup.moment(epoch * setup.steps_per_epoch);
            let (loss, _) = learner.gradients(first, &taught, moment, &workers).unwrap();
            loss as f32
        })
        .collect();
    let student = setup.network("student.");
    let student_outputs = student.forward((first.of)(0..batch, crops.len(), &Device::flex()), &[]);
    learner.move_centre(&taught);
    let centre = to_vec(learner.centre(), "centre").unwrap();
    let names = shapes(&student);

    // The whole batch at once, in the pieces of which a step consists, and
    // then in shards by the step itself.
    let iterations = expected(case)
        .iter()
        .filter_map(|(_, expectation)| match expectation {
            Expectation::After(_, _, iterations) => Some(*iterations),
            _ => None,
        })
        .max()
        .unwrap();
    let whole = run(&setup, iterations, &workers);
    let sharded = run_in_shards(case, iterations);

    let gradient = |name: &str| {
        let index = names.iter().position(|(own, _)| own == name).unwrap();
        to_vec(gradients[index].clone().unwrap(), name).unwrap()
    };
    for (entry, expectation) in expected(case) {
        let mut check = |got: &[f32]| problems.extend(case.check_entry(entry, got).err());
        match expectation {
            Expectation::Outputs(Side::Teacher) => check(&to_vec(taught[0].clone(), "").unwrap()),
            Expectation::Outputs(Side::Student) => {
                check(&to_vec(student_outputs.clone(), "").unwrap());
            }
            Expectation::Loss => check(&[loss as f32]),
            Expectation::LossByEpoch => check(&loss_by_epoch),
            Expectation::Centre => check(&centre),
            Expectation::Gradient(name) => check(&gradient(&name)),
            Expectation::Average(name, momentum) => check(&setup.average(&name, momentum)),
            Expectation::Losses => {
                check(&whole.losses);
                check(&sharded.losses);
            }
            Expectation::Centres => {
                check(&whole.centres);
                check(&sharded.centres);
            }
            Expectation::After(side, name, iterations) => {
                let prefix = match side {
                    Side::Student => "student.",
                    Side::Teacher => "teacher.",
                };
                for run in [&whole, &sharded] {
                    let arrays = &run.states[iterations - 1];
                    check(&arrays.require(&format!("{prefix}{name}")).unwrap().data);
                }
            }
            _ => case.unknown(&entry.name),
        }
    }
    problems.extend(check_scalars(case, &setup, &names, &whole));
    problems
}

/// What the iterations leave.
#[derive(Default)]
struct Iterations {
    losses: Vec<f32>,
    /// One after another.
    centres: Vec<f32>,
    /// Of each iteration the norm of each gradient.
    norms: Vec<Vec<Option<f32>>>,
    /// Everything after each iteration.
    states: Vec<NamedArrays>,
}

fn run(setup: &Setup, iterations: usize, workers: &Workers) -> Iterations {
    let mut learner = setup.learner();
    let mut result = Iterations::default();
    for iteration in 0..iterations {
        let moment = setup.moment(iteration);
        let of = setup.crops_of(iteration);
        let crops = Crops {
            images: setup.batch,
            of: &of,
        };
        let taught = learner.teach(crops, workers);
        let (loss, gradients) = learner.gradients(crops, &taught, moment, workers).unwrap();
        learner.move_centre(&taught);
        let norms = learner.update(gradients, moment);
        result.losses.push(loss as f32);
        result.centres.extend(to_vec(learner.centre(), "").unwrap());
        result.norms.push(numbers(norms));
        result.states.push(learner.save().unwrap());
    }
    result
}

fn run_in_shards(case: &GoldenCase, iterations: usize) -> Iterations {
    let mut setup = Setup::of(case);
    setup.config.shard_size = 2;
    let workers = Workers::new(2).unwrap();
    let mut learner = setup.learner();
    let mut result = Iterations::default();
    for iteration in 0..iterations {
        let of = setup.crops_of(iteration);
        let crops = Crops {
            images: setup.batch,
            of: &of,
        };
        let figures = learner.step(crops, setup.moment(iteration), &workers);
        result.losses.push(figures.unwrap().loss as f32);
        result.centres.extend(to_vec(learner.centre(), "").unwrap());
        result.states.push(learner.save().unwrap());
    }
    result
}

fn check_scalars(
    case: &GoldenCase,
    setup: &Setup,
    names: &[(String, Vec<usize>)],
    run: &Iterations,
) -> Vec<String> {
    let mut problems = Vec::new();
    let clip = case.manifest.config["clip_grad"].as_f64().unwrap();
    let official = |name: &str| format!("module.{name}");
    let norms = |iteration: usize| -> BTreeMap<String, f64> {
        let all = names.iter().zip(&run.norms[iteration]);
        all.filter_map(|((name, _), norm)| Some((official(name), f64::from((*norm)?))))
            .collect()
    };
    for (scalar, value) in scalars(case) {
        let value = value.clone();
        match scalar {
            "clip_norms_per_iteration" => {
                let expected: Vec<BTreeMap<String, f64>> = serde_json::from_value(value).unwrap();
                for (iteration, expected) in expected.iter().enumerate() {
                    let got = norms(iteration);
                    assert!(
                        got.keys().eq(expected.keys()),
                        "other gradients are clipped"
                    );
                    for (name, expected) in expected {
                        if (got[name] / expected - 1.0).abs() > NORM_TOLERANCE {
                            problems.push(format!(
                                "{}: the norm of {name} in iteration {iteration} is {}, not {expected}",
                                case.manifest.case, got[name]
                            ));
                        }
                    }
                }
            }
            "clipped_params_per_iteration" => {
                let expected: Vec<Vec<String>> = serde_json::from_value(value).unwrap();
                for (iteration, mut expected) in expected.into_iter().enumerate() {
                    let got = norms(iteration)
                        .into_iter()
                        .filter(|(_, norm)| *norm > clip);
                    expected.sort();
                    assert_eq!(got.map(|(name, _)| name).collect::<Vec<_>>(), expected);
                }
            }
            "adam_step_counts_after_4" => {
                let expected: BTreeMap<String, f32> = serde_json::from_value(value).unwrap();
                for (name, _) in names {
                    // Neither side counts for a parameter that never learns.
                    let step = run.states[3].get(&format!("step.{name}"));
                    let step = step.map(|step| step.data[0]);
                    assert_eq!(step, expected.get(&official(name)).copied(), "{name}");
                }
            }
            "param_groups" => {
                let mut expected: BTreeMap<String, Vec<String>> =
                    serde_json::from_value(value).unwrap();
                let decays = setup.config.optimiser.decays;
                for (name, shape) in names {
                    let group = match decays.applies(name, shape.len()) {
                        true => "regularised",
                        false => "not_regularised",
                    };
                    let group = expected.get_mut(group).unwrap();
                    let known = group.iter().position(|other| *other == official(name));
                    // A length that does not learn is in no group.
                    let learns = known.is_some();
                    assert!(learns || name == "head.last_layer.weight_g", "{name}");
                    known.map(|known| group.remove(known));
                }
                assert!(expected.values().all(Vec::is_empty), "{expected:?}");
            }
            "step_inputs" => assert!(
                value
                    .as_str()
                    .unwrap()
                    .starts_with("iteration k uses every crop rolled by k"),
                "{value}"
            ),
            _ => case.unknown(scalar),
        }
    }
    problems
}

/// Largest relative difference of the norm of a gradient, for which the
/// manifests state none.
const NORM_TOLERANCE: f64 = 1e-3;

fn numbers(norms: Gradients) -> Vec<Option<f32>> {
    let number = |norm: Tensor<1>| norm.into_scalar::<f32>();
    norms.into_iter().map(|norm| norm.map(number)).collect()
}
