//! Tile images of a record.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use millsight_firmware_config::TILE_SIZE;
use tempfile::NamedTempFile;

use super::RecordError;
use crate::classify::SettledRow;

const GIB: f64 = (1u64 << 30) as f64;

/// Writes tile images within a disk budget.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    run: i64,
    budget_gib: f64,
    used: u64,
    tile: Vec<u8>,
    /// Images that were written since the last [`Images::sync`].
    unsynced: Vec<(PathBuf, File)>,
}

/// Most images that wait for a sync, so that open files stay few.
const MOST_UNSYNCED: usize = 128;

impl Images {
    /// Images of a run below the record's folder. What the folder holds
    /// already counts towards the budget.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub fn new(folder: &Path, run: i64, budget_gib: f64) -> Result<Self, RecordError> {
        let unusable = |error| RecordError::Folder {
            path: folder.to_path_buf(),
            error,
        };
        fs::create_dir_all(folder.join("tiles").join(run.to_string())).map_err(unusable)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            run,
            budget_gib,
            used: size_of_folder(folder).map_err(unusable)?,
            tile: vec![0; TILE_SIZE * TILE_SIZE],
            unsynced: Vec::new(),
        })
    }

    /// Writes the image of a tile and gives its path relative to the folder;
    /// `None` when the row has no pixels.
    ///
    /// # Errors
    /// When the budget is spent or the disk refuses; no part of an image is
    /// left behind under its name.
    pub fn write(
        &mut self,
        row: &SettledRow,
        column: usize,
    ) -> Result<Option<String>, RecordError> {
        let Some(pixels) = &row.row.pixels else {
            return Ok(None);
        };
        if self.used as f64 >= self.budget_gib * GIB {
            return Err(RecordError::Budget {
                path: self.folder.clone(),
                budget_gib: self.budget_gib,
            });
        }
        let width = pixels.len() / TILE_SIZE;
        for (line, target) in pixels
            .chunks_exact(width)
            .zip(self.tile.chunks_exact_mut(TILE_SIZE))
        {
            target.copy_from_slice(&line[column * TILE_SIZE..][..TILE_SIZE]);
        }
        let relative = format!("tiles/{}/{:07}_{column}.png", self.run, row.row.number);
        let path = self.folder.join(&relative);
        let (file, size) = write_png(&path, &self.tile).map_err(|error| RecordError::Image {
            path: path.clone(),
            error,
        })?;
        self.used += size;
        self.unsynced.push((path, file));
        if self.unsynced.len() >= MOST_UNSYNCED {
            self.sync()?;
        }
        Ok(Some(relative))
    }

    /// Makes durable what was written, so that rows that name images can be
    /// committed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        for (path, file) in self.unsynced.drain(..) {
            file.sync_data()
                .map_err(|error| RecordError::Image { path, error })?;
        }
        Ok(())
    }
}

/// Writes a grey tile under a temporary name and renames it; gives the file
/// and its size.
fn write_png(path: &Path, tile: &[u8]) -> io::Result<(File, u64)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    {
        let mut buffered = BufWriter::new(&mut file);
        let mut encoder = png::Encoder::new(&mut buffered, TILE_SIZE as u32, TILE_SIZE as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        writer.write_image_data(tile).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        buffered.flush()?;
    }
    let size = file.as_file().metadata()?.len();
    let file = file.persist(path).map_err(|error| error.error)?;
    Ok((file, size))
}

fn size_of_folder(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() {
            size_of_folder(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(size)
}
