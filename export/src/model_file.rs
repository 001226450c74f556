//! An ONNX file together with its card.
//!
//! A model of Millsight's own carries its card inside the file. A foreign
//! model (timm, Ultralytics, ...) needs a sidecar: a TOML file of the same
//! structure, named after the model (`net.onnx` -> `net.toml`) or `model.toml`,
//! in the same folder. [`ModelCard`] shows how little it may say.

mod error;
mod external;
mod limits;
mod signature;

use std::io;
use std::path::Path;

use onnx_protobuf::{Message, ModelProto, StringStringEntryProto};
use sha2::{Digest, Sha256};

use crate::bounded;
use crate::card::{CardError, CardPreface, InputSpec, ModelCard};
use crate::durable::replace_file;

pub use error::ModelFileError;
pub(crate) use limits::LARGEST_TENSOR;
pub use signature::{Dimension, Signature, TensorInfo};

/// Protobuf cannot hold more: <https://protobuf.dev/programming-guides/proto-limits/>.
const LARGEST_FILE: u64 = i32::MAX as u64;

/// Far more than any card needs.
const LARGEST_SIDECAR: u64 = 1 << 20;

/// An ONNX model in memory, with the card that explains it.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// The serialised ONNX `ModelProto`, complete (without external data).
    pub onnx: Vec<u8>,
    /// The card, from the metadata or from a sidecar; it fits the graph.
    pub card: ModelCard,
    /// SHA-256 of `onnx` in lower-case hexadecimal.
    pub sha256: String,
    /// Number of tiles that the graph takes at once, where the graph fixes it
    /// (many exporters write 1); `None` when any number will do.
    pub fixed_batch: Option<usize>,
}

impl ModelFile {
    /// Reads a model file and its card: `sidecar` where one is given, else the
    /// card inside the file, else the sidecar beside it.
    ///
    /// # Errors
    /// When there is no such file, it is no ONNX model, it has no card, or
    /// card and graph contradict each other.
    pub fn load(path: &Path, sidecar: Option<&Path>) -> Result<Self, ModelFileError> {
        let origin = path.display().to_string();
        let (bytes, mut proto) = read(path)?;
        let inlined = external::inline(&mut proto, path)?;
        let stated = match sidecar {
            Some(sidecar) => read_sidecar(sidecar)?,
            None => match embedded_card(&proto, &origin)? {
                Some(stated) => stated,
                None => sidecar_beside(path, &origin)?,
            },
        };
        let onnx = if inlined {
            serialise(&proto, &origin)?
        } else {
            bytes
        };
        let mut model = Self::assemble(onnx, &proto, stated, &origin)?;
        if model.card.name.is_empty() {
            model.card.name = path.file_stem().map_or_else(
                || "model".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            );
        }
        Ok(model)
    }

    /// Takes a model with its card inside, for example one that is part of the
    /// program; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`ModelFile::load`].
    pub fn from_bytes(bytes: Vec<u8>, origin: &str) -> Result<Self, ModelFileError> {
        let proto = parse(&bytes, origin)?;
        let stated = embedded_card(&proto, origin)?.ok_or_else(|| ModelFileError::NoCard {
            origin: origin.to_owned(),
            beside: Vec::new(),
        })?;
        Self::assemble(bytes, &proto, stated, origin)
    }

    /// Puts a card into a graph.
    ///
    /// # Errors
    /// When card and graph contradict each other.
    pub fn from_graph(mut graph: ModelProto, card: ModelCard) -> Result<Self, ModelFileError> {
        let origin = "the new model";
        let stated = StatedCard {
            has_element: card.input != InputSpec::default(),
            card,
            origin: "the card of the new model".to_owned(),
        };
        let card_origin = stated.origin.clone();
        let mut model = Self::assemble(Vec::new(), &graph, stated, origin)?;
        // A card that could not be read back would make the file useless.
        let json = serde_json::to_string(&model.card)
            .and_then(|json| serde_json::from_str::<ModelCard>(&json).map(|_| json))
            .map_err(|error| ModelFileError::CardSyntax {
                origin: card_origin,
                reason: error.to_string(),
            })?;
        graph
            .metadata_props
            .retain(|entry| entry.key != ModelCard::METADATA_KEY);
        graph.metadata_props.push(StringStringEntryProto {
            key: ModelCard::METADATA_KEY.to_owned(),
            value: json,
            ..Default::default()
        });
        model.onnx = serialise(&graph, origin)?;
        model.sha256 = digest(&model.onnx);
        Ok(model)
    }

