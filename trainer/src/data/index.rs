//! Folder tree -> table of tiles.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::DataError;
use super::image_header::Header;
use super::table::{Row, Table, class_order};

/// File name endings that are taken for images, in lower case.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp"];

/// What [`folder`] found.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// One row for each image: classes in their order, paths by name.
    pub rows: Vec<Row>,
    /// What lies in class folders and is no image, by its ending or because it
    /// is no regular file, and was left out.
    pub skipped: Vec<PathBuf>,
    /// Folders of classes in which there is no image.
    pub empty: Vec<PathBuf>,
    /// Images beside the folders of the classes, which have no label and were
    /// left out.
    pub outside: Vec<PathBuf>,
}

/// Indexes a folder whose sub-folders are the classes.
///
/// Images may lie at any depth below the folder of their class. Files beside
/// the class folders, hidden ones and those with other endings are skipped.
/// Headers are decoded and all bytes hashed, on all cores; whether the pixels
/// can be decoded is for [`check`](super::check) to say.
///
/// # Errors
/// When the folder cannot be read or holds no images, or when headers of images
/// cannot be decoded: then all of these files are named.
pub fn folder(root: &Path) -> Result<Index, DataError> {
    classes(root, root)
}

/// The same for a folder of classes below `root`, to which the paths are
/// relative.
pub(super) fn classes(root: &Path, folder: &Path) -> Result<Index, DataError> {
    let mut images: Vec<(String, PathBuf)> = Vec::new();
    let (mut skipped, mut empty, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    for (path, is_folder) in children(folder)? {
        if !is_folder {
            if is_image(&path) {
                outside.push(path);
            }
            continue;
        }
        let label = name(&path)?;
        let mut files = Vec::new();
        collect(&path, &mut files, &mut skipped)?;
        if files.is_empty() {
            empty.push(path);
        }
        images.extend(files.into_iter().map(|file| (label.clone(), file)));
    }
    if images.is_empty() {
        return Err(DataError::NoImages {
            path: folder.to_path_buf(),
        });
    }
    let described: Vec<_> = images
        .par_iter()
        .map(|(label, path)| describe(root, label, path))
        .collect();
    let mut rows = Vec::with_capacity(described.len());
    let mut broken = Vec::new();
    for row in described {
        match row {
            Ok(row) => rows.push(row),
            Err(DataError::Image { path, reason }) => broken.push((path, reason)),
            Err(error) => return Err(error),
        }
    }
    if !broken.is_empty() {
        return Err(DataError::NotImages { files: broken });
    }
    let classes = class_order(rows.iter().map(|row| row.label.as_str()));
    let position = |row: &Row| classes.iter().position(|class| *class == row.label);
    rows.sort_by(|a, b| (position(a), &a.path).cmp(&(position(b), &b.path)));
    skipped.sort();
    Ok(Index {
        rows,
        skipped,
        empty,
        outside,
    })
}

/// The rows of reviewed tiles in a folder that `millsight labels export` wrote, each
/// with its piece as its group. Paths are relative to `root`, which may lie elsewhere.
///
/// # Errors
/// When the folder has no table of labels, or it or an image cannot be read.
pub fn reviewed(root: &Path, folder: &Path) -> Result<Vec<Row>, DataError> {
    let table = folder.join(REVIEWED);
    if !table.is_file() {
        return Err(DataError::NoReviews {
            path: folder.to_path_buf(),
        });
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(DataError::io("find", path));
    let (from, folder) = (absolute(root)?, absolute(folder)?);
    let beside = pathdiff::diff_paths(&folder, &from).unwrap_or_else(|| folder.clone());
    let labels = Table::read(&table)?.rows;
    labels
        .into_par_iter()
        .map(|label| {
            let described = describe(&folder, &label.label, &folder.join(&label.path))?;
            let path = beside.join(&described.path);
            let path = path.to_str().map(str::to_owned);
            Ok(Row {
                path: path
                    .ok_or_else(|| DataError::Name {
                        path: folder.clone(),
                    })?
                    .replace(std::path::MAIN_SEPARATOR, "/"),
                group: label.group,
                ..described
            })
        })
        .collect()
}

/// Name of the table of labels.
const REVIEWED: &str = "labels.csv";

/// The visible entries of a folder by name, each with whether it is a folder.
pub(super) fn children(folder: &Path) -> Result<Vec<(PathBuf, bool)>, DataError> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io("read the folder", folder))? {
        let path = entry
            .map_err(DataError::io("read the folder", folder))?
            .path();
        if name(&path)?.starts_with('.') {
            continue;
        }
        // Follows links, so that a data set can be assembled from links.
        let metadata = std::fs::metadata(&path).map_err(DataError::io("read", &path))?;
        let is_folder = metadata.is_dir();
        children.push((path, is_folder));
    }
    children.sort();
    Ok(children)
}

fn collect(
    folder: &Path,
    images: &mut Vec<PathBuf>,
    skipped: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    for (path, is_folder) in children(folder)? {
        if is_folder {
            collect(&path, images, skipped)?;
        } else if is_image(&path) && path.is_file() {
            images.push(path);
        } else {
            skipped.push(path);
        }
    }
    Ok(())
}

