//! From a folder of labelled tiles to batches for a network.
//!
//! * [`index`]: folder tree -> table of tiles.
//! * [`table`]: that table as CSV.
//! * [`split`]: train, validation and test parts.
//! * [`split_folders`]: parts that are given as folders.
//! * [`check`]: files that training should not see.
//! * [`near_duplicates`]: tiles that show nearly the same.
//! * [`fraction`]: a part of the training part, for few labels.
//! * [`tiles`]: decoded tiles, cached in memory.
//! * [`statistics`]: mean and deviation of a set's levels.
//! * [`augment`]: random changes of a tile.
//! * [`order`]: which tile comes when.
//! * [`batches`]: a thread that keeps the next batches ready.

pub mod augment;
pub mod batches;
pub mod check;
pub mod fraction;
pub mod image_header;
pub mod index;
pub mod near_duplicates;
pub mod order;
pub mod split;
pub mod split_folders;
pub mod statistics;
pub mod table;
pub mod tiles;

use std::path::PathBuf;

/// Why data could not be read, indexed or split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder holds no class folder with images.
    #[error(
        "{} holds no images: one folder for each class is expected, \
         for example {}/cracks/0001.png", path.display(), path.display()
    )]
    NoImages {
        /// The folder that was indexed.
        path: PathBuf,
    },
    /// A tile cannot be read.
    #[error(transparent)]
    Tile(#[from] millsight_export::preprocess::LoadImageError),
    /// An image cannot be decoded.
    #[error("cannot decode the image {}: {reason}; repair it or take it out of the table", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// Files that are images by their endings only.
    #[error(
        "the headers of {} of the images cannot be read; repair these files or take them out of \
         the folder:{}", files.len(), listed(files)
    )]
    NotImages {
        /// Each file, with what the decoder said.
        files: Vec<(PathBuf, String)>,
    },
    /// A folder without reviewed tiles.
    #[error(
        "{} has no labels.csv; `millsight labels export --record DIR --out FOLDER` writes it",
        path.display()
    )]
    NoReviews {
        /// The folder.
        path: PathBuf,
    },
    /// A path cannot be written to a CSV table.
    #[error("the name of {} is not valid UTF-8; rename it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// The table is not CSV of the documented form.
    #[error("{}: {reason}", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        reason: String,
    },
    /// Split shares are not usable.
    #[error("the shares {train}, {val} and {test} must be 0 to 1 and sum to 1")]
    Shares {
        /// Share of the training part.
        train: f64,
        /// Share of the validation part.
        val: f64,
        /// Share of the test part.
        test: f64,
    },
    /// A part that a split into folders needs.
    #[error(
        "{} has no folder `{part}`, but {}; ROOT/train/CLASS, ROOT/val/CLASS and ROOT/test/CLASS \
         are expected. Folders of classes alone are divided by `millsight-train index` and \
         `millsight-train split`", root.display(), listed_names(found)
    )]
    NoPart {
        /// The folder.
        root: PathBuf,
        /// What is absent.
        part: &'static str,
        /// What there is instead.
        found: Vec<String>,
    },
    /// A part that a split into folders has twice.
    #[error(
        "{} and {} are both the {part} part; put them together or rename one",
        paths[0].display(), paths[1].display()
    )]
    PartTwice {
        /// The part.
        part: &'static str,
        /// Its folders.
        paths: [PathBuf; 2],
    },
    /// A random change whose parameter is out of range.
    #[error("{name} must be {range}, not {got}")]
    Change {
        /// The change and its parameter.
        name: &'static str,
        /// What is allowed.
        range: String,
        /// What was given.
        got: String,
    },
    /// Levels that are not those of a tile.
    #[error(
        "{got} levels are no tile of {channels} channels with {}x{} pixels; \
         1 or 3 channels and sides of at least 1 pixel are expected", size[1], size[0]
    )]
    Levels {
        /// How many channels were told.
        channels: usize,
        /// Height and width that were told.
        size: [usize; 2],
        /// How many levels there were.
        got: usize,
    },
    /// A path without the name of a group.
    #[error(
        "--group-by {pattern} matches nothing in {path:?}; the part of the path that names \
         the piece or photograph is expected, for example '/([^/_]+)_'"
    )]
    NoGroup {
        /// The path, as in the table.
        path: String,
        /// The pattern.
        pattern: String,
    },
    /// Training needs two classes.
    #[error(
        "{} has only the class {class:?} in its {split} part; \
         a classifier needs at least two", path.display()
    )]
    OneClass {
        /// The table.
        path: PathBuf,
        /// The only class.
        class: String,
        /// The part that was asked for.
        split: String,
    },
    /// A class that a network cannot learn.
    #[error(
        "{} has no tile of the class {class:?} in its {split} part; label more of them, \
         or take the class out of the table and split it again", path.display()
    )]
    ClassWithoutTiles {
        /// The table.
        path: PathBuf,
        /// The class.
        class: String,
        /// The part.
        split: String,
    },
    /// A part of the split is empty.
    #[error(
        "{} has no tiles in its {split} part. Before training: run `millsight-train split` with a \
         share for it, and label more tiles where that part gets none of so few. A trained network \
         can be evaluated on another part (--split)", path.display()
    )]
    EmptySplit {
        /// The table.
        path: PathBuf,
        /// The part that was asked for.
        split: String,
    },
    /// A label that the model does not know.
    #[error("{} has the label {label:?}, but the model knows only {}", path.display(), known.join(", "))]
    UnknownLabel {
        /// The table.
        path: PathBuf,
        /// The label.
        label: String,
        /// Labels of the model.
        known: Vec<String>,
    },
}

impl DataError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// Files that a message names one by one.
const LISTED: usize = 20;

fn listed(files: &[(PathBuf, String)]) -> String {
    let mut list = String::new();
    for (path, reason) in files.iter().take(LISTED) {
        list.push_str(&format!("\n  {}: {}", path.display(), reason.trim_end()));
    }
    if files.len() > LISTED {
        list.push_str(&format!("\n  and {} more", files.len() - LISTED));
    }
    list
}

fn listed_names(names: &[String]) -> String {
    match names {
        [] => "nothing at all".to_owned(),
        _ => names[..names.len().min(LISTED)].join(", "),
    }
}
