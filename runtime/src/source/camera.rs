//! Lines from a camera that gives frames of some hundred lines, whatever its interface.
//!
//! A frame is handed out where it lies and is the camera's again when the next event is
//! asked for. Line numbers follow from the frames' numbers, so that a frame that was lost
//! leaves a hole of known length, and so does one that is damaged. A camera that is gone
//! or whose stream has failed is connected anew until it is back, at growing intervals;
//! how many lines have passed in the meantime is estimated from the time and the line
//! rate.

mod encoder;
mod sequence;

#[cfg(test)]
mod tests;

use std::thread;
use std::time::{Duration, Instant};

use millsight_firmware_config::{LevelWindow, PixelFormat};

use super::levels::CameraLevels;
use super::{CameraCounts, Event, Gap, LineBlock, Source, SourceError};
use encoder::EncoderTrack;
use sequence::FrameSequence;

/// Longest wait for a frame before the caller may do something else.
const WAIT: Duration = Duration::from_millis(100);

/// Time between two attempts to connect a camera that is gone: it doubles from the first
/// to the last.
const FIRST_ATTEMPT: Duration = Duration::from_millis(100);
const LAST_ATTEMPT: Duration = Duration::from_secs(5);

/// How lines lie in frames.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameShape {
    /// How a pixel is encoded.
    pub pixel_format: PixelFormat,
    /// Black and white of a deep format.
    pub window: Option<LevelWindow>,
    /// Pixels of a line.
    pub pixels_per_line: usize,
    /// Lines of a frame.
    pub frame_lines: u32,
}

/// What is known of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameFacts {
    /// Its number since the camera was connected, from 0 on; those that were lost count.
    pub number: u64,
    /// When it was taken, by a clock of the camera's that starts anywhere, where there is
    /// one.
    pub timestamp: Option<Duration>,
    /// Bytes from a line to the next.
    pub bytes_per_line: usize,
    /// Why it is damaged, where it is.
    pub damage: Option<String>,
    /// What the camera says of its surroundings.
    pub readings: Readings,
}

/// What a camera says of its surroundings at the first line of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readings {
    /// Count of the encoder.
    pub encoder: Option<i64>,
    /// State of its input lines, a bit for each.
    pub line_status: Option<i64>,
}

/// A camera that is connected.
pub trait Connection: Sized + Send {
    /// A frame that is this program's until it is given back.
    type Frame: Send;
    /// Why the camera cannot be used.
    type Error: std::error::Error;

    /// Lets it run; before that it takes no frames.
    ///
    /// # Errors
    /// When the camera refuses, or is gone.
    fn start(&mut self) -> Result<(), Self::Error>;

    /// The next frame; `None`: none came within `most`.
    ///
    /// # Errors
    /// When the camera is gone or its stream has failed: it has to be connected anew.
    fn wait(&mut self, most: Duration) -> Result<Option<Self::Frame>, Self::Error>;

    /// What is known of a frame.
    fn facts(&self, frame: &Self::Frame) -> FrameFacts;

    /// The bytes of a frame that have come.
    fn bytes<'a>(&'a self, frame: &'a Self::Frame) -> &'a [u8];

    /// Lets the camera fill the frame's memory again.
    ///
    /// # Errors
    /// As [`Connection::wait`].
    fn give_back(&mut self, frame: Self::Frame) -> Result<(), Self::Error>;

    /// Leaves a camera that is gone.
    fn part(self) {}
}

/// A way to connect a camera that was gone.
type Connect<C> = Box<dyn FnMut() -> Result<C, <C as Connection>::Error> + Send>;

/// A camera as a source of lines.
pub struct CameraSource<C: Connection> {
    connect: Connect<C>,
    shape: FrameShape,
    /// Lines a second.
    line_rate: f64,
    camera: State<C>,
    /// What was handed out, or is handed out next.
    held: Held<C::Frame>,
    levels: CameraLevels,
    sequence: FrameSequence,
    encoder: Option<EncoderTrack>,
    counts: CameraCounts,
    /// When the first frame since the connection was taken, by the camera's clock; and
    /// when it came, since the source was opened.
    begun: Option<(Option<Duration>, Duration)>,
    opened: Instant,
    last_frame: Instant,
}

