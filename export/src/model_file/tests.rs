#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::tensor_shape_proto::{Dimension as Dim, dimension};
use onnx_protobuf::{
    GraphProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use protobuf::MessageField;

use super::*;
use crate::card::{CardError, ElementType, NO_DEFECT, OutputKind, Preprocessing};

/// A dimension: a positive number is fixed, 0 is open.
fn value(name: &str, element: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|&extent| Dim {
            value: Some(match extent {
                0 => dimension::Value::DimParam("N".into()),
                extent => dimension::Value::DimValue(extent),
            }),
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: element as i32,
        shape: MessageField::some(TensorShapeProto {
            dim,
            ..Default::default()
        }),
        ..Default::default()
    };
    ValueInfoProto {
        name: name.into(),
        type_: MessageField::some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A graph with one node, whose arithmetic does not matter here.
fn graph(input: ValueInfoProto, output: ValueInfoProto) -> ModelProto {
    let node = NodeProto {
        input: vec![input.name.clone(), "weight".into()],
        output: vec![output.name.clone()],
        op_type: "MatMul".into(),
        ..Default::default()
    };
    let weight = TensorProto {
        name: "weight".into(),
        dims: vec![2, 3],
        data_type: DataType::FLOAT as i32,
        raw_data: vec![7; 24],
        ..Default::default()
    };
    ModelProto {
        ir_version: 9,
        producer_name: "test".into(),
        opset_import: vec![OperatorSetIdProto {
            version: 20,
            ..Default::default()
        }],
        graph: MessageField::some(GraphProto {
            name: "foreign".into(),
            node: vec![node],
            initializer: vec![weight],
            input: vec![input],
            output: vec![output],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn foreign() -> ModelProto {
    graph(
        value("images", DataType::FLOAT, &[1, 3, 64, 96]),
        value("scores", DataType::FLOAT, &[1, 2]),
    )
}

fn card() -> ModelCard {
    toml::from_str("classes = ['no_defect', 'cracks']").unwrap()
}

fn write(folder: &Path, name: &str, proto: &ModelProto) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, proto.write_to_bytes().unwrap()).unwrap();
    path
}

fn mismatch(proto: ModelProto, card: ModelCard) -> String {
    let error = ModelFile::from_graph(proto, card).unwrap_err();
    assert!(matches!(error, ModelFileError::Mismatch { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_card_travels_inside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let mut card = card();
    card.name = "own".into();
    card.thresholds.insert("cracks".into(), 0.25);
    let model = ModelFile::from_graph(foreign(), card).unwrap();
    model.save(&path).unwrap();
    let loaded = ModelFile::load(&path, None).unwrap();
    assert_eq!(loaded.card, model.card);
    assert_eq!(loaded.card.input.width, 96);
    assert_eq!(loaded.sha256, digest(&std::fs::read(&path).unwrap()));
    assert_eq!(loaded.sha256, model.sha256);
    assert_eq!(loaded.fixed_batch, Some(1));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(
        ModelFile::from_bytes(bytes, "built in").unwrap().card,
        model.card
    );
}

#[test]
fn a_new_card_replaces_the_old_one() {
    let first = ModelFile::from_graph(foreign(), card()).unwrap();
    let mut renamed = card();
    renamed.name = "renamed".into();
    let second = first.with_card(renamed).unwrap();
    assert_eq!(second.card.name, "renamed");
    let proto = parse(&second.onnx, "second").unwrap();
    assert_eq!(proto.metadata_props.len(), 1);
    assert_eq!(proto.graph, parse(&first.onnx, "first").unwrap().graph);
}

#[test]
fn a_foreign_model_takes_what_its_sidecar_leaves_out_from_the_graph() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "net.onnx", &foreign());
    std::fs::write(
        folder.path().join("net.toml"),
        "classes = ['no_defect', 'cracks']\n[output]\nkind = 'probabilities'\n",
    )
    .unwrap();
    let card = ModelFile::load(&path, None).unwrap().card;
    assert_eq!(card.name, "net");
    assert_eq!(card.architecture, "foreign");
    let input = InputSpec {
        name: "images".into(),
        width: 96,
        height: 64,
        channels: 3,
        element: ElementType::F32,
    };
    assert_eq!(card.input, input);
    assert_eq!(card.output.name, "scores");
    assert_eq!(card.output.kind, OutputKind::Probabilities);
    assert_eq!(card.preprocessing, Preprocessing::imagenet());
}

#[test]
fn sidecars_are_found_and_a_named_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "net.onnx", &foreign());
    let sidecar = |name: &str, class: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("classes = ['{NO_DEFECT}', '{class}']")).unwrap();
        path
    };
    let second =
        |sidecar: Option<&Path>| ModelFile::load(&path, sidecar).unwrap().card.classes[1].clone();
    sidecar("model.toml", "general");
    assert_eq!(second(None), "general");
    sidecar("net.toml", "particular");
    assert_eq!(second(None), "particular");
    let named = sidecar("named.toml", "named");
    assert_eq!(second(Some(&named)), "named");
    ModelFile::load(&path, None)
        .unwrap()
        .with_card(card())
        .unwrap()
        .save(&path)
        .unwrap();
    assert_eq!(second(None), "cracks");
    assert_eq!(second(Some(&named)), "named");
}

#[test]
fn files_that_are_no_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let error = |path: &Path| ModelFile::load(path, None).unwrap_err();
    let missing = error(&folder.path().join("none.onnx"));
    assert!(matches!(missing, ModelFileError::NotFound { .. }));
    assert!(missing.to_string().contains("none.onnx"), "{missing}");
    assert!(matches!(
        error(&file("empty.onnx", b"")),
        ModelFileError::Empty { .. }
    ));
    assert!(matches!(error(folder.path()), ModelFileError::Read { .. }));
    let whole = foreign().write_to_bytes().unwrap();
    for bytes in [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(),
        b"\x93NUMPY\x01\0",
        b"classes = ['no_defect']",
        // A valid message without any field that is set.
        b"\xf8\x07\x01",
        &whole[..whole.len() - 3],
    ] {
        let error = error(&file("other.onnx", bytes));
        assert!(matches!(error, ModelFileError::NotOnnx { .. }), "{error}");
        assert!(error.to_string().contains("other.onnx"), "{error}");
    }
}

#[test]
fn a_model_without_card_says_how_to_write_a_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "net.onnx", &foreign());
    let text = ModelFile::load(&path, None).unwrap_err().to_string();
    assert!(
        text.contains("net.toml") && text.contains("model.toml"),
        "{text}"
    );
    assert!(text.contains("classes = ["), "{text}");
    let bytes = std::fs::read(&path).unwrap();
    let error = ModelFile::from_bytes(bytes, "built in").unwrap_err();
    assert!(matches!(error, ModelFileError::NoCard { .. }));
}

