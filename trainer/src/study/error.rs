//! Why a study cannot go on.

use std::path::PathBuf;

use crate::TrainError;

/// Why a study cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A file, or what a run's folder holds.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The folder is no study.
    #[error("{} is not the folder of a study: {reason}", path.display())]
    NotAStudy {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The folder holds another study.
    #[error(
        "{} holds another study ({difference}); choose another --out, or go on with it by \
         `millsight-train study resume {}`", path.display(), path.display()
    )]
    Another {
        /// The folder.
        path: PathBuf,
        /// What is different.
        difference: String,
    },
    /// Another program works on the study.
    #[error("another program works on the study {}; wait for it, or end it", .0.display())]
    InUse(PathBuf),
    /// The settings make no study.
    #[error("{0}")]
    Settings(String),
}
