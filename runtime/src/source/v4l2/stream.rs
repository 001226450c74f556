//! Frames from a device, in memory that the driver fills and this program reads.

use std::os::fd::AsFd;
use std::ptr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::abi::{self, Structure};
use super::device::{Device, FrameLayout};
use super::error::DeviceError;

/// A device that captures. Each buffer is at any time either the driver's or this
/// program's, as [`Frame`]; any number of frames may be held, but where all are, the
/// driver drops what comes.
#[derive(Debug)]
pub struct Stream {
    // The memory goes before the device that it belongs to.
    buffers: Vec<Mapping>,
    layout: FrameLayout,
    /// The number of the last frame, as the driver gives it and as it is told here.
    last: Option<(u32, u64)>,
    device: Device,
}

/// A frame that is this program's until it is given back. It cannot be copied, so that
/// nobody reads what the driver is filling.
#[derive(Debug)]
pub struct Frame {
    buffer: usize,
    offset: usize,
    bytes: usize,
    /// Number of the frame since the stream was started; frames that were dropped count.
    pub number: u64,
    /// When it was taken, by the system's monotonic clock where the driver says so.
    pub timestamp: Option<Duration>,
    /// Whether the driver says that the data may be damaged.
    pub is_damaged: bool,
}

impl Stream {
    /// Makes `buffers` buffers, two at least; the driver may make more.
    ///
    /// # Errors
    /// When the driver refuses, or the device is in use or gone.
    pub fn new(device: Device, layout: FrameLayout, buffers: u32) -> Result<Self, DeviceError> {
        let made = device.request_buffers(buffers.max(2))?;
        let mut stream = Self {
            buffers: Vec::with_capacity(made as usize),
            layout,
            last: None,
            device,
        };
        for index in 0..made {
            let mapping = stream.map(index)?;
            stream.buffers.push(mapping);
        }
        for index in 0..stream.buffers.len() {
            stream.queue(index)?;
        }
        Ok(stream)
    }

    /// Lets the driver fill the buffers.
    ///
    /// # Errors
    /// When the driver refuses, or the device is gone.
    pub fn start(&mut self) -> Result<(), DeviceError> {
        let mut kind = self.device.kind().cast_signed();
        abi::call_with_number::<{ abi::START }>(&self.device, &mut kind)
            .map_err(self.device.failed("start"))
    }

