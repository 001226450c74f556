//! The model on every engine.

use std::time::Duration;

use millsight_export::engine::{
    EngineChoice, EngineError, EngineIdentity, EngineRequest, Provider, library, start,
};
use millsight_export::model_file::ModelFile;
use millsight_firmware_config::Station;

use super::Findings;
use crate::bench::engine::tiles_per_second;
use crate::station::{pace, workers};

/// How long each engine runs to tell its speed.
const TRIAL: Duration = Duration::from_millis(500);

/// Starts the engine that a run would use, then all others: only the first
/// has to work.
pub fn look(
    model: &ModelFile,
    request: &EngineRequest,
    station: Option<&Station>,
    findings: &mut Findings,
) {
    findings.ok(
        "model",
        format!(
            "{} ({}), {} classes, input {}×{}",
            model.card.name,
            model.sha256.get(..12).unwrap_or_default(),
            model.card.classes.len(),
            model.card.input.width,
            model.card.input.height
        ),
    );
    let mut used = None;
    match attempt(model, request) {
        Ok((identity, notices, rate)) => {
            for notice in notices {
                findings.note("engine", notice);
            }
            findings.ok("engine", format!("in use: {}", said(&identity, rate)));
            if let Some(station) = station {
                speed(station, &identity, rate, findings);
            }
            used = Some(identity);
        }
        Err(error) => findings.problem("engine", error.to_string()),
    }
    let others = [
        (EngineChoice::Embedded, Provider::Cpu, "embedded"),
        (EngineChoice::OnnxRuntime, Provider::Cpu, "onnxruntime"),
        (EngineChoice::OnnxRuntime, Provider::Cuda, "onnxruntime"),
        (EngineChoice::OnnxRuntime, Provider::Tensorrt, "onnxruntime"),
    ];
    for (choice, provider, name) in others {
        let is_used = used.as_ref().is_some_and(|used: &EngineIdentity| {
            used.name == name && used.provider == provider.to_string()
        });
        if is_used {
            continue;
        }
        let other = EngineRequest {
            choice,
            providers: vec![provider],
            fallback: false,
            library: request.library.clone(),
            tensorrt: request.tensorrt.clone(),
        };
        match attempt(model, &other) {
            Ok((identity, _, rate)) => {
                findings.ok("engine", format!("also there: {}", said(&identity, rate)));
            }
            Err(error) => findings.note("engine", format!("{name} on {provider}: {error}")),
        }
    }
}

fn said(identity: &EngineIdentity, rate: f64) -> String {
    format!(
        "{} {} on {}, {rate:.0} tiles/s with one worker",
        identity.name, identity.version, identity.provider
    )
}

/// Starts one engine and lets it run; gives what it is, what was passed over
/// on the way, and its tiles per second.
fn attempt(
    model: &ModelFile,
    request: &EngineRequest,
) -> Result<(EngineIdentity, Vec<String>, f64), EngineError> {
    let mut started = start(model, request, 1)?;
    let identity = started.identity();
    let rate = match started.engines.first_mut() {
        Some(engine) => tiles_per_second(model, engine.as_mut(), 1, TRIAL)?,
        None => 0.0,
    };
    Ok((identity, started.notices, rate))
}

/// Whether the workers keep up with a station whose lines do not wait.
fn speed(station: &Station, identity: &EngineIdentity, rate: f64, findings: &mut Findings) {
    if pace(station).is_none() {
        return;
    }
    let workers = workers(&station.engine, identity);
    let needed = station.tiles_per_second();
    let text = format!(
        "the station brings up to {needed:.0} tiles/s; {workers} worker(s) judge about {:.0}",
        rate * workers as f64
    );
    if rate * workers as f64 >= needed {
        findings.ok("speed", text);
    } else {
        findings.note(
            "speed",
            format!("{text}: at full speed tiles stay unjudged, unless many are background"),
        );
    }
}

/// The libraries of ONNX Runtime that are found.
pub fn libraries(request: &EngineRequest, findings: &mut Findings) {
    let candidates = library::candidates(request.library.as_deref());
    if candidates.is_empty() {
        findings.note(
            "library",
            "no ONNX Runtime found; `millsight engine install` fetches it, and it is faster \
             than the embedded engine",
        );
    }
    for candidate in candidates {
        match library::version(&candidate.path) {
            Ok(version) => findings.ok(
                "library",
                format!(
                    "ONNX Runtime {version} at {} ({})",
                    candidate.path.display(),
                    candidate.found_by
                ),
            ),
            Err(error) => findings.note("library", error.to_string()),
        }
    }
}
