//! Models from elsewhere, with a sidecar: what timm exports gives here what it
//! gave there, from the image file to the scores.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use millsight_export::engine::{Batch, Embedded, Engine};
use millsight_export::model_file::ModelFile;
use millsight_export::preprocess::{Preprocessor, load_image};
use millsight_export::verify::{Reference, ReferenceInput};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

#[test]
fn a_timm_export_with_a_sidecar_judges_an_image_as_torch_does() {
    let image = load_image(&fixture("foreign_vit.png")).unwrap();
    for name in ["foreign_vit.onnx", "foreign_vit_dynamo.onnx"] {
        let model = ModelFile::load(&fixture(name), None).unwrap();
        let card = &model.card;
        let reference = Reference::load(&fixture("foreign_vit.safetensors"), card).unwrap();
        let ReferenceInput::F32(expected) = &reference.input else {
            panic!("{name} takes floats");
        };

        let mut preprocessor = Preprocessor::new(&card.input, &card.preprocessing);
        let mut values = vec![0.0; preprocessor.output_len()];
        preprocessor.prepare_f32(image.view(), &mut values).unwrap();
        assert_eq!(values, expected[..values.len()], "{name}");

        let mut scores = Vec::new();
        let mut engine = Embedded::load(&model).unwrap();
        engine.run(Batch::F32(&values), 1, &mut scores).unwrap();
        assert_eq!(scores.len(), card.classes.len());
        for (score, expected) in scores.iter().zip(&reference.logits) {
            assert!(
                (score - expected).abs() < 1e-4,
                "{name}: {score} {expected}"
            );
        }
    }
}
