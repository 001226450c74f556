//! How many labels are needed, and whether pretraining pays: label efficiency.
//!
//! Each start (random weights, an own pretraining, weights from elsewhere) learns with each
//! protocol from each share of the labels, with each seed. The seed draws initial weights,
//! order and which labels there are; a smaller share is part of a larger one, and each
//! class keeps one tile at least. Validation and test part stay the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StudyError;
use super::plan::{Job, Plan, RESULT_OF};
use super::queue::{State, by_factors};
use crate::TrainError;
use crate::chart::{self, Axes, Band, ChartError};
use crate::evaluate::report::Report;

/// Settings of a study of labels, as its TOML file has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSettings {
    /// Shares of the labels, each above 0 and at most 1.
    pub fractions: Vec<f64>,
    /// How many seeds, from 0 on; at least one.
    pub seeds: u64,
    /// Options of the network, of pretraining and of training.
    #[serde(default)]
    pub network: Vec<String>,
    /// Options of `train --protocol probe`.
    #[serde(default)]
    pub probe: Vec<String>,
    /// Options of `train --protocol finetune`.
    #[serde(default)]
    pub finetune: Vec<String>,
    /// Further options of `train` where there are few labels.
    #[serde(default)]
    pub few: Vec<Few>,
    /// What learning starts from.
    pub start: Vec<Start>,
}

/// Options of `train` where there are few labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Few {
    /// The largest share of the labels for which they are.
    pub up_to: f64,
    /// The options, for example `["--batch-size", "8"]`.
    pub options: Vec<String>,
}

/// What learning starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Its name in tables: letters, digits, `-`.
    pub name: String,
    /// Method and options of a pretraining on all training tiles, for example
    /// `["mae", "--epochs", "200"]`.
    #[serde(default)]
    pub pretrain: Vec<String>,
    /// File of weights to begin with; a relative path starts at the working folder.
    #[serde(default)]
    pub init: Option<PathBuf>,
    /// What is learnt: `probe`, `finetune`.
    pub protocols: Vec<Protocol>,
    /// Options of the network in place of those of all.
    #[serde(default)]
    pub network: Option<Vec<String>>,
}

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A linear layer on frozen weights.
    Probe,
    /// All weights.
    Finetune,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Finetune => "finetune",
        }
    }
}

/// The question that the plan of such a study states.
pub const QUESTION: &str = "labels";

/// The queue of a study of a table.
///
/// # Errors
/// When the settings make no study, with what is wrong.
pub fn plan(
    settings: &LabelSettings,
    table: &Path,
    data_root: Option<&Path>,
    git_revision: String,
    command: String,
) -> Result<Plan, StudyError> {
    check(settings)?;
    let text = |path: &Path| path.display().to_string();
    let mut of_table = vec![text(table)];
    if let Some(root) = data_root {
        of_table.extend(["--data-root".to_owned(), text(root)]);
    }
    let mut jobs = Vec::new();
    for start in &settings.start {
        let network = start.network.as_ref().unwrap_or(&settings.network);
        let pretraining = (!start.pretrain.is_empty()).then(|| Job {
            name: start.name.clone(),
            needs: Vec::new(),
            begin: [
                &["pretrain".to_owned(), start.pretrain[0].clone()][..],
                &of_table,
                network,
                &start.pretrain[1..],
            ]
            .concat(),
            classifies: false,
            factors: BTreeMap::from([("start".to_owned(), start.name.clone())]),
        });
        let init = match (&pretraining, &start.init) {
            (Some(job), _) => Some(format!("{RESULT_OF}{}", job.name)),
            (None, Some(file)) => {
                let file = std::path::absolute(file).map_err(TrainError::io("find", file))?;
                Some(text(&file))
            }
            (None, None) => None,
        };
        let needs: Vec<String> = pretraining.iter().map(|job| job.name.clone()).collect();
        jobs.extend(pretraining);
        for &protocol in &start.protocols {
            for &fraction in &settings.fractions {
                for seed in 0..settings.seeds {
                    let own = match protocol {
                        Protocol::Probe => &settings.probe,
                        Protocol::Finetune => &settings.finetune,
                    };
                    let name = protocol.name();
                    let mut begin = vec!["train".to_owned()];
                    begin.extend(of_table.clone());
                    begin.extend(["--protocol".to_owned(), name.to_owned()]);
                    if fraction < 1.0 {
                        begin.extend(["--label-fraction".to_owned(), fraction.to_string()]);
                    }
                    begin.extend(["--seed".to_owned(), seed.to_string()]);
                    begin.extend(network.iter().chain(own).cloned());
                    // Of several the smallest share that holds it.
                    let few = settings.few.iter().filter(|few| fraction <= few.up_to);
                    let few = few.min_by(|a, b| a.up_to.total_cmp(&b.up_to));
                    begin.extend(few.into_iter().flat_map(|few| few.options.clone()));
                    if let Some(init) = &init {
                        begin.extend(["--init".to_owned(), init.clone()]);
                    }
                    jobs.push(Job {
                        name: format!("{}-{name}-{fraction}-seed{seed}", start.name),
                        needs: needs.clone(),
                        begin,
                        classifies: true,
                        factors: [
                            ("start", start.name.clone()),
                            ("protocol", name.to_owned()),
                            ("fraction", fraction.to_string()),
                            ("seed", seed.to_string()),
                        ]
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                    });
                }
            }
        }
    }
    let plan = Plan {
        question: QUESTION.to_owned(),
        jobs,
        git_revision,
        command,
    };
    plan.check()?;
    Ok(plan)
}

