//! `POST /outbox/run`.

use std::time::Instant;

use http::StatusCode;
use lyceum_core::{Error, Exchange, Response, http::json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{delivery::Counts, mail, settings::Settings, webhook};

/// What a run did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    /// Mails; null where no mail server is set, and they wait.
    email: Option<Counts>,
    /// Webhooks.
    webhook: Counts,
}

/// Delivers what is due, for up to half a minute. Runs at the same time share the work; one that dies loses nothing.
#[utoipa::path(
    post,
    path = "/outbox/run",
    tag = "outbox",
    responses(
        (status = 200, description = "What was delivered and what was not", body = Summary),
        (status = 401, description = "Without a token, or one that is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "A person's token (`service_required`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn run(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let service = exchange.service().await?;
    let database = exchange.service_database(&service);
    let settings = Settings::read(exchange)?;
    let until = Instant::now() + settings.run;
    let mails = async {
        match &settings.mail {
            Some(mail) => mail::deliver(&database, mail, settings.receiver, until)
                .await
                .map(Some),
            None => Ok(None),
        }
    };
    // Each to its end: what stops one channel does not stop the other.
    let (email, webhook) = tokio::join!(mails, webhook::deliver(&database, &settings, until));
    let summary = Summary {
        email: email?,
        webhook: webhook?,
    };
    let text = serde_json::to_string(&summary).map_err(Error::internal)?;
    Ok(json(StatusCode::OK, text))
}
