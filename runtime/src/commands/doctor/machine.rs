//! Processor, devices and kernel settings.
//!
//! What Linux shows as files is read below a `root`, so that tests can show
//! other machines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sysinfo::System;

use super::Findings;
use crate::source::connected::Connected;

const GIB: f64 = (1u64 << 30) as f64;

/// Socket buffer that a GigE camera wants: lines of some milliseconds.
const SOCKET_BUFFER_BYTES: u64 = 4 << 20;

/// Swappiness above which the kernel may swap out buffers that wait for lines.
const CALM_SWAPPINESS: u64 = 10;

/// Cores and memory.
pub fn processor(findings: &mut Findings) {
    let mut system = match System::new() {
        Ok(system) => system,
        Err(error) => {
            findings.note("machine", format!("cannot be looked at: {error}"));
            return;
        }
    };
    system.refresh_memory();
    system.refresh_cpu_all();
    let brand = system.cpus().first().map_or("unknown", |cpu| cpu.brand());
    findings.ok(
        "machine",
        format!(
            "{} cores ({}), {:.1} GiB memory, {:.1} GiB of it free",
            system.cpus().len(),
            brand.trim(),
            system.total_memory() as f64 / GIB,
            system.available_memory() as f64 / GIB
        ),
    );
}

/// GPUs with NVIDIA's driver.
pub fn graphics(root: &Path, findings: &mut Findings) {
    let driver = read(&root.join("proc/driver/nvidia/version"))
        .and_then(|text| text.lines().next().map(str::to_owned));
    let mut gpus = 0;
    for folder in entries(&root.join("proc/driver/nvidia/gpus")) {
        let Some(text) = read(&folder.join("information")) else {
            continue;
        };
        let model = text
            .lines()
            .find_map(|line| line.strip_prefix("Model:"))
            .map_or("unknown model", str::trim);
        gpus += 1;
        findings.ok("gpu", format!("{model} at {}", name(&folder)));
    }
    match driver {
        Some(driver) if gpus > 0 => findings.ok("gpu", driver),
        _ if gpus > 0 => findings.note("gpu", "NVIDIA's driver states no version"),
        _ => findings.ok("gpu", "none with NVIDIA's driver; the processor judges"),
    }
}

/// The cameras that are connected, and why one cannot be used.
pub fn cameras(connected: &[Connected], findings: &mut Findings) {
    if connected.is_empty() {
        findings.ok("camera", "none is connected");
    }
    for camera in connected {
        match &camera.problem {
            None => findings.ok("camera", format!("{}: {}", camera.name, camera.source)),
            Some(problem) => findings.note("camera", format!("{}: {problem}", camera.name)),
        }
    }
}

/// Kernel settings that matter beside a line camera, those that exist.
pub fn kernel(root: &Path, findings: &mut Findings) {
    governors(root, findings);
    let number = |path: &str| read(&root.join(path)).and_then(|text| text.parse::<u64>().ok());
    if let Some(swappiness) = number("proc/sys/vm/swappiness") {
        let text = format!("swappiness {swappiness}");
        if swappiness <= CALM_SWAPPINESS {
            findings.ok("kernel", text);
        } else {
            findings.note(
                "kernel",
                format!(
                    "{text}; lines that wait should stay in memory: \
                     sysctl vm.swappiness={CALM_SWAPPINESS}"
                ),
            );
        }
    }
    if let Some(pages) = read(&root.join("sys/kernel/mm/transparent_hugepage/enabled")) {
        let text = format!("transparent huge pages {pages}");
        if pages.contains("[always]") {
            findings.note(
                "kernel",
                format!("{text}; compaction can delay a line thread, `madvise` avoids it"),
            );
        } else {
            findings.ok("kernel", text);
        }
    }
    if let Some(bytes) = number("proc/sys/net/core/rmem_max") {
        let text = format!("largest socket buffer {bytes} bytes");
        if bytes >= SOCKET_BUFFER_BYTES {
            findings.ok("kernel", text);
        } else {
            findings.note(
                "kernel",
                format!(
                    "{text}; a GigE camera wants 4 MiB: sysctl \
                     net.core.rmem_max={SOCKET_BUFFER_BYTES}"
                ),
            );
        }
    }
    let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    if let Some(source) = read(&root.join(clock)) {
        let text = format!("clock source {source}");
        // Reading any of the others leaves the processor, for each timestamp.
        if [
            "tsc",
            "arch_sys_counter",
            "kvm-clock",
            "hyperv_clocksource_tsc_page",
        ]
        .contains(&source.as_str())
        {
            findings.ok("kernel", text);
        } else {
            findings.note(
                "kernel",
                format!("{text}; the processor's own counter (tsc) is read faster"),
            );
        }
    }
}

