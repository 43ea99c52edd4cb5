//! Delivering what waits in the outbox: `POST /outbox/run`, called every minute by the system itself.
//!
//! What is to be delivered, when, and how often it is tried stands in the database (`lms.claim_deliveries`,
//! `lms.settle_delivery`). This function claims, sends mails by SMTP and webhooks by HTTP, and says what came of it: at least
//! once, under the same id each time.

mod address;
mod backoff;
mod delivery;
mod language;
mod mail;
mod run;
mod settings;
mod sign;
mod template;
mod webhook;

use http::Method;
use lyceum_core::{Error, Exchange, Function, Response, Route};
use utoipa::OpenApi;

/// The function's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbox {
    /// `POST /outbox/run`
    Run,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lyceum outbox",
        description = "Delivers the mails and webhooks that wait in the outbox. For the system itself: it takes the service key."
    ),
    paths(run::run)
)]
struct Document;

impl Function for Outbox {
    const NAME: &'static str = "outbox";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS: &'static [&'static str] = settings::NAMES;

    fn routes() -> &'static [Route<Self>] {
        const ROUTES: &[Route<Outbox>] = &[Route {
            method: Method::POST,
            path: "/run",
            endpoint: Outbox::Run,
        }];
        ROUTES
    }

    fn document() -> utoipa::openapi::OpenApi {
        Document::openapi()
    }

    async fn serve(self, exchange: &Exchange<'_>) -> Result<Response, Error> {
        match self {
            Self::Run => run::run(exchange).await,
        }
    }
}
