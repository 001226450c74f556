//! How frames are received: buffers, packets and what the kernel allows.

use std::time::Duration;

use aravis::glib::prelude::*;
use aravis::prelude::*;
use aravis::{BufferStatus, GvStream, GvStreamOption, GvStreamPacketResend, GvStreamSocketBuffer};

use super::camera::Camera;
use super::error::Error;

/// Least size of the buffer in which the kernel keeps packets for us, in bytes.
pub const LEAST_SOCKET_BUFFER: u32 = 4 << 20;

/// Where the kernel tells the largest size that a program may ask for.
const KERNEL_LIMIT: &str = "/proc/sys/net/core/rmem_max";

/// How frames are received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// Buffers for frames, two at least. While packets are sent again, all frames that
    /// come within `retention` need one.
    pub buffers: u32,
    /// GigE Vision: bytes of a packet with its headers; without it the largest that gets
    /// through where the camera can try that, else what is set in the camera.
    pub packet_size: Option<u32>,
    /// GigE Vision: whether the camera is asked to send lost packets again.
    pub packet_resend: bool,
    /// GigE Vision: how long the rest of a frame is waited for; without it as the library
    /// does.
    pub retention: Option<Duration>,
    /// GigE Vision: bytes in which the kernel keeps packets for us, at least
    /// [`LEAST_SOCKET_BUFFER`].
    pub socket_buffer: u32,
    /// GigE Vision: whether packets are taken from the network card past the kernel's
    /// network stack, which costs less of a processor where nothing else is on the card. It
    /// needs the capability `CAP_NET_RAW`; without that it is left.
    pub packet_socket: bool,
    /// Most frames that are believed to have been lost before the first.
    pub most_before_first: u64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            buffers: 32,
            packet_size: None,
            packet_resend: true,
            retention: None,
            socket_buffer: LEAST_SOCKET_BUFFER,
            packet_socket: false,
            most_before_first: 1000,
        }
    }
}

/// What has happened to the frames and packets of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Whole frames.
    pub completed: u64,
    /// Damaged frames.
    pub failed: u64,
    /// Times that nothing could be done with what came, as there was no buffer. In
    /// GigE Vision each packet counts.
    pub underruns: u64,
    /// Damaged frames whose number was lost too: they are missing before the next.
    pub without_number: u64,
    /// Packets that never came. After a first one in a frame, all later ones of the frame
    /// are counted by the library.
    pub missing_packets: u64,
    /// Packets that came after they were asked for again.
    pub resent_packets: u64,
    /// Packets that were asked for again.
    pub resend_requests: u64,
}

/// Makes the stream of a camera, without buffers; tells what the kernel does not allow.
///
/// # Errors
/// When the camera refuses or is gone.
pub(super) fn prepare(
    camera: &Camera,
    settings: &StreamSettings,
) -> Result<(aravis::Stream, Vec<String>), Error> {
    let device = &camera.camera;
    if device.is_gv_device() {
        device.gv_set_stream_options(match settings.packet_socket {
            true => GvStreamOption::NONE,
            false => GvStreamOption::PACKET_SOCKET_DISABLED,
        });
        let done = match settings.packet_size {
            Some(size) => device.gv_set_packet_size(i32::try_from(size).unwrap_or(i32::MAX)),
            None => device.gv_auto_packet_size().map(|_| ()),
        };
        done.map_err(camera.failed("set the packet size of"))?;
    }
    let stream = device
        .create_stream()
        .map_err(camera.failed("make a stream of"))?;
    let mut notices = Vec::new();
    if let Some(stream) = stream.downcast_ref::<GvStream>() {
        notices.extend(set_up_network(stream, settings));
    }
    Ok((stream, notices))
}

/// Sets how packets are received; tells what the kernel does not allow. The library asks
/// the kernel when the first packet has come: of the first frame some may be lost.
fn set_up_network(stream: &GvStream, settings: &StreamSettings) -> Option<String> {
    let wanted = settings.socket_buffer.max(LEAST_SOCKET_BUFFER);
    stream.set_socket_buffer(GvStreamSocketBuffer::Fixed);
    stream.set_socket_buffer_size(i32::try_from(wanted).unwrap_or(i32::MAX));
    stream.set_packet_resend(match settings.packet_resend {
        true => GvStreamPacketResend::Always,
        false => GvStreamPacketResend::Never,
    });
    if let Some(retention) = settings.retention {
        stream.set_frame_retention(u32::try_from(retention.as_micros()).unwrap_or(u32::MAX));
    }
    let limit = std::fs::read_to_string(KERNEL_LIMIT).ok()?;
    limit_notice(limit.trim().parse().ok()?, wanted)
}

/// The library's counts.
pub(super) fn statistics(stream: &aravis::Stream) -> Statistics {
    let (completed, failed, underruns) = stream.statistics();
    let mut statistics = Statistics {
        completed,
        failed,
        underruns,
        ..Statistics::default()
    };
    if let Some(stream) = stream.downcast_ref::<GvStream>() {
        (statistics.resent_packets, statistics.missing_packets) = stream.statistics();
        statistics.resend_requests = stream.info_uint64_by_name("n_resend_requests");
    }
    statistics
}

/// What to tell of the kernel's limit on the sizes of buffers.
fn limit_notice(limit: u64, wanted: u32) -> Option<String> {
    (limit < u64::from(wanted)).then(|| {
        format!(
            "the kernel keeps only {limit} bytes of packets instead of {wanted}, so that some \
             may get lost: run `sudo sysctl -w net.core.rmem_max={wanted}`, and write \
             `net.core.rmem_max={wanted}` into a file below /etc/sysctl.d"
        )
    })
}

/// Why a frame is damaged, by the status of its buffer.
pub(super) fn damage(status: BufferStatus) -> Option<String> {
    let text = match status {
        BufferStatus::Success => return None,
        BufferStatus::Timeout => "its packets did not come in time",
        BufferStatus::MissingPackets => "some of its packets were lost",
        BufferStatus::WrongPacketId => "its packets are numbered wrongly",
        BufferStatus::SizeMismatch => "it is larger than the camera said",
        BufferStatus::Aborted => "it was broken off",
        BufferStatus::PayloadNotSupported => "it is of a kind that cannot be read",
        _ => "the library does not say why",
    };
    Some(format!("the frame is damaged: {text} ({status:?})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_low_limit_of_the_kernel_is_told() {
        assert_eq!(limit_notice(4 << 20, LEAST_SOCKET_BUFFER), None);
        let notice = limit_notice(212_992, LEAST_SOCKET_BUFFER).unwrap();
        assert!(notice.contains("212992"), "{notice}");
        assert!(notice.contains("net.core.rmem_max=4194304"), "{notice}");
    }

    #[test]
    fn only_whole_frames_are_undamaged() {
        assert_eq!(damage(BufferStatus::Success), None);
        let lost = damage(BufferStatus::MissingPackets).unwrap();
        assert!(lost.contains("MissingPackets"), "{lost}");
    }
}
