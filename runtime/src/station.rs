//! From the description of a station to what the runtime works with.

use std::path::{Path, PathBuf};

use millsight_export::engine::{
    EngineChoice, EngineIdentity, EngineRequest, Provider, TensorRtOptions,
};
use millsight_export::model_file::{ModelFile, ModelFileError};
use millsight_firmware_config::{self as config, Pace, Source as Config, Station};

use crate::source::camera::FrameShape;
#[cfg(unix)]
use crate::source::feed::FeedSource;
#[cfg(feature = "genicam")]
use crate::source::genicam;
use crate::source::recording::{MAGIC, RecordingSource};
use crate::source::simulated::SimulatedSource;
use crate::source::strip_image::{ImageKind, StripImageSource};
use crate::source::tile_folder::TileFolderSource;
#[cfg(target_os = "linux")]
use crate::source::v4l2;
use crate::source::{self, Source, SourceError};

/// The model that is shipped inside the program.
const SHIPPED_MODEL: &[u8] = include_bytes!("../../models/millsight-vit.onnx");

/// The screen that is shipped inside the program.
const SHIPPED_SCREEN: &[u8] = include_bytes!("../../models/millsight-screen.onnx");

/// Opens the source that a station names.
///
/// # Errors
/// When it cannot be opened, or its lines are so long that the rows that may
/// wait do not fit into memory.
pub fn open_source(station: &Station) -> Result<Box<dyn Source>, SourceError> {
    match &station.source {
        Config::Simulator { .. } => Ok(Box::new(SimulatedSource::new(station)?)),
        Config::Replay { path, .. } => {
            let source = open_replay(path, &station.camera)?;
            check_memory(path, source.pixels_per_line(), station.deadlines.queue_rows)?;
            Ok(source)
        }
        #[cfg(unix)]
        Config::Feed { socket } => Ok(Box::new(FeedSource::open(socket.as_deref())?)),
        _ => open_camera(station),
    }
}

/// Opens the camera that a station names, and says what it does otherwise than asked.
fn open_camera(station: &Station) -> Result<Box<dyn Source>, SourceError> {
    let camera = &station.camera;
    let shape = |frame_lines| FrameShape {
        pixel_format: camera.pixel_format,
        window: camera.window,
        pixels_per_line: camera.pixels_per_line,
        frame_lines,
    };
    match &station.source {
        #[cfg(target_os = "linux")]
        Config::V4l2 {
            device,
            frame_lines,
            buffers,
            controls,
        } => {
            let settings = v4l2::V4l2Settings {
                device: device.clone(),
                shape: shape(*frame_lines),
                buffers: *buffers,
                controls: controls.clone(),
            };
            let (source, notices) = v4l2::open(settings, camera.line_rate_hz)?;
            told(notices);
            Ok(Box::new(source))
        }
        #[cfg(feature = "genicam")]
        Config::Genicam {
            camera: name,
            frame_lines,
            buffers,
            socket_buffer_mib,
            resend,
            features,
            encoder,
            line_status_chunk,
        } => {
            let settings = genicam::GenicamSettings {
                camera: name.clone(),
                shape: shape(*frame_lines),
                features: features.clone(),
                chunks: genicam::chunks::ChunkNames {
                    encoder: encoder.as_ref().map(|encoder| encoder.chunk.clone()),
                    line_status: line_status_chunk.clone(),
                },
                lines_per_count: encoder.as_ref().map(|encoder| {
                    let speed = station.material.speed_m_per_s.nominal;
                    station.lines_per_metre(speed) / encoder.counts_per_metre
                }),
                stream: genicam::reception::StreamSettings {
                    buffers: *buffers,
                    packet_resend: *resend,
                    socket_buffer: socket_buffer_mib << 20,
                    ..genicam::reception::StreamSettings::default()
                },
            };
            let (source, notices) = genicam::open(settings, camera.line_rate_hz)?;
            told(notices);
            Ok(Box::new(source))
        }
        #[cfg(not(feature = "genicam"))]
        Config::Genicam { .. } => Err(SourceError::Unsupported(
            "build it with `--features genicam` on a computer that has Aravis 0.8 \
             (`apt install libaravis-dev`)",
        )),
        _ => Err(SourceError::Unsupported("Linux alone has such devices")),
    }
}

/// Says what a camera does otherwise than asked.
#[cfg(any(target_os = "linux", feature = "genicam"))]
fn told(notices: Vec<String>) {
    for notice in notices {
        eprintln!("warning: {notice}");
    }
}

