#![allow(clippy::unwrap_used)]

use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::*;

fn noise(count: usize) -> Vec<u8> {
    let mut random = Pcg64::seed_from_u64(8);
    (0..count).map(|_| random.random_range(40..220)).collect()
}

fn changed(
    changes: &[Change],
    channels: usize,
    size: [usize; 2],
    view: [usize; 2],
    seed: u64,
) -> Vec<u8> {
    let levels = noise(channels * size[0] * size[1]);
    let tile = Tile {
        levels: &levels,
        channels,
        size,
    };
    apply(changes, tile, view, &mut Pcg64::seed_from_u64(seed)).unwrap()
}

/// Each change, so strong that it is seen.
fn strong() -> Vec<Change> {
    let always = 1.0;
    vec![
        Change::RandomCrop {
            area: (0.3, 0.6),
            aspect: Change::ASPECT,
        },
        Change::FixedCrop { share: 0.8 },
        Change::FlipHorizontal {
            probability: always,
        },
        Change::FlipVertical {
            probability: always,
        },
        Change::Brightness { strength: 0.2 },
        Change::Jitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.2,
            hue: 0.1,
            probability: always,
        },
        Change::Blur {
            sigma: (0.5, 2.0),
            probability: always,
        },
        Change::Solarise {
            threshold: 128,
            probability: always,
        },
        Change::Noise { deviation: 20.0 },
        Change::Illumination { strength: 0.8 },
    ]
}

/// Each change, so weak that nothing must be seen of it.
fn weak() -> Vec<Change> {
    let never = 0.0;
    vec![
        Change::RandomCrop {
            area: (1.0, 1.0),
            aspect: (1.0, 1.0),
        },
        Change::FixedCrop { share: 1.0 },
        Change::FlipHorizontal { probability: never },
        Change::FlipVertical { probability: never },
        Change::Brightness { strength: 0.0 },
        Change::Jitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            probability: 1.0,
        },
        Change::Blur {
            sigma: (0.0, 0.0),
            probability: 1.0,
        },
        Change::Solarise {
            threshold: 0,
            probability: never,
        },
        Change::Noise { deviation: 0.0 },
        Change::Illumination { strength: 0.0 },
    ]
}

#[test]
fn no_change_and_changes_of_strength_0_leave_a_tile_as_it_is() {
    for channels in [1, 3] {
        let tile = noise(channels * 24 * 24);
        let view = [24, 24];
        assert_eq!(changed(&[], channels, view, view, 1), tile);
        for change in weak() {
            change.check().unwrap();
            assert_eq!(
                changed(&[change], channels, view, view, 1),
                tile,
                "{change:?}"
            );
        }
        assert_eq!(changed(&weak(), channels, view, view, 1), tile);
    }
}

#[test]
fn each_change_follows_from_the_random_numbers_alone_and_gives_the_views_size() {
    for channels in [1, 3] {
        for change in strong() {
            change.check().unwrap();
            let view = |seed| changed(&[change], channels, [24, 20], [16, 12], seed);
            assert_eq!(view(1).len(), channels * 16 * 12, "{change:?}");
            assert_eq!(view(1), view(1), "{change:?}");
            assert_ne!(
                view(1),
                changed(&[], channels, [24, 20], [16, 12], 1),
                "{change:?}"
            );
        }
        let all = strong();
        assert_eq!(
            changed(&all, channels, [24, 20], [16, 12], 1),
            changed(&all, channels, [24, 20], [16, 12], 1)
        );
        assert_ne!(
            changed(&all, channels, [24, 20], [16, 12], 1),
            changed(&all, channels, [24, 20], [16, 12], 2)
        );
    }
}

#[test]
fn changes_with_a_probability_happen_that_often() {
    let flip = [Change::FlipHorizontal { probability: 0.3 }];
    let tile = noise(16);
    let flipped = (0..1000)
        .filter(|&seed| changed(&flip, 1, [4, 4], [4, 4], seed) != tile)
        .count();
    assert!((250..350).contains(&flipped), "{flipped}");
}

#[test]
fn flips_give_the_four_mirror_images() {
    let levels = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let tile = Tile {
        levels: &levels,
        channels: 1,
        size: [3, 3],
    };
    let flips = [
        Change::FlipHorizontal { probability: 0.5 },
        Change::FlipVertical { probability: 0.5 },
    ];
    let seen: std::collections::BTreeSet<_> = (0..40)
        .map(|seed| apply(&flips, tile, [3, 3], &mut Pcg64::seed_from_u64(seed)).unwrap())
        .collect();
    let expected = [
        [1, 2, 3, 4, 5, 6, 7, 8, 9],
        [3, 2, 1, 6, 5, 4, 9, 8, 7],
        [7, 8, 9, 4, 5, 6, 1, 2, 3],
        [9, 8, 7, 6, 5, 4, 3, 2, 1],
    ];
    assert_eq!(seen, expected.into_iter().map(Vec::from).collect());
}

/// Grey as colour must look like grey, whatever happens to it, except where
/// noise of each channel is its own.
#[test]
fn grey_tiles_and_their_colour_copies_change_alike() {
    let grey = noise(20 * 20);
    let colour = grey.repeat(3);
    for change in strong() {
        if matches!(change, Change::Noise { .. }) {
            continue;
        }
        let view = |levels, channels| {
            let tile = Tile {
                levels,
                channels,
                size: [20, 20],
            };
            apply(&[change], tile, [12, 12], &mut Pcg64::seed_from_u64(3)).unwrap()
        };
        assert_eq!(view(&colour, 3), view(&grey, 1).repeat(3), "{change:?}");
    }
}

#[test]
fn levels_that_are_no_tile_are_refused() {
    for (count, channels, size) in [
        (15, 1, [4, 4]),
        (32, 2, [4, 4]),
        (0, 1, [0, 4]),
        (16, 3, [4, 4]),
    ] {
        let levels = vec![0; count];
        let tile = Tile {
            levels: &levels,
            channels,
            size,
        };
        let random = &mut Pcg64::seed_from_u64(1);
        assert!(apply(&[], tile, [4, 4], random).is_err());
    }
}

#[test]
fn changes_are_read_back_from_a_configuration() {
    for change in strong() {
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
    let text = r#"{"random-crop":{"area":[0.4,1.0],"aspect":[0.75,1.5]}}"#;
    let crop = Change::RandomCrop {
        area: (0.4, 1.0),
        aspect: (0.75, 1.5),
    };
    assert_eq!(serde_json::to_string(&crop).unwrap(), text);
}
