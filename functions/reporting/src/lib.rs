//! Reports: `GET /reporting/{report}` as JSON, CSV, a spreadsheet, a page to print, or a chart; `GET /reporting` lists them.
//!
//! What is counted, and who may see it, is decided by one function in the database for each report, called as the caller;
//! this function gives it a form. [`catalogue`] says which reports there are.

pub mod catalogue;
mod cell;
mod chart;
mod format;
mod html;
mod list;
mod locale;
mod request;
pub mod schema;
mod sheet_csv;
mod sheet_json;
mod sheet_xlsx;
mod show;
mod spool;
mod text;
pub mod words;

pub use locale::Locale;

use http::Method;
use lyceum_core::{Error, Exchange, Function, Response, Route};
use utoipa::OpenApi;

/// The function's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// `GET /reporting`
    List,
    /// `GET /reporting/{token}`
    Show,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lyceum reporting",
        description = "Reports, as their readers may see them, in forms for programs, spreadsheets, screens and paper."
    ),
    paths(list::list, show::show)
)]
struct Document;

impl Function for Reporting {
    const NAME: &'static str = "reporting";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn routes() -> &'static [Route<Self>] {
        const ROUTES: &[Route<Reporting>] = &[
            Route {
                method: Method::GET,
                path: "",
                endpoint: Reporting::List,
            },
            Route {
                method: Method::GET,
                path: "/{token}",
                endpoint: Reporting::Show,
            },
        ];
        ROUTES
    }

    fn document() -> utoipa::openapi::OpenApi {
        Document::openapi()
    }

    async fn serve(self, exchange: &Exchange<'_>) -> Result<Response, Error> {
        match self {
            Self::List => list::list(exchange).await,
            Self::Show => show::show(exchange).await,
        }
    }
}
