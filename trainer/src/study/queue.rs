//! Works a queue off: each run in a process of its own, as many at once as there are
//! devices.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::error::StudyError;
use super::folder::{Finished, StudyFolder};
use super::plan::{Job, Plan, RESULT_OF};
use crate::evaluate::report::Report;
use crate::run::folder::RunFolder;

/// Bytes of the end of a log that are told of a run that fails.
const TOLD: usize = 2000;

/// With what runs are done.
#[derive(Debug, Clone)]
pub struct Runner {
    /// The program `millsight-train`.
    pub program: PathBuf,
    /// A device for each run that is done at a time, for example `cpu` or `cuda:1`.
    pub devices: Vec<String>,
    /// Further options of the machine, as `--workers 2`.
    pub machine: Vec<String>,
    /// Names of runs that are left out.
    pub skipped: Vec<String>,
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It waits for its turn, or for those that it needs.
    Waiting,
    /// It is being done.
    Running,
    /// It is finished.
    Finished(Box<Finished>),
    /// It has failed, and why.
    Failed(String),
    /// It is left out, because it is to be, or because it needs another that is not there.
    Skipped(String),
}

/// A run whose state has changed.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The run.
    pub job: &'a Job,
    /// Its state.
    pub state: &'a State,
    /// Runs that are settled: finished, failed or left out.
    pub settled: usize,
    /// Runs in all.
    pub all: usize,
}

/// Works off the queue of a study; gives the state of each run, in the order of the plan.
/// A run that fails stops no other, but those that need it are left out.
///
/// # Errors
/// When nothing more can be written in the study's folder.
pub fn run(
    folder: &StudyFolder,
    plan: &Plan,
    runner: &Runner,
    observe: impl Fn(Change<'_>) + Sync,
) -> Result<Vec<State>, StudyError> {
    let states = plan.jobs.iter().map(|job| match folder.finished(job) {
        Some(finished) => State::Finished(Box::new(finished)),
        None if runner.skipped.contains(&job.name) => {
            State::Skipped("it is left out by --skip".to_owned())
        }
        None => State::Waiting,
    });
    let queue = Queue {
        jobs: &plan.jobs,
        states: Mutex::new(states.collect()),
        changed: Condvar::new(),
        observe: &observe,
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (runner.devices.iter())
            .map(|device| scope.spawn(|| queue.work(folder, runner, device)))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), StudyError>(())
    })?;
    Ok(queue
        .states
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

struct Queue<'a, O> {
    jobs: &'a [Job],
    states: Mutex<Vec<State>>,
    /// Somebody has settled a run.
    changed: Condvar,
    observe: &'a O,
}

