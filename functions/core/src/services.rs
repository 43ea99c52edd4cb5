//! What a function keeps between requests: one client, one key cache, one database.

use std::collections::BTreeMap;

use crate::{
    Config, Error,
    auth::{RefreshPolicy, Verifier},
    database::Database,
    upstream,
};

/// Shared by all requests of one function; made once at start.
pub struct Services {
    pub(crate) verifier: Verifier,
    pub(crate) database: Database,
    pub(crate) settings: BTreeMap<&'static str, String>,
}

impl Services {
    /// Sets everything up without any network traffic.
    ///
    /// # Errors
    /// [`Error::Internal`] when the HTTP client cannot be set up.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Self::with_policy(config, RefreshPolicy::default())
    }

    /// As [`Services::new`], with another rhythm of fetching signing keys.
    ///
    /// # Errors
    /// As [`Services::new`].
    pub fn with_policy(config: &Config, policy: RefreshPolicy) -> Result<Self, Error> {
        let client = upstream::client(config)?;
        Ok(Self {
            verifier: Verifier::new(config, client.clone(), policy),
            database: Database::new(config, client),
            settings: config.settings.clone(),
        })
    }
}
