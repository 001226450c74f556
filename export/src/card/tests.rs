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
            distance: None,
        },
        preprocessing: Preprocessing::imagenet(),
        thresholds: BTreeMap::from([("cracks".into(), 0.4)]),
        calibration: None,
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
        vectors: Vec::new(),
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

fn operating_point() -> OperatingPoint {
    let share = Proportion {
        count: 1,
        of: 300,
        lower: 0.0001,
        upper: 0.0184,
    };
    let point = ClassPoint {
        tiles: 300,
        tolerated: 0,
        proven: false,
        tiles_needed: 368,
    };
    let cracks = ClassFigures {
        missed: share,
        false_alarms: Proportion::default(),
    };
    let figures = OperatingFigures {
        classes: BTreeMap::from([("cracks".into(), cracks)]),
        kinds: BTreeMap::from([("pits".into(), share)]),
        false_alarms: share,
    };
    OperatingPoint {
        miss_rate: 0.01,
        confidence: 0.95,
        split: "val".into(),
        classes: BTreeMap::from([("cracks".into(), point)]),
        parts: BTreeMap::from([("test".into(), figures)]),
    }
}

#[test]
fn a_temperature_divides_logits() {
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let text = problem(|card| {
            card.calibration = Some(Calibration {
                temperature: bad,
                ..Calibration::default()
            });
        });
        assert!(text.contains("greater than 0"), "{text}");
    }
    let text = problem(|card| {
        card.calibration = Some(Calibration {
            ece_after: f64::NAN,
            ..Calibration::default()
        });
    });
    assert!(text.contains("`calibration.ece_after` is NaN"), "{text}");
    let text = problem(|card| {
        card.output.kind = OutputKind::Probabilities;
        card.calibration = Some(Calibration::default());
    });
    assert!(text.contains("remove one of them"), "{text}");
    let text = problem(|card| {
        let mut point = operating_point();
        point.miss_rate = f64::INFINITY;
        card.provenance.operating_point = Some(point);
    });
    assert!(text.contains("operating_point.miss_rate"), "{text}");
}

#[test]
fn a_card_without_calibration_is_written_as_before() {
    let json = serde_json::to_string(&card()).unwrap();
    assert!(
        !json.contains("calibration") && !json.contains("operating_point"),
        "{json}"
    );
    let card: ModelCard =
        toml::from_str("classes = ['no_defect', 'cracks']\n[calibration]\ntemperature = 1.5")
            .unwrap();
    assert_eq!(card.calibration.unwrap().temperature, 1.5);
}

#[test]
fn json_keeps_every_field() {
    let mut card = card();
    card.calibration = Some(Calibration {
        temperature: 1.3,
        ece_before: 0.04,
        ece_after: 0.01,
        tiles: 300,
        split: "val".into(),
    });
    card.provenance = Provenance {
        git_revision: "abc".into(),
        command: "millsight-train".into(),
        seed: Some(u64::MAX),
        data_sha256: "00".into(),
        initial_weights_sha256: Some("01".into()),
        created: "2026-01-01T00:00:00Z".into(),
        metrics: BTreeMap::from([("test.macro_f1".into(), 0.1)]),
        operating_point: Some(operating_point()),
        parity: Some(Parity {
            engine: "embedded".into(),
            samples: 4,
            max_abs: 1e-6,
            tolerance: 1e-4,
            vectors: vec![ParityVector {
                seed: 3,
                scores: vec![0.1, -2.0],
            }],
        }),
        quantization: None,
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

#[test]
fn an_operating_point_is_a_table() {
    let thresholds = BTreeMap::from([("cracks".into(), 0.03125)]);
    assert_eq!(
        operating_point().table(&thresholds),
        "operating point: at most 1 % of the tiles of a defect missed, by thresholds from the val \
         part; exact bounds at 95 % confidence in parentheses\n\
         \n\
         test         threshold  missed                           false alarms\n\
         cracks       0.031250   1 of 300, 0.33 % (0.01 to 1.84)  no tiles\n\
         \x20 pits                  1 of 300, 0.33 % (0.01 to 1.84)\n\
         any of them                                              1 of 300, 0.33 % (0.01 to 1.84)\n\
         \n\
         not proven, for which 368 tiles are needed: cracks (300); their thresholds miss none of \
         the tiles that there are (none: flagged where they are most probable)\n"
    );
}
