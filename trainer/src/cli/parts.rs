//! What `split` and `split-from-folders` say of the parts that they wrote.

use std::path::Path;

use clap::Args;
use miette::Result;
use millsight_export::output::{self, OutputError};
use millsight_trainer::data::near_duplicates::{self, Likeness};
use millsight_trainer::data::table::{Row, Split, class_order};
use serde_json::json;

use super::machine::ReaderArgs;
use super::progress;

/// Pairs of near-duplicates that are shown.
const SHOWN: usize = 5;

/// The search for near-duplicates.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Do not look for near-duplicates across the parts.
    #[arg(long)]
    skip_near_duplicates: bool,
    #[command(flatten)]
    pub reader: ReaderArgs,
}

impl SearchArgs {
    /// Says which tiles of different parts are nearly equal, and gives them,
    /// the most similar first, each as the number of its row. `remedy` is what
    /// can be done beside taking them out.
    pub fn warn(
        &self,
        rows: &[Row],
        root: &Path,
        remedy: &str,
    ) -> Result<Option<Vec<(usize, Likeness)>>> {
        if self.skip_near_duplicates {
            return Ok(None);
        }
        let threads = self.reader.threads()?;
        let bar = progress::bar("comparing", rows.len());
        let prints = near_duplicates::fingerprints(rows, root, &threads, || bar.inc(1));
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
                 others; `millsight-train check` says why",
                rows.len(),
                root.display()
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
                 ({pairs} pairs), so that a network would be judged by what it has learnt by \
                 heart. {remedy}`millsight-train check` lists them. The most alike:",
                alike.len()
            );
            for (row, likeness) in alike.iter().take(SHOWN) {
                eprintln!(
                    "  {:.3}  {}  {}",
                    likeness.similarity,
                    with_part(&rows[*row]),
                    with_part(&rows[likeness.to])
                );
            }
        }
        Ok(Some(alike))
    }
}

fn with_part(row: &Row) -> String {
    format!(
        "{} ({})",
        row.path,
        row.split.map_or("no part", Split::name)
    )
}

/// Says of each class which of the given parts have no tile of it.
pub fn warn_of_absent_classes(rows: &[Row], parts: &[Split]) {
    for class in class_order(rows.iter().map(|row| row.label.as_str())) {
        for part in parts {
            let belongs = |row: &Row| row.label == class && row.split == Some(*part);
            if !rows.iter().any(belongs) {
                eprintln!("the class {class} has no tile in the {} part", part.name());
            }
        }
    }
}

/// Prints how many tiles of each class the parts have.
pub fn report(
    rows: &[Row],
    out: &Path,
    alike: Option<&[(usize, Likeness)]>,
    json: bool,
) -> Result<(), OutputError> {
    let classes = class_order(rows.iter().map(|row| row.label.as_str()));
    let counts = |class: &str| {
        [Split::Train, Split::Val, Split::Test].map(|part| {
            let belongs = |row: &&Row| row.label == class && row.split == Some(part);
            rows.iter().filter(belongs).count()
        })
    };
    if json {
        let classes: serde_json::Map<_, _> = classes
            .into_iter()
            .map(|class| {
                let [train, val, test] = counts(&class);
                (class, json!({"train": train, "val": val, "test": test}))
            })
            .collect();
        let alike = alike.map(|alike| {
            let most_alike = alike.iter().take(SHOWN).map(|(row, likeness)| {
                json!({
                    "path": rows[*row].path,
                    "like": rows[likeness.to].path,
                    "similarity": likeness.similarity,
                })
            });
            json!({"tiles": alike.len(), "most_alike": most_alike.collect::<Vec<_>>()})
        });
        return output::line(json!({"table": out, "classes": classes, "near_duplicates": alike}));
    }
    output::write(|text| {
        writeln!(text, "  train     val    test  class")?;
        for class in classes {
            let [train, val, test] = counts(&class);
            writeln!(text, "{train:>7} {val:>7} {test:>7}  {class}")?;
        }
        writeln!(text, "written to {}", out.display())
    })
}
