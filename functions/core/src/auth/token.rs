//! The form of a token, before any key is looked at. Pure.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use crate::error::TokenFault;

/// Longer tokens are refused unread. Supabase's have one or two thousand bytes.
const LONGEST_TOKEN: usize = 8 * 1024;
const LONGEST_KEY_ID: usize = 256;

/// What a token says of itself in its header.
#[derive(Debug)]
pub(super) struct Form {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Form {
    /// Reads the header of a token in compact form.
    pub fn parse(token: &str) -> Result<Self, TokenFault> {
        let fits = token.len() <= LONGEST_TOKEN
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        let mut parts = token.split('.');
        let (true, Some(header), Some(_), Some(_), None) =
            (fits, parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let header: Header = decoded(header).ok_or(TokenFault::Malformed)?;
        // RFC 7515 §4.1.11: extensions that are not understood must be refused.
        if header.crit.is_some() {
            return Err(TokenFault::Malformed);
        }
        if header
            .kid
            .as_ref()
            .is_some_and(|kid| kid.len() > LONGEST_KEY_ID)
        {
            return Err(TokenFault::KeyUnknown);
        }
        let algorithm = match header.alg.as_str() {
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            "HS256" => Algorithm::HS256,
            _ => return Err(TokenFault::AlgorithmRefused),
        };
        Ok(Self {
            algorithm,
            kid: header.kid,
        })
    }

    /// Whether the token, unverified, says it is the public API key.
    pub fn claims_anonymous(&self, token: &str) -> bool {
        token
            .split('.')
            .nth(1)
            .and_then(decoded::<Claims>)
            .is_some_and(|claims| claims.role.as_deref() == Some("anon"))
    }
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The claims that matter here; others are left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub sub: Option<String>,
    pub role: Option<String>,
    pub session_id: Option<String>,
    pub iss: Option<String>,
    pub aud: Option<Audience>,
}

/// RFC 7519 §4.1.3: one audience or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub fn includes(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Several(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_header(header: &str) -> Result<Form, TokenFault> {
        Form::parse(&format!(
            "{}.e30.c2ln",
            BASE64_URL_SAFE_NO_PAD.encode(header)
        ))
    }

    #[test]
    fn only_three_algorithms_exist() {
        for (header, expected) in [
            (r#"{"alg":"none"}"#, TokenFault::AlgorithmRefused),
            (r#"{"alg":"None"}"#, TokenFault::AlgorithmRefused),
            (r#"{"alg":"ES384"}"#, TokenFault::AlgorithmRefused),
            (r#"{"alg":"HS512"}"#, TokenFault::AlgorithmRefused),
            (r#"{}"#, TokenFault::Malformed),
            (r#"{"alg":1}"#, TokenFault::Malformed),
            (r#"{"alg":"ES256","alg":"HS256"}"#, TokenFault::Malformed),
            (
                r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}"#,
                TokenFault::Malformed,
            ),
        ] {
            assert_eq!(with_header(header).unwrap_err(), expected, "{header}");
        }
        let form = with_header(r#"{"alg":"ES256","kid":"k"}"#).unwrap();
        assert_eq!(form.algorithm, Algorithm::ES256);
        assert_eq!(form.kid.as_deref(), Some("k"));
    }

    #[test]
    fn parts_and_length_are_checked() {
        let long = format!("e30.e30.{}", "a".repeat(LONGEST_TOKEN));
        for token in [
            "",
            ".",
            "..",
            "a.b",
            "e30.e30.e30.e30",
            "e30.e30.\u{e9}",
            &long,
        ] {
            assert_eq!(Form::parse(token).unwrap_err(), TokenFault::Malformed);
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(token in ".{0,200}") {
            let _ = Form::parse(&token);
        }

        #[test]
        fn what_is_accepted_fits_a_header(token in "[ -~]{0,40}\\.[ -~]{0,40}\\.[ -~]{0,40}") {
            if Form::parse(&token).is_ok() {
                prop_assert!(http::HeaderValue::from_str(&token).is_ok());
                prop_assert!(!token.contains(' '));
            }
        }
    }
}
