//! In which form a certificate is asked for. Pure.

use http::{HeaderMap, header::ACCEPT};
use lyceum_core::http::FieldValue;
use serde_json::Value;

/// A form that a certificate can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page for people.
    Html,
    /// A document to print and to file.
    Pdf,
    /// What the database says, for programs.
    Json,
    /// The signed credential.
    Jwt,
    /// Whether the signed credential was revoked, for those who hold one.
    Status,
}

impl FieldValue for Format {
    const EXPECTATION: &'static str = "must be html, pdf, json, jwt or status";

    fn read(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "html" => Some(Self::Html),
            "pdf" => Some(Self::Pdf),
            "json" => Some(Self::Json),
            "jwt" => Some(Self::Jwt),
            "status" => Some(Self::Status),
            _ => None,
        }
    }
}

/// The form that the `Accept` header likes best; a page, where it says nothing that is known here.
pub(crate) fn accepted(headers: &HeaderMap) -> Format {
    let mut best = (0.0, Format::Html);
    let values = headers.get_all(ACCEPT).iter();
    for entry in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let mut parts = entry.split(';').map(str::trim);
        let format = match parts
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "text/html" => Format::Html,
            "application/pdf" => Format::Pdf,
            "application/json" => Format::Json,
            "application/vc+jwt" | "application/jwt" => Format::Jwt,
            _ => continue,
        };
        let quality = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_form_is_chosen() {
        for (accept, format) in [
            ("", Format::Html),
            ("*/*", Format::Html),
            ("application/pdf", Format::Pdf),
            ("application/vc+jwt", Format::Jwt),
            ("Application/JWT", Format::Jwt),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Html,
            ),
            ("application/json;q=0.5, application/pdf;q=0.9", Format::Pdf),
            ("application/json;q=0, image/png", Format::Html),
            ("application/json;q=x", Format::Html),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(accepted(&headers), format, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()), Format::Html);
    }
}
