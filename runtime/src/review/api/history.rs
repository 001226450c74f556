//! What happened over pieces and shifts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::MOST;
use crate::review::history::{History, Span};
use crate::review::login::Who;
use crate::review::server::{Problem, Shared};

/// What is asked of the past.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(history))
}

/// Which periods are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
struct Periods {
    /// What is summed up in one.
    #[serde(default)]
    span: Span,
    /// Minutes by which the clock of who asks is ahead of UTC, for shifts and days.
    #[serde(default)]
    minutes_ahead: i32,
    /// How many, 1 to 100: the last ones.
    limit: Option<usize>,
}

/// What happened over pieces, shifts or days.
#[utoipa::path(get, path = "/history", tag = "history", params(Periods), responses((status = 200, body = History)))]
async fn history(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Query(asked): Query<Periods>,
) -> Result<Json<History>, Problem> {
    let limit = asked.limit.unwrap_or(50).clamp(1, MOST);
    let ahead = SignedDuration::from_mins(asked.minutes_ahead.into());
    let found = shared.with_reports(move |review| review.history(asked.span, ahead, limit));
    Ok(Json(found.await?))
}
