//! Threads on the processor cores that a station names, and which of them goes first
//! where cores are short.

use core_affinity::CoreId;
use millsight_firmware_config::Cores;
use thiserror::Error;

/// A station names a core that this program may not use.
#[derive(Debug, Error)]
#[error(
    "`{key}` names core {core}, but this machine lets the program use {available}; name one of \
     these, or leave the key out"
)]
pub struct NoSuchCore {
    key: &'static str,
    core: usize,
    available: String,
}

/// Checks that every core that a station names can be used.
///
/// # Errors
/// With the first that cannot.
pub fn check(cores: &Cores) -> Result<(), NoSuchCore> {
    let available: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    let missing = cores.named().find(|(_, core)| !available.contains(core));
    match missing {
        None => Ok(()),
        Some((key, core)) => Err(NoSuchCore {
            key,
            core,
            available: match &available[..] {
                [] => "none by name".to_owned(),
                cores => {
                    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
                    format!("cores {}", cores.join(", "))
                }
            },
        }),
    }
}

/// Binds the calling thread to a core. `false` when the operating system refuses.
pub fn bind(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
}

/// Niceness by which a thread stands back: another gets three times its time.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 5;

/// Lets the calling thread stand back behind the others where cores are short. On
/// Linux alone a thread has a niceness of its own; elsewhere nothing happens.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        // Where this fails, the thread goes on as it was.
        let _ = getpriority_process(None)
            .and_then(|niceness| setpriority_process(None, (niceness + BEHIND).min(19)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_stands_back_alone() {
        use rustix::process::getpriority_process;
        let before = getpriority_process(None).unwrap();
        let behind = std::thread::spawn(|| {
            stand_back();
            getpriority_process(None).unwrap()
        });
        assert_eq!(behind.join().unwrap(), (before + BEHIND).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn a_core_that_is_not_there_is_named_with_its_key() {
        let cores = Cores {
            classify: vec![1023],
            ..Cores::default()
        };
        let said = check(&cores).unwrap_err().to_string();
        assert!(
            said.starts_with("`cores.classify` names core 1023"),
            "{said}"
        );
        assert!(check(&Cores::default()).is_ok());
    }

    #[test]
    fn a_thread_runs_on_its_core_alone() {
        let core = core_affinity::get_core_ids().unwrap().pop().unwrap();
        let bound = std::thread::spawn(move || {
            assert!(bind(core.id));
            core_affinity::get_core_ids().unwrap()
        });
        assert_eq!(bound.join().unwrap(), [core]);
    }
}
