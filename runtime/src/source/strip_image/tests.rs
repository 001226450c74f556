#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufWriter, Write};

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use millsight_firmware_config::{PixelFormat, Station};

use super::*;

const WIDTH: usize = 512;

fn camera(pixel_format: PixelFormat) -> Camera {
    Camera {
        pixel_format,
        ..Station::ready("replay").unwrap().camera
    }
}

fn open(path: &Path, format: PixelFormat) -> Result<StripImageSource, SourceError> {
    let kind = ImageKind::of(&fs::read(path).unwrap()).unwrap();
    StripImageSource::open(path, kind, &camera(format))
}

/// All levels of a strip, and how it ended.
fn read(path: &Path, format: PixelFormat) -> (Vec<u8>, Option<SourceError>) {
    let mut source = match open(path, format) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut levels = Vec::new();
    loop {
        match source.next_event() {
            Ok(Event::Lines(block)) => {
                assert_eq!(block.first_line, (levels.len() / WIDTH) as u64);
                levels.extend_from_slice(block.pixels);
            }
            Ok(Event::End) => return (levels, None),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return (levels, Some(error)),
        }
    }
}

fn texture(x: u32, y: u32) -> u8 {
    (96 + (x * 7 + y * 13 + (x * y) % 17) % 64) as u8
}

fn grey(height: u32) -> GrayImage {
    GrayImage::from_fn(WIDTH as u32, height, |x, y| Luma([texture(x, y)]))
}

/// A grey PNG whose pixels are stored without compression.
fn stored_png(path: &Path, image: &GrayImage) {
    let file = BufWriter::new(File::create(path).unwrap());
    let mut encoder = png::Encoder::new(file, image.width(), image.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::NoCompression);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(image.as_raw()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_changed_pixel_or_checksum_of_a_png_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.png");
    stored_png(&path, &grey(300));
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 300 * WIDTH, "the pixels are compressed");
    assert!(read(&path, PixelFormat::Mono8).1.is_none());
    // A pixel of line 100, and the checksum of the pixels before the end mark.
    for at in [whole.len() / 3, whole.len() - 14] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = read(&path, PixelFormat::Mono8).1.unwrap().to_string();
        let says_why = error.contains("Checksum") || error.contains("CRC");
        assert!(says_why, "byte {at}: {error}");
    }
    // The end mark is missing.
    fs::write(&path, &whole[..whole.len() - 12]).unwrap();
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert_eq!(levels.len(), 300 * WIDTH);
    let error = error.unwrap().to_string();
    assert!(error.contains("cut off"), "{error}");
}

