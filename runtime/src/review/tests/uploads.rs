//! Models that are loaded on the page of a run.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt;
use millsight_export::engine::{EngineChoice, EngineRequest};
use millsight_firmware_config::Station;
use serde_json::Value;

use super::http::{Answer, Served, served_with};
use super::*;
use crate::exchange::Exchange;
use crate::ledger::Ledger;
use crate::review::accounts::Accounts;

fn running() -> Running {
    let station = Station::ready("demo").unwrap();
    let request = EngineRequest {
        choice: EngineChoice::Embedded,
        ..station::engine_request(&station.engine)
    };
    let model = station::load_model(None, None).unwrap();
    let run = description();
    let about = About {
        station: run.station,
        piece: run.piece,
        engine: run.engine,
        model: run.model,
        screen: None,
        classes: model.card.classes.clone(),
        line_rate: Some(67_000.0),
        columns: 1,
    };
    let ledger = Arc::new(Ledger::new(&model.card.classes));
    ledger.lines(512);
    Running {
        live: Arc::new(Live::new(about, ledger)),
        exchange: Arc::new(Exchange::new(station, request, 1, Arc::default(), model)),
    }
}

fn served() -> Served {
    let settings = Settings {
        largest_model: 8 << 20,
        ..Settings::default()
    };
    served_with(settings, Some(running()))
}

fn upload(served: &Served, cookie: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/models")
        .header("sec-fetch-site", "same-origin")
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/octet-stream");
    served.send(request.body(Body::from(body)).unwrap())
}

/// The shipped model under another name.
fn another() -> Vec<u8> {
    let shipped = station::load_model(None, None).unwrap();
    let mut card = shipped.card.clone();
    card.name = "another".into();
    shipped.with_card(card).unwrap().onnx
}

#[test]
fn a_model_is_loaded_looks_on_and_is_promoted() {
    let served = served();
    let engineer = served.log_in("engineer");
    let models = served.get(&engineer, "/api/v1/models").json();
    assert_eq!(models["active"]["card"]["name"], "millsight-vit");
    assert_eq!(models["shadow"], Value::Null);
    let early = served.post(&engineer, "/api/v1/models/shadow/promote", &Value::Null);
    assert_eq!(early.status, StatusCode::CONFLICT);

    let loaded = upload(&served, &engineer, another());
    assert_eq!(loaded.status, StatusCode::OK, "{}", loaded.json());
    let file = loaded.json()["file"].as_str().unwrap().to_owned();
    assert!(Path::new(&file).starts_with(served.folder.path()));
    assert_eq!(fs::read(&file).unwrap(), another());
    let models = served.get(&engineer, "/api/v1/models").json();
    assert_eq!(models["shadow"]["card"]["name"], "another");
    assert_eq!(models["shadow"]["by"], "engineer");

    let promoted = served.post(&engineer, "/api/v1/models/shadow/promote", &Value::Null);
    assert_eq!(
        promoted.status,
        StatusCode::NO_CONTENT,
        "{}",
        promoted.json()
    );
    let models = served.get(&engineer, "/api/v1/models").json();
    assert_eq!(models["active"]["card"]["name"], "another");
    assert_eq!(models["previous"]["card"]["name"], "millsight-vit");
    let back = served.post(&engineer, "/api/v1/models/rollback", &Value::Null);
    assert_eq!(back.status, StatusCode::NO_CONTENT);
    let models = served.get(&engineer, "/api/v1/models").json();
    assert_eq!(models["active"]["card"]["name"], "millsight-vit");

    let log = Accounts::open(served.folder.path())
        .unwrap()
        .log(10)
        .unwrap();
    let did: Vec<&str> = log.iter().map(|[_, _, what]| what.as_str()).collect();
    let beginnings = ["called back", "promoted", "loaded the model", "logged in"];
    for (what, beginning) in did.iter().zip(beginnings) {
        assert!(what.starts_with(beginning), "{did:?}");
    }
    assert!(log.iter().all(|[_, account, _]| account == "engineer"));
}

#[test]
fn what_is_no_model_is_refused_and_not_kept() {
    let served = served();
    let (operator, engineer) = (served.log_in("operator"), served.log_in("engineer"));
    let refused = upload(&served, &operator, another());
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let model = another();
    let screen = include_bytes!("../../../../models/millsight-screen.onnx").to_vec();
    for (bytes, status) in [
        (vec![0; (8 << 20) + 1], StatusCode::PAYLOAD_TOO_LARGE),
        (Vec::new(), StatusCode::UNPROCESSABLE_ENTITY),
        (b"<html>".to_vec(), StatusCode::UNPROCESSABLE_ENTITY),
        (
            model[..model.len() / 2].to_vec(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (screen, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let length = bytes.len();
        let answer = upload(&served, &engineer, bytes);
        assert_eq!(answer.status, status, "{length}: {}", answer.json());
        assert!(answer.json()["error"].as_str().unwrap().len() > 10);
    }
    let kept = fs::read_dir(served.folder.path().join("models")).unwrap();
    assert_eq!(kept.count(), 0);
    let models = served.get(&engineer, "/api/v1/models").json();
    assert_eq!(models["shadow"], Value::Null);
}

#[test]
fn who_watches_is_told_how_the_run_goes() {
    let served = served();
    let viewer = served.log_in("viewer");
    let live = served.get(&viewer, "/api/v1/live").json();
    assert_eq!(live["run"]["line_rate"], 67_000.0);
    let request = Request::builder()
        .uri("/api/v1/live/events")
        .header(header::COOKIE, &viewer)
        .body(Body::empty())
        .unwrap();
    let event = served.first_piece(request);
    let data = event.strip_prefix("data: ").unwrap().trim();
    let moment: Value = serde_json::from_str(data).unwrap();
    assert_eq!(moment["counts"]["lines"]["in"], 512);
    assert_eq!(moment["rows"].as_array().unwrap().len(), 0);
}

impl Served {
    /// The first piece of an answer that goes on.
    fn first_piece(&self, request: Request<Body>) -> String {
        self.runtime.block_on(async {
            let answer = tower::ServiceExt::oneshot(self.app.clone(), request);
            let mut pieces = answer.await.unwrap().into_body().into_data_stream();
            let piece = pieces.next().await.unwrap().unwrap();
            String::from_utf8(piece.to_vec()).unwrap()
        })
    }
}