    /// How frames lie in their buffers.
    pub fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// The next frame; `None`: none came within `most`.
    ///
    /// # Errors
    /// When the device is gone or its stream has failed; it has to be started anew.
    pub fn wait(&mut self, most: Duration) -> Result<Option<Frame>, DeviceError> {
        let mut polled = [PollFd::new(&self.device, PollFlags::IN)];
        let most = Timespec {
            tv_sec: most.as_secs().cast_signed(),
            tv_nsec: most.subsec_nanos().into(),
        };
        match poll(&mut polled, Some(&most)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.device.failed("wait for")(error)),
        }
        let found = polled[0].revents();
        if found.contains(PollFlags::HUP) || found.contains(PollFlags::NVAL) {
            return Err(DeviceError::Gone(self.device.path().to_owned()));
        }
        // A stream that has failed is ready with an error: the driver says which.
        match self.take() {
            Ok(frame) => Ok(Some(frame)),
            Err(Errno::AGAIN | Errno::INTR) if !found.contains(PollFlags::ERR) => Ok(None),
            Err(Errno::AGAIN) => Err(self.device.failed("read from")(Errno::IO)),
            Err(error) => Err(self.device.failed("read from")(error)),
        }
    }

    /// The pixels of a frame, as many bytes as came.
    pub fn pixels(&self, frame: &Frame) -> &[u8] {
        let buffer = self.buffers[frame.buffer].bytes();
        let end = frame.bytes.min(buffer.len());
        &buffer[frame.offset.min(end)..end]
    }

    /// Lets the driver fill the buffer of a frame again.
    ///
    /// # Errors
    /// When the device is gone or its stream has failed.
    pub fn give_back(&mut self, frame: Frame) -> Result<(), DeviceError> {
        self.queue(frame.buffer)
    }

    fn map(&self, index: u32) -> Result<Mapping, DeviceError> {
        let failed = self.device.failed("map the memory of");
        let mut plane = abi::Plane::zeroed();
        let mut buffer = self.buffer(index, &mut plane);
        abi::call::<{ abi::QUERY_BUFFER }, _>(&self.device, &mut buffer).map_err(&failed)?;
        let (length, place) = match self.device.identity().is_multi_planar {
            true => (plane.length, plane.place & 0xffff_ffff),
            false => (buffer.length, buffer.place & 0xffff_ffff),
        };
        Mapping::new(&self.device, length as usize, place).map_err(failed)
    }

    fn queue(&self, index: usize) -> Result<(), DeviceError> {
        let mut plane = abi::Plane::zeroed();
        let mut buffer = self.buffer(index as u32, &mut plane);
        abi::call::<{ abi::QUEUE_BUFFER }, _>(&self.device, &mut buffer)
            .map_err(self.device.failed("give a buffer to"))
    }

    fn take(&mut self) -> Result<Frame, Errno> {
        let mut plane = abi::Plane::zeroed();
        let mut buffer = self.buffer(0, &mut plane);
        abi::call::<{ abi::TAKE_BUFFER }, _>(&self.device, &mut buffer)?;
        let (offset, bytes) = match self.device.identity().is_multi_planar {
            true => (plane.data_offset, plane.bytes_used),
            false => (0, buffer.bytes_used),
        };
        let is_monotonic = buffer.flags & abi::CLOCK == abi::MONOTONIC;
        let seconds = u64::try_from(buffer.seconds).unwrap_or_default();
        let microseconds = u64::try_from(buffer.microseconds).unwrap_or_default();
        let moment = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
        Ok(Frame {
            buffer: buffer.index as usize % self.buffers.len().max(1),
            offset: offset as usize,
            bytes: bytes as usize,
            number: self.number(buffer.sequence),
            timestamp: is_monotonic.then_some(moment),
            is_damaged: buffer.flags & abi::DAMAGED != 0,
        })
    }

    /// The driver's number goes round after 2³² frames, and some drivers begin anew where
    /// they start their stream anew by themselves: then nothing is known to be missing.
    fn number(&mut self, sequence: u32) -> u64 {
        let number = match self.last {
            None => sequence.into(),
            Some((last, number)) => match sequence.wrapping_sub(last) {
                ahead if ahead < u32::MAX / 2 => number + u64::from(ahead),
                _ => number + 1,
            },
        };
        self.last = Some((sequence, number));
        number
    }

    /// What the kernel is told of a buffer; `plane` must live as long as it.
    fn buffer(&self, index: u32, plane: &mut abi::Plane) -> abi::Buffer {
        let mut buffer = abi::Buffer::zeroed();
        buffer.index = index;
        buffer.kind = self.device.kind();
        buffer.memory = abi::MAPPED;
        if self.device.identity().is_multi_planar {
            buffer.place = ptr::from_mut(plane).expose_provenance() as u64;
            buffer.length = 1;
        }
        buffer
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A device that is gone cannot be stopped any more, and closing it stops it too.
        let mut kind = self.device.kind().cast_signed();
        let _ = abi::call_with_number::<{ abi::STOP }>(&self.device, &mut kind);
        self.buffers.clear();
    }
}

/// Memory of the device's.
#[derive(Debug)]
struct Mapping {
    start: *mut std::ffi::c_void,
    length: usize,
}

// SAFETY: the memory belongs to the mapping alone, and is read only.
#[allow(unsafe_code)]
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(device: impl AsFd, length: usize, offset: u64) -> Result<Self, Errno> {
        if length == 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: a new mapping at an address that the kernel chooses.
        #[allow(unsafe_code)]
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED,
                device,
                offset,
            )?
        };
        Ok(Self { start, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping lives as long as `self`, and the driver does not write to a
        // buffer that was taken from it; only these are looked at.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.start.cast::<u8>(), self.length)
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference into it any more.
        #[allow(unsafe_code)]
        let _ = unsafe { munmap(self.start, self.length) };
    }
}
