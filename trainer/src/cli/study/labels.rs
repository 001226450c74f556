//! `study labels`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::output;
use millsight_trainer::provenance;
use millsight_trainer::study::folder::StudyFolder;
use millsight_trainer::study::labels::{Efficiency, LabelSettings, plan};

use super::WorkArgs;
use crate::cli::absolute;

/// What is asked where no file of settings is given.
const SETTINGS: &str = include_str!("labels.toml");

/// How many labels are needed, and does pretraining pay?
///
/// Each start (random weights, an own pretraining with MAE or DINO, weights from a file)
/// learns by probing and fine-tuning from each share of the labels with each seed, and is
/// judged on the test part. A smaller share is part of a larger one, and keeps one tile of
/// each class at least. Balanced accuracy, macro F1 and accuracy go with mean and standard
/// deviation into labels.csv in the folder of the study.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train study labels steel/split.csv --out studies/labels
  millsight-train study labels --print-settings > labels.toml
  millsight-train study labels steel/split.csv --out studies/labels --settings labels.toml
  millsight-train study labels steel/split.csv --out studies/quick --fractions 0.1,1 --seeds 1")]
pub struct LabelsArgs {
    /// Table with the columns path, label and split.
    #[arg(required_unless_present = "print_settings")]
    table: Option<PathBuf>,
    /// Folder of the study; where it holds the same one, that goes on.
    #[arg(
        short,
        long,
        value_name = "STUDY",
        required_unless_present = "print_settings"
    )]
    out: Option<PathBuf>,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// TOML file that says what is compared, and with which options.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Print the settings that are used without such a file, to begin one with.
    #[arg(long, exclusive = true)]
    print_settings: bool,
    /// Shares of the labels, in place of those of the settings.
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    fractions: Vec<f64>,
    /// Seeds, from 0 on, in place of those of the settings.
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    #[command(flatten)]
    working: WorkArgs,
}

impl LabelsArgs {
    pub fn run(&self) -> Result<()> {
        let (Some(table), Some(out), false) = (&self.table, &self.out, self.print_settings) else {
            return output::write(|text| write!(text, "{SETTINGS}")).into_diagnostic();
        };
        let mut settings: LabelSettings = match &self.settings {
            Some(file) => super::settings(file)?,
            None => toml::from_str(SETTINGS).into_diagnostic()?,
        };
        if !self.fractions.is_empty() {
            settings.fractions = self.fractions.clone();
        }
        settings.seeds = self.seeds.unwrap_or(settings.seeds);
        let root = self.data_root.as_deref().map(absolute).transpose()?;
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let plan = plan(
            &settings,
            &absolute(table)?,
            root.as_deref(),
            provenance::git_revision(),
            provenance::command_line(words),
        )
        .into_diagnostic()?;
        let folder = StudyFolder::create(out, &plan).into_diagnostic()?;
        super::work(&folder, &plan, &self.working)
    }
}

/// What came out, as CSV: a row for each start, protocol and share of the labels.
pub fn csv(efficiencies: &[Efficiency]) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "start",
        "protocol",
        "fraction",
        "balanced_accuracy",
        "balanced_accuracy_deviation",
        "macro_f1",
        "macro_f1_deviation",
        "accuracy",
        "accuracy_deviation",
        "seeds",
        "balanced_accuracy_by_seed",
    ])?;
    for row in efficiencies {
        let figures = [row.balanced_accuracy, row.macro_f1, row.accuracy];
        let seeds: Vec<String> = row.seeds.iter().map(f64::to_string).collect();
        let mut record = vec![
            row.start.clone(),
            row.protocol.clone(),
            row.fraction.to_string(),
        ];
        record.extend(
            figures
                .iter()
                .flat_map(|figure| [figure.mean, figure.deviation].map(|value| value.to_string())),
        );
        record.extend([seeds.len().to_string(), seeds.join(" ")]);
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}
