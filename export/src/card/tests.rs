#![allow(clippy::unwrap_used)]

use super::*;

fn card() -> ModelCard {
    ModelCard {
        schema: ModelCard::SCHEMA,
        name: "test".into(),
        architecture: "vit".into(),
        classes: vec![NO_DEFECT.into(), "cracks".into(), "overfill".into()],
        input: InputSpec {
            name: "pixels".into(),
            width: 224,
            height: 224,
            channels: 1,
            element: ElementType::U8,
        },
        output: OutputSpec {
            name: "logits".into(),
            kind: OutputKind::Logits,
        },
        preprocessing: Preprocessing::imagenet(),
        thresholds: BTreeMap::from([("cracks".into(), 0.4)]),
        provenance: Provenance::default(),
    }
}

fn problem(change: impl FnOnce(&mut ModelCard)) -> String {
    let mut card = card();
    card.validate().unwrap();
    change(&mut card);
    card.validate().unwrap_err().to_string()
}

#[test]
fn rules_are_checked_and_remedies_stated() {
    let too_new = problem(|card| card.schema = 2);
    assert!(too_new.contains("`schema` is 2"), "{too_new}");
    let none = problem(|card| card.classes.clear());
    assert!(none.contains("0 name(s)"), "{none}");
    let unnamed = problem(|card| card.classes[1] = " ".into());
    assert!(unnamed.contains("class 1"), "{unnamed}");
    let duplicate = problem(|card| card.classes.push("cracks".into()));
    assert!(
        duplicate.contains("`cracks` twice, at 1 and 3"),
        "{duplicate}"
    );
    let sound = problem(|card| card.classes[0] = "fine".into());
    assert!(
        sound.contains("(fine, cracks, overfill) is `no_defect`; rename"),
        "{sound}"
    );
    let stray = problem(|card| {
        card.thresholds.insert("scratch".into(), 0.5);
    });
    assert!(
        stray.contains("`scratch`, which is none of the classes"),
        "{stray}"
    );
    let never = problem(|card| {
        card.thresholds.insert(NO_DEFECT.into(), 0.5);
    });
    assert!(never.contains("never flagged"), "{never}");
    for bad in [-0.1, 1.1, f32::NAN] {
        let beyond = problem(|card| {
            card.thresholds.insert("cracks".into(), bad);
        });
        assert!(beyond.contains("between 0 and 1"), "{beyond}");
    }
    let channels = problem(|card| card.input.channels = 4);
    assert!(channels.contains("1 (grey) or 3 (RGB)"), "{channels}");
    let side = problem(|card| card.input.height = 0);
    assert!(side.contains("`input.height` is 0"), "{side}");
    let mean = problem(|card| card.preprocessing.mean[2] = f32::INFINITY);
    assert!(mean.contains("channel 2"), "{mean}");
    for bad in [0.0, -1.0, f32::NAN] {
        let std = problem(|card| card.preprocessing.std[1] = bad);
        assert!(
            std.contains("channel 1") && std.contains("greater than 0"),
            "{std}"
        );
    }
}

#[test]
fn figures_are_finite() {
    let parity = Parity {
        engine: "embedded".into(),
        samples: 1,
        max_abs: 0.0,
        tolerance: 1.0,
    };
    for bad in [f64::NAN, f64::INFINITY] {
        let text = problem(|card| {
            card.provenance.metrics.insert("accuracy".into(), bad);
        });
        assert!(text.contains("`provenance.metrics.accuracy`"), "{text}");
    }
    let text = problem(|card| {
        card.provenance.parity = Some(Parity {
            max_abs: f32::NAN,
            ..parity.clone()
        });
    });
    assert!(
        text.contains("`provenance.parity.max_abs` is NaN"),
        "{text}"
    );
    let text = problem(|card| {
        card.provenance.parity = Some(Parity {
            tolerance: f32::INFINITY,
            ..parity.clone()
        });
    });
    assert!(text.contains("parity.tolerance"), "{text}");
}

#[test]
fn json_keeps_every_field() {
    let mut card = card();
    card.provenance = Provenance {
        git_revision: "abc".into(),
        command: "millsight-train".into(),
        seed: Some(u64::MAX),
        data_sha256: "00".into(),
        initial_weights_sha256: Some("01".into()),
        created: "2026-01-01T00:00:00Z".into(),
        metrics: BTreeMap::from([("test.macro_f1".into(), 0.1)]),
        parity: Some(Parity {
            engine: "embedded".into(),
            samples: 4,
            max_abs: 1e-6,
            tolerance: 1e-4,
        }),
    };
    let json = serde_json::to_string(&card).unwrap();
    assert_eq!(serde_json::from_str::<ModelCard>(&json).unwrap(), card);
}

#[test]
fn a_sidecar_needs_only_classes() {
    let card: ModelCard = toml::from_str("classes = ['no_defect', 'cracks']").unwrap();
    assert_eq!(card.schema, ModelCard::SCHEMA);
    assert_eq!(card.preprocessing, Preprocessing::imagenet());
    assert_eq!(card.output.kind, OutputKind::Logits);
    let error = toml::from_str::<ModelCard>("name = 'x'").unwrap_err();
    assert!(error.to_string().contains("missing field `classes`"));
    let error = toml::from_str::<ModelCard>("classes = []\nclases = []").unwrap_err();
    assert!(error.to_string().contains("unknown field `clases`"));
}
