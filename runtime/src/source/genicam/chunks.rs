//! What a camera sends with each frame beside its pixels (chunk data).

use aravis::Buffer;
use aravis::prelude::*;
use millsight_firmware_config::FeatureValue;

use super::camera::Camera;
use super::error::Error;
use crate::source::camera::Readings;

/// Chunks that are asked for, by their names in the camera's `ChunkSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkNames {
    /// That with the count of the encoder, for example `EncoderValue`.
    pub encoder: Option<String>,
    /// That with the state of the input lines, for example `LineStatusAll`.
    pub line_status: Option<String>,
}

impl ChunkNames {
    /// Features that have the camera send them, in the order in which they are set; nothing
    /// where none is asked for.
    pub(super) fn features(&self) -> Vec<Vec<(&'static str, FeatureValue)>> {
        let on = FeatureValue::Boolean(true);
        let names: Vec<_> = self.encoder.iter().chain(&self.line_status).collect();
        let active = (!names.is_empty()).then(|| vec![("ChunkModeActive", on.clone())]);
        let enabled = names.into_iter().map(|name| {
            let selected = FeatureValue::Text(name.clone());
            vec![("ChunkSelector", selected), ("ChunkEnable", on.clone())]
        });
        active.into_iter().chain(enabled).collect()
    }
}

/// Reads chunks by the camera's own description of them.
#[derive(Debug)]
pub(super) struct Chunks {
    parser: aravis::ChunkParser,
    /// Features that hold the values.
    encoder: Option<String>,
    line_status: Option<String>,
    /// Whether it was told that one is missing.
    was_told: bool,
}

impl Chunks {
    /// For a camera that sends chunks of these names; nothing where there are none.
    ///
    /// # Errors
    /// When the camera does not describe itself.
    pub(super) fn new(camera: &Camera, names: &ChunkNames) -> Result<Option<Self>, Error> {
        if *names == ChunkNames::default() {
            return Ok(None);
        }
        let parser = camera.camera.create_chunk_parser();
        let parser = parser.ok_or_else(|| Error::Missing {
            camera: camera.name().to_owned(),
            reason: "it has no description of its chunks".to_owned(),
        })?;
        let feature = |name: &String| format!("Chunk{name}");
        Ok(Some(Self {
            parser,
            encoder: names.encoder.as_ref().map(feature),
            line_status: names.line_status.as_ref().map(feature),
            was_told: false,
        }))
    }

    /// What came with a frame; of what did not nothing, which is told once.
    pub(super) fn read(&mut self, buffer: &Buffer) -> Readings {
        let Self {
            parser,
            encoder,
            line_status,
            was_told,
        } = self;
        let mut read = |feature: &Option<String>| {
            let feature = feature.as_ref()?;
            match parser.integer_value(buffer, feature) {
                Ok(value) => Some(value),
                Err(error) => {
                    if !std::mem::replace(was_told, true) {
                        tracing::warn!("a frame has come without {feature}: {error}");
                    }
                    None
                }
            }
        };
        Readings {
            encoder: read(encoder),
            line_status: read(line_status),
        }
    }
}