    /// The same graph with another card.
    ///
    /// # Errors
    /// When card and graph contradict each other.
    pub fn with_card(&self, card: ModelCard) -> Result<Self, ModelFileError> {
        Self::from_graph(parse(&self.onnx, &self.card.name)?, card)
    }

    /// Writes the file; a crash leaves the old file or the new one. A card
    /// from a sidecar is not written: see [`ModelFile::with_card`].
    ///
    /// # Errors
    /// [`ModelFileError::Write`] with what the file system reports.
    pub fn save(&self, path: &Path) -> Result<(), ModelFileError> {
        replace_file(path, &self.onnx).map_err(|reason| ModelFileError::Write {
            path: path.to_owned(),
            reason,
        })
    }

    /// What the graph takes and gives, and what it is made of.
    ///
    /// # Errors
    /// When `onnx` is no ONNX model.
    pub fn signature(&self) -> Result<Signature, ModelFileError> {
        Ok(Signature::of(&parse(&self.onnx, &self.card.name)?))
    }

    fn assemble(
        onnx: Vec<u8>,
        proto: &ModelProto,
        stated: StatedCard,
        origin: &str,
    ) -> Result<Self, ModelFileError> {
        limits::check(&proto.graph).map_err(|reason| ModelFileError::Limit {
            origin: origin.to_owned(),
            reason,
        })?;
        let signature = Signature::of(proto);
        let card_origin = stated.origin.clone();
        let card = complete(stated, proto, &signature);
        card.validate().map_err(|reason| ModelFileError::Card {
            origin: card_origin,
            reason,
        })?;
        let fixed_batch = signature.check(&card, origin)?;
        Ok(Self {
            sha256: digest(&onnx),
            onnx,
            card,
            fixed_batch,
        })
    }
}

/// A card as it was found.
struct StatedCard {
    card: ModelCard,
    /// Whether it states the input's element type, which has a default.
    has_element: bool,
    /// Where it was found, for people.
    origin: String,
}

/// Takes what a card leaves out from the graph.
fn complete(stated: StatedCard, proto: &ModelProto, signature: &Signature) -> ModelCard {
    let mut card = stated.card;
    if card.architecture.is_empty() {
        card.architecture.clone_from(&proto.graph.name);
    }
    if card.output.name.is_empty()
        && let Some(output) = signature.outputs.first()
    {
        card.output.name.clone_from(&output.name);
    }
    let Some(input) = signature.inputs.first() else {
        return card;
    };
    if !stated.has_element
        && let Some(element) = input.element_type()
    {
        card.input.element = element;
    }
    if card.input.name.is_empty() {
        card.input.name.clone_from(&input.name);
    }
    let extent = |axis: usize| match input.shape.as_deref()?.get(axis)? {
        Dimension::Fixed(extent) => Some(*extent),
        Dimension::Free(_) => None,
    };
    let sides = [
        (&mut card.input.channels, 1),
        (&mut card.input.height, 2),
        (&mut card.input.width, 3),
    ];
    for (side, axis) in sides {
        if *side == 0 {
            *side = extent(axis).unwrap_or(0);
        }
    }
    card
}

impl Signature {
    /// Reads the signature of an ONNX file, with or without a card: what one
    /// needs to know to write a sidecar.
    ///
    /// # Errors
    /// When there is no such file or it is no ONNX model.
    pub fn load(path: &Path) -> Result<Self, ModelFileError> {
        let (_, proto) = read(path)?;
        Ok(Self::of(&proto))
    }
}

