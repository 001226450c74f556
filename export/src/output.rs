//! Standard output of the programs.
//!
//! `println!` panics where standard output cannot be written. These functions
//! say so instead, and take a reader that has gone away, as `| head` does, for
//! what it is: nobody wants the rest.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Standard output could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write to standard output: {0}; what was printed is incomplete")]
pub struct OutputError(io::Error);

/// Lets `print` write to standard output.
///
/// # Errors
/// When standard output cannot be written, except for a reader that has gone.
pub fn write(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    outcome(print(&mut out).and_then(|()| out.flush()))
}

/// Writes `text` as a line of its own to standard output.
///
/// # Errors
/// Those of [`write`].
pub fn line(text: impl Display) -> Result<(), OutputError> {
    write(|out| writeln!(out, "{text}"))
}

/// What an attempt to write to standard output means: a reader that has gone
/// away is no failure.
///
/// # Errors
/// Every other error of `written`.
pub fn outcome(written: io::Result<()>) -> Result<(), OutputError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_no_failure() {
        assert!(outcome(Ok(())).is_ok());
        assert!(outcome(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(outcome(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
