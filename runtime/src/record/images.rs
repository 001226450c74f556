//! Tile images of a record.

use std::fs;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use millsight_export::durable;
use millsight_firmware_config::TILE_SIZE;
use tempfile::NamedTempFile;

use super::RecordError;
use super::database::database_path;
use crate::classify::SettledRow;

const GIB: f64 = (1u64 << 30) as f64;

/// Writes tile images within a disk budget. An image has a temporary name
/// until [`Images::publish`].
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    run: i64,
    budget_gib: f64,
    /// Bytes of the images in the folder.
    used: u64,
    /// Bytes of the database when it was last looked at.
    database: u64,
    pending: Vec<Pending>,
}

/// An image that is written and waits for its name.
#[derive(Debug)]
pub struct Partial {
    file: NamedTempFile,
    /// Its name, relative to the record's folder.
    pub relative: String,
    size: u64,
}

#[derive(Debug)]
struct Pending {
    tile: i64,
    partial: Partial,
}

/// An image that has its name.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    size: u64,
    tile: i64,
}

/// An image that did not get its name: the database's id of its tile, and why.
pub type Failed = (i64, io::Error);

/// The number of the first run that has no images below a record's folder yet.
///
/// # Errors
/// When the folder cannot be made or listed, or what a crash left there not be
/// removed.
pub fn first_free_run(folder: &Path) -> io::Result<i64> {
    let tiles = folder.join("tiles");
    fs::create_dir_all(&tiles)?;
    let mut last = 0;
    for entry in fs::read_dir(&tiles)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        durable::remove_partials(&entry.path())?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last + 1)
}

impl Images {
    /// Most images that wait for their names, so that open files stay few.
    pub const MOST_PENDING: usize = 128;

    /// Images of a run below the record's folder. What the folder holds
    /// already counts towards the budget.
    ///
    /// # Errors
    /// When the folder cannot be made, synced or listed.
    pub fn new(folder: &Path, run: i64, budget_gib: f64) -> io::Result<Self> {
        let tiles = folder.join("tiles");
        let own = tiles.join(run.to_string());
        fs::create_dir_all(&own)?;
        // What is synced below has names that survive as well.
        for made in [&own, &tiles, folder] {
            durable::sync_folder(made)?;
        }
        if let Some(parent) = fs::canonicalize(folder)?.parent() {
            durable::sync_folder(parent)?;
        }
        let mut images = Self {
            folder: folder.to_path_buf(),
            run,
            budget_gib,
            used: size_of_folder(&tiles)?,
            database: 0,
            pending: Vec::new(),
        };
        images.look_at_database();
        Ok(images)
    }

    /// The folder of the run's images.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("tiles").join(self.run.to_string())
    }

    /// Writes the image of a tile under a temporary name; `None` when the row
    /// has no pixels.
    ///
    /// # Errors
    /// When the budget is spent or the disk refuses; nothing is left behind.
    pub fn write(&self, row: &SettledRow, column: usize) -> Result<Option<Partial>, RecordError> {
        let Some(pixels) = &row.row.pixels else {
            return Ok(None);
        };
        if (self.used + self.database) as f64 >= self.budget_gib * GIB {
            return Err(RecordError::Budget {
                path: self.folder.clone(),
                budget_gib: self.budget_gib,
            });
        }
        let folder = self.run_folder();
        let known = row.images.iter().find(|(known, _)| *known == column);
        let written = match known {
            Some((_, png)) => write_new(&folder, png),
            None => compressed(pixels, column).and_then(|png| write_new(&folder, &png)),
        };
        let (file, size) = written.map_err(|error| RecordError::Image { folder, error })?;
        Ok(Some(Partial {
            file,
            relative: format!("tiles/{}/{:07}_{column}.png", self.run, row.row.number),
            size,
        }))
    }

    /// Keeps an image until the next [`Images::publish`]; `tile` is the
    /// database's id of its tile.
    pub fn keep(&mut self, partial: Partial, tile: i64) {
        self.used += partial.size;
        self.pending.push(Pending { tile, partial });
    }

    /// Images that wait for their names.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Makes durable what was written: syncs every image, gives each its name,
    /// and syncs the folder. What fails fails alone; an image that has the
    /// name already is never overwritten.
    pub fn publish(&mut self) -> (Vec<Published>, Vec<Failed>) {
        let mut failed = Vec::new();
        let mut synced = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match pending.partial.file.as_file().sync_data() {
                Ok(()) => synced.push(pending),
                Err(error) => {
                    self.used -= pending.partial.size;
                    failed.push((pending.tile, error));
                }
            }
        }
        let mut published = Vec::new();
        for Pending { tile, partial } in synced {
            let path = self.folder.join(&partial.relative);
            let size = partial.size;
            match partial.file.persist_noclobber(&path) {
                Ok(_) => published.push(Published { path, size, tile }),
                Err(refused) => {
                    self.used -= size;
                    failed.push((tile, refused.error));
                }
            }
        }
        if published.is_empty() {
            return (published, failed);
        }
        if let Err(error) = durable::sync_folder(&self.run_folder()) {
            let again = || io::Error::new(error.kind(), error.to_string());
            failed.extend(published.iter().map(|image| (image.tile, again())));
            self.remove(std::mem::take(&mut published));
        }
        (published, failed)
    }

    /// Forgets images that wait for their names.
    pub fn discard(&mut self) {
        for pending in self.pending.drain(..) {
            self.used -= pending.partial.size;
        }
    }

    /// Removes images that no row of the database names after all.
    pub fn remove(&mut self, images: Vec<Published>) {
        for image in images {
            if fs::remove_file(&image.path).is_ok() {
                self.used -= image.size;
            }
        }
    }

    /// Looks how large the database has become.
    pub fn look_at_database(&mut self) {
        let path = database_path(&self.folder);
        self.database = ["", "-wal", "-shm"]
            .iter()
            .map(|ending| {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                fs::metadata(name).map_or(0, |metadata| metadata.len())
            })
            .sum();
    }
}

/// The tile in a column of a row of tiles as a PNG file.
///
/// # Errors
/// When it cannot be encoded.
pub fn compressed(row: &[u8], column: usize) -> io::Result<Vec<u8>> {
    let mut tile = Vec::with_capacity(TILE_SIZE * TILE_SIZE);
    for line in row.chunks_exact(row.len() / TILE_SIZE) {
        tile.extend_from_slice(&line[column * TILE_SIZE..][..TILE_SIZE]);
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, TILE_SIZE as u32, TILE_SIZE as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&tile).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)?;
    Ok(png)
}

/// Writes a file under a temporary name; gives it and its size.
fn write_new(folder: &Path, bytes: &[u8]) -> io::Result<(NamedTempFile, u64)> {
    let mut file = durable::partial_in(folder)?;
    file.write_all(bytes)?;
    Ok((file, bytes.len() as u64))
}

/// Reads the image of a tile: its grey levels, `[512, 512]`.
///
/// # Errors
/// When the file cannot be read or is no image of a tile.
pub fn read_tile(path: &Path) -> io::Result<Vec<u8>> {
    let mut reader = png::Decoder::new(BufReader::new(fs::File::open(path)?))
        .read_info()
        .map_err(io::Error::other)?;
    let mut tile = vec![0; TILE_SIZE * TILE_SIZE];
    if reader.output_buffer_size() != Some(tile.len()) {
        return Err(io::Error::other("it is no image of a tile"));
    }
    reader.next_frame(&mut tile).map_err(io::Error::other)?;
    Ok(tile)
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
