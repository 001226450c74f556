//! Lines from a GenICam camera (GigE Vision, USB3 Vision), through the library Aravis.
//!
//! * [`devices`]: which cameras are connected.
//! * [`camera`]: opening a camera and setting it up.
//! * [`offered`]: the formats and ranges that it offers.
//! * [`chunks`]: what comes with a frame beside its pixels.
//! * `features`: setting features by their names.
//! * [`reception`]: how frames are received.
//! * [`stream`]: frames in buffers that Aravis fills.
//! * `frame_numbers`: from the camera's frame ids to running numbers.
//!
//! A camera and its stream belong to one thread at a time; they may be moved to another.

pub mod camera;
pub mod chunks;
pub mod devices;
pub mod error;
mod features;
mod frame_numbers;
pub(super) mod listing;
pub mod offered;
pub mod reception;
pub mod stream;

use std::time::Duration;

use millsight_firmware_config::PixelFormat;

use super::camera::{CameraSource, Connection, FrameFacts, FrameShape};
use camera::{Camera, Identity, Settings};
use chunks::ChunkNames;
pub use error::Error;
use reception::StreamSettings;
use stream::{Frame, Stream};

/// A camera as a source of lines.
pub type GenicamSource = CameraSource<Stream>;

/// What is asked of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct GenicamSettings {
    /// Its id, serial number or address.
    pub camera: String,
    /// How lines lie in its frames.
    pub shape: FrameShape,
    /// Features by their names.
    pub features: camera::Features,
    /// What the camera sends beside the pixels.
    pub chunks: ChunkNames,
    /// How many lines of the material a count of its encoder is, where it sends that.
    pub lines_per_count: Option<f64>,
    /// How frames are received.
    pub stream: StreamSettings,
}

/// Opens a camera and sets it up; tells what it does otherwise than asked, and what stands
/// in the way of receiving all of it. It runs from the first event on. Its lines come at
/// `line_rate` a second.
///
/// # Errors
/// When it is not there, in use, or has no such format or feature.
pub fn open(
    settings: GenicamSettings,
    line_rate: f64,
) -> Result<(GenicamSource, Vec<String>), Error> {
    let camera = Camera::open(&settings.camera)?;
    let known = camera.identity().clone();
    let (first, notices) = ready(camera, &settings)?;
    let shape = settings.shape.clone();
    let lines_per_count = settings.lines_per_count;
    let connect = move || {
        let camera = Camera::open(&settings.camera)?;
        is_the_same(&camera, &known)?;
        ready(camera, &settings).map(|(stream, _)| stream)
    };
    let source = CameraSource::new(first, Box::new(connect), shape, line_rate);
    let source = match lines_per_count {
        Some(lines_per_count) => source.with_encoder(lines_per_count),
        None => source,
    };
    Ok((source, notices))
}

impl Connection for Stream {
    type Frame = Frame;
    type Error = Error;

    fn start(&mut self) -> Result<(), Error> {
        self.run()
    }

    fn wait(&mut self, most: Duration) -> Result<Option<Frame>, Error> {
        Stream::wait(self, most)
    }

    fn facts(&self, frame: &Frame) -> FrameFacts {
        FrameFacts {
            number: frame.number,
            timestamp: Some(frame.timestamp),
            bytes_per_line: frame.bytes_per_line,
            damage: frame.damage.clone(),
            readings: frame.readings,
        }
    }

    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.pixels(frame)
    }

    fn give_back(&mut self, frame: Frame) -> Result<(), Error> {
        Stream::give_back(self, frame);
        Ok(())
    }

    /// The library waits for the answer of a camera that is gone.
    fn part(self) {
        let left = std::thread::Builder::new().name("millsight-camera".into());
        // Where there is no thread, the caller waits.
        let _ = left.spawn(move || drop(self));
    }
}

/// The name that GenICam has for a format.
fn name_of(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Mono8 => "Mono8",
        PixelFormat::Mono10 => "Mono10",
        PixelFormat::Mono12 => "Mono12",
        PixelFormat::Mono16 => "Mono16",
        PixelFormat::Rgb8 => "RGB8",
        PixelFormat::Bgr8 => "BGR8",
    }
}

/// Whether it is the camera that was there before: another may have got its address.
fn is_the_same(camera: &Camera, expected: &Identity) -> Result<(), Error> {
    let found = camera.identity();
    match found == expected {
        true => Ok(()),
        false => Err(Error::Another {
            camera: camera.name().to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
    }
}

/// Sets a camera up and makes its stream; tells what is otherwise than asked.
fn ready(camera: Camera, settings: &GenicamSettings) -> Result<(Stream, Vec<String>), Error> {
    let shape = &settings.shape;
    let (layout, mut notices) = camera.set_up(&Settings {
        pixel_format: name_of(shape.pixel_format).to_owned(),
        width: shape.pixels_per_line as u32,
        height: shape.frame_lines,
        features: settings.features.clone(),
        chunks: settings.chunks.clone(),
    })?;
    let (stream, of_stream) = Stream::new(camera, layout, &settings.stream)?;
    notices.extend(of_stream);
    Ok((stream.with_chunks(&settings.chunks)?, notices))
}
