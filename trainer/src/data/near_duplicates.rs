//! Tiles that show nearly the same: copies that were compressed again,
//! resized or brightened, and neighbouring exposures of one place.
//!
//! A perceptual hash of a whole picture does not tell clean steel from clean
//! steel: under one lamp all tiles share the same soft shading, the same edge
//! of the bar and the same streaks along the rolling direction. What tells them
//! apart is faint texture. So a [`Fingerprint`] is made of texture alone:
//!
//! 1. a thumbnail of 32 x 32 cells, each the mean of its pixels;
//! 2. in each block of 8 x 8 cells, the means of its rows and of its columns are
//!    taken out (two-way centring), and with them shading and streaks;
//! 3. what is left, scaled to a norm of 1, is compared block by block by the
//!    normalised correlation, and the median over the blocks is the similarity
//!    of two tiles: an edge that many tiles share fills only some blocks.
//!
//! The signs of 16 x 16 sums of these cells are a hash of 256 bits, by which
//! most pairs are passed over without a correlation. For two signals with
//! correlation r, signs differ in a share arccos(r)/π (Sheppard, 1899).

use std::path::Path;

use millsight_export::preprocess::{ImageView, brightness, load_image};
use rayon::prelude::*;

use super::table::{Row, Split};

/// The similarity from which two tiles count as near-duplicates.
///
/// Copies that were compressed again or resized come out above 0.9, second
/// exposures of one place at 0.6 to 0.9, and strangers below 0.5.
pub const SIMILARITY: f64 = 0.8;

/// The least similarity that can be asked for: below it the hashes of a pair
/// may differ too much for it to be compared (`FARTHEST`).
pub const LEAST_SIMILARITY: f64 = 0.65;

/// Cells along a side of the thumbnail.
const SIDE: usize = 32;
/// Cells along a side of a block.
const BLOCK: usize = 8;
/// Cells of a block.
const CELLS: usize = BLOCK * BLOCK;
/// Blocks of a thumbnail.
const BLOCKS: usize = (SIDE / BLOCK) * (SIDE / BLOCK);
/// A block whose texture deviates less than this, in levels of 255, is flat:
/// background, saturated light.
const FLAT: f64 = 0.05;
/// Tiles with fewer blocks of texture are not compared.
const FEWEST_BLOCKS: usize = 4;
/// Scale of a cell of a normalised block in whole numbers.
const SCALE: f64 = 127.0;
/// Hashes that differ in more of their 256 bits are passed over. Tiles with a
/// correlation of 0.5 differ in 85 of them, strangers in 128 ± 8.
const FARTHEST: u32 = 100;

/// The texture of a tile; 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: [u64; 4],
    /// Cells block by block, each block with a norm of `SCALE`, or of 0 where
    /// it is flat.
    cells: Box<[i8]>,
}

impl Fingerprint {
    /// The fingerprint of an image of any size.
    pub fn of(image: ImageView<'_>) -> Self {
        let thumbnail = thumbnail(image);
        let mut residuals = [[0f64; SIDE]; SIDE];
        let mut cells = Vec::with_capacity(SIDE * SIDE);
        for top in (0..SIDE).step_by(BLOCK) {
            for left in (0..SIDE).step_by(BLOCK) {
                let block = centred(&thumbnail, top, left);
                let norm = block.iter().map(|cell| cell * cell).sum::<f64>().sqrt();
                let flat = norm < FLAT * (CELLS as f64).sqrt();
                for (index, cell) in block.iter().enumerate() {
                    let cell = if flat { 0.0 } else { cell / norm };
                    residuals[top + index / BLOCK][left + index % BLOCK] = cell;
                    cells.push((cell * SCALE).round() as i8);
                }
            }
        }
        let mut hash = [0u64; 4];
        for bit in 0..SIDE * SIDE / 4 {
            let (y, x) = (bit / (SIDE / 2) * 2, bit % (SIDE / 2) * 2);
            let sum = residuals[y][x]
                + residuals[y][x + 1]
                + residuals[y + 1][x]
                + residuals[y + 1][x + 1];
            hash[bit / 64] |= u64::from(sum > 0.0) << (bit % 64);
        }
        Self {
            hash,
            cells: cells.into_boxed_slice(),
        }
    }

    /// How alike the textures of two tiles are: -1 to 1, where equal ones have
    /// 1 and strangers about 0. 0 where there is too little texture to tell.
    pub fn similarity(&self, other: &Self) -> f64 {
        let mut correlations = Vec::with_capacity(BLOCKS);
        for (own, other) in self
            .cells
            .chunks_exact(CELLS)
            .zip(other.cells.chunks_exact(CELLS))
        {
            let [product, norm, other_norm] =
                [(own, other), (own, own), (other, other)].map(|(a, b)| dot(a, b));
            if norm > 0 || other_norm > 0 {
                // Texture on one side only is no likeness.
                let norms = f64::from(norm) * f64::from(other_norm);
                let correlation = if norms > 0.0 {
                    f64::from(product) / norms.sqrt()
                } else {
                    0.0
                };
                correlations.push(correlation);
            }
        }
        if correlations.len() < FEWEST_BLOCKS {
            return 0.0;
        }
        correlations.sort_by(f64::total_cmp);
        correlations[(correlations.len() - 1) / 2]
    }

