//! `millsight devices`: which cameras are connected.

use std::io::Write;
use std::process::ExitCode;

use millsight_export::output;
use serde::Serialize;

use crate::source::connected::{Connected, connected};

/// What is printed of all cameras.
#[derive(Debug, Serialize)]
struct Listing {
    cameras: Vec<Connected>,
    /// Kinds of cameras that were not looked for.
    not_looked_for: Vec<&'static str>,
}

/// Lists the cameras that are connected.
pub fn devices(json: bool) -> miette::Result<ExitCode> {
    let listing = Listing {
        cameras: connected(),
        not_looked_for: match cfg!(feature = "genicam") {
            true => Vec::new(),
            false => vec!["genicam"],
        },
    };
    if json {
        output::line(serde_json::json!(listing))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write(|out| describe(&listing, out))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(listing: &Listing, out: &mut dyn Write) -> std::io::Result<()> {
    for camera in &listing.cameras {
        writeln!(out, "{}", camera.name)?;
        writeln!(out, "  source     {}", camera.source)?;
        for path in &camera.paths {
            writeln!(out, "  path       {path}")?;
        }
        if let Some(problem) = &camera.problem {
            writeln!(out, "  problem    {problem}")?;
        }
        for format in &camera.formats {
            writeln!(out, "  format     {format}")?;
        }
        for control in &camera.controls {
            writeln!(out, "  control    {control}")?;
        }
    }
    if listing.cameras.is_empty() {
        writeln!(
            out,
            "no camera is connected: look at its power and its cable, and whether its driver is \
             loaded (`dmesg`)"
        )?;
    }
    for kind in &listing.not_looked_for {
        writeln!(
            out,
            "{kind} cameras were not looked for: this program was built without the feature \
             `{kind}`"
        )?;
    }
    Ok(())
}
