//! What the server answers, and what it does not.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::review::accounts::{Accounts, Role};

const PASSWORD: &str = "correct horse";

/// A server with three tiles and an account of each role, named like it.
pub(super) struct Served {
    pub(super) app: Router,
    pub(super) folder: TempDir,
    pub(super) recorder: Recorder,
    pub(super) runtime: tokio::runtime::Runtime,
}

/// An answer: status, cookie and body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn cookie(&self) -> Option<String> {
        let cookie = self.headers.get(header::SET_COOKIE)?.to_str().unwrap();
        Some(cookie.split(';').next().unwrap().to_owned())
    }
}

pub(super) fn served() -> Served {
    served_with(Settings::default(), None)
}

pub(super) fn served_with(settings: Settings, running: Option<Running>) -> Served {
    let (folder, recorder, review) = reviewed(&[None, Some((CRACKS, 0.75)), None]);
    drop(review);
    let accounts = Accounts::open(folder.path()).unwrap();
    for role in [Role::Viewer, Role::Operator, Role::Engineer] {
        accounts.add(role.name(), role).unwrap();
        accounts.choose_password(role.name(), PASSWORD).unwrap();
    }
    let settings = Settings {
        again: 0.0,
        ..settings
    };
    Served {
        app: router(folder.path(), settings, running).unwrap(),
        folder,
        recorder,
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
    }
}

impl Served {
    pub(super) fn send(&self, request: Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let answer = self.app.clone().oneshot(request).await.unwrap();
            let (parts, body) = answer.into_parts();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: to_bytes(body, 1 << 20).await.unwrap().to_vec(),
            }
        })
    }

    /// As the page asks.
    pub(super) fn ask(&self, cookie: &str, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/json");
        let body = match body {
            Value::Null => Body::empty(),
            json => Body::from(json.to_string()),
        };
        self.send(request.body(body).unwrap())
    }

    pub(super) fn get(&self, cookie: &str, path: &str) -> Answer {
        self.ask(cookie, Method::GET, path, &Value::Null)
    }

    pub(super) fn post(&self, cookie: &str, path: &str, body: &Value) -> Answer {
        self.ask(cookie, Method::POST, path, body)
    }

    fn try_login(&self, name: &str, password: &str) -> Answer {
        self.post("", "/session", &json!({"name": name, "password": password}))
    }

    pub(super) fn log_in(&self, name: &str) -> String {
        let answer = self.try_login(name, PASSWORD);
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.cookie().unwrap()
    }
}

pub(super) fn decision(tile: i64) -> Value {
    json!({"key": format!("of {tile}"), "tile": tile, "class": "cracks", "took_ms": 900})
}

