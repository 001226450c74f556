//! `index` and `split`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::output::{self, OutputError};
use millsight_trainer::data::index;
use millsight_trainer::data::split::{Shares, grouped, groups, stratified};
use millsight_trainer::data::table::{self, Row, Split, Table, class_order};
use regex::Regex;
use serde_json::json;

/// List the images of a folder in a table.
///
/// Each sub-folder of FOLDER is a class, and the images at any depth below it
/// belong to that class. The table is CSV with the columns path (relative to
/// FOLDER), label, width, height, mode (pixel format in Pillow's words) and
/// sha256. PNG, JPEG, TIFF and BMP are known by their endings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train index steel
  millsight-train index steel --out tables/steel.csv --json")]
pub struct IndexArgs {
    /// Folder with one sub-folder for each class.
    folder: PathBuf,
    /// Table to write [default: FOLDER/index.csv].
    #[arg(short, long, value_name = "CSV")]
    out: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl IndexArgs {
    pub fn run(&self) -> Result<()> {
        let found = index::folder(&self.folder).into_diagnostic()?;
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.folder.join("index.csv"));
        table::write(&out, &found.rows).into_diagnostic()?;
        for path in &found.skipped {
            eprintln!("left out: {} is not an image by its ending", path.display());
        }
        let classes = class_order(found.rows.iter().map(|row| row.label.as_str()));
        let count = |class: &String| found.rows.iter().filter(|row| row.label == *class).count();
        if self.json {
            let classes: serde_json::Map<_, _> = classes
                .iter()
                .map(|class| (class.clone(), json!(count(class))))
                .collect();
            let tiles = found.rows.len();
            let skipped = found.skipped.len();
            output::line(
                json!({"table": out, "tiles": tiles, "classes": classes, "skipped": skipped}),
            )?;
            return Ok(());
        }
        output::write(|text| {
            for class in &classes {
                writeln!(text, "{:>7}  {class}", count(class))?;
            }
            writeln!(text, "{:>7}  in {}", found.rows.len(), out.display())
        })?;
        Ok(())
    }
}

/// Divide a table into training, validation and test parts.
///
/// Every class is divided in the same shares (stratified). Which tile goes
/// where follows from the seed alone. The result is one table with all rows
/// in their order and a column `split`: train, val or test.
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
    /// Seed of the division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
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
        self.report(&table, &out)?;
        Ok(())
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

    fn report(&self, table: &Table, out: &std::path::Path) -> Result<(), OutputError> {
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
            return output::line(json!({"table": out, "classes": classes}));
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
