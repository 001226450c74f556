//! `millsight`: the runtime beside the camera.

use std::process::ExitCode;

use clap::Parser;
use millsight_runtime::bench::process::CountingAllocator;
use millsight_runtime::commands::{self, Cli};

/// Counts, so that `millsight bench` can say how often the line allocates.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
