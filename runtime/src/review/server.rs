//! What the page and other programs are served.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum_login::AuthManagerLayerBuilder;
use tokio::task::JoinError;
use tower_sessions::cookie::SameSite;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, SessionManagerLayer};

use super::accounts::{AccountError, Accounts, Sessions};
use super::error::ReviewError;
use super::login::{Attempts, Backend};
use super::running::Running;
use super::saliency::Asked;
use super::store::Review;
use super::{api, login, pages};

/// How long a login lasts: a shift. Nothing that is asked prolongs it, so that nothing
/// need be written then.
const LOGIN: Duration = Duration::hours(8);

/// Scripts, styles and images come from here alone, and nobody may put the page into
/// a frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// How the page behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Share of the reviewed tiles that come back to be decided once more, 0 to 1.
    pub again: f64,
    /// Largest model file that is taken, in bytes: a ViT-B has 350 MB.
    pub largest_model: u64,
    /// Whether what is served is encrypted.
    pub is_encrypted: bool,
    /// Whether other computers may reach it although it is not, which every page says.
    pub is_insecure: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            again: 0.05,
            largest_model: 1 << 30,
            is_encrypted: false,
            is_insecure: false,
        }
    }
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The review cannot be used.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// The accounts cannot be used.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

/// What all requests share.
pub(super) struct Shared {
    review: Mutex<Review>,
    /// The same for what takes longer, so that no decision waits for it.
    reports: Mutex<Review>,
    accounts: Mutex<Accounts>,
    pub(super) settings: Settings,
    /// The run that writes the record, where this program does that.
    pub(super) running: Option<Running>,
    /// A model that is asked again where it sees what it says.
    pub(super) asked: Asked,
}

impl Shared {
    /// Does something with the review, on a thread that may wait for the disk.
    pub(super) async fn with_review<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Review) -> Result<T, ReviewError> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = self.on_thread(|shared| &shared.review, work).await;
        Ok(done.map_err(Problem::panicked)??)
    }

    /// Sums something up over the review, which may take long.
    pub(super) async fn with_reports<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Review) -> Result<T, ReviewError> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = self.on_thread(|shared| &shared.reports, work).await;
        Ok(done.map_err(Problem::panicked)??)
    }

    /// Does something with the accounts, on a thread that may take its time.
    pub(super) async fn with_accounts<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Accounts) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        match self.on_thread(|shared| &shared.accounts, work).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn on_thread<S: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        which: fn(&Self) -> &Mutex<S>,
        work: impl FnOnce(&S) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let held = which(&shared).lock();
            work(&held.unwrap_or_else(PoisonError::into_inner))
        })
        .await
    }
}

/// Everything that is served for a record and the run that writes it, behind logins.
///
/// # Errors
/// When the review or the accounts cannot be opened.
pub fn router(
    folder: &Path,
    settings: Settings,
    running: Option<Running>,
) -> Result<Router, ServeError> {
    let shared = Arc::new(Shared {
        review: Mutex::new(Review::open(folder)?),
        reports: Mutex::new(Review::open(folder)?),
        accounts: Mutex::new(Accounts::open(folder)?),
        settings,
        running,
        asked: Asked::default(),
    });
    let (name, is_encrypted) = match settings.is_encrypted {
        // A browser takes such a cookie from an encrypted page of this very server alone.
        true => ("__Host-millsight", true),
        false => ("millsight", false),
    };
    let sessions = SessionManagerLayer::new(Sessions(Arc::clone(&shared)))
        .with_name(name)
        .with_secure(is_encrypted)
        .with_http_only(true)
        .with_same_site(SameSite::Strict)
        .with_expiry(Expiry::OnInactivity(LOGIN));
    let backend = Backend::new(Arc::clone(&shared));
    let logins = AuthManagerLayerBuilder::new(backend, sessions).build();
    Ok(Router::new()
        .merge(pages::routes())
        .merge(login::routes(Attempts::default()))
        .nest("/api/v1", api::routes())
        .with_state(shared)
        .layer(logins)
        .layer(middleware::from_fn(same_origin))
        .layer(middleware::from_fn(guard)))
}

/// Refuses requests that change something and come from another site's page: a
/// browser says where they come from.
async fn same_origin(request: Request, next: Next) -> Response {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    // No page of another site can make a browser send a token.
    let has_token = login::token(request.headers()).is_some();
    if is_safe || has_token || is_same_origin(request.headers()) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "the request comes from another site").into_response()
}

fn is_same_origin(headers: &axum::http::HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let host = text(header::HOST).unwrap_or_default();
    let origin = text(header::ORIGIN).unwrap_or_default();
    let named = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    !host.is_empty() && named == Some(host)
}

/// Tells browsers what the page may do.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What a session shows is for nobody who comes later.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why a request is not answered, as JSON: `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
        }
    }

    pub(super) fn panicked(error: JoinError) -> Self {
        tracing::error!("a request failed: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request failed; the log says why",
        )
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let status = match &error {
            ReviewError::NoTile(_) | ReviewError::NoPiece(_) | ReviewError::NoAlarm(_) => {
                StatusCode::NOT_FOUND
            }
            ReviewError::NoClass { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ReviewError::KeyInUse(_) | ReviewError::NotUndone { .. } => StatusCode::CONFLICT,
            _ => {
                tracing::error!("{error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let status = match &error {
            AccountError::Missing(_) => StatusCode::NOT_FOUND,
            AccountError::Exists(_) | AccountError::LastEngineer(_) => StatusCode::CONFLICT,
            AccountError::Name(_) | AccountError::Password(_) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => {
                tracing::error!("{error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.error });
        (self.status, axum::Json(body)).into_response()
    }
}
