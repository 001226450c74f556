//! What runs a model: ONNX Runtime where its library is found, else the
//! engine that is embedded in the program.

/// A batch of prepared tiles, `[tiles, channels, height, width]`, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Batch<'a> {
    /// Raw levels, for models whose card says `u8`.
    U8(&'a [u8]),
    /// Normalised values, for models whose card says `f32`.
    F32(&'a [f32]),
}

/// Which engine runs a model, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EngineIdentity {
    /// `onnxruntime` or `embedded`.
    pub name: String,
    /// Version of the engine.
    pub version: String,
    /// Execution provider: `cpu`, `cuda` or `tensorrt`.
    pub provider: String,
    /// Arithmetic, for example `f32`.
    pub precision: String,
}

/// Something that runs one model.
pub trait Engine: Send {
    /// What this engine is.
    fn identity(&self) -> &EngineIdentity;

    /// Runs a batch and replaces `scores` by the network's output,
    /// `[tiles, classes]`, row-major.
    ///
    /// # Errors
    /// When the batch does not fit the model's input or the engine fails.
    fn run(&mut self, batch: Batch<'_>, tiles: usize, scores: &mut Vec<f32>) -> Result<(), EngineError>;
}

/// Why an engine could not start or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The batch does not have the size that the card states.
    #[error("a batch of {tiles} tiles needs {expected} elements, but {got} were given")]
    BatchSize {
        /// Tiles announced.
        tiles: usize,
        /// Elements that the card asks for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
}