enum State<C> {
    /// Connected; it runs when somebody asks for frames.
    There {
        camera: C,
        is_running: bool,
    },
    Away(Away),
}

/// A camera that is gone.
struct Away {
    reason: String,
    next_attempt: Instant,
    interval: Duration,
}

/// A frame that is this program's.
enum Held<F> {
    Nothing,
    /// Comes next: what was missing before it has been told.
    Waiting(F),
    /// Was handed out.
    Given(F),
}

impl<C: Connection> CameraSource<C> {
    /// Lines of a camera, which `connect` connects whenever it was gone. Its lines come at
    /// `line_rate` a second.
    pub fn new(camera: C, connect: Connect<C>, shape: FrameShape, line_rate: f64) -> Self {
        Self {
            connect,
            camera: State::There {
                camera,
                is_running: false,
            },
            held: Held::Nothing,
            levels: CameraLevels::new(shape.pixel_format, shape.window),
            sequence: FrameSequence::new(shape.frame_lines.into()),
            encoder: None,
            counts: CameraCounts::default(),
            begun: None,
            opened: Instant::now(),
            last_frame: Instant::now(),
            shape,
            line_rate,
        }
    }

    /// The same, for a camera that reads an encoder, of which a count is so many lines of
    /// the material.
    pub fn with_encoder(self, lines_per_count: f64) -> Self {
        Self {
            encoder: Some(EncoderTrack::new(lines_per_count)),
            ..self
        }
    }

    /// The camera is gone, or its stream has failed.
    fn lose(&mut self, error: &C::Error) {
        tracing::warn!("the camera is lost: {error}");
        self.counts.losses += 1;
        self.held = Held::Nothing;
        let away = State::Away(Away {
            reason: error.to_string(),
            next_attempt: Instant::now() + FIRST_ATTEMPT,
            interval: FIRST_ATTEMPT,
        });
        let before = std::mem::replace(&mut self.camera, away);
        if let State::There { camera: gone, .. } = before {
            gone.part();
        }
    }

    /// Connects a camera that is gone, when it is time; tells what is missing when it is
    /// back.
    fn look_for_it(&mut self) -> Option<Gap> {
        let State::Away(away) = &mut self.camera else {
            return None;
        };
        let now = Instant::now();
        if now < away.next_attempt {
            thread::sleep(WAIT.min(away.next_attempt - now));
            return None;
        }
        let started = (self.connect)().and_then(|mut camera| camera.start().map(|()| camera));
        match started {
            Ok(camera) => {
                let gap = self.absence();
                self.camera = State::There {
                    camera,
                    is_running: true,
                };
                self.sequence.restarted();
                if let Some(encoder) = &mut self.encoder {
                    encoder.restarted();
                }
                self.begun = None;
                self.last_frame = Instant::now();
                tracing::info!("the camera is back");
                gap
            }
            Err(error) => {
                away.interval = (away.interval * 2).min(LAST_ATTEMPT);
                away.next_attempt = Instant::now() + away.interval;
                tracing::debug!("the camera is not back: {error}");
                None
            }
        }
    }

    /// The lines since the last frame of a camera that is gone.
    fn absence(&mut self) -> Option<Gap> {
        let State::Away(away) = &self.camera else {
            return None;
        };
        let seconds = self.last_frame.elapsed().as_secs_f64();
        let first_line = self.sequence.next_line();
        let gap = Gap::estimated(first_line, seconds, self.line_rate, "frame", &away.reason);
        self.counts.seconds_away += seconds;
        self.sequence.leave_out(gap.lines);
        (gap.lines > 0).then_some(gap)
    }

    /// Lets a camera run that does not yet. Between opening it and the first line of a run
    /// networks are started, and frames of that time would be lost.
    fn start(&mut self) -> Result<(), C::Error> {
        let State::There { camera, is_running } = &mut self.camera else {
            return Ok(());
        };
        if *is_running {
            return Ok(());
        }
        camera.start()?;
        *is_running = true;
        (self.opened, self.last_frame) = (Instant::now(), Instant::now());
        Ok(())
    }