#[test]
fn nobody_is_shown_anything_without_a_session() {
    let served = served();
    let operator = served.log_in("operator");
    let questions = [
        (Method::GET, "/session", Value::Null),
        (Method::POST, "/password", json!({"old": "x", "new": "y"})),
        (Method::GET, "/api/v1/queue", Value::Null),
        (Method::GET, "/api/v1/tiles/1", Value::Null),
        (Method::GET, "/api/v1/tiles/1/image", Value::Null),
        (Method::GET, "/api/v1/decisions", Value::Null),
        (Method::POST, "/api/v1/decisions", decision(1)),
        (
            Method::POST,
            "/api/v1/decisions/1/undo",
            json!({"key": "u"}),
        ),
    ];
    for (method, path, body) in &questions {
        for cookie in ["", "millsight=AAAAAAAAAAAAAAAAAAAAAA", "millsight=%00"] {
            let answer = served.ask(cookie, method.clone(), path, body);
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {cookie}");
        }
    }
    let page = served.get("", "/review");
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(page.headers[header::LOCATION], "/login");
    let review = Review::open(served.folder.path()).unwrap();
    assert!(review.decisions(1).unwrap().is_empty());
    // The same questions are answered to who is logged in.
    for (method, path, body) in &questions[2..7] {
        let answer = served.ask(&operator, method.clone(), path, body);
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}

#[test]
fn a_tile_is_reviewed_and_undone() {
    let served = served();
    let operator = served.log_in("operator");
    let queue = served.get(&operator, "/api/v1/queue?limit=2").json();
    assert_eq!(queue["tiles"][0]["id"], 1);
    assert_eq!(queue["waiting"], json!({"unjudged": 2, "flagged": 1}));
    let rest = format!("/api/v1/queue?limit=2&after={}", queue["next"]);
    let rest = served.get(&operator, &rest).json();
    assert_eq!(
        (&rest["tiles"][0]["id"], &rest["next"]),
        (&json!(2), &Value::Null)
    );

    let image = served.get(&operator, "/api/v1/tiles/2/image");
    assert_eq!(image.headers[header::CONTENT_TYPE], "image/png");
    assert_eq!(
        image::load_from_memory(&image.body)
            .unwrap()
            .to_luma8()
            .as_raw()[0],
        9
    );

    let made = served.post(&operator, "/api/v1/decisions", &decision(2));
    assert_eq!(made.json()["reviewer"], "operator");
    let own = served.get(&operator, "/api/v1/decisions").json();
    assert_eq!(own[0]["tile"], 2);
    let undo = format!("/api/v1/decisions/{}/undo", made.json()["id"]);
    let engineer = served.log_in("engineer");
    let others = served.post(&engineer, &undo, &json!({"key": "u"}));
    assert_eq!(others.status, StatusCode::CONFLICT);
    let undone = served.post(&operator, &undo, &json!({"key": "u"}));
    assert_eq!(undone.json()["is_undone"], true);
    assert_eq!(served.get(&operator, "/api/v1/decisions").json(), json!([]));
}

#[test]
fn a_role_may_do_no_more_than_it_should() {
    let served = served();
    let viewer = served.log_in("viewer");
    assert_eq!(served.get(&viewer, "/api/v1/queue").status, StatusCode::OK);
    for (path, body) in [
        ("/api/v1/decisions", decision(1)),
        ("/api/v1/decisions/1/undo", json!({"key": "u"})),
    ] {
        let refused = served.post(&viewer, path, &body);
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let error = refused.json()["error"].to_string();
        assert!(error.contains("operator"), "{error}");
    }
}

#[test]
fn a_one_time_password_opens_nothing_but_the_choice_of_another() {
    let served = served();
    let accounts = Accounts::open(served.folder.path()).unwrap();
    let once = accounts.add("anna", Role::Operator).unwrap();
    let cookie = served.try_login("anna", &once).cookie().unwrap();
    assert_eq!(
        served.get(&cookie, "/api/v1/queue").status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(served.get(&cookie, "/review").status, StatusCode::SEE_OTHER);
    for (old, new, status) in [
        ("wrong", "a new password", StatusCode::UNAUTHORIZED),
        (once.as_str(), "short", StatusCode::UNPROCESSABLE_ENTITY),
        (once.as_str(), "a new password", StatusCode::OK),
    ] {
        let chosen = served.post(&cookie, "/password", &json!({"old": old, "new": new}));
        assert_eq!(chosen.status, status, "{old} {new}");
    }
    assert_eq!(served.get(&cookie, "/api/v1/queue").status, StatusCode::OK);
    assert_eq!(
        served.try_login("anna", &once).status,
        StatusCode::UNAUTHORIZED
    );
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let served = served();
    let statuses: Vec<StatusCode> = (0..7)
        .map(|_| served.try_login("operator", "guess").status)
        .collect();
    assert_eq!(statuses[..5], [StatusCode::UNAUTHORIZED; 5]);
    assert_eq!(statuses[5..], [StatusCode::TOO_MANY_REQUESTS; 2]);
    // Not even with the right one, and nobody else is locked out.
    let right = served.try_login("operator", PASSWORD).status;
    assert_eq!(right, StatusCode::TOO_MANY_REQUESTS);
    served.log_in("engineer");
}

#[test]
fn a_session_is_new_with_each_login_and_ends_with_the_password() {
    let served = served();
    let planted = "millsight=AAAAAAAAAAAAAAAAAAAAAA";
    let given = json!({"name": "operator", "password": PASSWORD});
    let answer = served.post(planted, "/session", &given);
    let cookie = answer.cookie().unwrap();
    assert_ne!(cookie, planted);
    let attributes = answer.headers[header::SET_COOKIE].to_str().unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert_eq!(
        served.get(planted, "/session").status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(served.get(&cookie, "/session").json()["role"], "operator");

    let other = served.log_in("operator");
    let left = served.ask(&other, Method::DELETE, "/session", &Value::Null);
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert_eq!(
        served.get(&other, "/session").status,
        StatusCode::UNAUTHORIZED
    );

    let accounts = Accounts::open(served.folder.path()).unwrap();
    accounts.reset("operator").unwrap();
    assert_eq!(
        served.get(&cookie, "/session").status,
        StatusCode::UNAUTHORIZED
    );
    let engineer = served.log_in("viewer");
    accounts.remove("viewer").unwrap();
    assert_eq!(
        served.get(&engineer, "/session").status,
        StatusCode::UNAUTHORIZED
    );
}

#[test]
fn another_sites_page_cannot_act_for_who_is_logged_in() {
    let served = served();
    let operator = served.log_in("operator");
    let from = |headers: &[(&str, &str)]| {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/decisions")
            .header(header::HOST, "mill.example:8470")
            .header(header::COOKIE, &operator)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(decision(1).to_string());
        served.send(request.body(body).unwrap()).status
    };
    for headers in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://mill.example:8471")],
        &[("origin", "null")],
    ] {
        assert_eq!(from(headers), StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(
        from(&[("origin", "http://mill.example:8470")]),
        StatusCode::OK
    );
}

#[test]
fn what_is_malformed_or_too_large_is_refused() {
    let served = served();
    let operator = served.log_in("operator");
    let raw = |body: Vec<u8>| {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/decisions")
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &operator)
            .header(header::CONTENT_TYPE, "application/json");
        served.send(request.body(Body::from(body)).unwrap()).status
    };
    assert_eq!(raw(b"{".to_vec()), StatusCode::BAD_REQUEST);
    assert_eq!(raw(b"[]".to_vec()), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(raw(vec![b' '; 3 << 20]), StatusCode::PAYLOAD_TOO_LARGE);
    let mut long = decision(1);
    long["note"] = "x".repeat(5000).into();
    let answer = served.post(&operator, "/api/v1/decisions", &long);
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut unknown = decision(1);
    unknown["class"] = "rust".into();
    let answer = served.post(&operator, "/api/v1/decisions", &unknown);
    assert!(answer.json()["error"].to_string().contains("scrap_mark"));
    for path in [
        "/api/v1/tiles/99",
        "/api/v1/tiles/99/image",
        "/assets/../accounts.sqlite",
        "/assets/..%2faccounts.sqlite",
        "/assets/%2e%2e%2faccounts.sqlite",
        "/accounts.sqlite",
        "/review.sqlite",
    ] {
        assert_eq!(
            served.get(&operator, path).status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in [
        "/api/v1/tiles/x",
        "/api/v1/queue?after=x",
        "/api/v1/queue?order=x",
    ] {
        assert_eq!(
            served.get(&operator, path).status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}

#[test]
fn browsers_are_told_what_the_page_may_do() {
    let served = served();
    let operator = served.log_in("operator");
    for path in [
        "/login",
        "/review",
        "/api/v1/queue",
        "/assets/style.css",
        "/nothing",
    ] {
        let headers = served.get(&operator, path).headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let cached = headers["cache-control"].to_str().unwrap();
        assert!(
            ["no-store", "no-cache"].contains(&cached),
            "{path}: {cached}"
        );
    }
    for page in ["/login", "/review"] {
        let page = String::from_utf8(served.get(&operator, page).body).unwrap();
        assert!(
            !page.contains("<script>") && !page.contains("style=") && !page.contains("onclick")
        );
        assert!(!page.contains("//"), "nothing comes from elsewhere");
    }
}
