//! `millsight engine`: finding and installing ONNX Runtime.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use clap::Subcommand;
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::engine::library;
use millsight_export::output;
use serde_json::json;
use tempfile::TempDir;
use zip::ZipArchive;

/// The release that is installed: the one that the bindings were made for.
const VERSION: &str = "1.31.1";

/// A wheel on PyPI, pinned by its SHA-256.
struct Wheel {
    package: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

/// Examples of `millsight engine`.
pub const EXAMPLES: &str = "\
Examples:
  millsight engine install          ONNX Runtime for the processor
  millsight engine install --gpu    the build with CUDA and TensorRT
  millsight engine list             what is found, the preferred one first
  millsight doctor                  what each engine does with the model";

const LIST_EXAMPLES: &str = "\
Examples:
  millsight engine list
  millsight engine list --json

With --json each line is an object: library, found_by, version, error.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  millsight engine install
  millsight engine install --gpu

Where there is no network, put libonnxruntime.so beside the program, or name it \
with --library, `engine.library` in the station, or ORT_DYLIB_PATH.";

/// Commands of `millsight engine`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the ONNX Runtime libraries that are found, in order of preference.
    ///
    /// The first that states a version which this program can drive is the one
    /// that runs the model.
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Fetch ONNX Runtime from PyPI with pip into your data folder.
    ///
    /// Needs Python 3 with pip, but installs nothing into it: the wheel's
    /// shared library is unpacked into Millsight's own folder. The wheel is
    /// pinned by its SHA-256.
    #[command(after_help = INSTALL_EXAMPLES)]
    Install {
        /// The build with CUDA and TensorRT (about 250 MB; needs NVIDIA's
        /// driver, CUDA and cuDNN to run).
        #[arg(long)]
        gpu: bool,
    },
}

/// Runs a command of `millsight engine`.
pub fn execute(command: &Command, json: bool) -> miette::Result<ExitCode> {
    match command {
        Command::List => list(json),
        Command::Install { gpu } => {
            let path = install(*gpu)?;
            let version = library::version(&path).into_diagnostic()?;
            if json {
                output::line(json!({"library": path, "version": version}))?;
            } else {
                output::line(format_args!("ONNX Runtime {version}: {}", path.display()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(json: bool) -> miette::Result<ExitCode> {
    let candidates = library::candidates(None);
    for candidate in &candidates {
        let version = library::version(&candidate.path);
        if json {
            output::line(json!({
                "library": candidate.path,
                "found_by": candidate.found_by,
                "version": version.as_ref().ok(),
                "error": version.as_ref().err().map(ToString::to_string),
            }))?;
        } else {
            let said = version.unwrap_or_else(|error| error.to_string());
            output::line(format_args!(
                "{said:<10} {} ({})",
                candidate.path.display(),
                candidate.found_by
            ))?;
        }
    }
    if candidates.is_empty() && !json {
        output::line(
            "no ONNX Runtime found; the embedded engine is used. `millsight engine install` fetches one.",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wheel(gpu: bool) -> miette::Result<Wheel> {
    let sha256 = match (gpu, std::env::consts::OS, std::env::consts::ARCH) {
        (false, "linux", "x86_64") => {
            "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f"
        }
        (false, "linux", "aarch64") => {
            "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3"
        }
        (true, "linux", "x86_64") => {
            "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6"
        }
        (_, os, arch) => {
            return Err(miette!(
                help = "install ONNX Runtime by hand and name its library with --library or ORT_DYLIB_PATH",
                "no pinned ONNX Runtime{} for {os} on {arch}",
                if gpu { " with GPU support" } else { "" }
            ));
        }
    };
    Ok(Wheel {
        package: if gpu {
            "onnxruntime-gpu"
        } else {
            "onnxruntime"
        },
        platform: if std::env::consts::ARCH == "aarch64" {
            "manylinux_2_28_aarch64"
        } else {
            "manylinux_2_28_x86_64"
        },
        sha256,
    })
}

/// Downloads and unpacks the library; gives its path. What was installed
/// before stays until the new one is complete.
fn install(gpu: bool) -> miette::Result<PathBuf> {
    let wheel = wheel(gpu)?;
    let target = library::install_folder(gpu).ok_or_else(|| {
        miette!("this system names no folder for user data; set HOME or XDG_DATA_HOME")
    })?;
    let parent = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot make {}", parent.display()))?;
    let work = TempDir::new_in(parent).into_diagnostic()?;
    let archive = download(&wheel, work.path())?;
    let unpacked = work.path().join("unpacked");
    unpack(&archive, &unpacked).wrap_err_with(|| format!("cannot unpack {}", archive.display()))?;
    if target.exists() {
        fs::rename(&target, work.path().join("replaced")).into_diagnostic()?;
    }
    fs::rename(&unpacked, &target)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot put the library into {}", target.display()))?;
    library::candidates(None)
        .into_iter()
        .map(|candidate| candidate.path)
        .find(|path| path.starts_with(&target))
        .ok_or_else(|| miette!("the wheel held no libonnxruntime.so"))
}

/// Lets pip fetch the wheel; pip checks the hash.
fn download(wheel: &Wheel, folder: &Path) -> miette::Result<PathBuf> {
    let requirements = folder.join("requirements.txt");
    let line = format!(
        "{}=={VERSION} --hash=sha256:{}\n",
        wheel.package, wheel.sha256
    );
    fs::write(&requirements, line).into_diagnostic()?;
    eprintln!("fetching {} {VERSION} from PyPI …", wheel.package);
    let output = Process::new("python3")
        .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"])
        .args(["--platform", wheel.platform, "--require-hashes", "--quiet", "--dest"])
        .arg(folder)
        .arg("--requirement")
        .arg(&requirements)
        .output()
        .into_diagnostic()
        .wrap_err("cannot start python3; install Python 3 with pip, or put libonnxruntime.so beside the program yourself")?;
    if !output.status.success() {
        return Err(miette!(
            help = "check the network and that `python3 -m pip --version` works",
            "pip could not fetch {} {VERSION}:\n{}",
            wheel.package,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    fs::read_dir(folder)
        .into_diagnostic()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| miette!("pip reported success but left no wheel"))
}

/// Unpacks the shared libraries of a wheel.
fn unpack(archive: &Path, folder: &Path) -> miette::Result<()> {
    fs::create_dir_all(folder).into_diagnostic()?;
    let mut zip = ZipArchive::new(File::open(archive).into_diagnostic()?).into_diagnostic()?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).into_diagnostic()?;
        let name = member
            .name()
            .into_diagnostic()?
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        if name.starts_with("libonnxruntime") && name.contains(".so") {
            let mut file = File::create(folder.join(&name)).into_diagnostic()?;
            io::copy(&mut member, &mut file).into_diagnostic()?;
            file.sync_all().into_diagnostic()?;
        }
    }
    Ok(())
}
