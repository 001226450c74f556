//! `millsight-export` as a user meets it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

fn export(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("millsight-export").unwrap();
    command.args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_str(
        std::str::from_utf8(&output)
            .unwrap()
            .lines()
            .last()
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn inspect_shows_card_and_graph() {
    let model = fixture("foreign_vit.onnx");
    export(&["inspect"])
        .arg(&model)
        .assert()
        .success()
        .stdout(contains("no_defect, scrap_mark_2"))
        .stdout(contains("`input0`: FLOAT [batch, 3, 64, 64]"))
        .stdout(contains("LayerNormalization 5"));
    let result = json(export(&["inspect", "--json"]).arg(&model));
    assert_eq!(result["card"]["input"]["width"], 64);
    assert_eq!(result["graph"]["outputs"][0]["name"], "output0");
    assert_eq!(result["bytes"], std::fs::metadata(&model).unwrap().len());
}

#[test]
fn inspect_shows_the_graph_of_a_model_without_card() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("bare.onnx");
    std::fs::copy(fixture("foreign_vit.onnx"), &model).unwrap();
    export(&["inspect"])
        .arg(&model)
        .assert()
        .success()
        .stdout(contains("bare.toml"))
        .stdout(contains("`output0`: FLOAT [batch, 5]"));
    let result = json(export(&["inspect", "--json"]).arg(&model));
    assert!(result["card"].is_null());
    assert_eq!(result["graph"]["inputs"][0]["name"], "input0");
}

#[test]
fn verify_tells_models_that_agree_from_those_that_do_not() {
    let reference = fixture("foreign_vit.safetensors");
    for model in ["foreign_vit.onnx", "foreign_vit_dynamo.onnx"] {
        let mut command = export(&["verify", "--engine", "embedded", "--json"]);
        command
            .arg(fixture(model))
            .arg("--reference")
            .arg(&reference);
        let parity = json(&mut command);
        assert_eq!(parity["samples"], 2);
        assert!(parity["max_abs"].as_f64().unwrap() < 1e-4, "{parity}");
    }
    export(&["verify", "--engine", "embedded", "--tolerance", "0"])
        .arg(fixture("foreign_vit.onnx"))
        .arg("--reference")
        .arg(&reference)
        .assert()
        .code(1)
        .stderr(contains("off by"));
}

#[test]
fn a_card_is_written_into_a_foreign_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("carded.onnx");
    export(&["card"])
        .arg(fixture("foreign_vit.onnx"))
        .arg("--sidecar")
        .arg(fixture("foreign_vit.toml"))
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    let result = json(export(&["inspect", "--json"]).arg(&out));
    assert_eq!(result["card"]["preprocessing"]["std"][0], 0.5);
    export(&["verify", "--engine", "embedded"])
        .arg(&out)
        .arg("--reference")
        .arg(fixture("foreign_vit.safetensors"))
        .assert()
        .success()
        .stdout(contains("agrees with the reference"));
}

