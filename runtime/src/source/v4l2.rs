//! Lines from a camera that the kernel's video interface (V4L2) knows.
//!
//! * [`device`]: opening a device, its formats and controls.
//! * [`stream`]: frames in mapped memory.
//! * `abi`: the kernel's structures and calls.

mod abi;
pub mod device;
pub mod error;
pub(super) mod listing;
pub mod stream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::camera::{CameraSource, Connection, FrameFacts, FrameShape, Readings};
use device::{Device, FourCc, Identity};
pub use error::DeviceError;
use stream::{Frame, Stream};

/// What is asked of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct V4l2Settings {
    /// The device, best by a path that stays the same, below `/dev/v4l/by-id`.
    pub device: PathBuf,
    /// How lines lie in its frames.
    pub shape: FrameShape,
    /// Buffers for frames.
    pub buffers: u32,
    /// Controls by their names.
    pub controls: BTreeMap<String, i64>,
}

/// A camera as a source of lines.
pub type V4l2Source = CameraSource<Stream>;

/// Opens a camera, and sets its format and its controls; tells what it does otherwise
/// than asked. It runs from the first event on. Its lines come at `line_rate` a second.
///
/// # Errors
/// When it is not there, in use, or has no such format or control.
pub fn open(
    settings: V4l2Settings,
    line_rate: f64,
) -> Result<(V4l2Source, Vec<String>), DeviceError> {
    let device = Device::open(&settings.device)?;
    let known = device.identity().clone();
    let (first, notices) = ready(device, &settings)?;
    let shape = settings.shape.clone();
    let connect = move || {
        let device = Device::open(&settings.device)?;
        is_the_same(&device, &known)?;
        ready(device, &settings).map(|(stream, _)| stream)
    };
    let source = CameraSource::new(first, Box::new(connect), shape, line_rate);
    Ok((source, notices))
}

impl Connection for Stream {
    type Frame = Frame;
    type Error = DeviceError;

    fn start(&mut self) -> Result<(), DeviceError> {
        Stream::start(self)
    }

    fn wait(&mut self, most: Duration) -> Result<Option<Frame>, DeviceError> {
        Stream::wait(self, most)
    }

    fn facts(&self, frame: &Frame) -> FrameFacts {
        FrameFacts {
            number: frame.number,
            timestamp: frame.timestamp,
            bytes_per_line: self.layout().bytes_per_line as usize,
            damage: frame
                .is_damaged
                .then(|| "the camera's driver says that a frame is damaged".to_owned()),
            readings: Readings::default(),
        }
    }

    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.pixels(frame)
    }

    fn give_back(&mut self, frame: Frame) -> Result<(), DeviceError> {
        Stream::give_back(self, frame)
    }
}

/// Whether it is the camera that was there before: another may have got its path.
fn is_the_same(device: &Device, expected: &Identity) -> Result<(), DeviceError> {
    let found = device.identity();
    match (&found.driver, &found.card) == (&expected.driver, &expected.card) {
        true => Ok(()),
        false => Err(DeviceError::Another {
            path: device.path().to_owned(),
            found: found.card.clone(),
            expected: expected.card.clone(),
        }),
    }
}

/// Sets format and controls of a device and makes its buffers; tells what it does
/// otherwise than asked.
fn ready(device: Device, settings: &V4l2Settings) -> Result<(Stream, Vec<String>), DeviceError> {
    let shape = &settings.shape;
    let asked = (
        FourCc::of(shape.pixel_format),
        shape.pixels_per_line as u32,
        shape.frame_lines,
    );
    let (pixels, width, height) = asked;
    let layout = device.set_format(pixels, width, height)?;
    if (layout.pixels, layout.width, layout.height) != asked {
        return Err(DeviceError::Format {
            path: device.path().to_owned(),
            asked: format!("{width} × {height} pixels of `{pixels}`"),
            given: format!(
                "{} × {} pixels of `{}`",
                layout.width, layout.height, layout.pixels
            ),
        });
    }
    let notices = set_controls(&device, &settings.controls)?;
    Ok((Stream::new(device, layout, settings.buffers)?, notices))
}

fn set_controls(
    device: &Device,
    controls: &BTreeMap<String, i64>,
) -> Result<Vec<String>, DeviceError> {
    let mut notices = Vec::new();
    let known = device.controls();
    for (name, &value) in controls {
        let control = known.iter().find(|control| control.name == *name);
        let control = control.ok_or_else(|| DeviceError::NoControl {
            path: device.path().to_owned(),
            name: name.clone(),
            known: known.iter().map(|control| control.name.clone()).collect(),
        })?;
        if control.is_read_only || !(control.minimum..=control.maximum).contains(&value) {
            return Err(DeviceError::Control {
                path: device.path().to_owned(),
                control: control.clone(),
                value,
            });
        }
        let given = device.set_control(control, value)?;
        if given != value {
            notices.push(format!(
                "the camera has set `{name}` to {given} instead of {value}"
            ));
        }
    }
    Ok(notices)
}
