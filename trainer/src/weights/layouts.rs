//! What the programs of others call the parts of a Vision Transformer.
//!
//! A checkpoint may hold more than one network and more than networks. The
//! projection of the patches, which every Vision Transformer has, shows where
//! one begins; what lies around it shows whose program wrote the file.

mod dinov2;
mod hugging_face;
mod mae;
mod timm;

use super::file::WeightsFile;
use super::positions::Convention;
pub(super) use timm::block;

/// Dictionaries that hold the state of an optimiser, PyTorch's and ours.
const MOMENTS: [&str; 4] = ["optimizer", "exp_avg", "exp_avg_sq", "step"];

/// Whose names the arrays of a file have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// timm's `VisionTransformer`, and our own runs.
    Timm,
    /// facebookresearch/mae: pretraining with or without its decoder, and
    /// fine-tuning. DeiT's files, from whose program MAE's is made, look and
    /// are resampled alike.
    Mae,
    /// facebookresearch/dino: training checkpoints, and backbones alone.
    Dino,
    /// facebookresearch/dinov2: training checkpoints, and backbones alone.
    Dinov2,
    /// `Dinov2Model` of Hugging Face's transformers.
    HuggingFaceDinov2,
}

/// What an array of a file is to a Vision Transformer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The parameter with this name of timm's.
    Parameter(String),
    /// The rows of a parameter's query (0), key (1) or value (2).
    Third(String, usize),
    /// It served the training of the file's network alone.
    Training,
    /// A part of the network that ours has not: its other weights mean
    /// nothing without it.
    Foreign,
    /// Nothing that is known.
    Unknown,
}

impl Layout {
    /// The layout in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Timm => "timm's names",
            Self::Mae => "a checkpoint of MAE",
            Self::Dino => "a checkpoint of DINO",
            Self::Dinov2 => "a checkpoint of DINOv2",
            Self::HuggingFaceDinov2 => "DINOv2 with Hugging Face's names",
        }
    }

    /// How the program that wrote the file resamples its positions.
    pub fn convention(self) -> Convention {
        match self {
            Self::Timm => Convention::Timm,
            Self::Mae => Convention::Mae,
            Self::Dino | Self::Dinov2 => Convention::Dino,
            Self::HuggingFaceDinov2 => hugging_face::CONVENTION,
        }
    }

    /// What an array is whose name within the network is `name`.
    fn place(self, name: &str) -> Place {
        match self {
            Self::Timm | Self::Dino => timm::place(name),
            Self::Mae => mae::place(name),
            Self::Dinov2 => dinov2::place(name),
            Self::HuggingFaceDinov2 => hugging_face::place(name),
        }
    }
}

/// Where the network lies in a file, and in which layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recognised {
    pub layout: Layout,
    /// Whether files of timm's could look alike too.
    pub guessed: bool,
    /// What the names of its arrays begin with, for example
    /// `teacher.backbone.`; empty where the file is the network alone.
    pub prefix: String,
}

impl Recognised {
    /// Finds the network of a file. Of a teacher and its student the teacher
    /// is taken, as DINO's own evaluation does, and of averaged weights and
    /// those they are averaged from the averaged ones, as timm does.
    ///
    /// # Errors
    /// A sentence without its subject, the file: when it holds no Vision
    /// Transformer, or several.
    pub fn of(file: &WeightsFile) -> Result<Self, String> {
        let names = file.names();
        let found = || names.iter().filter_map(|name| network(name));
        let first = found().filter_map(|(prefix, _)| rank(prefix)).min();
        let mut best = found().filter(|(prefix, _)| first.is_some() && rank(prefix) == first);
        match (best.next(), best.next()) {
            (Some((prefix, anchor)), None) => {
                let (layout, guessed) = layout(file, &names, prefix, anchor);
                Ok(Self {
                    layout,
                    guessed,
                    prefix: prefix.to_owned(),
                })
            }
            (Some((one, _)), Some((other, _))) => Err(format!(
                "it holds several networks, among them `{one}` and `{other}`; \
                 keep the one that is meant"
            )),
            (None, _) => Err(format!(
                "none of its arrays is the projection of patches ({}) that every Vision \
                 Transformer has; it holds {}",
                timm::ANCHOR,
                some_of(&names)
            )),
        }
    }

    /// What the array of that name in the file is.
    pub fn place(&self, name: &str) -> Place {
        match name.strip_prefix(&self.prefix) {
            Some(name) => self.layout.place(name),
            None if of_training(name, &self.prefix) => Place::Training,
            None => Place::Unknown,
        }
    }
}

/// What comes before the projection of the patches, and its name, where `name`
/// is one.
fn network(name: &str) -> Option<(&str, &'static str)> {
    [timm::ANCHOR, hugging_face::ANCHOR]
        .into_iter()
        .filter_map(|anchor| Some((name.strip_suffix(anchor)?, anchor)))
        .find(|(prefix, _)| prefix.is_empty() || prefix.ends_with('.'))
}

/// Which of several networks in a file is taken: the one of the lowest rank.
/// Moments of an optimiser look like networks and are none.
fn rank(prefix: &str) -> Option<u8> {
    let has = |is: fn(&str) -> bool| prefix.split('.').any(is);
    if has(|part| MOMENTS.contains(&part)) {
        None
    } else if has(|part| part == "teacher" || part.split('_').any(|word| word == "ema")) {
        Some(0)
    } else if has(|part| part == "student") {
        Some(2)
    } else {
        Some(1)
    }
}

/// Whether an array outside the network was needed by its training: the
/// optimiser's state, DINO's projection head, student and centre, or the
/// weights of which the network is an average.
fn of_training(name: &str, prefix: &str) -> bool {
    let dictionary = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let outer = dictionary(name);
    let averaged = ["model", "state_dict"].contains(&outer.as_str());
    ["teacher", "student", "dino_loss"].contains(&outer.as_str())
        || MOMENTS.contains(&outer.as_str())
        || averaged && dictionary(prefix) != outer
}

/// The layout, and whether it is a guess.
fn layout(file: &WeightsFile, names: &[String], prefix: &str, anchor: &str) -> (Layout, bool) {
    let has = |name: &str| {
        names
            .iter()
            .any(|other| other.strip_prefix(prefix) == Some(name))
    };
    let within = |word: &str| prefix.split('.').any(|part| part == word);
    // Backbones that DINO publishes are state dictionaries without anything
    // around them and without a head. timm's have a head, unless somebody has
    // taken it off.
    let backbone = file.is_pytorch() && prefix.is_empty() && !has("head.weight");
    if anchor == hugging_face::ANCHOR {
        (Layout::HuggingFaceDinov2, false)
    } else if has("decoder_embed.weight") {
        (Layout::Mae, false)
    } else if has("mask_token") {
        (Layout::Dinov2, false)
    } else if within("teacher") || within("student") {
        (Layout::Dino, false)
    } else if backbone && has("blocks.0.ls1.gamma") {
        (Layout::Dinov2, true)
    } else if backbone {
        (Layout::Dino, true)
    } else if file.is_pytorch() && within("model") {
        (Layout::Mae, false)
    } else {
        (Layout::Timm, false)
    }
}

/// The first names of many.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => "no arrays".to_owned(),
        count if count <= SHOWN => shown,
        count => format!("{shown} and {} more", count - SHOWN),
    }
}
