#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::super::{Event, LineBlock, Source, SourceError};
use super::*;
use proptest::prelude::*;

const WIDTH: usize = 512;

fn header() -> Header {
    Header {
        pixels_per_line: WIDTH,
        line_rate_hz: 67_000.0,
        lines_per_metre: 10_000.0,
        mm_per_pixel: 0.1,
        piece: "coil 7".into(),
        origin: "test".into(),
    }
}

/// Levels of a line, which tell lines apart.
fn line(number: u64) -> Vec<u8> {
    (0..WIDTH as u64)
        .map(|pixel| (pixel * 31 + number * 7) as u8)
        .collect()
}

fn lines(first_line: u64, lines: u64) -> Vec<u8> {
    (first_line..first_line + lines).flat_map(line).collect()
}

fn block(first_line: u64, pixels: &[u8]) -> LineBlock<'_> {
    LineBlock {
        first_line,
        pixels,
        timestamp: Duration::from_nanos(first_line),
        encoder: None,
    }
}

fn write(path: &Path, blocks: &[(u64, u64)]) {
    let mut writer = RecordingWriter::create(path, &header()).unwrap();
    for &(first_line, count) in blocks {
        let pixels = lines(first_line, count);
        writer.write(&block(first_line, &pixels)).unwrap();
    }
    writer.finish().unwrap();
}

/// What a recording gives.
#[derive(Default)]
struct Outcome {
    /// Numbers of the lines that came.
    lines: Vec<u64>,
    gaps: Vec<(u64, u64)>,
    unreadable: Vec<(u64, u64, String)>,
    error: Option<SourceError>,
}

/// Reads to the end or to the first error, and checks that every line that
/// comes is one that was written.
fn read(path: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let mut source = match RecordingSource::open(path) {
        Ok(source) => source,
        Err(error) => {
            outcome.error = Some(error);
            return outcome;
        }
    };
    loop {
        match source.next_event() {
            Ok(Event::Lines(block)) => {
                for (index, pixels) in block.pixels.chunks(WIDTH).enumerate() {
                    let number = block.first_line + index as u64;
                    assert_eq!(pixels, line(number), "line {number}");
                    outcome.lines.push(number);
                }
            }
            Ok(Event::Gap(gap)) => outcome.gaps.push((gap.first_line, gap.lines)),
            Ok(Event::Unreadable(gap)) => {
                outcome
                    .unreadable
                    .push((gap.first_line, gap.lines, gap.reason));
            }
            Ok(Event::End) => return outcome,
            Ok(other) => panic!("a recording tells of no camera: {other:?}"),
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        }
    }
}

/// Begins a recording by hand, with a header that the writer would refuse.
fn begin(header: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(crc32fast::hash(header.as_bytes()).to_le_bytes());
    bytes
}

/// Appends a block whose checksums match, whatever it says.
fn append_block(bytes: &mut Vec<u8>, first_line: u64, lines: u32, pixels: &[u8]) {
    let start = bytes.len();
    bytes.extend(BLOCK_MAGIC);
    bytes.extend(first_line.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(NO_ENCODER.to_le_bytes());
    bytes.extend(lines.to_le_bytes());
    bytes.extend(crc32fast::hash(pixels).to_le_bytes());
    bytes.extend([0; 4]);
    let sum = crc32fast::hash(&bytes[start..]);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(pixels);
}

#[test]
fn what_was_written_is_read_and_holes_become_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    write(&path, &[(0, 3), (3, 5), (100, 2)]);
    let outcome = read(&path);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.lines, [0, 1, 2, 3, 4, 5, 6, 7, 100, 101]);
    assert_eq!(outcome.gaps, [(8, 92)]);
    assert!(outcome.unreadable.is_empty());
}

#[test]
fn an_abandoned_recording_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    let writer = RecordingWriter::create(&path, &header()).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_recording_is_readable_like_any_other_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    write(&path, &[(0, 1)]);
    let ordinary = folder.path().join("ordinary");
    fs::write(&ordinary, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&ordinary));
}

