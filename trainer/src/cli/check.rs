//! `check`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use miette::{IntoDiagnostic, Result};
use millsight_export::output;
use millsight_trainer::data::check::{self, Finding, Problem};
use millsight_trainer::data::image_header::MODES;
use millsight_trainer::data::near_duplicates;
use millsight_trainer::data::table::Table;
use serde_json::json;

use super::machine::ReaderArgs;
use super::progress;

/// Find files that training should not see.
///
/// Every image is decoded in full and compared with the table and with the
/// other images. Files with a problem are listed in bad_files.csv, with the
/// columns path, split, problem and detail, where problem is one of
///
///   missing         there is no such file
///   unreadable      it cannot be read or decoded
///   truncated       it ends before the image does
///   wrong_size      width or height are not those of the table or of --size
///   wrong_mode      the pixel format is not that of the table or of --mode
///   changed         the SHA-256 is not that of the table
///   duplicate       another tile of the same part has the same pixels
///   leaking         a tile of another part has the same pixels
///   near_duplicate  a tile of another part shows nearly the same
///
/// Of several copies one is not listed, so that nothing is wrong any more once
/// the listed files are repaired or taken out of the table. What a table has
/// no column for is not compared. Near-duplicates are found by their texture:
/// copies that were compressed again, resized or brightened, and many a second
/// exposure, but not shifted ones.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    about = "Find files that training should not see",
    after_help = "\
Examples:
  millsight-train check steel/split.csv
  millsight-train check tables/split.csv --data-root steel --out bad.csv
  millsight-train check steel/split.csv --size 512x512 --mode L

Exit codes: 0 no file is bad, 1 some are or the command failed, 2 wrong usage."
)]
pub struct CheckArgs {
    /// Table with the columns path and label, as index and split write it.
    table: PathBuf,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// List of bad files to write [default: bad_files.csv beside TABLE].
    #[arg(short, long, value_name = "CSV")]
    out: Option<PathBuf>,
    /// Correlation of texture from which tiles are near-duplicates, 0.65 to 1;
    /// second exposures of one place come out from 0.6 on.
    #[arg(long, value_name = "CORRELATION", value_parser = similarity,
          default_value_t = near_duplicates::SIMILARITY)]
    similarity: f64,
    /// Size that all tiles should have, for example 512x512 [default: what
    /// the table says of each].
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Pixel format that all tiles should have, in Pillow's words [default:
    /// what the table says of each].
    #[arg(long, value_parser = PossibleValuesParser::new(MODES))]
    mode: Option<String>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: ReaderArgs,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x');
    let sides = sides.and_then(|(width, height)| width.parse().ok().zip(height.parse().ok()));
    match sides {
        Some((width, height)) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err("width and height in pixels are expected, for example 512x512".to_owned()),
    }
}

fn similarity(text: &str) -> Result<f64, String> {
    let allowed = near_duplicates::LEAST_SIMILARITY..=1.0;
    match text.parse() {
        Ok(value) if allowed.contains(&value) => Ok(value),
        _ => Err(format!(
            "a number from {} to {} is expected",
            allowed.start(),
            allowed.end()
        )),
    }
}

impl CheckArgs {
    pub fn run(&self) -> Result<()> {
        let mut table = Table::read(&self.table).into_diagnostic()?;
        for row in &mut table.rows {
            if let Some((width, height)) = self.size {
                (row.width, row.height) = (Some(width), Some(height));
            }
            if let Some(mode) = &self.mode {
                row.mode = Some(mode.clone());
            }
        }
        let threads = self.reader.threads()?;
        let root = super::data_root(&self.data_root, &self.table);
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.table.with_file_name("bad_files.csv"));
        let absent = table.columns_without_values();
        if !absent.is_empty() {
            eprintln!(
                "{} has no {}: not compared",
                self.table.display(),
                absent.join(", ")
            );
        }
        let bar = progress::bar("checking", table.rows.len());
        let findings = check::files(&table.rows, &root, self.similarity, &threads, || bar.inc(1));
        bar.finish_and_clear();
        check::write(&out, &table.rows, &findings).into_diagnostic()?;
        let checked = table.rows.len();
        let bad: BTreeSet<usize> = findings.iter().map(|finding| finding.row).collect();
        let count = |problem: Problem| {
            let same = |finding: &&Finding| finding.problem == problem;
            findings.iter().filter(same).count()
        };
        if self.json {
            let problems: serde_json::Map<_, _> = Problem::ALL
                .iter()
                .map(|&problem| (problem.name().to_owned(), json!(count(problem))))
                .collect();
            output::line(
                json!({"checked": checked, "bad": bad.len(), "problems": problems, "table": out}),
            )?;
        } else {
            output::write(|text| {
                for problem in Problem::ALL {
                    match count(problem) {
                        0 => {}
                        number => writeln!(text, "{number:>7}  {}", problem.name())?,
                    }
                }
                writeln!(text, "{checked:>7}  files checked, {} bad", bad.len())
            })?;
        }
        if !bad.is_empty() {
            miette::bail!(
                "{} of {checked} files are bad; {} says why. Repair them, or take them out of the \
                 table, before training",
                bad.len(),
                out.display()
            );
        }
        Ok(())
    }
}
