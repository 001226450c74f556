//! The run that is going on, and alarms.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::Stream;
use futures_util::stream;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::review::accounts::Role;
use crate::review::alarms::Alarm;
use crate::review::live::{About, Counts, SIDE, Shown, Watching};
use crate::review::login::Who;
use crate::review::server::{Problem, Shared};
use crate::review::watch::Health;

/// How often those who watch are told.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long they are told at once. A browser asks again by itself, and is refused when
/// its session has ended in the meantime.
const LONGEST: Duration = Duration::from_secs(30);

/// What is asked of the run.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(events))
        .routes(routes!(alarms))
        .routes(routes!(acknowledge))
}

/// What runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Going {
    /// None: nothing runs here, the record alone is served.
    run: Option<About>,
    /// Side of a tile in the picture of the strip, in pixels.
    side: usize,
}

/// What runs.
#[utoipa::path(get, path = "/live", tag = "live", responses((status = 200, body = Going)))]
async fn live(State(shared): State<Arc<Shared>>, _: Who) -> Json<Going> {
    Json(Going {
        run: shared
            .running
            .as_ref()
            .map(|running| running.live.about().clone()),
        side: SIDE,
    })
}

/// How the run goes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Moment {
    counts: Counts,
    health: Health,
    /// Rows of tiles that have come since the moment before.
    rows: Vec<Row>,
}

/// A row of tiles.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StripRow)]
struct Row {
    /// Its number in the piece: rows come in the order in which they were settled.
    number: u64,
    /// Where it begins along the piece.
    metres: f64,
    /// Each tile's state, or the index of the class that was flagged.
    tiles: Vec<Shown>,
    /// Grey levels, `[side, columns * side]`, in base64.
    levels: String,
}

/// How the run goes, four times a second, for half a minute; ask again after that.
#[utoipa::path(get, path = "/live/events", tag = "live", responses((status = 200, body = Moment, content_type = "text/event-stream")))]
async fn events(
    State(shared): State<Arc<Shared>>,
    _: Who,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let nothing = || Problem::new(StatusCode::NOT_FOUND, "nothing runs here");
    let running = shared.running.clone().ok_or_else(nothing)?;
    let watching = running.live.watch();
    let begun = Instant::now();
    let moments = stream::unfold((watching, begun), move |(mut watching, begun)| async move {
        if begun.elapsed() > LONGEST {
            return None;
        }
        tokio::time::sleep(INTERVAL).await;
        let event = Event::default().json_data(moment(&mut watching));
        let event = event.unwrap_or_else(|error| {
            tracing::error!("those who watch cannot be told: {error}");
            Event::default().comment("failed")
        });
        Some((Ok(event), (watching, begun)))
    });
    Ok(Sse::new(moments))
}

fn moment(watching: &mut Watching) -> Moment {
    let rows = watching.rows().into_iter().map(|row| Row {
        number: row.number,
        metres: row.metres,
        tiles: row.tiles,
        levels: STANDARD.encode(&row.levels),
    });
    let rows = rows.collect();
    Moment {
        counts: watching.counts(),
        health: watching.live().health(),
        rows,
    }
}

/// Alarms that nobody has acknowledged.
#[utoipa::path(get, path = "/alarms", tag = "live", responses((status = 200, body = Vec<Alarm>)))]
async fn alarms(State(shared): State<Arc<Shared>>, _: Who) -> Result<Json<Vec<Alarm>>, Problem> {
    Ok(Json(shared.with_review(|review| review.alarms()).await?))
}

/// Notes that one has taken note of an alarm.
#[utoipa::path(post, path = "/alarms/{alarm}/acknowledge", tag = "live", params(("alarm" = i64, Path, description = "Number of the alarm")), responses((status = 204)))]
async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    who: Who,
    Path(alarm): Path<i64>,
) -> Result<StatusCode, Problem> {
    who.may(Role::Operator)?;
    let name = who.0.name.clone();
    shared
        .with_review(move |review| review.acknowledge(alarm, &name))
        .await?;
    let noted = shared.with_accounts(move |accounts| {
        accounts.note(&who.0.name, &format!("acknowledged alarm {alarm}"))
    });
    noted.await?;
    Ok(StatusCode::NO_CONTENT)
}
