//! A fake GigE Vision camera on the loopback interface, by the program
//! `arv-fake-gv-camera-0.8` (Debian's package `aravis-tools`).
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it"
)]

use std::fs::File;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millsight_firmware_config::FeatureValue;
use millsight_runtime::source::genicam::camera::{Camera, FrameLayout, Settings};
use millsight_runtime::source::genicam::chunks::ChunkNames;
use millsight_runtime::source::genicam::reception::StreamSettings;
use millsight_runtime::source::genicam::stream::{Frame, Stream};

/// The only address on which the fake camera listens, always at the same port.
pub const ADDRESS: &str = "127.0.0.1";

/// The id under which it is found.
pub const ID: &str = "Aravis-Fake-T01";

/// Its id of the first frame after it was started.
pub const FIRST_ID: u64 = 65_401;

/// A running fake camera; it ends with this.
pub struct FakeCamera {
    process: Child,
    packets_lost: u32,
    // Only one can run on a computer: the lock goes last.
    _lock: File,
}

impl FakeCamera {
    /// Starts one that loses as many packets of a thousand; nothing where the program is
    /// not installed.
    pub fn start(packets_lost: u32) -> Option<Self> {
        let lock = alone();
        let Some(process) = run(packets_lost) else {
            assert!(
                std::env::var_os("MILLSIGHT_REQUIRE_FAKE_CAMERA").is_none(),
                "arv-fake-gv-camera-0.8 is not installed, and it is required"
            );
            eprintln!("skipped: arv-fake-gv-camera-0.8 (aravis-tools) is not installed");
            return None;
        };
        let camera = Self {
            process,
            packets_lost,
            _lock: lock,
        };
        wait_for_answer();
        Some(camera)
    }

    /// Ends it as if its power were cut.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.process = run(self.packets_lost).unwrap();
        wait_for_answer();
    }
}

impl Drop for FakeCamera {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until no other test has a camera on this computer, and keeps it so.
pub fn alone() -> File {
    let lock = File::create(std::env::temp_dir().join("fake-genicam-camera.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn run(packets_lost: u32) -> Option<Child> {
    let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wide-fake-camera.xml");
    Command::new("arv-fake-gv-camera-0.8")
        .args(["-i", ADDRESS, "-s", "T01", "-r", &packets_lost.to_string()])
        .arg("-g")
        .arg(description)
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

/// Asks who is there until the camera answers.
fn wait_for_answer() {
    let socket = UdpSocket::bind((ADDRESS, 0)).unwrap();
    socket.connect((ADDRESS, 3956)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let begun = Instant::now();
    let mut answer = [0; 1024];
    loop {
        // Key, flags (answer wanted), command 2 (who is there), no content, request 1.
        let _ = socket.send(&[0x42, 0x11, 0, 2, 0, 0, 0, 1]);
        if socket.recv(&mut answer).is_ok_and(|bytes| bytes > 8) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the fake camera does not answer"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Frames of 4096 pixels and so many lines, so many a second.
pub fn settings(height: u32, frames_per_second: f64) -> Settings {
    let rate = FeatureValue::Float(frames_per_second);
    Settings {
        pixel_format: "Mono8".to_owned(),
        width: 4096,
        height,
        features: [("AcquisitionFrameRate".to_owned(), rate)].into(),
        chunks: ChunkNames::default(),
    }
}

/// Many buffers, large packets that are not sent again: the fake camera cannot.
pub fn stream_settings() -> StreamSettings {
    StreamSettings {
        buffers: 32,
        packet_size: Some(9000),
        packet_resend: false,
        retention: None,
        socket_buffer: 0,
        packet_socket: false,
        most_before_first: 0,
    }
}

/// Opens the camera and lets it run.
pub fn start(height: u32, frames_per_second: f64) -> Stream {
    let camera = Camera::open(ADDRESS).unwrap();
    let (layout, notices) = camera.set_up(&settings(height, frames_per_second)).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let expected = FrameLayout {
        pixel_format: "Mono8".to_owned(),
        bits_per_pixel: 8,
        width: 4096,
        height,
        payload: 4096 * height as usize,
    };
    assert_eq!(layout, expected);
    let (stream, _) = Stream::new(camera, layout, &stream_settings()).unwrap();
    stream.run().unwrap();
    stream
}

/// The next frame, which must come within seconds.
pub fn next(stream: &mut Stream) -> Frame {
    match stream.wait(Duration::from_secs(5)).unwrap() {
        Some(frame) => frame,
        None => panic!("no frame within five seconds"),
    }
}

/// The id of the frame that the fake camera sends as one of a number: of 16 bits, and
/// never 0.
pub fn id_of(number: u64, first_id: u64) -> u64 {
    (first_id - 1 + number) % 65_535 + 1
}

/// Checks that a line is the one that the fake camera draws: a ramp that begins one higher
/// in each line and in each frame, and goes from 254 to 0.
pub fn assert_line(line: &[u8], frame_id: u64, index: usize) {
    let first = ((frame_id + index as u64) % 255) as usize;
    let ramp = (0..255).cycle().skip(first);
    assert!(
        line.iter().copied().eq(ramp.take(line.len())),
        "line {index} of the frame with id {frame_id} begins with {:?}",
        &line[..8]
    );
}

/// Checks the pixels of an undamaged frame, and tells how many lines it has.
pub fn assert_pixels(stream: &Stream, frame: &Frame) -> usize {
    let width = stream.layout().width as usize;
    assert_eq!(frame.bytes_per_line, width);
    let pixels = stream.pixels(frame);
    assert_eq!(pixels.len(), frame.lines as usize * width);
    for (index, line) in pixels.chunks(width).enumerate() {
        assert_line(line, frame.id, index);
    }
    frame.lines as usize
}