/// The last name of a path.
pub(super) fn name(path: &Path) -> Result<String, DataError> {
    path.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| DataError::Name { path: path.into() })
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            IMAGE_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
        })
}

fn describe(root: &Path, label: &str, path: &Path) -> Result<Row, DataError> {
    let header = Header::read(path).map_err(|reason| DataError::Image {
        path: path.to_path_buf(),
        reason,
    })?;
    let relative = path.strip_prefix(root).unwrap_or(path);
    let relative = relative
        .to_str()
        .ok_or_else(|| DataError::Name { path: path.into() })?;
    let hash = sha256(path).map_err(DataError::io("read", path))?;
    Ok(Row {
        path: relative.replace(std::path::MAIN_SEPARATOR, "/"),
        label: label.to_owned(),
        width: Some(header.width),
        height: Some(header.height),
        mode: Some(header.mode),
        sha256: Some(hex::encode(hash)),
        group: None,
        split: None,
    })
}

/// Hash of a file's bytes, of which only some are in memory at a time.
pub(crate) fn sha256(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use image::{GrayImage, RgbImage};

    #[test]
    fn rows_carry_relative_paths_sizes_modes_and_hashes() {
        let root = tempfile::tempdir().unwrap();
        for class in ["zebra", "no_defect", "cracks/deeper"] {
            std::fs::create_dir_all(root.path().join(class)).unwrap();
        }
        GrayImage::new(4, 3)
            .save(root.path().join("no_defect/b.png"))
            .unwrap();
        GrayImage::new(4, 3)
            .save(root.path().join("no_defect/a.PNG"))
            .unwrap();
        RgbImage::new(5, 2)
            .save(root.path().join("cracks/deeper/c.png"))
            .unwrap();
        GrayImage::new(1, 1)
            .save(root.path().join("zebra/d.bmp"))
            .unwrap();
        std::fs::write(root.path().join("zebra/notes.txt"), "no image").unwrap();
        std::fs::write(root.path().join(".hidden"), "").unwrap();
        std::fs::write(root.path().join("of_no_class.png"), "").unwrap();

        let index = folder(root.path()).unwrap();
        let paths: Vec<_> = index.rows.iter().map(|row| row.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "no_defect/a.PNG",
                "no_defect/b.png",
                "cracks/deeper/c.png",
                "zebra/d.bmp"
            ]
        );
        assert_eq!(index.rows[2].label, "cracks");
        assert_eq!(index.rows[2].mode.as_deref(), Some("RGB"));
        assert_eq!(
            (index.rows[2].width, index.rows[2].height),
            (Some(5), Some(2))
        );
        assert_eq!(index.rows[0].sha256, index.rows[1].sha256);
        assert_eq!(index.rows[0].mode.as_deref(), Some("L"));
        assert_eq!(index.skipped, [root.path().join("zebra/notes.txt")]);
        assert_eq!(index.outside, [root.path().join("of_no_class.png")]);
    }

    #[test]
    fn reviewed_tiles_keep_their_pieces_and_are_found_from_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (steel, labels) = (root.path().join("steel"), root.path().join("labels"));
        for folder in [&steel, &labels.join("cracks")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        GrayImage::new(4, 3)
            .save(labels.join("cracks/a.png"))
            .unwrap();
        let message = reviewed(&steel, &labels).unwrap_err().to_string();
        assert!(message.contains("millsight labels export"), "{message}");
        std::fs::write(
            labels.join("labels.csv"),
            "path,label,group,reviewer\ncracks/a.png,cracks,run1piece2,anna\n",
        )
        .unwrap();
        let rows = reviewed(&steel, &labels).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].path, "../labels/cracks/a.png");
        assert_eq!(rows[0].group.as_deref(), Some("run1piece2"));
        assert_eq!((rows[0].width, rows[0].height), (Some(4), Some(3)));
        assert!(steel.join(&rows[0].path).is_file());
        assert_eq!(reviewed(&labels, &labels).unwrap()[0].path, "cracks/a.png");
    }

    /// Whoever opens a pipe waits for its other end.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_skipped() {
        let root = tempfile::tempdir().unwrap();
        let folder_of_class = root.path().join("cracks");
        std::fs::create_dir(&folder_of_class).unwrap();
        GrayImage::new(4, 3)
            .save(folder_of_class.join("a.png"))
            .unwrap();
        let socket = folder_of_class.join("b.png");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let index = folder(root.path()).unwrap();
        assert_eq!(index.rows.len(), 1);
        assert_eq!(index.skipped, [socket]);
    }

    #[test]
    fn an_empty_folder_says_what_is_expected() {
        let root = tempfile::tempdir().unwrap();
        let message = folder(root.path()).unwrap_err().to_string();
        assert!(message.contains("one folder for each class"), "{message}");
    }

    #[test]
    fn files_that_are_no_images_are_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("cracks")).unwrap();
        std::fs::write(root.path().join("cracks/broken.png"), "not a PNG").unwrap();
        std::fs::write(root.path().join("cracks/empty.png"), "").unwrap();
        let message = folder(root.path()).unwrap_err().to_string();
        assert!(message.starts_with("the headers of 2 "), "{message}");
        assert!(message.contains("broken.png: "), "{message}");
        assert!(message.contains("empty.png: "), "{message}");
        assert!(message.contains("take them out"), "{message}");
    }
}
