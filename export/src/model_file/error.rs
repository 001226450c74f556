//! What can be wrong with a model file, and what to do about it.

use std::path::PathBuf;

use crate::card::{CardError, ModelCard};

/// Why a model file cannot be used.
///
/// The reasons stand in the messages. They are no `source` besides, or a
/// report that lists the sources would say each of them twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// There is no such file.
    #[error("there is no model file {}; check the path", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the model file {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the model file {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The sidecar cannot be read.
    #[error("cannot read the sidecar {}: {reason}", path.display())]
    ReadSidecar {
        /// The sidecar.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The file is empty.
    #[error("{origin} is empty; copy or export the model again")]
    Empty {
        /// The file.
        origin: String,
    },
    /// More than protobuf can hold.
    #[error("{} has more than 2 GiB, but an ONNX file has at most that; is it a model file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{origin} is not an ONNX model ({reason}); give the .onnx file that the exporter wrote"
    )]
    NotOnnx {
        /// The file.
        origin: String,
        /// Why it cannot be one.
        reason: String,
    },
    /// The graph cannot be serialised.
    #[error("{origin} cannot be written as ONNX: {reason}")]
    Encode {
        /// The model.
        origin: String,
        /// Protobuf's words.
        reason: String,
    },
    /// Weights in a second file that cannot be used.
    #[error(
        "weight `{tensor}` of {origin} lies in the external file `{location}`: {reason}; keep that file beside the model, or export with the weights inside (torch.onnx.export: external_data=False)"
    )]
    External {
        /// The model file.
        origin: String,
        /// The weight.
        tensor: String,
        /// The external file as the model names it.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// Neither a card inside nor a sidecar.
    #[error(
        "{origin} has no model card (metadata key `{}`){}",
        ModelCard::METADATA_KEY,
        no_card_remedy(beside)
    )]
    NoCard {
        /// The file.
        origin: String,
        /// Where a sidecar was looked for.
        beside: Vec<PathBuf>,
    },
    /// The card is not readable.
    #[error("{origin} cannot be understood: {reason}")]
    CardSyntax {
        /// Where the card comes from.
        origin: String,
        /// What is wrong, with its place.
        reason: String,
    },
    /// The card breaks a rule.
    #[error("{origin} is wrong: {reason}")]
    Card {
        /// Where the card comes from.
        origin: String,
        /// Which rule.
        reason: CardError,
    },
    /// The graph asks for more than any classifier needs.
    #[error("{origin} cannot be run: {reason}; is it a model for images?")]
    Limit {
        /// The file.
        origin: String,
        /// What it asks for.
        reason: String,
    },
    /// Card and graph contradict each other.
    #[error("{origin} does not fit its model card: {reason}")]
    Mismatch {
        /// The file.
        origin: String,
        /// In what, and what to do.
        reason: String,
    },
}

fn no_card_remedy(beside: &[PathBuf]) -> String {
    let Some(first) = beside.first() else {
        return String::new();
    };
    let others: String = beside[1..]
        .iter()
        .map(|path| format!(" or {}", path.display()))
        .collect();
    format!(
        " and no sidecar beside it; write {}{others} with at least one line, the names of the \
         network's scores in order: classes = [\"no_defect\", \"cracks\", ...]",
        first.display()
    )
}
