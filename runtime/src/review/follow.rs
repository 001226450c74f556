//! Keeps the queue up to date while a record is written, and watches the run that writes
//! it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::error::ReviewError;
use super::live::Live;
use super::store::Review;
use super::watch::Watch;

/// How often the record is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that takes over what is recorded, and raises alarms of a run, until it is
/// dropped.
pub struct Follower {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow the record in a folder, and to watch the run that writes it, where
    /// there is one.
    ///
    /// # Errors
    /// When the review cannot be opened.
    pub fn start(folder: &Path, live: Option<Arc<Live>>) -> Result<Self, ReviewError> {
        let review = Review::open(folder)?;
        let mut watch = live.map(Watch::new);
        let (stop, stopped) = mpsc::channel::<()>();
        let follow = move || {
            let mut told = None;
            loop {
                // One that lasts is told once.
                let watched = watch.as_mut().map_or(Ok(()), |watch| watch.look(&review));
                let problem = review.refresh().map(|_| ()).and(watched).err();
                let problem = problem.map(|error| error.to_string());
                if problem != told {
                    if let Some(problem) = &problem {
                        tracing::error!("the queue is not up to date: {problem}");
                    }
                    told = problem;
                }
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("millsight-follow".into())
            .spawn(follow)
            .map_err(ReviewError::Thread)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked follows no more either.
            let _ = thread.join();
        }
    }
}
