//! What the kernel's video interface takes and gives: the structures of
//! `linux/videodev2.h` that are needed here, and the numbers of its calls.
//!
//! Their sizes and offsets on 64-bit machines are part of the kernel's promise; the
//! tests hold those that the header has there.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater, opcode};

/// A structure of the kernel's that may be all zeros and holds any bytes.
///
/// # Safety
/// It is `repr(C)`, holds whole numbers and arrays of them alone, and has the size and
/// the layout that the call expects.
#[allow(unsafe_code)]
pub(super) unsafe trait Structure: Copy {
    /// All bytes zero, as the kernel wants what is not used.
    fn zeroed() -> Self {
        // SAFETY: whole numbers may be zero.
        unsafe { std::mem::zeroed() }
    }
}

macro_rules! structures {
    ($($name:ident)*) => {
        $(
            // SAFETY: whole numbers and arrays of them; the layout is tested.
            #[allow(unsafe_code)]
            unsafe impl Structure for $name {}
        )*
    };
}

structures! {
    Capability FormatDescription FrameSizes FrameIntervals Format RequestBuffers Buffer
    Plane QueryControl Control Controls Input
}

const TYPE: u8 = b'V';

/// `VIDIOC_QUERYCAP`.
pub(super) const QUERY_CAPABILITY: Opcode = opcode::read::<Capability>(TYPE, 0);
/// `VIDIOC_ENUM_FMT`.
pub(super) const ENUMERATE_FORMATS: Opcode = opcode::read_write::<FormatDescription>(TYPE, 2);
/// `VIDIOC_S_FMT`.
pub(super) const SET_FORMAT: Opcode = opcode::read_write::<Format>(TYPE, 5);
/// `VIDIOC_REQBUFS`.
pub(super) const REQUEST_BUFFERS: Opcode = opcode::read_write::<RequestBuffers>(TYPE, 8);
/// `VIDIOC_QUERYBUF`.
pub(super) const QUERY_BUFFER: Opcode = opcode::read_write::<Buffer>(TYPE, 9);
/// `VIDIOC_QBUF`.
pub(super) const QUEUE_BUFFER: Opcode = opcode::read_write::<Buffer>(TYPE, 15);
/// `VIDIOC_DQBUF`.
pub(super) const TAKE_BUFFER: Opcode = opcode::read_write::<Buffer>(TYPE, 17);
/// `VIDIOC_STREAMON`.
pub(super) const START: Opcode = opcode::write::<i32>(TYPE, 18);
/// `VIDIOC_STREAMOFF`.
pub(super) const STOP: Opcode = opcode::write::<i32>(TYPE, 19);
/// `VIDIOC_ENUMINPUT`.
pub(super) const ENUMERATE_INPUTS: Opcode = opcode::read_write::<Input>(TYPE, 26);
/// `VIDIOC_G_INPUT`.
pub(super) const GET_INPUT: Opcode = opcode::read::<i32>(TYPE, 38);
/// `VIDIOC_G_EXT_CTRLS`.
pub(super) const GET_CONTROLS: Opcode = opcode::read_write::<Controls>(TYPE, 71);
/// `VIDIOC_S_EXT_CTRLS`.
pub(super) const SET_CONTROLS: Opcode = opcode::read_write::<Controls>(TYPE, 72);
/// `VIDIOC_ENUM_FRAMESIZES`.
pub(super) const ENUMERATE_SIZES: Opcode = opcode::read_write::<FrameSizes>(TYPE, 74);
/// `VIDIOC_ENUM_FRAMEINTERVALS`.
pub(super) const ENUMERATE_INTERVALS: Opcode = opcode::read_write::<FrameIntervals>(TYPE, 75);
/// `VIDIOC_QUERY_EXT_CTRL`.
pub(super) const QUERY_CONTROL: Opcode = opcode::read_write::<QueryControl>(TYPE, 103);

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
pub(super) const CAPTURE: u32 = 1;
/// `V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE`.
pub(super) const CAPTURE_PLANES: u32 = 9;
/// `V4L2_MEMORY_MMAP`.
pub(super) const MAPPED: u32 = 1;
/// `V4L2_FIELD_NONE`: whole frames.
pub(super) const WHOLE: u32 = 1;

