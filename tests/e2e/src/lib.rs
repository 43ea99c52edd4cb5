//! What the end-to-end tests share: a throw-away stack per test file, and people who talk to it over HTTP.
//!
//! The tests see what a client sees. They look into the database only to compare what it holds with what was answered.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// The password of every person of the demo.
pub const DEMO_PASSWORD: &str = "lyceum-demo";

/// The operators' own check: lists enrolments whose counters differ from the facts.
pub const CHECK_PROGRESS: &str = include_str!("../../../sql/check-progress.sql");

/// The operators' own check: lists courses whose rating differs from their reviews.
pub const CHECK_RATINGS: &str = include_str!("../../../sql/check-ratings.sql");

/// The operators' own check: lists path enrolments whose counters differ from the facts.
pub const CHECK_PATHS: &str = include_str!("../../../sql/check-paths.sql");

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `lyceum` program that `make test` built.
#[must_use]
pub fn program() -> PathBuf {
    std::env::var_os("LYCEUM_BIN").map_or_else(
        || {
            std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| root().join("target"), PathBuf::from)
                .join("debug/lyceum")
        },
        PathBuf::from,
    )
}

/// A throw-away stack; it ends with the process that started it.
#[derive(Debug)]
pub struct Sandbox {
    addresses: Value,
    http: Client,
    // Closing its standard input ends the sandbox; the system does that when this process ends, however it ends.
    _stdin: ChildStdin,
    child: Child,
}

/// What a sandbox consists of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Run the Lambda functions.
    pub functions: bool,
    /// Load the demo.
    pub seed: bool,
}

impl Sandbox {
    /// Starts a sandbox and waits until everything in it answers.
    ///
    /// # Errors
    /// When the program is missing or a part does not start; its words are in the error.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_with(options, &[])
    }

    /// As [`Sandbox::start`], with settings of functions in its environment.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub fn start_with(options: Options, settings: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(program());
        command
            .arg("sandbox")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if !options.functions {
            command.arg("--no-functions");
        }
        if options.seed {
            command.arg("--seed");
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program().display()))?;
        let stdin = child
            .stdin
            .take()
            .context("the sandbox has no standard input")?;
        let stdout = child
            .stdout
            .take()
            .context("the sandbox has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            bail!(
                "the sandbox did not start (its reason is above): {:?}",
                child.wait()?
            );
        }
        Ok(Self {
            addresses: serde_json::from_str(&line)?,
            http: http_client(),
            _stdin: stdin,
            child,
        })
    }

    /// One of the values that `lyceum sandbox` prints, such as `API_URL`.
    ///
    /// # Panics
    /// When there is no such value.
    #[must_use]
    pub fn address(&self, name: &str) -> &str {
        self.addresses[name]
            .as_str()
            .unwrap_or_else(|| panic!("the sandbox prints no {name}"))
    }

    /// The process in which its gateway and its stand-ins run.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A connection to the database as the role that owns the project's objects.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) =
            tokio_postgres::connect(self.address("DB_URL"), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Nobody in particular: the anon key alone.
    #[must_use]
    pub fn anonymous(&self) -> Person {
        self.bearer(Uuid::nil(), self.address("ANON_KEY"))
    }

    /// The service role.
    #[must_use]
    pub fn service(&self) -> Person {
        let key = self.address("SERVICE_ROLE_KEY");
        Person {
            api_key: key.to_owned(),
            ..self.bearer(Uuid::nil(), key)
        }
    }

    /// Whoever sends this bearer token.
    #[must_use]
    pub fn bearer(&self, id: Uuid, token: &str) -> Person {
        Person {
            id,
            token: token.to_owned(),
            api_key: self.address("ANON_KEY").to_owned(),
            api_url: self.address("API_URL").to_owned(),
            http: self.http.clone(),
        }
    }

    /// Signs in.
    ///
    /// # Errors
    /// When the address or the password is wrong.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Person> {
        let answer = self
            .anonymous()
            .post(
                "/auth/v1/token?grant_type=password",
                &json!({ "email": email, "password": password }),
            )
            .await?;
        let token = answer.body["access_token"]
            .as_str()
            .with_context(|| format!("no sign-in: {answer:?}"))?;
        let id = answer.body["user"]["id"]
            .as_str()
            .context("a session names its user")?
            .parse()?;
        Ok(self.bearer(id, token))
    }

    /// Creates a login without a password and a session token for it: quicker than a sign-up where a test needs many.
    ///
    /// # Errors
    /// When the auth service refuses.
    pub async fn new_person(&self, email: &str) -> Result<Person> {
        let created = self
            .service()
            .post(
                "/auth/v1/admin/users",
                &json!({ "email": email, "email_confirm": true }),
            )
            .await?;
        let id: Uuid = created.body["id"]
            .as_str()
            .with_context(|| format!("no new login: {created:?}"))?
            .parse()?;
        Ok(self.bearer(
            id,
            &self.token(&json!({ "sub": id, "role": "authenticated" }))?,
        ))
    }

    /// A token signed with the legacy secret: an hour long and for this project, unless the claims say otherwise.
    ///
    /// # Errors
    /// When the claims cannot be signed.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        let mut all = json!({
            "iss": format!("{}/auth/v1", self.address("API_URL")), "aud": "authenticated", "iat": now, "exp": now + 3600,
        });
        for (name, value) in claims.as_object().context("claims are an object")? {
            all[name] = value.clone();
        }
        let key = jsonwebtoken::EncodingKey::from_secret(self.address("JWT_SECRET").as_bytes());
        Ok(jsonwebtoken::encode(
            &jsonwebtoken::Header::default(),
            &all,
            &key,
        )?)
    }
}