/// A grey interlaced PNG without compression, which no encoder at hand makes.
/// `height` is what its header states; only the lines of `image` are in it.
fn interlaced_png(path: &Path, image: &GrayImage, height: u32) {
    // First line and pixel of each of the seven passes, and the steps to the
    // next.
    const PASSES: [(usize, usize, usize, usize); 7] = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ];
    let mut samples = Vec::new();
    for (first_line, first_pixel, lines, pixels) in PASSES {
        for y in (first_line..image.height() as usize).step_by(lines) {
            samples.push(0);
            let line = &image.as_raw()[y * WIDTH..][..WIDTH];
            samples.extend(line.iter().skip(first_pixel).step_by(pixels));
        }
    }
    let mut data = vec![0x78, 0x01];
    let blocks = samples.chunks(0xffff);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        data.push(u8::from(index == last));
        data.extend((block.len() as u16).to_le_bytes());
        data.extend((!(block.len() as u16)).to_le_bytes());
        data.extend(block);
    }
    let (low, high) = samples.iter().fold((1u32, 0u32), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    data.extend((high << 16 | low).to_be_bytes());
    let mut header = [image.width(), height].map(u32::to_be_bytes).concat();
    header.extend([8, 0, 0, 0, 1]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        file.extend((body.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(kind);
        file.extend(body);
        let sum = crc32fast::hash(&file[start..]);
        file.extend(sum.to_be_bytes());
    }
    fs::write(path, file).unwrap();
}

#[test]
fn an_interlaced_png_is_decoded_whole_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.png");
    let image = grey(130);
    interlaced_png(&path, &image, 130);
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(&levels, image.as_raw());

    interlaced_png(&path, &image, 2_200_000);
    let error = read(&path, PixelFormat::Mono8).1.unwrap().to_string();
    assert!(error.contains("without interlacing"), "{error}");
}

#[test]
fn a_cut_png_gives_what_comes_before_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.png");
    let image = grey(600);
    stored_png(&path, &image);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert!(levels.len() > 200 * WIDTH && image.as_raw().starts_with(&levels));
    let error = error.unwrap().to_string();
    assert!(
        error.contains("cut off") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn colour_becomes_the_brightness_that_classify_sees() {
    let folder = tempfile::tempdir().unwrap();
    let image = RgbImage::from_fn(WIDTH as u32, 70, |x, y| {
        Rgb([texture(x, y), texture(y, x), (x % 251) as u8])
    });
    for name in ["rgb.png", "rgb.tiff"] {
        let path = folder.path().join(name);
        image.save(&path).unwrap();
        let expected = millsight_export::preprocess::load_image(&path).unwrap();
        let (levels, error) = read(&path, PixelFormat::Mono8);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(levels, expected.into_grey(), "{name}");
    }
}

#[test]
fn alpha_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let image = DynamicImage::from(grey(40));
    for name in ["la.png", "rgba.png", "rgba.tiff"] {
        let path = folder.path().join(name);
        match name {
            "la.png" => image.to_luma_alpha8().save(&path).unwrap(),
            _ => image.to_rgba8().save(&path).unwrap(),
        }
        let (levels, error) = read(&path, PixelFormat::Mono8);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(&levels, image.as_luma8().unwrap().as_raw(), "{name}");
    }
}

#[test]
fn sixteen_bits_are_reduced_by_the_pixel_format_and_refused_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let image = grey(130);
    let deep = ImageBuffer::<Luma<u16>, _>::from_fn(WIDTH as u32, 130, |x, y| {
        Luma([u16::from(image.get_pixel(x, y).0[0]) << 4 | 9])
    });
    for name in ["deep.png", "deep.tiff"] {
        let path = folder.path().join(name);
        deep.save(&path).unwrap();
        let (levels, error) = read(&path, PixelFormat::Mono12);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(&levels, image.as_raw(), "{name}");

        let refused = read(&path, PixelFormat::Mono8).1.unwrap().to_string();
        for part in [name, "16", "camera.pixel_format", "--station"] {
            assert!(refused.contains(part), "{refused}");
        }
        // Levels that the stated format cannot have mean that it is not the
        // format of this strip.
        let beyond = read(&path, PixelFormat::Mono10).1.unwrap().to_string();
        assert!(beyond.contains("10 bits"), "{beyond}");
    }
}

/// Entries of a TIFF directory with one number each.
type Entries<'a> = &'a [(u16, u32)];

