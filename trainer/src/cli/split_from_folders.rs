//! `split-from-folders`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_trainer::data::split_folders;
use millsight_trainer::data::table::{self, Split};

use super::parts::{self, SearchArgs};

/// List the images of train, val and test folders in a table.
///
/// ROOT has the folders train, val (or valid, validation) and test, and each
/// of these one folder for each class, with images at any depth. The table is
/// what `millsight-train index` writes, with a column `split` that says train,
/// val or test. A test part may be absent.
///
/// Then all images are read, to warn of tiles in different parts that show
/// nearly the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train split-from-folders steel
  millsight-train split-from-folders steel --out tables/split.csv")]
pub struct SplitFromFoldersArgs {
    /// Folder with the parts.
    root: PathBuf,
    /// Table to write; elsewhere than in ROOT, later commands need --data-root
    /// [default: ROOT/split.csv].
    #[arg(short, long, value_name = "CSV")]
    out: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    search: SearchArgs,
}

impl SplitFromFoldersArgs {
    pub fn run(&self) -> Result<()> {
        let found = split_folders::index(&self.root).into_diagnostic()?;
        for path in &found.skipped {
            eprintln!("left out: {}", path.display());
        }
        for path in &found.empty {
            eprintln!("left out: {} holds no image", path.display());
        }
        let rows = &found.rows;
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.root.join("split.csv"));
        table::write(&out, rows).into_diagnostic()?;
        let mut expected = vec![Split::Train, Split::Val];
        match rows.iter().any(|row| row.split == Some(Split::Test)) {
            true => expected.push(Split::Test),
            false => {
                eprintln!("there is no folder `test`: `millsight-train evaluate` needs --split val")
            }
        }
        parts::warn_of_absent_classes(rows, &expected);
        let alike = self.search.warn(rows, &self.root, "")?;
        parts::report(rows, &out, alike.as_deref(), self.json)?;
        Ok(())
    }
}
