//! A video device: what it is, which formats it has, and its controls.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use millsight_firmware_config::PixelFormat;
use rustix::io::Errno;

use super::abi::{self, Structure};
use super::error::DeviceError;

/// A video device that captures.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    file: File,
    identity: Identity,
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    /// Name of the driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Where it is connected.
    pub bus: String,
    /// Whether it hands out the planes of a frame by themselves.
    pub is_multi_planar: bool,
}

/// A format of pixels: four letters, for example `GREY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// That of a camera's format.
    pub fn of(format: PixelFormat) -> Self {
        Self(match format {
            PixelFormat::Mono8 => *b"GREY",
            PixelFormat::Mono10 => *b"Y10 ",
            PixelFormat::Mono12 => *b"Y12 ",
            PixelFormat::Mono16 => *b"Y16 ",
            PixelFormat::Rgb8 => *b"RGB3",
            PixelFormat::Bgr8 => *b"BGR3",
        })
    }

    /// The kernel's number.
    pub(super) fn number(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

impl std::fmt::Display for FourCc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The highest bit says that the format is big-endian.
        for byte in self.0 {
            let letter = char::from(byte & 0x7f);
            let letter = if letter.is_control() { '?' } else { letter };
            std::fmt::Write::write_char(formatter, letter)?;
        }
        Ok(())
    }
}

/// How frames lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    /// Format of the pixels.
    pub pixels: FourCc,
    /// Pixels of a line.
    pub width: u32,
    /// Lines of a frame.
    pub height: u32,
    /// Bytes from a line to the next.
    pub bytes_per_line: u32,
    /// Bytes of a frame.
    pub bytes: u32,
}

/// A format that a device offers, with the sizes of frames in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// The four letters.
    pub format: FourCc,
    /// What the driver calls it.
    pub description: String,
    /// Sizes.
    pub sizes: Vec<Sizes>,
}

/// Sizes of frames.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sizes {
    /// Least and largest width, in pixels.
    pub width: [u32; 2],
    /// Least and largest height, in lines.
    pub height: [u32; 2],
    /// Most frames a second of the largest, where the device says so.
    pub frames_per_second: Option<f64>,
}

/// A control of a device: a number that can be set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Control {
    /// Its name as it is written in a station: small letters and underscores.
    pub name: String,
    /// The kernel's number.
    #[serde(skip)]
    pub id: u32,
    /// Least value.
    pub minimum: i64,
    /// Largest value.
    pub maximum: i64,
    /// Step from one value to the next.
    pub step: u64,
    /// Whether it cannot be set.
    pub is_read_only: bool,
}

impl Control {
    /// What it may be set to, for people.
    pub fn range(&self) -> String {
        match self.is_read_only {
            true => "can only be read".to_owned(),
            false => format!("takes {} to {}", self.minimum, self.maximum),
        }
    }
}

/// Most items that a device is believed to list.
const MOST_LISTED: u32 = 4096;

/// Kinds of controls that are whole numbers: integer, boolean, menu, 64 bits, bit mask,
/// menu of integers.
const NUMBERS: [u32; 6] = [1, 2, 3, 5, 8, 9];

