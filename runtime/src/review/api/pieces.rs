//! Pieces, and what was found on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::MOST;
use crate::review::login::Who;
use crate::review::piece::{Defect, Piece, PieceReport};
use crate::review::server::{Problem, Shared};

/// What is asked of pieces.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(pieces))
        .routes(routes!(piece))
        .routes(routes!(defects))
}

/// Which pieces are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
struct Page {
    /// The last piece of the page before.
    before: Option<i64>,
    /// How many, 1 to 100.
    limit: Option<usize>,
}

/// Pieces, the last first.
#[utoipa::path(get, path = "/pieces", tag = "pieces", params(Page), responses((status = 200, body = Vec<Piece>)))]
async fn pieces(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Piece>>, Problem> {
    let limit = page.limit.unwrap_or(20).clamp(1, MOST);
    let found = shared.with_reports(move |review| review.pieces(page.before, limit));
    Ok(Json(found.await?))
}

/// All that is known of a piece.
#[utoipa::path(get, path = "/pieces/{piece}", tag = "pieces", params(("piece" = i64, Path, description = "Number of the piece in the record")), responses((status = 200, body = PieceReport)))]
async fn piece(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Json<PieceReport>, Problem> {
    let found = shared.with_reports(move |review| review.piece(number));
    Ok(Json(found.await?))
}

/// A defect as a line of a table.
#[derive(Debug, Serialize)]
struct Line<'a> {
    number: usize,
    class: &'a str,
    from_m: f64,
    to_m: f64,
    from_mm: f64,
    to_mm: f64,
    tiles: usize,
    reviewed: usize,
    probability: Option<f64>,
}

/// The defects of a piece as a table.
#[utoipa::path(get, path = "/pieces/{piece}/defects.csv", tag = "pieces", params(("piece" = i64, Path, description = "Number of the piece in the record")), responses((status = 200, body = String, content_type = "text/csv")))]
async fn defects(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<i64>,
) -> Result<Response, Problem> {
    let found = shared.with_reports(move |review| review.piece(number));
    let report = found.await?;
    let table = table(&report.defects).map_err(|error| {
        tracing::error!("the table of piece {number} cannot be made: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    let name = format!("attachment; filename=\"piece{number}-defects.csv\"");
    let mut response = table.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn table(defects: &[Defect]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for defect in defects {
        writer.serialize(Line {
            number: defect.number,
            class: defect.class.as_deref().unwrap_or("unjudged"),
            from_m: defect.from_m,
            to_m: defect.to_m,
            from_mm: defect.from_mm,
            to_mm: defect.to_mm,
            tiles: defect.tiles.len(),
            reviewed: defect.reviewed,
            probability: defect.probability,
        })?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}