fn http_client() -> Client {
    // Fails when another test of this process has installed it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection belongs to the runtime of the test that opened it, so none is kept for the next.
    Client::builder()
        .timeout(std::time::Duration::from_secs(60))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap_or_default()
}

/// The sandbox of a test file, started by whichever of its tests comes first.
///
/// # Panics
/// When it does not start.
pub fn shared(cell: &'static OnceLock<Sandbox>, options: Options) -> &'static Sandbox {
    cell.get_or_init(|| Sandbox::start(options).unwrap_or_else(|error| panic!("{error:#}")))
}

/// Somebody who calls the stack.
#[derive(Debug, Clone)]
pub struct Person {
    /// The id of the login.
    pub id: Uuid,
    /// The bearer token.
    pub token: String,
    api_key: String,
    api_url: String,
    http: Client,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; a JSON string where it was not JSON, null where there was none.
    pub body: Value,
}

impl Answer {
    /// Our stable error code, or PostgreSQL's.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The rows of a list.
    ///
    /// # Panics
    /// When the body is no list.
    #[must_use]
    pub fn rows(&self) -> &[Value] {
        self.body
            .as_array()
            .unwrap_or_else(|| panic!("a list was expected: {self:?}"))
    }
}

impl Person {
    /// Calls any path of the gateway with extra headers.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.api_url))
            .header("apikey", &self.api_key)
            .bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// GET with the schema `lms`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path, &[("accept-profile", "lms")], None)
            .await
    }

    /// POST with the schema `lms`; an inserted row is returned.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let headers = [
            ("content-profile", "lms"),
            ("prefer", "return=representation"),
        ];
        self.call(Method::POST, path, &headers, Some(body)).await
    }

    /// PATCH with the schema `lms`; changed rows are returned.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        let headers = [
            ("content-profile", "lms"),
            ("prefer", "return=representation"),
        ];
        self.call(Method::PATCH, path, &headers, Some(body)).await
    }

    /// DELETE with the schema `lms`; removed rows are returned.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        let headers = [
            ("content-profile", "lms"),
            ("prefer", "return=representation"),
        ];
        self.call(Method::DELETE, path, &headers, None).await
    }

    /// Calls a function of the schema `lms`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn rpc(&self, function: &str, arguments: &Value) -> Result<Answer> {
        self.post(&format!("/rest/v1/rpc/{function}"), arguments)
            .await
    }

    /// Upserts progress as the seeds' web clients do: no enrolment id, no conflict target.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn upsert_progress(&self, lesson: &str, percentage: u32) -> Result<Answer> {
        let body = json!({
            "user_id": self.id, "lesson_id": lesson, "progress_percentage": percentage, "updated_at": chrono::Utc::now(),
        });
        let headers = [
            ("content-profile", "lms"),
            (
                "prefer",
                "resolution=merge-duplicates,return=representation",
            ),
        ];
        self.call(
            Method::POST,
            "/rest/v1/lesson_progress",
            &headers,
            Some(&body),
        )
        .await
    }
}

/// Sends a request and reads its answer.
///
/// # Errors
/// When no answer comes.
pub async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}
