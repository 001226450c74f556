//! A screen from a folder of tiles to the model file, and before a classifier.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod program;
mod tiles;

use std::path::Path;

use millsight_export::card::ElementType;
use millsight_export::model_file::ModelFile;
use millsight_export::weights::NamedArrays;
use program::{complaint, json, program, text};
use serde_json::Value;

const SCREEN: &str = "--arch screen --image-size 32 --stem 4 --widths 8,16 --epochs 12 \
                      --batch-size 16 --learning-rate 1e-2 --seed 3";

#[test]
fn a_screen_tells_defects_from_none_and_stands_before_a_classifier() {
    let data = tiles::folder(&[("no_defect", 60), ("cracks", 30), ("overfill", 30)], 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let (screen, vit) = (out.path().join("screen"), out.path().join("vit"));
    let table = data.path().join("split.csv");

    let train = ["train", text(&table), "--out", text(&screen)];
    let trained = json(&train, SCREEN);
    assert_eq!(trained["epochs"], 12);
    let config: Value =
        serde_json::from_slice(&std::fs::read(screen.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["network"]["architecture"], "screen");
    assert_eq!(
        config["classes"],
        serde_json::json!(["no_defect", "defect"])
    );
    let resumed = json(&["train", "--resume", text(&screen)], "");
    assert_eq!(resumed["best"], trained["best"]);

    let evaluate = ["evaluate", "--run", text(&screen)];
    let report = json(&evaluate, "--operating-point 0.5");
    assert!(
        report["balanced_accuracy"].as_f64().unwrap() > 0.8,
        "{report}"
    );
    let parts = &report["operating"]["operating_point"]["parts"];
    for kind in ["cracks", "overfill"] {
        assert!(
            parts["val"]["kinds"][kind]["of"].as_u64() > Some(3),
            "{parts}"
        );
    }

    let model = out.path().join("screen.onnx");
    let export = ["export", "--run", text(&screen), "--out", text(&model)];
    let exported = json(&export, "--engine embedded");
    assert!(exported["parity"]["max_abs"].as_f64().unwrap() < 1e-3);
    let card = ModelFile::load(&model, None).unwrap().card;
    assert_eq!(card.architecture, "screen");
    assert_eq!(card.classes, ["no_defect", "defect"]);
    assert_eq!(
        (card.input.channels, card.input.element),
        (1, ElementType::U8)
    );
    assert!(card.provenance.operating_point.is_some());

    let train = ["train", text(&table), "--out", text(&vit)];
    let small = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --epochs 8 \
                 --learning-rate 1e-3";
    json(&train, small);
    let cascade = ["evaluate", "--run", text(&vit), "--cascade", text(&screen)];
    let report = json(&cascade, "--risk 0.5");
    let cascade_report = &report["cascade"];
    assert_eq!(cascade_report["alone"]["tiles"], report["tiles"]);
    assert_eq!(cascade_report["passed_on"]["of"], report["tiles"]);
    let passed = cascade_report["passed_on"]["count"].as_u64().unwrap();
    assert!(
        passed < report["tiles"].as_u64().unwrap(),
        "{cascade_report}"
    );
    for class in ["cracks", "overfill"] {
        assert!(cascade_report["cleared"][class]["of"].as_u64() > Some(0));
    }

    let said = complaint(
        &["evaluate", "--run", text(&vit), "--cascade", text(&vit)],
        "",
    );
    assert!(said.contains("is no screen"), "{said}");
    the_files_of_the_line_say_the_same(&table, [&vit, &screen], &model, out.path());
    begins_with_another(&table, &screen, &vit, out.path());
}

/// Classifier and screen as model files, with the thresholds of their cards.
fn the_files_of_the_line_say_the_same(
    table: &Path,
    [vit, screen]: [&Path; 2],
    screen_file: &Path,
    out: &Path,
) {
    let classifier = out.join("vit.onnx");
    let export = ["export", "--run", text(vit), "--out", text(&classifier)];
    json(&export, "--engine embedded");
    let before = ["evaluate", "--run", text(vit), "--cascade", text(screen)];
    // What the screen's card promises.
    let run = json(&before, "--risk 0.5");
    let files = ["evaluate", "--model", text(&classifier)];
    let with_screen = ["--table", text(table), "--cascade", text(screen_file)];
    let files = [&files[..], &with_screen].concat();
    let line = json(&files, "--engine embedded");
    assert_eq!(line["engine"]["name"], "embedded");
    assert_eq!(line["confusion"], run["confusion"]);
    for field in ["passed_on", "clean_passed_on"] {
        assert_eq!(
            line["cascade"][field]["count"],
            run["cascade"][field]["count"]
        );
    }
    assert_eq!(line["cascade"]["cost"], run["cascade"]["cost"]);
    assert_eq!(
        line["cascade"]["screen"]["thresholds"],
        run["cascade"]["screen"]["thresholds"]
    );
    let chosen = json(&files, "--engine embedded --risk 0.5");
    assert_eq!(chosen["cascade"]["passed_on"], run["cascade"]["passed_on"]);
    // What the line does with a class that is flagged early.
    json(&export, "--engine embedded --threshold cracks=0");
    let eager = json(&files, "--engine embedded");
    let recall = |report: &Value| {
        let mut classes = report["classes"].as_array().unwrap().iter();
        let cracks = classes.find(|class| class["name"] == "cracks");
        cracks.unwrap()["recall"].as_f64().unwrap()
    };
    assert!(recall(&eager) >= recall(&line));
    assert_ne!(eager["confusion"], line["confusion"]);
    let said = program(&["evaluate", "--model", text(&classifier)], "");
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("--table"), "{said}");
}

/// A screen learns from a classifier too, and from tiles that nobody has labelled.
#[test]
fn a_screen_learns_from_a_teacher() {
    let labelled = [("no_defect", 40), ("cracks", 20), ("overfill", 20)];
    let data = tiles::folder(&labelled, 32);
    tiles::split(data.path());
    let out = tempfile::tempdir().unwrap();
    let (vit, screen) = (out.path().join("vit"), out.path().join("screen"));
    let table = data.path().join("split.csv");
    let small = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --epochs 8 \
                 --learning-rate 1e-3";
    json(&["train", text(&table), "--out", text(&vit)], small);

    // Tiles that look like cracks and clean ones, without their labels.
    let more = tiles::folder(&[("no_defect", 30), ("cracks", 30)], 32);
    let folder = data.path().join("unlabelled");
    std::fs::create_dir(&folder).unwrap();
    for class in ["no_defect", "cracks"] {
        for file in std::fs::read_dir(more.path().join(class)).unwrap() {
            let file = file.unwrap();
            let name = format!("{class}_{}", file.file_name().display());
            std::fs::copy(file.path(), folder.join(name)).unwrap();
        }
    }
    tiles::split(data.path());
    let teacher = vit.join("best.safetensors");
    let train = ["train", text(&table), "--out", text(&screen)];
    let said = complaint(&train, SCREEN);
    assert!(said.contains("a screen with a --teacher"), "{said}");
    let taught = [&train[..], &["--teacher", text(&teacher)]].concat();
    let said = complaint(&taught, &format!("{SCREEN} --teacher-share 1"));
    assert!(said.contains("--teacher-share"), "{said}");
    let said = complaint(&taught, small);
    assert!(said.contains("--teacher is for --arch screen"), "{said}");
    assert!(!screen.exists());

    let trained = json(&taught, SCREEN);
    assert!(
        trained["best"]["balanced_accuracy"].as_f64() > Some(0.8),
        "{trained}"
    );
    let config: Value =
        serde_json::from_slice(&std::fs::read(screen.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["method"]["distillation"]["share"], 0.5);
    assert_eq!(
        config["classes"],
        serde_json::json!(["no_defect", "defect"])
    );
    let report = json(&["evaluate", "--run", text(&screen)], "");
    assert!(
        report["tiles"].as_u64() < Some(30),
        "only those with a label: {report}"
    );
    let resumed = json(&["train", "--resume", text(&screen)], "");
    assert_eq!(resumed["best"], trained["best"]);

    // The classifier of the line teaches as its run does.
    let (file, second) = (out.path().join("vit.onnx"), out.path().join("second"));
    let export = ["export", "--run", text(&vit), "--out", text(&file)];
    json(&export, "--engine embedded");
    let train = ["train", text(&table), "--out", text(&second)];
    let taught = [&train[..], &["--teacher", text(&file)]].concat();
    let by_file = json(&taught, SCREEN);
    assert!(
        by_file["best"]["balanced_accuracy"].as_f64() > Some(0.8),
        "{by_file}"
    );
}

/// A screen for larger tiles begins with the weights of `screen`, and with no others.
fn begins_with_another(table: &Path, screen: &Path, vit: &Path, out: &Path) {
    let [first, of_vit] = [screen, vit].map(|run| run.join("best.safetensors"));
    let larger = out.join("larger");
    let init = "--arch screen --image-size 64 --epochs 1 --learning-rate 1e-9";
    let train = ["train", text(table), "--out", text(&larger), "--init"];
    fn begin<'a>(train: &[&'a str], init: &'a Path) -> Vec<&'a str> {
        [train, &[text(init)]].concat()
    }
    let said = complaint(&begin(&train, &of_vit), init);
    assert!(said.contains("is of a run with --arch vit"), "{said}");
    let said = complaint(&begin(&train, &first), &format!("{init} --widths 8,8"));
    assert!(said.contains("--stem 4 --widths 8,16"), "{said}");
    let said = complaint(&begin(&train, &first), "--image-size 32");
    assert!(said.contains("is of a run with --arch screen"), "{said}");
    assert!(!larger.exists());

    json(&begin(&train, &first), init);
    let config = |run: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap()
    };
    let (before, after) = (config(screen), config(&larger));
    assert_eq!(after["preprocessing"], before["preprocessing"]);
    assert_eq!(after["network"]["widths"], before["network"]["widths"]);
    let weights = |run: &Path| {
        let file = run.join("best.safetensors");
        NamedArrays::load(&file)
            .unwrap()
            .require("stem.conv.weight")
            .unwrap()
            .data
            .clone()
    };
    for (before, after) in weights(screen).iter().zip(weights(&larger)) {
        assert!((before - after).abs() < 1e-6, "{before} {after}");
    }
}

#[test]
fn what_a_screen_cannot_be_is_refused() {
    let defects = [("cracks", 20), ("overfill", 20)];
    let [all, dirty] =
        [&[("no_defect", 20), defects[0]], &defects].map(|classes| tiles::folder(&classes[..], 32));
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let fails = |data: &tempfile::TempDir, more: &str, message: &str| {
        tiles::split(data.path());
        let table = data.path().join("split.csv");
        let said = complaint(&["train", text(&table), "--out", text(&run)], more);
        assert!(said.contains(message), "{said}");
        assert!(!run.exists());
    };
    fails(&dirty, SCREEN, "has no class no_defect");
    fails(&all, &format!("{SCREEN} --patch 8"), "--patch");
    fails(&all, "--stem 8", "--stem is for --arch screen");
    fails(
        &all,
        "--arch screen --image-size 48 --stem 8 --widths 8,8,8",
        "`image_height` 48",
    );
}
