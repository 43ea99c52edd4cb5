//! Mails, handed in to an SMTP server.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{PoolConfig, extension::ClientId},
};
use lyceum_core::{Error, ServiceDatabase};

use crate::{
    delivery::{Counts, Delivery, Outcome, claim, defer, settle},
    settings::MailSettings,
    template,
};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// How many are claimed at once, and sent side by side.
const CLAIMED: u32 = 50;
const CONNECTIONS: usize = 4;

/// Delivers until nothing is due, the run is over, or the server does not take anything.
///
/// # Errors
/// When the database hands out nothing, or the server's address is malformed.
pub(crate) async fn deliver(
    database: &ServiceDatabase<'_>,
    settings: &MailSettings,
    receiver: Duration,
    until: Instant,
) -> Result<Counts, Error> {
    let transport = transport(settings, receiver)?;
    let mut counts = Counts::default();
    let unwell = AtomicBool::new(false);
    while Instant::now() < until && !unwell.load(Ordering::Relaxed) {
        let claimed = claim(database, "email", CLAIMED).await?;
        if claimed.is_empty() {
            break;
        }
        let (transport, unwell) = (&transport, &unwell);
        let outcomes: Vec<Counts> = stream::iter(claimed)
            .map(|delivery: Delivery| async move {
                if unwell.load(Ordering::Relaxed) || Instant::now() >= until {
                    return defer(database, &delivery).await;
                }
                let outcome = send(transport, settings, receiver * 2, &delivery).await;
                if matches!(outcome, Outcome::Failed { unwell: true, .. }) {
                    unwell.store(true, Ordering::Relaxed);
                }
                settle(database, &delivery, &outcome).await
            })
            .buffer_unordered(CONNECTIONS)
            .collect()
            .await;
        for outcome in outcomes {
            counts.add(outcome);
        }
    }
    Ok(counts)
}

fn transport(settings: &MailSettings, receiver: Duration) -> Result<Transport, Error> {
    let domain = settings.from.email.domain().to_owned();
    Ok(Transport::from_url(&settings.url)
        .map_err(|error| Error::internal(format!("OUTBOX_SMTP_URL: {error}")))?
        .hello_name(ClientId::Domain(domain))
        .timeout(Some(receiver))
        .pool_config(PoolConfig::new().max_size(4))
        .build())
}

/// The library's own limit is on connecting; this one is on a mail, all commands together.
async fn send(
    transport: &Transport,
    settings: &MailSettings,
    longest: Duration,
    delivery: &Delivery,
) -> Outcome {
    let message = match compose(&settings.from, delivery) {
        Ok(message) => message,
        Err(reason) => return Outcome::Rejected { reason },
    };
    match tokio::time::timeout(longest, transport.send(message)).await {
        Ok(Ok(_)) => Outcome::Delivered,
        Ok(Err(error)) => outcome(error.status().map(u16::from), error.is_timeout()),
        Err(_) => outcome(None, true),
    }
}

/// What the server's answer means. Without a code, or where it does not let us in, nothing else gets through either.
fn outcome(code: Option<u16>, timed_out: bool) -> Outcome {
    let failed = |reason: String, unwell| Outcome::Failed {
        reason,
        at_least: None,
        unwell,
    };
    match code {
        Some(code @ (421 | 454 | 530 | 534 | 535 | 538)) => failed(format!("smtp {code}"), true),
        Some(code @ 500..=599) => Outcome::Rejected {
            reason: format!("smtp {code}"),
        },
        Some(code) => failed(format!("smtp {code}"), false),
        None if timed_out => failed("no answer in time".to_owned(), true),
        None => failed("no connection".to_owned(), true),
    }
}

/// The message. The same delivery has the same `Message-ID` however often it is sent: mail programs show it once, and who
/// counts can tell.
fn compose(from: &Mailbox, delivery: &Delivery) -> Result<Message, String> {
    let (Some(recipient), Some(subject), Some(body), Some(params)) = (
        &delivery.recipient,
        &delivery.subject,
        &delivery.body,
        &delivery.params,
    ) else {
        return Err("there is no text or no address".to_owned());
    };
    let language = delivery.language.as_deref().unwrap_or("en");
    let rendered = template::render(subject, body, params, language);
    let to = Mailbox::new(
        None,
        recipient
            .parse()
            .map_err(|_| "the address is malformed".to_owned())?,
    );
    // What cannot stand in a header makes the library panic.
    let organization = template::one_line(&delivery.organization);
    let sender = Mailbox::new(Some(organization), from.email.clone());
    Message::builder()
        .from(sender)
        .to(to)
        .subject(rendered.subject)
        .date(delivery.created_at.into())
        .message_id(Some(format!("<{}@{}>", delivery.id, from.email.domain())))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(
            rendered.text,
            rendered.html,
        ))
        .map_err(|_| "the message cannot be written".to_owned())
}

/// Keeps programs from answering (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn delivery(organization: &str, recipient: &str, course: &str) -> Delivery {
        serde_json::from_value(json!({
            "id": Uuid::nil(), "lease": Uuid::nil(), "attempt": 1, "created_at": "2031-05-01T10:00:00Z",
            "webhook_id": null, "recipient": recipient, "organization": organization, "language": "de",
            "subject": "Fällig: {{course}}", "body": "Guten Tag {{person}},\n{{course}}",
            "params": { "person": "Lena", "course": course }, "url": null, "secrets": null, "payload": null
        }))
        .unwrap()
    }

    fn written(organization: &str, recipient: &str, course: &str) -> Result<String, String> {
        let from = "learning@lyceum.example".parse().unwrap();
        compose(&from, &delivery(organization, recipient, course))
            .map(|message| String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_message_names_itself_and_its_organisation() {
        let text = written("Ironworks", "lena@ironworks.example", "Kräne").unwrap();
        assert!(
            text.contains("From: Ironworks <learning@lyceum.example>\r\n"),
            "{text}"
        );
        assert!(text.contains("To: lena@ironworks.example\r\n"));
        assert!(
            text.contains("Message-ID: <00000000-0000-0000-0000-000000000000@lyceum.example>\r\n")
        );
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(text.contains("text/plain") && text.contains("text/html"));
    }

    #[test]
    fn no_name_or_title_adds_a_header_or_a_recipient() {
        let evil = "x\r\nBcc: all@example.com\r\n\r\nbody";
        let text = written(evil, "lena@ironworks.example", evil).unwrap();
        let head = text.split_once("\r\n\r\n").unwrap().0;
        for line in head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
        {
            assert!(!line.to_ascii_lowercase().starts_with("bcc"), "{head}");
        }
        for address in [
            "a@b.example\r\nRCPT TO:<c@d.example>",
            "a@b.example, c@d.example",
            "nobody",
            "",
        ] {
            assert!(written("x", address, "y").is_err(), "{address:?}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert!(matches!(
            outcome(Some(550), false),
            Outcome::Rejected { .. }
        ));
        assert!(matches!(
            outcome(Some(451), false),
            Outcome::Failed { unwell: false, .. }
        ));
        for code in [Some(421), Some(535), None] {
            assert!(matches!(
                outcome(code, false),
                Outcome::Failed { unwell: true, .. }
            ));
        }
    }
}
