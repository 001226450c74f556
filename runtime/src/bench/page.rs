//! How fast the page answers while the line runs, and what that costs the line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millsight_firmware_config::{KeepImages, Recording, Station, TILE_SIZE};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trial::{self, Trial};
use crate::assemble::Row;
use crate::classify::{Room, SettledRow};
use crate::decide::Verdict;
use crate::flat_field::FlatField;
use crate::ledger::{TileState, UnjudgedReason};
use crate::networks::Networks;
use crate::record::{RecordError, Recorder, RunDescription};
use crate::source::prerendered::Prerendered;

/// Tiles that a request asks for, as the page does.
const AT_ONCE: usize = 20;

/// Records so many flagged tiles without images, the verdicts of which lie at all
/// distances from another one.
///
/// # Errors
/// When the record cannot be written.
pub fn fill(folder: &Path, description: RunDescription, tiles: usize) -> Result<(), RecordError> {
    let recording = Recording {
        keep_images: KeepImages::None,
        ..Recording::default()
    };
    let (geometry, classes) = (description.geometry, description.card.classes.len());
    let columns = geometry.columns();
    let mut recorder = Recorder::begin(folder, &recording, description)?;
    for number in 0..tiles.div_ceil(columns) as u64 {
        let row = Row {
            number,
            first_line: number * TILE_SIZE as u64,
            lines: TILE_SIZE,
            encoder: None,
            metres: number as f64 * TILE_SIZE as f64 / geometry.lines_per_metre,
            model: 0,
            geometry,
            timestamp: Duration::ZERO,
            completed: Instant::now(),
            pixels: None,
            room: Room::default(),
        };
        let mut row = SettledRow::unjudged(row, UnjudgedReason::ImageLost);
        row.probabilities = vec![0.0; columns * classes];
        for column in 0..columns.min(tiles - number as usize * columns) {
            let tile = number as usize * columns + column;
            let class = 1 + tile % (classes - 1);
            let probability = 0.5 + 0.5 * ((tile * 37 % 1000) as f32 / 1000.0);
            row.probabilities[column * classes] = 1.0 - probability;
            row.probabilities[column * classes + class] = probability;
            row.states[column] = TileState::Judged {
                flagged: Some(class),
            };
            row.verdicts[column] = Some(Verdict {
                class,
                probability,
                flagged: true,
            });
        }
        recorder.row(&row)?;
    }
    recorder.commit()
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InUse {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were not, or not with tiles.
    pub failed: u64,
    /// Median time to the whole answer, milliseconds.
    pub p50_ms: f64,
    /// Its 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// The longest, milliseconds.
    pub max_ms: f64,
    /// The line without the page.
    pub alone: Trial,
    /// The line while the page was asked.
    pub used: Trial,
}

/// Where the page is, and how much it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its address, unencrypted.
    pub address: SocketAddr,
    /// A token that may look.
    pub token: &'a str,
    /// Requests, spread over the time of the run.
    pub requests: u64,
}

/// Runs lines at `rate`, first by themselves and then while the queue is asked for, page
/// after page. `networks` starts the networks of a run.
///
/// # Errors
/// When the networks do not start.
pub fn run<E>(
    station: &Station,
    mut networks: impl FnMut() -> Result<Networks, E>,
    drawn: &Prerendered,
    flat_field: &FlatField,
    (rate, time): (f64, Duration),
    asked: Asked<'_>,
) -> Result<InUse, E> {
    let trial = |networks| trial::run(station, networks, drawn, flat_field.clone(), rate, time);
    let alone = trial(networks()?);
    let networks = networks()?;
    let done = AtomicBool::new(false);
    let (used, (answers, failed)) = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(asked, time, &done));
        let used = trial(networks);
        done.store(true, Ordering::Relaxed);
        let answers = asking.join();
        (
            used,
            answers.unwrap_or_else(|_| (new_histogram(), asked.requests)),
        )
    });
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    Ok(InUse {
        requests: answers.len(),
        failed,
        p50_ms: milliseconds(answers.value_at_quantile(0.5)),
        p99_ms: milliseconds(answers.value_at_quantile(0.99)),
        max_ms: milliseconds(answers.max()),
        alone,
        used,
    })
}

/// Microseconds up to a minute, to three digits. The bounds are constants that the
/// histogram accepts.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are constants"))
}

/// Asks for the queue, page after page, evenly over a time; gives how long each answer
/// took, and how many were none.
fn ask(asked: Asked<'_>, time: Duration, done: &AtomicBool) -> (Histogram<u64>, u64) {
    let mut answers = new_histogram();
    let mut failed = 0;
    let mut connection = None;
    let mut after = None;
    let begun = Instant::now();
    for number in 0..asked.requests {
        let due = time.mul_f64(number as f64 / asked.requests as f64);
        thread::sleep(due.saturating_sub(begun.elapsed()));
        if done.load(Ordering::Relaxed) {
            break;
        }
        let sent = Instant::now();
        match page(&mut connection, asked, after) {
            Ok(next) => {
                answers.saturating_record(sent.elapsed().as_micros() as u64);
                after = next;
            }
            Err(_) => {
                failed += 1;
                connection = None;
            }
        }
    }
    (answers, failed)
}

/// One page of the queue; gives what to ask for after it.
fn page(
    connection: &mut Option<BufReader<TcpStream>>,
    asked: Asked<'_>,
    after: Option<i64>,
) -> io::Result<Option<i64>> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(BufReader::new(TcpStream::connect(asked.address)?)),
    };
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    let request = format!(
        "GET /api/v1/queue?limit={AT_ONCE}{after} HTTP/1.1\r\nHost: {}\r\n\
         Authorization: Bearer {}\r\n\r\n",
        asked.address, asked.token
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut is_ok) = (0, false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        is_ok |= line.starts_with("http/1.1 200");
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let page: Value = serde_json::from_slice(&body)?;
    let tiles = page["tiles"].as_array().map_or(0, Vec::len);
    match is_ok && tiles > 0 {
        true => Ok(page["next"].as_i64()),
        false => Err(io::Error::other("no tiles")),
    }
}
