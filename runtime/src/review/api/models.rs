//! The models of the run: the one that judges, the one in its shadow, the one before.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use millsight_export::card::ModelCard;
use millsight_export::durable;
use millsight_export::engine::EngineIdentity;
use millsight_export::model_file::ModelFile;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::exchange::{Comparison, Exchange, ExchangeError, Used};
use crate::record;
use crate::review::accounts::Role;
use crate::review::login::Who;
use crate::review::reliability::ClassReliability;
use crate::review::server::{Problem, Shared};

/// What is asked of models.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(models, load))
        .routes(routes!(dismiss))
        .routes(routes!(promote))
        .routes(routes!(roll_back))
        .routes(routes!(difference))
}

/// How matters stand.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Models {
    /// Whether models can be exchanged: a run goes on here.
    runs: bool,
    /// The model that judges, or did in the last run.
    active: Option<Model>,
    /// The model before it, which can be called back.
    previous: Option<Model>,
    /// The model in its shadow.
    shadow: Option<InShadow>,
}

/// A model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Model {
    sha256: String,
    #[schema(value_type = Object)]
    card: ModelCard,
    /// Since when it judges, RFC 3339 in UTC; none where that is not known.
    since: Option<String>,
    /// Who let it.
    by: Option<String>,
    /// What people say of the tiles that it flagged.
    reliability: Vec<ClassReliability>,
}

/// A model in the shadow of another.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct InShadow {
    sha256: String,
    #[schema(value_type = Object)]
    card: ModelCard,
    #[schema(value_type = Object)]
    engine: EngineIdentity,
    /// Largest difference of a score from the vectors in its card; none: it has none.
    difference: Option<f32>,
    since: String,
    by: String,
    compared: Comparison,
}

/// The models of the run.
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, body = Models)))]
async fn models(State(shared): State<Arc<Shared>>, _: Who) -> Result<Json<Models>, Problem> {
    let Some(running) = &shared.running else {
        let last = shared.with_reports(|review| review.last_model()).await?;
        let active = match last {
            Some((sha256, card)) => Some(model(&shared, sha256, card, None).await?),
            None => None,
        };
        return Ok(Json(Models {
            runs: false,
            active,
            previous: None,
            shadow: None,
        }));
    };
    let standing = running.exchange.standing();
    let of = async |used: &Used| {
        let (file, since) = (&used.file, Some((used.since.clone(), used.by.clone())));
        model(&shared, file.sha256.clone(), file.card.clone(), since).await
    };
    let previous = match &standing.previous {
        Some(previous) => Some(of(previous).await?),
        None => None,
    };
    Ok(Json(Models {
        runs: true,
        active: Some(of(&standing.active).await?),
        previous,
        shadow: standing.shadow.map(|shadow| InShadow {
            sha256: shadow.file.sha256.clone(),
            card: shadow.file.card.clone(),
            engine: shadow.engine,
            difference: shadow.difference,
            since: shadow.since,
            by: shadow.by,
            compared: shadow.compared,
        }),
    }))
}

async fn model(
    shared: &Arc<Shared>,
    sha256: String,
    card: ModelCard,
    used: Option<(String, Option<String>)>,
) -> Result<Model, Problem> {
    let of = sha256.clone();
    let reliability = shared
        .with_reports(move |review| review.reliability(&of))
        .await?;
    let (since, by) = used.unzip();
    Ok(Model {
        sha256,
        card,
        since,
        by: by.flatten(),
        reliability,
    })
}

/// Takes a model file, which is the body, checks it, keeps it beside the record and lets
/// it run in shadow.
#[utoipa::path(post, path = "/models", tag = "models", request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, body = BTreeMap<String, String>)))]
async fn load(
    State(shared): State<Arc<Shared>>,
    who: Who,
    body: Body,
) -> Result<Json<BTreeMap<&'static str, String>>, Problem> {
    who.may(Role::Engineer)?;
    let exchange = exchange(&shared)?;
    let folder = shared
        .with_review(|review| Ok(review.folder().to_path_buf()))
        .await?;
    let folder = folder.join("models");
    let received = receive(&folder, body, shared.settings.largest_model).await?;
    let by = who.0.name.clone();
    let loaded = tokio::task::spawn_blocking(move || keep(&exchange, &folder, received, &by));
    let (sha256, path) = loaded.await.map_err(Problem::panicked)??;
    note(
        &shared,
        who,
        format!("loaded the model {sha256} to run in shadow"),
    )
    .await?;
    let path = path.display().to_string();
    Ok(Json(BTreeMap::from([("sha256", sha256), ("file", path)])))
}

