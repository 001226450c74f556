//! How much space a disk has left.

use std::path::{Path, PathBuf};

use sysinfo::Disks;

/// Bytes on the disk that a folder, or the nearest one above it that exists, lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Space {
    /// Bytes that are free for programs without special rights.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// The space for a folder; `None` where the operating system does not tell.
pub fn space_for(folder: &Path) -> Option<Space> {
    let existing = nearest_existing(folder);
    let disks = Disks::new_with_refreshed_list().ok()?;
    let holding = disks
        .iter()
        .filter(|disk| existing.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().components().count())?;
    Some(Space {
        free: holding.available_space(),
        total: holding.total_space(),
    })
}

/// The folder itself, or the nearest one above it that exists.
pub fn nearest_existing(folder: &Path) -> PathBuf {
    folder
        .ancestors()
        .find_map(|path| {
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            path.canonicalize().ok()
        })
        .unwrap_or_else(|| PathBuf::from("/"))
}
