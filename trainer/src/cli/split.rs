//! `split`.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::output::{self, OutputError};
use millsight_trainer::data::near_duplicates::{self, Likeness};
use millsight_trainer::data::split::{Shares, grouped, groups, stratified};
use millsight_trainer::data::table::{self, Row, Split, Table};
use regex::Regex;
use serde_json::json;

use super::machine::ReaderArgs;
use super::progress;

/// Pairs of near-duplicates that are shown.
const SHOWN: usize = 5;

/// Divide a table into training, validation and test parts.
///
/// Every class is divided in the same shares (stratified). Which tile goes
/// where follows from the seed alone. The result is one table with all rows
/// in their order and a column `split`: train, val or test.
///
/// Then all images are read, to warn of tiles in different parts that show
/// nearly the same: second exposures of one place, or copies. A network would
/// be judged by what it has learnt by heart. Keep them together by --group-by.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train split steel/index.csv
  millsight-train split steel/index.csv --seed 3 \\
    --train 0.8 --val 0.1 --test 0.1
  millsight-train split steel/index.csv --group-by '/([^/_]+)_'")]
pub struct SplitArgs {
    /// Table with the columns path and label.
    table: PathBuf,
    /// Table to write [default: split.csv beside TABLE].
    #[arg(short, long, value_name = "CSV")]
    out: Option<PathBuf>,
    /// Share of the training part, 0 to 1.
    #[arg(long, default_value_t = 0.70)]
    train: f64,
    /// Share of the validation part, 0 to 1.
    #[arg(long, default_value_t = 0.15)]
    val: f64,
    /// Share of the test part, 0 to 1.
    #[arg(long, default_value_t = 0.15)]
    test: f64,
    /// Keep tiles together that show the same piece or photograph, named by
    /// what this regular expression, or its first parenthesis, matches in
    /// their paths. For tiles of `millsight simulate`: '/([^/_]+)_'
    #[arg(long, value_name = "REGEX")]
    group_by: Option<Regex>,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Do not look for near-duplicates: no image is read.
    #[arg(long)]
    skip_near_duplicates: bool,
    /// Seed of the division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: ReaderArgs,
}

impl SplitArgs {
    pub fn run(&self) -> Result<()> {
        let mut table = Table::read(&self.table).into_diagnostic()?;
        let shares = Shares {
            train: self.train,
            val: self.val,
            test: self.test,
        };
        match &self.group_by {
            Some(pattern) => {
                let groups = groups(&table.rows, pattern).into_diagnostic()?;
                let number =
                    grouped(&mut table.rows, &groups, shares, self.seed).into_diagnostic()?;
                eprintln!("{number} groups are kept together");
            }
            None => stratified(&mut table.rows, shares, self.seed).into_diagnostic()?,
        }
        self.warn(&table, shares);
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.table.with_file_name("split.csv"));
        table::write(&out, &table.rows).into_diagnostic()?;
        let alike = match self.skip_near_duplicates {
            true => None,
            false => Some(self.near_duplicates(&table)?),
        };
        self.report(&table, &out, alike.as_deref())?;
        Ok(())
    }

    /// Says which tiles of different parts are nearly equal, and gives them,
    /// the most similar first, each as the number of its row.
    fn near_duplicates(&self, table: &Table) -> Result<Vec<(usize, Likeness)>> {
        let rows = &table.rows;
        let threads = self.reader.threads()?;
        let root = super::data_root(&self.data_root, &self.table);
        let bar = progress::bar("comparing", rows.len());
        let prints = near_duplicates::fingerprints(rows, &root, &threads, || bar.inc(1));
        let tiles: Vec<_> = prints
            .iter()
            .zip(rows)
            .map(|(print, row)| (print.as_ref(), row.split))
            .collect();
        let alike = near_duplicates::across_splits(&tiles, near_duplicates::SIMILARITY, &threads);
        bar.finish_and_clear();
        let unread = prints.iter().filter(|print| print.is_none()).count();
        if unread > 0 {
            eprintln!(
                "{unread} of {} images below {} cannot be read and were not compared with the \
                 others; `millsight-train check` says why, --data-root where they are",
                rows.len(),
                std::path::absolute(&root).unwrap_or(root).display()
            );
        }
        let mut alike: Vec<(usize, Likeness)> = alike
            .into_iter()
            .enumerate()
            .filter_map(|(row, likeness)| Some((row, likeness?)))
            .collect();
        alike.sort_by(|(_, a), (_, b)| b.similarity.total_cmp(&a.similarity));
        if !alike.is_empty() {
            let pairs: usize = alike.iter().map(|(_, likeness)| likeness.count).sum();
            eprintln!(
                "near-duplicates: {} tiles show nearly the same as tiles of another part \
                 ({pairs} pairs). Keep them together with --group-by, or take one of each out: \
                 `millsight-train check` lists them. The most alike:",
                alike.len()
            );
            let part = |row: &Row| row.split.map_or("", Split::name);
            for (row, likeness) in alike.iter().take(SHOWN) {
                let (one, other) = (&rows[*row], &rows[likeness.to]);
                eprintln!(
                    "  {:.3}  {} ({})  {} ({})",
                    likeness.similarity,
                    one.path,
                    part(one),
                    other.path,
                    part(other)
                );
            }
        }
        Ok(alike)
    }

    /// Says of each class that a part should have and has not.
    fn warn(&self, table: &Table, shares: Shares) {
        let parts = [
            (Split::Train, shares.train),
            (Split::Val, shares.val),
            (Split::Test, shares.test),
        ];
        for class in table.classes() {
            for (part, _) in parts.iter().filter(|(_, share)| *share > 0.0) {
                let belongs = |row: &Row| row.label == class && row.split == Some(*part);
                if !table.rows.iter().any(belongs) {
                    eprintln!(
                        "the class {class} has no tile in the {} part: it has too few",
                        part.name()
                    );
                }
            }
        }
    }

    fn report(
        &self,
        table: &Table,
        out: &Path,
        alike: Option<&[(usize, Likeness)]>,
    ) -> Result<(), OutputError> {
        let parts = [Split::Train, Split::Val, Split::Test];
        let count = |class: &str, part: Split| {
            let belongs = |row: &&Row| row.label == class && row.split == Some(part);
            table.rows.iter().filter(belongs).count()
        };
        if self.json {
            let classes: serde_json::Map<_, _> = table
                .classes()
                .into_iter()
                .map(|class| {
                    let [train, val, test] = parts.map(|part| count(&class, part));
                    (class, json!({"train": train, "val": val, "test": test}))
                })
                .collect();
            let alike = alike.map(|alike| {
                let worst = alike.iter().take(SHOWN).map(|(row, likeness)| {
                    json!({
                        "path": table.rows[*row].path,
                        "like": table.rows[likeness.to].path,
                        "similarity": likeness.similarity,
                    })
                });
                json!({"tiles": alike.len(), "most_alike": worst.collect::<Vec<_>>()})
            });
            return output::line(
                json!({"table": out, "classes": classes, "near_duplicates": alike}),
            );
        }
        output::write(|text| {
            writeln!(text, "  train     val    test  class")?;
            for class in table.classes() {
                let [train, val, test] = parts.map(|part| count(&class, part));
                writeln!(text, "{train:>7} {val:>7} {test:>7}  {class}")?;
            }
            writeln!(text, "written to {}", out.display())
        })
    }
}
