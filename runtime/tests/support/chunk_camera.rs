//! A GigE Vision camera on the loopback interface that sends chunk data, which Aravis's fake
//! camera does not. It speaks as much of the protocol as is needed (GigE Vision 1.2: GVCP
//! for its registers, GVSP for its frames).
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Lines of its frames.
pub const HEIGHT: usize = 64;

/// Counts of its encoder from a line to the next.
pub const COUNTS_PER_LINE: i64 = 3;

/// Its encoder at the first line, and the state of its input lines.
pub const FIRST_COUNT: i64 = -1000;
pub const LINE_STATUS: u32 = 0b101;

const DESCRIPTION: &str = include_str!("../data/chunk-camera.xml");

/// Where registers and the description lie.
const STREAM_PORT: usize = 0xd00;
const PACKET_SIZE: usize = 0xd04;
const WIDTH: usize = 0x10000;
const LINES: usize = 0x10004;
const PIXEL_FORMAT: usize = 0x10008;
const PAYLOAD: usize = 0x1000c;
const RUNS: usize = 0x10010;
const CHUNK_MODE: usize = 0x10020;
const CHUNKS: [usize; 2] = [0x10030, 0x10034];
const DESCRIPTION_AT: usize = 0x20000;

/// The camera; it ends with this.
pub struct ChunkCamera {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl ChunkCamera {
    /// Starts it. Whoever calls keeps other cameras from the port.
    pub fn start() -> Self {
        let control = UdpSocket::bind(("127.0.0.1", 3956)).unwrap();
        control
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let memory = Arc::new(Mutex::new(memory()));
        let ends = Arc::new(AtomicBool::new(false));
        let (of_control, of_frames) = (Arc::clone(&memory), memory);
        let (end_control, end_frames) = (Arc::clone(&ends), Arc::clone(&ends));
        let threads = vec![
            thread::spawn(move || {
                while !end_control.load(Ordering::Relaxed) {
                    answer(&control, &of_control);
                }
            }),
            thread::spawn(move || send_frames(&of_frames, &end_frames)),
        ];
        Self { ends, threads }
    }
}

impl Drop for ChunkCamera {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn memory() -> Vec<u8> {
    let mut memory = vec![0; DESCRIPTION_AT + DESCRIPTION.len()];
    memory[DESCRIPTION_AT..].copy_from_slice(DESCRIPTION.as_bytes());
    let url = format!(
        "Local:chunks.xml;{DESCRIPTION_AT:x};{:x}",
        DESCRIPTION.len()
    );
    for (at, text) in [
        (0x48, "Millsight"),
        (0x68, "Chunks"),
        (0xd8, "C01"),
        (0x200, url.as_str()),
    ] {
        memory[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    for (at, value) in [
        (0, 0x0001_0002),
        (0x4, 0x8000_0001),
        (0xc, 0x0102_0304),
        (0x24, 0x7f00_0001),
        (0x34, 0xff00_0000),
        (0x600, 1),
        (0x904, 1),
        (0x938, 3000),
        (0x940, 1_000_000_000),
        (PACKET_SIZE, 1500),
        (WIDTH, 512),
        (LINES, HEIGHT as u32),
        (PIXEL_FORMAT, 0x0108_0001),
    ] {
        set(&mut memory, at, value);
    }
    memory
}

fn get(memory: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(memory[at..at + 4].try_into().unwrap())
}

fn set(memory: &mut [u8], at: usize, value: u32) {
    write(memory, at, &value.to_be_bytes());
}

fn write(memory: &mut [u8], at: usize, bytes: &[u8]) {
    memory[at..at + bytes.len()].copy_from_slice(bytes);
    // With the pixels come their own chunk's tail, and the others.
    let [encoder, status] = CHUNKS.map(|chunk| get(memory, chunk));
    let chunks = get(memory, CHUNK_MODE) * (8 + 16 * encoder + 12 * status);
    let pixels = get(memory, WIDTH) * get(memory, LINES);
    memory[PAYLOAD..PAYLOAD + 4].copy_from_slice(&(pixels + chunks).to_be_bytes());
}

/// Answers a request for registers or memory.
fn answer(control: &UdpSocket, memory: &Mutex<Vec<u8>>) {
    let mut request = [0; 2048];
    let Ok((bytes, from)) = control.recv_from(&mut request) else {
        return;
    };
    let (head, body) = request[..bytes].split_at(8);
    let number = |at: usize| get(body, at) as usize;
    let mut memory = memory.lock().unwrap();
    let command = u16::from_be_bytes([head[2], head[3]]);
    let content = match command {
        // Who is there?
        0x02 => memory[..0xf8].to_vec(),
        0x80 => (0..body.len() / 4)
            .flat_map(|index| get(&memory, number(4 * index)).to_be_bytes())
            .collect(),
        0x82 => {
            for index in 0..body.len() / 8 {
                let (at, value) = (number(8 * index), get(body, 8 * index + 4));
                set(&mut memory, at, value);
            }
            vec![0, 0, 0, (body.len() / 8) as u8]
        }
        0x84 => {
            let (at, count) = (number(0), number(4) & 0xffff);
            let mut bytes = memory[at.min(memory.len())..].to_vec();
            bytes.resize(count, 0);
            [&body[..4], &bytes].concat()
        }
        0x86 => {
            write(&mut memory, number(0), &body[4..]);
            vec![0, 0, 0, 0]
        }
        _ => return,
    };
    let mut reply = vec![0, 0];
    reply.extend((command + 1).to_be_bytes());
    reply.extend((content.len() as u16).to_be_bytes());
    reply.extend([head[6], head[7]]);
    reply.extend(content);
    let _ = control.send_to(&reply, from);
}

/// Sends a hundred frames a second, as long as the camera runs.
fn send_frames(memory: &Mutex<Vec<u8>>, ends: &AtomicBool) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let (mut frame, began) = (0u64, Instant::now());
    while !ends.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
        let memory = memory.lock().unwrap().clone();
        if get(&memory, RUNS) == 0 {
            frame = 0;
            continue;
        }
        let width = get(&memory, WIDTH) as usize;
        let lines = get(&memory, LINES) as usize;
        let content = content(&memory, frame, width * lines);
        let nanoseconds = began.elapsed().as_nanos() as u64;
        let mut leader = vec![0, 0, 0x40, 1];
        leader.extend(nanoseconds.to_be_bytes());
        for value in [
            get(&memory, PIXEL_FORMAT),
            width as u32,
            lines as u32,
            0,
            0,
            0,
        ] {
            leader.extend(value.to_be_bytes());
        }
        let mut trailer = vec![0, 0, 0x40, 1];
        trailer.extend((lines as u32).to_be_bytes());
        // Of a packet 36 bytes are headers.
        let size = (get(&memory, PACKET_SIZE) & 0xffff) as usize - 36;
        let parts = content.chunks(size).map(|part| (3, part));
        let packets = [(1, &leader[..])].into_iter().chain(parts);
        for (index, (kind, part)) in packets.chain([(2, &trailer[..])]).enumerate() {
            let mut packet = vec![0, 0];
            packet.extend(((frame + 1) as u16).to_be_bytes());
            packet.extend((kind << 24 | index as u32).to_be_bytes());
            packet.extend(part);
            let port = get(&memory, STREAM_PORT) as u16;
            let _ = socket.send_to(&packet, ("127.0.0.1", port));
        }
        frame += 1;
    }
}

/// The pixels of a frame, all of the frame's number, and its chunks.
fn content(memory: &[u8], frame: u64, pixels: usize) -> Vec<u8> {
    let mut content = vec![frame as u8; pixels];
    if get(memory, CHUNK_MODE) == 0 {
        return content;
    }
    let mut chunk = |id: u32, bytes: &[u8], length: usize| {
        content.extend(bytes);
        content.extend(id.to_be_bytes());
        content.extend((length as u32).to_be_bytes());
    };
    chunk(1, &[], pixels);
    let first_line = frame as i64 * HEIGHT as i64;
    let count = FIRST_COUNT + COUNTS_PER_LINE * first_line;
    let [encoder, status] = CHUNKS.map(|chunk| get(memory, chunk) == 1);
    if encoder {
        chunk(0xe0c, &count.to_be_bytes(), 8);
    }
    if status {
        chunk(0x1e5, &LINE_STATUS.to_be_bytes(), 4);
    }
    content
}
