//! Which processor cores the threads of a run are bound to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Highest number of a core that can be named.
pub const HIGHEST_CORE: usize = 1023;

/// Which processor cores the threads of a run are bound to. A thread without one
/// runs where the operating system puts it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cores {
    /// Core of the thread that takes lines from the source and makes rows of tiles
    /// of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = HIGHEST_CORE))]
    pub lines: Option<usize>,
    /// Cores of the threads that classify, the first for the first of them; when
    /// there are more threads than cores they take turns.
    #[schemars(inner(range(min = 0, max = HIGHEST_CORE)))]
    pub classify: Vec<usize>,
    /// Core of the thread that counts and records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = HIGHEST_CORE))]
    pub record: Option<usize>,
}

impl Cores {
    /// Core of a thread that classifies, counted from 0.
    pub fn of_worker(&self, worker: usize) -> Option<usize> {
        let cores = self.classify.len();
        (cores > 0).then(|| self.classify[worker % cores])
    }

    /// Every core that is named, with its key.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let classify = self.classify.iter().map(|&core| ("cores.classify", core));
        let lines = self.lines.map(|core| ("cores.lines", core));
        let record = self.record.map(|core| ("cores.record", core));
        lines.into_iter().chain(classify).chain(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_turns_on_the_cores_that_there_are() {
        let cores = Cores {
            lines: Some(0),
            classify: vec![2, 3],
            record: None,
        };
        let workers: Vec<_> = (0..4).map(|worker| cores.of_worker(worker)).collect();
        assert_eq!(workers, [2, 3, 2, 3].map(Some));
        assert_eq!(Cores::default().of_worker(1), None);
        let named: Vec<_> = cores.named().collect();
        assert_eq!(
            named,
            [
                ("cores.lines", 0),
                ("cores.classify", 2),
                ("cores.classify", 3)
            ]
        );
    }
}
