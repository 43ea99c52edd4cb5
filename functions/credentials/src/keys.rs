//! The keys that credentials are signed and verified with: the private one and the address from the environment, public
//! ones for everybody.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use jsonwebtoken::EncodingKey;
use lambda_http::Body;
use lyceum_core::{Error, Exchange, Response, error::Rule, http::answer};
use p256::{
    PublicKey, SecretKey, elliptic_curve::sec1::ToEncodedPoint as _, pkcs8::DecodePrivateKey as _,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// A public key as RFC 7517 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `EC`.
    kty: String,
    /// `P-256`.
    crv: String,
    /// Coordinate, base64url.
    x: String,
    /// Coordinate, base64url.
    y: String,
    /// `ES256`.
    #[serde(default)]
    alg: String,
    /// `sig`.
    #[serde(default, rename = "use")]
    purpose: String,
    /// The address of this key.
    #[serde(default)]
    kid: String,
}

/// A set of public keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JwkSet {
    /// All keys that credentials of this address may be signed with, the current one first.
    keys: Vec<Jwk>,
}

/// How credentials are signed here.
pub(crate) struct Signing {
    /// Signs.
    pub key: EncodingKey,
    /// The current public key, then the former ones.
    pub public: Vec<Jwk>,
}

/// The address under which this function is reached from outside, without a slash at its end.
pub(crate) fn address<'a>(exchange: &'a Exchange<'_>) -> Result<&'a str, Error> {
    exchange
        .setting("CREDENTIALS_URL")
        .map(|url| url.trim_end_matches('/'))
        .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
        .ok_or_else(|| Error::internal("CREDENTIALS_URL is not set to the function's own address"))
}

/// The signing key, or none where none is set.
pub(crate) fn signing(exchange: &Exchange<'_>) -> Result<Option<Signing>, Error> {
    let Some(pem) = exchange.setting("CREDENTIALS_SIGNING_KEY") else {
        return Ok(None);
    };
    read(
        address(exchange)?,
        pem,
        exchange.setting("CREDENTIALS_FORMER_KEYS"),
    )
    .map(Some)
}

fn read(address: &str, pem: &str, former: Option<&str>) -> Result<Signing, Error> {
    // Where a variable cannot hold lines, they are written as \n. What is wrong with a key is not logged.
    let pem = pem.replace("\\n", "\n");
    let unusable = || Error::internal("CREDENTIALS_SIGNING_KEY is no P-256 key in PKCS#8 PEM");
    let secret = SecretKey::from_pkcs8_pem(&pem).map_err(|_| unusable())?;
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| unusable())?;
    let mut public = vec![Jwk::of(&secret.public_key(), address)?];
    if let Some(former) = former {
        let set: JwkSet = serde_json::from_str(former)
            .map_err(|_| Error::internal("CREDENTIALS_FORMER_KEYS is no JWK set of P-256 keys"))?;
        // Named anew, and only the public half of each: whatever else was pasted here is not passed on.
        public.extend(set.keys.into_iter().map(|key| key.named(address)));
    }
    Ok(Signing { key, public })
}

impl Jwk {
    fn of(key: &PublicKey, address: &str) -> Result<Self, Error> {
        let point = key.to_encoded_point(false);
        let (Some(x), Some(y)) = (point.x(), point.y()) else {
            return Err(Error::internal("the signing key has no affine coordinates"));
        };
        Ok(Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
            alg: String::new(),
            purpose: String::new(),
            kid: String::new(),
        }
        .named(address))
    }

    /// Under its address, which ends in its RFC 7638 thumbprint: the same key is known by the same name, always.
    fn named(mut self, address: &str) -> Self {
        self.kid = format!("{address}/keys/{}", self.thumbprint());
        "ES256".clone_into(&mut self.alg);
        "sig".clone_into(&mut self.purpose);
        self
    }

    fn thumbprint(&self) -> String {
        let text = format!(
            r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
            self.crv, self.kty, self.x, self.y
        );
        URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

/// Why something that needs the key cannot be had.
pub(crate) fn not_configured() -> Error {
    refusal(
        StatusCode::NOT_FOUND,
        "credentials_not_signed",
        "This installation signs no credentials.",
    )
}

/// A refusal of this function's own.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Error {
    Error::Rule(Box::new(Rule {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        hint: None,
        details: None,
        details_member: "details",
        retry_after: None,
    }))
}

/// The public keys that signed credentials are verified with, former ones too.
#[utoipa::path(
    get,
    path = "/credentials/jwks.json",
    tag = "credentials",
    responses(
        (status = 200, description = "A JWK set", body = JwkSet, content_type = "application/jwk-set+json"),
    )
)]
pub(crate) fn jwks(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let keys = signing(exchange)?
        .map(|signing| signing.public)
        .unwrap_or_default();
    public_json("application/jwk-set+json", &JwkSet { keys })
}

/// One of them, at the address that is its `kid`.
#[utoipa::path(
    get,
    path = "/credentials/keys/{thumbprint}",
    tag = "credentials",
    params(("thumbprint" = String, Path, description = "RFC 7638")),
    responses(
        (status = 200, description = "A JWK", body = Jwk, content_type = "application/jwk+json"),
        (status = 404, description = "No such key", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) fn key(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let wanted = exchange.token()?;
    let key = signing(exchange)?
        .into_iter()
        .flat_map(|signing| signing.public)
        .find(|key| key.thumbprint() == wanted)
        .ok_or(Error::RouteNotFound)?;
    public_json("application/jwk+json", &key)
}

fn public_json(content_type: &'static str, value: &impl Serialize) -> Result<Response, Error> {
    let text = serde_json::to_string(value).map_err(Error::internal)?;
    let mut response = answer(StatusCode::OK, content_type, Body::Text(text));
    // Short, so that a key that was taken back is soon forgotten.
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_rfc_7638() {
        // The private key of RFC 7515, A.3, and its thumbprint as other libraries compute it.
        let key = Jwk {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".to_owned(),
            y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".to_owned(),
            alg: String::new(),
            purpose: String::new(),
            kid: "whatever".to_owned(),
        };
        assert_eq!(
            key.thumbprint(),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
        assert_eq!(
            key.named("https://lms.example/credentials").kid(),
            "https://lms.example/credentials/keys/oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
    }

    #[test]
    fn what_is_no_key_is_not_repeated() {
        for pem in [
            "",
            "secret",
            "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n",
        ] {
            let error = read("https://lms.example", pem, None).err().unwrap();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
