//! What follows from a station's numbers.

use std::time::Duration;

use crate::camera::{TILE_SIZE, Trigger};
use crate::inference::ASSUMED_WORKERS;
use crate::retention::RECORDING_ROWS;
use crate::station::Station;

impl Station {
    /// Tiles side by side in one row: pixels per line divided by 512.
    pub fn columns(&self) -> usize {
        self.camera.pixels_per_line / TILE_SIZE
    }

    /// Width of the field of view in millimetres.
    pub fn field_of_view_mm(&self) -> f64 {
        self.camera.pixels_per_line as f64 * self.optics.mm_per_pixel
    }

    /// Lines per second when the material moves at `speed_m_per_s`: the
    /// camera's line rate when it runs free; with an encoder lines per metre ×
    /// speed, but no more than the camera's line rate.
    pub fn lines_per_second_at(&self, speed_m_per_s: f64) -> f64 {
        match self.camera.trigger {
            Trigger::FreeRunning => self.camera.line_rate_hz,
            Trigger::Encoder { lines_per_metre } => {
                (lines_per_metre * speed_m_per_s).min(self.camera.line_rate_hz)
            }
        }
    }

    /// Lines per metre of material that moves at `speed_m_per_s`: those of the
    /// encoder where there is one, else line rate ÷ speed, which is infinite
    /// for material that stands still.
    pub fn lines_per_metre(&self, speed_m_per_s: f64) -> f64 {
        match self.camera.trigger {
            Trigger::FreeRunning => self.camera.line_rate_hz / speed_m_per_s,
            Trigger::Encoder { lines_per_metre } => lines_per_metre,
        }
    }

    /// Metres of material from one line to the next at `speed_m_per_s`, the
    /// inverse of [`Station::lines_per_metre`].
    pub fn metres_per_line(&self, speed_m_per_s: f64) -> f64 {
        match self.camera.trigger {
            Trigger::FreeRunning => speed_m_per_s / self.camera.line_rate_hz,
            Trigger::Encoder { lines_per_metre } => 1.0 / lines_per_metre,
        }
    }

    /// Shortest time in which a row of tiles (512 lines) arrives: the one at
    /// the highest speed of the material.
    pub fn row_duration(&self) -> Duration {
        let lines_per_second = self.lines_per_second_at(self.material.speed_m_per_s.max);
        Duration::try_from_secs_f64(TILE_SIZE as f64 / lines_per_second).unwrap_or(Duration::MAX)
    }

    /// Most tiles per second that arrive, those without material included.
    pub fn tiles_per_second(&self) -> f64 {
        self.columns() as f64 / self.row_duration().as_secs_f64()
    }

    /// Millimetres that the material moves during one exposure at
    /// `speed_m_per_s`.
    pub fn motion_blur_mm(&self, speed_m_per_s: f64) -> f64 {
        // µs × m/s = µm
        self.camera.exposure_us * speed_m_per_s / 1000.0
    }

    /// Bytes of the 8-bit tiles for which the runtime keeps memory: the rows
    /// that wait, one in the hands of each worker, and those being recorded.
    /// Where the station leaves the number of workers to the program, it is
    /// taken to be [`ASSUMED_WORKERS`].
    pub fn buffer_bytes(&self) -> u64 {
        let row = self.camera.pixels_per_line as u64 * TILE_SIZE as u64;
        let rows = self.deadlines.queue_rows + self.rows_beside_the_queue();
        row.saturating_mul(rows as u64)
    }

    /// Rows of tiles that are in memory and do not wait.
    pub(crate) fn rows_beside_the_queue(&self) -> usize {
        self.engine.workers.unwrap_or(ASSUMED_WORKERS) + RECORDING_ROWS
    }
}
