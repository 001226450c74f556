//! Tells the program from which revision of the sources it is built.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let revision = revision(&package).unwrap_or_default();
    println!("cargo:rustc-env=MILLSIGHT_GIT_REVISION={revision}");
    // Whatever the program is made of, and where git notes what is committed.
    for source in ["src", "Cargo.toml", "../export/src", "../Cargo.lock"] {
        println!("cargo:rerun-if-changed={source}");
    }
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&package, &["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={}", package.join(path).display());
        }
    }
}

/// The revision, with `-dirty` when there are changes that are not committed;
/// nothing where the sources do not lie in a repository.
fn revision(package: &Path) -> Option<String> {
    let revision = git(package, &["rev-parse", "HEAD"])?;
    let changes = git(package, &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() {
        revision
    } else {
        format!("{revision}-dirty")
    })
}

fn git(package: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(package)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
