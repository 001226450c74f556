//! A folder of tile images as a source: the tiles follow one another as a
//! strip that is one tile wide.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millsight_export::preprocess;
use millsight_firmware_config::{Camera, TILE_SIZE};

use super::strip_image::{ImageKind, StripImageSource};
use super::{Event, Gap, LineBlock, Source, SourceError};
use crate::source;

/// File name endings that are taken for images.
const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp"];

/// Tiles of 512 × 512 pixels below a folder, in the order of their paths.
/// Links to images are followed, links to folders are not.
/// A tile that cannot be decoded becomes a gap of 512 lines with its reason.
#[derive(Debug)]
pub struct TileFolderSource {
    paths: Vec<PathBuf>,
    next: usize,
    camera: Camera,
    line_duration: Duration,
    pixels: Vec<u8>,
}

impl TileFolderSource {
    /// Lists the images below `folder`. The camera's line rate dates the lines;
    /// its pixel format says what images of 16 bits mean.
    ///
    /// # Errors
    /// When a folder cannot be read or holds no image.
    pub fn open(folder: &Path, camera: &Camera) -> Result<Self, SourceError> {
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
            line_duration: Duration::from_secs_f64(1.0 / camera.line_rate_hz),
            camera: camera.clone(),
            pixels: Vec::new(),
        })
    }

    fn decode(&mut self, index: usize) -> Result<(), String> {
        let path = &self.paths[index];
        let beginning = source::beginning(path).map_err(|error| error.to_string())?;
        match ImageKind::of(&beginning) {
            Some(kind @ (ImageKind::Png | ImageKind::Tiff)) => {
                let mut tile = StripImageSource::open(path, kind, &self.camera)
                    .map_err(|error| error.to_string())?;
                let height = tile.expected_lines().unwrap_or_default();
                check_size(path, tile.pixels_per_line(), height)?;
                self.pixels.clear();
                loop {
                    match tile.next_event() {
                        Ok(Event::Lines(block)) => self.pixels.extend_from_slice(block.pixels),
                        Ok(_) => return Ok(()),
                        Err(
                            SourceError::Damaged { reason, .. }
                            | SourceError::Unverified { reason, .. },
                        ) => return Err(format!("{} is damaged: {reason}", path.display())),
                        Err(error) => return Err(error.to_string()),
                    }
                }
            }
            _ => {
                let image = preprocess::load_image(path).map_err(|error| error.to_string())?;
                check_size(path, image.width, image.height as u64)?;
                self.pixels = image.into_grey();
                Ok(())
            }
        }
    }
}

fn check_size(path: &Path, width: usize, height: u64) -> Result<(), String> {
    if (width, height) == (TILE_SIZE, TILE_SIZE as u64) {
        return Ok(());
    }
    Err(format!(
        "{} has {width}×{height} pixels, but a tile has {TILE_SIZE}×{TILE_SIZE}; \
         use `millsight classify` for images of other sizes",
        path.display(),
    ))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let unreadable = |error| SourceError::Read {
        path: folder.to_path_buf(),
        error,
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            collect(&path, paths)?;
        } else if is_image(&path) && !path.is_dir() {
            // A link to a folder is not followed: it may lead back to where
            // it stands, and the same tiles would be judged again and again.
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

    fn files(&self) -> &[PathBuf] {
        &self.paths
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
                seconds: None,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma};
    use millsight_firmware_config::{PixelFormat, Station};

    const SIDE: u32 = TILE_SIZE as u32;

    fn camera(pixel_format: PixelFormat) -> Camera {
        Camera {
            pixel_format,
            ..Station::ready("replay").unwrap().camera
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_back_to_its_folder_does_not_repeat_tiles() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let cracks = folder.path().join("cracks");
        std::fs::create_dir(&cracks).unwrap();
        let tile = cracks.join("a.png");
        GrayImage::new(SIDE, SIDE).save(&tile).unwrap();
        symlink(folder.path(), cracks.join("loop")).unwrap();
        symlink(folder.path(), cracks.join("loop.png")).unwrap();
        symlink(&tile, cracks.join("b.png")).unwrap();
        let source = TileFolderSource::open(folder.path(), &camera(PixelFormat::Mono8)).unwrap();
        assert_eq!(source.files(), [tile, cracks.join("b.png")]);
    }

    #[test]
    fn tiles_of_sixteen_bits_follow_the_pixel_format() {
        let folder = tempfile::tempdir().unwrap();
        ImageBuffer::<Luma<u16>, _>::from_pixel(SIDE, SIDE, Luma([100 << 4]))
            .save(folder.path().join("a.png"))
            .unwrap();
        let open = |format| TileFolderSource::open(folder.path(), &camera(format)).unwrap();
        let mut source = open(PixelFormat::Mono12);
        let Event::Lines(block) = source.next_event().unwrap() else {
            panic!("the tile was not read");
        };
        assert_eq!(block.pixels, vec![100; TILE_SIZE * TILE_SIZE]);
        let mut source = open(PixelFormat::Mono8);
        let Event::Unreadable(gap) = source.next_event().unwrap() else {
            panic!("levels of 16 bits passed as 8");
        };
        assert!(gap.reason.contains("camera.pixel_format"), "{}", gap.reason);
    }
}
