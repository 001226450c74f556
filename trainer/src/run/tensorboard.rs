//! The event file that TensorBoard shows: figures of steps and epochs.
//!
//! A record is its length (8 bytes), a checksum of the length, an `Event`
//! message and a checksum of the message; all numbers little-endian. Sources:
//! TensorFlow's `record_writer.cc`, `event.proto` and `summary.proto`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use protobuf::CodedOutputStream;

use crate::TrainError;

/// Fields of `Event`.
mod event {
    pub const WALL_TIME: u32 = 1;
    pub const STEP: u32 = 2;
    pub const FILE_VERSION: u32 = 3;
    pub const SUMMARY: u32 = 5;
    pub const SESSION_LOG: u32 = 7;
}

/// The field `value` of `Summary`.
const VALUE: u32 = 1;
/// Fields of `Summary.Value`.
const TAG: u32 = 1;
const SIMPLE_VALUE: u32 = 2;
/// The field `status` of `SessionLog`, and its value for a beginning.
const STATUS: u32 = 1;
const START: i32 = 1;

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a new file in a folder. TensorBoard forgets what older files in
    /// the folder say of `step` and later ones: a resumed run goes through
    /// them once more.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: &Path, step: usize) -> Result<Self, TrainError> {
        let nanoseconds = since_1970().as_nanos();
        let name = format!("events.out.tfevents.{nanoseconds}.millsight");
        let path = folder.join(name);
        let file = File::create(&path).map_err(TrainError::io("write", &path))?;
        let mut this = Self { path, file };
        this.record(|message| message.write_string(event::FILE_VERSION, "brain.Event:2"))?;
        let session = encode(|message| message.write_enum(STATUS, START));
        this.record(|message| {
            message.write_int64(event::STEP, step as i64)?;
            message.write_bytes(event::SESSION_LOG, &session?)
        })?;
        Ok(this)
    }

    /// Adds figures of one step, counted from 0 over the whole run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add<'a>(
        &mut self,
        step: usize,
        figures: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), TrainError> {
        let summary = encode(|summary| {
            for (tag, value) in figures {
                let value = encode(|message| {
                    message.write_string(TAG, tag)?;
                    message.write_float(SIMPLE_VALUE, value as f32)
                })?;
                summary.write_bytes(VALUE, &value)?;
            }
            Ok(())
        });
        self.record(|message| {
            message.write_int64(event::STEP, step as i64)?;
            message.write_bytes(event::SUMMARY, &summary?)
        })
    }

    fn record(
        &mut self,
        fields: impl FnOnce(&mut CodedOutputStream<'_>) -> protobuf::Result<()>,
    ) -> Result<(), TrainError> {
        let now = since_1970().as_secs_f64();
        let message = encode(|message| {
            message.write_double(event::WALL_TIME, now)?;
            fields(message)
        })
        .map_err(std::io::Error::other);
        message
            .and_then(|message| self.file.write_all(&framed(&message)))
            .map_err(TrainError::io("write", &self.path))
    }
}

fn since_1970() -> std::time::Duration {
    // A clock before 1970 is wrong anyhow.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn encode(
    fields: impl FnOnce(&mut CodedOutputStream<'_>) -> protobuf::Result<()>,
) -> protobuf::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut message = CodedOutputStream::vec(&mut bytes);
    fields(&mut message)?;
    message.flush()?;
    drop(message);
    Ok(bytes)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(checksum(&length).to_le_bytes());
    record.extend(message);
    record.extend(checksum(message).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted so that a checksum of data that holds its own
/// checksum is no constant.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_record_is_what_tensorflow_writes() {
        // Checksums of tensorboard 2.21's `masked_crc32c`.
        let message = b"\x1a\x0dbrain.Event:2";
        let record = framed(message);
        assert_eq!(record[..8], 15u64.to_le_bytes());
        assert_eq!(record[12..27], message[..]);
        assert_eq!(hex::encode(&record[8..12]), "6d532b09");
        assert_eq!(hex::encode(&record[27..]), "fc985129");
    }

    #[test]
    fn figures_are_found_under_their_tags() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 7).unwrap();
        file.add(7, [("loss", 0.5), ("rate", 0.25)]).unwrap();
        let bytes = std::fs::read(&file.path).unwrap();
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            messages.push(&rest[12..12 + length]);
            rest = &rest[16 + length..];
        }
        assert_eq!(messages.len(), 3);
        // Step 7 and a session log that says that the session begins.
        assert!(messages[1].ends_with(b"\x10\x07\x3a\x02\x08\x01"));
        let value = |tag: &[u8], value: f32| {
            [&[0x0a, tag.len() as u8], tag, &[0x15], &value.to_le_bytes()].concat()
        };
        for expected in [value(b"loss", 0.5), value(b"rate", 0.25)] {
            assert!(
                messages[2]
                    .windows(expected.len())
                    .any(|part| part == expected)
            );
        }
    }
}
