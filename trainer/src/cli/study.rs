//! `study`.

mod compare;
mod labels;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result};
use millsight_export::durable::replace_file;
use millsight_export::output;
use millsight_trainer::study::folder::StudyFolder;
use millsight_trainer::study::labels as efficiency;
use millsight_trainer::study::plan::Plan;
use millsight_trainer::study::queue::{self, Change, Runner, State};
use serde_json::json;

/// Answer a question by many runs.
///
/// A study is a folder with a queue of runs. Each run is a process of its own, and one that
/// fails stops no other. What was killed goes on where it was with the same command, or
/// with `study resume`; what is finished is never done again.
#[derive(Debug, Args)]
pub struct StudyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Labels(Box<labels::LabelsArgs>),
    Compare(compare::CompareArgs),
    /// Go on with a study: with what waits, and with what has failed.
    #[command(after_help = "\
Example:
  millsight-train study resume studies/labels")]
    Resume {
        /// Folder of the study.
        study: PathBuf,
        #[command(flatten)]
        working: WorkArgs,
    },
}

impl StudyArgs {
    pub fn run(&self) -> Result<()> {
        match &self.command {
            Command::Labels(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Resume { study, working } => {
                let (folder, plan) = StudyFolder::open(study).into_diagnostic()?;
                work(&folder, &plan, working)
            }
        }
    }
}

/// How a queue is worked off.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Devices, as `train --device` takes them: on each one run is done at a time.
    #[arg(
        long,
        value_name = "DEVICE",
        value_delimiter = ',',
        default_value = "cpu",
        help_heading = "Machine"
    )]
    devices: Vec<String>,
    /// Threads of each run [default: all processors].
    #[arg(long, value_name = "N", help_heading = "Machine")]
    workers: Option<usize>,
    /// Leave out the run of this name, and those that need it.
    #[arg(long, value_name = "RUN")]
    skip: Vec<String>,
    /// Print one line of JSON with the result.
    #[arg(long)]
    json: bool,
}

/// Works off a queue and says what came out.
fn work(folder: &StudyFolder, plan: &Plan, args: &WorkArgs) -> Result<()> {
    if let Some(name) =
        (args.skip.iter()).find(|name| !plan.jobs.iter().any(|job| job.name == **name))
    {
        miette::bail!("--skip {name}: the study has no run of this name");
    }
    let workers = args
        .workers
        .map(|workers| ["--workers".to_owned(), workers.to_string()]);
    let runner = Runner {
        program: std::env::current_exe().into_diagnostic()?,
        devices: args.devices.clone(),
        machine: workers.into_iter().flatten().collect(),
        skipped: args.skip.clone(),
    };
    let states = queue::run(folder, plan, &runner, tell).into_diagnostic()?;
    let failed: Vec<(&str, &str)> = (plan.jobs.iter().zip(&states))
        .filter_map(|(job, state)| match state {
            State::Failed(reason) => Some((job.name.as_str(), reason.as_str())),
            _ => None,
        })
        .collect();
    let left = states
        .iter()
        .filter(|state| !matches!(state, State::Finished(_)))
        .count();
    let efficiencies = efficiency::efficiencies(plan, &states);
    let table = folder.path().join("labels.csv");
    replace_file(&table, &labels::csv(&efficiencies).into_diagnostic()?).into_diagnostic()?;
    let chart = folder.path().join("labels.svg");
    if !efficiencies.is_empty() {
        let svg = efficiency::chart(&efficiencies).into_diagnostic()?;
        replace_file(&chart, svg.as_bytes()).into_diagnostic()?;
    }
    if args.json {
        output::line(json!({
            "study": folder.path(),
            "runs": plan.jobs.len(),
            "finished": plan.jobs.len() - left,
            "failed": failed.iter().map(|(name, reason)| json!({"run": name, "reason": reason})).collect::<Vec<_>>(),
            "table": table,
            "labels": efficiencies,
        }))?;
    } else {
        output::write(|out| write!(out, "{}", efficiency::table(&efficiencies)))?;
        output::line(format_args!(
            "written to {} and {}",
            table.display(),
            chart.display()
        ))?;
    }
    if left == 0 {
        return Ok(());
    }
    for (name, reason) in &failed {
        eprintln!("{name}: {reason}");
    }
    miette::bail!(
        help = format!(
            "mend what is wrong, then go on: millsight-train study resume {}",
            folder.path().display()
        ),
        "{left} of {} runs are not finished, {} of which have failed",
        plan.jobs.len(),
        failed.len()
    )
}

/// A line for each run that begins or is settled.
fn tell(change: Change<'_>) {
    let Change {
        job,
        state,
        settled,
        all,
    } = change;
    let name = &job.name;
    let said = match state {
        State::Waiting => return,
        State::Running => format!("{name} …"),
        State::Finished(finished) => match &finished.test {
            Some(test) => format!(
                "{name}: balanced accuracy {:.4}, {:.0} s",
                test.balanced_accuracy, finished.seconds
            ),
            None => format!("{name}: {:.0} s", finished.seconds),
        },
        State::Failed(_) => format!("{name}: FAILED"),
        State::Skipped(reason) => format!("{name}: left out, {reason}"),
    };
    eprintln!("[{settled}/{all}] {said}");
}

/// Reads settings from a TOML file.
fn settings<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| miette::miette!("cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| miette::miette!("{}: {error}", path.display()))
}
