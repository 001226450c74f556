//! Whether a JPEG file is whole.
//!
//! The decoder fills what is missing of a JPEG with grey and says nothing,
//! which a network takes for a part of the surface. Pillow refuses such a file.

/// Marker of the image's end.
const END: u8 = 0xD9;

/// Whether a JPEG file goes on to the marker of the image's end (ITU-T T.81,
/// annex B).
///
/// Segments are stepped over by their lengths, since a preview picture in one
/// has an end of its own.
pub(super) fn is_whole(file: &[u8]) -> bool {
    let mut rest = file;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xFF) {
        rest = &rest[at + 1..];
        let Some(&marker) = rest.first() else {
            return false;
        };
        match marker {
            END => return true,
            // Markers without a segment, an escaped level or filling.
            0x00 | 0x01 | 0xD0..=0xD8 | 0xFF => {}
            _ => {
                let &[_, high, low, ..] = rest else {
                    return false;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(1 + length..).unwrap_or_default();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_image_itself_counts() {
        let start = [0xFF, 0xD8];
        let preview = [0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0, 3, 1, 7, 0xFF, 0x00, 9, 0xFF, 0xD0, 5, 0xFF];
        let whole = [&start[..], &preview, &scan, &[0xD9, 0x0A]].concat();
        assert!(is_whole(&whole));
        for length in 0..whole.len() - 1 {
            assert!(!is_whole(&whole[..length]), "{length}");
        }
    }
}
