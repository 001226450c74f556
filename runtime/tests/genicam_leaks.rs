//! Closed cameras leave nothing behind. By itself, as it counts what the process holds.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "genicam")]

use std::fs::read_dir;

use fake_camera::{FakeCamera, next, start};

#[path = "support/fake_camera.rs"]
mod fake_camera;

#[test]
fn nothing_is_left_of_closed_cameras() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let cycle = || {
        let mut stream = start(256, 200.0);
        let first = next(&mut stream);
        let dropped = next(&mut stream);
        stream.give_back(first);
        drop(dropped);
    };
    for _ in 0..5 {
        cycle();
    }
    let before = usage();
    for _ in 0..100 {
        cycle();
    }
    let after = usage();
    eprintln!("descriptors, threads, KiB: {before:?}, after 100 cycles {after:?}");
    assert_eq!((after.0, after.1), (before.0, before.1));
    // A leaked buffer a cycle would be 100 MiB.
    assert!(after.2 < before.2 + 8 * 1024, "{before:?}, {after:?}");
}

/// Open descriptors, threads and resident memory in KiB.
fn usage() -> (usize, usize, usize) {
    let count = |folder| read_dir(folder).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kibibytes = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    (count("/proc/self/fd"), count("/proc/self/task"), kibibytes)
}
