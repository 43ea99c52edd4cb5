//! Certificates for whoever has their code: `GET /credentials/{code}` as a page, a PDF, JSON or a signed credential, and
//! the public keys that credentials are verified with.
//!
//! What a verifier may know is decided by `lms.verify_certificate`; this function gives it a form. It calls the database
//! as the public role and knows no person.

mod certificate;
mod credential;
mod format;
mod keys;
mod page;
mod pdf;
mod qr;
pub mod schema;
mod show;

use http::Method;
use lyceum_core::{Error, Exchange, Function, Response, Route};
use utoipa::OpenApi;

/// The function's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// `GET /credentials/{token}`
    Show,
    /// `GET /credentials/jwks.json`
    Keys,
    /// `GET /credentials/keys/{token}`
    Key,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lyceum credentials",
        description = "Shows certificates to whoever has their code, and signs them as Open Badges 3.0."
    ),
    paths(show::show, keys::jwks, keys::key)
)]
struct Document;

impl Function for Credentials {
    const NAME: &'static str = "credentials";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS: &'static [&'static str] = &[
        "CREDENTIALS_URL",
        "CREDENTIALS_SIGNING_KEY",
        "CREDENTIALS_FORMER_KEYS",
    ];

    fn routes() -> &'static [Route<Self>] {
        const ROUTES: &[Route<Credentials>] = &[
            Route {
                method: Method::GET,
                path: "/jwks.json",
                endpoint: Credentials::Keys,
            },
            Route {
                method: Method::GET,
                path: "/keys/{token}",
                endpoint: Credentials::Key,
            },
            Route {
                method: Method::GET,
                path: "/{token}",
                endpoint: Credentials::Show,
            },
        ];
        ROUTES
    }

    fn document() -> utoipa::openapi::OpenApi {
        Document::openapi()
    }

    async fn serve(self, exchange: &Exchange<'_>) -> Result<Response, Error> {
        match self {
            Self::Show => show::show(exchange).await,
            Self::Keys => keys::jwks(exchange),
            Self::Key => keys::key(exchange),
        }
    }
}
