//! Tests with a camera that does what a test says.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;

const WIDTH: usize = 4;
const HEIGHT: u32 = 2;

/// What the encoder counts in a frame.
const COUNTS_PER_FRAME: i64 = 20;

/// What a camera does next.
#[derive(Debug, Clone)]
enum Step {
    Frame(u64),
    Damaged(u64),
    Short(u64),
    Nothing,
    Fail,
}
use Step::{Damaged, Fail, Nothing, Short};

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(&'static str);

/// What happens, and how many frames are out.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    /// Attempts to connect that fail before the next succeeds.
    absent: usize,
    connections: usize,
    running: usize,
    out: usize,
    most_out: usize,
}

struct Scripted(Arc<Mutex<Script>>);

struct ScriptedFrame {
    step: Step,
    bytes: Vec<u8>,
}

impl Connection for Scripted {
    type Frame = ScriptedFrame;
    type Error = Failed;

    fn start(&mut self) -> Result<(), Failed> {
        self.0.lock().unwrap().running += 1;
        Ok(())
    }

    fn wait(&mut self, _: Duration) -> Result<Option<ScriptedFrame>, Failed> {
        let mut script = self.0.lock().unwrap();
        let step = script.steps.pop_front().unwrap_or(Nothing);
        let whole = WIDTH * HEIGHT as usize;
        let (number, length) = match step {
            Step::Frame(number) | Damaged(number) => (number, whole),
            Short(number) => (number, whole - 1),
            Nothing => return Ok(None),
            Fail => return Err(Failed("the stream has failed")),
        };
        script.out += 1;
        script.most_out = script.most_out.max(script.out);
        Ok(Some(ScriptedFrame {
            step,
            bytes: vec![number as u8; length],
        }))
    }

    fn facts(&self, frame: &ScriptedFrame) -> FrameFacts {
        let (Step::Frame(number) | Damaged(number) | Short(number)) = frame.step else {
            panic!("no frame: {:?}", frame.step);
        };
        FrameFacts {
            number,
            timestamp: Some(Duration::from_millis(1000 + 10 * number)),
            bytes_per_line: WIDTH,
            damage: matches!(frame.step, Damaged(_)).then(|| "damaged".to_owned()),
            readings: Readings {
                encoder: Some(number as i64 * COUNTS_PER_FRAME),
                line_status: None,
            },
        }
    }

    fn bytes<'a>(&'a self, frame: &'a ScriptedFrame) -> &'a [u8] {
        &frame.bytes
    }

    fn give_back(&mut self, _: ScriptedFrame) -> Result<(), Failed> {
        self.0.lock().unwrap().out -= 1;
        Ok(())
    }
}

fn source(steps: &[Step]) -> (CameraSource<Scripted>, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(Script {
        steps: steps.iter().cloned().collect(),
        ..Script::default()
    }));
    let of_source = Arc::clone(&script);
    let connect = move || {
        let mut script = of_source.lock().unwrap();
        if script.absent > 0 {
            script.absent -= 1;
            return Err(Failed("not there"));
        }
        script.connections += 1;
        script.out = 0;
        drop(script);
        Ok(Scripted(Arc::clone(&of_source)))
    };
    let shape = FrameShape {
        pixel_format: PixelFormat::Mono8,
        window: None,
        pixels_per_line: WIDTH,
        frame_lines: HEIGHT,
    };
    let camera = connect().unwrap();
    let source = CameraSource::new(camera, Box::new(connect), shape, 1000.0);
    (source, script)
}

/// First line and levels of lines, first line and number of those that are lost.
#[derive(Debug, PartialEq)]
enum Seen {
    Lines(u64, u8),
    Lost(u64, u64),
    Nothing,
}