    fn distance(&self, other: &Self) -> u32 {
        let bits = self.hash.iter().zip(&other.hash);
        bits.map(|(own, other)| (own ^ other).count_ones()).sum()
    }
}

/// Means of the brightness over 32 x 32 cells of about the same size.
fn thumbnail(image: ImageView<'_>) -> [[f64; SIDE]; SIDE] {
    let bounds = |cell: usize, length: usize| {
        let first = cell * length / SIDE;
        first..((cell + 1) * length / SIDE).max(first + 1)
    };
    let columns: [_; SIDE] = std::array::from_fn(|x| bounds(x, image.width()));
    std::array::from_fn(|y| {
        let rows = bounds(y, image.height());
        let mut sums = [0u64; SIDE];
        for row in rows.clone() {
            let row = image.row(row);
            for (sum, columns) in sums.iter_mut().zip(&columns) {
                *sum += match image.channels() {
                    1 => row[columns.clone()]
                        .iter()
                        .copied()
                        .map(u64::from)
                        .sum::<u64>(),
                    _ => row[columns.start * 3..columns.end * 3]
                        .chunks_exact(3)
                        .map(|pixel| u64::from(brightness([pixel[0], pixel[1], pixel[2]])))
                        .sum(),
                };
            }
        }
        std::array::from_fn(|x| sums[x] as f64 / (rows.len() * columns[x].len()) as f64)
    })
}

/// One block less the means of its rows and of its columns, row by row.
fn centred(thumbnail: &[[f64; SIDE]; SIDE], top: usize, left: usize) -> [f64; CELLS] {
    let cell = |y: usize, x: usize| thumbnail[top + y][left + x];
    let side = BLOCK as f64;
    let rows: [f64; BLOCK] =
        std::array::from_fn(|y| (0..BLOCK).map(|x| cell(y, x)).sum::<f64>() / side);
    let columns: [f64; BLOCK] =
        std::array::from_fn(|x| (0..BLOCK).map(|y| cell(y, x)).sum::<f64>() / side);
    let mean = rows.iter().sum::<f64>() / side;
    std::array::from_fn(|index| {
        let (y, x) = (index / BLOCK, index % BLOCK);
        cell(y, x) - rows[y] - columns[x] + mean
    })
}

fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| i32::from(a) * i32::from(b))
        .sum()
}

/// The fingerprint of each tile of a table, none where its file cannot be
/// decoded; `root` is the folder to which the paths are relative. `done` is
/// called after each file.
pub fn fingerprints(
    rows: &[Row],
    root: &Path,
    threads: &rayon::ThreadPool,
    done: impl Fn() + Sync,
) -> Vec<Option<Fingerprint>> {
    let read = |row: &Row| {
        let image = load_image(&root.join(&row.path)).ok();
        done();
        image.map(|image| Fingerprint::of(image.view()))
    };
    threads.install(|| rows.par_iter().map(read).collect())
}

/// What a tile was found to be nearly equal to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness {
    /// Number of the most similar tile of an earlier part.
    pub to: usize,
    /// Their similarity, 0 to 1.
    pub similarity: f64,
    /// How many tiles of earlier parts are near-duplicates, this one included.
    pub count: usize,
}

