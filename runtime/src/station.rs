//! From the description of a station to what the runtime works with.

use std::path::{Path, PathBuf};

use millsight_export::engine::{EngineChoice, EngineIdentity, EngineRequest, Provider};
use millsight_export::model_file::{ModelFile, ModelFileError};
use millsight_firmware_config::{self as config, Pace, Source as Config, Station};

use crate::source::recording::{MAGIC, RecordingSource};
use crate::source::simulated::SimulatedSource;
use crate::source::strip_image::StripImageSource;
use crate::source::tile_folder::TileFolderSource;
use crate::source::{Source, SourceError};

/// The model that is shipped inside the program.
const SHIPPED_MODEL: &[u8] = include_bytes!("../../models/millsight-vit.onnx");

/// Opens the source that a station names.
///
/// # Errors
/// When it cannot be opened.
pub fn open_source(station: &Station) -> Result<Box<dyn Source>, SourceError> {
    match &station.source {
        Config::Simulator { .. } => Ok(Box::new(SimulatedSource::new(station)?)),
        Config::Replay { path, .. } => open_replay(path, station.camera.line_rate_hz),
    }
}

/// Opens a recording, a strip image or a folder of tiles.
///
/// # Errors
/// When it cannot be read or is none of these.
pub fn open_replay(path: &Path, line_rate: f64) -> Result<Box<dyn Source>, SourceError> {
    if path.is_dir() {
        return Ok(Box::new(TileFolderSource::open(path, line_rate)?));
    }
    if begins_like_a_recording(path)? {
        return Ok(Box::new(RecordingSource::open(path)?));
    }
    let is_image = path.extension().is_some_and(|extension| {
        ["png", "tif", "tiff", "bmp", "jpg", "jpeg"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    if is_image {
        return Ok(Box::new(StripImageSource::open(path, line_rate)?));
    }
    Err(SourceError::Unsuitable {
        path: path.to_path_buf(),
        reason:
            "it is neither a recording nor a PNG, TIFF, BMP or JPEG image nor a folder of tiles; \
                 make one with `millsight simulate --strip FILE --metres 5`"
                .into(),
    })
}

fn begins_like_a_recording(path: &Path) -> Result<bool, SourceError> {
    use std::io::Read;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut first = Vec::new();
        std::fs::File::open(path)?
            .take(MAGIC.len() as u64)
            .read_to_end(&mut first)?;
        Ok(first)
    };
    let first = read().map_err(|error| SourceError::Read {
        path: path.to_path_buf(),
        error,
    })?;
    if first.is_empty() {
        return Err(SourceError::Unsuitable {
            path: path.to_path_buf(),
            reason: "the file is empty".into(),
        });
    }
    Ok(first == MAGIC)
}

/// Lines per second to which the source is held; `None`: as fast as possible.
pub fn pace(station: &Station) -> Option<f64> {
    let (Config::Simulator { pace, .. } | Config::Replay { pace, .. }) = &station.source;
    match pace {
        Pace::LineRate => Some(station.lines_per_second_at(station.material.speed_m_per_s.nominal)),
        Pace::Unpaced => None,
    }
}

/// The station's model, or the shipped one where it names none.
///
/// # Errors
/// When the file is missing or unusable.
pub fn load_model(
    file: Option<&Path>,
    sidecar: Option<&Path>,
) -> Result<ModelFile, ModelFileError> {
    match file {
        Some(path) => ModelFile::load(path, sidecar),
        None => ModelFile::from_bytes(SHIPPED_MODEL.to_vec(), "the shipped model"),
    }
}

/// What engine a station asks for.
pub fn engine_request(engine: &config::Engine) -> EngineRequest {
    EngineRequest {
        choice: match engine.name {
            config::EngineChoice::Auto => EngineChoice::Auto,
            config::EngineChoice::OnnxRuntime => EngineChoice::OnnxRuntime,
            config::EngineChoice::Embedded => EngineChoice::Embedded,
        },
        library: engine.library.clone(),
        providers: engine
            .providers
            .iter()
            .map(|provider| match provider {
                config::Provider::TensorRt => Provider::Tensorrt,
                config::Provider::Cuda => Provider::Cuda,
                config::Provider::Cpu => Provider::Cpu,
            })
            .collect(),
        fallback: engine.fallback,
    }
}

/// Workers of a station: what it says, else one for each processor core. A
/// GPU is fed by one worker, whose batches then follow one another. What
/// counts is the provider that runs: with `fallback` it need not be the first
/// that the station lists.
pub fn workers(engine: &config::Engine, running: &EngineIdentity) -> usize {
    engine.workers.unwrap_or_else(|| {
        if running.provider == Provider::Cpu.to_string() {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            1
        }
    })
}

/// Tiles that a worker gives to the engine at once: what the model's graph
/// fixes, else what the station says.
pub fn batch(engine: &config::Engine, model: &ModelFile) -> usize {
    model.fixed_batch.unwrap_or(engine.batch)
}

/// A folder of the user's data for something that Millsight makes.
pub fn data_folder(name: &str) -> PathBuf {
    dirs::data_dir()
        .unwrap_or_else(std::env::temp_dir)
        .join("millsight")
        .join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(provider: &str) -> EngineIdentity {
        EngineIdentity {
            name: "onnxruntime".into(),
            version: "1.31.1".into(),
            provider: provider.into(),
            precision: "f32".into(),
        }
    }

    #[test]
    fn the_provider_that_started_decides_how_many_workers_there_are() {
        let mut engine = config::Engine {
            providers: vec![config::Provider::Cuda, config::Provider::Cpu],
            fallback: true,
            ..config::Engine::default()
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(workers(&engine, &identity("cpu")), cores);
        assert_eq!(workers(&engine, &identity("cuda")), 1);
        engine.workers = Some(7);
        assert_eq!(workers(&engine, &identity("cuda")), 7);
    }
}
