//! `millsight`: the runtime beside the camera.

use std::process::ExitCode;

use clap::Parser;
use millsight_runtime::commands::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::execute(cli) {
        Ok(code) => code,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
