//! `GET /<name>/openapi.json`: the function's own description, completed with what
//! all functions share.

use http::StatusCode;
use utoipa::{
    OpenApi,
    openapi::{
        Server,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{Error, Function, Response, error::Problem, health::Health, http::json};

/// What every function answers besides its own endpoints.
#[derive(OpenApi)]
#[openapi(components(schemas(Problem, Health)))]
struct Shared;

/// The complete description of a function.
pub fn document<F: Function>() -> utoipa::openapi::OpenApi {
    let mut document = F::document();
    F::VERSION.clone_into(&mut document.info.version);
    document.servers = Some(vec![Server::new("/functions/v1")]);
    document.merge(Shared::openapi());
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of a Supabase Auth session."))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("access_token", SecurityScheme::Http(token));
    document
}

pub(crate) fn serve<F: Function>() -> Result<Response, Error> {
    let text = document::<F>().to_json().map_err(Error::internal)?;
    Ok(json(StatusCode::OK, text))
}
