//! The folder of a study.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use millsight_export::durable::{remove_partials, replace_file};
use serde::{Deserialize, Serialize};

use super::error::StudyError;
use super::plan::{Job, Plan};
use crate::TrainError;
use crate::evaluate::report::Report;
use crate::run::folder::RunFolder;

/// The folder of a study, which nobody else works on.
///
/// | file | is |
/// |---|---|
/// | `study.json` | the queue ([`Plan`]) |
/// | `runs/NAME/` | the run's folder |
/// | `logs/NAME.log` | what its processes said |
/// | `finished/NAME.json` | that it is finished, and its figures ([`Finished`]) |
/// | `failed/NAME.txt` | why it failed when it was last tried |
#[derive(Debug)]
pub struct StudyFolder {
    path: PathBuf,
    _lock: File,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// How long it took, in seconds; of an interrupted run the last part.
    pub seconds: f64,
    /// Its figures on the test part, where it is a classifier.
    pub test: Option<Report>,
}

impl StudyFolder {
    /// Makes the folder of a new study, or opens that of the same one.
    ///
    /// # Errors
    /// When it holds another study, somebody works on it, or it cannot be written.
    pub fn create(path: &Path, plan: &Plan) -> Result<Self, StudyError> {
        plan.check()?;
        fs::create_dir_all(path).map_err(TrainError::io("make the folder", path))?;
        let folder = Self::lock(path)?;
        if folder.file().exists() {
            let kept = folder.plan()?;
            return match plan.difference(&kept) {
                None => Ok(folder),
                Some(difference) => Err(StudyError::Another {
                    path: path.to_owned(),
                    difference,
                }),
            };
        }
        let text = serde_json::to_vec_pretty(plan).map_err(TrainError::from)?;
        replace_file(&folder.file(), &text).map_err(TrainError::io("write", folder.file()))?;
        Ok(folder)
    }

    /// Opens the folder of a study, and its queue.
    ///
    /// # Errors
    /// When it is none, or somebody works on it.
    pub fn open(path: &Path) -> Result<(Self, Plan), StudyError> {
        if !path.join("study.json").exists() {
            return Err(StudyError::NotAStudy {
                path: path.to_owned(),
                reason: "it has no study.json; begin one with `millsight-train study labels`"
                    .to_owned(),
            });
        }
        let folder = Self::lock(path)?;
        let plan = folder.plan()?;
        Ok((folder, plan))
    }

    fn lock(path: &Path) -> Result<Self, StudyError> {
        let lock = path.join("study.lock");
        let file = File::create(&lock).map_err(TrainError::io("make the lock", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StudyError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(TrainError::io("lock", lock)(error).into());
            }
        }
        let folder = Self {
            path: path.to_owned(),
            _lock: file,
        };
        for part in ["runs", "logs", "finished", "failed"] {
            let part = path.join(part);
            fs::create_dir_all(&part).map_err(TrainError::io("make the folder", &part))?;
            remove_partials(&part).map_err(TrainError::io("tidy", &part))?;
        }
        Ok(folder)
    }

    fn file(&self) -> PathBuf {
        self.path.join("study.json")
    }

    fn plan(&self) -> Result<Plan, StudyError> {
        let refuse = |reason: String| StudyError::NotAStudy {
            path: self.path.clone(),
            reason,
        };
        let text = fs::read(self.file()).map_err(|error| refuse(format!("study.json: {error}")))?;
        let plan: Plan = serde_json::from_slice(&text).map_err(|error| {
            refuse(format!(
                "study.json: {error}; put back the file as it was, or begin another study"
            ))
        })?;
        plan.check().map_err(|error| refuse(error.to_string()))?;
        Ok(plan)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a run.
    pub fn run(&self, job: &str) -> PathBuf {
        self.path.join("runs").join(job)
    }

    /// What the processes of a run have said.
    pub fn log(&self, job: &str) -> PathBuf {
        self.path.join("logs").join(format!("{job}.log"))
    }

    fn finished_file(&self, job: &str) -> PathBuf {
        self.path.join("finished").join(format!("{job}.json"))
    }

    fn failed_file(&self, job: &str) -> PathBuf {
        self.path.join("failed").join(format!("{job}.txt"))
    }

    /// What came out of a run; nothing where it is not finished, or where its folder was
    /// deleted since.
    pub fn finished(&self, job: &Job) -> Option<Finished> {
        let text = fs::read(self.finished_file(&job.name)).ok()?;
        let finished: Finished = serde_json::from_slice(&text).ok()?;
        let run = RunFolder::open(&self.run(&job.name)).ok()?.0;
        let result = match job.classifies {
            true => run.best(),
            false => run.backbone(),
        };
        (result.exists() && finished.test.is_some() == job.classifies).then_some(finished)
    }

    /// Notes that a run is finished.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn finish(&self, job: &str, finished: &Finished) -> Result<(), StudyError> {
        let file = self.finished_file(job);
        let text = serde_json::to_vec_pretty(finished).map_err(TrainError::from)?;
        replace_file(&file, &text).map_err(TrainError::io("write", &file))?;
        let _ = fs::remove_file(self.failed_file(job));
        Ok(())
    }

    /// Notes why a run has failed. On a full disk this may be lost; the study says it too.
    pub(super) fn fail(&self, job: &str, reason: &str) {
        let _ = fs::remove_file(self.finished_file(job));
        let _ = replace_file(&self.failed_file(job), reason.as_bytes());
    }
}
