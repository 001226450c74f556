//! Files that must survive: written beside their name, synced, then renamed.
//!
//! Every file that grows beside its name is made here, so that all of them
//! have the permissions of ordinary files and a prefix by which leftovers of a
//! crash are known.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// What the names of files begin with that are not complete yet.
pub const PARTIAL_PREFIX: &str = ".partial-";

/// Begins a file in `folder`. Dropped before it is renamed, it leaves nothing.
///
/// # Errors
/// Whatever the file system reports.
pub fn partial_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL_PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one becomes the real
        // file, which should follow the user's umask like any other.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Begins a file that is to become `path`, in the same folder.
///
/// # Errors
/// Whatever the file system reports.
pub fn partial_beside(path: &Path) -> io::Result<NamedTempFile> {
    partial_in(folder_of(path))
}

/// Syncs a finished file and gives it its name, in place of what has it now.
/// Afterwards both contents and name survive a power cut.
///
/// # Errors
/// Whatever the file system reports; what had the name before still has it,
/// unless only the last step failed, the sync of the folder.
pub fn persist(partial: NamedTempFile, path: &Path) -> io::Result<()> {
    partial.as_file().sync_all()?;
    partial.persist(path).map_err(|failure| failure.error)?;
    // The rename itself is durable only once the folder is synced.
    sync_folder(folder_of(path))
}

/// Makes durable which names a folder holds.
///
/// # Errors
/// Whatever the file system reports.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Replaces `path` by `contents` so that a crash or a full disk leaves either
/// the old file or the new one, never a part of it.
///
/// # Errors
/// Whatever the file system reports; the old file is then untouched.
pub fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut partial = partial_beside(path)?;
    partial.write_all(contents)?;
    persist(partial, path)
}

/// Removes the incomplete files that a crash left in `folder`. Nobody else may
/// be writing there.
///
/// # Errors
/// When the folder cannot be listed or a file not removed.
pub fn remove_partials(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(PARTIAL_PREFIX.as_bytes())
            && entry.file_type()?.is_file()
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder that holds `path`.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        replace_file(&path, b"first").unwrap();
        replace_file(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("inside")).unwrap();
        assert!(replace_file(&path, b"new").is_err());
        assert!(path.join("inside").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let ordinary = folder.path().join("ordinary");
        fs::write(&ordinary, b"").unwrap();
        let replaced = folder.path().join("replaced");
        replace_file(&replaced, b"").unwrap();
        assert_eq!(mode(&replaced), mode(&ordinary));
    }

    #[test]
    fn leftovers_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (_, leftover) = partial_in(folder.path()).unwrap().keep().unwrap();
        let kept = folder.path().join("0000001_2.png");
        fs::write(&kept, b"").unwrap();
        remove_partials(folder.path()).unwrap();
        assert!(!leftover.exists() && kept.exists());
    }
}
