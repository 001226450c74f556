//! Frames from a camera, in buffers that the library fills and this program reads.

use std::time::{Duration, Instant};

use aravis::glib::prelude::*;
use aravis::prelude::*;
use aravis::{BufferPayloadType, GvStream};

use super::camera::{Camera, FrameLayout};
use super::chunks::{ChunkNames, Chunks};
use super::error::Error;
use super::frame_numbers::{Counting, FrameNumbers};
use super::reception::{self, Statistics, StreamSettings};
use crate::source::camera::Readings;

/// Longer waits are cut short.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A camera that sends frames. Each buffer is at any time either the library's or this
/// program's, as [`Frame`]; where the library has none, it drops what comes. A frame that
/// is dropped instead of given back takes its buffer with it.
///
/// Dropping the stream stops the camera and closes it. A camera that is gone is waited for
/// then, some five seconds in GigE Vision: drop it in another thread, which does not
/// disturb the camera when it is opened anew in the meantime.
#[derive(Debug)]
pub struct Stream {
    // The stream goes before the camera that it belongs to.
    stream: aravis::Stream,
    camera: Camera,
    layout: FrameLayout,
    numbers: FrameNumbers,
    chunks: Option<Chunks>,
    is_network: bool,
    frames_without_number: u64,
    /// Damaged frames and missing packets that were told.
    told: (u64, u64),
}

/// A frame that is this program's until it is given back. It cannot be copied, so that
/// nobody reads what the library is filling.
#[derive(Debug)]
pub struct Frame {
    buffer: aravis::Buffer,
    /// Number of the frame since the stream was started; frames that were lost count.
    pub number: u64,
    /// Id by which the camera numbers it.
    pub id: u64,
    /// Whole lines that have come. Of a damaged frame 0: the library does not tell which
    /// of its bytes have come, and the others are those of an earlier frame.
    pub lines: u32,
    /// Bytes from a line to the next.
    pub bytes_per_line: usize,
    /// When it was taken, by the clock of the camera, which starts anywhere.
    pub timestamp: Duration,
    /// When it began to come, by the clock of this computer since 1970.
    pub received: Duration,
    /// Why it is damaged, where it is.
    pub damage: Option<String>,
    /// What came beside the pixels; nothing with a damaged frame.
    pub readings: Readings,
}

impl Stream {
    /// Makes the stream of a camera, and tells what stands in the way of receiving all of
    /// it.
    ///
    /// # Errors
    /// When the camera refuses or is gone.
    pub fn new(
        camera: Camera,
        layout: FrameLayout,
        settings: &StreamSettings,
    ) -> Result<(Self, Vec<String>), Error> {
        let is_network = camera.camera.is_gv_device();
        let (stream, notices) = reception::prepare(&camera, settings)?;
        for _ in 0..settings.buffers.max(2) {
            stream.push_buffer(zeroed_buffer(layout.payload));
        }
        let counting = match is_network {
            true => Counting::GigEVision,
            false => Counting::Usb3Vision,
        };
        let stream = Self {
            numbers: FrameNumbers::new(counting, settings.most_before_first),
            chunks: None,
            stream,
            camera,
            layout,
            is_network,
            frames_without_number: 0,
            told: (0, 0),
        };
        Ok((stream, notices))
    }

    /// The same, which reads chunks of these names.
    ///
    /// # Errors
    /// When the camera does not describe them.
    pub fn with_chunks(mut self, names: &ChunkNames) -> Result<Self, Error> {
        self.chunks = Chunks::new(&self.camera, names)?;
        Ok(self)
    }

    /// Lets the camera run.
    ///
    /// # Errors
    /// When the camera refuses or is gone.
    pub fn run(&self) -> Result<(), Error> {
        let acquisition = &self.camera.camera;
        acquisition
            .start_acquisition()
            .map_err(self.camera.failed("start"))
    }

    /// How frames are.
    pub fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// The camera.
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// The next frame; `None`: none came within `most`.
    ///
    /// # Errors
    /// When the camera is gone. That shows some seconds after its last frame. It has to be
    /// opened anew.
    pub fn wait(&mut self, most: Duration) -> Result<Option<Frame>, Error> {
        let begun = Instant::now();
        loop {
            if self.camera.is_gone() {
                return Err(self.camera.gone());
            }
            let left = most.min(LONGEST_WAIT).saturating_sub(begun.elapsed());
            let Some(buffer) = self.stream.timeout_pop_buffer(left.as_micros() as u64) else {
                if self.camera.is_gone() {
                    continue;
                }
                return Ok(None);
            };
            // The packet with the number was lost. How many such frames there were shows
            // by the number of the next.
            if self.is_network && buffer.frame_id() == 0 {
                self.frames_without_number += 1;
                self.push(buffer);
                continue;
            }
            return Ok(Some(self.frame(buffer)));
        }
    }

