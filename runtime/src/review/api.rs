//! What the pages and other programs ask, as JSON, below `/api/v1`, and the document that
//! describes it.

mod history;
mod live;
mod models;
mod pieces;
mod review;

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::login::Who;
use super::server::Shared;

/// Most things that are given at once.
const MOST: usize = 100;

/// All of the API, and `/openapi.json`, which describes it.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let (routes, document) = described();
    let document = Arc::new(document);
    let describe = move |_: Who| async move { Json((*document).clone()) };
    routes.route("/openapi.json", get(describe))
}

/// The API with its description.
pub(super) fn described() -> (Router<Arc<Shared>>, OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(empty())
        .merge(review::routes())
        .merge(live::routes())
        .merge(pieces::routes())
        .merge(history::routes())
        .merge(models::routes())
        .split_for_parts();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (status, meaning) in [
                ("401", "Nobody is logged in, and no token is given."),
                (
                    "403",
                    "The role does not allow it, or the request comes from another site.",
                ),
            ] {
                let response = ResponseBuilder::new().description(meaning).build();
                let responses = &mut operation.responses.responses;
                responses.insert(status.to_owned(), response.into());
            }
        }
    }
    (routes, document)
}

/// What holds for all of it.
fn empty() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Millsight")
        .version("1")
        .description(Some(
            "What the pages ask, for other programs. Errors are JSON: `{\"error\": \"…\"}`.",
        ))
        .build();
    let session = ApiKey::Cookie(ApiKeyValue::with_description(
        "millsight",
        "Set by POST /session with name and password; `__Host-millsight` where it is encrypted.",
    ));
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Made by `millsight accounts token`."))
        .build();
    let components = utoipa::openapi::ComponentsBuilder::new()
        .security_scheme("session", SecurityScheme::ApiKey(session))
        .security_scheme("token", SecurityScheme::Http(token))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([utoipa::openapi::Server::new("/api/v1")]))
        .components(Some(components))
        .security(Some([
            utoipa::openapi::security::SecurityRequirement::new("session", [""; 0]),
            utoipa::openapi::security::SecurityRequirement::new("token", [""; 0]),
        ]))
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn other_programs_are_told_when_the_api_changes() {
        let (_, document) = described();
        insta::assert_snapshot!("openapi", document.to_pretty_json().unwrap());
    }
}
