//! Settings, read once from the environment when a function starts.

use std::{collections::BTreeMap, env, time::Duration};

use url::Url;

/// The shortest legacy signing secret that is accepted, in bytes (RFC 7518 §3.2).
const MINIMUM_SECRET_BYTES: usize = 32;

/// Everything a function needs to know about the project it serves.
#[derive(Clone)]
pub struct Config {
    /// The project's address without a trailing slash, such as `https://abc.supabase.co`.
    pub supabase_url: String,
    /// The public API key that the gateway asks of every call.
    pub anon_key: String,
    /// Where the public signing keys are served as a JWK set.
    pub jwks_url: String,
    /// The legacy HS256 secret; without it no HS256 token is accepted.
    pub jwt_secret: Option<String>,
    /// The `iss` that tokens must carry.
    pub issuer: String,
    /// The `aud` that tokens must carry.
    pub audience: String,
    /// How long establishing a connection may take.
    pub connect_timeout: Duration,
    /// How long one upstream call may take, its retries included.
    pub upstream_timeout: Duration,
    /// What the function asks for by name ([`crate::Function::SETTINGS`]) and is set.
    pub settings: BTreeMap<&'static str, String>,
}

/// Every setting that is missing or wrong, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is incomplete: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads the process environment.
    ///
    /// # Errors
    /// [`ConfigError`] names all faults at once.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    /// Adds the settings of these names that the process environment holds.
    #[must_use]
    pub fn with_settings(mut self, names: &[&'static str]) -> Self {
        let reader = Reader {
            lookup: |name: &str| env::var(name).ok(),
            faults: Vec::new(),
        };
        self.settings.extend(
            names
                .iter()
                .filter_map(|name| Some((*name, reader.value(name)?))),
        );
        self
    }

    /// Reads settings through `lookup`, which answers a variable's value by name.
    ///
    /// # Errors
    /// [`ConfigError`] names all faults at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            lookup,
            faults: Vec::new(),
        };
        let supabase_url = reader.required_url("SUPABASE_URL");
        let auth_url = format!("{supabase_url}/auth/v1");
        let config = Self {
            anon_key: reader.key(&["ANON_KEY", "SUPABASE_ANON_KEY"]),
            jwks_url: reader.url_or(
                "SUPABASE_JWKS_URL",
                &format!("{auth_url}/.well-known/jwks.json"),
            ),
            jwt_secret: reader.secret(&["SUPABASE_JWT_SECRET", "JWT_SECRET"]),
            issuer: reader.value("JWT_ISSUER").unwrap_or(auth_url),
            audience: reader
                .value("JWT_AUDIENCE")
                .unwrap_or_else(|| "authenticated".to_owned()),
            connect_timeout: reader.milliseconds("UPSTREAM_CONNECT_TIMEOUT_MS", 2_000),
            upstream_timeout: reader.milliseconds("UPSTREAM_TIMEOUT_MS", 8_000),
            settings: BTreeMap::new(),
            supabase_url,
        };
        if reader.faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(reader.faults))
        }
    }
}

struct Reader<L> {
    lookup: L,
    faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// An empty variable counts as an absent one: templates often leave them so.
    fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.value(name))
    }

    fn required_url(&mut self, name: &str) -> String {
        match self.value(name) {
            Some(value) => self.checked_url(name, &value),
            None => {
                self.faults.push(format!(
                    "{name} is not set; give the project's address, such as https://abc.supabase.co"
                ));
                String::new()
            }
        }
    }

    fn url_or(&mut self, name: &str, default: &str) -> String {
        match self.value(name) {
            Some(value) => self.checked_url(name, &value),
            None => default.to_owned(),
        }
    }

    fn checked_url(&mut self, name: &str, value: &str) -> String {
        let usable = Url::parse(value).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !usable {
            self.faults.push(format!(
                "{name} must be an http or https address without user, query or fragment"
            ));
        }
        value.trim_end_matches('/').to_owned()
    }

    fn key(&mut self, names: &[&str]) -> String {
        let Some(value) = self.first(names) else {
            self.faults.push(format!(
                "{} is not set; give the project's public API key",
                names[0]
            ));
            return String::new();
        };
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.faults.push(format!(
                "{} may hold visible ASCII characters only, for it is sent as a header",
                names[0]
            ));
        }
        value
    }

    fn secret(&mut self, names: &[&str]) -> Option<String> {
        let value = self.first(names)?;
        if value.len() < MINIMUM_SECRET_BYTES {
            self.faults.push(format!(
                "{} must have at least {MINIMUM_SECRET_BYTES} bytes",
                names[0]
            ));
        }
        Some(value)
    }

    fn milliseconds(&mut self, name: &str, default: u64) -> Duration {
        let Some(value) = self.value(name) else {
            return Duration::from_millis(default);
        };
        match value.parse::<u64>() {
            Ok(milliseconds @ 1..=60_000) => Duration::from_millis(milliseconds),
            _ => {
                self.faults
                    .push(format!("{name} must be a whole number from 1 to 60000"));
                Duration::from_millis(default)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_follow_the_projects_address() {
        let config = read(&[
            ("SUPABASE_URL", "https://abc.supabase.co/"),
            ("SUPABASE_ANON_KEY", "anon"),
        ])
        .unwrap();
        assert_eq!(config.supabase_url, "https://abc.supabase.co");
        assert_eq!(config.issuer, "https://abc.supabase.co/auth/v1");
        assert_eq!(
            config.jwks_url,
            "https://abc.supabase.co/auth/v1/.well-known/jwks.json"
        );
        assert_eq!(config.audience, "authenticated");
        assert!(config.jwt_secret.is_none());
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let faults = read(&[
            ("SUPABASE_URL", "ftp://somewhere"),
            ("ANON_KEY", "two\nlines"),
            ("SUPABASE_JWKS_URL", "not an address"),
            ("JWT_SECRET", "short"),
            ("UPSTREAM_TIMEOUT_MS", "0"),
        ])
        .err()
        .unwrap()
        .0;
        assert_eq!(faults.len(), 5, "{faults:?}");
    }

    #[test]
    fn empty_counts_as_absent() {
        let faults = read(&[("SUPABASE_URL", " "), ("ANON_KEY", "")])
            .err()
            .unwrap()
            .0;
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn faults_do_not_repeat_secrets() {
        let error = read(&[
            ("SUPABASE_URL", "http://localhost"),
            ("ANON_KEY", "k"),
            ("JWT_SECRET", "hunter2"),
        ])
        .err()
        .unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }
}
