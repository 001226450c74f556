//! The video devices of this computer.

use std::fs;
use std::path::{Path, PathBuf};

use millsight_firmware_config::PixelFormat;

use super::device::{Device, FourCc, Offered};
use super::error::DeviceError;
use crate::source::connected::Connected;

/// Where the system keeps names of devices that stay the same.
const STABLE: [&str; 3] = ["/dev/v4l/by-id", "/dev/v4l/by-name", "/dev/v4l/by-path"];

/// The formats that can be used as lines.
const USABLE: [(PixelFormat, &str); 6] = [
    (PixelFormat::Mono8, "mono8"),
    (PixelFormat::Mono10, "mono10"),
    (PixelFormat::Mono12, "mono12"),
    (PixelFormat::Mono16, "mono16"),
    (PixelFormat::Rgb8, "rgb8"),
    (PixelFormat::Bgr8, "bgr8"),
];

/// The video devices that capture, by their numbers.
pub(in crate::source) fn connected() -> Vec<Connected> {
    let mut devices: Vec<(u32, PathBuf)> = entries(Path::new("/dev"))
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let number = name.strip_prefix("video")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    devices.sort();
    devices
        .iter()
        .filter_map(|(_, path)| describe(path))
        .collect()
}

fn describe(path: &Path) -> Option<Connected> {
    let mut paths = stable_paths(path);
    paths.push(path.display().to_string());
    let best = paths.first().cloned().unwrap_or_default();
    let source = format!("kind = \"v4l2\", device = \"{best}\"");
    match Device::open(path) {
        Ok(device) => {
            let identity = device.identity();
            let (card, driver, bus) = (&identity.card, &identity.driver, &identity.bus);
            Some(Connected {
                name: format!("{card} ({driver}, {bus})"),
                source,
                paths,
                problem: device.problem(),
                formats: device.formats().iter().filter_map(usable).collect(),
                controls: device
                    .controls()
                    .iter()
                    .map(|control| format!("{} {}", control.name, control.range()))
                    .collect(),
            })
        }
        Err(DeviceError::DoesNotCapture(_) | DeviceError::NoVideoDevice(_)) => None,
        Err(error) => Some(Connected {
            name: path.display().to_string(),
            source,
            paths,
            problem: Some(error.to_string()),
            formats: Vec::new(),
            controls: Vec::new(),
        }),
    }
}

/// A format that gives lines, for people.
fn usable(offered: &Offered) -> Option<String> {
    let (_, name) = USABLE
        .iter()
        .find(|(format, _)| FourCc::of(*format) == offered.format)?;
    if offered.sizes.is_empty() {
        return Some(format!("{name}: sizes that the driver does not tell"));
    }
    let sizes = offered.sizes.iter().map(|sizes| {
        let extent = |[least, most]: [u32; 2]| match least == most {
            true => least.to_string(),
            false => format!("{least} to {most}"),
        };
        let rate = sizes.frames_per_second.map(|frames| {
            let lines = frames * f64::from(sizes.height[1]);
            format!(", {frames:.1} frames/s, {lines:.0} lines/s")
        });
        let (width, height) = (extent(sizes.width), extent(sizes.height));
        format!("{width} × {height} pixels{}", rate.unwrap_or_default())
    });
    let sizes: Vec<String> = sizes.collect();
    Some(format!("{name}: {}", sizes.join("; ")))
}

/// Names of a device that stay the same.
fn stable_paths(device: &Path) -> Vec<String> {
    let leads_there = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|found| found == device);
    let mut paths = Vec::new();
    for folder in STABLE {
        let mut names: Vec<_> = entries(Path::new(folder))
            .into_iter()
            .filter(leads_there)
            .map(|path| path.display().to_string())
            .collect();
        names.sort();
        paths.extend(names);
    }
    paths
}

/// What lies in a folder; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
