//! The queue of a study: which runs it consists of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::StudyError;

/// The queue of a study, as its file `study.json` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the study asks, for example `labels`.
    pub question: String,
    /// Its runs, each behind those that it needs.
    pub jobs: Vec<Job>,
    /// Git revision of the trainer that made the plan.
    pub git_revision: String,
    /// The command line.
    pub command: String,
}

/// A run of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name, which is that of its folder below `runs`.
    pub name: String,
    /// Names of the runs that must be finished before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Words of the command that begins it, as `train TABLE …`, without the folder and the
    /// machine. A word that begins with [`RESULT_OF`] stands for the backbone of the run
    /// that it names.
    pub begin: Vec<String>,
    /// Whether it is a classifier, which is evaluated on the test part.
    pub classifies: bool,
    /// What tells it from the others, for tables: name and value.
    pub factors: BTreeMap<String, String>,
}

/// What begins a word that stands for the backbone of another run.
pub const RESULT_OF: &str = "backbone-of:";

impl Plan {
    /// That names can be those of folders, that none stands twice, and that each run comes
    /// behind those that it needs.
    ///
    /// # Errors
    /// With the run at which it is otherwise.
    pub fn check(&self) -> Result<(), StudyError> {
        let refuse = |job: &Job, reason: &str| {
            Err(StudyError::Settings(format!(
                "the run `{}` {reason}",
                job.name
            )))
        };
        let mut known = BTreeSet::new();
        for job in &self.jobs {
            let is_plain = |letter: char| letter.is_alphanumeric() || "-_.%".contains(letter);
            if job.name.is_empty() || job.name.starts_with('.') || !job.name.chars().all(is_plain) {
                return refuse(job, "has a name that no folder should have");
            }
            if job.begin.is_empty() {
                return refuse(job, "has no command");
            }
            for needed in &job.needs {
                if !known.contains(needed.as_str()) {
                    return refuse(
                        job,
                        &format!("needs `{needed}`, which does not stand before it"),
                    );
                }
            }
            if !known.insert(job.name.as_str()) {
                return refuse(job, "stands twice in the study");
            }
        }
        Ok(())
    }

    /// The first difference from another plan that would give other numbers, for people.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.question != other.question {
            return Some(format!(
                "it asks for {}, not {}",
                other.question, self.question
            ));
        }
        for (own, other) in self.jobs.iter().zip(&other.jobs) {
            if own != other {
                return Some(format!(
                    "its run `{}` is `{}`, not `{}`",
                    other.name,
                    other.begin.join(" "),
                    own.begin.join(" ")
                ));
            }
        }
        (self.jobs.len() != other.jobs.len())
            .then(|| format!("it has {} runs, not {}", other.jobs.len(), self.jobs.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, needs: &[&str]) -> Job {
        Job {
            name: name.to_owned(),
            needs: needs.iter().map(|&name| name.to_owned()).collect(),
            begin: vec!["train".to_owned()],
            classifies: true,
            factors: BTreeMap::new(),
        }
    }

    fn plan(jobs: Vec<Job>) -> Plan {
        Plan {
            question: "labels".to_owned(),
            jobs,
            git_revision: String::new(),
            command: String::new(),
        }
    }

    #[test]
    fn a_queue_that_cannot_be_worked_off_names_the_run() {
        assert!(
            plan(vec![job("mae", &[]), job("mae-1%", &["mae"])])
                .check()
                .is_ok()
        );
        for (jobs, reason) in [
            (vec![job("a", &["b"]), job("b", &[])], "needs `b`"),
            (vec![job("a", &[]), job("a", &[])], "stands twice"),
            (vec![job("../a", &[])], "no folder"),
            (vec![job(".a", &[])], "no folder"),
        ] {
            let told = plan(jobs).check().map_err(|error| error.to_string());
            assert!(
                told.clone().is_err_and(|told| told.contains(reason)),
                "{told:?}"
            );
        }
    }

    #[test]
    fn plans_that_give_other_numbers_differ() {
        let first = plan(vec![job("a", &[])]);
        let mut second = first.clone();
        second.command = "another".to_owned();
        assert_eq!(first.difference(&second), None);
        second.jobs[0].begin.push("--epochs".to_owned());
        let difference = first.difference(&second).unwrap_or_default();
        assert!(difference.contains("train --epochs"), "{difference}");
        second = plan(vec![job("a", &[]), job("b", &[])]);
        assert!(first.difference(&second).is_some());
    }
}
