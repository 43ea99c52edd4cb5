//! Who is calling: bearer tokens of Supabase Auth, verified here before anything
//! else happens and then passed on to PostgREST, so that row-level security decides.

mod keys;
mod token;

use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};
use uuid::Uuid;

pub use keys::RefreshPolicy;
use keys::{KeyStore, VerificationKey};
use token::{Claims, Form};

use crate::{
    Config,
    error::{Error, TokenFault},
};

/// How far the clocks of issuer and verifier may differ.
const LEEWAY_SECONDS: u64 = 30;

/// Whom a verified token stands for.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The public API key: nobody in particular.
    Anonymous,
    /// The service key: the system itself.
    Service(Service),
    /// A signed-in person.
    User(Caller),
}

impl Identity {
    /// The person behind the token.
    ///
    /// # Errors
    /// 401 `sign_in_required` for the public key, 403 `user_required` for the service key.
    pub fn require_user(self) -> Result<Caller, Error> {
        match self {
            Self::Anonymous => Err(TokenFault::SignInRequired.into()),
            Self::Service(_) => Err(Error::UserRequired),
            Self::User(caller) => Ok(caller),
        }
    }

    /// The system itself.
    ///
    /// # Errors
    /// 401 `sign_in_required` for the public key, 403 `service_required` for a person.
    pub fn require_service(self) -> Result<Service, Error> {
        match self {
            Self::Anonymous => Err(TokenFault::SignInRequired.into()),
            Self::User(_) => Err(Error::ServiceRequired),
            Self::Service(service) => Ok(service),
        }
    }
}

/// The system itself, with the service key that proves it. Rules for clients do not hold for it: a type of its own, so that
/// it is asked for by name.
#[derive(Clone)]
pub struct Service {
    token: String,
}

impl Service {
    /// The key itself, fit for a header.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl std::fmt::Debug for Service {
    /// Leaves the key out, so that no log shows it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").finish_non_exhaustive()
    }
}

/// A signed-in person (role `authenticated`), with the token that proves it.
///
/// Only verification makes one, so whoever holds a `Caller` need not check again.
#[derive(Clone)]
pub struct Caller {
    user_id: Uuid,
    session_id: Option<Uuid>,
    token: String,
}

impl Caller {
    /// The person's id, as in `auth.users`.
    pub fn user_id(&self) -> Uuid {
        self.user_id
    }

    /// The session that the token belongs to, when it names one.
    pub fn session_id(&self) -> Option<Uuid> {
        self.session_id
    }

    /// The token itself: base64url characters and dots only, fit for a header.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl std::fmt::Debug for Caller {
    /// Leaves the token out, so that no log shows it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// Verifies tokens against the project's JWK set and, if set, its legacy secret.
pub struct Verifier {
    keys: KeyStore,
    secret: Option<DecodingKey>,
    issuer: String,
    audience: String,
}

impl Verifier {
    /// A verifier for the project; nothing is fetched before the first token.
    pub fn new(config: &Config, client: reqwest::Client, policy: RefreshPolicy) -> Self {
        Self {
            keys: KeyStore::new(config.jwks_url.clone(), client, policy),
            secret: config
                .jwt_secret
                .as_ref()
                .map(|secret| DecodingKey::from_secret(secret.as_bytes())),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
        }
    }

    /// Verifies the request's `Authorization` header.
    ///
    /// # Errors
    /// 401 with the code of [`TokenFault`]; 503 when the signing keys cannot be had.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Error> {
        let token = bearer(headers)?;
        let form = Form::parse(token)?;
        let claims = match form.algorithm {
            Algorithm::HS256 => match &self.secret {
                Some(key) => verified(token, key, Algorithm::HS256)?,
                // The public key may be a legacy token even where no secret is set.
                // Both answers refuse it; this one says what to do.
                None if form.claims_anonymous(token) => {
                    return Err(TokenFault::SignInRequired.into());
                }
                None => return Err(TokenFault::AlgorithmRefused.into()),
            },
            algorithm => {
                let kid = form.kid.as_deref().ok_or(TokenFault::KeyUnknown)?;
                let VerificationKey {
                    algorithm: own,
                    key,
                } = &*self.keys.find(kid).await?;
                // The key decides on the algorithm; the header may only agree.
                if algorithm != *own {
                    return Err(TokenFault::AlgorithmRefused.into());
                }
                verified(token, key, *own)?
            }
        };
        self.identity(token, claims).map_err(Error::from)
    }

    fn identity(&self, token: &str, claims: Claims) -> Result<Identity, TokenFault> {
        match claims.role.as_deref() {
            // API keys are tokens of the project as a whole: their issuer is
            // `supabase` and they name no audience.
            Some("anon") => return Ok(Identity::Anonymous),
            Some("service_role") => {
                return Ok(Identity::Service(Service {
                    token: token.to_owned(),
                }));
            }
            _ => {}
        }
        if claims.iss.as_deref() != Some(self.issuer.as_str()) {
            return Err(TokenFault::IssuerMismatch);
        }
        if !claims.aud.is_some_and(|aud| aud.includes(&self.audience)) {
            return Err(TokenFault::AudienceMismatch);
        }
        if claims.role.as_deref() != Some("authenticated") {
            return Err(TokenFault::Malformed);
        }
        let user_id = claims
            .sub
            .and_then(|sub| Uuid::try_parse(&sub).ok())
            .ok_or(TokenFault::Malformed)?;
        Ok(Identity::User(Caller {
            user_id,
            session_id: claims.session_id.and_then(|id| Uuid::try_parse(&id).ok()),
            token: token.to_owned(),
        }))
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, TokenFault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenFault::SignInRequired)?;
    if values.next().is_some() {
        return Err(TokenFault::Malformed);
    }
    let value = value.to_str().map_err(|_| TokenFault::Malformed)?.trim();
    if value.is_empty() {
        return Err(TokenFault::SignInRequired);
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            // supabase-js sends its API key here when nobody is signed in; the
            // newer keys are no tokens at all.
            if token.starts_with("sb_") {
                Err(TokenFault::SignInRequired)
            } else {
                Ok(token)
            }
        }
        _ => Err(TokenFault::Malformed),
    }
}

/// Checks signature, expiry and start; issuer and audience depend on the role.
fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, TokenFault> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.validate_aud = false;
    decode::<Claims>(token, key, &validation)
        .map(|data| data.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenFault::Expired,
            ErrorKind::ImmatureSignature => TokenFault::NotYetValid,
            ErrorKind::InvalidSignature => TokenFault::SignatureInvalid,
            ErrorKind::InvalidAlgorithm => TokenFault::AlgorithmRefused,
            _ => TokenFault::Malformed,
        })
}
