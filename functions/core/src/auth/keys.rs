//! The project's public keys: fetched when first needed, kept, and fetched again
//! when an unknown key id turns up, but never more often than the policy allows,
//! so that made-up key ids cannot turn us against the key server.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    error::{Error, TokenFault},
    upstream,
};

const LARGEST_KEY_SET: usize = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// RFC 7518 §3.3 asks for 2048 bits at least.
const SMALLEST_RSA_MODULUS: usize = 2048 / 8;

/// When keys are fetched again.
#[derive(Debug, Clone, Copy)]
pub struct RefreshPolicy {
    /// Keys younger than this are used without asking.
    pub fresh_for: Duration,
    /// Keys younger than this are still used while the key server cannot be reached.
    pub stale_for: Duration,
    /// The least time between two fetches for unknown key ids.
    pub unknown_key_interval: Duration,
    /// The least time between two fetches after a failed one.
    pub failure_interval: Duration,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_secs(600),
            stale_for: Duration::from_secs(3600),
            unknown_key_interval: Duration::from_secs(15),
            failure_interval: Duration::from_secs(1),
        }
    }
}

/// A public key with the one algorithm it may be used with.
pub(super) struct VerificationKey {
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

#[derive(Default)]
struct KeySet {
    keys: HashMap<String, Arc<VerificationKey>>,
    fetched: Option<Instant>,
}

pub(super) struct KeyStore {
    url: String,
    client: reqwest::Client,
    policy: RefreshPolicy,
    current: RwLock<Arc<KeySet>>,
    /// Held while fetching, so that one request fetches and the others wait for it;
    /// the value is the time of the last attempt and whether it succeeded.
    last_attempt: Mutex<Option<(Instant, bool)>>,
}

impl KeyStore {
    pub fn new(url: String, client: reqwest::Client, policy: RefreshPolicy) -> Self {
        Self {
            url,
            client,
            policy,
            current: RwLock::default(),
            last_attempt: Mutex::new(None),
        }
    }

    /// The key with this id.
    ///
    /// # Errors
    /// 401 when there is none, 503 when no usable key set can be had.
    pub async fn find(&self, kid: &str) -> Result<Arc<VerificationKey>, Error> {
        let known = self.snapshot();
        if younger(known.fetched, self.policy.fresh_for)
            && let Some(key) = known.keys.get(kid)
        {
            return Ok(Arc::clone(key));
        }
        self.refresh(kid).await;
        let known = self.snapshot();
        if !younger(known.fetched, self.policy.stale_for) {
            return Err(Error::unavailable("the signing keys cannot be fetched"));
        }
        known
            .keys
            .get(kid)
            .cloned()
            .ok_or_else(|| TokenFault::KeyUnknown.into())
    }

    fn snapshot(&self) -> Arc<KeySet> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    async fn refresh(&self, kid: &str) {
        let known = self.snapshot();
        let will_do = younger(known.fetched, self.policy.stale_for) && known.keys.contains_key(kid);
        let mut last_attempt = if will_do {
            // Somebody else is fetching already: no need to wait for a slow key server.
            match self.last_attempt.try_lock() {
                Ok(guard) => guard,
                Err(_) => return,
            }
        } else {
            self.last_attempt.lock().await
        };
        // Whoever held the lock may have brought what we wait for.
        let known = self.snapshot();
        if younger(known.fetched, self.policy.fresh_for) && known.keys.contains_key(kid) {
            return;
        }
        if let Some((at, succeeded)) = *last_attempt {
            let interval = match (succeeded, known.keys.contains_key(kid)) {
                (true, false) => self.policy.unknown_key_interval,
                (true, true) => Duration::ZERO,
                (false, _) => self.policy.failure_interval,
            };
            if at.elapsed() < interval {
                return;
            }
        }
        let fetched = self.fetch().await;
        *last_attempt = Some((Instant::now(), fetched.is_ok()));
        match fetched {
            Ok(keys) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(KeySet {
                    keys,
                    fetched: Some(Instant::now()),
                });
            }
            Err(error) => tracing::warn!(%error, "cannot fetch the signing keys"),
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<VerificationKey>>, Error> {
        let response = self
            .client
            .get(&self.url)
            .timeout(FETCH_TIMEOUT)
            .send()
            .await
            .map_err(upstream::failure)?;
        if !response.status().is_success() {
            return Err(Error::unavailable(format!(
                "the key server answered {}",
                response.status()
            )));
        }
        let body = upstream::read(response, LARGEST_KEY_SET).await?;
        parse(&body).ok_or_else(|| Error::unavailable("the key server's answer is not a JWK set"))
    }
}

fn younger(fetched: Option<Instant>, than: Duration) -> bool {
    fetched.is_some_and(|at| at.elapsed() < than)
}

/// The usable keys of a JWK set. Keys of other kinds are passed over, so that one
/// that we do not know cannot lock everybody out.
fn parse(body: &[u8]) -> Option<HashMap<String, Arc<VerificationKey>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).ok()?;
    Some(
        set.keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|jwk| {
                let kid = jwk.common.key_id.clone()?;
                Some((kid, Arc::new(usable(&jwk)?)))
            })
            .collect(),
    )
}

/// A symmetric key never passes: a set that everybody can read makes it public.
fn usable(jwk: &Jwk) -> Option<VerificationKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            if modulus.len() < SMALLEST_RSA_MODULUS {
                return None;
            }
            Algorithm::RS256
        }
        _ => return None,
    };
    let declared = &jwk.common;
    let agrees = declared
        .key_algorithm
        .is_none_or(|declared| declared == KeyAlgorithm::from(algorithm))
        && declared
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && declared
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !agrees {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(VerificationKey { algorithm, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn accepted(key: Value) -> bool {
        let body = json!({"keys": [key]}).to_string();
        !parse(body.as_bytes()).unwrap().is_empty()
    }

    #[test]
    fn a_key_must_be_public_and_meant_for_signatures() {
        assert!(accepted(
            json!({"kty":"EC","crv":"P-256","kid":"a","alg":"ES256","use":"sig","x":X,"y":Y})
        ));
        assert!(accepted(
            json!({"kty":"EC","crv":"P-256","kid":"a","key_ops":["verify"],"x":X,"y":Y})
        ));
        for key in [
            json!({"kty":"EC","crv":"P-256","x":X,"y":Y}),
            json!({"kty":"EC","crv":"P-256","kid":"a","alg":"HS256","x":X,"y":Y}),
            json!({"kty":"EC","crv":"P-256","kid":"a","use":"enc","x":X,"y":Y}),
            json!({"kty":"EC","crv":"P-256","kid":"a","key_ops":["sign"],"x":X,"y":Y}),
            json!({"kty":"EC","crv":"P-384","kid":"a","x":X,"y":Y}),
            json!({"kty":"oct","kid":"a","alg":"HS256","k":"c2VjcmV0"}),
            json!({"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}),
            json!({"kty":"made up","kid":"a"}),
            json!(null),
        ] {
            assert!(!accepted(key.clone()), "{key}");
        }
    }

    #[test]
    fn an_unknown_kind_does_not_spoil_the_set() {
        let body = json!({"keys": [
            {"kty":"made up","kid":"b"},
            {"kty":"EC","crv":"P-256","kid":"a","x":X,"y":Y},
        ]});
        assert_eq!(parse(body.to_string().as_bytes()).unwrap().len(), 1);
    }
}
