//! Why training, evaluation or export failed.

use std::path::{Path, PathBuf};

use millsight_export::weights::WeightsError;

use crate::data::DataError;
use crate::model::ModelError;

/// Why training, evaluation or export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A structure that JSON cannot hold.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The operating system refused a thread.
    #[error("cannot start worker threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Classifiers that cannot be compared.
    #[error("{first} and {second} cannot be compared: they have other {what}")]
    NotComparable {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// What is different: `classes` or `tiles`.
        what: &'static str,
    },
    /// A run would be overwritten.
    #[error(
        "{} already holds a run; continue it with --resume {}, or choose another folder", 
        path.display(), path.display()
    )]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is no run.
    #[error("{} is not a run folder: {reason}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A run that another command has begun.
    #[error(
        "{} is a run of `{command}`; continue it with \
         `millsight-train {command} --resume {}`", path.display(), path.display()
    )]
    OtherMethod {
        /// The run's folder.
        path: PathBuf,
        /// The command that it belongs to.
        command: &'static str,
    },
    /// Something that only a Vision Transformer can do.
    #[error(
        "{option} needs a Vision Transformer, which this network is not; leave it out, or take \
         --arch vit"
    )]
    NeedsVit {
        /// The option.
        option: &'static str,
    },
    /// A share of removed patches that leaves none, or removes none.
    #[error(
        "--mask-ratio {ratio} leaves {visible} of {patches} patches visible; \
         at least one must stay, and one be removed"
    )]
    MaskRatio {
        /// The share.
        ratio: f64,
        /// Patches that would stay.
        visible: usize,
        /// Patches of a tile.
        patches: usize,
    },
    /// The file is no checkpoint.
    #[error("{} is not a checkpoint of a run (it has no position in its metadata)", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint that is not as it was written.
    #[error(
        "the checkpoint {} is damaged: {reason}; put a copy of it in its place, or remove it and \
         resume, which begins the run anew", path.display()
    )]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint of another run.
    #[error(
        "the checkpoint {} does not fit the configuration beside it: {reason}; put the run's own \
         checkpoint in its place", path.display()
    )]
    ForeignCheckpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A checkpoint that cannot be written, for example because the disk is
    /// full.
    #[error(
        "{reason}; {}", if *previous {
            "the checkpoint before it is intact: make room and go on with --resume"
        } else {
            "there is no checkpoint yet: make room and begin anew"
        }
    )]
    CheckpointNotWritten {
        /// The file, and what the file system says.
        reason: String,
        /// Whether there is an older one.
        previous: bool,
    },
    /// Weights that no run has written.
    #[error(
        "{} was not written by `millsight-train train`: {reason}; \
         give it the best.safetensors of a run", path.display()
    )]
    ForeignWeights {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A file that holds no weights.
    #[error("{} is neither a safetensors file nor a PyTorch checkpoint (.pth)", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
    },
    /// A PyTorch checkpoint that is damaged or of a kind that is not read.
    #[error("cannot use the PyTorch checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that are not as they were written.
    #[error(
        "the weights {} are damaged: their contents are not what their checksum says; put a copy \
         of them in their place, or train again", path.display()
    )]
    DamagedWeights {
        /// The file.
        path: PathBuf,
    },
    /// Initial weights that do not fit.
    #[error("the network cannot begin with {}: {reason}", path.display())]
    Initial {
        /// The file.
        path: PathBuf,
        /// What does not fit and what to do.
        reason: String,
    },
    /// A file changed between a run's beginning and its continuation.
    #[error(
        "{} is not the file with which the run began (SHA-256 {got} instead of {expected}); \
         restore it or start a new run", path.display()
    )]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// Its hash now.
        got: String,
        /// Its hash when the run began.
        expected: String,
    },
    /// A setting out of range.
    #[error("{name} must be {range}, not {got}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What is allowed.
        range: &'static str,
        /// What was given.
        got: String,
    },
    /// The loss, another figure or an element of a checkpoint is not a number any
    /// more.
    #[error(
        "{what} became {value} in step {step} of epoch {epoch}; {}; \
         try a lower --learning-rate or a longer --warmup-epochs", last_good(checkpoint.as_deref())
    )]
    NotFinite {
        /// `the loss`, a figure's name, or where the element lies.
        what: String,
        /// What it became.
        value: f64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The step in the epoch, counted from 1.
        step: usize,
        /// The last checkpoint, where there is one.
        checkpoint: Option<PathBuf>,
    },
    /// Another program trains in the same folder.
    #[error("another millsight-train works on the run {}; wait for it or choose another folder", path.display())]
    RunInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A line of the log that is none.
    #[error(
        "line {line} of {} is not the record of an epoch: {reason}; \
         delete the line and all after it", path.display()
    )]
    Log {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A tile that the model file is checked with.
    #[error(transparent)]
    Labelled(#[from] millsight_export::labelled::LabelledError),
    /// The model file.
    #[error(transparent)]
    ModelFile(#[from] millsight_export::model_file::ModelFileError),
    /// A prepared tile of the wrong size.
    #[error(transparent)]
    Preprocess(#[from] millsight_export::preprocess::PreprocessError),
    /// No engine can run the model file.
    #[error("the model file cannot be verified: {0}")]
    Engine(#[from] millsight_export::engine::EngineError),
    /// The exported graph does not give the trainer's logits.
    #[error("the model file was not written: {0}")]
    Parity(#[from] millsight_export::verify::VerifyError),
    /// The model cannot tell how far tiles are from the training data.
    #[error(transparent)]
    Distance(#[from] millsight_export::distance::DistanceError),
    /// A folded model of a colour network.
    #[error("the network looks at colour; only --form normalised can be exported")]
    FoldedColour,
    /// A threshold for a class that the network does not have.
    #[error("there is no class {class:?} for a threshold; the defect classes are {}", known.join(", "))]
    UnknownClass {
        /// The class.
        class: String,
        /// Those that may have a threshold.
        known: Vec<String>,
    },
    /// No class to which a defect could be told apart.
    #[error(
        "an operating point weighs missed defects against false alarms, but there is no class \
         no_defect among {}", classes.join(", ")
    )]
    NoCleanClass {
        /// The classes there are.
        classes: Vec<String>,
    },
    /// Evaluations of other tiles than one another.
    #[error(
        "screen and classifier were evaluated on other tiles: give both the same table and part"
    )]
    OtherTiles,
    /// A file in a run's folder that is not what its name says.
    #[error("{} cannot be read: {reason}; make it again with `millsight-train evaluate`", path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No such device.
    #[error("{0}")]
    Device(String),
}

impl TrainError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn last_good(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}
