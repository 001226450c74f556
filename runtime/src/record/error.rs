//! Why something could not be recorded or read.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why something could not be recorded or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The folder cannot be made or used.
    #[error(
        "cannot use the record folder {path}: {error}; choose another with --out or `recording.folder`"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// Another runtime writes to the folder.
    #[error(
        "the record folder {path} is in use by another millsight ({holder}); wait for it to end or choose another folder"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// There is no record to read.
    #[error("{path} holds no record (no record.sqlite, or an empty one)")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The database was made by another version of the program.
    #[error(
        "the record {path} has format {found}, but this program knows format {known} only; read it with the program that made it, or record into another folder"
    )]
    Format {
        /// The database file.
        path: PathBuf,
        /// The format that it states; 0: none.
        found: i64,
        /// The format of this program.
        known: i64,
    },
    /// The database cannot be opened.
    #[error("cannot open the record {path}: {error}; {}", remedy(.error))]
    Open {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// The database cannot be read.
    #[error("cannot read the record {path}: {error}; {}", remedy(.error))]
    Read {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// The database cannot be written.
    #[error("cannot write the record {path}: {error}; {}", remedy(.error))]
    Write {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// Tile images cannot be written. The folder is named, not the image, so
    /// that a full disk is one problem however many images it hits.
    #[error(
        "cannot write tile images below {folder}: {error}; the verdicts are recorded without them: check the space left on its disk"
    )]
    Image {
        /// The images' folder.
        folder: PathBuf,
        /// The operating system's or the encoder's reason.
        error: std::io::Error,
    },
    /// The disk budget is spent.
    #[error(
        "the record folder {path} has reached its disk budget of {budget_gib} GiB; tile images are no longer kept: make room or raise `recording.disk_budget_gib`"
    )]
    Budget {
        /// The folder.
        path: PathBuf,
        /// The budget.
        budget_gib: f64,
    },
}

impl RecordError {
    /// SQLite refused to open the database.
    pub(super) fn open(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| RecordError::Open {
            path: path.to_path_buf(),
            error,
        }
    }

    /// SQLite refused to read.
    pub(super) fn read(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| RecordError::Read {
            path: path.to_path_buf(),
            error,
        }
    }

    /// SQLite refused to write.
    pub(super) fn write(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| RecordError::Write {
            path: path.to_path_buf(),
            error,
        }
    }
}

/// What to do about an error of SQLite.
pub(crate) fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "it is damaged or no record: move it away, or choose another folder"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check the permissions of the file and of its folder"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds it: end that program"
        }
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            "check the space left on its disk"
        }
        _ => "check that it is a record and its disk in order",
    }
}
