//! ONNX Runtime, loaded from its shared library when the program starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::PrimitiveTensorElementType;

use super::bound::Runs;
use super::choice::Provider;
use super::tensorrt::TensorRtOptions;
use super::{
    Batch, Engine, EngineError, EngineIdentity, check_batch, check_distances, check_scores,
    in_batches, library,
};
use crate::card::{ElementType, ModelCard};
use crate::model_file::ModelFile;

/// ONNX Runtime allows one environment and one library in a process.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

#[derive(Clone)]
struct Loaded {
    path: PathBuf,
    version: String,
    environment: Environment,
}

/// One session of ONNX Runtime on one thread.
///
/// The measured advice for CPUs is one such session per core instead of
/// threads within a session.
pub struct OnnxRuntime {
    // What is bound to the session goes before it.
    levels: Runs<u8>,
    values: Runs<f32>,
    session: Session,
    card: ModelCard,
    fixed_batch: Option<usize>,
    /// Of the last run, where the model tells them.
    distances: Vec<f32>,
    identity: EngineIdentity,
}

impl OnnxRuntime {
    /// Loads a model with the library at `library` on one execution provider.
    ///
    /// # Errors
    /// [`EngineError::Library`] when the library is unusable or another one
    /// has been loaded into this process, and [`EngineError::Provider`] when
    /// the provider does not start or the model does not load on it.
    pub fn load(
        model: &ModelFile,
        library: &Path,
        provider: Provider,
        tensorrt: &TensorRtOptions,
    ) -> Result<Self, EngineError> {
        let loaded = load_library(library)?;
        let session = session(&loaded.environment, model, provider, tensorrt).map_err(|error| {
            EngineError::Provider {
                provider,
                reason: error.to_string(),
            }
        })?;
        let is_remote = provider != Provider::Cpu;
        Ok(Self {
            levels: Runs::new(is_remote),
            values: Runs::new(is_remote),
            session,
            card: model.card.clone(),
            fixed_batch: model.fixed_batch,
            distances: Vec::new(),
            identity: EngineIdentity {
                name: "onnxruntime".into(),
                version: loaded.version,
                provider: provider.to_string(),
                precision: precision(model, provider, tensorrt).into(),
            },
        })
    }
}

impl Engine for OnnxRuntime {
    fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    fn reserve(&mut self, tiles: usize) -> Result<(), EngineError> {
        let sizes = match self.fixed_batch {
            Some(batch) => batch..=batch,
            None => 1..=tiles,
        };
        self.distances.reserve(tiles);
        let Self { session, card, .. } = self;
        for tiles in sizes {
            match card.input.element {
                ElementType::U8 => self.levels.reserve(session, card, tiles).map(drop)?,
                ElementType::F32 => self.values.reserve(session, card, tiles).map(drop)?,
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        batch: Batch<'_>,
        tiles: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        scores.clear();
        self.distances.clear();
        check_batch(&self.card, batch, tiles)?;
        let at_once = self.fixed_batch.unwrap_or(tiles);
        let Self {
            levels,
            values: normalised,
            session,
            card,
            distances,
            ..
        } = self;
        let found = [scores, distances];
        match batch {
            Batch::U8(values) => run_batches(levels, session, card, values, at_once, found),
            Batch::F32(values) => run_batches(normalised, session, card, values, at_once, found),
        }
    }

    fn distances(&self) -> &[f32] {
        &self.distances
    }
}

/// Runs all tiles at once, or as many as the graph takes; adds to the scores and to the
/// distances.
fn run_batches<T>(
    runs: &mut Runs<T>,
    session: &mut Session,
    card: &ModelCard,
    values: &[T],
    at_once: usize,
    [scores, distances]: [&mut Vec<f32>; 2],
) -> Result<(), EngineError>
where
    T: PrimitiveTensorElementType + fmt::Debug + Copy + Default + 'static,
{
    let input = &card.input;
    let size = input.channels * input.height * input.width;
    in_batches(values, size, at_once, |part, wanted| {
        let (found, apart) = runs.run(session, card, part, at_once)?;
        check_scores(card, at_once, found.len())?;
        check_distances(at_once, apart.len())?;
        scores.extend_from_slice(&found[..wanted * card.classes.len()]);
        distances.extend_from_slice(&apart[..wanted.min(apart.len())]);
        Ok(())
    })
}

/// Loads the library once; a second call must name the same file.
fn load_library(path: &Path) -> Result<Loaded, EngineError> {
    let problem = |reason: String| EngineError::Library {
        path: path.to_path_buf(),
        reason,
    };
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = slot.as_ref() {
        if loaded.path == path {
            return Ok(loaded.clone());
        }
        return Err(problem(format!(
            "this process has already loaded {}",
            loaded.path.display()
        )));
    }
    let version = library::version(path)?;
    let environment = ort::init_from(path)
        .map_err(|error| problem(error.to_string()))?
        .with_name("millsight")
        .with_telemetry(false)
        .build()
        .map_err(|error| problem(error.to_string()))?;
    let loaded = Loaded {
        path: path.to_path_buf(),
        version,
        environment,
    };
    *slot = Some(loaded.clone());
    Ok(loaded)
}

fn session(
    environment: &Environment,
    model: &ModelFile,
    provider: Provider,
    tensorrt: &TensorRtOptions,
) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .with_execution_providers(providers(model, provider, tensorrt))?;
    builder.commit_from_memory(&model.onnx)
}

/// TensorRT leaves the nodes that it does not take to CUDA.
fn providers(
    model: &ModelFile,
    provider: Provider,
    options: &TensorRtOptions,
) -> Vec<ExecutionProviderDispatch> {
    let cuda = || ep::CUDA::default().build().error_on_failure();
    match provider {
        Provider::Cpu => Vec::new(),
        Provider::Cuda => vec![cuda()],
        Provider::Tensorrt => {
            // Without the folder TensorRT only builds its engine at each start, so
            // a failure to make it is no reason to stop.
            let folder = options.folder();
            let folder = folder.filter(|folder| std::fs::create_dir_all(folder).is_ok());
            let options = options.of(model, folder.as_deref());
            let tensorrt = options
                .iter()
                .fold(ep::TensorRT::default(), |provider, (name, value)| {
                    provider.with_arbitrary_config(name, value)
                });
            vec![tensorrt.build().error_on_failure(), cuda()]
        }
    }
}

fn precision(model: &ModelFile, provider: Provider, tensorrt: &TensorRtOptions) -> &'static str {
    let half = provider == Provider::Tensorrt && tensorrt.half_precision;
    match (model.card.is_quantized(), half) {
        (false, false) => "f32",
        (false, true) => "f16",
        (true, false) => "int8",
        (true, true) => "int8+f16",
    }
}