/// The cores' frequency governors, each named once.
fn governors(root: &Path, findings: &mut Findings) {
    let governors: BTreeSet<String> = entries(&root.join("sys/devices/system/cpu"))
        .iter()
        .filter_map(|cpu| read(&cpu.join("cpufreq/scaling_governor")))
        .collect();
    if governors.is_empty() {
        return;
    }
    let named = governors.iter().map(String::as_str).collect::<Vec<_>>();
    let text = format!("cpu governor {}", named.join(", "));
    if named == ["performance"] {
        findings.ok("kernel", text);
    } else {
        findings.note(
            "kernel",
            format!("{text}; `performance` keeps latencies even"),
        );
    }
}

/// A file's text without the white space around it; `None` where it cannot be
/// read.
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

/// What lies in a folder, by name; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Status;
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn found(look: fn(&Path, &mut Findings), files: &[(&str, &str)]) -> Vec<(Status, String)> {
        let mut findings = Findings::default();
        look(machine(files).path(), &mut findings);
        let found = findings.0.into_iter();
        found
            .map(|finding| (finding.status, finding.text))
            .collect()
    }

    #[test]
    fn cameras_are_listed_with_what_is_wrong_with_them() {
        let camera = |problem: Option<&str>| Connected {
            name: "Line camera".into(),
            source: "kind = \"v4l2\"".into(),
            paths: Vec::new(),
            problem: problem.map(str::to_owned),
            formats: Vec::new(),
            controls: Vec::new(),
        };
        let mut findings = Findings::default();
        cameras(&[camera(None), camera(Some("it is in use"))], &mut findings);
        cameras(&[], &mut findings);
        let texts: Vec<&str> = findings.0.iter().map(|found| found.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Line camera: kind = \"v4l2\"",
                "Line camera: it is in use",
                "none is connected"
            ]
        );
    }

    #[test]
    fn gpus_are_listed() {
        let found = found(
            graphics,
            &[
                (
                    "proc/driver/nvidia/gpus/0000:01:00.0/information",
                    "Model: \t\t NVIDIA L4\nIRQ: 5\n",
                ),
                (
                    "proc/driver/nvidia/version",
                    "NVRM version: 570.1\nGCC version: 12\n",
                ),
            ],
        );
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["NVIDIA L4 at 0000:01:00.0", "NVRM version: 570.1"]);
    }

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        let found = found(graphics, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("none with NVIDIA's driver"));
    }

    #[test]
    fn kernel_settings_that_exist_are_judged_and_others_left_out() {
        assert!(found(kernel, &[]).is_empty());
        let governor = |cpu: &str| format!("sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor");
        let (first, second) = (governor("cpu0"), governor("cpu1"));
        let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        let pages = "sys/kernel/mm/transparent_hugepage/enabled";
        let calm = found(
            kernel,
            &[
                (&first, "performance"),
                (&second, "performance"),
                ("proc/sys/vm/swappiness", "10\n"),
                (pages, "always [madvise] never\n"),
                ("proc/sys/net/core/rmem_max", "4194304\n"),
                (clock, "tsc\n"),
            ],
        );
        assert_eq!(calm.len(), 5);
        assert!(calm.iter().all(|(status, _)| *status == Status::Ok));
        let restless = found(
            kernel,
            &[
                (&first, "performance"),
                (&second, "powersave"),
                ("proc/sys/vm/swappiness", "60\n"),
                (pages, "[always] madvise never\n"),
                ("proc/sys/net/core/rmem_max", "212992\n"),
                (clock, "hpet\n"),
            ],
        );
        assert_eq!(restless.len(), 5);
        for (status, text) in &restless {
            assert_eq!(*status, Status::Note, "{text}");
        }
        assert!(restless[0].1.contains("performance, powersave"));
    }
}
