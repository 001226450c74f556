//! Reading whole files that may be anything.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `limit` bytes.
///
/// A pipe or a device could hold the program up or fill its memory, so these
/// are refused; and what grows while it is read is read no further than the
/// limit.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] beyond the limit; else what the file system
/// reports.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        )
    };
    let size = regular(path)?;
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The size of a regular file.
///
/// # Errors
/// When it is something else; else what the file system reports.
pub(crate) fn regular(path: &Path) -> io::Result<u64> {
    let about = std::fs::metadata(path)?;
    if about.is_file() {
        return Ok(about.len());
    }
    let kind = if about.is_dir() {
        "it is a folder, not a file"
    } else {
        "it is a device or a pipe, not a regular file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, kind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        let error = read(&path, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        // A file without end, as some devices and `/proc` have them.
        assert!(read(Path::new("/dev/zero"), 9).is_err());
        assert!(read(folder.path(), 9).is_err());
        assert!(read(&folder.path().join("none"), 9).is_err());
    }
}
