//! Relations between names, engine, model, memory and disk.

use crate::camera::TILE_SIZE;
use crate::figures::{ceil, figures, floor};
use crate::inference::{Engine, EngineChoice, Provider};
use crate::relations::{Finding, LINE_RATE, error, warning};
use crate::retention::KeepImages;
use crate::source::{MINIMUM_SIMULATED_LINE_RATE_HZ, Source};
use crate::station::Station;

/// Most bytes of tiles that may be in memory: 4 GiB.
pub const MAXIMUM_QUEUE_BYTES: u64 = 4 << 30;

/// Most memory that lines which are drawn beforehand may take, in bytes.
const MAXIMUM_DRAWN_BYTES: u64 = 4 << 30;

/// Shortest time, in seconds, in which filling the disk budget goes unremarked.
const BRIEF_RECORDING_S: f64 = 3600.0;

const PIXELS: &str = "camera.pixels_per_line";
const QUEUE: &str = "deadlines.queue_rows";
const PROVIDERS: &str = "engine.providers";
const METRES: &str = "source.metres";
const DRAWN_BEFOREHAND: &str = "source.drawn_beforehand";

/// The class that means "nothing wrong here"; a model's card must have it.
const NO_DEFECT: &str = "no_defect";

/// Whether a text can name a piece: it can be shown on one line, and whoever
/// exports a piece can name a file after it.
pub fn is_piece_id(text: &str) -> bool {
    let is_bad = |c: char| c.is_control() || c == '/' || c == '\\';
    !text.trim().is_empty() && !text.contains(is_bad)
}

/// Names can be shown, and the piece id can stand in a file name.
pub(crate) fn names(station: &Station) -> Vec<Finding> {
    let mut findings = Vec::new();
    if station.name.trim().is_empty() || station.name.contains(char::is_control) {
        findings.push(error(
            "name",
            format!("`name = {:?}` is no name", station.name),
            "Write a name of visible characters on one line.".to_owned(),
            vec![("name", "not a name".to_owned())],
        ));
    }
    let piece = &station.material.piece_id;
    if !is_piece_id(piece) {
        findings.push(error(
            "material.piece_id",
            format!("`material.piece_id = {piece:?}` is no piece id"),
            "Write visible characters without `/` and `\\`, so that a file can be named after \
             the piece."
                .to_owned(),
            vec![("material.piece_id", "not a piece id".to_owned())],
        ));
    }
    findings
}

/// Bytes as figures in GiB.
fn gib(bytes: u64) -> String {
    figures(bytes as f64 / (1u64 << 30) as f64)
}

/// The tiles that wait, are judged or are recorded fit into memory.
pub(crate) fn queue_size(station: &Station) -> Vec<Finding> {
    let bytes = station.buffer_bytes();
    if bytes <= MAXIMUM_QUEUE_BYTES {
        return vec![];
    }
    let row = station.camera.pixels_per_line as u64 * TILE_SIZE as u64;
    let rows = station.deadlines.queue_rows;
    let others = station.rows_beside_the_queue();
    let most = (MAXIMUM_QUEUE_BYTES / row).saturating_sub(others as u64);
    vec![error(
        QUEUE,
        format!(
            "`{QUEUE} = {rows}` and {others} rows that are judged or recorded take {} GiB of \
             memory, more than the {} GiB allowed",
            gib(bytes),
            gib(MAXIMUM_QUEUE_BYTES)
        ),
        format!("Lower `{QUEUE}` to at most {most}."),
        vec![
            (QUEUE, format!("{rows} rows")),
            (
                PIXELS,
                format!(
                    "× {TILE_SIZE} lines of {} bytes",
                    station.camera.pixels_per_line
                ),
            ),
        ],
    )]
}

/// Providers are named once, in an order that tries each, and fit the engine.
pub(crate) fn providers(station: &Station) -> Vec<Finding> {
    let engine = &station.engine;
    let mut findings = Vec::new();
    for (index, provider) in engine.providers.iter().enumerate() {
        let name = provider.name();
        if engine.providers[..index].contains(provider) {
            findings.push(error(
                PROVIDERS,
                format!("`{PROVIDERS}` names \"{name}\" twice"),
                format!("Remove the second \"{name}\"."),
                vec![(PROVIDERS, "named twice".to_owned())],
            ));
        }
    }
    let embedded = engine.name == EngineChoice::Embedded;
    let engine_label = ("engine.name", "runs on the processor only".to_owned());
    if let Some(device) = engine
        .providers
        .iter()
        .find(|p| embedded && **p != Provider::Cpu)
    {
        let name = device.name();
        findings.push(error(
            PROVIDERS,
            format!("the embedded engine has no provider \"{name}\""),
            format!(
                "Write `engine.name = \"onnxruntime\"` to use \"{name}\", or `{PROVIDERS} = \
                 [\"cpu\"]`."
            ),
            vec![(PROVIDERS, format!("asks for \"{name}\"")), engine_label],
        ));
    } else if let [Provider::Cpu, next, ..] | [_, Provider::Cpu, next] = engine.providers[..]
        && next != Provider::Cpu
    {
        let name = next.name();
        findings.push(warning(
            PROVIDERS,
            format!("\"{name}\" is never tried: \"cpu\", which always starts, stands before it"),
            format!("Write \"cpu\" last in `{PROVIDERS}`."),
            vec![(PROVIDERS, "\"cpu\" is not last".to_owned())],
        ));
    }
    if embedded && engine.library.is_some() {
        findings.push(warning(
            "engine.library",
            "`engine.library` is not used: the embedded engine needs no library".to_owned(),
            "Remove `engine.library`, or write `engine.name = \"onnxruntime\"`.".to_owned(),
            vec![
                ("engine.library", "not used".to_owned()),
                ("engine.name", "needs no library".to_owned()),
            ],
        ));
    }
    findings.extend(tensorrt(engine));
    findings
}