/// Writes what comes into a file without a name that others could see.
async fn receive(
    folder: &std::path::Path,
    body: Body,
    most: u64,
) -> Result<tempfile::NamedTempFile, Problem> {
    let cannot = |error: std::io::Error| {
        tracing::error!("a model cannot be written to {}: {error}", folder.display());
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("the model cannot be written: {error}"),
        )
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut file = durable::partial_beside(&folder.join("model.onnx")).map_err(cannot)?;
    let mut length = 0;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the model did not come whole: {error}"),
            )
        })?;
        length += piece.len() as u64;
        if length > most {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a model file of up to {} MiB is taken", most >> 20),
            ));
        }
        file.write_all(&piece).map_err(cannot)?;
    }
    Ok(file)
}

/// Lets a model that was received run in shadow, and gives its file its name.
fn keep(
    exchange: &Exchange,
    folder: &std::path::Path,
    received: tempfile::NamedTempFile,
    by: &str,
) -> Result<(String, PathBuf), Problem> {
    let refused = |error: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    let bytes = std::fs::read(received.path()).map_err(|error| {
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("the model cannot be read again: {error}"),
        )
    })?;
    let file =
        ModelFile::from_bytes(bytes, "the file").map_err(|error| refused(error.to_string()))?;
    let sha256 = file.sha256.clone();
    exchange.offer(file, by)?;
    let path = folder.join(format!("{sha256}.onnx"));
    durable::persist(received, &path).map_err(|error| {
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!(
                "the model runs in shadow, but cannot be kept as {}: {error}",
                path.display()
            ),
        )
    })?;
    Ok((sha256, path))
}

/// Ends the shadow.
#[utoipa::path(delete, path = "/models/shadow", tag = "models", responses((status = 204)))]
async fn dismiss(State(shared): State<Arc<Shared>>, who: Who) -> Result<StatusCode, Problem> {
    who.may(Role::Engineer)?;
    let exchange = exchange(&shared)?;
    let dismissed = tokio::task::spawn_blocking(move || exchange.dismiss());
    dismissed.await.map_err(Problem::panicked)??;
    note(&shared, who, "ended the shadow".into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets the model in shadow judge, from the next row of tiles on.
#[utoipa::path(post, path = "/models/shadow/promote", tag = "models", responses((status = 204)))]
async fn promote(State(shared): State<Arc<Shared>>, who: Who) -> Result<StatusCode, Problem> {
    who.may(Role::Engineer)?;
    let exchange = exchange(&shared)?;
    let by = who.0.name.clone();
    let promoted = tokio::task::spawn_blocking(move || exchange.promote(&by));
    let promoted = promoted.await.map_err(Problem::panicked)??;
    let sha256 = &promoted.file.sha256;
    note(&shared, who, format!("promoted the model {sha256}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Calls back the model that judged before.
#[utoipa::path(post, path = "/models/rollback", tag = "models", responses((status = 204)))]
async fn roll_back(State(shared): State<Arc<Shared>>, who: Who) -> Result<StatusCode, Problem> {
    who.may(Role::Engineer)?;
    let called_back = exchange(&shared)?.roll_back(&who.0.name)?;
    let sha256 = &called_back.file.sha256;
    note(&shared, who, format!("called back the model {sha256}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tile of a difference between the two models.
#[utoipa::path(get, path = "/models/shadow/differences/{number}/image", tag = "models", params(("number" = u64, Path, description = "Number of the difference")), responses((status = 200, body = Vec<u8>, content_type = "image/png")))]
async fn difference(
    State(shared): State<Arc<Shared>>,
    _: Who,
    Path(number): Path<u64>,
) -> Result<Response, Problem> {
    let gone = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "this difference is not kept any more",
        )
    };
    let shadow = exchange(&shared)?.standing().shadow.ok_or_else(gone)?;
    let mut differences = shadow.compared.differences.into_iter();
    let found = differences
        .find(|one| one.number == number)
        .ok_or_else(gone)?;
    let png = record::compressed(&found.levels, 0).map_err(|error| {
        tracing::error!("a tile cannot be shown: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    let media = [(header::CONTENT_TYPE, HeaderValue::from_static("image/png"))];
    Ok((media, png).into_response())
}

fn exchange(shared: &Shared) -> Result<Arc<Exchange>, Problem> {
    let running = shared.running.as_ref();
    let exchange = running.map(|running| Arc::clone(&running.exchange));
    exchange.ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            "nothing runs here: models are exchanged on the page of a run",
        )
    })
}

async fn note(shared: &Arc<Shared>, who: Who, what: String) -> Result<(), Problem> {
    let noted = shared.with_accounts(move |accounts| accounts.note(&who.0.name, &what));
    Ok(noted.await?)
}

impl From<ExchangeError> for Problem {
    fn from(error: ExchangeError) -> Self {
        let status = match &error {
            ExchangeError::Classes { .. } | ExchangeError::Networks(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ExchangeError::Active(_) | ExchangeError::NoShadow | ExchangeError::NoPrevious => {
                StatusCode::CONFLICT
            }
            ExchangeError::Thread(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // What lies behind it says what to do.
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(reason) = cause {
            said = format!("{said}: {reason}");
            cause = reason.source();
        }
        Problem::new(status, said)
    }
}