impl<O: Fn(Change<'_>) + Sync> Queue<'_, O> {
    /// Does one run after the other on a device, until none is left.
    fn work(&self, folder: &StudyFolder, runner: &Runner, device: &str) -> Result<(), StudyError> {
        while let Some(number) = self.next() {
            let job = &self.jobs[number];
            let state = match done(folder, runner, device, job) {
                Ok(finished) => match folder.finish(&job.name, &finished) {
                    Ok(()) => State::Finished(Box::new(finished)),
                    Err(error) => {
                        self.set(number, State::Failed(error.to_string()));
                        return Err(error);
                    }
                },
                Err(reason) => {
                    folder.fail(&job.name, &reason);
                    State::Failed(reason)
                }
            };
            self.set(number, state);
        }
        Ok(())
    }

    /// Takes the next run that can be done; waits where that depends on others, and gives
    /// none when all are settled or running elsewhere without another to wait for.
    fn next(&self) -> Option<usize> {
        let mut states = self.locked();
        loop {
            let number = states.iter().position(|state| *state == State::Waiting)?;
            let mut ready = None;
            for number in number..self.jobs.len() {
                if states[number] != State::Waiting {
                    continue;
                }
                match self.needs(&states, number) {
                    Needs::Met => {
                        ready = Some(number);
                        break;
                    }
                    Needs::Pending => {}
                    Needs::Never(needed) => {
                        let reason = format!("it needs `{needed}`, which is not there");
                        states[number] = State::Skipped(reason);
                        self.tell(&states, number);
                    }
                }
            }
            if let Some(number) = ready {
                states[number] = State::Running;
                self.tell(&states, number);
                return Some(number);
            }
            if states.contains(&State::Waiting) {
                states = self
                    .changed
                    .wait(states)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn needs(&self, states: &[State], number: usize) -> Needs {
        let mut needs = Needs::Met;
        for needed in &self.jobs[number].needs {
            let found = self.jobs.iter().position(|job| job.name == *needed);
            match found.map(|found| &states[found]) {
                Some(State::Finished(_)) => {}
                Some(State::Waiting | State::Running) => needs = Needs::Pending,
                Some(State::Failed(_) | State::Skipped(_)) | None => {
                    return Needs::Never(needed.clone());
                }
            }
        }
        needs
    }

    fn set(&self, number: usize, state: State) {
        let mut states = self.locked();
        states[number] = state;
        self.tell(&states, number);
        drop(states);
        self.changed.notify_all();
    }

    fn tell(&self, states: &[State], number: usize) {
        let is_settled = |state: &&State| !matches!(state, State::Waiting | State::Running);
        (self.observe)(Change {
            job: &self.jobs[number],
            state: &states[number],
            settled: states.iter().filter(is_settled).count(),
            all: states.len(),
        });
    }

    fn locked(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what a run needs is there.
enum Needs {
    Met,
    Pending,
    /// The run of this name will not be there.
    Never(String),
}

/// Does a run: begins it or goes on with it, and evaluates it.
///
/// # Errors
/// Why it failed, for people.
fn done(
    folder: &StudyFolder,
    runner: &Runner,
    device: &str,
    job: &Job,
) -> Result<Finished, String> {
    let begun = Instant::now();
    let run = folder.run(&job.name);
    let path = |path: &Path| path.display().to_string();
    let machine = ["--device", device].map(str::to_owned);
    let machine: Vec<String> = machine.into_iter().chain(runner.machine.clone()).collect();
    let mut words = match RunFolder::open(&run) {
        // What died before its first checkpoint is begun anew by the same words.
        Ok((opened, _)) if opened.last().exists() => {
            vec![job.begin[0].clone(), "--resume".to_owned(), path(&run)]
        }
        _ => {
            let words = job
                .begin
                .iter()
                .map(|word| match word.strip_prefix(RESULT_OF) {
                    Some(name) => path(&folder.run(name).join("backbone.safetensors")),
                    None => word.clone(),
                });
            words.chain(["--out".to_owned(), path(&run)]).collect()
        }
    };
    words.extend(machine.clone());
    process(runner, folder, job, &words)?;
    let test = match job.classifies {
        false => None,
        true => {
            let mut words: Vec<String> = ["evaluate", "--run"].map(str::to_owned).into();
            words.push(path(&run));
            words.extend(machine);
            process(runner, folder, job, &words)?;
            Some(report(&run)?)
        }
    };
    Ok(Finished {
        seconds: begun.elapsed().as_secs_f64(),
        test,
    })
}

fn report(run: &Path) -> Result<Report, String> {
    let (opened, _) = RunFolder::open(run).map_err(|error| error.to_string())?;
    let file = opened.evaluation("test");
    let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Runs the program to its end, with what it says in the run's log.
fn process(
    runner: &Runner,
    folder: &StudyFolder,
    job: &Job,
    words: &[String],
) -> Result<(), String> {
    let path = folder.log(&job.name);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(failed)?;
    writeln!(log, "$ millsight-train {}", words.join(" ")).map_err(failed)?;
    let begin = log.seek(SeekFrom::End(0)).map_err(failed)?;
    let again = |log: &File| log.try_clone().map_err(failed);
    // It reads its input until that ends, which it does when this process ends, however
    // that happens: nobody goes on with a run that another begins anew.
    let mut child = Command::new(&runner.program)
        .arg("--ends-with-input")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(again(&log)?)
        .stderr(again(&log)?)
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", runner.program.display()))?;
    let input = child.stdin.take();
    let status = child.wait().map_err(failed)?;
    drop(input);
    if status.success() {
        return Ok(());
    }
    let said = fs::read(&path).unwrap_or_default();
    let said = said.get(begin as usize..).unwrap_or_default();
    let said = &said[said.len().saturating_sub(TOLD)..];
    Err(format!(
        "`millsight-train {}` ended with {status}: {}",
        words.first().map_or("", String::as_str),
        String::from_utf8_lossy(said).trim()
    ))
}

/// Figures of finished runs by the values of some factors, in the order of the plan.
pub fn by_factors<'a>(
    plan: &'a Plan,
    states: &'a [State],
    factors: &[&str],
) -> Vec<(Vec<&'a str>, Vec<&'a Report>)> {
    let mut groups: Vec<(Vec<&str>, Vec<&Report>)> = Vec::new();
    for (job, state) in plan.jobs.iter().zip(states) {
        let State::Finished(finished) = state else {
            continue;
        };
        let values = factors.iter().map(|&factor| job.factors.get(factor));
        let values: Option<Vec<&str>> = values.map(|value| value.map(String::as_str)).collect();
        let (Some(values), Some(report)) = (values, &finished.test) else {
            continue;
        };
        match groups.iter_mut().find(|(of, _)| *of == values) {
            Some((_, reports)) => reports.push(report),
            None => groups.push((values, vec![report])),
        }
    }
    groups
}
