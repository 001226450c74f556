//! `index`.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::output;
use millsight_trainer::data::index::{self, Index};
use millsight_trainer::data::split_folders;
use millsight_trainer::data::table::{self, class_order};
use serde_json::json;

/// List the images of a folder in a table.
///
/// Each sub-folder of FOLDER is a class, and the images at any depth below it
/// belong to that class. The table is CSV with the columns path (relative to
/// FOLDER), label, width, height, mode (pixel format in Pillow's words) and
/// sha256. PNG, JPEG, TIFF and BMP are known by their endings.
///
/// Tiles that people have reviewed (`millsight labels export`) are listed with
/// --reviews, with or without a FOLDER of others. Their column group says of
/// which piece they are, so that `millsight-train split` keeps them together.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train index steel
  millsight-train index steel --out tables/steel.csv --json
  millsight-train index --reviews labels
  millsight-train index steel --reviews labels --out both.csv")]
pub struct IndexArgs {
    /// Folder with one sub-folder for each class.
    #[arg(required_unless_present = "reviews")]
    folder: Option<PathBuf>,
    /// Folder of reviewed tiles; may be given again.
    #[arg(long, value_name = "DIR")]
    reviews: Vec<PathBuf>,
    /// Table to write [default: index.csv in FOLDER, or in the first DIR].
    /// Its paths are relative to that folder.
    #[arg(short, long, value_name = "CSV")]
    out: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl IndexArgs {
    pub fn run(&self) -> Result<()> {
        let mut found = match &self.folder {
            Some(folder) => index::folder(folder).into_diagnostic()?,
            None => Index::default(),
        };
        // There is one or the other.
        let root = self.folder.as_ref().or(self.reviews.first());
        let root = root.map(PathBuf::as_path).unwrap_or(Path::new("."));
        for folder in &self.reviews {
            let reviewed = index::reviewed(root, folder).into_diagnostic()?;
            found.rows.extend(reviewed);
        }
        let out = self.out.clone().unwrap_or_else(|| root.join("index.csv"));
        table::write(&out, &found.rows).into_diagnostic()?;
        for path in &found.skipped {
            let why = match path.is_file() {
                true => "not an image by its ending",
                false => "no regular file",
            };
            eprintln!("left out: {} is {why}", path.display());
        }
        if !found.outside.is_empty() {
            eprintln!(
                "left out: {} images directly in {}, outside the folders of the classes, for \
                 example {}",
                found.outside.len(),
                root.display(),
                found.outside[0].display()
            );
        }
        for path in &found.empty {
            eprintln!("left out: {} holds no image", path.display());
        }
        let classes = class_order(found.rows.iter().map(|row| row.label.as_str()));
        if split_folders::are_parts(&classes) {
            eprintln!(
                "the classes are named like the parts of a split: \
                 `millsight-train split-from-folders {}` takes them for parts",
                root.display()
            );
        }
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