impl Device {
    /// Opens a device. Calls to it never wait.
    ///
    /// # Errors
    /// When it cannot be opened, or does not capture frames.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let failed = |error: Errno| DeviceError::new(path, "open", error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(|error| match Errno::from_io_error(&error) {
                Some(errno) => failed(errno),
                None => failed(Errno::IO),
            })?;
        let mut capability = abi::Capability::zeroed();
        abi::call::<{ abi::QUERY_CAPABILITY }, _>(&file, &mut capability)
            .map_err(|_| DeviceError::NoVideoDevice(path.to_owned()))?;
        let has = match capability.capabilities & abi::HAS_DEVICE_CAPABILITIES {
            0 => capability.capabilities,
            _ => capability.device_capabilities,
        };
        let is_multi_planar = has & abi::CAN_CAPTURE_PLANES != 0;
        let captures = is_multi_planar || has & abi::CAN_CAPTURE != 0;
        if !captures || has & abi::CAN_STREAM == 0 {
            return Err(DeviceError::DoesNotCapture(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            identity: Identity {
                driver: abi::text(&capability.driver),
                card: abi::text(&capability.card),
                bus: abi::text(&capability.bus),
                is_multi_planar,
            },
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn kind(&self) -> u32 {
        match self.identity.is_multi_planar {
            true => abi::CAPTURE_PLANES,
            false => abi::CAPTURE,
        }
    }

    pub(super) fn failed(&self, action: &'static str) -> impl Fn(Errno) -> DeviceError + '_ {
        move |error| DeviceError::new(&self.path, action, error)
    }

    /// The formats that it offers.
    pub fn formats(&self) -> Vec<Offered> {
        let mut formats = Vec::new();
        for index in 0..MOST_LISTED {
            let mut found = abi::FormatDescription::zeroed();
            (found.index, found.kind) = (index, self.kind());
            if abi::call::<{ abi::ENUMERATE_FORMATS }, _>(self, &mut found).is_err() {
                break;
            }
            formats.push(Offered {
                format: FourCc(found.pixel_format.to_le_bytes()),
                description: abi::text(&found.description),
                sizes: self.sizes(found.pixel_format),
            });
        }
        formats
    }

    fn sizes(&self, pixel_format: u32) -> Vec<Sizes> {
        let mut all = Vec::new();
        for index in 0..MOST_LISTED {
            let mut found = abi::FrameSizes::zeroed();
            (found.index, found.pixel_format) = (index, pixel_format);
            if abi::call::<{ abi::ENUMERATE_SIZES }, _>(self, &mut found).is_err() {
                break;
            }
            let [a, b, _, c, d, _] = found.sizes;
            let is_discrete = found.kind == abi::DISCRETE;
            let (width, height) = match is_discrete {
                true => ([a, a], [b, b]),
                false => ([a, b], [c, d]),
            };
            all.push(Sizes {
                width,
                height,
                frames_per_second: self.rate(pixel_format, width[1], height[1]),
            });
            if !is_discrete {
                break;
            }
        }
        all
    }

    /// Most frames a second: the first interval that is listed is the shortest of a range,
    /// and drivers list the shortest of several first.
    fn rate(&self, pixel_format: u32, width: u32, height: u32) -> Option<f64> {
        let mut found = abi::FrameIntervals::zeroed();
        found.pixel_format = pixel_format;
        (found.width, found.height) = (width, height);
        abi::call::<{ abi::ENUMERATE_INTERVALS }, _>(self, &mut found).ok()?;
        let [numerator, denominator] = found.seconds[0];
        (numerator > 0).then(|| f64::from(denominator) / f64::from(numerator))
    }

    /// Its controls that are whole numbers.
    pub fn controls(&self) -> Vec<Control> {
        let mut controls = Vec::new();
        let mut last = 0;
        for _ in 0..MOST_LISTED {
            let mut found = abi::QueryControl::zeroed();
            found.id = last | abi::NEXT_CONTROL;
            if abi::call::<{ abi::QUERY_CONTROL }, _>(self, &mut found).is_err() {
                break;
            }
            last = found.id;
            let hidden = abi::CONTROL_DISABLED | abi::CONTROL_WRITE_ONLY;
            if found.flags & hidden == 0 && NUMBERS.contains(&found.kind) {
                controls.push(Control {
                    name: control_name(&abi::text(&found.name)),
                    id: found.id,
                    minimum: found.minimum,
                    maximum: found.maximum,
                    step: found.step,
                    is_read_only: found.flags & abi::CONTROL_READ_ONLY != 0,
                });
            }
        }
        controls
    }

    /// Sets a control and reads it back: drivers round what they cannot do.
    ///
    /// # Errors
    /// When the driver refuses the value.
    pub fn set_control(&self, control: &Control, value: i64) -> Result<i64, DeviceError> {
        let mut number = abi::Control::zeroed();
        number.id = control.id;
        number.value = value;
        self.exchange::<{ abi::SET_CONTROLS }>(&mut number)
            .map_err(self.failed("set a control of"))?;
        self.control(control)
    }

    /// Reads a control.
    ///
    /// # Errors
    /// When the driver does not give it.
    pub fn control(&self, control: &Control) -> Result<i64, DeviceError> {
        let mut number = abi::Control::zeroed();
        number.id = control.id;
        self.exchange::<{ abi::GET_CONTROLS }>(&mut number)
            .map_err(self.failed("read a control of"))?;
        // Numbers of 32 bits stand in the lower half and leave the other as it was.
        let is_wide =
            control.minimum < i64::from(i32::MIN) || control.maximum > i64::from(u32::MAX);
        let value = number.value;
        Ok(match is_wide {
            true => value,
            false => i64::from(value as i32),
        })
    }

    fn exchange<const CODE: rustix::ioctl::Opcode>(
        &self,
        number: &mut abi::Control,
    ) -> Result<(), Errno> {
        let mut controls = abi::Controls::zeroed();
        controls.count = 1;
        controls.controls = std::ptr::from_mut(number).expose_provenance() as u64;
        abi::call::<CODE, _>(self, &mut controls)
    }

    /// Asks for a format. What the device gives instead is told by the layout.
    ///
    /// # Errors
    /// When the device refuses, or is in use.
    pub fn set_format(
        &self,
        pixels: FourCc,
        width: u32,
        height: u32,
    ) -> Result<FrameLayout, DeviceError> {
        let mut format = abi::Format::zeroed();
        format.kind = self.kind();
        format.words[0] = width;
        format.words[1] = height;
        format.words[2] = pixels.number();
        format.words[3] = abi::WHOLE;
        if self.identity.is_multi_planar {
            // Number of planes, in the byte behind those of eight planes.
            format.words[PLANES_WORD] = 1;
        }
        abi::call::<{ abi::SET_FORMAT }, _>(self, &mut format)
            .map_err(self.failed("set the format of"))?;
        Ok(self.layout(&format))
    }

    fn layout(&self, format: &abi::Format) -> FrameLayout {
        let words = &format.words;
        let (bytes_per_line, bytes) = match self.identity.is_multi_planar {
            true => (words[6], words[5]),
            false => (words[4], words[5]),
        };
        FrameLayout {
            pixels: FourCc(words[2].to_le_bytes()),
            width: words[0],
            height: words[1],
            bytes_per_line,
            bytes,
        }
    }

    /// Has the driver make `count` buffers, of which it may make more; with 0 it frees
    /// them. Gives how many it has made.
    ///
    /// # Errors
    /// When the driver refuses, or the device is in use or gone.
    pub(super) fn request_buffers(&self, count: u32) -> Result<u32, DeviceError> {
        let mut request = abi::RequestBuffers::zeroed();
        request.count = count;
        request.kind = self.kind();
        request.memory = abi::MAPPED;
        abi::call::<{ abi::REQUEST_BUFFERS }, _>(self, &mut request)
            .map_err(self.failed("make buffers for"))?;
        Ok(request.count)
    }

    /// Why no frames can be taken from it now; nothing where they can.
    pub fn problem(&self) -> Option<String> {
        // A device is another program's from that program's first buffers on. To free those
        // that one does not have changes nothing.
        match self.request_buffers(0) {
            Err(error @ (DeviceError::Busy(_) | DeviceError::Gone(_))) => Some(error.to_string()),
            _ => self
                .has_no_signal()
                .then(|| "it has no signal: look at what is connected to it".to_owned()),
        }
    }

    /// Whether the input has no signal; `false` where the driver does not say.
    fn has_no_signal(&self) -> bool {
        let mut number = 0;
        if abi::call_with_number::<{ abi::GET_INPUT }>(self, &mut number).is_err() {
            return false;
        }
        let mut input = abi::Input::zeroed();
        input.index = number.cast_unsigned();
        abi::call::<{ abi::ENUMERATE_INPUTS }, _>(self, &mut input).is_ok()
            && input.status & abi::NO_SIGNAL != 0
    }
}

/// Word of a format of several planes that begins with the number of planes.
const PLANES_WORD: usize = 45;

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// As `v4l2-ctl` names controls: small letters and digits, the rest one underscore.
fn control_name(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter.is_ascii_alphanumeric() {
            true => short.push(letter.to_ascii_lowercase()),
            false if short.is_empty() || short.ends_with('_') => {}
            false => short.push('_'),
        }
    }
    short.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_have_the_names_that_other_programs_give_them() {
        assert_eq!(
            control_name("Exposure Time, Absolute"),
            "exposure_time_absolute"
        );
        assert_eq!(control_name("Gain (dB)"), "gain_db");
        assert_eq!(FourCc(*b"Y10 ").to_string(), "Y10 ");
        assert_eq!(FourCc([0, 10, b'R', b'G' | 0x80]).to_string(), "??RG");
    }
}
