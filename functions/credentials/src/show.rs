//! `GET /credentials/{code}`.

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, VARY},
};
use lambda_http::Body;
use lyceum_core::{
    Error, Exchange, Repeat, Response,
    http::{answer, json},
};
use serde::Serialize;

use crate::{
    certificate::{Certificate, Status},
    credential,
    format::{Format, accepted},
    keys, page, pdf,
};

/// The arguments of `lms.verify_certificate`.
#[derive(Serialize)]
struct Arguments<'a> {
    p_code: &'a str,
}

/// Shows a certificate to whoever has its code.
///
/// As a page for people, as a PDF, as JSON, or as a signed Open Badges 3.0 credential: by `format`, else by `Accept`.
/// No key and no token is needed: the code is what opens it.
#[utoipa::path(
    get,
    path = "/credentials/{code}",
    tag = "credentials",
    params(
        ("code" = String, Path, description = "26 letters and digits; hyphens and lower case do not matter"),
        ("format" = Option<String>, Query, description = "`html`, `pdf`, `json`, `jwt` or `status`"),
    ),
    responses(
        (status = 200, description = "The certificate", content(
            (crate::schema::Verification = "application/json"), (String = "text/html"), (String = "application/pdf"),
            (String = "application/vc+jwt"),
        )),
        (status = 404, description = "No such certificate (`certificate_not_found`), or no signed ones here (`credentials_not_signed`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 410, description = "Not to be had of one that was revoked (`certificate_revoked`) or has expired (`certificate_expired`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such format", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let code = exchange.token()?;
    let mut query = exchange.query();
    let format = query.optional("format");
    query.finish(Some(()))?;
    let format = format.unwrap_or_else(|| accepted(exchange.headers()));
    let found = exchange
        .public_database()
        .rpc(
            "lms",
            "verify_certificate",
            &Arguments { p_code: code },
            Repeat::Safe,
        )
        .await;
    let found = match found {
        Err(error) if format == Format::Html && error.status() == StatusCode::NOT_FOUND => {
            return html(StatusCode::NOT_FOUND, page::not_found());
        }
        found => found?,
    };
    let certificate: Certificate = serde_json::from_slice(&found).map_err(|error| {
        Error::internal(format!(
            "lms.verify_certificate answered otherwise: {error}"
        ))
    })?;
    let base = keys::address(exchange)?;
    let address = format!("{base}/{}", certificate.code);
    match format {
        Format::Html => {
            let signed = exchange.setting("CREDENTIALS_SIGNING_KEY").is_some();
            html(StatusCode::OK, page::page(&certificate, &address, signed)?)
        }
        Format::Json => {
            // As the database says it.
            let text = String::from_utf8(found).map_err(Error::internal)?;
            Ok(varied(json(StatusCode::OK, text)))
        }
        Format::Status => {
            let text = credential::status(&certificate, base).to_string();
            Ok(varied(json(StatusCode::OK, text)))
        }
        Format::Pdf => {
            refuse(&certificate, &[Status::Revoked])?;
            let mut response = answer(
                StatusCode::OK,
                "application/pdf",
                Body::Binary(pdf::pdf(&certificate, &address)?),
            );
            let name = format!("inline; filename=\"certificate-{}.pdf\"", certificate.code);
            let name = HeaderValue::from_str(&name).map_err(Error::internal)?;
            response.headers_mut().insert(CONTENT_DISPOSITION, name);
            Ok(varied(response))
        }
        Format::Jwt => {
            let signing = keys::signing(exchange)?.ok_or_else(keys::not_configured)?;
            refuse(&certificate, &[Status::Revoked, Status::Expired])?;
            let token = credential::signed(&certificate, base, &signing)?;
            Ok(varied(answer(
                StatusCode::OK,
                "application/vc+jwt",
                Body::Text(token),
            )))
        }
    }
}

/// What would be handed on as proof is not made of what proves nothing any more.
fn refuse(certificate: &Certificate, refused: &[Status]) -> Result<(), Error> {
    if !refused.contains(&certificate.status) {
        return Ok(());
    }
    let (code, message) = match certificate.status {
        Status::Expired => ("certificate_expired", "The certificate has expired."),
        _ => ("certificate_revoked", "The certificate was revoked."),
    };
    Err(keys::refusal(StatusCode::GONE, code, message))
}

fn html(status: StatusCode, text: String) -> Result<Response, Error> {
    let mut response = answer(status, "text/html; charset=utf-8", Body::Text(text));
    let policy = HeaderValue::from_str(&page::policy()).map_err(Error::internal)?;
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    Ok(varied(response))
}

/// The same address answers differently to different clients.
fn varied(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}
