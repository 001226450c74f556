//! Another model takes over while lines come.

use millsight_firmware_config::MaterialDetection;

use super::*;
use crate::ledger::ModelIdentity;
use crate::testing::{card, network};

/// Takes its time and flags everything, or nothing.
fn says(is_defect: bool) -> impl FnMut(usize, usize) -> Vec<f32> + Send + 'static {
    move |_, tiles| {
        thread::sleep(Duration::from_millis(1));
        match is_defect {
            true => [0.1, 0.9].repeat(tiles),
            false => clean(tiles),
        }
    }
}

/// Of another model.
pub(super) fn identity() -> ModelIdentity {
    ModelIdentity {
        sha256: "another".into(),
        name: "another".into(),
    }
}

#[test]
fn rows_are_judged_by_the_model_that_judged_when_they_were_assembled() {
    const ROWS: usize = 120;
    let models = Arc::new(Models::default());
    let classifiers: Vec<Classifier> = (0..2)
        .map(|_| {
            Classifier::new(network(4, says(true)), None, MaterialDetection::default())
                .with_models(Arc::clone(&models))
        })
        .collect();
    let steps: Vec<Step> = (0..ROWS)
        .map(|row| L((row * TILE_SIZE) as u64, TILE_SIZE))
        .collect();
    let (seen, judged_by) = mpsc::channel();
    let exchange = Arc::clone(&models);
    let mut settled = 0;
    let setting = Setting {
        classifiers,
        models: Arc::clone(&models),
        observe: Box::new(move |row| {
            settled += 1;
            // There, back, and there again, which takes no other networks.
            match settled {
                20 => {
                    let networks = (0..2).map(|_| network(4, says(false))).collect();
                    let number = exchange.add(identity(), card(), networks);
                    exchange.choose(number);
                }
                50 => exchange.choose(0),
                80 => exchange.choose(1),
                _ => {}
            }
            let _ = seen.send((row.row.number, row.row.model, row.states[0]));
        }),
        ..Setting::default()
    };
    let (outcome, ledger) = run_steps(&steps, setting);
    assert_eq!(outcome, Outcome::default());
    let mut rows: Vec<_> = judged_by.try_iter().collect();
    assert_eq!(rows.len(), ROWS);
    for (number, model, state) in &rows {
        let flagged = (*model == 0).then_some(1);
        assert_eq!(*state, TileState::Judged { flagged }, "row {number}");
    }
    rows.sort_by_key(|(number, ..)| *number);
    let changes = rows.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    assert_eq!(changes.count(), 3, "{rows:?}");
    assert_eq!(ledger.tiles().judged, ROWS as u64);
}

#[test]
fn rows_of_a_model_that_is_not_there_are_counted_and_told() {
    let models = Arc::new(Models::default());
    models.choose(3);
    let classifier = classifier(4, |_, tiles| clean(tiles)).with_models(Arc::clone(&models));
    let setting = Setting {
        classifiers: vec![classifier],
        models,
        ..Setting::default()
    };
    let ledger = one_problem(&[L(0, 2 * TILE_SIZE)], setting, &["model number 3"]);
    assert_eq!(ledger.tiles().unjudged, 2);
}
