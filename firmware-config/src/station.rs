//! A whole station: reading it, checking it, writing it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::camera::{Camera, Optics};
use crate::cores::Cores;
use crate::document::Document;
use crate::inference::{Engine, Model, Screen};
use crate::material::{Material, MaterialDetection};
use crate::problem::{Problem, StationError};
use crate::retention::{Deadlines, Recording};
use crate::source::{FlatField, Source};
use crate::web::Web;
use crate::{ready, schema};

/// Longest station file that is read, in bytes; a longer one was named by
/// mistake.
const MAXIMUM_FILE_BYTES: u64 = 1 << 20;

/// One inspection station: one camera and everything behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Name of the station; it stands in the record and in every report. Up to
    /// 100 characters.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What the station is for, for people.
    #[serde(default)]
    pub description: String,
    /// The line camera.
    pub camera: Camera,
    /// How the material is seen.
    pub optics: Optics,
    /// The material that passes the camera.
    pub material: Material,
    /// Where lines come from.
    pub source: Source,
    /// Per-pixel gain and offset of the camera; without it lines are taken as
    /// they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat_field: Option<FlatField>,
    /// How a tile with material is told from one that shows only background.
    #[serde(default)]
    pub material_detection: MaterialDetection,
    /// The classifier's files.
    #[serde(default)]
    pub model: Model,
    /// The screen that looks at every tile first; without it the classifier
    /// does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<Screen>,
    /// Least probability, 0 to 1, at which a defect class is flagged, by class
    /// name; it goes before the threshold in the model's card.
    #[serde(default)]
    #[schemars(schema_with = "schema::thresholds")]
    pub thresholds: BTreeMap<String, f32>,
    /// What runs the model, and on which device.
    #[serde(default)]
    pub engine: Engine,
    /// What is kept of a run, and where.
    #[serde(default)]
    pub recording: Recording,
    /// How long a verdict may take, and how much may wait for one.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Which processor cores the threads are bound to.
    #[serde(default)]
    pub cores: Cores,
    /// The web server that tells how a run goes; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<Web>,
}

impl Station {
    /// Reads a station file. Relative paths in it are taken from the file's
    /// folder.
    ///
    /// # Errors
    ///
    /// [`StationError::Read`] when the file cannot be read, and
    /// [`StationError::Invalid`] with everything that is wrong in it.
    pub fn load(path: impl AsRef<Path>) -> Result<Station, StationError> {
        Station::load_with_warnings(path).map(|(station, _)| station)
    }

    /// Reads a station file as [`Station::load`] does, and also gives what is
    /// allowed but probably not meant, each with its line in the file.
    ///
    /// # Errors
    ///
    /// Those of [`Station::load`].
    pub fn load_with_warnings(
        path: impl AsRef<Path>,
    ) -> Result<(Station, Vec<Problem>), StationError> {
        let path = path.as_ref();
        let text = read_text(path).map_err(|source| StationError::Read {
            path: path.to_owned(),
            source,
        })?;
        let (mut station, warnings) =
            Station::parse_with_warnings(&text, &path.display().to_string())?;
        if let Some(folder) = path.parent() {
            station.resolve_paths(folder);
        }
        Ok((station, warnings))
    }

    /// Reads a station from text; `origin_name` stands for the file name in
    /// messages. Relative paths stay as they are written; see
    /// [`Station::resolve_paths`].
    ///
    /// # Errors
    ///
    /// [`StationError::Invalid`] with everything that is wrong in the text.
    pub fn parse(text: &str, origin_name: &str) -> Result<Station, StationError> {
        Station::parse_with_warnings(text, origin_name).map(|(station, _)| station)
    }

    /// Reads a station as [`Station::parse`] does, and also gives what is
    /// allowed but probably not meant, each with its line in the text.
    ///
    /// # Errors
    ///
    /// Those of [`Station::parse`].
    pub fn parse_with_warnings(
        text: &str,
        origin_name: &str,
    ) -> Result<(Station, Vec<Problem>), StationError> {
        Document::new(text, origin_name).into_station()
    }

    /// One of the [`READY_STATIONS`](crate::READY_STATIONS), by name. Its
    /// relative paths start at the current folder.
    ///
    /// # Errors
    ///
    /// [`StationError::UnknownReady`] when there is none of this name.
    pub fn ready(name: &str) -> Result<Station, StationError> {
        let text = ready::text(name)?;
        Station::parse(text, &format!("{name}.toml"))
    }

    /// Makes every relative path in the station start at `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        let mut paths: Vec<&mut PathBuf> = vec![&mut self.recording.folder];
        match &mut self.source {
            Source::Replay { path, .. } | Source::V4l2 { device: path, .. } => paths.push(path),
            Source::Feed { socket } => paths.extend(socket.as_mut()),
            Source::Simulator { .. } | Source::Genicam { .. } => {}
        }
        paths.extend(
            self.flat_field
                .as_mut()
                .map(|flat_field| &mut flat_field.file),
        );
        paths.extend(self.model.file.as_mut());
        paths.extend(self.model.sidecar.as_mut());
        if let Some(screen) = &mut self.screen {
            paths.extend(screen.file.as_mut());
            paths.extend(screen.sidecar.as_mut());
        }
        if let Some(web) = &mut self.web {
            paths.extend(web.certificate.as_mut());
            paths.extend(web.key.as_mut());
        }
        paths.extend(self.engine.library.as_mut());
        paths.extend(self.engine.cache.as_mut());
        for path in paths {
            *path = folder.join(&path);
        }
    }

    /// The station as TOML, every default written out.
    ///
    /// # Errors
    ///
    /// When a path is not Unicode, or a number does not fit TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAXIMUM_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAXIMUM_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {MAXIMUM_FILE_BYTES} bytes, which no station file is"),
        ));
    }
    Ok(text)
}