/// Reads and parses an ONNX file without asking for a card.
fn read(path: &Path) -> Result<(Vec<u8>, ModelProto), ModelFileError> {
    let bytes = bounded::read(path, LARGEST_FILE).map_err(|reason| match reason.kind() {
        io::ErrorKind::NotFound => ModelFileError::NotFound {
            path: path.to_owned(),
        },
        io::ErrorKind::FileTooLarge => ModelFileError::TooLarge {
            path: path.to_owned(),
        },
        _ => ModelFileError::Read {
            path: path.to_owned(),
            reason,
        },
    })?;
    let proto = parse(&bytes, &path.display().to_string())?;
    Ok((bytes, proto))
}

fn parse(bytes: &[u8], origin: &str) -> Result<ModelProto, ModelFileError> {
    if bytes.is_empty() {
        return Err(ModelFileError::Empty {
            origin: origin.to_owned(),
        });
    }
    let not_onnx = |reason: String| ModelFileError::NotOnnx {
        origin: origin.to_owned(),
        reason,
    };
    let proto = ModelProto::parse_from_bytes(bytes).map_err(|error| not_onnx(error.to_string()))?;
    // Protobuf takes many a file that is something else for a message whose
    // fields it does not know.
    if proto.graph.node.is_empty() {
        return Err(not_onnx("it holds no graph".to_owned()));
    }
    Ok(proto)
}

fn serialise(proto: &ModelProto, origin: &str) -> Result<Vec<u8>, ModelFileError> {
    proto
        .write_to_bytes()
        .map_err(|error| ModelFileError::Encode {
            origin: origin.to_owned(),
            reason: error.to_string(),
        })
}

fn embedded_card(proto: &ModelProto, origin: &str) -> Result<Option<StatedCard>, ModelFileError> {
    let mut entries = proto.metadata_props.iter();
    let Some(entry) = entries.find(|entry| entry.key == ModelCard::METADATA_KEY) else {
        return Ok(None);
    };
    let origin = format!("the card inside {origin}");
    let preface = serde_json::from_str(&entry.value);
    let card = serde_json::from_str(&entry.value);
    stated_card(
        preface.ok(),
        card.map_err(|error| error.to_string()),
        origin,
    )
    .map(Some)
}

fn read_sidecar(path: &Path) -> Result<StatedCard, ModelFileError> {
    let failed = |reason| ModelFileError::ReadSidecar {
        path: path.to_owned(),
        reason,
    };
    let bytes = bounded::read(path, LARGEST_SIDECAR).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let origin = format!("the sidecar {}", path.display());
    let preface = toml::from_str(&text);
    let card = toml::from_str(&text);
    let mut stated = stated_card(
        preface.ok(),
        card.map_err(|error| error.to_string()),
        origin,
    )?;
    // Only a comparison that this program has made may stand in a card, and a
    // sidecar is written by hand.
    stated.card.provenance.parity = None;
    Ok(stated)
}

/// A card that was read, or what was wrong with it: that it is newer than this
/// program comes before all that newer cards say otherwise.
fn stated_card(
    preface: Option<CardPreface>,
    card: Result<ModelCard, String>,
    origin: String,
) -> Result<StatedCard, ModelFileError> {
    if let Some(found) = preface.as_ref().and_then(CardPreface::newer) {
        return Err(ModelFileError::Card {
            origin,
            reason: CardError::Schema { found },
        });
    }
    match card {
        Ok(card) => Ok(StatedCard {
            has_element: preface.is_some_and(|preface| preface.has_element()),
            card,
            origin,
        }),
        Err(reason) => Err(ModelFileError::CardSyntax { origin, reason }),
    }
}

/// The sidecar in the model's folder.
fn sidecar_beside(path: &Path, origin: &str) -> Result<StatedCard, ModelFileError> {
    let places = [
        path.with_extension("toml"),
        path.with_file_name("model.toml"),
    ];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => read_sidecar(place),
        None => Err(ModelFileError::NoCard {
            origin: origin.to_owned(),
            beside: places.to_vec(),
        }),
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
