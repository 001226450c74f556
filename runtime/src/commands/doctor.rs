//! `millsight doctor`: what this machine offers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::card::ElementType;
use millsight_export::engine::{
    Batch, EngineChoice, EngineError, EngineRequest, Provider, library, start,
};
use millsight_export::model_file::ModelFile;
use serde::Serialize;
use sysinfo::{Disks, System};

use super::ModelArguments;
use super::inspect::load_station;
use crate::station;

const GIB: f64 = (1u64 << 30) as f64;

/// Arguments of `millsight doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Look at this machine with the eyes of a station: its model, its record folder.
    #[arg(long, value_name = "FILE")]
    station: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    topic: &'static str,
    /// `ok`, `note` (works, but could be better) or `problem`.
    status: &'static str,
    text: String,
}

/// Looks around and says what it found; fails when something needed is
/// missing.
pub fn doctor(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let mut findings = Vec::new();
    let (mut file, mut sidecar) = (
        arguments.model.model.clone(),
        arguments.model.sidecar.clone(),
    );
    let mut folder = PathBuf::from(".");
    if let Some(path) = &arguments.station {
        let station = load_station(path)?;
        findings.push(ok("station", format!("{} is valid", station.name)));
        file = file.or(station.model.file);
        sidecar = sidecar.or(station.model.sidecar);
        folder = station.recording.folder;
    }
    machine(&mut findings);
    match station::load_model(file.as_deref(), sidecar.as_deref()) {
        Ok(model) => {
            findings.push(ok(
                "model",
                format!(
                    "{} ({}), {} classes, input {}×{}",
                    model.card.name,
                    &model.sha256[..12],
                    model.card.classes.len(),
                    model.card.input.width,
                    model.card.input.height
                ),
            ));
            engines(&model, &mut findings);
        }
        Err(error) => findings.push(problem("model", error.to_string())),
    }
    libraries(&mut findings);
    disk(&folder, &mut findings);
    kernel(&mut findings);
    let failed = findings.iter().any(|finding| finding.status == "problem");
    if json {
        println!("{}", serde_json::to_string(&findings).into_diagnostic()?);
    } else {
        for finding in &findings {
            println!(
                "{:<8} {:<10} {}",
                finding.status, finding.topic, finding.text
            );
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn ok(topic: &'static str, text: String) -> Finding {
    Finding {
        topic,
        status: "ok",
        text,
    }
}

fn note(topic: &'static str, text: String) -> Finding {
    Finding {
        topic,
        status: "note",
        text,
    }
}

fn problem(topic: &'static str, text: String) -> Finding {
    Finding {
        topic,
        status: "problem",
        text,
    }
}

fn machine(findings: &mut Vec<Finding>) {
    let mut system = match System::new() {
        Ok(system) => system,
        Err(error) => {
            findings.push(note("machine", format!("cannot be looked at: {error}")));
            return;
        }
    };
    system.refresh_memory();
    system.refresh_cpu_all();
    let brand = system.cpus().first().map_or("unknown", |cpu| cpu.brand());
    findings.push(ok(
        "machine",
        format!(
            "{} cores ({}), {:.1} GiB memory, {:.1} GiB of it free",
            system.cpus().len(),
            brand.trim(),
            system.total_memory() as f64 / GIB,
            system.available_memory() as f64 / GIB
        ),
    ));
}

/// Tries each engine and provider with the model, for real.
fn engines(model: &ModelFile, findings: &mut Vec<Finding>) {
    let attempts = [
        (EngineChoice::Embedded, Provider::Cpu),
        (EngineChoice::OnnxRuntime, Provider::Cpu),
        (EngineChoice::OnnxRuntime, Provider::Cuda),
        (EngineChoice::OnnxRuntime, Provider::Tensorrt),
    ];
    for (choice, provider) in attempts {
        let request = EngineRequest {
            choice,
            providers: vec![provider],
            ..EngineRequest::default()
        };
        match start(model, &request, 1) {
            Ok(mut started) => {
                let identity = started.identity();
                match tiles_per_second(model, started.engines[0].as_mut()) {
                    Ok(rate) => findings.push(ok(
                        "engine",
                        format!(
                            "{} {} on {}: {rate:.0} tiles/s with one worker",
                            identity.name, identity.version, identity.provider
                        ),
                    )),
                    Err(error) => findings.push(problem("engine", error.to_string())),
                }
            }
            Err(error) if choice == EngineChoice::Embedded => {
                findings.push(problem("engine", error.to_string()));
            }
            Err(error) => {
                let reason = error.to_string().replace('\n', " ");
                findings.push(note(
                    "engine",
                    format!("onnxruntime on {provider}: {reason}"),
                ));
            }
        }
    }
}

/// Runs blank tiles for a moment.
fn tiles_per_second(
    model: &ModelFile,
    engine: &mut dyn millsight_export::engine::Engine,
) -> Result<f64, EngineError> {
    let input = &model.card.input;
    let elements = input.channels * input.height * input.width;
    let (levels, values) = (vec![128u8; elements], vec![0f32; elements]);
    let batch = match input.element {
        ElementType::U8 => Batch::U8(&levels),
        ElementType::F32 => Batch::F32(&values),
    };
    let mut scores = Vec::new();
    engine.run(batch, 1, &mut scores)?;
    let start = Instant::now();
    let mut tiles = 0;
    while start.elapsed().as_secs_f64() < 0.5 {
        engine.run(batch, 1, &mut scores)?;
        tiles += 1;
    }
    Ok(f64::from(tiles) / start.elapsed().as_secs_f64())
}

fn libraries(findings: &mut Vec<Finding>) {
    let candidates = library::candidates(None);
    if candidates.is_empty() {
        findings.push(note(
            "library",
            "no ONNX Runtime found; `millsight engine install` fetches it and is faster than the embedded engine".into(),
        ));
    }
    for candidate in candidates {
        findings.push(match library::version(&candidate.path) {
            Ok(version) => ok(
                "library",
                format!(
                    "ONNX Runtime {version} at {} ({})",
                    candidate.path.display(),
                    candidate.found_by
                ),
            ),
            Err(error) => note("library", error.to_string()),
        });
    }
}

fn disk(folder: &Path, findings: &mut Vec<Finding>) {
    let existing = folder
        .ancestors()
        .find_map(|path| {
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            path.canonicalize().ok()
        })
        .unwrap_or_else(|| PathBuf::from("/"));
    let disks = Disks::new_with_refreshed_list();
    let holding = disks
        .iter()
        .flat_map(|disks| disks.iter())
        .filter(|disk| existing.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().components().count());
    findings.push(match holding {
        Some(disk) => {
            let free = disk.available_space() as f64 / GIB;
            let text = format!("{free:.1} GiB free for records at {}", existing.display());
            if free < 1.0 {
                note("disk", text)
            } else {
                ok("disk", text)
            }
        }
        None => note(
            "disk",
            format!("cannot tell the free space at {}", existing.display()),
        ),
    });
}

/// Kernel settings that matter beside a camera.
fn kernel(findings: &mut Vec<Finding>) {
    let read = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
    };
    match read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        Some(governor) if governor == "performance" => {
            findings.push(ok("kernel", "cpu governor performance".into()));
        }
        Some(governor) => findings.push(note(
            "kernel",
            format!("cpu governor {governor}; `performance` keeps latencies even"),
        )),
        None => findings.push(note("kernel", "cpu governor unknown".into())),
    }
    if let Some(bytes) =
        read("/proc/sys/net/core/rmem_max").and_then(|text| text.parse::<u64>().ok())
    {
        let text = format!("largest socket buffer {bytes} bytes");
        findings.push(if bytes >= 4 << 20 {
            ok("kernel", text)
        } else {
            note(
                "kernel",
                format!("{text}; a GigE camera wants 4 MiB: sysctl net.core.rmem_max=4194304"),
            )
        });
    }
    if let Some(overcommit) = read("/sys/kernel/mm/transparent_hugepage/enabled") {
        findings.push(ok("kernel", format!("transparent huge pages {overcommit}")));
    }
}
