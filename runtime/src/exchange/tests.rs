#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use millsight_export::engine::EngineChoice;
use millsight_firmware_config::TILE_SIZE;

use super::*;
use crate::assemble::Row;
use crate::classify::Room;
use crate::decide::Verdict;
use crate::ledger::{TileState, UnjudgedReason};
use crate::position::Geometry;
use crate::station;

fn shipped() -> ModelFile {
    station::load_model(None, None).unwrap()
}

/// A model with another name, and so another file.
fn named(name: &str) -> ModelFile {
    let shipped = shipped();
    let card = millsight_export::card::ModelCard {
        name: name.into(),
        ..shipped.card.clone()
    };
    shipped.with_card(card).unwrap()
}

fn exchange() -> Exchange {
    let station = Station::ready("demo").unwrap();
    let request = EngineRequest {
        choice: EngineChoice::Embedded,
        ..station::engine_request(&station.engine)
    };
    Exchange::new(station, request, 1, Arc::default(), shipped())
}

/// A row of one grey tile that was flagged as a crack.
fn row() -> SettledRow {
    let geometry = Geometry {
        lines_per_metre: 1000.0,
        counts_per_metre: None,
        mm_per_pixel: 0.5,
        pixels_per_line: TILE_SIZE,
        reversed: false,
    };
    let row = Row {
        number: 7,
        first_line: 0,
        lines: TILE_SIZE,
        encoder: None,
        metres: 3.5,
        model: 0,
        geometry,
        timestamp: Duration::ZERO,
        completed: Instant::now(),
        pixels: Some(vec![120; TILE_SIZE * TILE_SIZE].into_boxed_slice()),
        room: Room::default(),
    };
    let mut row = SettledRow::unjudged(row, UnjudgedReason::Overload);
    row.states[0] = TileState::Judged { flagged: Some(1) };
    row.verdicts[0] = Some(Verdict {
        class: 1,
        probability: 0.9,
        flagged: true,
    });
    row
}

#[test]
fn a_model_looks_on_takes_over_and_is_called_back() {
    let exchange = exchange();
    assert!(matches!(
        exchange.promote("erna"),
        Err(ExchangeError::NoShadow)
    ));
    assert!(matches!(
        exchange.roll_back("erna"),
        Err(ExchangeError::NoPrevious)
    ));
    exchange.offer(named("second"), "erna").unwrap();
    exchange.row(&row());
    let begun = Instant::now();
    let compared = loop {
        let compared = exchange.standing().shadow.unwrap().compared;
        if compared.tiles == 1 || begun.elapsed() > Duration::from_secs(60) {
            break compared;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // Grey steel has no crack.
    assert_eq!(
        (compared.tiles, compared.agreed, compared.failed),
        (1, 0, 0)
    );
    let difference = &compared.differences[0];
    assert_eq!((difference.row, difference.metres), (7, 3.5));
    assert_eq!(difference.active.class, "cracks");
    assert_ne!(difference.shadow.class, "cracks");
    assert_eq!(difference.levels[..], vec![120; TILE_SIZE * TILE_SIZE]);

    assert_eq!(exchange.models.current(), 0);
    let promoted = exchange.promote("erna").unwrap();
    assert_eq!((promoted.number, exchange.models.current()), (1, 1));
    let standing = exchange.standing();
    assert!(standing.shadow.is_none());
    assert_eq!(standing.active.by.as_deref(), Some("erna"));
    assert_eq!(standing.previous.unwrap().number, 0);
    exchange.roll_back("anna").unwrap();
    assert_eq!(exchange.models.current(), 0);
    assert_eq!(exchange.standing().previous.unwrap().number, 1);
}

#[test]
fn a_model_that_cannot_take_over_is_refused_in_words() {
    let exchange = exchange();
    let refused = exchange.offer(shipped(), "erna").unwrap_err().to_string();
    assert!(refused.contains("judges already"), "{refused}");
    let screen = station::load_screen(&Default::default()).unwrap();
    let refused = exchange.offer(screen, "erna").unwrap_err().to_string();
    for part in [
        "millsight-screen",
        "scrap_mark_ii",
        "begin it with this model",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let shipped = shipped();
    let mut card = shipped.card.clone();
    card.provenance.parity = Some(millsight_export::card::Parity {
        engine: "elsewhere".into(),
        samples: 1,
        max_abs: 0.0,
        tolerance: 1e-3,
        vectors: vec![millsight_export::card::ParityVector {
            seed: 0,
            scores: vec![100.0; 5],
        }],
    });
    let other = shipped.with_card(card).unwrap();
    let refused = exchange.offer(other, "erna").unwrap_err();
    assert!(matches!(
        refused,
        ExchangeError::Networks(NetworksError::Verify(_))
    ));
    assert!(exchange.standing().shadow.is_none());
}
