//! The two processes that are compared.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/training_step/training_step.py"
);
const REQUIREMENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/training_step/requirements.txt"
);

/// A process that computes a step for each line it is sent.
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// This program, as our side.
    pub fn ours(workload: &str, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([super::OURS, workload, &threads.to_string()]);
        Self::start(command)
    }

    /// PyTorch's side.
    pub fn pytorch(python: &Path, workload: &str, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(python);
        command.args([SCRIPT, workload, &threads.to_string()]);
        command.env("OMP_NUM_THREADS", threads.to_string());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().ok_or("no output")?;
        let mut peer = Self {
            child,
            requests,
            answers: BufReader::new(answers),
        };
        match peer.answer()?.as_str() {
            "ready" => Ok(peer),
            other => Err(format!("{command:?} said {other:?} instead of \"ready\"").into()),
        }
    }

    fn answer(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Computes a step; gives its seconds.
    pub fn step(&mut self) -> Result<f64, Box<dyn Error>> {
        let requests = self.requests.as_mut().ok_or("the process has ended")?;
        requests.write_all(b"step\n")?;
        requests.flush()?;
        Ok(self.answer()?.parse()?)
    }

    /// Ends the process; gives the most memory that it had.
    pub fn peak_mebibytes(&mut self) -> Result<f64, Box<dyn Error>> {
        drop(self.requests.take());
        let peak = self.answer()?.parse()?;
        self.child.wait()?;
        Ok(peak)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// The most memory that this process had, where the system tells.
pub fn own_peak_mebibytes() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or("/proc/self/status has no VmHWM")?;
    Ok(kibibytes.parse::<f64>()? / 1024.0)
}

/// A Python with the packages of `requirements.txt`.
pub fn python() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(python) = std::env::var_os("MILLSIGHT_PYTHON") {
        return Ok(python.into());
    }
    let environment = dirs::cache_dir()
        .ok_or("there is no cache folder for the user")?
        .join("millsight/training_step");
    let python = environment.join("bin/python");
    let installed = environment.join("requirements.txt");
    let wanted = std::fs::read(REQUIREMENTS)?;
    if std::fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!("installing PyTorch into {}", environment.display());
    run(Command::new("python3")
        .arg("-m")
        .arg("venv")
        .arg(&environment))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]))?;
    std::fs::write(installed, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(format!("{command:?} ended with {status}").into()),
    }
}
