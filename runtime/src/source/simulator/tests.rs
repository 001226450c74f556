#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use super::truth::{MINIMUM_VISIBLE, TileCounts};
use super::*;

fn settings(seed: u64) -> SimulatorSettings {
    SimulatorSettings {
        seed,
        pixels_per_line: 2_048,
        ..SimulatorSettings::default()
    }
}

/// Many defects and no confounders.
fn busy(seed: u64) -> SimulatorSettings {
    SimulatorSettings {
        class_shares: ClassShares::new(0.6, 0.1, 0.1, 0.1, 0.1),
        confounders_per_tile: 0.0,
        ..settings(seed)
    }
}

fn lines(settings: &SimulatorSettings, first: u64, count: usize) -> Vec<u8> {
    let mut out = vec![0; count * settings.pixels_per_line];
    let mut strip = Strip::new(settings.clone()).unwrap();
    assert_eq!(strip.render_lines(first, &mut out), count);
    out
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

#[test]
fn bytes_do_not_depend_on_block_size_or_order() {
    for material in Material::ALL {
        let settings = SimulatorSettings {
            material,
            ..busy(11)
        };
        let pixels = settings.pixels_per_line;
        let whole = lines(&settings, 0, 1_200);
        let mut strip = Strip::new(settings.clone()).unwrap();
        let mut pieced = Vec::new();
        for count in [1, 2, 61, 448, 7, 681] {
            let mut block = vec![0; count * pixels];
            assert_eq!(strip.next_lines(&mut block), count);
            pieced.extend(block);
        }
        assert!(whole == pieced, "{material:?}: blocks differ from one read");
        let mut again = vec![0; 100 * pixels];
        strip.render_lines(450, &mut again);
        assert!(again == whole[450 * pixels..550 * pixels]);
        assert!(lines(&settings, 450, 100) == again);
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let one = with_threads(1, || lines(&settings(5), 300, 400));
    let four = with_threads(4, || lines(&settings(5), 300, 400));
    assert!(one == four);
}

#[test]
fn another_seed_draws_another_piece() {
    assert!(lines(&settings(1), 0, 64) != lines(&settings(2), 0, 64));
}

#[test]
fn class_shares_hold_per_tile() {
    for material in Material::ALL {
        let settings = SimulatorSettings {
            class_shares: ClassShares::new(0.8, 0.04, 0.05, 0.06, 0.05),
            confounders_per_tile: 0.0,
            material,
            ..SimulatorSettings::default()
        };
        let wanted = settings.class_shares.normalised();
        let mut strip = Strip::new(settings).unwrap();
        let mut seen = BTreeMap::new();
        let mut tiles = 0.0;
        for row in 0..400 {
            for column in 0..8 {
                let label = strip.tile_label(row, column);
                if label != TileLabel::Background {
                    tiles += 1.0;
                    *seen.entry(label.name()).or_insert(0.0) += 1.0;
                }
            }
        }
        assert!(tiles > 400.0);
        for (name, wanted) in CLASS_NAMES.iter().zip(wanted) {
            let share = seen.get(name).copied().unwrap_or(0.0) / tiles;
            // Three standard errors of a proportion, for marks that come in runs of two tiles.
            let error = 3.0 * (2.0 * wanted * (1.0 - wanted) / tiles).sqrt();
            assert!(
                (share - wanted).abs() < error,
                "{material:?} {name}: {share:.4} instead of {wanted:.4} ± {error:.4}"
            );
        }
    }
}

#[test]
fn features_stand_where_the_truth_says_and_cross_tile_borders() {
    let with = busy(3);
    let without = SimulatorSettings {
        class_shares: ClassShares::new(1.0, 0.0, 0.0, 0.0, 0.0),
        ..with.clone()
    };
    let (count, pixels) = (10 * TILE, with.pixels_per_line);
    let (marked, clean) = (lines(&with, 0, count), lines(&without, 0, count));
    let defects = Strip::new(with).unwrap().defects_until(count as u64);
    let differs = |line: usize, pixel: usize| {
        let at = line * pixels + pixel;
        marked[at].abs_diff(clean[at]) >= 2
    };
    let mut crossing = 0;
    for defect in defects
        .iter()
        .filter(|defect| defect.class == DefectClass::Overfill)
    {
        let (first, last) = (defect.first_line as usize, defect.last_line as usize);
        for border in (TILE..count).step_by(TILE) {
            // Well inside the fin, its width on both sides of the border is alike.
            if defect.severity > 0.4 && border > first + 150 && border + 150 < last {
                let columns = defect.first_pixel..=defect.last_pixel;
                let above = columns.clone().filter(|&x| differs(border - 1, x)).count();
                let below = columns.filter(|&x| differs(border, x)).count();
                assert!(
                    above > 2 && below > 2,
                    "broken at line {border}: {defect:?}"
                );
                assert!(above.abs_diff(below) < 12);
                crossing += 1;
            }
        }
    }
    assert!(
        crossing > 0,
        "no overfill crosses a border here; take another seed"
    );
    // Far from every defect, nothing differs.
    for line in (0..count).step_by(11) {
        for pixel in 0..pixels {
            if differs(line, pixel) {
                let margin = 120;
                assert!(
                    defects.iter().any(|defect| {
                        line as u64 + margin >= defect.first_line
                            && line as u64 <= defect.last_line + margin
                            && pixel as u64 + margin >= defect.first_pixel as u64
                            && pixel as u64 <= defect.last_pixel as u64 + margin
                    }),
                    "line {line}, pixel {pixel} differs without a defect"
                );
            }
        }
    }
}

#[test]
fn labels_follow_the_pixels_of_the_truth() {
    let settings = busy(8);
    let mut strip = Strip::new(settings.clone()).unwrap();
    let defects = strip.defects_until(20 * TILE as u64);
    assert!(defects.len() > 10);
    let mut labelled = 0;
    for row in 0..20u64 {
        for column in 0..settings.pixels_per_line / TILE {
            let TileLabel::Defect(class) = strip.tile_label(row, column) else {
                continue;
            };
            labelled += 1;
            let (top, left) = (row * TILE as u64, column * TILE);
            assert!(defects.iter().any(|defect| defect.class == class
                && defect.first_line < top + TILE as u64
                && defect.last_line >= top
                && defect.first_pixel < left + TILE
                && defect.last_pixel >= left));
        }
    }
    assert!(labelled > 10);
}

#[test]
fn outlines_lie_inside_image_and_box() {
    for material in Material::ALL {
        let settings = SimulatorSettings {
            material,
            metres: Some(2.0),
            ..busy(21)
        };
        let mut strip = Strip::new(settings.clone()).unwrap();
        let total = strip.total_lines().unwrap();
        let truth = strip.truth(u64::MAX);
        assert_eq!(truth.lines, total);
        assert!(!truth.defects.is_empty());
        for defect in &truth.defects {
            assert!(defect.last_line < total && defect.first_line <= defect.last_line);
            assert!(defect.last_pixel < settings.pixels_per_line);
            assert!((0.0..=1.0).contains(&defect.severity));
            assert!(defect.outline.len() >= 2);
            for (line, pixel) in &defect.outline {
                assert!((defect.first_line..=defect.last_line).contains(line));
                assert!((defect.first_pixel..=defect.last_pixel).contains(pixel));
            }
        }
        let json = serde_json::to_string(&truth).unwrap();
        assert_eq!(serde_json::from_str::<StripTruth>(&json).unwrap(), truth);
    }
}

#[test]
fn a_limited_piece_ends() {
    let settings = SimulatorSettings {
        metres: Some(0.25),
        lines_per_metre: 4_000.0,
        ..settings(4)
    };
    let mut strip = Strip::new(settings).unwrap();
    let mut block = vec![7; 700 * 2_048];
    assert_eq!(strip.next_lines(&mut block), 700);
    assert_eq!(strip.next_lines(&mut block), 300);
    assert_eq!(strip.next_lines(&mut block), 0);
    assert_eq!(strip.position(), 1_000);
    assert_eq!(strip.tile_label(2, 1), TileLabel::Background);
}

#[test]
fn forgetting_keeps_what_is_still_to_come() {
    let settings = busy(13);
    let pixels = settings.pixels_per_line;
    let whole = lines(&settings, 0, 2_400);
    let mut strip = Strip::new(settings).unwrap();
    let mut block = vec![0; 1_200 * pixels];
    strip.next_lines(&mut block);
    let kept: Vec<Defect> = strip
        .defects_until(2_400)
        .into_iter()
        .filter(|defect| defect.last_line >= 1_200)
        .collect();
    strip.forget_before(1_200);
    assert_eq!(strip.defects_until(2_400), kept);
    strip.next_lines(&mut block);
    assert!(block == whole[1_200 * pixels..]);
}

#[test]
fn a_tile_that_is_merely_touched_carries_no_label() {
    let mut tile = TileCounts::default();
    tile.add(DefectClass::Cracks, 3, 900);
    assert_eq!(tile.class(), None);
    tile.add(DefectClass::Cracks, MINIMUM_VISIBLE - 3, 900);
    assert_eq!(tile.class(), Some(DefectClass::Cracks));

    let mut small = TileCounts::default();
    small.add(DefectClass::ScrapMark, 59, 120);
    assert_eq!(small.class(), None);
    let mut small = TileCounts::default();
    small.add(DefectClass::ScrapMark, 60, 120);
    assert_eq!(small.class(), Some(DefectClass::ScrapMark));
}

#[test]
fn the_class_with_most_visible_pixels_labels_a_tile() {
    let mut tile = TileCounts::default();
    tile.add(DefectClass::ScrapMark, 500, 500);
    tile.add(DefectClass::Overfill, 400, 4_000);
    assert_eq!(tile.class(), Some(DefectClass::ScrapMark));
    tile.add(DefectClass::Overfill, 100, 4_000);
    assert_eq!(tile.class(), Some(DefectClass::Overfill));
    tile.add(DefectClass::Cracks, 500, 600);
    assert_eq!(tile.class(), Some(DefectClass::Cracks));
}

#[test]
fn unusable_settings_are_named() {
    let broken: [(&str, SimulatorSettings); 6] = [
        (
            "pixels_per_line",
            SimulatorSettings {
                pixels_per_line: 1_000,
                ..settings(1)
            },
        ),
        (
            "lines_per_metre",
            SimulatorSettings {
                lines_per_metre: 0.0,
                ..settings(1)
            },
        ),
        (
            "millimetres_per_pixel",
            SimulatorSettings {
                millimetres_per_pixel: f64::NAN,
                ..settings(1)
            },
        ),
        (
            "line_rate_hz",
            SimulatorSettings {
                line_rate_hz: -1.0,
                ..settings(1)
            },
        ),
        (
            "metres",
            SimulatorSettings {
                metres: Some(0.0),
                ..settings(1)
            },
        ),
        (
            "class_shares.overfill",
            SimulatorSettings {
                class_shares: ClassShares::new(1.0, 0.0, 0.0, -0.1, 0.0),
                ..settings(1)
            },
        ),
    ];
    for (field, settings) in broken {
        let error = Strip::new(settings).err().unwrap().to_string();
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    assert!(
        ClassShares::new(0.0, 0.0, 0.0, 0.0, 0.0)
            .validate()
            .is_err()
    );
    let plant: f64 = ClassShares::PLANT.normalised().iter().sum();
    assert!((plant - 1.0).abs() < 1e-12);
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for class in CLASS_NAMES {
        for entry in fs::read_dir(folder.join(class)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            found.insert(format!("{class}/{name}"), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn tiles_do_not_depend_on_threads_or_count() {
    let settings = TileSetSettings {
        seed: 9,
        class_shares: ClassShares::BALANCED,
        ..TileSetSettings::default()
    };
    let (many, few) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let summary = with_threads(4, || {
        write_tiles(many.path(), 40, &settings, &|_| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        })
    })
    .unwrap();
    assert_eq!((summary.tiles, summary.pieces), (40, 5));
    assert_eq!(calls.into_inner(), 40);
    with_threads(1, || write_tiles(few.path(), 27, &settings, &|_| ())).unwrap();
    let (many_files, few_files) = (files(many.path()), files(few.path()));
    assert_eq!((many_files.len(), few_files.len()), (40, 27));
    for (name, bytes) in &few_files {
        assert!(many_files[name] == *bytes, "{name} differs");
    }

    let truth = fs::read_to_string(many.path().join("truth.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    let tiles = truth["tiles"].as_array().unwrap();
    let named: HashSet<&str> = tiles
        .iter()
        .map(|tile| tile["file"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 40);
    for tile in tiles {
        let tile: TileTruth = serde_json::from_value(tile.clone()).unwrap();
        let image = image::load_from_memory(&many_files[&tile.file]).unwrap();
        assert_eq!((image.width(), image.height()), (512, 512));
        assert_eq!(image.color(), image::ColorType::L8);
        assert_eq!(tile.defect.is_some(), tile.class != "no_defect");
        let piece = tile
            .file
            .split(['/', '_'])
            .find(|part| part.ends_with(|c: char| c.is_ascii_digit()));
        assert_eq!(piece, Some(tile.piece.as_str()));
    }
    let balanced = summary
        .classes
        .values()
        .all(|&count| (2..=16).contains(&count));
    assert!(balanced, "{:?}", summary.classes);
}

#[test]
fn smaller_images_are_parts_of_the_tiles_that_show_the_defect() {
    let whole = TileSetSettings {
        seed: 4,
        class_shares: ClassShares::BALANCED,
        ..TileSetSettings::default()
    };
    let part = TileSetSettings {
        side: 192,
        ..whole.clone()
    };
    let (tiles, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tiles(tiles.path(), 24, &whole, &|_| ()).unwrap();
    write_tiles(parts.path(), 24, &part, &|_| ()).unwrap();
    let truth = fs::read(parts.path().join("truth.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
    for tile in truth["tiles"].as_array().unwrap() {
        let tile: TileTruth = serde_json::from_value(tile.clone()).unwrap();
        let open = |folder: &Path| image::open(folder.join(&tile.file)).unwrap().into_luma8();
        let (image, whole) = (open(parts.path()), open(tiles.path()));
        assert_eq!((image.width(), image.height()), (192, 192));
        let (line, pixel) = tile.offset;
        let cut = image::imageops::crop_imm(&whole, pixel as u32, line as u32, 192, 192);
        assert!(
            cut.to_image() == image,
            "{} is no part of its tile",
            tile.file
        );
        if let Some(defect) = tile.defect {
            let first_line = tile.row * 512 + line as u64;
            let first_pixel = tile.column * 512 + pixel;
            assert!(defect.first_line < first_line + 192 && first_line <= defect.last_line);
            assert!(defect.first_pixel < first_pixel + 192 && first_pixel <= defect.last_pixel);
        }
    }
    let error = TileSetSettings { side: 513, ..whole }
        .validate()
        .unwrap_err();
    assert!(error.to_string().contains("`side` is 513"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("occupied");
    fs::write(&file, b"x").unwrap();
    let error = write_tiles(&file, 1, &TileSetSettings::default(), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("occupied"), "{error}");
}
