//! `millsight classify`: verdicts for single images.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::card::ElementType;
use millsight_export::engine::{self, Batch, Engine, EngineRequest};
use millsight_export::model_file::ModelFile;
use millsight_export::output::{self, OutputError};
use millsight_export::preprocess::{self, Preprocessor};
use serde_json::json;

use super::{EngineArguments, ModelArguments};
use crate::decide::{self, Decider};
use crate::station;

/// Smallest side of an image in which a defect could be seen at all.
const SMALLEST_SIDE: usize = 16;

/// Judge single images.
///
/// Each image is prepared as the model's card says and judged with the card's
/// thresholds. Prints a line for each image: class, probability, path. One that
/// cannot be read is reported, and the others are judged all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight classify tile.png
  millsight classify steel/cracks/*.png --model model.onnx
  millsight classify tile.png --engine embedded --json

With --json each line is an object with path, class, flagged, probability, \
probabilities (by class) and scores (the network's raw output), or with path \
and error.

Exit codes: 0 all images were judged, 1 some were not.")]
pub struct Arguments {
    /// Images of any size (PNG, JPEG, TIFF, BMP).
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    engine: EngineArguments,
}

/// Judges each image; one that cannot be read is reported and the others are
/// judged all the same.
pub fn classify(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let model = station::load_model(
        arguments.model.model.as_deref(),
        arguments.model.sidecar.as_deref(),
    )
    .into_diagnostic()?;
    let decider = Decider::new(&model.card, &Default::default()).into_diagnostic()?;
    let mut request = EngineRequest::default();
    arguments.engine.apply(&mut request);
    let mut started = engine::start(&model, &request, 1)
        .into_diagnostic()
        .wrap_err("the engine did not start")?;
    for notice in &started.notices {
        eprintln!("warning: {notice}");
    }
    let engine = started.engines.remove(0);
    let mut judge = Judge::new(&model, decider, engine);
    let mut failed = 0;
    for path in &arguments.images {
        match judge.image(path) {
            Ok(line) => line.print(json)?,
            Err(report) => {
                failed += 1;
                eprintln!("{report:?}");
                if json {
                    output::line(json!({"path": path, "error": reasons(&report)}))?;
                }
            }
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        eprintln!(
            "{failed} of {} images could not be judged",
            arguments.images.len()
        );
        ExitCode::FAILURE
    })
}

/// A report in one line: what failed, and why.
fn reasons(report: &miette::Report) -> String {
    let reasons: Vec<String> = report.chain().map(ToString::to_string).collect();
    reasons.join(": ")
}

struct Judge {
    engine: Box<dyn Engine>,
    preprocessor: Preprocessor,
    decider: Decider,
    element: ElementType,
    levels: Vec<u8>,
    values: Vec<f32>,
}

impl Judge {
    fn new(model: &ModelFile, decider: Decider, engine: Box<dyn Engine>) -> Self {
        let input = &model.card.input;
        let elements = input.channels * input.width * input.height;
        Self {
            engine,
            preprocessor: Preprocessor::new(input, &model.card.preprocessing),
            decider,
            element: input.element,
            levels: vec![0; elements],
            values: vec![0.0; elements],
        }
    }

    fn image(&mut self, path: &Path) -> miette::Result<Line> {
        let image = preprocess::load_image(path).into_diagnostic()?;
        let (width, height) = (image.width, image.height);
        if width < SMALLEST_SIDE || height < SMALLEST_SIDE {
            return Err(miette!(
                help = "give the whole tile, as the camera took it",
                "{} has {width}×{height} pixels; nothing can be judged in an image narrower or lower than {SMALLEST_SIDE}",
                path.display()
            ));
        }
        let batch = match self.element {
            ElementType::U8 => {
                self.preprocessor
                    .prepare_u8(image.view(), &mut self.levels)
                    .into_diagnostic()?;
                Batch::U8(&self.levels)
            }
            ElementType::F32 => {
                self.preprocessor
                    .prepare_f32(image.view(), &mut self.values)
                    .into_diagnostic()?;
                Batch::F32(&self.values)
            }
        };
        let mut scores = Vec::new();
        self.engine
            .run(batch, 1, &mut scores)
            .into_diagnostic()
            .wrap_err_with(|| path.display().to_string())?;
        if !decide::are_finite(&scores) {
            return Err(miette!(
                "{}: the network gave scores that are no numbers",
                path.display()
            ));
        }
        let mut probabilities = scores.clone();
        let verdict = self.decider.decide(&mut probabilities);
        let named = self
            .decider
            .classes()
            .iter()
            .cloned()
            .zip(probabilities.iter().copied());
        Ok(Line {
            path: path.to_path_buf(),
            class: self.decider.classes()[verdict.class].clone(),
            flagged: verdict.flagged,
            probability: verdict.probability,
            probabilities: named.collect(),
            scores,
        })
    }
}

struct Line {
    path: PathBuf,
    class: String,
    flagged: bool,
    probability: f32,
    probabilities: Vec<(String, f32)>,
    scores: Vec<f32>,
}

impl Line {
    fn print(&self, json: bool) -> Result<(), OutputError> {
        if json {
            let probabilities: serde_json::Map<_, _> = self
                .probabilities
                .iter()
                .map(|(class, probability)| (class.clone(), json!(probability)))
                .collect();
            output::line(json!({
                "path": self.path,
                "class": self.class,
                "flagged": self.flagged,
                "probability": self.probability,
                "probabilities": probabilities,
                "scores": self.scores,
            }))
        } else {
            output::line(format_args!(
                "{:<16} {:6.4}  {}",
                self.class,
                self.probability,
                self.path.display()
            ))
        }
    }
}
