//! Lines from another program: one that has the library of a camera's maker writes them
//! as a [recording](super::recording), to a Unix socket or to standard input, while they
//! come.
//!
//! The program begins with a header, writes a block whenever it has lines, and ends with
//! the end of a recording. Lines that it has lost itself it leaves out of the numbers; they
//! are a gap. Where it closes a socket without an end, or dies, another may call; how many
//! lines have passed in the meantime is estimated from the time and the line rate.
//!
//! A thread reads, so that nobody waits for a program that has stopped writing.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::recording::{Header, RecordingSource};
use super::{CameraCounts, EncoderSpan, Event, Gap, LineBlock, Source, SourceError};

/// Longest wait for lines before the caller may do something else.
const WAIT: Duration = Duration::from_millis(100);

/// Blocks that are read before the first of them is taken.
const BLOCKS: usize = 8;

/// A program as a source of lines.
pub struct FeedSource {
    header: Header,
    told: Receiver<Told>,
    free: Sender<Vec<u8>>,
    /// The pixels that were handed out.
    pixels: Vec<u8>,
    /// Number of the first line of the program that feeds now.
    offset: u64,
    next_line: u64,
    counts: CameraCounts,
    /// Whether another program may call when one is gone.
    is_socket: bool,
    /// Why the program is gone, where it is.
    gone: Option<String>,
    last_lines: Instant,
}

/// What the reading thread tells.
enum Told {
    Lines(Lines),
    Gap(Gap),
    Unreadable(Gap),
    End,
    /// The program has gone without an end.
    Closed(String),
    /// Another one feeds, so many seconds after the last lines were read.
    Called(f64),
}

struct Lines {
    first_line: u64,
    timestamp: Duration,
    encoder: Option<EncoderSpan>,
    pixels: Vec<u8>,
}

impl FeedSource {
    /// Waits for a program that feeds lines, and reads its header: at a socket that is made
    /// at `socket`, or on standard input.
    ///
    /// # Errors
    /// When the socket cannot be made, or what comes is no recording.
    pub fn open(socket: Option<&Path>) -> Result<Self, SourceError> {
        let (told_in, told) = bounded(BLOCKS);
        let (free, free_out) = bounded(BLOCKS + 2);
        let feed = match socket {
            Some(path) => Feed::Socket(listen(path)?, path.to_owned()),
            None => Feed::Input,
        };
        if let Feed::Socket(_, path) = &feed {
            eprintln!(
                "waiting for a program that feeds lines at {}",
                path.display()
            );
        }
        let first = match &feed {
            Feed::Input => feed.next_program()?,
            Feed::Socket(..) => feed.wait(None),
        };
        let header = first
            .header()
            .cloned()
            .ok_or(SourceError::Unsupported("what it feeds has no header"))?;
        let reader = Reader {
            feed,
            header: header.clone(),
            told: told_in,
            free: free_out,
        };
        thread::Builder::new()
            .name("millsight-feed".into())
            .spawn(move || reader.run(first))
            .map_err(|error| SourceError::Feed {
                from: "the program".into(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            header,
            told,
            free,
            pixels: Vec::new(),
            offset: 0,
            next_line: 0,
            counts: CameraCounts {
                is_there: true,
                ..CameraCounts::default()
            },
            is_socket: socket.is_some(),
            gone: None,
            last_lines: Instant::now(),
        })
    }

    /// The lines since the last of a program that is gone.
    fn absence(&mut self, seconds: f64) -> Option<Gap> {
        let reason = self.gone.take()?;
        let line_rate = self.header.line_rate_hz;
        let gap = Gap::estimated(self.next_line, seconds, line_rate, "line", &reason);
        self.counts.seconds_away += seconds;
        self.next_line = self.next_line.saturating_add(gap.lines);
        (gap.lines > 0).then_some(gap)
    }

    /// A gap that the program tells, in the numbers of this source.
    fn moved(&mut self, gap: Gap) -> Gap {
        let first_line = self.offset.saturating_add(gap.first_line);
        self.next_line = first_line.saturating_add(gap.lines);
        Gap { first_line, ..gap }
    }
}

impl Source for FeedSource {
    fn pixels_per_line(&self) -> usize {
        self.header.pixels_per_line
    }

    fn expected_lines(&self) -> Option<u64> {
        None
    }

    fn header(&self) -> Option<&Header> {
        Some(&self.header)
    }

    fn camera(&self) -> Option<CameraCounts> {
        Some(self.counts)
    }

