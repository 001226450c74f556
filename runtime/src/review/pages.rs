//! The pages, which are part of the program.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::login::Login;
use super::server::Shared;

/// Everything that pages consist of, by its name.
const ASSETS: [(&str, &str, &str); 5] = [
    ("style.css", "text/css", include_str!("assets/style.css")),
    (
        "login.js",
        "text/javascript",
        include_str!("assets/login.js"),
    ),
    (
        "review.js",
        "text/javascript",
        include_str!("assets/review.js"),
    ),
    (
        "server.js",
        "text/javascript",
        include_str!("assets/server.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// All pages and what they consist of.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/review") }))
        .route(
            "/login",
            get(|| async { html(include_str!("assets/login.html")) }),
        )
        .route("/review", get(review))
        .route("/assets/{name}", get(asset))
}

async fn review(login: Login) -> Response {
    let chosen = login.user.is_some_and(|account| !account.is_one_time);
    match chosen {
        true => html(include_str!("assets/review.html")),
        false => Redirect::to("/login").into_response(),
    }
}

/// Scripts and styles: the same for everyone, and no secret.
async fn asset(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let Some((_, media, text)) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        // Another version of the program has others.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, *text).into_response()
}

fn html(page: &'static str) -> Response {
    let media = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, media)], page).into_response()
}
