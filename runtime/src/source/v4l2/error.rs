//! What a video device can fail at.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::device::Control;

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is none.
    #[error(
        "there is no {}; `millsight devices` lists what is connected", .0.display()
    )]
    Missing(PathBuf),
    /// The user may not use it.
    #[error(
        "you may not use {}: add the user to the group `{group}` (`sudo usermod -aG {group} $USER`) \
         and log in again", path.display()
    )]
    Permission {
        /// The device.
        path: PathBuf,
        /// The group that may.
        group: String,
    },
    /// Another program uses it.
    #[error(
        "{} is in use by another program; end it, or find it with `fuser -v {}`",
        .0.display(), .0.display()
    )]
    Busy(PathBuf),
    /// It is gone.
    #[error("{} is gone: it was unplugged, or its driver was unloaded", .0.display())]
    Gone(PathBuf),
    /// It is something else.
    #[error("{} is no video device; `millsight devices` lists those that are", .0.display())]
    NoVideoDevice(PathBuf),
    /// It is no camera.
    #[error(
        "{} is a video device that does not capture frames; `millsight devices` lists those that do",
        .0.display()
    )]
    DoesNotCapture(PathBuf),
    /// Where the camera was, there is another one.
    #[error("{} is now {found:?} instead of {expected:?}", path.display())]
    Another {
        /// The device.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What was there.
        expected: String,
    },
    /// It has no such format.
    #[error(
        "{} gives {given} where {asked} is asked for; write `camera.pixels_per_line`, \
         `camera.pixel_format` and `source.frame_lines` as `millsight devices` lists them",
        path.display()
    )]
    Format {
        /// The device.
        path: PathBuf,
        /// What the station asks for.
        asked: String,
        /// What the device gives instead.
        given: String,
    },
    /// It has no such control.
    #[error(
        "{} has no control `{name}` (`source.controls`); it has {}",
        path.display(), known.join(", ")
    )]
    NoControl {
        /// The device.
        path: PathBuf,
        /// What the station sets.
        name: String,
        /// The controls that there are.
        known: Vec<String>,
    },
    /// A control cannot have a value.
    #[error(
        "{} cannot set `{}` to {value} (`source.controls`): it {}", path.display(), control.name,
        control.range()
    )]
    Control {
        /// The device.
        path: PathBuf,
        /// The control.
        control: Control,
        /// What the station asks for.
        value: i64,
    },
    /// Something else.
    #[error("cannot {action} {}: {error}", path.display())]
    Other {
        /// What was tried.
        action: &'static str,
        /// The device.
        path: PathBuf,
        /// What the kernel says.
        error: Errno,
    },
}

impl DeviceError {
    /// What an error of the kernel means.
    pub(super) fn new(path: &Path, action: &'static str, error: Errno) -> Self {
        let path = path.to_owned();
        match error {
            Errno::NOENT => Self::Missing(path),
            Errno::ACCESS | Errno::PERM => Self::Permission {
                group: group_of(&path).unwrap_or_else(|| "video".to_owned()),
                path,
            },
            Errno::BUSY => Self::Busy(path),
            Errno::NODEV | Errno::NXIO => Self::Gone(path),
            error => Self::Other {
                action,
                path,
                error,
            },
        }
    }
}

/// Name of the group to which a file belongs, by `/etc/group`.
fn group_of(path: &Path) -> Option<String> {
    let number = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(path).ok()?);
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, found) = (fields.next()?, fields.nth(1)?);
        (found.parse() == Ok(number)).then(|| name.to_owned())
    })
}
