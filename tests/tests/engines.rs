//! What every engine must do alike, with models of all sorts.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use millsight_export::engine::{Batch, Embedded};
use millsight_export::model_file::{Dimension, ModelFile};
use millsight_export::verify::{self, Reference, ReferenceInput};
use millsight_tests::{engines, graphs};
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{Message, ModelProto, type_proto};

const CLASSES: [&str; 4] = ["no_defect", "cracks", "scrap_mark", "overfill"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// Tiles that all differ.
fn tiles(count: usize, size: usize) -> Vec<f32> {
    let level = |index: usize| (index as u32).wrapping_mul(2_654_435_761) >> 24;
    (0..count * size)
        .map(|index| level(index) as f32 / 128.0 - (index / size) as f32 / 4.0)
        .collect()
}

/// The fixture with the batch that an exporter has fixed in the shapes alone.
fn timm_with_batch(batch: usize) -> ModelFile {
    let free = ModelFile::load(&fixture("foreign_vit.onnx"), None).unwrap();
    let mut proto = ModelProto::parse_from_bytes(&free.onnx).unwrap();
    let graph = proto.graph.mut_or_insert_default();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let Some(type_proto::Value::TensorType(tensor)) =
            &mut value.type_.mut_or_insert_default().value
        else {
            panic!("a tensor")
        };
        let dims = &mut tensor.shape.mut_or_insert_default().dim;
        dims[0].value = Some(dimension::Value::DimValue(batch as i64));
    }
    ModelFile::from_graph(proto, free.card).unwrap()
}

#[test]
fn a_fixed_batch_is_filled_up() {
    let free = ModelFile::from_graph(graphs::mean_colour(None, [6, 8], 4), graphs::card(&CLASSES));
    let free = free.unwrap();
    assert_eq!(free.fixed_batch, None);
    let values = tiles(9, 3 * 6 * 8);
    for batch in [1, 4] {
        let graph = graphs::mean_colour(Some(batch), [6, 8], 4);
        let fixed = ModelFile::from_graph(graph, graphs::card(&CLASSES)).unwrap();
        assert_eq!(fixed.fixed_batch, Some(batch));
        let all = engines::with(&free).into_iter().zip(engines::with(&fixed));
        for (mut free, mut fixed) in all {
            for count in 0..=9 {
                let given = Batch::F32(&values[..count * 3 * 6 * 8]);
                let expected = engines::scores(free.as_mut(), given, count);
                let got = engines::scores(fixed.as_mut(), given, count);
                assert_eq!(got.len(), count * 4);
                let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                let worst = worst.fold(0.0, f32::max);
                let name = &fixed.identity().name;
                assert!(worst < 1e-5, "{count} by {batch} on {name}: {worst}");
            }
        }
    }
}

#[test]
fn a_fixed_batch_is_verified_like_any_other() {
    let reference = |model: &ModelFile| {
        let two = Reference::load(&fixture("foreign_vit.safetensors"), &model.card).unwrap();
        let ReferenceInput::F32(input) = two.input else {
            panic!("floats")
        };
        // Six samples: one and a half batches of four.
        Reference {
            input: ReferenceInput::F32(input.repeat(3)),
            logits: two.logits.repeat(3),
            samples: 6,
        }
    };
    for batch in [1, 4] {
        let model = timm_with_batch(batch);
        for mut engine in engines::with(&model) {
            let parity =
                verify::compare(engine.as_mut(), &model, &reference(&model), 1e-4).unwrap();
            assert_eq!(parity.samples, 6, "{}", parity.engine);
        }
    }
}

#[test]
fn the_output_that_the_card_names_is_the_one_that_counts() {
    let plain = graphs::mean_colour(None, [8, 8], 4);
    let mut two = plain.clone();
    let negated = graphs::node("Neg", &["scores"], "negated");
    graphs::push_output(&mut two, negated, &[None, Some(4)]);
    let mut card = graphs::card(&CLASSES);
    card.output.name = "scores".into();
    let plain = ModelFile::from_graph(plain, card.clone()).unwrap();
    let two = ModelFile::from_graph(two, card).unwrap();
    let outputs = two.signature().unwrap().outputs;
    assert_eq!(outputs[0].name, "negated");
    assert_eq!(outputs[0].shape.as_ref().unwrap()[1], Dimension::Fixed(4));
    let values = tiles(2, 3 * 8 * 8);
    for (mut plain, mut two) in engines::with(&plain).into_iter().zip(engines::with(&two)) {
        let expected = engines::scores(plain.as_mut(), Batch::F32(&values), 2);
        let got = engines::scores(two.as_mut(), Batch::F32(&values), 2);
        assert_eq!(got, expected, "{}", two.identity().name);
    }
}

/// The embedded engine's complaint about a graph that has been tampered with.
fn refused(tamper: impl Fn(&mut ModelProto)) -> String {
    let mut graph = graphs::mean_colour(None, [8, 8], 4);
    tamper(&mut graph);
    let model = ModelFile::from_graph(graph, graphs::card(&CLASSES)).unwrap();
    let error = Embedded::load(&model).map(|_| ()).unwrap_err();
    error.to_string()
}

#[test]
fn a_graph_that_breaks_the_engines_assumptions_is_an_error_and_no_panic() {
    // Squeezes an axis that does not exist.
    let text = refused(|model| {
        let graph = model.graph.mut_or_insert_default();
        graph.initializer.push(graphs::integers("axes", &[112]));
        graph.node[1] = graphs::node("Squeeze", &["means", "axes"], "colours");
    });
    assert!(text.contains("cannot load this model"), "{text}");
}

#[test]
fn a_graph_that_would_fill_memory_is_refused_before_it_does() {
    // The size is only known once the engine has multiplied.
    let text = refused(|model| {
        let graph = model.graph.mut_or_insert_default();
        graph.initializer.push(graphs::integers("side", &[1 << 15]));
        let bomb = [
            graphs::node("Mul", &["side", "side"], "area"),
            graphs::node("Expand", &["means", "area"], "wide"),
            graphs::node("GlobalAveragePool", &["wide"], "narrow"),
        ];
        graph.node.splice(1..1, bomb);
        graph.node[4].input[0] = "narrow".into();
    });
    assert!(text.contains("gives 3221225472 numbers"), "{text}");
}