/// What was said on standard error, without the wrapping of its lines.
fn complaint(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap().replace('│', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn failures_exit_with_1_and_wrong_usage_with_2() {
    let failing = [
        ("none.onnx", "there is no model file"),
        ("foreign_vit.png", "is not an ONNX model"),
    ];
    for (name, expected) in failing {
        let text = complaint(export(&["inspect"]).arg(fixture(name)), 1);
        assert!(text.contains(expected) && text.contains(name), "{text}");
    }
    let missing = complaint(&mut export(&["verify", "model.onnx"]), 2);
    assert!(missing.contains("--reference"), "{missing}");
    let negative = ["verify", "m.onnx", "--reference", "r", "--tolerance=-1"];
    let negative = complaint(&mut export(&negative), 2);
    assert!(negative.contains("at least 0"), "{negative}");
    complaint(&mut export(&[]), 2);
}

#[test]
fn a_card_with_a_reference_is_written_only_where_the_model_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("carded.onnx");
    let card = |sidecar: &Path, extra: &[&str]| {
        let mut command = export(&["card", "--engine", "embedded", "--json"]);
        command
            .arg(fixture("foreign_vit.onnx"))
            .arg("--sidecar")
            .arg(sidecar);
        command
            .arg("--reference")
            .arg(fixture("foreign_vit.safetensors"));
        command.arg("--out").arg(&out).args(extra);
        command
    };
    let sidecar = fixture("foreign_vit.toml");
    let text = complaint(&mut card(&sidecar, &["--tolerance", "0"]), 1);
    assert!(text.contains("off by") && !out.exists(), "{text}");
    let text = complaint(&mut card(&sidecar, &["--provider", "cuda"]), 1);
    assert!(text.contains("`cuda`") && !out.exists(), "{text}");

    let written = json(&mut card(&sidecar, &["--provider", "cpu"]));
    assert_eq!(written["card"]["provenance"]["parity"]["samples"], 2);
    let result = json(export(&["inspect", "--json"]).arg(&out));
    let parity = &result["card"]["provenance"]["parity"];
    assert!(
        parity["engine"].as_str().unwrap().starts_with("embedded"),
        "{parity}"
    );
}

#[test]
fn parity_comes_from_a_comparison_and_not_from_a_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, out) = (
        folder.path().join("forged.toml"),
        folder.path().join("out.onnx"),
    );
    let honest = std::fs::read_to_string(fixture("foreign_vit.toml")).unwrap();
    let claim =
        "[provenance.parity]\nengine = 'none'\nsamples = 1\nmax_abs = 0.0\ntolerance = 0.0\n";
    std::fs::write(&sidecar, format!("{honest}\n{claim}")).unwrap();
    let mut command = export(&["card", "--json"]);
    command
        .arg(fixture("foreign_vit.onnx"))
        .arg("--sidecar")
        .arg(&sidecar);
    let written = json(command.arg("--out").arg(&out));
    assert!(
        written["card"]["provenance"]["parity"].is_null(),
        "{written}"
    );

    let unfinished = format!("{honest}\n[provenance.metrics]\naccuracy = nan\n");
    std::fs::write(&sidecar, unfinished).unwrap();
    std::fs::remove_file(&out).unwrap();
    let mut command = export(&["card"]);
    command
        .arg(fixture("foreign_vit.onnx"))
        .arg("--sidecar")
        .arg(&sidecar);
    let text = complaint(command.arg("--out").arg(&out), 1);
    assert!(text.contains("accuracy") && !out.exists(), "{text}");
    // What went wrong is said once.
    assert_eq!(text.matches("finite").count(), 1, "{text}");
}

#[test]
fn a_model_is_put_into_8_bits_unless_that_costs_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "path,label,split\n".to_owned();
    for number in 0..12u32 {
        let name = format!("{number}.png");
        let level = |x: u32, y: u32| (x * 7 + y * (3 + number) + number * 19) % 200;
        let image = image::GrayImage::from_fn(80, 80, |x, y| image::Luma([level(x, y) as u8]));
        image.save(folder.path().join(&name)).unwrap();
        let split = if number % 2 == 0 { "train" } else { "val" };
        let label = if number % 4 < 2 {
            "no_defect"
        } else {
            "cracks"
        };
        table.push_str(&format!("{name},{label},{split}\n"));
    }
    let tiles = folder.path().join("split.csv");
    std::fs::write(&tiles, table).unwrap();
    let (model, out) = (
        fixture("foreign_vit.onnx"),
        folder.path().join("whole.onnx"),
    );
    let quantize = || {
        let mut command = export(&["quantize", "--engine", "embedded", "--json", "--tiles"]);
        command.arg(&tiles).arg(&model).arg("--out").arg(&out);
        command
    };
    for form in ["dynamic", "static"] {
        let result = json(quantize().args(["--form", form, "--tolerance", "1"]));
        let quantization = &result["quantization"];
        assert_eq!(quantization["form"], form);
        assert_eq!(quantization["tiles"], 6);
        let calibrated = if form == "static" { 6 } else { 0 };
        assert_eq!(quantization["calibration_tiles"], calibrated);
        export(&["inspect"])
            .arg(&out)
            .assert()
            .success()
            .stdout(contains("in 8 bits"));
    }

    // What a card says of the original is replaced by what is true of this.
    let sidecar = folder.path().join("promise.toml");
    let card = std::fs::read_to_string(fixture("foreign_vit.toml")).unwrap();
    let promise = "[provenance.metrics]\n'test.accuracy' = 0.99\n\
                   [provenance.operating_point]\nmiss_rate = 0.9\nsplit = 'test'\n";
    std::fs::write(&sidecar, format!("{card}\n{promise}")).unwrap();
    let promised = ["--form", "dynamic", "--tolerance", "1", "--sidecar"];
    json(quantize().args(promised).arg(&sidecar));
    let card = json(export(&["inspect", "--json"]).arg(&out));
    let (card, provenance) = (&card["card"], &card["card"]["provenance"]);
    assert!(provenance["metrics"]["test.accuracy"].is_null(), "{card}");
    assert!(provenance["metrics"]["val.accuracy"].is_number(), "{card}");
    let point = &provenance["operating_point"];
    assert_eq!(
        (&point["split"], &point["miss_rate"]),
        (&"val".into(), &0.9.into())
    );
    assert_eq!(
        point["parts"]["val"]["classes"]["cracks"]["missed"]["of"],
        3
    );
    assert!(card["thresholds"]["cracks"].is_number(), "{card}");

    let before = std::fs::read(&out).unwrap();
    let said = complaint(quantize().args(["--percentile", "0.4"]), 2);
    assert!(said.contains("above 0.5"), "{said}");
    let said = complaint(quantize().args(["--tiles", "nowhere.csv"]), 2);
    assert!(said.contains("--tiles"), "{said}");
    std::fs::write(&tiles, "path,label,split\n0.png,pits,val\n").unwrap();
    let said = complaint(&mut quantize(), 1);
    assert!(said.contains("\"pits\""), "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), before);
}

