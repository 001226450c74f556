//! How many tiles of 512 x 512 grey pixels are resized to 224 x 224 in a
//! second, on one core.
//!
//! ```sh
//! cargo bench -p millsight-export --bench resize
//! ```
//!
//! Ours and `fast_image_resize` run one after the other in the same process;
//! Pillow is measured by `benches/resize_pillow.py` where `python3` (or the
//! program that `MILLSIGHT_PYTHON` names) has it. Before anything is measured
//! it is counted how many pixels of `fast_image_resize` differ from ours,
//! which equal Pillow's.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use millsight_export::card::{ElementType, InputSpec, Preprocessing};
use millsight_export::preprocess::{ImageView, Preprocessor};

const SOURCE: usize = 512;
const TARGET: usize = 224;
/// Pixels of a line, of which the tile is a part.
const LINE: usize = 4096;

/// A row of tiles: a slow wave with noise, as a rolled surface has it.
fn row_of_tiles() -> Vec<u8> {
    let mut state = 1u32;
    (0..SOURCE * LINE)
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wave = ((index % LINE) as f32 / 40.0).sin() * 60.0;
            (128.0 + wave + (state >> 26) as f32) as u8
        })
        .collect()
}

fn preprocessor(element: ElementType, channels: usize) -> Preprocessor {
    let input = InputSpec {
        name: "tiles".into(),
        width: TARGET,
        height: TARGET,
        channels,
        element,
    };
    Preprocessor::new(&input, &Preprocessing::imagenet())
}

fn resize(criterion: &mut Criterion) {
    let row = row_of_tiles();
    let tile = ImageView::new(SOURCE, SOURCE, 1, LINE, &row[SOURCE..]).unwrap();
    let copied: Vec<u8> = (0..SOURCE).flat_map(|y| tile.row(y).to_vec()).collect();

    let mut ours = preprocessor(ElementType::U8, 1);
    let mut levels = vec![0; ours.output_len()];
    ours.prepare_u8(tile, &mut levels).unwrap();

    let source = ImageRef::new(SOURCE as u32, SOURCE as u32, &copied, PixelType::U8).unwrap();
    let mut theirs = Image::new(TARGET as u32, TARGET as u32, PixelType::U8);
    let mut resizer = Resizer::new();
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false);
    resizer.resize(&source, &mut theirs, &options).unwrap();
    let differing = levels
        .iter()
        .zip(theirs.buffer())
        .filter(|(a, b)| a != b)
        .count();
    println!(
        "fast_image_resize differs from ours in {differing} of {} pixels",
        levels.len()
    );

    let mut group = criterion.benchmark_group("512x512 to 224x224, grey");
    group.throughput(Throughput::Elements(1));
    group.bench_function("millsight", |bencher| {
        bencher.iter(|| ours.prepare_u8(black_box(tile), black_box(&mut levels)));
    });
    group.bench_function("fast_image_resize", |bencher| {
        bencher.iter(|| resizer.resize(black_box(&source), black_box(&mut theirs), &options));
    });
    let mut normalised = preprocessor(ElementType::F32, 3);
    let mut values = vec![0.0; normalised.output_len()];
    group.bench_function("millsight, normalised to three float channels", |bencher| {
        bencher.iter(|| normalised.prepare_f32(black_box(tile), black_box(&mut values)));
    });
    group.finish();
    pillow();
}

/// Lets Pillow measure itself, where there is one.
fn pillow() {
    let python = std::env::var("MILLSIGHT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/resize_pillow.py");
    match Command::new(&python).arg(script).output() {
        Ok(output) if output.status.success() => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => println!("Pillow was not measured: {python} has none (set MILLSIGHT_PYTHON)"),
    }
}

criterion_group!(benches, resize);
criterion_main!(benches);
