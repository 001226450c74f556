//! A camera whose pixels are not alike.

use crate::flat_field::Reference;

/// A flat field like that of a real camera: dark levels and gains that differ
/// from pixel to pixel, and a lens that is darker towards its sides.
pub fn reference(width: usize) -> Reference {
    let share = |pixel: usize| pixel as f32 / width as f32;
    Reference {
        dark: (0..width).map(|pixel| 2.0 + 3.0 * share(pixel)).collect(),
        white: (0..width)
            .map(|pixel| 180.0 + 40.0 * (std::f32::consts::PI * share(pixel)).sin())
            .collect(),
        target: 230.0,
        taken: None,
    }
}

/// Lines, each as wide as the reference, as the camera gives them: corrected, they
/// are what is given here, but for rounding.
pub fn uncorrected(lines: &[u8], reference: &Reference) -> Vec<u8> {
    let Reference {
        dark,
        white,
        target,
        ..
    } = reference;
    let pixels = dark.iter().zip(white).cycle();
    lines
        .iter()
        .zip(pixels)
        .map(|(&level, (dark, white))| {
            (dark + f32::from(level) * (white - dark) / target).round() as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::flat_field::FlatField;

    #[test]
    fn what_the_camera_gives_is_corrected_to_what_was_drawn() {
        let reference = reference(512);
        let drawn: Vec<u8> = (0..2 * 512).map(|pixel| (pixel % 251) as u8).collect();
        let given = uncorrected(&drawn, &reference);
        assert!(given.iter().zip(&drawn).any(|(a, b)| a.abs_diff(*b) > 20));
        let mut corrected = vec![0; drawn.len()];
        FlatField::new(&reference, 512)
            .unwrap()
            .copy(&given, &mut corrected);
        let apart = corrected.iter().zip(&drawn).map(|(a, b)| a.abs_diff(*b));
        assert!(apart.max().unwrap() <= 1);
    }
}
