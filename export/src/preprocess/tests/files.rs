//! Reading images from files, good and bad.

use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgb, Rgba};
use tempfile::TempDir;

use super::super::{LoadImageError, load_image};
use super::noise;

fn save(folder: &TempDir, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder.path().join(name);
    image.into().save(&path).unwrap();
    path
}

fn loaded(path: &Path) -> (usize, Vec<u8>) {
    let image = load_image(path).unwrap();
    assert_eq!(
        image.pixels.len(),
        image.width * image.height * image.channels
    );
    (image.channels, image.pixels)
}

#[test]
fn alpha_is_dropped_and_sixteen_bits_become_eight() {
    let folder = tempfile::tempdir().unwrap();
    let grey_alpha = GrayAlphaImage::from_raw(2, 1, vec![9, 0, 8, 255]).unwrap();
    assert_eq!(
        loaded(&save(&folder, "la.png", grey_alpha)),
        (1, vec![9, 8])
    );
    let colour_alpha = ImageBuffer::<Rgba<u8>, _>::from_raw(1, 1, vec![1, 2, 3, 0]).unwrap();
    assert_eq!(
        loaded(&save(&folder, "rgba.png", colour_alpha)),
        (3, vec![1, 2, 3])
    );
    let grey = ImageBuffer::<Luma<u16>, _>::from_raw(3, 1, vec![7, 255, 256]).unwrap();
    assert_eq!(
        loaded(&save(&folder, "i16.png", grey)),
        (1, vec![7, 255, 255])
    );
    let colour = ImageBuffer::<Rgb<u16>, _>::from_raw(1, 1, vec![0x12ff, 0xff00, 0x00ff]).unwrap();
    assert_eq!(
        loaded(&save(&folder, "rgb16.png", colour)),
        (3, vec![0x12, 0xff, 0])
    );
}

#[test]
fn all_lossless_formats_give_the_same_levels() {
    let folder = tempfile::tempdir().unwrap();
    let image = GrayImage::from_raw(31, 17, noise(31 * 17)).unwrap();
    for name in ["a.png", "a.tiff", "a.bmp"] {
        let (channels, pixels) = loaded(&save(&folder, name, image.clone()));
        let grey: Vec<u8> = pixels.into_iter().step_by(channels).collect();
        assert_eq!(&grey, image.as_raw(), "{name}");
    }
}

#[test]
fn narrow_images_are_images() {
    let folder = tempfile::tempdir().unwrap();
    let image = GrayImage::from_raw(3, 40, noise(120)).unwrap();
    assert_eq!(loaded(&save(&folder, "narrow.png", image)).1, noise(120));
}

#[test]
fn bad_files_are_named_with_their_fault() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| load_image(path).unwrap_err();

    let missing = error(&folder.path().join("missing.png"));
    assert!(matches!(missing, LoadImageError::Read { .. }));
    assert!(missing.to_string().contains("missing.png"), "{missing}");

    let image = GrayImage::from_raw(64, 64, noise(64 * 64)).unwrap();
    for name in ["whole.png", "whole.jpg", "whole.tiff", "whole.bmp"] {
        let whole = fs::read(save(&folder, name, image.clone())).unwrap();
        let truncated = folder.path().join(format!("truncated-{name}"));
        for length in [20, whole.len() / 2, whole.len() - 20] {
            fs::write(&truncated, &whole[..length]).unwrap();
            let error = error(&truncated);
            assert!(
                matches!(error, LoadImageError::Truncated { .. }),
                "{name} {length}: {error}"
            );
            assert!(error.to_string().contains(name), "{error}");
        }
    }
    let empty = folder.path().join("empty.png");
    fs::write(&empty, "").unwrap();
    assert!(matches!(error(&empty), LoadImageError::Truncated { .. }));

    let text = folder.path().join("text.png");
    fs::write(&text, "not an image").unwrap();
    assert!(matches!(error(&text), LoadImageError::Decode { .. }));

    let float = ImageBuffer::<Rgb<f32>, _>::from_raw(1, 1, vec![0.5; 3]).unwrap();
    let float = save(&folder, "float.tiff", DynamicImage::ImageRgb32F(float));
    assert!(matches!(error(&float), LoadImageError::Colour { .. }));

    // A pipe would be waited for without end.
    for other in [folder.path(), Path::new("/dev/zero")] {
        let error = error(other);
        assert!(matches!(error, LoadImageError::Read { .. }), "{error}");
    }
}

#[test]
fn an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let image = GrayImage::from_raw(1, 1, vec![0]).unwrap();
    let mut bytes = fs::read(save(&folder, "bomb.png", image)).unwrap();
    // Width and height in IHDR, after 8 bytes of signature and 8 of chunk head.
    bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    let path = folder.path().join("bomb.png");
    fs::write(&path, &bytes).unwrap();
    let error = load_image(&path).unwrap_err();
    assert!(error.to_string().contains("65536x65536"), "{error}");
}

/// CRC-32 as PNG uses it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}