    /// Waits for a frame.
    fn wait(&mut self) -> Result<Option<C::Frame>, C::Error> {
        let State::There { camera, .. } = &mut self.camera else {
            return Ok(None);
        };
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Waiting(frame) => return Ok(Some(frame)),
            Held::Given(frame) => camera.give_back(frame)?,
            Held::Nothing => {}
        }
        camera.wait(WAIT)
    }

    /// When a frame was taken, since the source was opened.
    fn time_of(&mut self, facts: &FrameFacts) -> Duration {
        let now = self.opened.elapsed();
        let (first, came) = *self.begun.get_or_insert((facts.timestamp, now));
        match (facts.timestamp, first) {
            (Some(taken), Some(first)) => came + taken.saturating_sub(first),
            _ => now,
        }
    }

    /// Notes the state of the camera's input lines.
    fn note_line_status(&mut self, status: Option<i64>) {
        if status.is_some() && status != self.counts.line_status {
            let status = status.unwrap_or_default();
            tracing::info!("the input lines of the camera are {status:#b}");
            self.counts.line_status = Some(status);
        }
    }

    /// Bytes of a frame; its last line need not be filled up.
    fn whole(&self, bytes_per_line: usize) -> usize {
        let lines = self.shape.frame_lines as usize;
        let line = self.shape.pixels_per_line * self.shape.pixel_format.bytes();
        bytes_per_line * lines.saturating_sub(1) + line
    }
}

impl<C: Connection> Source for CameraSource<C> {
    fn pixels_per_line(&self) -> usize {
        self.shape.pixels_per_line
    }

    fn expected_lines(&self) -> Option<u64> {
        None
    }

    fn camera(&self) -> Option<CameraCounts> {
        let is_there = !matches!(self.camera, State::Away(_));
        Some(CameraCounts {
            is_there,
            ..self.counts
        })
    }

    fn missing_at_end(&mut self) -> Option<Gap> {
        self.absence()
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        if matches!(self.camera, State::Away(_)) {
            return Ok(self.look_for_it().map_or(Event::Nothing, Event::Lost));
        }
        if let Err(error) = self.start() {
            self.lose(&error);
            return Ok(Event::Nothing);
        }
        let frame = match self.wait() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Event::Nothing),
            Err(error) => {
                self.lose(&error);
                return Ok(Event::Nothing);
            }
        };
        let State::There { camera, .. } = &self.camera else {
            return Ok(Event::Nothing);
        };
        let facts = camera.facts(&frame);
        self.last_frame = Instant::now();
        let missing = self.sequence.missing(facts.number);
        if missing > 0 {
            let first_line = self.sequence.next_line();
            self.counts.dropped_frames += missing;
            let lines = self.sequence.leave_out_frames(facts.number);
            self.held = Held::Waiting(frame);
            return Ok(Event::Lost(Gap {
                first_line,
                lines,
                reason: format!("{missing} frame(s) of the camera were lost"),
                seconds: None,
            }));
        }
        let first_line = self.sequence.take(facts.number);
        self.counts.frames += 1;
        let timestamp = self.time_of(&facts);
        self.note_line_status(facts.readings.line_status);
        let encoder = self.encoder.as_mut().zip(facts.readings.encoder);
        let lines = self.shape.frame_lines.into();
        let encoder = encoder.map(|(track, count)| track.span(count, first_line, lines));
        let whole = self.whole(facts.bytes_per_line);
        self.held = Held::Given(frame);
        let (State::There { camera, .. }, Held::Given(frame)) = (&self.camera, &self.held) else {
            return Ok(Event::Nothing);
        };
        let bytes = camera.bytes(frame);
        match bytes.get(..whole).filter(|_| facts.damage.is_none()) {
            Some(bytes) => Ok(Event::Lines(LineBlock {
                first_line,
                pixels: self
                    .levels
                    .of(bytes, self.shape.pixels_per_line, facts.bytes_per_line),
                timestamp,
                encoder,
            })),
            None => {
                self.counts.damaged_frames += 1;
                let too_short = || format!("a frame has {} bytes instead of {whole}", bytes.len());
                Ok(Event::Lost(Gap {
                    first_line,
                    lines: self.shape.frame_lines.into(),
                    reason: facts.damage.unwrap_or_else(too_short),
                    seconds: None,
                }))
            }
        }
    }
}
