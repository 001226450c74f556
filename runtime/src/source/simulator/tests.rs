#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

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

pub(super) fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
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
