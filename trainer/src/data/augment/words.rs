//! How changes are spelt on the command line, for example
//! `flips,random-crop:0.4-1,noise:8`.
//!
//! | word | strength | without it |
//! |---|---|---|
//! | `flips` | probability of each direction | 0.5 |
//! | `flip-horizontal`, `flip-vertical` | probability | 0.5 |
//! | `random-crop` | share of the area, `LEAST-LARGEST` or `LEAST` | 0.4-1 |
//! | `fixed-crop` | share of the side | 0.875 |
//! | `brightness` | shift as a share of white, half the change of contrast | 0.1 |
//! | `jitter` | of brightness and contrast; saturation has 1/2, hue 1/4 of it | 0.4 |
//! | `blur` | largest standard deviation in pixels | 2 |
//! | `solarise` | threshold | 128 |
//! | `noise` | largest standard deviation in levels of 255 | 4 |
//! | `illumination` | logarithm of the largest drift | 0.5 |
//!
//! The strengths of `jitter`, and the probabilities of `jitter` (0.8), `blur`
//! (0.5) and `solarise` (0.2), are those of the views of DINO (Caron et al.,
//! 2021; `DataAugmentationDINO` in its `main_dino.py`).

use std::str::FromStr;

use super::Change;

/// Every word, with what it does and the strength that is taken without one.
pub const WORDS: [(&str, &str); 11] = [
    (
        "flips",
        "Mirror left to right and top to bottom, each with probability 0.5",
    ),
    (
        "flip-horizontal",
        "Mirror left to right with probability 0.5",
    ),
    ("flip-vertical", "Mirror top to bottom with probability 0.5"),
    (
        "random-crop",
        "A part with a share of 0.4-1 of the area, resized; a small one may miss the defect",
    ),
    (
        "fixed-crop",
        "A part with a share of 0.875 of each side, resized",
    ),
    (
        "brightness",
        "Shift by up to 0.1 of white, contrast changed by twice as much",
    ),
    (
        "jitter",
        "Factors of brightness and contrast changed by up to 0.4, in colour also saturation and hue, with probability 0.8",
    ),
    ("blur", "A Gaussian of up to 2 pixels, with probability 0.5"),
    (
        "solarise",
        "Levels from 128 on inverted, with probability 0.2",
    ),
    ("noise", "Deviation of up to 4 levels of 255"),
    (
        "illumination",
        "Lamps that drift by a factor of up to e^0.5, over-expose or leave an edge dark",
    ),
];

/// A word with its strength, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    name: String,
    changes: Vec<Change>,
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, strength) = match text.split_once(':') {
            Some((name, strength)) => (name, Some(strength)),
            None => (text, None),
        };
        let number = |default: f64| match strength {
            Some(text) => number(text, name),
            None => Ok(default),
        };
        let changes = match name {
            "flips" => {
                let probability = number(0.5)?;
                vec![
                    Change::FlipHorizontal { probability },
                    Change::FlipVertical { probability },
                ]
            }
            "flip-horizontal" => vec![Change::FlipHorizontal {
                probability: number(0.5)?,
            }],
            "flip-vertical" => vec![Change::FlipVertical {
                probability: number(0.5)?,
            }],
            "random-crop" => vec![Change::RandomCrop {
                area: area(strength, name)?,
                aspect: Change::ASPECT,
            }],
            "fixed-crop" => vec![Change::FixedCrop {
                share: number(0.875)?,
            }],
            "brightness" => vec![Change::Brightness {
                strength: number(0.1)?,
            }],
            "jitter" => {
                let strength = number(0.4)?;
                vec![Change::Jitter {
                    brightness: strength,
                    contrast: strength,
                    saturation: strength / 2.0,
                    hue: strength / 4.0,
                    probability: 0.8,
                }]
            }
            "blur" => {
                let largest = number(2.0)?;
                vec![Change::Blur {
                    sigma: (largest.min(0.1), largest),
                    probability: 0.5,
                }]
            }
            "solarise" => vec![Change::Solarise {
                threshold: threshold(strength, name)?,
                probability: 0.2,
            }],
            "noise" => vec![Change::Noise {
                deviation: number(4.0)?,
            }],
            "illumination" => vec![Change::Illumination {
                strength: number(0.5)?,
            }],
            _ => {
                return Err(format!(
                    "there is no change {name:?}; there are {}",
                    WORDS.map(|(name, _)| name).join(", ")
                ));
            }
        };
        for change in &changes {
            change.check().map_err(|error| error.to_string())?;
        }
        Ok(Self {
            name: name.to_owned(),
            changes,
        })
    }
}