/// The rule that a station keeps for its camera, for lines of another width.
fn check_memory(path: &Path, width: usize, queue_rows: usize) -> Result<(), SourceError> {
    let row = width as u64 * config::TILE_SIZE as u64;
    let bytes = row.saturating_mul(queue_rows as u64);
    if bytes <= config::MAXIMUM_QUEUE_BYTES {
        return Ok(());
    }
    Err(SourceError::Unsuitable {
        path: path.to_path_buf(),
        reason: format!(
            "its lines have {width} pixels, of which {queue_rows} waiting rows of tiles take \
             {} MiB of memory, more than the {} MiB allowed; lower `deadlines.queue_rows` of its \
             station to at most {}",
            bytes >> 20,
            config::MAXIMUM_QUEUE_BYTES >> 20,
            config::MAXIMUM_QUEUE_BYTES / row
        ),
    })
}

/// Opens a recording, a strip image or a folder of tiles: what a file is, its
/// first bytes say. `camera` is the one that took it.
///
/// # Errors
/// When it cannot be read or is none of these.
pub fn open_replay(path: &Path, camera: &config::Camera) -> Result<Box<dyn Source>, SourceError> {
    if path.is_dir() {
        return Ok(Box::new(TileFolderSource::open(path, camera)?));
    }
    let beginning = source::beginning(path)?;
    if beginning == MAGIC {
        return Ok(Box::new(RecordingSource::open(path)?));
    }
    if let Some(kind) = ImageKind::of(&beginning) {
        return Ok(Box::new(StripImageSource::open(path, kind, camera)?));
    }
    Err(SourceError::Unsuitable {
        path: path.to_path_buf(),
        reason: if beginning.is_empty() {
            "the file is empty".into()
        } else {
            "it is neither a recording nor a PNG or TIFF image nor a folder of tiles; \
             make one with `millsight simulate --strip FILE --metres 5`"
                .into()
        },
    })
}

/// Lines per second to which the source is held; `None`: as fast as possible.
pub fn pace(station: &Station) -> Option<f64> {
    let pace = match &station.source {
        Config::Simulator { pace, .. } | Config::Replay { pace, .. } => pace,
        Config::V4l2 { .. } | Config::Genicam { .. } | Config::Feed { .. } => &Pace::LineRate,
    };
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

/// A station's screen, or the shipped one where it names no file.
///
/// # Errors
/// When the file is missing or unusable.
pub fn load_screen(screen: &config::Screen) -> Result<ModelFile, ModelFileError> {
    match &screen.file {
        Some(path) => ModelFile::load(path, screen.sidecar.as_deref()),
        None => ModelFile::from_bytes(SHIPPED_SCREEN.to_vec(), "the shipped screen"),
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
        tensorrt: TensorRtOptions {
            half_precision: engine.half_precision,
            cache: engine.cache.clone(),
            largest_batch: Some(engine.batch),
        },
    }
}

/// Workers of a station: what it says, else one for each processor core. A
/// GPU is fed by one worker, whose batches then follow one another. What
/// counts is the provider that runs: with `fallback` it need not be the first
/// that the station lists.
pub fn workers(engine: &config::Engine, running: &EngineIdentity) -> usize {
    engine.workers.unwrap_or_else(|| {
        if on_processor(running) {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            1
        }
    })
}

/// Tiles at once from which a processor gains nothing more, while memory is kept for
/// every number of them.
const MOST_ON_PROCESSOR: usize = 8;

/// Tiles that a worker gives to the engine at once: what the model's graph
/// fixes, else what the station says, on a processor no more than
/// [`MOST_ON_PROCESSOR`].
pub fn batch(engine: &config::Engine, model: &ModelFile, running: &EngineIdentity) -> usize {
    model.fixed_batch.unwrap_or_else(|| {
        if on_processor(running) {
            engine.batch.min(MOST_ON_PROCESSOR)
        } else {
            engine.batch
        }
    })
}

fn on_processor(running: &EngineIdentity) -> bool {
    running.provider == Provider::Cpu.to_string()
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
    fn waiting_rows_of_long_lines_must_fit_into_memory() {
        let path = Path::new("wide.lines");
        assert!(check_memory(path, 16_384, 512).is_ok());
        let message = check_memory(path, 16_384, 1024)
            .err()
            .map(|e| e.to_string());
        let message = message.unwrap_or_default();
        for part in ["wide.lines", "8192 MiB", "at most 512"] {
            assert!(message.contains(part), "{message}");
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

    #[test]
    fn a_processor_gets_a_few_tiles_at_once() {
        let engine = config::Engine {
            batch: 64,
            ..config::Engine::default()
        };
        let mut model = load_model(None, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(batch(&engine, &model, &identity("cuda")), 64);
        assert_eq!(batch(&engine, &model, &identity("cpu")), 8);
        model.fixed_batch = Some(16);
        assert_eq!(batch(&engine, &model, &identity("cpu")), 16);
    }
}