/// `V4L2_CAP_VIDEO_CAPTURE`.
pub(super) const CAN_CAPTURE: u32 = 0x1;
/// `V4L2_CAP_VIDEO_CAPTURE_MPLANE`.
pub(super) const CAN_CAPTURE_PLANES: u32 = 0x1000;
/// `V4L2_CAP_STREAMING`.
pub(super) const CAN_STREAM: u32 = 0x0400_0000;
/// `V4L2_CAP_DEVICE_CAPS`.
pub(super) const HAS_DEVICE_CAPABILITIES: u32 = 0x8000_0000;

/// `V4L2_IN_ST_NO_POWER`, `V4L2_IN_ST_NO_SIGNAL` or `V4L2_IN_ST_NO_SYNC`.
pub(super) const NO_SIGNAL: u32 = 0x1 | 0x2 | 0x0001_0000;

/// `V4L2_BUF_FLAG_ERROR`: the data may be damaged.
pub(super) const DAMAGED: u32 = 0x40;
/// `V4L2_BUF_FLAG_TIMESTAMP_MASK`.
pub(super) const CLOCK: u32 = 0xe000;
/// `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`.
pub(super) const MONOTONIC: u32 = 0x2000;

/// `V4L2_CTRL_FLAG_DISABLED`.
pub(super) const CONTROL_DISABLED: u32 = 0x1;
/// `V4L2_CTRL_FLAG_READ_ONLY`.
pub(super) const CONTROL_READ_ONLY: u32 = 0x4;
/// `V4L2_CTRL_FLAG_WRITE_ONLY`.
pub(super) const CONTROL_WRITE_ONLY: u32 = 0x40;
/// `V4L2_CTRL_FLAG_NEXT_CTRL`.
pub(super) const NEXT_CONTROL: u32 = 0x8000_0000;

/// `struct v4l2_capability`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Capability {
    pub(super) driver: [u8; 16],
    pub(super) card: [u8; 32],
    pub(super) bus: [u8; 32],
    pub(super) version: u32,
    pub(super) capabilities: u32,
    pub(super) device_capabilities: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_fmtdesc`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct FormatDescription {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) description: [u8; 32],
    pub(super) pixel_format: u32,
    media_bus_code: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_frmsizeenum`. A discrete size stands in the first two numbers; else least,
/// largest and step of the width and then of the height.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct FrameSizes {
    pub(super) index: u32,
    pub(super) pixel_format: u32,
    pub(super) kind: u32,
    pub(super) sizes: [u32; 6],
    reserved: [u32; 2],
}

/// `struct v4l2_frmivalenum`. Numerator and denominator of seconds: of a discrete interval
/// or of the shortest, then of the longest and of the step.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct FrameIntervals {
    pub(super) index: u32,
    pub(super) pixel_format: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) kind: u32,
    pub(super) seconds: [[u32; 2]; 3],
    reserved: [u32; 2],
}

/// `V4L2_FRMSIZE_TYPE_DISCRETE`, and that of intervals.
pub(super) const DISCRETE: u32 = 1;

/// `struct v4l2_format`. Which numbers mean what depends on the kind.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Format {
    pub(super) kind: u32,
    padding: u32,
    /// `struct v4l2_pix_format` or `struct v4l2_pix_format_mplane`, in words; a union that
    /// holds pointers elsewhere, so that it is aligned as these are.
    pub(super) words: [u32; 50],
}

/// `struct v4l2_requestbuffers`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct RequestBuffers {
    pub(super) count: u32,
    pub(super) kind: u32,
    pub(super) memory: u32,
    capabilities: u32,
    reserved: [u8; 4],
}