fn next(source: &mut CameraSource<Scripted>) -> Seen {
    match source.next_event().unwrap() {
        Event::Lines(block) => {
            assert_eq!(block.pixels.len(), WIDTH * HEIGHT as usize);
            Seen::Lines(block.first_line, block.pixels[0])
        }
        Event::Lost(gap) => Seen::Lost(gap.first_line, gap.lines),
        Event::Nothing => Seen::Nothing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_line_of_every_frame_is_there_or_told_to_be_lost() {
    let (mut source, script) = source(&[
        Step::Frame(0),
        Step::Frame(1),
        Damaged(2),
        Step::Frame(5),
        Short(6),
        Nothing,
        Step::Frame(7),
    ]);
    // It takes no frame before somebody asks for one.
    assert_eq!(script.lock().unwrap().running, 0);
    let seen: Vec<Seen> = (0..8).map(|_| next(&mut source)).collect();
    assert_eq!(
        seen,
        [
            Seen::Lines(0, 0),
            Seen::Lines(2, 1),
            Seen::Lost(4, 2),
            Seen::Lost(6, 4),
            Seen::Lines(10, 5),
            Seen::Lost(12, 2),
            Seen::Nothing,
            Seen::Lines(14, 7),
        ]
    );
    let counts = source.camera().unwrap();
    assert_eq!(
        (counts.frames, counts.dropped_frames, counts.damaged_frames),
        (6, 2, 2)
    );
    assert!(counts.is_there && counts.losses == 0);
    assert_eq!(script.lock().unwrap().running, 1);
    // Every frame that was handed out went back before the next was taken.
    assert_eq!(script.lock().unwrap().most_out, 1);
}

#[test]
fn a_camera_that_is_gone_is_connected_until_it_is_back() {
    let (mut source, script) = source(&[Step::Frame(0), Fail]);
    assert_eq!(next(&mut source), Seen::Lines(0, 0));
    script.lock().unwrap().absent = 2;
    assert_eq!(next(&mut source), Seen::Nothing);
    assert!(!source.camera().unwrap().is_there);
    let begun = Instant::now();
    let lost = loop {
        match next(&mut source) {
            Seen::Nothing => assert!(begun.elapsed() < Duration::from_secs(20)),
            Seen::Lost(2, lines) => break lines,
            other => panic!("{other:?}"),
        }
    };
    // At 1000 lines a second, for three attempts with 100, 200 and 400 ms between them.
    assert!((650..20_000).contains(&lost), "{lost}");
    script.lock().unwrap().steps.push_back(Step::Frame(1));
    // Frames are numbered anew, and the first was lost.
    assert_eq!(next(&mut source), Seen::Lost(2 + lost, 2));
    assert_eq!(next(&mut source), Seen::Lines(4 + lost, 1));
    let counts = source.camera().unwrap();
    assert_eq!((counts.losses, counts.dropped_frames), (1, 1));
    assert!(counts.is_there && counts.seconds_away > 0.6, "{counts:?}");
    assert_eq!(script.lock().unwrap().connections, 2);
    assert_eq!(source.missing_at_end(), None);
}

#[test]
fn what_is_missing_when_a_run_ends_is_told() {
    let (mut source, script) = source(&[Step::Frame(0), Fail]);
    script.lock().unwrap().absent = usize::MAX;
    assert_eq!(next(&mut source), Seen::Lines(0, 0));
    assert_eq!(next(&mut source), Seen::Nothing);
    thread::sleep(Duration::from_millis(50));
    let gap = source.missing_at_end().unwrap();
    assert!(gap.first_line == 2 && gap.lines >= 50, "{gap:?}");
    assert!(gap.reason.contains("the stream has failed"), "{gap:?}");
    assert!(gap.seconds.is_some_and(|seconds| seconds >= 0.05));
}

#[test]
fn times_are_those_of_the_camera() {
    let (mut source, _) = source(&[Step::Frame(0), Step::Frame(3)]);
    let mut times = Vec::new();
    while times.len() < 2 {
        if let Event::Lines(block) = source.next_event().unwrap() {
            times.push(block.timestamp);
        }
    }
    assert_eq!(times[1] - times[0], Duration::from_millis(30));
}

#[test]
fn the_encoder_says_where_lines_lie() {
    let (source, _) = source(&[Step::Frame(0), Step::Frame(1), Step::Frame(4)]);
    let mut source = source.with_encoder(0.1);
    let mut spans = Vec::new();
    while spans.len() < 3 {
        if let Event::Lines(block) = source.next_event().unwrap() {
            spans.push(block.encoder.map(|span| (span.first, span.last)));
        }
    }
    // Twenty counts a frame are two lines of the material, for its two lines.
    assert_eq!(spans, [Some((0, 0)), Some((2, 3)), Some((8, 9))]);
}
