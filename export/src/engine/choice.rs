//! Choosing and starting engines.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Embedded, Engine, EngineError, EngineIdentity, OnnxRuntime, TensorRtOptions, library};
use crate::model_file::ModelFile;

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum EngineChoice {
    /// ONNX Runtime where its library is found, else the embedded engine.
    #[default]
    Auto,
    /// ONNX Runtime; an error where it is not found.
    OnnxRuntime,
    /// The engine inside the program.
    Embedded,
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Provider {
    /// NVIDIA TensorRT.
    Tensorrt,
    /// NVIDIA CUDA.
    Cuda,
    /// The processor.
    Cpu,
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Provider::Tensorrt => "tensorrt",
            Provider::Cuda => "cuda",
            Provider::Cpu => "cpu",
        })
    }
}

/// What engine is asked for.
#[derive(Debug, Clone)]
pub struct EngineRequest {
    /// Which engine.
    pub choice: EngineChoice,
    /// ONNX Runtime's library, where the user names one.
    pub library: Option<PathBuf>,
    /// Providers in order of preference. The first must start, unless
    /// `fallback` is set.
    pub providers: Vec<Provider>,
    /// Whether the next provider, and at last the embedded engine, may stand
    /// in for what was asked for but does not start: a provider, or ONNX
    /// Runtime itself.
    pub fallback: bool,
    /// What is asked of TensorRT.
    pub tensorrt: TensorRtOptions,
}

impl Default for EngineRequest {
    fn default() -> Self {
        Self {
            choice: EngineChoice::Auto,
            library: None,
            providers: vec![Provider::Cpu],
            fallback: false,
            tensorrt: TensorRtOptions::default(),
        }
    }
}

/// Engines that run, one for each worker.
pub struct Started {
    /// The engines, all of the same kind.
    pub engines: Vec<Box<dyn Engine>>,
    /// What was passed over on the way, for people: a station that asked for
    /// more than it got must say so loudly.
    pub notices: Vec<String>,
}

impl Started {
    /// The identity that all the engines share.
    pub fn identity(&self) -> EngineIdentity {
        self.engines[0].identity().clone()
    }
}

/// Starts `workers` engines (at least one) for a model.
///
/// # Errors
/// When what was asked for cannot start and nothing may stand in for it.
pub fn start(
    model: &ModelFile,
    request: &EngineRequest,
    workers: usize,
) -> Result<Started, EngineError> {
    start_for(model, request, |_| workers)
}

/// Starts engines for a model as [`start`] does; `workers` tells how many
/// (at least one) when it is known which engine and provider have started.
///
/// # Errors
/// When what was asked for cannot start and nothing may stand in for it.
pub fn start_for(
    model: &ModelFile,
    request: &EngineRequest,
    workers: impl Fn(&EngineIdentity) -> usize,
) -> Result<Started, EngineError> {
    let mut notices = Vec::new();
    let found = match request.choice {
        EngineChoice::Embedded => None,
        EngineChoice::Auto | EngineChoice::OnnxRuntime => usable_library(request, &mut notices)?,
    };
    let mut providers = request.providers.as_slice();
    if providers.is_empty() {
        providers = &[Provider::Cpu];
    }
    if let Some(path) = found {
        for &provider in providers {
            match engines(&workers, || {
                OnnxRuntime::load(model, &path, provider, &request.tensorrt)
            }) {
                Ok(engines) => return Ok(Started { engines, notices }),
                Err(error) if request.fallback => notices.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    } else if providers[0] != Provider::Cpu {
        let error = EngineError::EmbeddedProvider {
            provider: providers[0],
        };
        if !request.fallback {
            return Err(error);
        }
        notices.push(error.to_string());
    }
    match engines(&workers, || Embedded::load(model)) {
        Ok(engines) => {
            if !notices.is_empty() {
                notices.push("the embedded engine stands in; it runs on the processor".into());
            }
            Ok(Started { engines, notices })
        }
        Err(error) if notices.is_empty() => Err(error),
        Err(error) => Err(EngineError::NothingStarts {
            reasons: format!("{}; at last, {error}", notices.join("; ")),
        }),
    }
}

fn engines<E: Engine + 'static>(
    workers: impl Fn(&EngineIdentity) -> usize,
    load: impl Fn() -> Result<E, EngineError>,
) -> Result<Vec<Box<dyn Engine>>, EngineError> {
    let first = load()?;
    let workers = workers(first.identity());
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(first)];
    for _ in 1..workers {
        engines.push(Box::new(load()?));
    }
    Ok(engines)
}

/// The first candidate that states a version. A library that the user named
/// must be usable unless something may stand in for it; others that are not
/// are passed over with a notice.
fn usable_library(
    request: &EngineRequest,
    notices: &mut Vec<String>,
) -> Result<Option<PathBuf>, EngineError> {
    for candidate in library::candidates(request.library.as_deref()) {
        match library::version(&candidate.path).and_then(|version| {
            supported(&version).map_err(|reason| EngineError::Library {
                path: candidate.path.clone(),
                reason,
            })
        }) {
            Ok(()) => return Ok(Some(candidate.path)),
            Err(error)
                if !request.fallback && request.library.as_ref() == Some(&candidate.path) =>
            {
                return Err(error);
            }
            Err(error) => notices.push(error.to_string()),
        }
    }
    if request.choice == EngineChoice::OnnxRuntime {
        let error = EngineError::NoLibrary {
            searched: library::searched_folders(),
        };
        if !request.fallback {
            return Err(error);
        }
        notices.push(error.to_string());
    }
    Ok(None)
}

/// Whether this program can drive a version of ONNX Runtime.
fn supported(version: &str) -> Result<(), String> {
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|text| text.parse::<u32>().ok());
    match minor {
        Some(minor) if minor >= ort::MINOR_VERSION => Ok(()),
        _ => Err(format!(
            "it is version {version}, but 1.{} or newer is needed; run `millsight engine install`",
            ort::MINOR_VERSION
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn old_versions_are_refused_with_a_remedy() {
        assert!(supported("1.31.1").is_ok());
        let message = supported("1.9.0").unwrap_err();
        assert!(message.contains("1.9.0"), "{message}");
        assert!(message.contains("millsight engine install"), "{message}");
        assert!(supported("nonsense").is_err());
    }
}