#[test]
fn unreadable_cards_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut proto = foreign();
    proto.metadata_props.push(StringStringEntryProto {
        key: ModelCard::METADATA_KEY.into(),
        value: r#"{"schema":1,"name":"x"}"#.into(),
        ..Default::default()
    });
    let path = write(folder.path(), "net.onnx", &proto);
    let error = ModelFile::load(&path, None).unwrap_err().to_string();
    assert!(
        error.contains("the card inside") && error.contains("`classes`"),
        "{error}"
    );
    let sidecar = folder.path().join("side.toml");
    let error = ModelFile::load(&path, Some(&sidecar)).unwrap_err();
    assert!(
        matches!(error, ModelFileError::ReadSidecar { .. }),
        "{error}"
    );
    std::fs::write(&sidecar, "clases = []").unwrap();
    let error = ModelFile::load(&path, Some(&sidecar))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("side.toml") && error.contains("unknown field `clases`"),
        "{error}"
    );
    std::fs::write(&sidecar, "classes = ['fine', 'cracks']").unwrap();
    let error = ModelFile::load(&path, Some(&sidecar)).unwrap_err();
    assert!(
        matches!(
            &error,
            ModelFileError::Card {
                reason: CardError::NoDefectMissing { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_input_that_does_not_fit_the_card_is_refused() {
    let scores = || value("scores", DataType::FLOAT, &[0, 2]);
    let with_input = |element, shape: &[i64]| graph(value("images", element, shape), scores());
    let image = [0, 3, 64, 64];

    let mut renamed = card();
    renamed.input.name = "pixels".into();
    let text = mismatch(with_input(DataType::FLOAT, &image), renamed);
    assert!(
        text.contains("`pixels`") && text.contains("`images`: FLOAT [N, 3, 64, 64]"),
        "{text}"
    );

    let text = mismatch(with_input(DataType::FLOAT16, &image), card());
    assert!(
        text.contains("FLOAT16") && text.contains("32-bit float"),
        "{text}"
    );

    let mut bytes = card();
    bytes.input.name = "images".into();
    bytes.input.element = ElementType::U8;
    let text = mismatch(with_input(DataType::FLOAT, &image), bytes);
    assert!(text.contains("`input.element` is U8"), "{text}");

    let mut flat = card();
    (flat.input.channels, flat.input.height, flat.input.width) = (3, 64, 64);
    let text = mismatch(with_input(DataType::FLOAT, &[0, 12288]), flat);
    assert!(text.contains("no image classifier"), "{text}");

    let mut large = card();
    large.input.width = 224;
    let text = mismatch(with_input(DataType::FLOAT, &image), large);
    assert!(text.contains("`input.width` is 224"), "{text}");

    let mut two = with_input(DataType::FLOAT, &image);
    two.graph
        .mut_or_insert_default()
        .input
        .push(value("mask", DataType::FLOAT, &[1]));
    assert!(mismatch(two, card()).contains("2 inputs"));

    let open =
        ModelFile::from_graph(with_input(DataType::FLOAT, &[0, 3, 0, 0]), card()).unwrap_err();
    assert!(
        open.to_string()
            .contains("state it where the graph leaves it open"),
        "{open}"
    );
    let grey = ModelFile::from_graph(with_input(DataType::UINT8, &[0, 1, 64, 64]), card()).unwrap();
    assert_eq!(grey.card.input.element, ElementType::U8);
    assert_eq!(grey.fixed_batch, None);
}

#[test]
fn an_output_that_does_not_fit_the_card_is_refused() {
    let with_output = |output| graph(value("images", DataType::FLOAT, &[0, 3, 64, 64]), output);

    let mut renamed = card();
    renamed.output.name = "logits".into();
    let text = mismatch(
        with_output(value("scores", DataType::FLOAT, &[0, 2])),
        renamed,
    );
    assert!(
        text.contains("`logits`") && text.contains("gives scores"),
        "{text}"
    );

    let text = mismatch(
        with_output(value("scores", DataType::FLOAT, &[0, 3])),
        card(),
    );
    assert!(
        text.contains("names 2 classes") && text.contains("[N, 3]"),
        "{text}"
    );

    let text = mismatch(
        with_output(value("scores", DataType::INT64, &[0, 2])),
        card(),
    );
    assert!(text.contains("INT64"), "{text}");

    let text = mismatch(
        with_output(value("scores", DataType::FLOAT, &[0, 84, 8400])),
        card(),
    );
    assert!(text.contains("detector"), "{text}");
}

#[test]
fn weights_in_a_second_file_are_brought_in() {
    let external = |location: &str, offset: &str, length: &str| {
        let mut proto = foreign();
        let weight = &mut proto.graph.mut_or_insert_default().initializer[0];
        weight.raw_data.clear();
        weight.data_location = DataLocation::EXTERNAL.into();
        weight.external_data = [
            ("location", location),
            ("offset", offset),
            ("length", length),
        ]
        .map(|(key, value)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        })
        .to_vec();
        proto
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("model.toml"),
        "classes = ['no_defect', 'cracks']",
    )
    .unwrap();
    std::fs::write(
        folder.path().join("net.onnx.data"),
        [[0; 8], [1; 8], [2; 8], [3; 8]].concat(),
    )
    .unwrap();
    let path = write(
        folder.path(),
        "net.onnx",
        &external("net.onnx.data", "8", "24"),
    );
    let model = ModelFile::load(&path, None).unwrap();
    let proto = parse(&model.onnx, "inlined").unwrap();
    assert_eq!(
        proto.graph.initializer[0].raw_data,
        [[1; 8], [2; 8], [3; 8]].concat()
    );
    assert_eq!(model.sha256, digest(&model.onnx));

    for (location, offset, length, expected) in [
        ("gone.data", "0", "24", "No such file"),
        ("net.onnx.data", "16", "24", "has 32 bytes"),
        ("net.onnx.data", "x", "24", "no number"),
        ("../net.onnx.data", "0", "24", "below the model's folder"),
        ("/etc/hostname", "0", "1", "below the model's folder"),
        ("", "0", "1", "below the model's folder"),
    ] {
        let path = write(
            folder.path(),
            "bad.onnx",
            &external(location, offset, length),
        );
        let error = ModelFile::load(&path, None).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("`weight`"),
            "{error}"
        );
    }
}

#[test]
fn the_signature_tells_what_the_graph_is_made_of() {
    let mut proto = foreign();
    // Before IR version 4 weights were inputs as well.
    proto
        .graph
        .mut_or_insert_default()
        .input
        .push(value("weight", DataType::FLOAT, &[2, 3]));
    let signature = ModelFile::from_graph(proto, card())
        .unwrap()
        .signature()
        .unwrap();
    assert_eq!(signature.opset, 20);
    assert_eq!(signature.parameters, 6);
    assert_eq!(signature.operators["MatMul"], 1);
    assert_eq!(signature.inputs.len(), 1);
    assert_eq!(
        signature.inputs[0].to_string(),
        "`images`: FLOAT [1, 3, 64, 96]"
    );
}

mod hostile;
mod stated;