    fn missing_at_end(&mut self) -> Option<Gap> {
        self.absence(self.last_lines.elapsed().as_secs_f64())
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let told = match self.told.recv_timeout(WAIT) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => return Ok(Event::Nothing),
            Err(RecvTimeoutError::Disconnected) => Told::End,
        };
        match told {
            Told::Lines(lines) => {
                let before = std::mem::replace(&mut self.pixels, lines.pixels);
                // The reader may be gone, and then nobody needs it.
                let _ = self.free.try_send(before);
                self.counts.frames += 1;
                self.last_lines = Instant::now();
                let first_line = self.offset.saturating_add(lines.first_line);
                let count = self.pixels.len() / self.header.pixels_per_line.max(1);
                self.next_line = first_line.saturating_add(count as u64);
                Ok(Event::Lines(LineBlock {
                    first_line,
                    pixels: &self.pixels,
                    timestamp: lines.timestamp,
                    encoder: lines.encoder,
                }))
            }
            Told::Gap(gap) => Ok(Event::Lost(self.moved(gap))),
            Told::Unreadable(gap) => {
                self.counts.damaged_frames += 1;
                Ok(Event::Lost(self.moved(gap)))
            }
            Told::Closed(reason) if !self.is_socket => Err(SourceError::Feed {
                from: "standard input".into(),
                reason,
            }),
            Told::Closed(reason) => {
                tracing::warn!("the program that feeds lines is gone: {reason}");
                self.counts.losses += 1;
                self.counts.is_there = false;
                self.gone = Some(reason);
                Ok(Event::Nothing)
            }
            Told::Called(seconds) => {
                let gap = self.absence(seconds);
                self.counts.is_there = true;
                self.offset = self.next_line;
                Ok(gap.map_or(Event::Nothing, Event::Lost))
            }
            Told::End => Ok(Event::End),
        }
    }
}

/// Where programs come from.
enum Feed {
    Input,
    Socket(UnixListener, PathBuf),
}

impl Feed {
    /// Waits for a program and reads its header.
    fn next_program(&self) -> Result<RecordingSource, SourceError> {
        match self {
            Feed::Input => RecordingSource::of(Box::new(io::stdin()), Path::new("standard input")),
            Feed::Socket(listener, path) => {
                let accepted = listener.accept().map_err(|error| SourceError::Feed {
                    from: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                let program: Box<dyn Read + Send> = Box::new(accepted.0);
                RecordingSource::of(program, path)
            }
        }
    }

    /// Waits for a program that feeds lines, of so many pixels where that is known.
    fn wait(&self, width: Option<usize>) -> RecordingSource {
        loop {
            match self.next_program() {
                Ok(program) if width.is_none_or(|width| program.pixels_per_line() == width) => {
                    return program;
                }
                Ok(_) => tracing::error!("a program with lines of another width was refused"),
                Err(error) => {
                    tracing::error!("a program that called was refused: {error}");
                    // An error that stays would otherwise fill the log.
                    thread::sleep(WAIT);
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Feed::Socket(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes a socket; one that a program which has crashed left behind is replaced.
fn listen(path: &Path) -> Result<UnixListener, SourceError> {
    let failed = |reason: String| SourceError::Feed {
        from: path.display().to_string(),
        reason,
    };
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(failed(
                    "another program listens there; end it, or choose another `source.socket`"
                        .into(),
                ));
            }
            fs::remove_file(path).map_err(|error| failed(error.to_string()))?;
            UnixListener::bind(path).map_err(|error| failed(error.to_string()))
        }
        made => made.map_err(|error| {
            failed(format!(
                "{error}; choose a `source.socket` in a folder that exists and is yours"
            ))
        }),
    }
}

/// The thread that reads.
struct Reader {
    feed: Feed,
    header: Header,
    told: Sender<Told>,
    free: Receiver<Vec<u8>>,
}

impl Reader {
    /// Reads programs one after the other, until one ends or nobody wants to know.
    fn run(self, first: RecordingSource) {
        let mut program = first;
        loop {
            let mut last_lines = Instant::now();
            let closed = match self.read(&mut program, &mut last_lines) {
                Some(closed) => closed,
                None => return,
            };
            let is_alone = matches!(self.feed, Feed::Input);
            if self.told.send(Told::Closed(closed)).is_err() || is_alone {
                return;
            }
            program = self.feed.wait(Some(self.header.pixels_per_line));
            let seconds = last_lines.elapsed().as_secs_f64();
            if self.told.send(Told::Called(seconds)).is_err() {
                return;
            }
        }
    }

    /// Reads a program; gives why it has gone without an end, `None` where it has ended or
    /// nobody wants to know.
    fn read(&self, program: &mut RecordingSource, last_lines: &mut Instant) -> Option<String> {
        loop {
            let told = match program.next_event() {
                Ok(Event::Lines(block)) => {
                    let mut pixels = self.free.try_recv().unwrap_or_default();
                    let (first_line, timestamp) = (block.first_line, block.timestamp);
                    let encoder = block.encoder;
                    program.swap_pixels(&mut pixels);
                    *last_lines = Instant::now();
                    Told::Lines(Lines {
                        first_line,
                        timestamp,
                        encoder,
                        pixels,
                    })
                }
                Ok(Event::Gap(gap)) => Told::Gap(gap),
                Ok(Event::Unreadable(gap) | Event::Lost(gap)) => Told::Unreadable(gap),
                Ok(Event::Nothing) => continue,
                Ok(Event::End) => {
                    let _ = self.told.send(Told::End);
                    return None;
                }
                Err(error) => return Some(error.to_string()),
            };
            if self.told.send(told).is_err() {
                return None;
            }
        }
    }
}