#[test]
fn thresholds_are_chosen_for_another_miss_rate() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "path,label,split\n".to_owned();
    for number in 0..8u32 {
        let name = format!("{number}.png");
        let level = |x: u32, y: u32| (x * 7 + y * (3 + number) + number * 19) % 200;
        let image = image::GrayImage::from_fn(80, 80, |x, y| image::Luma([level(x, y) as u8]));
        image.save(folder.path().join(&name)).unwrap();
        let label = ["no_defect", "cracks"][number as usize % 2];
        table.push_str(&format!("{name},{label},val\n"));
    }
    let tiles = folder.path().join("split.csv");
    std::fs::write(&tiles, table).unwrap();
    let (model, out) = (
        folder.path().join("in.onnx"),
        folder.path().join("out.onnx"),
    );
    let mut card = export(&["card", "--sidecar"]);
    card.arg(fixture("foreign_vit.toml"))
        .arg(fixture("foreign_vit.onnx"));
    card.arg("--out").arg(&model).assert().success();
    let choose = |rate: &str| {
        let mut command = export(&["thresholds", "--engine", "embedded", "--json", "--tiles"]);
        command.arg(&tiles).arg(&model).arg("--out").arg(&out);
        command.args(["--miss-rate", rate]);
        command
    };
    // Of 4 tiles two may be missed: the upper bound of two is 0.93, of three 0.99.
    let chosen = json(&mut choose("0.94"));
    let figures = &chosen["operating_point"]["parts"]["val"]["classes"]["cracks"];
    assert_eq!(figures["missed"]["of"], 4);
    assert_eq!(figures["missed"]["count"], 2, "{chosen}");
    let before = json(export(&["inspect", "--json"]).arg(&model));
    let after = json(export(&["inspect", "--json"]).arg(&out));
    assert_eq!(before["graph"], after["graph"]);
    assert_eq!(after["card"]["thresholds"], chosen["thresholds"]);
    assert!(chosen["thresholds"]["cracks"].is_number(), "{chosen}");

    let said = complaint(&mut choose("1"), 2);
    assert!(said.contains("below 1"), "{said}");
    std::fs::write(&tiles, "path,label,split\n0.png,no_defect,test\n").unwrap();
    let said = complaint(&mut choose("0.5"), 1);
    assert!(said.contains("no tiles in its val part"), "{said}");
}

#[test]
fn completions_that_cannot_be_written_are_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("millsight-export"))
        .args(["completions", "bash"])
        .stdout(full)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("No space left") && !text.contains("panicked"),
        "{text}"
    );
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_millsight-export"));
    let model = fixture("foreign_vit.onnx").display().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for arguments in [&["completions", "bash"][..], &["inspect", &model]] {
        let gone = program()
            .args(arguments)
            .stdout(writer.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(gone.status.code(), Some(0), "{arguments:?}");
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let full = program().args(arguments).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}");
        let message = String::from_utf8(full.stderr).unwrap();
        assert!(message.contains("standard output"), "{message}");
    }
}