fn check(settings: &LabelSettings) -> Result<(), StudyError> {
    let refuse = |reason: String| Err(StudyError::Settings(reason));
    if settings.fractions.is_empty() || settings.start.is_empty() {
        return refuse("`fractions` and `[[start]]` need one entry each at least".to_owned());
    }
    for fraction in &settings.fractions {
        if !(*fraction > 0.0 && *fraction <= 1.0) {
            return refuse(format!(
                "`fractions` has {fraction}, but each must be above 0 and at most 1"
            ));
        }
    }
    if settings.seeds == 0 {
        return refuse("`seeds` is 0, but one is needed at least".to_owned());
    }
    for start in &settings.start {
        let name = &start.name;
        if start.protocols.is_empty() {
            return refuse(format!(
                "the start `{name}` has no `protocols`; write \"probe\", \"finetune\" or both"
            ));
        }
        if !start.pretrain.is_empty() && start.init.is_some() {
            return refuse(format!(
                "the start `{name}` has both `pretrain` and `init`; to pretrain from weights, \
                 write \"--init\" and the file among the options of `pretrain`"
            ));
        }
    }
    Ok(())
}

/// Mean and spread of a figure over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; 0 of a single seed.
    pub deviation: f64,
}

impl Spread {
    /// Of some values, at least one.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = match values.len() {
            0 | 1 => 0.0,
            _ => (squares / (count - 1.0)).sqrt(),
        };
        Self { mean, deviation }
    }
}

/// What a start comes to with a share of the labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Efficiency {
    /// What learning started from.
    pub start: String,
    /// What was learnt.
    pub protocol: String,
    /// Share of the labels.
    pub fraction: f64,
    /// Balanced accuracy on the test part.
    pub balanced_accuracy: Spread,
    /// Macro F1 on the test part.
    pub macro_f1: Spread,
    /// Accuracy on the test part.
    pub accuracy: Spread,
    /// Balanced accuracy with each seed that is finished, in their order.
    pub seeds: Vec<f64>,
}

/// What came out so far, in the order of the plan.
pub fn efficiencies(plan: &Plan, states: &[State]) -> Vec<Efficiency> {
    let groups = by_factors(plan, states, &["start", "protocol", "fraction"]);
    let spread = |reports: &[&Report], figure: fn(&Report) -> f64| {
        Spread::of(
            &reports
                .iter()
                .map(|report| figure(report))
                .collect::<Vec<_>>(),
        )
    };
    groups
        .iter()
        .filter_map(|(values, reports)| {
            let [start, protocol, fraction] = values[..] else {
                return None;
            };
            Some(Efficiency {
                start: start.to_owned(),
                protocol: protocol.to_owned(),
                fraction: fraction.parse().ok()?,
                balanced_accuracy: spread(reports, |report| report.balanced_accuracy),
                macro_f1: spread(reports, |report| report.macro_f1),
                accuracy: spread(reports, |report| report.accuracy),
                seeds: reports
                    .iter()
                    .map(|report| report.balanced_accuracy)
                    .collect(),
            })
        })
        .collect()
}

/// The same as a table of plain text, in percent.
pub fn table(efficiencies: &[Efficiency]) -> String {
    let width = efficiencies.iter().map(|row| row.start.chars().count());
    let width = width.fold("start".len(), usize::max);
    let mut text = format!(
        "{:width$}  protocol  labels %  balanced accuracy %     macro F1 %     accuracy %  seeds\n",
        "start"
    );
    for row in efficiencies {
        let percent = |spread: Spread| {
            format!(
                "{:.2} ± {:.2}",
                100.0 * spread.mean,
                100.0 * spread.deviation
            )
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:width$}  {:8}  {:>8}  {:>19}  {:>13}  {:>13}  {:>5}",
            row.start,
            row.protocol,
            (1e4 * row.fraction).round() / 100.0,
            percent(row.balanced_accuracy),
            percent(row.macro_f1),
            percent(row.accuracy),
            row.seeds.len()
        );
    }
    text
}

