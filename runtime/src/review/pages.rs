//! The pages, which are part of the program.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use minijinja::{Environment, context};

use super::login::Login;
use super::server::Shared;

/// The pages in the order in which they are offered: where they lie and what they are
/// called.
const PAGES: [(&str, &str); 5] = [
    ("live", "Live"),
    ("review", "Review"),
    ("pieces", "Pieces"),
    ("history", "History"),
    ("model", "Model"),
];

/// What pages are made from, by its name.
const TEMPLATES: [(&str, &str); 9] = [
    ("frame.html", include_str!("assets/frame.html")),
    ("insecure.html", include_str!("assets/insecure.html")),
    ("login.html", include_str!("assets/login.html")),
    ("live.html", include_str!("assets/live.html")),
    ("review.html", include_str!("assets/review.html")),
    ("pieces.html", include_str!("assets/pieces.html")),
    ("piece.html", include_str!("assets/piece.html")),
    ("history.html", include_str!("assets/history.html")),
    ("model.html", include_str!("assets/model.html")),
];

const SCRIPT: &str = "text/javascript";
const STYLE: &str = "text/css";

/// Scripts and styles, by their names.
const ASSETS: [(&str, &str, &str); 15] = [
    ("style.css", STYLE, include_str!("assets/style.css")),
    (
        "uplot.css",
        STYLE,
        include_str!("assets/vendor/uPlot.min.css"),
    ),
    (
        "uplot.js",
        SCRIPT,
        include_str!("assets/vendor/uPlot.esm.js"),
    ),
    ("grid.js", SCRIPT, include_str!("assets/grid.js")),
    ("history.js", SCRIPT, include_str!("assets/history.js")),
    ("model.js", SCRIPT, include_str!("assets/model.js")),
    ("classes.js", SCRIPT, include_str!("assets/classes.js")),
    ("elements.js", SCRIPT, include_str!("assets/elements.js")),
    ("frame.js", SCRIPT, include_str!("assets/frame.js")),
    ("login.js", SCRIPT, include_str!("assets/login.js")),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
    ("review.js", SCRIPT, include_str!("assets/review.js")),
    ("piece.js", SCRIPT, include_str!("assets/piece.js")),
    ("pieces.js", SCRIPT, include_str!("assets/pieces.js")),
    ("server.js", SCRIPT, include_str!("assets/server.js")),
];

/// The sign of the program.
const ICON: &str = include_str!("assets/icon.svg");

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_loader(|name| {
        let found = TEMPLATES.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, text)| (*text).to_owned()))
    });
    environment
});

/// All pages and what they consist of.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/live") }))
        .route("/login", get(log_in))
        .route("/live", framed_at("live", "live.html"))
        .route("/review", framed_at("review", "review.html"))
        .route("/pieces", framed_at("pieces", "pieces.html"))
        .route("/pieces/{piece}", get(piece))
        .route("/history", framed_at("history", "history.html"))
        .route("/model", framed_at("model", "model.html"))
        .route("/assets/{name}", get(asset))
}

async fn log_in(State(shared): State<Arc<Shared>>) -> Response {
    let is_insecure = shared.settings.is_insecure;
    page("login.html", context! { is_insecure })
}

async fn piece(State(shared): State<Arc<Shared>>, login: Login, Path(_): Path<i64>) -> Response {
    framed(&shared, login, "pieces", "piece.html")
}

/// The answer where a page lies.
fn framed_at(name: &'static str, template: &'static str) -> MethodRouter<Arc<Shared>> {
    get(
        move |State(shared): State<Arc<Shared>>, login: Login| async move {
            framed(&shared, login, name, template)
        },
    )
}

/// A page within its frame, for who is logged in; others go to the login.
fn framed(shared: &Shared, login: Login, name: &str, template: &str) -> Response {
    match login.user.filter(|account| !account.is_one_time) {
        Some(account) => page(
            template,
            context! {
                page => name,
                pages => PAGES,
                account => account,
                is_insecure => shared.settings.is_insecure,
            },
        ),
        None => Redirect::to("/login").into_response(),
    }
}

fn page(template: &str, values: minijinja::Value) -> Response {
    let made = ENVIRONMENT
        .get_template(template)
        .and_then(|template| template.render(values));
    match made {
        Ok(page) => {
            let media = HeaderValue::from_static("text/html; charset=utf-8");
            ([(header::CONTENT_TYPE, media)], page).into_response()
        }
        Err(error) => {
            tracing::error!("the page {template} cannot be made: {error:#}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Scripts and styles: the same for everyone, and no secret.
async fn asset(Path(name): Path<String>) -> Response {
    let icon = [("icon.svg", "image/svg+xml", ICON)];
    let found = ASSETS
        .iter()
        .chain(&icon)
        .find(|(known, ..)| *known == name);
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
