//! Files that were made to do harm.

use std::error::Error;
use std::fs::File;

use onnx_protobuf::AttributeProto;

use super::*;

/// A tensor of 32-bit floats that lies in another file.
fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::FLOAT as i32,
        data_location: DataLocation::EXTERNAL.into(),
        external_data: entries
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: (*key).into(),
                value: (*value).into(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn with_weights(weights: Vec<TensorProto>) -> ModelProto {
    let mut proto = foreign();
    let graph = proto.graph.mut_or_insert_default();
    graph.initializer.extend(weights);
    proto
}

/// Loads a model from a folder that holds a card and a file of 8 bytes.
fn load(folder: &Path, proto: &ModelProto) -> Result<ModelFile, ModelFileError> {
    let sidecar = "classes = ['no_defect', 'cracks']";
    std::fs::write(folder.join("model.toml"), sidecar).unwrap();
    ModelFile::load(&write(folder, "net.onnx", proto), None)
}

fn refused(folder: &Path, proto: &ModelProto) -> String {
    let error = load(folder, proto).unwrap_err();
    // A report lists an error's sources under its message.
    assert!(error.source().is_none(), "{error}");
    error.to_string()
}

#[test]
fn one_file_cannot_be_taken_for_many_weights() {
    let folder = tempfile::tempdir().unwrap();
    // A file of a gigabyte that takes no space.
    let data = File::create(folder.path().join("big.data")).unwrap();
    data.set_len(1 << 30).unwrap();
    let location = [("location", "big.data")];
    let weights = (0..200)
        .map(|index| external(&format!("w{index}"), &[1 << 28], &location))
        .collect();
    let text = refused(folder.path(), &with_weights(weights));
    assert!(text.contains("`w1`") && text.contains("together"), "{text}");

    // Without a length it is what type and shape say, not the whole file.
    let few = with_weights(vec![external("few", &[2, 2], &location)]);
    let model = load(folder.path(), &few).unwrap();
    let proto = parse(&model.onnx, "few").unwrap();
    assert_eq!(proto.graph.initializer[1].raw_data, [0; 16]);
    for (dims, length) in [
        (vec![2, 2], "64"),
        (vec![1 << 40, 1 << 40], "16"),
        (vec![-1], "4"),
    ] {
        let entries = [("location", "big.data"), ("length", length)];
        let text = refused(
            folder.path(),
            &with_weights(vec![external("w", &dims, &entries)]),
        );
        assert!(text.contains("shape"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn links_pipes_and_devices_are_no_weights() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, [1; 8]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(&secret, folder.path().join("link.data")).unwrap();
    symlink(outside.path(), folder.path().join("folder")).unwrap();
    let pipe = folder.path().join("pipe.data");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let own = folder.path().join("own.data");
    std::fs::write(own, [2; 8]).unwrap();
    symlink("own.data", folder.path().join("inner.data")).unwrap();

    let proto = |location| with_weights(vec![external("w", &[2], &[("location", location)])]);
    for (location, expected) in [
        ("link.data", "below the model's folder"),
        ("folder/secret", "below the model's folder"),
        ("pipe.data", "not a regular file"),
    ] {
        let text = refused(folder.path(), &proto(location));
        assert!(text.contains(expected), "{location}: {text}");
    }
    load(folder.path(), &proto("inner.data")).unwrap();

    // The same holds for the model and the sidecar themselves.
    let error = ModelFile::load(Path::new("/dev/zero"), None).unwrap_err();
    assert!(matches!(error, ModelFileError::Read { .. }), "{error}");
    let model = write(folder.path(), "net.onnx", &foreign());
    for sidecar in [Path::new("/dev/zero"), &pipe] {
        let error = ModelFile::load(&model, Some(sidecar)).unwrap_err();
        assert!(
            matches!(error, ModelFileError::ReadSidecar { .. }),
            "{error}"
        );
    }
    let long = folder.path().join("long.toml");
    File::create(&long)
        .unwrap()
        .set_len(LARGEST_SIDECAR + 1)
        .unwrap();
    let error = ModelFile::load(&model, Some(&long))
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 1048576 bytes"), "{error}");
}

#[test]
fn weights_are_brought_in_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.data"), [1; 8]).unwrap();
    let entries = [("location", "own.data")];
    let inner = GraphProto {
        initializer: vec![external("inner", &[2], &entries)],
        ..Default::default()
    };
    let mut proto = foreign();
    proto.graph.mut_or_insert_default().node[0].attribute = vec![
        AttributeProto {
            name: "value".into(),
            t: MessageField::some(external("t", &[1], &entries)),
            ..Default::default()
        },
        AttributeProto {
            name: "body".into(),
            g: MessageField::some(inner),
            ..Default::default()
        },
    ];
    let model = load(folder.path(), &proto).unwrap();
    let proto = parse(&model.onnx, "inlined").unwrap();
    let [value, body] = proto.graph.node[0].attribute.as_slice() else {
        panic!("two attributes")
    };
    assert_eq!(value.t.raw_data, [1; 4]);
    assert_eq!(body.g.initializer[0].raw_data, [1; 8]);
}

#[test]
fn shapes_beyond_all_numbers_do_not_overflow() {
    let mut weight = foreign().graph.initializer[0].clone();
    weight.name = "huge".into();
    weight.dims = vec![1 << 40, 1 << 40];
    let mut other = weight.clone();
    other.name = "other".into();
    let signature = Signature::of(&with_weights(vec![weight, other]));
    assert_eq!(signature.parameters, u64::MAX);
}

#[test]
fn graphs_that_ask_for_more_than_memory_are_refused() {
    let shape = TensorProto {
        name: "shape".into(),
        dims: vec![1],
        data_type: DataType::INT64 as i32,
        raw_data: (1i64 << 34).to_le_bytes().to_vec(),
        ..Default::default()
    };
    let constant = NodeProto {
        op_type: "Constant".into(),
        output: vec!["shape".into()],
        attribute: vec![AttributeProto {
            name: "value".into(),
            t: MessageField::some(shape.clone()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let folder = tempfile::tempdir().unwrap();
    for (operator, inputs) in [
        ("ConstantOfShape", vec!["shape".to_owned()]),
        ("Expand", vec!["weight".to_owned(), "shape".to_owned()]),
        ("Tile", vec!["weight".to_owned(), "shape".to_owned()]),
    ] {
        let bomb = NodeProto {
            name: "bomb".into(),
            op_type: operator.into(),
            input: inputs,
            output: vec!["big".into()],
            ..Default::default()
        };
        let mut by_weight = with_weights(vec![shape.clone()]);
        let mut by_node = foreign();
        by_node
            .graph
            .mut_or_insert_default()
            .node
            .push(constant.clone());
        for proto in [&mut by_weight, &mut by_node] {
            proto.graph.mut_or_insert_default().node.push(bomb.clone());
            let text = refused(folder.path(), proto);
            assert!(
                text.contains("`bomb`") && text.contains("17179869184"),
                "{text}"
            );
        }
    }

    let many = graph(
        value("images", DataType::FLOAT, &[1 << 40, 3, 64, 96]),
        value("scores", DataType::FLOAT, &[1 << 40, 2]),
    );
    assert!(mismatch(many, card()).contains("at once"));
}