#[test]
fn headers_that_no_recording_has_are_refused_by_reader_and_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    let with = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        header
    };
    let bad = [
        ("pixels_per_line", with(|h| h.pixels_per_line = 0)),
        ("pixels_per_line", with(|h| h.pixels_per_line = 500)),
        ("pixels_per_line", with(|h| h.pixels_per_line = 4_194_304)),
        ("pixels_per_line", with(|h| h.pixels_per_line = 512 << 40)),
        ("pixels_per_line", with(|h| h.pixels_per_line = 1 << 60)),
        ("line_rate_hz", with(|h| h.line_rate_hz = 0.0)),
        ("lines_per_metre", with(|h| h.lines_per_metre = 0.0)),
        ("lines_per_metre", with(|h| h.lines_per_metre = -5.0)),
        ("mm_per_pixel", with(|h| h.mm_per_pixel = -1.0)),
        ("piece", with(|h| h.piece = "../coil".into())),
        ("piece", with(|h| h.piece = "coil\u{7}".into())),
        ("piece", with(|h| h.piece = " ".into())),
    ];
    for (field, header) in bad {
        let refused = RecordingWriter::create(&path, &header).unwrap_err();
        assert!(refused.to_string().contains(field), "{refused}");
        assert!(!path.exists());
        let mut bytes = begin(&serde_json::to_string(&header).unwrap());
        append_block(&mut bytes, 0, 1, &line(0));
        fs::write(&path, bytes).unwrap();
        let error = read(&path).error.unwrap();
        assert!(matches!(error, SourceError::Unsuitable { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn line_numbers_that_cannot_be_counted_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    for first_line in [u64::MAX - 15, u64::MAX, i64::MAX as u64] {
        let mut bytes = begin(&serde_json::to_string(&header()).unwrap());
        append_block(&mut bytes, 0, 1, &line(0));
        append_block(&mut bytes, first_line, 1, &line(0));
        fs::write(&path, bytes).unwrap();
        let outcome = read(&path);
        assert_eq!(outcome.lines, [0]);
        assert!(outcome.gaps.is_empty());
        let error = outcome.error.unwrap().to_string();
        assert!(error.contains(&first_line.to_string()), "{error}");

        let mut writer = RecordingWriter::create(&path, &header()).unwrap();
        let refused = writer.write(&block(first_line, &line(0))).unwrap_err();
        assert!(refused.to_string().contains("count"), "{refused}");
    }
}

#[test]
fn a_block_that_the_reader_would_not_believe_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    let mut writer = RecordingWriter::create(&path, &header()).unwrap();
    let pixels = vec![0; LARGEST_BLOCK as usize + WIDTH];
    let refused = writer.write(&block(0, &pixels)).unwrap_err().to_string();
    assert!(refused.contains("bytes"), "{refused}");
    let late = LineBlock {
        timestamp: Duration::MAX,
        ..block(0, &pixels[..WIDTH])
    };
    assert!(writer.write(&late).is_err());
}

#[test]
fn bytes_behind_the_end_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    write(&path, &[(0, 3)]);
    let one = fs::read(&path).unwrap();
    for behind in [&one[..], b"x"] {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(behind).unwrap();
        let outcome = read(&path);
        assert_eq!(outcome.lines, [0, 1, 2]);
        let error = outcome.error.unwrap().to_string();
        assert!(error.contains("end") && error.contains("follow"), "{error}");
    }
}

#[test]
fn a_block_with_damaged_pixels_is_left_out_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.lines");
    write(&path, &[(0, 3), (3, 5), (20, 2)]);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len() - END_SIZE;
    // In the second block: before it lie one of 2 lines with its header, and
    // the pixels of its own last line.
    let at = end - 2 * WIDTH - BLOCK_HEADER - 10;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let outcome = read(&path);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.lines, [0, 1, 2, 20, 21]);
    assert_eq!(outcome.gaps, [(8, 12)]);
    let [(3, 5, reason)] = &outcome.unreadable[..] else {
        panic!("{:?}", outcome.unreadable);
    };
    for part in ["strip.lines", "byte", "checksum"] {
        assert!(reason.contains(part), "{reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut off, an error says so, and every line that comes
    /// before it is one that was written.
    #[test]
    fn every_truncation_is_noticed(cut in 1usize..6_000) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strip.lines");
        write(&path, &[(0, 3), (3, 5)]);
        let bytes = fs::read(&path).unwrap();
        let kept = bytes.len().saturating_sub(cut);
        fs::write(&path, &bytes[..kept]).unwrap();
        prop_assert!(read(&path).error.is_some());
    }

    /// A changed byte never passes as a pixel that was taken, and never
    /// unnoticed.
    #[test]
    fn every_changed_byte_is_noticed(at in 0usize..10_000, change in 1u8..) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strip.lines");
        write(&path, &[(0, 3), (3, 5)]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= change;
        fs::write(&path, &bytes).unwrap();
        let outcome = read(&path);
        prop_assert!(outcome.error.is_some() || !outcome.unreadable.is_empty());
    }
}