/// `struct v4l2_buffer`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Buffer {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) bytes_used: u32,
    pub(super) flags: u32,
    field: u32,
    padding: u32,
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
    time_code: [u32; 4],
    pub(super) sequence: u32,
    pub(super) memory: u32,
    /// Offset in the device's memory, or the address of the planes.
    pub(super) place: u64,
    /// Bytes, or the number of planes.
    pub(super) length: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_plane`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Plane {
    pub(super) bytes_used: u32,
    pub(super) length: u32,
    /// Offset in the device's memory.
    pub(super) place: u64,
    /// Bytes before the first pixel.
    pub(super) data_offset: u32,
    reserved: [u32; 11],
}

/// `struct v4l2_query_ext_ctrl`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct QueryControl {
    pub(super) id: u32,
    pub(super) kind: u32,
    pub(super) name: [u8; 32],
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) step: u64,
    pub(super) default: i64,
    pub(super) flags: u32,
    element_size: u32,
    elements: u32,
    dimensions: [u32; 5],
    reserved: [u32; 32],
}

/// `struct v4l2_ext_control` of a whole number, which is packed.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
pub(super) struct Control {
    pub(super) id: u32,
    size: u32,
    reserved: u32,
    pub(super) value: i64,
}

/// `struct v4l2_ext_controls`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Controls {
    which: u32,
    pub(super) count: u32,
    error: u32,
    request: i32,
    reserved: u32,
    padding: u32,
    /// Address of the controls.
    pub(super) controls: u64,
}

/// `struct v4l2_input`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Input {
    pub(super) index: u32,
    pub(super) name: [u8; 32],
    kind: u32,
    audio: u32,
    tuner: u32,
    standards: u64,
    pub(super) status: u32,
    capabilities: u32,
    reserved: [u32; 3],
}

/// Calls the kernel with a structure that it reads and writes.
///
/// # Errors
/// What the kernel says.
pub(super) fn call<const CODE: Opcode, T: Structure>(
    device: impl AsFd,
    structure: &mut T,
) -> Result<(), Errno> {
    // SAFETY: the structure is that of the call.
    #[allow(unsafe_code)]
    unsafe {
        ioctl::ioctl(device, Updater::<CODE, T>::new(structure))
    }
}

/// Calls the kernel with a whole number that it reads, and writes where the call does.
///
/// # Errors
/// What the kernel says.
pub(super) fn call_with_number<const CODE: Opcode>(
    device: impl AsFd,
    number: &mut i32,
) -> Result<(), Errno> {
    // SAFETY: the calls that are made this way take a pointer to a whole number.
    #[allow(unsafe_code)]
    unsafe {
        ioctl::ioctl(device, Updater::<CODE, i32>::new(number))
    }
}

/// A text that ends with the first zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn the_layout_is_that_of_the_kernels_header() {
        let sizes = [
            (size_of::<Capability>(), 104),
            (size_of::<FormatDescription>(), 64),
            (size_of::<FrameSizes>(), 44),
            (size_of::<FrameIntervals>(), 52),
            (size_of::<Format>(), 208),
            (size_of::<RequestBuffers>(), 20),
            (size_of::<Buffer>(), 88),
            (size_of::<Plane>(), 64),
            (size_of::<QueryControl>(), 232),
            (size_of::<Control>(), 20),
            (size_of::<Controls>(), 32),
            (size_of::<Input>(), 80),
        ];
        for (size, expected) in sizes {
            assert_eq!(size, expected);
        }
        assert_eq!(offset_of!(Format, words), 8);
        assert_eq!(offset_of!(Buffer, seconds), 24);
        assert_eq!(offset_of!(Buffer, sequence), 56);
        assert_eq!(offset_of!(Buffer, place), 64);
        assert_eq!(offset_of!(Buffer, length), 72);
        assert_eq!(offset_of!(Plane, place), 8);
        assert_eq!(offset_of!(Plane, data_offset), 16);
        assert_eq!(offset_of!(Control, value), 12);
        assert_eq!(offset_of!(Controls, controls), 24);
        assert_eq!(offset_of!(Input, status), 56);
    }

    #[test]
    fn the_calls_have_the_kernels_numbers() {
        let numbers = [
            (QUERY_CAPABILITY, 0x8068_5600),
            (ENUMERATE_FORMATS, 0xc040_5602),
            (SET_FORMAT, 0xc0d0_5605),
            (REQUEST_BUFFERS, 0xc014_5608),
            (QUERY_BUFFER, 0xc058_5609),
            (QUEUE_BUFFER, 0xc058_560f),
            (TAKE_BUFFER, 0xc058_5611),
            (START, 0x4004_5612),
            (STOP, 0x4004_5613),
            (ENUMERATE_INPUTS, 0xc050_561a),
            (GET_INPUT, 0x8004_5626),
            (GET_CONTROLS, 0xc020_5647),
            (SET_CONTROLS, 0xc020_5648),
            (ENUMERATE_SIZES, 0xc02c_564a),
            (ENUMERATE_INTERVALS, 0xc034_564b),
            (QUERY_CONTROL, 0xc0e8_5667),
        ];
        for (number, expected) in numbers {
            assert_eq!(number, expected, "{number:#x}");
        }
    }
}