/// Writes a little-endian TIFF with its directory before its pixels: `places`
/// are the offsets from there and the bytes of its strips.
fn tiff(path: &Path, entries: Entries<'_>, places: &[(u32, u32)], pixels: &[u8]) -> File {
    let count = entries.len() as u32 + 2;
    let lists = 8 + 2 + count * 12 + 4;
    let start = lists + 8 * places.len() as u32;
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((count as u16).to_le_bytes());
    let strips = places.len() as u32;
    let mut all: Vec<(u16, u32, u32)> = entries.iter().map(|&(tag, n)| (tag, 1, n)).collect();
    let inline = |at: u32, value: u32| if strips == 1 { value } else { at };
    all.push((273, strips, inline(lists, places[0].0 + start)));
    all.push((279, strips, inline(lists + 4 * strips, places[0].1)));
    all.sort_unstable();
    for (tag, count, value) in all {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(places.iter().flat_map(|(at, _)| (at + start).to_le_bytes()));
    bytes.extend(places.iter().flat_map(|(_, size)| size.to_le_bytes()));
    bytes.extend(pixels);
    let mut file = File::create(path).unwrap();
    file.write_all(&bytes).unwrap();
    file
}

fn entries(height: u32, compression: u32, lines_per_strip: u32) -> [(u16, u32); 6] {
    [
        (256, WIDTH as u32),
        (257, height),
        (258, 8),
        (259, compression),
        (262, 1),
        (278, lines_per_strip),
    ]
}

/// Levels of 512 pixels × 64 lines of level 7, compressed as PackBits.
fn packed() -> Vec<u8> {
    [0x81, 7].repeat(WIDTH * 64 / 128)
}

#[test]
fn strips_higher_than_an_image_may_be_are_read() {
    const LINES: u32 = 600_000;
    let folder = tempfile::tempdir().unwrap();
    let counted = |path: &Path, level: u8| {
        let mut source = open(path, PixelFormat::Mono8).unwrap();
        let mut lines = 0;
        while let Event::Lines(block) = source.next_event().unwrap() {
            assert!(block.pixels.iter().all(|&pixel| pixel == level));
            lines += block.pixels.len() / WIDTH;
        }
        assert_eq!(lines as u32, LINES);
    };
    // One strip of lines without compression; what is not written is 0.
    let plain = folder.path().join("plain.tif");
    let size = LINES * WIDTH as u32;
    let file = tiff(&plain, &entries(LINES, 1, LINES), &[(0, size)], &[]);
    file.set_len(1000 + u64::from(size)).unwrap();
    counted(&plain, 0);
    // Compressed strips of 64 lines, all of which lie at the same place.
    let compressed = folder.path().join("compressed.tif");
    let places = vec![(0, packed().len() as u32); LINES.div_ceil(64) as usize];
    tiff(&compressed, &entries(LINES, 32773, 64), &places, &packed());
    counted(&compressed, 7);
    // A PNG of 1 bit, which is spread over 8.
    let bilevel = folder.path().join("bilevel.png");
    let file = BufWriter::new(File::create(&bilevel).unwrap());
    let mut encoder = png::Encoder::new(file, WIDTH as u32, LINES);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().unwrap();
    let white = vec![0xff; WIDTH / 8 * LINES as usize];
    writer.write_image_data(&white).unwrap();
    writer.finish().unwrap();
    counted(&bilevel, 255);
}

#[test]
fn a_cut_tiff_gives_what_comes_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.tif");
    let image = grey(400);
    let size = (WIDTH * 400) as u32;
    let file = tiff(&path, &entries(400, 1, 400), &[(0, size)], image.as_raw());
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(&levels, image.as_raw());
    let whole = file.metadata().unwrap().len();
    file.set_len(whole - (100 * WIDTH) as u64 - 3).unwrap();
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert_eq!(levels, image.as_raw()[..299 * WIDTH]);
    let error = error.unwrap().to_string();
    assert!(
        error.contains("line 299") && error.contains("cut off"),
        "{error}"
    );

    let packed = packed();
    let places = [0, 1, 2].map(|strip| (strip * packed.len() as u32, packed.len() as u32));
    let file = tiff(&path, &entries(192, 32773, 64), &places, &packed.repeat(3));
    let whole = file.metadata().unwrap().len();
    file.set_len(whole - packed.len() as u64 - 5).unwrap();
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert_eq!(levels, vec![7; 64 * WIDTH]);
    let error = error.unwrap().to_string();
    assert!(error.contains("line 64"), "{error}");
}

#[test]
fn lines_that_the_directory_does_not_place_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.tif");
    let half = (WIDTH * 200) as u32;
    tiff(
        &path,
        &entries(400, 1, 400),
        &[(0, half)],
        &vec![5; WIDTH * 400],
    );
    let (levels, error) = read(&path, PixelFormat::Mono8);
    assert_eq!(levels.len(), 200 * WIDTH);
    assert!(error.unwrap().to_string().contains("line 200"));
}

#[test]
fn lines_too_long_for_a_camera_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.png");
    GrayImage::new(20_480, 2).save(&path).unwrap();
    let error = read(&path, PixelFormat::Mono8).1.unwrap().to_string();
    assert!(
        error.contains("20480") && error.contains("turn it"),
        "{error}"
    );
}

#[test]
fn jpeg_and_bmp_are_no_strips() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["strip.jpg", "strip.bmp"] {
        let path = folder.path().join(name);
        grey(20).save(&path).unwrap();
        let error = read(&path, PixelFormat::Mono8).1.unwrap().to_string();
        assert!(error.contains("PNG or TIFF"), "{error}");
    }
}
