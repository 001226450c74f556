//! What the pages ask, and who may.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::http::{Served, decision, served};
use super::*;
use crate::ledger::Ledger;
use crate::review::accounts::{Accounts, Role};
use crate::review::api;

/// All that other programs can ask, with 1 for every number in a path.
fn operations() -> Vec<(Method, String)> {
    let (_, document) = api::described();
    let mut operations = vec![(Method::GET, "/api/v1/openapi.json".to_owned())];
    for (path, item) in &document.paths.paths {
        let mut path = format!("/api/v1{path}");
        while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=to, "1");
        }
        let methods = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::DELETE, &item.delete),
        ];
        for (method, operation) in methods {
            if operation.is_some() {
                operations.push((method, path.clone()));
            }
        }
    }
    operations
}

/// As another program asks.
fn ask(served: &Served, token: &str, method: Method, path: &str, body: &Value) -> StatusCode {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    served
        .send(request.body(Body::from(body.to_string())).unwrap())
        .status
}

#[test]
fn nothing_of_the_api_is_answered_to_nobody() {
    let served = served();
    let operations = operations();
    assert!(operations.len() > 20, "{operations:?}");
    for (method, path) in operations {
        let answer = served.ask("", method.clone(), &path, &json!({}));
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let wrong = ask(&served, "millsight_x", method.clone(), &path, &json!({}));
        assert_eq!(wrong, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[test]
fn who_may_only_look_changes_nothing() {
    let served = served();
    let viewer = served.log_in("viewer");
    for (method, path) in operations() {
        if method == Method::GET {
            continue;
        }
        let body = match path.as_str() {
            "/api/v1/decisions" => decision(1),
            _ => json!({"key": "k"}),
        };
        let answer = served.ask(&viewer, method.clone(), &path, &body);
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[test]
fn every_page_is_for_who_is_logged_in() {
    let served = served();
    let viewer = served.log_in("viewer");
    for path in [
        "/live",
        "/review",
        "/pieces",
        "/pieces/1",
        "/history",
        "/model",
    ] {
        let nobody = served.get("", path);
        assert_eq!(nobody.status, StatusCode::SEE_OTHER, "{path}");
        let page = served.get(&viewer, path);
        let text = String::from_utf8(page.body).unwrap();
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(
            text.contains("viewer, viewer") && text.ends_with("</html>"),
            "{text}"
        );
        for word in ["{{", "{%", "is encrypted", "id=\"file\""] {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
    let engineer = served.log_in("engineer");
    let page = served.get(&engineer, "/model");
    assert!(
        String::from_utf8(page.body)
            .unwrap()
            .contains("id=\"file\"")
    );
}

#[test]
fn a_page_that_others_can_read_says_so_and_an_encrypted_one_is_for_one_server() {
    let settings = Settings {
        is_insecure: true,
        ..Settings::default()
    };
    let open = http::served_with(settings, None);
    for path in ["/login", "/live"] {
        let page = open.get(&open.log_in("viewer"), path);
        let text = String::from_utf8(page.body).unwrap();
        assert!(text.contains("is encrypted"), "{path}: {text}");
    }
    let settings = Settings {
        is_encrypted: true,
        ..Settings::default()
    };
    let encrypted = http::served_with(settings, None);
    let given = json!({"name": "viewer", "password": "correct horse"});
    let answer = encrypted.post("", "/session", &given);
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-millsight="), "{cookie}");
    assert!(cookie.contains("; Secure"), "{cookie}");
}

#[test]
fn a_program_asks_with_a_token_until_it_is_removed() {
    let served = served();
    let accounts = Accounts::open(served.folder.path()).unwrap();
    let look = accounts.add_token("scada", Role::Viewer).unwrap();
    let decide = accounts.add_token("robot", Role::Operator).unwrap();
    assert!(accounts.add_token("robot", Role::Viewer).is_err());
    assert!(accounts.add("scada", Role::Viewer).is_err());
    let nothing = Value::Null;
    let queue = |token: &str| ask(&served, token, Method::GET, "/api/v1/queue", &nothing);
    let say = |token: &str| {
        ask(
            &served,
            token,
            Method::POST,
            "/api/v1/decisions",
            &decision(1),
        )
    };
    assert_eq!(queue(&look), StatusCode::OK);
    assert_eq!(say(&look), StatusCode::FORBIDDEN);
    assert_eq!(say(&decide), StatusCode::OK);
    let review = Review::open(served.folder.path()).unwrap();
    assert_eq!(review.decisions(1).unwrap()[0].reviewer, "robot");
    accounts.remove("scada").unwrap();
    assert_eq!(queue(&look), StatusCode::UNAUTHORIZED);
    let file = fs::read(served.folder.path().join("accounts.sqlite")).unwrap();
    let secret = decide.trim_start_matches("millsight_").as_bytes();
    assert!(!file.windows(secret.len()).any(|part| part == secret));
}

#[test]
fn a_restart_asks_nobody_to_log_in_again() {
    let mut served = served();
    let (operator, viewer) = (served.log_in("operator"), served.log_in("viewer"));
    served.ask(&viewer, Method::DELETE, "/session", &Value::Null);
    served.app = router(served.folder.path(), Settings::default(), None).unwrap();
    assert_eq!(served.get(&operator, "/session").json()["name"], "operator");
    let ended = served.get(&viewer, "/session").status;
    assert_eq!(ended, StatusCode::UNAUTHORIZED);
    // Reading the file lets nobody in.
    let database = rusqlite::Connection::open(served.folder.path().join("accounts.sqlite"));
    let database = database.unwrap();
    let kept: Vec<String> = database
        .prepare("SELECT id FROM session")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(kept.len(), 1);
    let stolen = served.get(&format!("millsight={}", kept[0]), "/session");
    assert_eq!(stolen.status, StatusCode::UNAUTHORIZED);
    // What has expired is forgotten.
    database
        .execute("UPDATE session SET expires = 1", [])
        .unwrap();
    let expired = served.get(&operator, "/session").status;
    assert_eq!(expired, StatusCode::UNAUTHORIZED);
    served.log_in("viewer");
    let left: i64 = database
        .query_row("SELECT count(*) FROM session", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 1);
}

#[test]
fn an_alarm_stays_until_someone_takes_note_of_it() {
    let served = served();
    let (viewer, operator) = (served.log_in("viewer"), served.log_in("operator"));
    let review = Review::open(served.folder.path()).unwrap();
    review.raise(AlarmKind::Gap, "7 lines are lost").unwrap();
    review.raise(AlarmKind::Disk, "1 GiB is left").unwrap();
    review.raise(AlarmKind::Gap, "9 lines are lost").unwrap();
    let alarms = served.get(&viewer, "/api/v1/alarms").json();
    let told: Vec<_> = alarms
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["told"])
        .collect();
    assert_eq!(told, ["9 lines are lost", "1 GiB is left"]);
    let path = format!("/api/v1/alarms/{}/acknowledge", alarms[0]["id"]);
    let noted = served.post(&operator, &path, &Value::Null);
    assert_eq!(noted.status, StatusCode::NO_CONTENT);
    let left = served.get(&viewer, "/api/v1/alarms").json();
    assert_eq!(left.as_array().unwrap().len(), 1);
    // What happens again is told again.
    review.raise(AlarmKind::Gap, "12 lines are lost").unwrap();
    assert_eq!(review.alarms().unwrap().len(), 2);
    let none = served.post(&operator, "/api/v1/alarms/99/acknowledge", &Value::Null);
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[test]
fn a_piece_is_shown_as_people_see_it() {
    let served = served();
    let operator = served.log_in("operator");
    let pieces = served.get(&operator, "/api/v1/pieces").json();
    assert_eq!(pieces[0]["name"], "coil 7");
    assert_eq!(
        (&pieces[0]["flagged"], &pieces[0]["unjudged"]),
        (&json!(1), &json!(2))
    );
    let mut clean = decision(2);
    clean["class"] = "no_defect".into();
    served.post(&operator, "/api/v1/decisions", &decision(1));
    served.post(&operator, "/api/v1/decisions", &clean);
    let piece = served.get(&operator, "/api/v1/pieces/1").json();
    assert_eq!(piece["piece"]["reviewed"], 2);
    assert_eq!(piece["findings"].as_array().unwrap().len(), 3);
    let classes: Vec<_> = piece["defects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|defect| &defect["class"])
        .collect();
    assert_eq!(classes, [&json!("cracks"), &Value::Null]);
    assert_eq!(piece["classes"][0]["false_alarms"], 1);
    let table = served.get(&operator, "/api/v1/pieces/1/defects.csv");
    let text = String::from_utf8(table.body).unwrap();
    assert!(text.starts_with("number,class,from_m,"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    let nothing = served.get(&operator, "/api/v1/pieces/9").status;
    assert_eq!(nothing, StatusCode::NOT_FOUND);
}

#[test]
fn the_history_tells_what_was_found_and_how_far_people_agree() {
    let served = served();
    let (operator, engineer) = (served.log_in("operator"), served.log_in("engineer"));
    let mut clean = decision(2);
    clean["class"] = "no_defect".into();
    served.post(&operator, "/api/v1/decisions", &clean);
    clean["key"] = "again".into();
    served.post(&engineer, "/api/v1/decisions", &clean);
    let empty = served.get(&operator, "/api/v1/history?span=shift").json();
    assert_eq!(empty["periods"], json!([]));
    let Served {
        recorder, folder, ..
    } = served;
    let run = description();
    let mut summary = Ledger::new(&[]).summary(std::iter::empty(), run.engine, run.model);
    recorder.finish(&mut summary, false).unwrap();
    let review = Review::open(folder.path()).unwrap();
    let found = review
        .history(Span::Piece, jiff::SignedDuration::ZERO, 10)
        .unwrap();
    let [period] = found.periods.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (period.name.as_str(), period.tiles, period.unjudged),
        ("coil 7", 3, 2)
    );
    assert_eq!(period.flagged["cracks"], 1);
    assert_eq!((period.false_alarms.count, period.false_alarms.of), (1, 1));
    // All tiles have the level 9, in the second of 32 steps.
    assert_eq!(period.brightness.tiles[1], 3);
    // None was judged by a model that tells how far it is from the training data.
    assert_eq!(period.distance.mean, None);
    let agreement = found.agreement;
    assert_eq!(
        (agreement.with_others.count, agreement.with_others.of),
        (1, 1)
    );
    assert_eq!(agreement.with_oneself.of, 0);
}
