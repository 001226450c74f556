//! What cards state, and how they are told apart.

use super::*;

/// A model with a card inside, as JSON.
fn with_json(json: &str) -> ModelProto {
    let mut proto = foreign();
    proto.metadata_props.push(StringStringEntryProto {
        key: ModelCard::METADATA_KEY.into(),
        value: json.into(),
        ..Default::default()
    });
    proto
}

fn with_sidecar(proto: &ModelProto, text: &str) -> Result<ModelFile, ModelFileError> {
    let folder = tempfile::tempdir().unwrap();
    let sidecar = folder.path().join("side.toml");
    std::fs::write(&sidecar, text).unwrap();
    ModelFile::load(&write(folder.path(), "net.onnx", proto), Some(&sidecar))
}

#[test]
fn a_newer_card_is_known_by_its_number_whatever_else_it_says() {
    let newer = with_json(r#"{"schema":2,"classes":{"of":"another kind"},"calibration":[1]}"#);
    let bytes = newer.write_to_bytes().unwrap();
    let error = ModelFile::from_bytes(bytes, "net.onnx").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("the card inside net.onnx") && text.contains("`schema` is 2"),
        "{text}"
    );
    let text = with_sidecar(&foreign(), "schema = 3\nbrightness = 1")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("side.toml") && text.contains("`schema` is 3"),
        "{text}"
    );
}

#[test]
fn errors_name_the_file_that_the_card_lies_in() {
    let wrong = "classes = ['no_defect', 'cracks']\n[thresholds]\ncracks = 1.5\n";
    let text = with_sidecar(&foreign(), wrong).unwrap_err().to_string();
    assert!(
        text.contains("side.toml is wrong") && !text.contains("net.onnx"),
        "{text}"
    );
    let inside = with_json(r#"{"classes":["fine","cracks"]}"#);
    let bytes = inside.write_to_bytes().unwrap();
    let text = ModelFile::from_bytes(bytes, "net.onnx")
        .unwrap_err()
        .to_string();
    assert!(text.contains("the card inside net.onnx is wrong"), "{text}");
}

#[test]
fn an_element_type_that_is_left_out_is_that_of_the_graph() {
    let levels = graph(
        value("images", DataType::UINT8, &[0, 1, 0, 0]),
        value("scores", DataType::FLOAT, &[0, 2]),
    );
    let sidecar = "classes = ['no_defect', 'cracks']\n[input]\nwidth = 64\nheight = 48\n";
    let card = with_sidecar(&levels, sidecar).unwrap().card;
    assert_eq!(card.input.element, ElementType::U8);
    assert_eq!((card.input.width, card.input.height), (64, 48));
    let stated = format!("{sidecar}element = 'f32'\n");
    let error = with_sidecar(&levels, &stated).unwrap_err();
    assert!(matches!(error, ModelFileError::Mismatch { .. }), "{error}");
}

#[test]
fn parity_that_a_sidecar_claims_is_not_believed() {
    let forged = "classes = ['no_defect', 'cracks']
        [provenance]
        seed = 7
        [provenance.parity]
        engine = 'none'
        samples = 1
        max_abs = 0.0
        tolerance = 0.0";
    let provenance = with_sidecar(&foreign(), forged).unwrap().card.provenance;
    assert_eq!((provenance.seed, provenance.parity), (Some(7), None));
}

#[test]
fn a_card_that_could_not_be_read_back_is_not_written() {
    let sidecar = "classes = ['no_defect', 'cracks']\n[provenance.metrics]\nx = nan\n";
    let text = with_sidecar(&foreign(), sidecar).unwrap_err().to_string();
    assert!(text.contains("`provenance.metrics.x` is NaN"), "{text}");
}