/// What only TensorRT does is asked of it.
fn tensorrt(engine: &Engine) -> Option<Finding> {
    let key = match engine {
        _ if engine.providers.contains(&Provider::TensorRt) => return None,
        _ if engine.half_precision => "engine.half_precision",
        _ if engine.cache.is_some() => "engine.cache",
        _ => return None,
    };
    Some(warning(
        key,
        format!("`{key}` is not used: it is for TensorRT, which `{PROVIDERS}` does not name"),
        format!("Remove `{key}`, or write \"tensorrt\" first in `{PROVIDERS}`."),
        vec![(key, "not used".to_owned())],
    ))
}

/// A sidecar comes with a model file.
pub(crate) fn model_files(station: &Station) -> Vec<Finding> {
    let screen = station.screen.as_ref();
    [
        (
            ["model.file", "model.sidecar"],
            &station.model.file,
            &station.model.sidecar,
        ),
        (
            ["screen.file", "screen.sidecar"],
            screen.map_or(&None, |screen| &screen.file),
            screen.map_or(&None, |screen| &screen.sidecar),
        ),
    ]
    .into_iter()
    .filter_map(|([file_key, key], file, sidecar)| {
        let sidecar = sidecar.as_ref().filter(|_| file.is_none())?;
        Some(error(
            key,
            format!(
                "`{key} = {:?}` describes no file: `{file_key}` is missing",
                sidecar.display().to_string()
            ),
            format!("Add `{file_key}`, or remove `{key}`: what is shipped has its own card."),
            vec![(key, "describes no file".to_owned())],
        ))
    })
    .collect()
}

/// The web server has an address, and no password goes to it unencrypted but by the
/// explicit wish of whoever wrote the station.
pub(crate) fn web(station: &Station) -> Vec<Finding> {
    let Some(web) = &station.web else {
        return vec![];
    };
    let Some(address) = web.address() else {
        return vec![error(
            "web.listen",
            format!("`web.listen = {:?}` is no address with a port", web.listen),
            "Write for example \"127.0.0.1:9464\", or \"0.0.0.0:9464\" to be reached from other \
             computers."
                .to_owned(),
            vec![("web.listen", "no address with a port".to_owned())],
        )];
    };
    let is_reachable = !address.ip().is_loopback();
    match (&web.certificate, &web.key) {
        (Some(_), None) => vec![error(
            "web.certificate",
            "`web.certificate` comes without `web.key`".to_owned(),
            "Name the PEM file of its private key.".to_owned(),
            vec![("web.certificate", "without a key".to_owned())],
        )],
        (None, Some(_)) => vec![error(
            "web.key",
            "`web.key` comes without `web.certificate`".to_owned(),
            "Name the PEM file of the certificate.".to_owned(),
            vec![("web.key", "without a certificate".to_owned())],
        )],
        (Some(_), Some(_)) if web.insecure => vec![error(
            "web.insecure",
            "`web.insecure = true` contradicts `web.certificate`".to_owned(),
            "Leave one of them out.".to_owned(),
            vec![("web.insecure", "but there is a certificate".to_owned())],
        )],
        (None, None) if is_reachable && !web.insecure => vec![error(
            "web.listen",
            format!(
                "`web.listen = {:?}` can be reached from other computers, and passwords would go \
                 there unencrypted",
                web.listen
            ),
            "Give `web.certificate` and `web.key`, listen at 127.0.0.1, or write \
             `insecure = true` where the network itself is safe."
                .to_owned(),
            vec![(
                "web.listen",
                "can be reached from other computers".to_owned(),
            )],
        )],
        _ => vec![],
    }
}

