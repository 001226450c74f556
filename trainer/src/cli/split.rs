//! `split`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_trainer::data::split::{Shares, grouped, groups, stratified};
use millsight_trainer::data::table::{self, Split, Table};
use regex::Regex;

use super::parts::{self, SearchArgs};

/// Divide a table into training, validation and test parts.
///
/// Every class is divided in the same shares (stratified). Which tile goes
/// where follows from the seed alone. The result is one table with all rows
/// in their order and a column `split`: train, val or test.
///
/// Then all images are read, to warn of tiles in different parts that show
/// nearly the same: second exposures of one place, or copies. Such tiles belong
/// into one part, by --group-by.
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
    /// their paths; tiles that have a group in the table are kept together
    /// anyway. For tiles of `millsight simulate`: '/([^/_]+)_'
    #[arg(long, value_name = "REGEX")]
    group_by: Option<Regex>,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Seed of the division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    search: SearchArgs,
}

impl SplitArgs {
    pub fn run(&self) -> Result<()> {
        let mut table = Table::read(&self.table).into_diagnostic()?;
        let shares = Shares {
            train: self.train,
            val: self.val,
            test: self.test,
        };
        if self.group_by.is_some() || table.rows.iter().any(|row| row.group.is_some()) {
            let groups = groups(&table.rows, self.group_by.as_ref()).into_diagnostic()?;
            let number = grouped(&mut table.rows, &groups, shares, self.seed).into_diagnostic()?;
            eprintln!("{number} groups are kept together");
        } else {
            stratified(&mut table.rows, shares, self.seed).into_diagnostic()?;
        }
        let shared = [
            (Split::Train, self.train),
            (Split::Val, self.val),
            (Split::Test, self.test),
        ];
        let expected: Vec<Split> = shared
            .into_iter()
            .filter_map(|(part, share)| (share > 0.0).then_some(part))
            .collect();
        parts::warn_of_absent_classes(&table.rows, &expected);
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.table.with_file_name("split.csv"));
        table::write(&out, &table.rows).into_diagnostic()?;
        let root = super::data_root(&self.data_root, &self.table);
        let remedy = "Keep them together with --group-by, or take one of each out: ";
        let alike = self.search.warn(&table.rows, &root, remedy)?;
        parts::report(&table.rows, &out, alike.as_deref(), self.json)?;
        Ok(())
    }
}
