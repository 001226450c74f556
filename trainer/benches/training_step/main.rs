//! A training step of ViT-Tiny/16 at 224 pixels, 32 images, `f32`, beside
//! PyTorch on the same threads.
//!
//! ```sh
//! cargo bench --workspace --bench training_step
//! cargo bench --workspace --bench training_step -- supervised --rounds 15 --threads 2
//! ```
//!
//! Ours and PyTorch run in processes of their own, which stay; they compute
//! one step in turns, so that what else the machine does falls on both alike.
//! The table gives the medians, the median of the ratios of neighbouring steps
//! with the smallest and the largest, and the peak memory of each process.
//!
//! PyTorch's side is `training_step.py`. Its packages are pinned in
//! `requirements.txt` and installed, at the first run, into an environment in
//! the user's cache; `MILLSIGHT_PYTHON` names a Python that has them already.
//!
//! A workload is one function here ([`workloads`]) and one of the same name
//! in `training_step.py`.
#![allow(clippy::print_stdout)]

mod peers;
mod workloads;

use std::error::Error;
use std::io::BufRead;
use std::time::{Duration, Instant};

use peers::Peer;

/// The first argument of a process that computes our side.
const OURS: &str = "ours";

/// How long both sides rest between two steps: idle threads of a pool may
/// spin for a while.
const REST: Duration = Duration::from_millis(300);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, workload, threads, ..] = &arguments[..]
        && first == OURS
    {
        return ours(workload, threads.parse()?);
    }
    let mut chosen = Vec::new();
    let (mut rounds, mut threads) = (9, 2);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize, Box<dyn Error>> {
            let value = arguments.next().unwrap_or_default();
            value
                .parse()
                .map_err(|_| format!("{argument} needs a number").into())
        };
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--rounds" => rounds = number()?.max(1),
            "--threads" => threads = number()?.max(1),
            name => chosen.push(workloads::find(name)?.0),
        }
    }
    if chosen.is_empty() {
        chosen = workloads::ALL.iter().map(|(name, _)| *name).collect();
    }
    let python = peers::python()?;
    println!("{threads} threads, {rounds} rounds\n");
    println!(
        "| step | ours, images/s | PyTorch, images/s | ratio (range) | ours, MiB | PyTorch, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for workload in chosen {
        println!("{}", compare(workload, rounds, threads, &python)?);
    }
    Ok(())
}

/// One line of the table.
fn compare(
    workload: &str,
    rounds: usize,
    threads: usize,
    python: &std::path::Path,
) -> Result<String, Box<dyn Error>> {
    let mut ours = Peer::ours(workload, threads)?;
    let mut pytorch = Peer::pytorch(python, workload, threads)?;
    let (mut our_seconds, mut their_seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Neither side is always the first.
        let (our, their);
        if round % 2 == 0 {
            our = step(&mut ours)?;
            their = step(&mut pytorch)?;
        } else {
            their = step(&mut pytorch)?;
            our = step(&mut ours)?;
        }
        our_seconds.push(our);
        their_seconds.push(their);
        ratios.push(their / our);
    }
    let images = workloads::BATCH as f64;
    let (our, _, _) = median_and_range(our_seconds);
    let (their, _, _) = median_and_range(their_seconds);
    let (ratio, low, high) = median_and_range(ratios);
    Ok(format!(
        "| {workload} | {:.1} | {:.1} | {ratio:.2} ({low:.2} to {high:.2}) | {:.0} | {:.0} |",
        images / our,
        images / their,
        ours.peak_mebibytes()?,
        pytorch.peak_mebibytes()?,
    ))
}

fn step(peer: &mut Peer) -> Result<f64, Box<dyn Error>> {
    std::thread::sleep(REST);
    peer.step()
}

fn median_and_range(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    };
    (median, values[0], values[values.len() - 1])
}

/// Our side of the protocol that `training_step.py` describes.
fn ours(workload: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    let mut step = (workloads::find(workload)?.1)(threads)?;
    step()?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        let begin = Instant::now();
        step()?;
        println!("{}", begin.elapsed().as_secs_f64());
    }
    println!("{}", peers::own_peak_mebibytes()?);
    Ok(())
}
