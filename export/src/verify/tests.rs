#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use safetensors::tensor::TensorView;

use super::*;
use crate::engine::Embedded;

/// What timm exported, with what torch said of two images.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

fn foreign() -> (ModelFile, Reference) {
    let model = ModelFile::load(&fixture("foreign_vit.onnx"), None).unwrap();
    let reference = Reference::load(&fixture("foreign_vit.safetensors"), &model.card).unwrap();
    (model, reference)
}

#[test]
fn a_model_that_agrees_gets_its_parity_into_the_card() {
    let (model, reference) = foreign();
    let mut engine = Embedded::load(&model).unwrap();
    let verified = verified(&mut engine, &model, &reference, 1e-4).unwrap();
    let parity = verified.card.provenance.parity.unwrap();
    assert_eq!(parity.samples, 2);
    assert!(
        parity.max_abs <= 1e-4 && parity.engine.starts_with("embedded"),
        "{parity:?}"
    );
}

#[test]
fn vectors_in_the_card_tell_another_network() {
    let (model, reference) = foreign();
    let mut engine = Embedded::load(&model).unwrap();
    assert_eq!(reproduce(&mut engine, &model).unwrap(), None);
    let verified = verified(&mut engine, &model, &reference, 1e-4).unwrap();
    assert_eq!(reproduce(&mut engine, &verified).unwrap(), Some(0.0));
    let mut card = verified.card.clone();
    let parity = card.provenance.parity.as_mut().unwrap();
    // Each tile has scores of its own, or they would tell little.
    assert!(parity.vectors[0].scores != parity.vectors[1].scores);
    parity.vectors[2].scores[1] += 0.01;
    let other = verified.with_card(card).unwrap();
    let error = reproduce(&mut engine, &other).unwrap_err().to_string();
    assert!(error.contains("sample 2"), "{error}");
}

#[test]
fn a_drawn_tile_is_the_same_everywhere() {
    let tile = drawn(0);
    assert_eq!(tile.len(), 512 * 512);
    // The first numbers of SplitMix64 from the seed 0, of which the first byte is taken.
    let first: Vec<u8> = (0..4).map(|square| tile[16 * square]).collect();
    assert_eq!(first, [0xe2, 0x6e, 0x06, 0xf8]);
    assert_eq!(tile[0], tile[15 * 512 + 15]);
}

#[test]
fn a_model_that_differs_gets_no_card() {
    let (model, mut reference) = foreign();
    let mut engine = Embedded::load(&model).unwrap();
    reference.logits[8] += 0.01;
    let error = verified(&mut engine, &model, &reference, 1e-3).unwrap_err();
    let VerifyError::Exceeded { sample, class, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*sample, class.as_str()), (1, "cracks"));
    assert!(error.to_string().contains("more than 1.000e-3"), "{error}");

    reference.logits[8] = f32::NAN;
    assert!(compare(&mut engine, &model, &reference, f32::MAX).is_err());
    let (_, reference) = foreign();
    assert!(compare(&mut engine, &model, &reference, f32::NAN).is_err());
}

#[test]
fn references_that_do_not_fit_are_refused() {
    let (model, _) = foreign();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.safetensors");
    let error = |card: &ModelCard| Reference::load(&path, card).unwrap_err().to_string();
    assert!(error(&model.card).contains("cannot read"));
    std::fs::write(&path, "nonsense").unwrap();
    assert!(error(&model.card).contains("cannot be used"));

    let zeros = vec![0; 4 * 3 * 64 * 64];
    let write = |arrays: &[(&str, Dtype, &[usize])]| {
        let views = arrays.iter().map(|(name, element, shape)| {
            let bytes = shape.iter().product::<usize>() * element.bitsize() / 8;
            (
                *name,
                TensorView::new(*element, shape.to_vec(), &zeros[..bytes]).unwrap(),
            )
        });
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    let image = [1, 3, 64, 64].as_slice();
    let scores = [1, 5].as_slice();
    write(&[("input", Dtype::F32, image)]);
    assert!(error(&model.card).contains("no array `logits`"));
    write(&[
        ("input", Dtype::F32, &[0, 3, 64, 64]),
        ("logits", Dtype::F32, &[0, 5]),
    ]);
    assert!(error(&model.card).contains("no sample"));
    write(&[
        ("input", Dtype::F32, &[1, 3, 64, 32]),
        ("logits", Dtype::F32, scores),
    ]);
    assert!(
        error(&model.card).contains("[1, 3, 64, 32], but the model's card asks for [1, 3, 64, 64]")
    );
    write(&[
        ("input", Dtype::F32, image),
        ("logits", Dtype::F32, &[1, 4]),
    ]);
    assert!(error(&model.card).contains("`logits` has the shape [1, 4]"));
    write(&[("input", Dtype::U8, image), ("logits", Dtype::F32, scores)]);
    assert!(error(&model.card).contains("of type U8"));
    write(&[("input", Dtype::F32, image), ("logits", Dtype::F16, scores)]);
    assert!(error(&model.card).contains("F32 is expected"));
    write(&[("input", Dtype::F32, image), ("logits", Dtype::F32, scores)]);
    assert_eq!(Reference::load(&path, &model.card).unwrap().samples, 1);
}
