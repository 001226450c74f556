//! Finding ONNX Runtime's shared library.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use super::EngineError;

/// Environment variable that names the library, as in ONNX Runtime's own
/// Rust bindings.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// A shared library that may be ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// Why it was considered, for people.
    pub found_by: String,
}

/// All libraries that are found, the preferred one first: the one named by
/// the caller, `ORT_DYLIB_PATH`, beside the executable, the folder of
/// `millsight engine install`, Python's site-packages, the system's folders.
///
/// A library that is named but absent is a candidate all the same, so that
/// its absence is reported and not passed over.
pub fn candidates(named: Option<&Path>) -> Vec<Candidate> {
    let mut found = Vec::new();
    if let Some(path) = named {
        found.push(Candidate {
            path: path.to_path_buf(),
            found_by: "named by the caller".into(),
        });
    }
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|value| !value.is_empty()) {
        found.push(Candidate {
            path: path.into(),
            found_by: LIBRARY_VARIABLE.into(),
        });
    }
    for (folder, found_by) in folders() {
        for path in libraries_in(&folder) {
            found.push(Candidate {
                path,
                found_by: found_by.clone(),
            });
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|candidate| seen.insert(candidate.path.clone()));
    found
}

/// Number of folders that [`candidates`] searches.
pub fn searched_folders() -> usize {
    folders().len()
}

/// Where `millsight engine install` puts its library: `onnxruntime/` or
/// `onnxruntime-gpu/` in the user's data folder. `None` where the system
/// knows no such folder.
pub fn install_folder(gpu: bool) -> Option<PathBuf> {
    let name = if gpu {
        "onnxruntime-gpu"
    } else {
        "onnxruntime"
    };
    Some(dirs::data_dir()?.join("millsight").join(name))
}

/// The version that a library states of itself, for example `1.31.1`.
///
/// # Errors
/// [`EngineError::Library`] when the file is missing, is no shared library
/// for this machine, or is not ONNX Runtime.
pub fn version(path: &Path) -> Result<String, EngineError> {
    let problem = |reason: String| EngineError::Library {
        path: path.to_path_buf(),
        reason,
    };
    if !path.is_file() {
        return Err(problem("there is no such file".into()));
    }
    // SAFETY: loading a library runs its initialisers; the user chose this
    // file or it lies where ONNX Runtime is installed. The symbol's type and
    // the returned structure are those of ONNX Runtime's stable C interface,
    // and the version string is static within the library, which stays
    // loaded until it has been copied.
    unsafe {
        let library = libloading::Library::new(path).map_err(|error| problem(error.to_string()))?;
        let base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const ort::sys::OrtApiBase> =
            library.get(b"OrtGetApiBase").map_err(|_| {
                problem("it does not export OrtGetApiBase: not ONNX Runtime".into())
            })?;
        let base = base();
        if base.is_null() {
            return Err(problem("OrtGetApiBase gave nothing".into()));
        }
        let text = ((*base).GetVersionString)();
        if text.is_null() {
            return Err(problem("it states no version".into()));
        }
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

fn folders() -> Vec<(PathBuf, String)> {
    let mut folders = Vec::new();
    if let Some(folder) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        folders.push((folder.to_path_buf(), "beside the program".to_owned()));
        folders.push((folder.join("lib"), "beside the program".to_owned()));
    }
    for gpu in [true, false] {
        if let Some(folder) = install_folder(gpu) {
            folders.push((folder, "millsight engine install".to_owned()));
        }
    }
    for packages in python_packages() {
        folders.push((
            packages.join("onnxruntime").join("capi"),
            "Python package".to_owned(),
        ));
    }
    for folder in [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/opt/onnxruntime/lib",
    ] {
        folders.push((folder.into(), "system folder".to_owned()));
    }
    folders
}

/// Site-packages folders of the active virtual environment, of the user and
/// of the system's Pythons, found without starting Python.
fn python_packages() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(value) = std::env::var_os(variable) {
            roots.push(value.into());
        }
    }
    if let Some(home) = dirs::home_dir() {
        roots.push(home.join(".local"));
        roots.extend(subfolders(&home.join(".pyenv").join("versions")));
    }
    roots.push("/usr/local".into());
    roots.push("/usr".into());
    let mut packages = Vec::new();
    for root in roots {
        for python in subfolders(&root.join("lib")) {
            let is_python = python
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("python"));
            if is_python {
                packages.push(python.join("site-packages"));
                packages.push(python.join("dist-packages"));
            }
        }
    }
    packages
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    sorted_entries(folder, |path| path.is_dir())
}

/// Files named `libonnxruntime.so`, with or without a version, newest name
/// first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = sorted_entries(folder, |path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .is_some_and(|name| {
                name == "libonnxruntime.so"
                    || name.starts_with("libonnxruntime.so.")
                    || name == "onnxruntime.dll"
                    || (name.starts_with("libonnxruntime") && name.ends_with(".dylib"))
            })
    });
    found.reverse();
    found
}

fn sorted_entries(folder: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| keep(path))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_named_library_comes_first_even_when_it_is_absent() {
        let named = Path::new("/nowhere/libonnxruntime.so");
        let found = candidates(Some(named));
        assert_eq!(found[0].path, named);
        let message = version(named).unwrap_err().to_string();
        assert!(message.contains("/nowhere/libonnxruntime.so"), "{message}");
        assert!(message.contains("no such file"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not a library").unwrap();
        assert!(matches!(
            version(file.path()),
            Err(EngineError::Library { .. })
        ));
    }

    #[test]
    fn versioned_names_are_found_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.20.0",
            "libonnxruntime.so.1.31.1",
            "libother.so",
        ] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = libraries_in(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.20.0"]
        );
    }
}
