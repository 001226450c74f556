//! Every tile ends in one state, whatever is slow, fails, panics or stops, and
//! whenever it does.

use std::collections::BTreeSet;

use millsight_firmware_config::{Cores, MaterialDetection};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::exchange::identity;
use super::*;
use crate::testing::{card, network, recorder};

/// A stage that takes a random time, and now and then fails in one of the ways
/// in which an engine can.
fn moody(seed: u64, most_ms: u64) -> impl FnMut(usize, usize) -> Vec<f32> + Send + 'static {
    let mut random = Pcg64::new(u128::from(seed), 1);
    move |_, tiles| {
        thread::sleep(Duration::from_micros(
            random.random_range(0..=1000 * most_ms),
        ));
        match random.random_range(0..30) {
            0 => Vec::new(),
            1 => panic!("moody"),
            2 => vec![f32::NAN; 2 * tiles],
            3 => clean(tiles + 1),
            _ => (0..tiles)
                .flat_map(|_| match random.random_bool(0.5) {
                    true => [0.1, 0.9],
                    false => [0.9, 0.1],
                })
                .collect(),
        }
    }
}

/// Lines, gaps, pauses, jumps of the line numbers and of the camera's clock, and at
/// the end perhaps a panic.
fn steps(random: &mut Pcg64) -> VecDeque<Step> {
    let mut line = 0;
    let mut steps = VecDeque::new();
    for _ in 0..random.random_range(1..12) {
        let lines = random.random_range(1..3000);
        match random.random_range(0..10) {
            0 => steps.push_back(Step::Gap(line, lines)),
            1 => steps.push_back(Sleep(random.random_range(0..8))),
            2 => line = line.saturating_sub(lines),
            3 => steps.push_back(Clock(random.random::<u64>() >> random.random_range(0..64))),
            _ => {
                steps.push_back(L(line, lines as usize));
                line += lines;
            }
        }
    }
    if random.random_bool(0.2) {
        steps.push_back(Panic);
    }
    steps
}

#[test]
fn tiles_are_conserved_whatever_happens() {
    for seed in 0..60 {
        let mut random = Pcg64::new(u128::from(seed), 2);
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = random
            .random_bool(0.5)
            .then(|| recorder(folder.path(), geometry()));
        let models = Arc::new(Models::default());
        let classifiers = (0..random.random_range(1..4)).map(|worker| {
            let seed = 10 * seed + worker;
            let screen = random
                .random_bool(0.7)
                .then(|| network(4, moody(seed + 5, 1)));
            let batch = random.random_range(1..5);
            let classifier = network(batch, moody(seed, 4));
            Classifier::new(classifier, screen, MaterialDetection::default())
                .with_models(Arc::clone(&models))
        });
        let classifiers: Vec<Classifier> = classifiers.collect();
        let workers = classifiers.len();
        let exchanges: Vec<u64> = (0..random.random_range(0..4))
            .map(|_| random.random_range(0..30))
            .collect();
        let drive = match random.random_bool(0.7) {
            true => paced(random.random_range(2e4..1e6), random.random_range(1..40)),
            false => Drive::Unpaced,
        };
        let stop = AtomicBool::new(false);
        let stops_after = random
            .random_bool(0.3)
            .then(|| Duration::from_millis(random.random_range(0..60)));
        let pause = random.random_range(0..3);
        let (mut rows, mut tiles) = (BTreeSet::new(), 0);
        let mut observe = |row: &SettledRow| {
            assert!(
                rows.insert(row.row.number),
                "row {} came twice",
                row.row.number
            );
            tiles += row.states.len() as u64;
            thread::sleep(Duration::from_millis(pause));
        };
        let ledger = Ledger::new(&CLASSES.map(String::from));
        let source = Scripted {
            steps: steps(&mut random),
            pixels: Vec::new(),
            lines: 0,
            clock: Duration::ZERO,
        };
        let outcome = thread::scope(|scope| {
            if let Some(after) = stops_after {
                let stop = &stop;
                scope.spawn(move || {
                    thread::sleep(after);
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                });
            }
            scope.spawn(|| {
                for (number, &after) in exchanges.iter().enumerate() {
                    thread::sleep(Duration::from_millis(after));
                    let networks = (0..workers as u64)
                        .map(|worker| network(3, moody(seed + worker, 4)))
                        .collect();
                    let added = models.add(identity(), card(), networks);
                    models.choose(added);
                    thread::sleep(Duration::from_millis(after));
                    models.choose(number);
                }
            });
            run(
                Run {
                    source: Box::new(source),
                    geometry: geometry(),
                    classifiers,
                    models: &models,
                    flat_field: None,
                    recorder: recorder.as_mut(),
                    observe: Some(&mut observe),
                    drive,
                    cores: &Cores::default(),
                    queue_rows: random.random_range(1..5),
                    stop: &stop,
                    ledger: &ledger,
                },
                |_| {},
            )
        });
        let counts = ledger.tiles();
        let context = format!("seed {seed}: {counts:?} {outcome:?}");
        assert_eq!(ledger.outstanding(), 0, "{context}");
        let problems = outcome.problems.join("\n");
        for fault in ["add up", "observed", "the classifier panicked", "record"] {
            assert!(!problems.contains(fault), "{fault}: {context}");
        }
        assert_eq!(rows.len() as u64, counts.total, "{context}");
        assert_eq!(tiles, counts.total, "{context}");
        let lines = ledger.line_counts().r#in;
        assert!(
            counts.total >= lines.div_ceil(TILE_SIZE as u64),
            "{context}"
        );
    }
}
