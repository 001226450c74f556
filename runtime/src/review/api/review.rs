//! What the page and other programs ask, as JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;

use super::accounts::Role;
use super::decision::{Decision, NewDecision};
use super::error::ReviewError;
use super::login::Who;
use super::queue::{Order, Waiting};
use super::server::{Problem, Shared};
use super::tile::{Neighbour, Tile};

/// Most tiles that are given at once.
const MOST_TILES: usize = 100;

/// Longest note, in bytes.
const LONGEST_NOTE: usize = 2000;

/// All of the API.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/queue", get(queue))
        .route("/tiles/{tile}", get(tile))
        .route("/tiles/{tile}/image", get(image))
        .route("/decisions", get(decisions).post(decide))
        .route("/decisions/{decision}/undo", post(undo))
}

/// Which tiles are asked for.
#[derive(Debug, Deserialize)]
struct Page {
    /// In which order.
    #[serde(default)]
    order: Order,
    /// The last tile of the page before.
    after: Option<i64>,
    /// How many, 1 to 100.
    limit: Option<usize>,
}

/// Tiles that wait for a reviewer.
#[derive(Debug, Serialize)]
struct Queue {
    tiles: Vec<Tile>,
    /// What to ask for `after`; none where there are no more.
    next: Option<i64>,
    waiting: Waiting,
}

async fn queue(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Query(page): Query<Page>,
) -> Result<Json<Queue>, Problem> {
    let limit = page.limit.unwrap_or(20).clamp(1, MOST_TILES);
    let found = shared.with_review(move |review| {
        let mut numbers = review.queue(page.order, page.after, limit)?;
        let next = (numbers.len() == limit).then(|| numbers.last().copied());
        // One of those that come back, somewhere among the others: nothing tells it.
        if let Some(&again) = review.due_again(1)?.first() {
            let place = numbers.len() / 2;
            numbers.insert(place, again);
        }
        Ok(Queue {
            tiles: review.tiles(&numbers)?,
            next: next.flatten(),
            waiting: review.waiting()?,
        })
    });
    Ok(Json(found.await?))
}

/// A tile with what is around it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    tile: Tile,
    neighbours: Vec<Neighbour>,
}

async fn tile(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Json<Shown>, Problem> {
    let found = shared.with_review(move |review| {
        let tile = review.tiles(&[number])?.pop();
        let tile = tile.ok_or(ReviewError::NoTile(number))?;
        Ok(Shown {
            neighbours: review.neighbours(&tile)?,
            tile,
        })
    });
    Ok(Json(found.await?))
}

/// The image of a tile, as it was recorded: it never changes.
async fn image(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Response, Problem> {
    let missing = |_| Problem::new(StatusCode::NOT_FOUND, format!("tile {number} has no image"));
    let path = shared
        .with_review(move |review| review.image(number))
        .await?;
    let path = path.ok_or(()).map_err(missing)?;
    let file = tokio::fs::File::open(&path).await.map_err(|error| {
        tracing::error!("the image {} cannot be read: {error}", path.display());
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("the image of tile {number} cannot be read: {error}"),
        )
    })?;
    let length = file.metadata().await.map(|file| file.len()).unwrap_or(0);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

async fn decide(
    State(shared): State<Arc<Shared>>,
    who: Who,
    Json(new): Json<NewDecision>,
) -> Result<Json<Decision>, Problem> {
    who.may(Role::Operator)?;
    if new.note.len() > LONGEST_NOTE || !(1..=100).contains(&new.key.len()) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("a key of 1 to 100 and a note of up to {LONGEST_NOTE} bytes are expected"),
        ));
    }
    let again = shared.settings.again;
    let made = shared.with_review(move |review| review.decide(&who.0.name, &new, again));
    Ok(Json(made.await?))
}

/// Which undoing is asked for.
#[derive(Debug, Deserialize)]
struct Undo {
    /// Chosen by who asks, so that a request that is repeated undoes once.
    key: String,
}

async fn undo(
    State(shared): State<Arc<Shared>>,
    who: Who,
    Path(decision): Path<i64>,
    Json(undo): Json<Undo>,
) -> Result<Json<Decision>, Problem> {
    who.may(Role::Operator)?;
    let undone = shared.with_review(move |review| review.undo(&who.0.name, decision, &undo.key));
    Ok(Json(undone.await?))
}

/// How many of one's own last decisions are asked for.
#[derive(Debug, Deserialize)]
struct Last {
    limit: Option<usize>,
}

/// One's own last decisions that hold, the last first.
async fn decisions(
    State(shared): State<Arc<Shared>>,
    who: Who,
    Query(last): Query<Last>,
) -> Result<Json<Vec<Decision>>, Problem> {
    let most = last.limit.unwrap_or(20).clamp(1, MOST_TILES);
    let found = shared.with_review(move |review| review.last_of(&who.0.name, most));
    Ok(Json(found.await?))
}