/// The same as a chart (SVG): balanced accuracy over the share of the labels, with bands of
/// a standard deviation. Starts have their colours; probes are dashed.
///
/// # Errors
/// When there is nothing to be drawn.
pub fn chart(efficiencies: &[Efficiency]) -> Result<String, ChartError> {
    let mut starts: Vec<&str> = Vec::new();
    let mut bands: Vec<Band> = Vec::new();
    for row in efficiencies {
        if !starts.contains(&row.start.as_str()) {
            starts.push(&row.start);
        }
        let colour = starts.iter().position(|start| *start == row.start);
        let name = format!("{}, {}", row.start, row.protocol);
        let figure = row.balanced_accuracy;
        let point = (
            100.0 * row.fraction,
            100.0 * figure.mean,
            100.0 * figure.deviation,
        );
        match bands.iter_mut().find(|band| band.name == name) {
            Some(band) => band.points.push(point),
            None => bands.push(Band {
                name,
                colour: colour.unwrap_or_default(),
                is_dashed: row.protocol == Protocol::Probe.name(),
                points: vec![point],
            }),
        }
    }
    for band in &mut bands {
        band.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let axes = Axes {
        across: "labels of the training part, %",
        up: "balanced accuracy on the test part, %",
        is_percent: true,
    };
    chart::bands(axes, &bands)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings() -> LabelSettings {
        LabelSettings {
            fractions: vec![0.05, 1.0],
            seeds: 2,
            network: vec!["--width".to_owned(), "48".to_owned()],
            probe: vec!["--epochs".to_owned(), "3".to_owned()],
            finetune: Vec::new(),
            few: vec![Few {
                up_to: 0.1,
                options: vec!["--batch-size".to_owned(), "8".to_owned()],
            }],
            start: vec![
                Start {
                    name: "random".to_owned(),
                    pretrain: Vec::new(),
                    init: None,
                    protocols: vec![Protocol::Finetune],
                    network: None,
                },
                Start {
                    name: "mae".to_owned(),
                    pretrain: vec!["mae".to_owned(), "--epochs".to_owned(), "9".to_owned()],
                    init: None,
                    protocols: vec![Protocol::Probe, Protocol::Finetune],
                    network: None,
                },
            ],
        }
    }

    fn planned(settings: &LabelSettings) -> Result<Plan, StudyError> {
        plan(
            settings,
            Path::new("steel/split.csv"),
            None,
            String::new(),
            String::new(),
        )
    }

    #[test]
    fn each_start_learns_from_each_share_with_each_seed() {
        let plan = planned(&settings()).unwrap();
        assert_eq!(plan.jobs.len(), 4 + 1 + 8);
        let words = |name: &str| {
            let job = plan.jobs.iter().find(|job| job.name == name).unwrap();
            job.begin.join(" ")
        };
        assert_eq!(
            words("mae"),
            "pretrain mae steel/split.csv --width 48 --epochs 9"
        );
        assert_eq!(
            words("mae-probe-0.05-seed1"),
            "train steel/split.csv --protocol probe --label-fraction 0.05 --seed 1 --width 48 \
             --epochs 3 --batch-size 8 --init backbone-of:mae"
        );
        assert_eq!(
            words("random-finetune-1-seed0"),
            "train steel/split.csv --protocol finetune --seed 0 --width 48"
        );
        let needing = plan.jobs.iter().filter(|job| job.needs == ["mae"]);
        assert_eq!(needing.count(), 8);
    }

    #[test]
    fn settings_that_make_no_study_are_refused() {
        let told = |change: fn(&mut LabelSettings)| {
            let mut settings = settings();
            change(&mut settings);
            planned(&settings).unwrap_err().to_string()
        };
        assert!(told(|settings| settings.fractions[0] = 5.0).contains("`fractions` has 5"));
        assert!(told(|settings| settings.seeds = 0).contains("`seeds`"));
        assert!(told(|settings| settings.start[0].protocols.clear()).contains("`random`"));
        assert!(told(|settings| settings.start[1].init = Some("a".into())).contains("`mae`"));
        let twice = told(|settings| settings.start[0].name = "mae".into());
        assert!(twice.contains("mae-finetune-0.05-seed0"), "{twice}");
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let spread = Spread::of(&[0.5, 0.7, 0.9]);
        assert!((spread.mean - 0.7).abs() < 1e-12 && (spread.deviation - 0.2).abs() < 1e-12);
        assert_eq!(Spread::of(&[0.4]).deviation, 0.0);
    }
}
