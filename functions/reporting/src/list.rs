//! `GET /reporting`.

use http::{HeaderValue, StatusCode, header::VARY};
use lyceum_core::{Error, Exchange, Response, http::json};
use serde_json::{Value, json as value};

use crate::{
    catalogue::{Chart, Parameter, REPORTS, Report},
    locale::Locale,
    words::{self, of},
};

/// Lists the reports: what each counts, what can be asked of it, and what its rows hold.
#[utoipa::path(
    get,
    path = "/reporting",
    tag = "reporting",
    params(
        ("locale" = Option<String>, Query, description = "`en`, `de` or `es`; else by `Accept-Language`"),
    ),
    responses(
        (status = 200, description = "All reports", body = crate::schema::Catalogue),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Parameters at fault", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn list(exchange: &Exchange<'_>) -> Result<Response, Error> {
    exchange.caller().await?;
    let mut query = exchange.query();
    let locale = query.optional("locale");
    query.finish(Some(()))?;
    let locale = locale
        .or_else(|| Locale::accepted(exchange.headers()))
        .unwrap_or(Locale::En);
    let reports: Vec<Value> = REPORTS.iter().map(|report| entry(report, locale)).collect();
    let text = value!({ "locale": locale.tag(), "reports": reports }).to_string();
    let mut response = json(StatusCode::OK, text);
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Language"));
    Ok(response)
}

fn entry(report: &Report, locale: Locale) -> Value {
    let parameter = |name: &str, kind: &str, required: bool, meaning: &str| value!({ "name": name, "type": kind, "required": required, "meaning": meaning });
    let mut parameters: Vec<Value> = report
        .parameters
        .iter()
        .map(|one| {
            parameter(
                one.name(),
                one.type_name(),
                one.is_required(),
                of(one.meaning(), locale),
            )
        })
        .collect();
    if report.parameters.contains(&Parameter::Until) {
        let meaning = of(words::LAST_DAYS, locale).replace("{days}", "n");
        parameters.push(parameter("last_days", "integer", false, &meaning));
    }
    if report.page.is_some() {
        parameters.push(parameter(
            "limit",
            "integer",
            false,
            of(words::MOST_ROWS, locale),
        ));
    }
    let formats: &[&str] = if report.chart == Chart::None {
        &["json", "csv", "xlsx", "html"]
    } else {
        &["json", "csv", "xlsx", "html", "svg"]
    };
    let columns: Vec<Value> = report
        .columns
        .iter()
        .map(|column| {
            value!({
                "name": column.name, "kind": column.kind.name(), "heading": of(column.heading, locale),
            })
        })
        .collect();
    value!({
        "name": report.name,
        "title": of(report.title, locale),
        "counts": of(report.counts, locale),
        "function": format!("{}.{}", report.schema, report.function),
        "formats": formats,
        "parameters": parameters,
        "columns": columns,
    })
}
