//! Mails, written into a folder instead of sent: `<time>-<number>-<type>.eml` to read, and a `.json` twin for tests.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::error::{AuthError, Result};
use super::one_time::OneTimeToken;

/// Which mail is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Signup,
    Invite,
    MagicLink,
    Recovery,
    EmailChange,
    Reauthentication,
}

impl Kind {
    /// The `type` of the link, as `verifyOtp` takes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Signup => "signup",
            Self::Invite => "invite",
            Self::MagicLink => "magiclink",
            Self::Recovery => "recovery",
            Self::EmailChange => "email_change",
            Self::Reauthentication => "reauthentication",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Signup => "Confirm your email address",
            Self::Invite => "You have been invited",
            Self::MagicLink => "Your sign-in link",
            Self::Recovery => "Reset your password",
            Self::EmailChange => "Confirm your new email address",
            Self::Reauthentication => "Confirm it is you",
        }
    }
}

/// Writes mails into one folder.
pub(crate) struct Mailer {
    folder: PathBuf,
    api_url: String,
    /// Orders mails of the same microsecond.
    count: AtomicU64,
}

impl Mailer {
    pub(crate) fn new(folder: PathBuf, api_url: String) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the mail folder {}", folder.display()))?;
        Ok(Self {
            folder,
            api_url: api_url.trim_end_matches('/').to_owned(),
            count: AtomicU64::new(0),
        })
    }

    /// The address that redeems `token_hash` and then leads to `redirect_to`.
    pub(crate) fn link(&self, kind: &str, token_hash: &str, redirect_to: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token_hash)
            .append_pair("type", kind)
            .append_pair("redirect_to", redirect_to)
            .finish();
        format!("{}/auth/v1/verify?{query}", self.api_url)
    }

    pub(crate) async fn send(
        &self,
        kind: Kind,
        to: &str,
        token: &OneTimeToken,
        redirect_to: &str,
    ) -> Result<()> {
        let now = Utc::now();
        // A reauthentication code is typed in; it has no link.
        let link = (kind != Kind::Reauthentication)
            .then(|| self.link(kind.as_str(), &token.hash, redirect_to));
        let name = format!(
            "{}-{:06}-{}",
            now.format("%Y%m%dT%H%M%S%.6fZ"),
            self.count.fetch_add(1, Ordering::Relaxed),
            kind.as_str()
        );
        let twin = json!({
            "to": to,
            "type": kind.as_str(),
            "subject": kind.subject(),
            "link": link,
            "token": token.otp,
            "token_hash": token.hash,
            "redirect_to": redirect_to,
            "sent_at": now,
        });
        let text = message(kind, to, token, link.as_deref(), now);
        // Both files appear whole, the twin last: who sees it may read either.
        for (extension, content) in [("eml", text), ("json", format!("{twin:#}\n"))] {
            self.write(&format!("{name}.{extension}"), &content)
                .await
                .map_err(|error| {
                    AuthError::internal(format!("Error sending {} email", kind.as_str()), error)
                })?;
        }
        tracing::info!(
            mail = kind.as_str(),
            to,
            code = token.otp,
            link,
            "mail written to {}/{name}.eml",
            self.folder.display()
        );
        Ok(())
    }

    async fn write(&self, name: &str, content: &str) -> std::io::Result<()> {
        let unfinished = self.folder.join(format!(".{name}.part"));
        tokio::fs::write(&unfinished, content).await?;
        tokio::fs::rename(unfinished, self.folder.join(name)).await
    }
}

/// The mail as text. `to` has passed the address check, so it cannot add header lines.
fn message(
    kind: Kind,
    to: &str,
    token: &OneTimeToken,
    link: Option<&str>,
    now: DateTime<Utc>,
) -> String {
    let follow = link.map_or_else(String::new, |link| {
        format!("Follow this link:\n\n{link}\n\n")
    });
    format!(
        "From: Lyceum <noreply@localhost>\nTo: {to}\nDate: {}\nSubject: {}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nX-Mail-Type: {}\n\n\
         {}\n\n{follow}Your code: {}\n\nBoth expire after one hour.\n",
        now.to_rfc2822(),
        kind.subject(),
        kind.as_str(),
        kind.subject(),
        token.otp,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mail_is_two_files_in_order_of_time() {
        let folder = std::env::temp_dir().join(format!("lyceum-mail-{}", uuid::Uuid::new_v4()));
        let mailer = Mailer::new(folder.clone(), "http://127.0.0.1:54321/".into()).unwrap();
        let token = OneTimeToken::generate("a@b.c", false);
        mailer
            .send(Kind::Recovery, "a@b.c", &token, "http://localhost/x?y=1&z")
            .await
            .unwrap();
        mailer
            .send(Kind::Reauthentication, "a@b.c", &token, "http://localhost")
            .await
            .unwrap();

        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 4);
        assert!(
            names[0].ends_with("-recovery.eml") && names[3].ends_with("-reauthentication.json")
        );
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let twin: serde_json::Value = serde_json::from_str(&read(&names[1])).unwrap();
        let link = twin["link"].as_str().unwrap();
        assert!(link.starts_with("http://127.0.0.1:54321/auth/v1/verify?token="));
        assert!(
            link.ends_with("&type=recovery&redirect_to=http%3A%2F%2Flocalhost%2Fx%3Fy%3D1%26z")
        );
        assert_eq!(twin["token"], token.otp);
        assert!(read(&names[0]).contains(link));
        let second: serde_json::Value = serde_json::from_str(&read(&names[3])).unwrap();
        assert!(second["link"].is_null());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
