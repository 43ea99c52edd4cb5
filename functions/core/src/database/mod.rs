//! The PostgREST client: the `postgrest` crate builds requests, our own client
//! sends them with timeouts, and answers other than success become [`Error`]s.

mod fault;
mod retry;

use std::time::{Duration, Instant};

use postgrest::Postgrest;
use serde::Serialize;
use uuid::Uuid;

use crate::{Caller, Config, Error, auth::Service, http::Trace, upstream};
use retry::RetryBudget;

/// Lambda answers at most 6 MB; nothing larger could be passed on.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a call may be sent again when it failed for a passing reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Repeating changes nothing: reads, and writes under an idempotency key.
    Safe,
    /// A second arrival could act twice: one attempt only.
    Never,
}

/// The way to the database, shared by all requests.
pub(crate) struct Database {
    builder: Postgrest,
    client: reqwest::Client,
    timeout: Duration,
    budget: RetryBudget,
    anon_key: String,
}

/// The database as one person sees it, or as everybody does: every call carries that person's token or the public key,
/// so row-level security decides.
pub struct CallerDatabase<'a> {
    database: &'a Database,
    token: Option<&'a str>,
    trace: &'a Trace,
}

/// The database as the system itself sees it: row-level security does not hold for it. For jobs and deliveries, never for
/// what somebody asked for.
pub struct ServiceDatabase<'a>(CallerDatabase<'a>);

impl Database {
    pub fn new(config: &Config, client: reqwest::Client) -> Self {
        Self {
            builder: Postgrest::new(format!("{}/rest/v1", config.supabase_url))
                .insert_header("apikey", &config.anon_key),
            client,
            timeout: config.upstream_timeout,
            budget: RetryBudget::default(),
            anon_key: config.anon_key.clone(),
        }
    }

    pub fn as_caller<'a>(&'a self, caller: &'a Caller, trace: &'a Trace) -> CallerDatabase<'a> {
        CallerDatabase {
            database: self,
            token: Some(caller.token()),
            trace,
        }
    }

    pub fn as_anybody<'a>(&'a self, trace: &'a Trace) -> CallerDatabase<'a> {
        CallerDatabase {
            database: self,
            token: None,
            trace,
        }
    }

    pub fn as_service<'a>(&'a self, service: &'a Service, trace: &'a Trace) -> ServiceDatabase<'a> {
        ServiceDatabase(CallerDatabase {
            database: self,
            token: Some(service.token()),
            trace,
        })
    }

    /// As the role of the public key. The newer API keys are no tokens: the gateway turns the `apikey` header into one.
    fn with_public_key(&self, request: postgrest::Builder) -> postgrest::Builder {
        if self.anon_key.starts_with("sb_") {
            request
        } else {
            request.auth(&self.anon_key)
        }
    }

    /// Whether PostgREST answers and reaches its database. A refusal is an answer.
    pub async fn reachable(&self, trace: &Trace) -> Result<(), Error> {
        let request = self
            .builder
            .clone()
            .schema("lms")
            .from("courses")
            .select("id")
            .eq("id", Uuid::nil().to_string());
        match self
            .send(self.with_public_key(request), HEALTH_TIMEOUT, trace)
            .await
        {
            Err(error) if error.status().is_server_error() => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends what the builder built, and reads the answer.
    async fn send(
        &self,
        builder: postgrest::Builder,
        timeout: Duration,
        trace: &Trace,
    ) -> Result<Vec<u8>, Error> {
        let request = self.translated(builder, timeout, trace)?;
        let started = Instant::now();
        let outcome = async {
            let response = self
                .client
                .execute(request)
                .await
                .map_err(upstream::failure)?;
            let status = response.status();
            let retry_after = response.headers().get("retry-after").cloned();
            let body = upstream::read(response, LARGEST_ANSWER).await?;
            if status.is_success() {
                Ok(body)
            } else {
                Err(fault::decode(status, retry_after.as_ref(), &body))
            }
        }
        .await;
        trace.add_upstream(started.elapsed());
        outcome
    }

    /// The builder speaks an older HTTP client's types: carries them over part by part. The audit trail keeps which
    /// function wrote, and for which request.
    fn translated(
        &self,
        builder: postgrest::Builder,
        timeout: Duration,
        trace: &Trace,
    ) -> Result<reqwest::Request, Error> {
        let built = builder.build().build().map_err(Error::internal)?;
        let method = http::Method::from_bytes(built.method().as_str().as_bytes())
            .map_err(Error::internal)?;
        let mut request = self
            .client
            .request(method, built.url().as_str())
            .header("x-client-info", trace.sender())
            .header("x-request-id", trace.request_id());
        for (name, value) in built.headers() {
            request = request.header(name.as_str(), value.as_bytes());
        }
        if let Some(body) = built.body().and_then(|body| body.as_bytes()) {
            request = request.body(body.to_vec());
        }
        request.timeout(timeout).build().map_err(Error::internal)
    }
}

impl ServiceDatabase<'_> {
    /// As [`CallerDatabase::rpc`].
    ///
    /// # Errors
    /// As [`CallerDatabase::rpc`].
    pub async fn rpc(
        &self,
        schema: &'static str,
        function: &'static str,
        arguments: &impl Serialize,
        repeat: Repeat,
    ) -> Result<Vec<u8>, Error> {
        self.0.rpc(schema, function, arguments, repeat).await
    }
}

impl CallerDatabase<'_> {
    /// Calls the function `schema.function` with named arguments, and answers its
    /// result as JSON, byte for byte as PostgREST sent it.
    ///
    /// `schema` and `function` are names from our own code, never input.
    ///
    /// # Errors
    /// What the database refused, as [`Error`] classes it; 503 or 504 when it cannot
    /// be reached or does not answer in time.
    pub async fn rpc(
        &self,
        schema: &'static str,
        function: &'static str,
        arguments: &impl Serialize,
        repeat: Repeat,
    ) -> Result<Vec<u8>, Error> {
        let arguments = serde_json::to_string(arguments).map_err(Error::internal)?;
        let Database {
            builder,
            timeout,
            budget,
            ..
        } = self.database;
        let deadline = Instant::now() + *timeout;
        let mut attempt = 0;
        loop {
            // The caller's token holds base64url characters and dots only, so the
            // builder, which panics on what no header can carry, takes it.
            let request = builder
                .clone()
                .schema(schema)
                .rpc(function, arguments.as_str());
            let request = match self.token {
                Some(token) => request.auth(token),
                None => self.database.with_public_key(request),
            };
            let remaining = deadline.saturating_duration_since(Instant::now());
            let outcome = self.database.send(request, remaining, self.trace).await;
            match outcome {
                Err(Error::Unavailable { cause }) if repeat == Repeat::Safe => {
                    let Some(pause) = budget.spend(attempt, deadline) else {
                        return Err(Error::Unavailable { cause });
                    };
                    tracing::warn!(cause, function, attempt, "repeating an upstream call");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                outcome => {
                    if outcome.is_ok() {
                        budget.earn();
                    }
                    return outcome;
                }
            }
        }
    }
}