/// For each tile, whether tiles of an earlier part are nearly equal to it; the
/// parts are in the order train, val, test.
///
/// Tiles without a fingerprint or a part are left out. Every pair across parts
/// is looked at once: time grows with the square of the number of tiles, some
/// 5 s on one core for 30,000 in the usual shares. Neither the number of
/// threads nor their timing changes the result.
pub fn across_splits(
    tiles: &[(Option<&Fingerprint>, Option<Split>)],
    similarity: f64,
    threads: &rayon::ThreadPool,
) -> Vec<Option<Likeness>> {
    let known: Vec<(usize, &Fingerprint, Split)> = tiles
        .iter()
        .enumerate()
        .filter_map(|(number, &(fingerprint, split))| Some((number, fingerprint?, split?)))
        .collect();
    let of_tile = |&(fingerprint, split): &(Option<&Fingerprint>, Option<Split>)| {
        let (own, part) = (fingerprint?, split?);
        let mut found: Option<Likeness> = None;
        for &(number, other, _) in known.iter().filter(|(_, _, other)| *other < part) {
            if own.distance(other) > FARTHEST {
                continue;
            }
            let value = own.similarity(other);
            if value < similarity {
                continue;
            }
            let (count, best) = found.map_or((0, None), |found| (found.count, Some(found)));
            let better = best.filter(|best| best.similarity >= value);
            found = Some(Likeness {
                to: better.map_or(number, |best| best.to),
                similarity: better.map_or(value, |best| best.similarity),
                count: count + 1,
            });
        }
        found
    };
    threads.install(|| tiles.par_iter().map(of_tile).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use millsight_export::card::{ElementType, InputSpec, Preprocessing};
    use millsight_export::preprocess::Preprocessor;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Clean steel: shading from one lamp, streaks along the bar, a black
    /// background beside it, and noise of its own.
    fn steel(seed: u64, side: usize) -> Vec<u8> {
        let mut random = Pcg64::seed_from_u64(seed);
        let noise: Vec<f64> = (0..64 * 64)
            .map(|_| random.random_range(-12.0..12.0))
            .collect();
        let pixel = |index: usize| {
            let (y, x) = (index / side, index % side);
            if x < side / 8 {
                return 3;
            }
            let across = x as f64 / side as f64;
            let shading = 120.0 + 60.0 * (across * 3.0).sin() + 20.0 * y as f64 / side as f64;
            let streak = if (x * 40 / side).is_multiple_of(3) {
                15.0
            } else {
                0.0
            };
            let texture = noise[y * 64 / side * 64 + x * 64 / side];
            (shading + streak + texture) as u8
        };
        (0..side * side).map(pixel).collect()
    }

    fn fingerprint(pixels: &[u8], side: usize) -> Fingerprint {
        Fingerprint::of(ImageView::new(side, side, 1, side, pixels).unwrap())
    }

    #[test]
    fn clean_tiles_under_one_lamp_are_strangers() {
        let tiles: Vec<Fingerprint> = (0..12)
            .map(|seed| fingerprint(&steel(seed, 128), 128))
            .collect();
        for (number, tile) in tiles.iter().enumerate() {
            assert_eq!(tile.similarity(tile), 1.0);
            for other in &tiles[..number] {
                assert!(tile.similarity(other) < 0.4, "{}", tile.similarity(other));
            }
        }
    }

    #[test]
    fn copies_stay_alike_when_brightened_resized_or_compressed() {
        let original = steel(5, 256);
        let own = fingerprint(&original, 256);
        let brightened: Vec<u8> = original
            .iter()
            .map(|&level| (f64::from(level) * 1.15 + 5.0).min(255.0) as u8)
            .collect();
        let mut preprocessor = Preprocessor::new(
            &InputSpec {
                name: String::new(),
                width: 200,
                height: 200,
                channels: 1,
                element: ElementType::U8,
            },
            &Preprocessing::imagenet(),
        );
        let mut smaller = vec![0; 200 * 200];
        let view = ImageView::new(256, 256, 1, 256, &original).unwrap();
        preprocessor.prepare_u8(view, &mut smaller).unwrap();
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 60)
            .encode(&original, 256, 256, image::ExtendedColorType::L8)
            .unwrap();
        let compressed = image::load_from_memory(&jpeg).unwrap().into_luma8();
        for (name, copy) in [
            ("brightened", fingerprint(&brightened, 256)),
            ("smaller", fingerprint(&smaller, 200)),
            ("compressed", fingerprint(compressed.as_raw(), 256)),
        ] {
            let similarity = own.similarity(&copy);
            assert!(similarity > 0.9, "{name}: {similarity}");
            assert!(own.distance(&copy) <= FARTHEST / 2, "{name}");
        }
    }

    #[test]
    fn tiles_without_texture_are_not_compared() {
        let black = fingerprint(&[0; 64 * 64], 64);
        assert_eq!(black.similarity(&black), 0.0);
        assert_eq!(black.similarity(&fingerprint(&steel(1, 64), 64)), 0.0);
        // A tile of one pixel is one level.
        assert_eq!(fingerprint(&[9], 1).similarity(&black), 0.0);
    }

    #[test]
    fn a_pair_is_told_of_the_tile_in_the_later_part_alone() {
        let tiles: Vec<Fingerprint> = [1, 2, 1, 1, 3, 2, 1]
            .into_iter()
            .map(|seed| fingerprint(&steel(seed, 64), 64))
            .collect();
        let splits = [
            Some(Split::Train),
            Some(Split::Test),
            Some(Split::Train),
            Some(Split::Val),
            Some(Split::Test),
            None,
            Some(Split::Test),
        ];
        let tiles: Vec<_> = tiles.iter().map(Some).zip(splits).collect();
        let likeness = |to, count| {
            Some(Likeness {
                to,
                similarity: 1.0,
                count,
            })
        };
        let expected = [None, None, None, likeness(0, 2), None, None, likeness(0, 3)];
        for threads in [1, 3] {
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            assert_eq!(across_splits(&tiles, SIMILARITY, &threads), expected);
        }
    }
}
