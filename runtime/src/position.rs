//! Where lines and tiles lie on the material.

use millsight_firmware_config::{ScanDirection, Source, Station, TILE_SIZE, Trigger};

use crate::source::recording::Header;

/// How lines and pixels lie on the material.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Lines per metre along the material.
    pub lines_per_metre: f64,
    /// Counts of the encoder per metre along the material, where the station
    /// has an encoder.
    pub counts_per_metre: Option<f64>,
    /// Width of a pixel in millimetres.
    pub mm_per_pixel: f64,
    /// Pixels per line.
    pub pixels_per_line: usize,
    /// Whether pixel 0 is on the far side.
    pub reversed: bool,
}

/// Where a tile lies on the material.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Metres from the head of the piece to the tile's first line.
    pub metres: f64,
    /// Millimetres across the line to the tile's centre.
    pub millimetres: f64,
}

impl Geometry {
    /// The geometry of a station at its nominal speed. An encoder that
    /// triggers the camera counts one for each line, and of one that the camera
    /// reads itself counts become lines before they get here.
    pub fn of(station: &Station) -> Self {
        let lines_per_metre = station.lines_per_metre(station.material.speed_m_per_s.nominal);
        let has_encoder = match (&station.camera.trigger, &station.source) {
            (Trigger::Encoder { .. }, _) => true,
            (Trigger::FreeRunning, Source::Genicam { encoder, .. }) => encoder.is_some(),
            (Trigger::FreeRunning, _) => false,
        };
        Self {
            lines_per_metre,
            counts_per_metre: has_encoder.then_some(lines_per_metre),
            mm_per_pixel: station.optics.mm_per_pixel,
            pixels_per_line: station.camera.pixels_per_line,
            reversed: station.optics.scan_direction == ScanDirection::Reverse,
        }
    }

    /// The same geometry with what a recording says of itself.
    pub fn of_recording(self, header: &Header) -> Self {
        Self {
            lines_per_metre: header.lines_per_metre,
            counts_per_metre: Some(header.lines_per_metre),
            mm_per_pixel: header.mm_per_pixel,
            ..self
        }
    }

    /// Tiles side by side in a row.
    pub fn columns(&self) -> usize {
        self.pixels_per_line / TILE_SIZE
    }

    /// Millimetres across the line to the centre of a column of tiles.
    pub fn millimetres(&self, column: usize) -> f64 {
        let centre = (column as f64 + 0.5) * TILE_SIZE as f64;
        let pixel = if self.reversed {
            self.pixels_per_line as f64 - centre
        } else {
            centre
        };
        pixel * self.mm_per_pixel
    }
}

/// Follows the material along the piece: by the encoder where there is one,
/// and by the number of lines from where it was last read.
#[derive(Debug, Clone)]
pub struct Travel {
    geometry: Geometry,
    /// The encoder's first count and the metres at it.
    origin: Option<(i64, f64)>,
    /// A line whose place is known, and its metres.
    known: (u64, f64),
}

impl Travel {
    /// The head of a piece: its line 0 lies at 0 metres.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            origin: None,
            known: (0, 0.0),
        }
    }

    /// Notes what the encoder has counted at a line.
    pub fn read(&mut self, line: u64, count: i64) {
        let Some(counts_per_metre) = self.geometry.counts_per_metre else {
            return;
        };
        let (first, start) = *self
            .origin
            .get_or_insert((count, line as f64 / self.geometry.lines_per_metre));
        let counts = (i128::from(count) - i128::from(first)) as f64;
        self.known = (line, start + counts / counts_per_metre);
    }

    /// Metres from the head of the piece to a line.
    pub fn metres(&self, line: u64) -> f64 {
        let (known, metres) = self.known;
        let lines = (i128::from(line) - i128::from(known)) as f64;
        metres + lines / self.geometry.lines_per_metre
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry {
            lines_per_metre: 10_000.0,
            counts_per_metre: None,
            mm_per_pixel: 0.25,
            pixels_per_line: 4096,
            reversed: false,
        }
    }

    #[test]
    fn positions_across_follow_the_scan_direction() {
        let mut geometry = geometry();
        assert_eq!(geometry.millimetres(0), 64.0);
        geometry.reversed = true;
        assert_eq!(geometry.millimetres(0), 1024.0 - 64.0);
    }

    #[test]
    fn the_encoder_goes_before_the_number_of_lines() {
        let mut travel = Travel::new(geometry());
        travel.read(5_000, 40);
        assert_eq!(travel.metres(5_000), 0.5, "the station has no encoder");

        let mut travel = Travel::new(Geometry {
            counts_per_metre: Some(1_000.0),
            ..geometry()
        });
        travel.read(0, 77_000);
        // Half the metres that the lines alone would give.
        travel.read(10_000, 77_500);
        assert_eq!(travel.metres(10_000), 0.5);
        // From there on by lines until the encoder is read again.
        assert_eq!(travel.metres(20_000), 1.5);
        travel.read(20_000, 76_000);
        assert_eq!(travel.metres(20_000), -1.0);
    }

    #[test]
    fn an_encoder_that_is_first_read_behind_a_gap_starts_there() {
        let mut travel = Travel::new(Geometry {
            counts_per_metre: Some(10_000.0),
            ..geometry()
        });
        travel.read(5_000, 12);
        assert_eq!(travel.metres(5_000), 0.5);
    }
}
