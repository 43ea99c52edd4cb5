//! The function's own settings.

use std::time::Duration;

use lettre::message::Mailbox;
use lyceum_core::{Error, Exchange};

/// Where mails are handed in, such as `smtps://user:password@mail.example:465`.
const SMTP_URL: &str = "OUTBOX_SMTP_URL";
/// The sender, such as `learning@example.com`.
const MAIL_FROM: &str = "OUTBOX_MAIL_FROM";
/// `true` lets webhooks reach private addresses: for development.
const ALLOW_PRIVATE: &str = "OUTBOX_ALLOW_PRIVATE_ADDRESSES";
/// How long a run goes on claiming, in seconds.
const RUN_SECONDS: &str = "OUTBOX_RUN_SECONDS";
/// How long a receiver may take to answer, in seconds.
const RECEIVER_SECONDS: &str = "OUTBOX_RECEIVER_SECONDS";

/// The environment variables that are read.
pub(crate) const NAMES: &[&str] = &[
    SMTP_URL,
    MAIL_FROM,
    ALLOW_PRIVATE,
    RUN_SECONDS,
    RECEIVER_SECONDS,
];

/// Where mails go, and from whom.
pub(crate) struct MailSettings {
    pub(crate) url: String,
    pub(crate) from: Mailbox,
}

/// What a run needs to know.
pub(crate) struct Settings {
    /// Absent: mails wait.
    pub(crate) mail: Option<MailSettings>,
    pub(crate) allow_private: bool,
    pub(crate) run: Duration,
    pub(crate) receiver: Duration,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Internal`] when one is malformed; the log says which.
    pub(crate) fn read(exchange: &Exchange<'_>) -> Result<Self, Error> {
        Self::from_lookup(|name| exchange.setting(name).map(str::to_owned))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mail = match (lookup(SMTP_URL), lookup(MAIL_FROM)) {
            (Some(url), Some(from)) => Some(MailSettings {
                url,
                from: from
                    .parse()
                    .map_err(|error| Error::internal(format!("{MAIL_FROM}: {error}")))?,
            }),
            (None, None) => None,
            _ => {
                return Err(Error::internal(format!(
                    "{SMTP_URL} and {MAIL_FROM} are set together or not at all"
                )));
            }
        };
        let seconds = |name: &str, usual: u64, longest: u64| match lookup(name) {
            None => Ok(Duration::from_secs(usual)),
            Some(value) => match value.parse::<u64>() {
                Ok(seconds) if (1..=longest).contains(&seconds) => Ok(Duration::from_secs(seconds)),
                _ => Err(Error::internal(format!(
                    "{name} must be a whole number from 1 to {longest}"
                ))),
            },
        };
        Ok(Self {
            mail,
            allow_private: lookup(ALLOW_PRIVATE).as_deref() == Some("true"),
            // Together well below the lease.
            run: seconds(RUN_SECONDS, 20, 25)?,
            receiver: seconds(RECEIVER_SECONDS, 10, 15)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_lookup(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn private_addresses_are_closed_unless_told_otherwise() {
        assert!(!read(&[]).unwrap().allow_private);
        assert!(!read(&[(ALLOW_PRIVATE, "yes")]).unwrap().allow_private);
        assert!(read(&[(ALLOW_PRIVATE, "true")]).unwrap().allow_private);
    }

    #[test]
    fn half_a_mail_server_is_a_fault() {
        assert!(read(&[(SMTP_URL, "smtp://127.0.0.1")]).is_err());
        assert!(read(&[(SMTP_URL, "smtp://127.0.0.1"), (MAIL_FROM, "x")]).is_err());
        assert!(read(&[(RUN_SECONDS, "0")]).is_err());
        let settings = read(&[
            (SMTP_URL, "smtp://127.0.0.1"),
            (MAIL_FROM, "Lyceum <a@b.example>"),
        ]);
        assert!(settings.unwrap().mail.is_some());
    }
}
