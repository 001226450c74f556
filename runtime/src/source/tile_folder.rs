//! A folder of tile images as a source: the tiles follow one another as a
//! strip that is one tile wide.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millsight_export::preprocess;
use millsight_firmware_config::TILE_SIZE;

use super::{Event, Gap, LineBlock, Source, SourceError};

/// File name endings that are taken for images.
const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp"];

/// Tiles of 512 × 512 pixels below a folder, in the order of their paths.
/// A tile that cannot be decoded becomes a gap of 512 lines with its reason.
#[derive(Debug)]
pub struct TileFolderSource {
    paths: Vec<PathBuf>,
    next: usize,
    line_duration: Duration,
    pixels: Vec<u8>,
}

impl TileFolderSource {
    /// Lists the images below `folder`. `line_rate` (lines per second) only
    /// dates the lines.
    ///
    /// # Errors
    /// When a folder cannot be read or holds no image.
    pub fn open(folder: &Path, line_rate: f64) -> Result<Self, SourceError> {
        let mut paths = Vec::new();
        collect(folder, &mut paths)?;
        paths.sort();
        if paths.is_empty() {
            return Err(SourceError::Unsuitable {
                path: folder.to_path_buf(),
                reason: format!(
                    "it holds no image ({}); give a folder of {TILE_SIZE}×{TILE_SIZE} tiles",
                    IMAGE_EXTENSIONS.join(", ")
                ),
            });
        }
        Ok(Self {
            paths,
            next: 0,
            line_duration: Duration::from_secs_f64(1.0 / line_rate),
            pixels: Vec::new(),
        })
    }

    fn decode(&mut self, index: usize) -> Result<(), String> {
        let path = &self.paths[index];
        let image = preprocess::load_image(path).map_err(|error| error.to_string())?;
        if (image.width, image.height) != (TILE_SIZE, TILE_SIZE) {
            return Err(format!(
                "{} has {}×{} pixels, but a tile has {TILE_SIZE}×{TILE_SIZE}; \
                 use `millsight classify` for images of other sizes",
                path.display(),
                image.width,
                image.height
            ));
        }
        self.pixels = image.into_grey();
        Ok(())
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let unreadable = |error| SourceError::Read {
        path: folder.to_path_buf(),
        error,
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if is_image(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        IMAGE_EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

impl Source for TileFolderSource {
    fn pixels_per_line(&self) -> usize {
        TILE_SIZE
    }

    fn expected_lines(&self) -> Option<u64> {
        Some((self.paths.len() * TILE_SIZE) as u64)
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let index = self.next;
        if index == self.paths.len() {
            return Ok(Event::End);
        }
        self.next += 1;
        let first_line = (index * TILE_SIZE) as u64;
        if let Err(reason) = self.decode(index) {
            return Ok(Event::Unreadable(Gap {
                first_line,
                lines: TILE_SIZE as u64,
                reason,
            }));
        }
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels: &self.pixels,
            timestamp: self
                .line_duration
                .mul_f64((first_line + TILE_SIZE as u64) as f64),
            encoder: None,
        }))
    }
}