fn number(text: &str, name: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} after {name} is not a number, as in {name}:0.5"))
}

fn area(strength: Option<&str>, name: &str) -> Result<(f64, f64), String> {
    match strength.map(|text| text.split_once('-').unwrap_or((text, "1"))) {
        Some((least, largest)) => Ok((number(least, name)?, number(largest, name)?)),
        None => Ok((0.4, 1.0)),
    }
}

fn threshold(strength: Option<&str>, name: &str) -> Result<u8, String> {
    let not_a_level =
        |text: &str| format!("{text:?} after {name} is not a level of 0 to 255, as in {name}:128");
    match strength {
        Some(text) => text.parse().map_err(|_| not_a_level(text)),
        None => Ok(128),
    }
}

/// The changes of all words, in their order.
///
/// # Errors
/// When a word comes twice.
pub fn together(words: &[Word]) -> Result<Vec<Change>, String> {
    for (number, word) in words.iter().enumerate() {
        if words[..number].iter().any(|other| other.name == word.name) {
            return Err(format!("{} is there twice", word.name));
        }
    }
    Ok(words.iter().flat_map(|word| word.changes.clone()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Vec<Change>, String> {
        let words: Result<Vec<Word>, String> = text.split(',').map(str::parse).collect();
        together(&words?)
    }

    #[test]
    fn every_word_is_known_with_and_without_a_strength() {
        for (word, _) in WORDS {
            assert!(!read(word).unwrap().is_empty(), "{word}");
            let strength = if word == "solarise" { "100" } else { "0.25" };
            let strong = read(&format!("{word}:{strength}")).unwrap();
            assert_ne!(strong, read(word).unwrap(), "{word}");
        }
    }

    #[test]
    fn changes_come_in_the_order_of_the_words() {
        assert_eq!(
            read("noise:8,random-crop:0.2-0.9,flip-vertical,random-crop").unwrap_err(),
            "random-crop is there twice"
        );
        assert_eq!(
            read("noise:8,random-crop:0.3,flips:0.1").unwrap(),
            [
                Change::Noise { deviation: 8.0 },
                Change::RandomCrop {
                    area: (0.3, 1.0),
                    aspect: (0.75, 4.0 / 3.0)
                },
                Change::FlipHorizontal { probability: 0.1 },
                Change::FlipVertical { probability: 0.1 },
            ]
        );
    }

    #[test]
    fn errors_name_the_word_or_the_range() {
        for (text, expected) in [
            ("blurr", "\"blurr\"; there are flips, "),
            ("noise:much", "\"much\" after noise is not a number"),
            ("noise:-1", "deviation of noise must be 0 to 128, not -1"),
            ("noise:nan", "must be 0 to 128"),
            ("random-crop:0.9-0.4", "least area of a crop"),
            ("random-crop:0", "least area of a crop must be 0.001 to 1"),
            ("random-crop:0.4-2", "largest area of a crop"),
            ("fixed-crop:0", "share of a crop"),
            ("flips:2", "probability of a flip must be 0 to 1"),
            ("solarise:256", "not a level"),
            ("illumination:1.5", "strength of illumination"),
            ("jitter:1.01", "brightness of jitter"),
            ("blur:40", "sigma of a blur must be 0 to 32"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
