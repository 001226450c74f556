#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::card::ElementType;

fn input(width: usize, height: usize, channels: usize) -> InputSpec {
    InputSpec {
        name: "x".into(),
        width,
        height,
        channels,
        element: ElementType::U8,
    }
}

fn levels(input: &InputSpec, view: ImageView<'_>) -> Vec<u8> {
    let mut preprocessor = Preprocessor::new(input, &Preprocessing::imagenet());
    let mut output = vec![0; preprocessor.output_len()];
    preprocessor.prepare_u8(view, &mut output).unwrap();
    output
}

/// Bytes that look random but are always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Pillow's algorithm written down pixel by pixel, with 64-bit sums.
fn reference(pixels: &[u8], source: (usize, usize), target: (usize, usize)) -> Vec<u8> {
    reference_of(Kernel::Bilinear, pixels, source, target)
}

fn reference_of(
    kernel: Kernel,
    pixels: &[u8],
    (width, height): (usize, usize),
    target: (usize, usize),
) -> Vec<u8> {
    let pass = |source: usize, target: usize, pixel: &dyn Fn(usize) -> u8, index: usize| -> u8 {
        let scale = source as f64 / target as f64;
        let widened = scale.max(1.0);
        let support = if kernel == Kernel::Bicubic { 2.0 } else { 1.0 } * widened;
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(source);
        let weight = |j: usize| {
            let x = ((j as f64 - centre + 0.5) * (1.0 / widened)).abs();
            match kernel {
                Kernel::Bilinear => (1.0 - x).max(0.0),
                Kernel::Bicubic if x < 1.0 => 1.0 + x * x * (-2.5 + 1.5 * x),
                Kernel::Bicubic if x < 2.0 => -0.5 * (-4.0 + x * (8.0 + x * (-5.0 + x))),
                Kernel::Bicubic => 0.0,
            }
        };
        let total: f64 = (first..end).map(weight).sum();
        let sum: i64 = (first..end)
            .map(|j| (weight(j) / total * 4_194_304.0).round() as i64 * i64::from(pixel(j)))
            .sum();
        ((sum + 2_097_152) >> 22).clamp(0, 255) as u8
    };
    let mut narrowed = vec![0; target.0 * height];
    for (place, value) in narrowed.iter_mut().enumerate() {
        let (y, x) = (place / target.0, place % target.0);
        let row = &pixels[y * width..][..width];
        *value = if width == target.0 {
            row[x]
        } else {
            pass(width, target.0, &|j| row[j], x)
        };
    }
    let mut output = vec![0; target.0 * target.1];
    for (place, value) in output.iter_mut().enumerate() {
        let (y, x) = (place / target.0, place % target.0);
        let column = |j: usize| narrowed[j * target.0 + x];
        *value = if height == target.1 {
            column(y)
        } else {
            pass(height, target.1, &column, y)
        };
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_size_equals_the_plain_algorithm(
        source in (1usize..200, 1usize..200), target in (1usize..90, 1usize..90),
    ) {
        let pixels = noise(source.0 * source.1);
        let view = ImageView::new(source.0, source.1, 1, source.0, &pixels).unwrap();
        prop_assert_eq!(levels(&input(target.0, target.1, 1), view), reference(&pixels, source, target));
        prop_assert_eq!(
            bicubic(source, target),
            reference_of(Kernel::Bicubic, &pixels, source, target)
        );
    }
}

/// Noise of one size, resized to another.
fn bicubic(source: (usize, usize), target: (usize, usize)) -> Vec<u8> {
    let pixels = noise(source.0 * source.1);
    let view = ImageView::new(source.0, source.1, 1, source.0, &pixels).unwrap();
    let mut output = vec![0; target.0 * target.1];
    Resizer::new(target.0, target.1, Kernel::Bicubic).resize(view, 0, &mut output);
    output
}

/// `Image.fromarray(noise).resize(target, Image.BICUBIC)` of Pillow 11.3; of
/// the larger ones the 64-bit FNV-1a hash.
#[test]
fn bicubic_is_that_of_pillow() {
    assert_eq!(
        bicubic((7, 5), (4, 3)),
        [79, 127, 82, 165, 106, 137, 133, 120, 84, 123, 117, 150]
    );
    assert_eq!(
        bicubic((5, 4), (6, 5)),
        [
            58, 80, 110, 164, 151, 0, 83, 158, 164, 91, 52, 131, 66, 134, 160, 130, 101, 117, 113,
            129, 128, 174, 192, 69, 255, 242, 129, 108, 171, 139
        ]
    );
    for (source, target, expected) in [
        ((200, 150), (224, 224), 0x6c31_dcc9_415d_1f39_u64),
        ((500, 131), (96, 96), 0x98d0_32e0_5ce4_4817),
        ((64, 64), (64, 40), 0x5348_a357_3969_a4af),
        ((30, 33_000), (50, 7), 0x6603_cd90_192c_d3b6),
    ] {
        let hash = bicubic(source, target)
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, level| {
                (hash ^ u64::from(level)).wrapping_mul(0x100_0000_01b3)
            });
        assert_eq!(hash, expected, "{source:?} to {target:?}");
    }
}

