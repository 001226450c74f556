//! Who asks.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use axum_login::{AuthSession, AuthUser, AuthnBackend, UserId};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::accounts::{Account, AccountError, Accounts, LONGEST_PASSWORD, Role};
use super::server::{Problem, Shared};

/// Wrong passwords that an account may be tried with at once, and then again each
/// minute.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Names of which attempts are remembered before those of the last minutes alone are.
const MOST_NAMES: usize = 1000;

/// Finds and checks accounts.
#[derive(Clone)]
pub(super) struct Backend {
    shared: Arc<Shared>,
    /// Hashing takes a core for a while: one at a time, so that nobody can take the
    /// line's cores by guessing.
    hashing: Arc<Semaphore>,
    /// Hash of nobody's password: an unknown name takes as long as a wrong password.
    nobody: Arc<str>,
}

/// The login of a request.
pub(super) type Login = AuthSession<Backend>;

impl Backend {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            hashing: Arc::new(Semaphore::new(1)),
            nobody: password_auth::generate_hash("").into(),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Backend").finish_non_exhaustive()
    }
}

/// Name and password.
#[derive(Clone, Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

impl AuthUser for Account {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password_hash.as_bytes()
    }
}

impl AuthnBackend for Backend {
    type User = Account;
    type Credentials = Credentials;
    type Error = AccountError;

    async fn authenticate(&self, given: Credentials) -> Result<Option<Account>, AccountError> {
        let Credentials { name, password } = given;
        let find = move |accounts: &Accounts| accounts.find(&name);
        let account = self.shared.with_accounts(find).await?;
        let known = account.as_ref().map(|found| found.password_hash.clone());
        let nobody = Arc::clone(&self.nobody);
        // Only closing it could fail, and nobody does.
        let _one_at_a_time = self.hashing.acquire().await;
        // Nothing else waits for it: what the accounts are asked meanwhile is answered.
        let is_right = tokio::task::spawn_blocking(move || {
            let hash = known.as_deref().unwrap_or(&nobody);
            password_auth::verify_password(&password, hash).is_ok()
        });
        // What panicked has not found it right.
        let is_right = is_right.await.unwrap_or(false);
        Ok(account.filter(|_| is_right))
    }

    async fn get_user(&self, name: &UserId<Self>) -> Result<Option<Account>, AccountError> {
        let name = name.clone();
        let find = move |accounts: &Accounts| accounts.find(&name);
        self.shared.with_accounts(find).await
    }
}

/// How often each account was tried.
#[derive(Clone)]
pub(super) struct Attempts(Arc<DefaultKeyedRateLimiter<String>>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Arc::new(RateLimiter::keyed(Quota::per_minute(ATTEMPTS))))
    }
}

impl Attempts {
    /// Counts another attempt, which is refused after too many.
    fn another(&self, name: &String) -> Result<(), Problem> {
        if self.0.len() > MOST_NAMES {
            self.0.retain_recent();
        }
        self.0.check_key(name).map_err(|_| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many attempts for this account; wait a minute",
            )
        })
    }
}

/// The token that a program gives with its request.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    given.strip_prefix("Bearer ")
}

/// Someone who is logged in and has chosen a password, or a program with a token.
pub(super) struct Who(pub(super) Account);

impl Who {
    /// Whether the account may do what a role may.
    pub(super) fn may(&self, role: Role) -> Result<(), Problem> {
        if self.0.role >= role {
            return Ok(());
        }
        let needed = role.name();
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this needs the role {needed}; ask an engineer"),
        ))
    }
}

impl FromRequestParts<Arc<Shared>> for Who {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        // Where a token is given, it alone counts.
        let account = match token(&parts.headers).map(str::to_owned) {
            Some(token) => {
                let find = move |accounts: &Accounts| accounts.of_token(&token);
                state.with_accounts(find).await?
            }
            None => {
                let login = Login::from_request_parts(parts, state).await;
                login.ok().and_then(|login| login.user)
            }
        };
        let account =
            account.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "log in first"))?;
        if account.is_one_time {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "choose a password of your own first",
            ));
        }
        Ok(Self(account))
    }
}

/// Logging in and out, and choosing a password.
pub(super) fn routes(attempts: Attempts) -> Router<Arc<Shared>> {
    Router::new()
        .route("/session", get(session).post(log_in).delete(log_out))
        .route("/password", post(choose_password))
        .layer(Extension(attempts))
}

/// The account that is logged in.
async fn session(login: Login) -> Result<Json<Account>, Problem> {
    let nobody = Problem::new(StatusCode::UNAUTHORIZED, "nobody is logged in");
    login.user.map(Json).ok_or(nobody)
}

async fn log_in(
    State(shared): State<Arc<Shared>>,
    Extension(attempts): Extension<Attempts>,
    mut login: Login,
    Json(given): Json<Credentials>,
) -> Result<Json<Account>, Problem> {
    if given.password.len() > 4 * LONGEST_PASSWORD || given.name.len() > 200 {
        return Err(wrong());
    }
    attempts.another(&given.name)?;
    let name = given.name.clone();
    let found = login.authenticate(given).await.map_err(failed)?;
    let Some(account) = found else {
        let noted =
            shared.with_accounts(move |accounts| accounts.note(&name, "refused: wrong password"));
        noted.await?;
        return Err(wrong());
    };
    login.login(&account).await.map_err(failed)?;
    let noted = shared.with_accounts(move |accounts| accounts.note(&name, "logged in"));
    noted.await?;
    Ok(Json(account))
}

async fn log_out(
    State(shared): State<Arc<Shared>>,
    mut login: Login,
) -> Result<StatusCode, Problem> {
    if let Some(account) = login.logout().await.map_err(failed)? {
        let noted =
            shared.with_accounts(move |accounts| accounts.note(&account.name, "logged out"));
        noted.await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A new password, which its owner has chosen.
#[derive(Deserialize)]
struct NewPassword {
    /// The one until now.
    old: String,
    /// The one from now on.
    new: String,
}

async fn choose_password(
    State(shared): State<Arc<Shared>>,
    Extension(attempts): Extension<Attempts>,
    mut login: Login,
    Json(given): Json<NewPassword>,
) -> Result<Json<Account>, Problem> {
    let account = login.user.clone();
    let account = account.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "log in first"))?;
    attempts.another(&account.name)?;
    let credentials = Credentials {
        name: account.name.clone(),
        password: given.old,
    };
    if login
        .authenticate(credentials)
        .await
        .map_err(failed)?
        .is_none()
    {
        return Err(wrong());
    }
    let name = account.name.clone();
    let changed = shared.with_accounts(move |accounts| {
        accounts.choose_password(&name, &given.new)?;
        accounts.note(&name, "chose a password")?;
        accounts.find(&name)
    });
    let account = changed
        .await?
        .ok_or_else(|| Problem::from(AccountError::Missing(account.name)))?;
    login.login(&account).await.map_err(failed)?;
    Ok(Json(account))
}

fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "name or password is wrong")
}

fn failed(error: axum_login::Error<Backend>) -> Problem {
    match error {
        axum_login::Error::Backend(error) => error.into(),
        axum_login::Error::Session(error) => {
            tracing::error!("a session failed: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the session failed")
        }
    }
}