/// The simulator draws at the camera's line rate, and at least one line.
pub(crate) fn simulator(station: &Station) -> Vec<Finding> {
    let Source::Simulator {
        metres,
        drawn_beforehand,
        ..
    } = station.source
    else {
        return vec![];
    };
    let mut findings = Vec::new();
    let rate = station.camera.line_rate_hz;
    let least = MINIMUM_SIMULATED_LINE_RATE_HZ;
    if rate < least {
        findings.push(error(
            LINE_RATE,
            format!(
                "`{LINE_RATE} = {rate}` is too slow for the simulator, which draws at least \
                 {least} lines per second"
            ),
            format!("Raise `{LINE_RATE}` to at least {least}, or choose another source."),
            vec![
                (LINE_RATE, format!("{rate} lines per second")),
                ("source.kind", "draws steel".to_owned()),
            ],
        ));
    }
    let lines_per_metre = station.lines_per_metre(station.material.speed_m_per_s.nominal);
    if metres * lines_per_metre < 1.0 {
        findings.push(error(
            METRES,
            format!(
                "`{METRES} = {metres}` is shorter than a line: {} lines per metre",
                figures(lines_per_metre)
            ),
            format!(
                "Raise `{METRES}` to at least {}.",
                ceil(1.0 / lines_per_metre)
            ),
            vec![
                (METRES, format!("{metres} m")),
                (
                    LINE_RATE,
                    format!("{} m per line", figures(1.0 / lines_per_metre)),
                ),
            ],
        ));
    }
    let bytes_per_metre = lines_per_metre * station.camera.pixels_per_line as f64;
    let bytes = metres * bytes_per_metre;
    if drawn_beforehand && bytes > MAXIMUM_DRAWN_BYTES as f64 {
        findings.push(error(
            METRES,
            format!(
                "`{METRES} = {metres}` are {} GiB of lines, more than the {} GiB that are drawn \
                 beforehand",
                figures(bytes / (1u64 << 30) as f64),
                gib(MAXIMUM_DRAWN_BYTES)
            ),
            format!(
                "Lower `{METRES}` to at most {}, or remove `{DRAWN_BEFOREHAND}`.",
                floor(MAXIMUM_DRAWN_BYTES as f64 / bytes_per_metre)
            ),
            vec![
                (METRES, format!("{metres} m")),
                (DRAWN_BEFOREHAND, "kept in memory".to_owned()),
            ],
        ));
    }
    findings
}

/// Thresholds are of defects.
pub(crate) fn thresholds(station: &Station) -> Vec<Finding> {
    let Some(threshold) = station.thresholds.get(NO_DEFECT) else {
        return vec![];
    };
    let key = "thresholds.no_defect";
    vec![error(
        key,
        format!("`{key} = {threshold}` has no meaning: `{NO_DEFECT}` is never flagged"),
        "Remove the line. To flag less, raise the thresholds of the defect classes.".to_owned(),
        vec![(key, "is never flagged".to_owned())],
    )]
}

/// What nobody has judged can be looked at later; doubtful otherwise.
pub(crate) fn kept_images(station: &Station) -> Vec<Finding> {
    if station.recording.keep_images != KeepImages::None {
        return vec![];
    }
    let key = "recording.keep_images";
    vec![warning(
        key,
        format!(
            "`{key} = \"none\"` keeps no image of unjudged tiles: what nobody has looked at \
             cannot be looked at later"
        ),
        format!("Write `{key} = \"flagged\"`."),
        vec![(key, "keeps no image".to_owned())],
    )]
}

/// Material detection can find background; doubtful otherwise.
pub(crate) fn material_detection(station: &Station) -> Vec<Finding> {
    let detection = &station.material_detection;
    let (key, why) = match (detection.minimum_level, detection.minimum_share) {
        _ if !detection.enabled => return vec![],
        (0, _) => (
            "material_detection.minimum_level",
            "every pixel reaches level 0",
        ),
        (_, 0.0) => (
            "material_detection.minimum_share",
            "no share is less than 0",
        ),
        _ => return vec![],
    };
    vec![warning(
        key,
        format!("`{key} = 0` makes no tile background: {why}"),
        format!("Raise `{key}`, or say it plainly with `material_detection.enabled = false`."),
        vec![(key, why.to_owned())],
    )]
}

/// Keeping every image does not fill the disk at once; doubtful otherwise.
pub(crate) fn disk_budget(station: &Station) -> Vec<Finding> {
    if station.recording.keep_images != KeepImages::All {
        return vec![];
    }
    let speed = station.material.speed_m_per_s.nominal;
    let bytes_per_second =
        station.lines_per_second_at(speed) * station.camera.pixels_per_line as f64;
    let budget = station.recording.disk_budget_gib * (1u64 << 30) as f64;
    let seconds = budget / bytes_per_second;
    if seconds >= BRIEF_RECORDING_S {
        return vec![];
    }
    let budget_key = "recording.disk_budget_gib";
    vec![warning(
        budget_key,
        format!(
            "`{budget_key} = {}` can be full after {} minutes of keeping every image",
            station.recording.disk_budget_gib,
            figures(seconds / 60.0)
        ),
        format!(
            "Write `recording.keep_images = \"flagged\"`, or raise `{budget_key}` to at least {} \
             for one hour.",
            ceil(bytes_per_second * BRIEF_RECORDING_S / (1u64 << 30) as f64)
        ),
        vec![
            (
                budget_key,
                format!("{} GiB", station.recording.disk_budget_gib),
            ),
            ("recording.keep_images", "keeps every image".to_owned()),
            (
                PIXELS,
                format!("{} bytes per line", station.camera.pixels_per_line),
            ),
            (
                LINE_RATE,
                format!("{} lines per second", station.lines_per_second_at(speed)),
            ),
        ],
    )]
}
