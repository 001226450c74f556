//! A split that is given as folders: `ROOT/PART/CLASS/...` -> table.

use std::path::{Path, PathBuf};

use super::DataError;
use super::index::{self, Index};
use super::table::Split;

/// Indexes a folder whose sub-folders are the parts, and theirs the classes.
///
/// The parts are `train`, `val` (or `valid`, `validation`) and `test`, in any
/// case of letters. `test` may be absent. Other folders and files beside them
/// are among [`Index::skipped`].
///
/// # Errors
/// When the training or validation part is absent, a part is there twice or
/// holds no images, or what [`index::folder`] refuses.
pub fn index(root: &Path) -> Result<Index, DataError> {
    let mut found: [Option<PathBuf>; 3] = [None, None, None];
    let mut skipped = Vec::new();
    for (path, is_folder) in index::children(root)? {
        let name = index::name(&path)?;
        let Some(part) = part(&name).filter(|_| is_folder) else {
            skipped.push(path);
            continue;
        };
        if let Some(other) = found[part as usize].replace(path.clone()) {
            return Err(DataError::PartTwice {
                part: part.name(),
                paths: [other, path],
            });
        }
    }
    for part in [Split::Train, Split::Val] {
        if found[part as usize].is_none() {
            let names = |path: &PathBuf| index::name(path).unwrap_or_default();
            return Err(DataError::NoPart {
                root: root.to_path_buf(),
                part: part.name(),
                found: found.iter().flatten().chain(&skipped).map(names).collect(),
            });
        }
    }
    let mut all = Index {
        rows: Vec::new(),
        skipped,
        empty: Vec::new(),
        outside: Vec::new(),
    };
    for (split, folder) in [Split::Train, Split::Val, Split::Test]
        .into_iter()
        .zip(found)
    {
        if let Some(folder) = folder {
            let part = index::classes(root, &folder)?;
            all.skipped.extend(part.skipped);
            all.empty.extend(part.empty);
            all.skipped.extend(part.outside);
            all.rows.extend(part.rows.into_iter().map(|mut row| {
                row.split = Some(split);
                row
            }));
        }
    }
    Ok(all)
}

/// Whether the names of these folders are those of parts, at least two.
pub fn are_parts(names: &[String]) -> bool {
    names.len() > 1 && names.iter().all(|name| part(name).is_some())
}

fn part(name: &str) -> Option<Split> {
    match name.to_ascii_lowercase().as_str() {
        "train" => Some(Split::Train),
        "val" | "valid" | "validation" => Some(Split::Val),
        "test" => Some(Split::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn folder(images: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for image in images {
            let path = root.path().join(image);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::new(2, 3).save(path).unwrap();
        }
        root
    }

    #[test]
    fn each_tile_keeps_the_part_of_its_folder() {
        for val in ["val", "Valid", "validation"] {
            let in_val = format!("{val}/cracks/1.png");
            let root = folder(&[
                "test/no_defect/1.png",
                "train/cracks/1.png",
                "train/no_defect/deep/er.png",
                &in_val,
                "extra/x.png",
            ]);
            std::fs::write(root.path().join("train/cracks/notes.txt"), "").unwrap();
            let index = index(root.path()).unwrap();
            let rows: Vec<_> = index
                .rows
                .iter()
                .map(|row| (row.path.as_str(), row.label.as_str(), row.split.unwrap()))
                .collect();
            assert_eq!(
                rows,
                [
                    ("train/no_defect/deep/er.png", "no_defect", Split::Train),
                    ("train/cracks/1.png", "cracks", Split::Train),
                    (in_val.as_str(), "cracks", Split::Val),
                    ("test/no_defect/1.png", "no_defect", Split::Test),
                ]
            );
            assert_eq!(
                (index.rows[0].width, index.rows[0].height),
                (Some(2), Some(3))
            );
            let skipped = ["extra", "train/cracks/notes.txt"].map(|name| root.path().join(name));
            assert_eq!(index.skipped, skipped);
        }
    }

    #[test]
    fn a_test_part_is_not_needed_but_the_others_are() {
        let root = folder(&["train/a/1.png", "val/a/1.png"]);
        assert_eq!(index(root.path()).unwrap().rows.len(), 2);
        let message = |images: &[&str]| index(folder(images).path()).unwrap_err().to_string();
        let no_val = message(&["train/a/1.png", "test/a/1.png", "pictures/a/1.png"]);
        assert!(no_val.contains("no folder `val`"), "{no_val}");
        assert!(no_val.contains("train, test, pictures"), "{no_val}");
        let twice = message(&["train/a/1.png", "val/a/1.png", "valid/a/1.png"]);
        assert!(
            twice.contains("/val and ") && twice.contains("/valid "),
            "{twice}"
        );
        let empty = folder(&["train/a/1.png", "val/a/1.png"]);
        std::fs::remove_file(empty.path().join("val/a/1.png")).unwrap();
        let empty = index(empty.path()).unwrap_err().to_string();
        assert!(empty.contains("val holds no images"), "{empty}");
    }
}