#[test]
fn images_with_a_very_long_side_equal_the_plain_algorithm() {
    for source in [
        (3, 40_000),
        (40_000, 3),
        (16_385, 2),
        (2, 16_384),
        (30, 33_000),
    ] {
        let pixels = noise(source.0 * source.1);
        let view = ImageView::new(source.0, source.1, 1, source.0, &pixels).unwrap();
        for target in [(5, 33), (30, 7)] {
            assert_eq!(
                levels(&input(target.0, target.1, 1), view),
                reference(&pixels, source, target),
                "{source:?} to {target:?}"
            );
        }
    }
    // A colour image, and a width that stays.
    let pixels = noise(20_000 * 2 * 3);
    let view = ImageView::new(20_000, 2, 3, 60_000, &pixels).unwrap();
    let resized = levels(&input(50, 2, 3), view);
    let blue: Vec<u8> = pixels.iter().skip(2).step_by(3).copied().collect();
    assert_eq!(resized[200..], reference(&blue, (20_000, 2), (50, 2)));
}

#[test]
fn a_tile_is_resized_out_of_a_wider_row() {
    let wide = noise(4096 * 64);
    let tile: Vec<u8> = (0..64)
        .flat_map(|y| wide[y * 4096 + 512..][..512].to_vec())
        .collect();
    let copied = ImageView::new(512, 64, 1, 512, &tile).unwrap();
    let borrowed = ImageView::new(512, 64, 1, 4096, &wide[512..]).unwrap();
    let input = input(224, 30, 1);
    assert_eq!(levels(&input, borrowed), levels(&input, copied));
}

#[test]
fn grey_is_replicated_and_colour_kept_apart() {
    let grey = noise(70 * 50);
    let view = ImageView::new(70, 50, 1, 70, &grey).unwrap();
    let one = levels(&input(32, 24, 1), view);
    assert_eq!(levels(&input(32, 24, 3), view), one.repeat(3));

    let replicated: Vec<u8> = grey.iter().flat_map(|level| [*level; 3]).collect();
    let view = ImageView::new(70, 50, 3, 210, &replicated).unwrap();
    assert_eq!(levels(&input(32, 24, 3), view), one.repeat(3));
    assert_eq!(levels(&input(32, 24, 1), view), one);

    let colour = noise(70 * 50 * 3);
    let view = ImageView::new(70, 50, 3, 210, &colour).unwrap();
    let planes: Vec<u8> = (0..3)
        .flat_map(|channel| {
            let plane: Vec<u8> = colour.iter().skip(channel).step_by(3).copied().collect();
            reference(&plane, (70, 50), (32, 24))
        })
        .collect();
    assert_eq!(levels(&input(32, 24, 3), view), planes);
}

#[test]
fn brightness_is_that_of_pillow() {
    // Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
    for (colour, level) in [
        ([255, 0, 0], 76),
        ([0, 255, 0], 150),
        ([0, 0, 255], 29),
        ([10, 200, 77], 129),
    ] {
        let view = ImageView::new(1, 1, 3, 3, &colour).unwrap();
        assert_eq!(levels(&input(1, 1, 1), view), [level]);
    }
}

#[test]
fn floats_are_those_of_torchvision() {
    let pixels: Vec<u8> = (0..=255).collect();
    let view = ImageView::new(16, 16, 1, 16, &pixels).unwrap();
    let mut preprocessor = Preprocessor::new(&input(16, 16, 3), &Preprocessing::imagenet());
    let mut output = vec![0.0; 3 * 256];
    preprocessor.prepare_f32(view, &mut output).unwrap();
    assert_eq!(output[0], (0.0 - 0.485_f32) / 0.229);
    assert_eq!(output[256 + 128], (128.0_f32 / 255.0 - 0.456) / 0.224);
    assert_eq!(output[767], (1.0_f32 - 0.406) / 0.225);
    // The same preprocessor serves another size.
    let view = ImageView::new(8, 8, 1, 8, &pixels).unwrap();
    preprocessor.prepare_f32(view, &mut output).unwrap();
    assert_eq!(output[0], (0.0 - 0.485_f32) / 0.229);
}

#[test]
fn buffers_and_views_that_do_not_fit_are_refused() {
    let pixels = [0; 100];
    let view = ImageView::new(10, 10, 1, 10, &pixels).unwrap();
    let mut preprocessor = Preprocessor::new(&input(4, 4, 3), &Preprocessing::imagenet());
    let error = preprocessor.prepare_u8(view, &mut [0; 47]).unwrap_err();
    assert_eq!(
        error,
        PreprocessError {
            expected: 48,
            got: 47
        }
    );
    assert!(preprocessor.prepare_f32(view, &mut [0.0; 49]).is_err());
    for (width, height, channels, stride) in [
        (0, 10, 1, 10),
        (10, 0, 1, 10),
        (10, 10, 2, 20),
        (10, 10, 1, 9),
        (10, 11, 1, 10),
        (10, 10, 3, 30),
        (usize::MAX, 2, 3, 30),
        (10, usize::MAX, 1, 10),
    ] {
        assert!(ImageView::new(width, height, channels, stride, &pixels).is_err());
    }
}

mod files;
