//! Why a study cannot go on.

use std::path::PathBuf;

/// Why a study cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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

impl StudyError {
    /// The operating system's error when `action` was tried on a file.
    pub(super) fn io(
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
