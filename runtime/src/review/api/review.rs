//! The queue, its tiles, and decisions on them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::MOST;
use crate::review::accounts::Role;
use crate::review::decision::{Decision, NewDecision};
use crate::review::error::ReviewError;
use crate::review::login::Who;
use crate::review::queue::{Order, Waiting};
use crate::review::saliency::{Saliency, SaliencyError};
use crate::review::server::{Problem, Shared};
use crate::review::tile::{Neighbour, Tile};

/// Longest note, in bytes.
const LONGEST_NOTE: usize = 2000;

/// What is asked of the review.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(queue))
        .routes(routes!(tile))
        .routes(routes!(image))
        .routes(routes!(saliency))
        .routes(routes!(decisions, decide))
        .routes(routes!(undo))
}

/// Which tiles are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
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
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Queue {
    tiles: Vec<Tile>,
    /// What to ask for `after`; none where there are no more.
    next: Option<i64>,
    waiting: Waiting,
}

/// Tiles that wait for a reviewer.
#[utoipa::path(get, path = "/queue", tag = "review", params(Page), responses((status = 200, body = Queue)))]
async fn queue(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Query(page): Query<Page>,
) -> Result<Json<Queue>, Problem> {
    let limit = page.limit.unwrap_or(20).clamp(1, MOST);
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

/// A tile with those around it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TileAround {
    #[serde(flatten)]
    tile: Tile,
    neighbours: Vec<Neighbour>,
}

/// A tile, and which of those around it are recorded.
#[utoipa::path(get, path = "/tiles/{tile}", tag = "review", params(("tile" = i64, Path, description = "Number of the tile in the record")), responses((status = 200, body = TileAround)))]
async fn tile(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Json<TileAround>, Problem> {
    let found = shared.with_review(move |review| {
        let tile = review.tiles(&[number])?.pop();
        let tile = tile.ok_or(ReviewError::NoTile(number))?;
        Ok(TileAround {
            neighbours: review.neighbours(&tile)?,
            tile,
        })
    });
    Ok(Json(found.await?))
}

/// The image of a tile, as it was recorded: it never changes.
#[utoipa::path(get, path = "/tiles/{tile}/image", tag = "review", params(("tile" = i64, Path, description = "Number of the tile in the record")), responses((status = 200, body = Vec<u8>, content_type = "image/png")))]
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

/// Where on a tile the model sees what it says. It is asked again, 65 times.
#[utoipa::path(get, path = "/tiles/{tile}/saliency", tag = "review", params(("tile" = i64, Path, description = "Number of the tile in the record")), responses((status = 200, body = Saliency)))]
async fn saliency(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Json<Saliency>, Problem> {
    let found = shared.with_review(move |review| {
        let image = review.image(number)?;
        let model = review.model_of(number)?;
        Ok((image, model, review.folder().to_path_buf()))
    });
    let (image, model, folder) = found.await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("tile {number} has no image"));
    let (image, model) = image.zip(model).ok_or_else(missing)?;
    let told = tokio::task::spawn_blocking(move || {
        let running = shared.running.as_ref();
        shared.asked.about(&image, &model, &folder, running)
    });
    Ok(Json(told.await.map_err(Problem::panicked)??))
}

/// Keeps what a reviewer says of a tile. Repeated with the same key it is one decision.
#[utoipa::path(post, path = "/decisions", tag = "review", request_body = NewDecision, responses((status = 200, body = Decision)))]
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
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Undo {
    /// Chosen by who asks, so that a request that is repeated undoes once.
    key: String,
}

/// Undoes a decision of one's own; both are kept.
#[utoipa::path(post, path = "/decisions/{decision}/undo", tag = "review", params(("decision" = i64, Path, description = "Number of the decision")), request_body = Undo, responses((status = 200, body = Decision)))]
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
#[derive(Debug, Deserialize, utoipa::IntoParams)]
struct Last {
    limit: Option<usize>,
}

/// One's own last decisions that hold, the last first.
#[utoipa::path(get, path = "/decisions", tag = "review", params(Last), responses((status = 200, body = Vec<Decision>)))]
async fn decisions(
    State(shared): State<Arc<Shared>>,
    who: Who,
    Query(last): Query<Last>,
) -> Result<Json<Vec<Decision>>, Problem> {
    let most = last.limit.unwrap_or(20).clamp(1, MOST);
    let found = shared.with_review(move |review| review.last_of(&who.0.name, most));
    Ok(Json(found.await?))
}

impl From<SaliencyError> for Problem {
    fn from(error: SaliencyError) -> Self {
        let status = match &error {
            SaliencyError::NoModel | SaliencyError::Image(_) => StatusCode::NOT_FOUND,
            _ => {
                tracing::error!("{error}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Problem::new(status, error.to_string())
    }
}