    /// The pixels of a frame, line after line: [`Frame::lines`] lines that begin every
    /// [`Frame::bytes_per_line`] bytes.
    pub fn pixels<'a>(&self, frame: &'a Frame) -> &'a [u8] {
        let (data, bytes) = frame.buffer.data();
        let bytes = bytes.min(frame.lines as usize * frame.bytes_per_line);
        if data.is_null() {
            return &[];
        }
        // SAFETY: the buffer has so many bytes, which were all written when it was made, and
        // lives as long as the frame. The library wrote its last to it before it handed it
        // out, and nobody else can reach it until it is given back.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(data, bytes)
        }
    }

    /// Lets the library fill the buffer of a frame again.
    pub fn give_back(&mut self, frame: Frame) {
        self.push(frame.buffer);
    }

    /// What has happened to frames and packets since the stream was started.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            without_number: self.frames_without_number,
            ..reception::statistics(&self.stream)
        }
    }

    fn push(&self, buffer: aravis::Buffer) {
        // A frame whose first packet is lost keeps the id that the buffer had before.
        buffer.set_frame_id(0);
        self.stream.push_buffer(buffer);
    }

    fn frame(&mut self, buffer: aravis::Buffer) -> Frame {
        let id = buffer.frame_id();
        let missing = self.newly_missing();
        let mut frame = Frame {
            number: self.numbers.take(id),
            id,
            lines: 0,
            bytes_per_line: self.layout.bytes_per_line(),
            timestamp: Duration::from_nanos(buffer.timestamp()),
            received: Duration::from_nanos(buffer.system_timestamp()),
            damage: None,
            readings: Readings::default(),
            buffer,
        };
        match self.lines(&frame) {
            Ok((lines, padding)) => {
                frame.bytes_per_line += padding;
                frame.lines = lines;
                if let Some(chunks) = &mut self.chunks {
                    frame.readings = chunks.read(&frame.buffer);
                }
            }
            Err(mut damage) => {
                if let Some(missing) = missing {
                    let text = format!("; {missing} packets from the first lost one on");
                    damage.push_str(&text);
                }
                frame.damage = Some(damage);
            }
        }
        frame
    }

    /// How many packets were missing in the one frame that was damaged since this was
    /// called last; nothing where there were more such frames, or none. The library tells
    /// it for all frames together.
    fn newly_missing(&mut self) -> Option<u64> {
        let stream = self.stream.downcast_ref::<GvStream>()?;
        // The library counts the frame first: read after the packets, it cannot be less.
        let (_, packets) = stream.statistics();
        let (_, frames, _) = self.stream.statistics();
        let (frames_before, packets_before) = std::mem::replace(&mut self.told, (frames, packets));
        (frames == frames_before + 1).then(|| packets - packets_before)
    }

    /// Lines of a frame, and bytes that fill up each; else why it is damaged.
    fn lines(&self, frame: &Frame) -> Result<(u32, usize), String> {
        let buffer = &frame.buffer;
        if let Some(reason) = reception::damage(buffer.status()) {
            return Err(reason);
        }
        match buffer.payload_type() {
            BufferPayloadType::Image
            | BufferPayloadType::ExtendedChunkData
            | BufferPayloadType::Multipart => {}
            other => return Err(format!("the frame is no image but {other:?}")),
        }
        let (width, height) = (buffer.image_width(), buffer.image_height());
        if i64::from(width) != i64::from(self.layout.width) || height < 0 {
            let expected = self.layout.width;
            return Err(format!(
                "the frame has lines of {width} pixels instead of {expected}"
            ));
        }
        let (padding, _) = buffer.image_padding();
        let padding = usize::try_from(padding).unwrap_or(0);
        let (lines, (_, bytes)) = (height.cast_unsigned(), buffer.data());
        let needed = lines as usize * (frame.bytes_per_line + padding);
        if bytes < needed {
            return Err(format!("the frame has {bytes} bytes instead of {needed}"));
        }
        Ok((lines, padding))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // For the answer of a camera that is gone, the library would wait once more.
        if !self.camera.is_gone() {
            let _ = self.camera.camera.stop_acquisition();
        }
    }
}

/// A buffer of zeros: what the library allocates is anything, and not all of it need come.
/// That it is written once also has the system find the memory before the first frame.
fn zeroed_buffer(bytes: usize) -> aravis::Buffer {
    let buffer = aravis::Buffer::new_allocate(bytes);
    let (data, _) = buffer.data();
    if !data.is_null() {
        // SAFETY: the library has allocated so many bytes for the buffer, and nobody else
        // has it yet.
        #[allow(unsafe_code)]
        unsafe {
            data.write_bytes(0, bytes);
        }
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>() {}

    #[test]
    fn cameras_streams_and_frames_may_go_to_another_thread() {
        is_send::<Camera>();
        is_send::<Stream>();
        is_send::<Frame>();
    }
}
