//! Webhooks: signed requests to receivers of the organisations' own.

use std::{
    collections::BTreeMap,
    error::Error as _,
    time::{Duration, Instant},
};

use chrono::Utc;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use lyceum_core::{Error, ServiceDatabase};
use url::Url;
use uuid::Uuid;

use crate::{
    address, backoff,
    delivery::{Counts, Delivery, Outcome, claim, defer, settle},
    settings::Settings,
    sign,
};

/// How many are claimed at once, of all receivers together.
const CLAIMED: u32 = 200;

/// Delivers until nothing is due or the run is over. Receivers are served side by side and each one request after another,
/// so that a slow one makes only itself wait.
///
/// # Errors
/// When the database hands out nothing, or no client can be made.
pub(crate) async fn deliver(
    database: &ServiceDatabase<'_>,
    settings: &Settings,
    until: Instant,
) -> Result<Counts, Error> {
    let client = client(settings)?;
    let mut counts = Counts::default();
    let mut receivers = FuturesUnordered::new();
    loop {
        if Instant::now() < until {
            let mut queues: BTreeMap<Option<Uuid>, Vec<Delivery>> = BTreeMap::new();
            for delivery in claim(database, "webhook", CLAIMED).await? {
                queues
                    .entry(delivery.webhook_id)
                    .or_default()
                    .push(delivery);
            }
            receivers.extend(
                queues
                    .into_values()
                    .map(|queue| serve(database, &client, settings, queue, until)),
            );
        }
        match receivers.next().await {
            Some(served) => counts.add(served),
            None => return Ok(counts),
        }
    }
}

/// What one receiver is to get. Once it does not take anything, the rest waits.
async fn serve(
    database: &ServiceDatabase<'_>,
    client: &reqwest::Client,
    settings: &Settings,
    queue: Vec<Delivery>,
    until: Instant,
) -> Counts {
    let mut counts = Counts::default();
    let mut unwell = false;
    for delivery in &queue {
        if unwell || Instant::now() >= until {
            counts.add(defer(database, delivery).await);
            continue;
        }
        let outcome = send(client, settings, delivery).await;
        unwell = matches!(outcome, Outcome::Failed { unwell: true, .. });
        counts.add(settle(database, delivery, &outcome).await);
    }
    counts
}

/// A client that follows no redirects and uses no proxy: both lead around the check of addresses.
fn client(settings: &Settings) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(settings.receiver)
        .connect_timeout(settings.receiver.min(Duration::from_secs(5)))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("Lyceum-Webhooks/", env!("CARGO_PKG_VERSION")));
    if let Some(resolver) = address::resolver(settings.allow_private) {
        builder = builder.dns_resolver(resolver);
    }
    builder
        .build()
        .map_err(|error| Error::internal(format!("cannot set up the HTTP client: {error}")))
}

async fn send(client: &reqwest::Client, settings: &Settings, delivery: &Delivery) -> Outcome {
    let url = delivery.url.as_deref().and_then(|url| Url::parse(url).ok());
    let Some(url) = url.filter(|url| address::may_be_called(url, settings.allow_private)) else {
        return rejected("the address is not allowed");
    };
    let body = delivery
        .payload
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let now = Utc::now();
    let (id, timestamp) = (delivery.id.to_string(), now.timestamp());
    let secrets = delivery.secrets.as_deref().unwrap_or_default();
    let Some(signature) = sign::signatures(secrets, &id, timestamp, &body) else {
        return rejected("the webhook has no usable secret");
    };
    let answer = client
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await;
    match answer {
        // The body is nobody's business, and may be endless.
        Ok(answer) => outcome(
            answer.status(),
            answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| backoff::retry_after(value, now)),
        ),
        Err(error) => Outcome::Failed {
            reason: reason(&error).to_owned(),
            at_least: None,
            unwell: true,
        },
    }
}

/// 2xx is taken; 410 says that there is no receiver any more; everything else may pass.
fn outcome(status: StatusCode, at_least: Option<Duration>) -> Outcome {
    if status.is_success() {
        Outcome::Delivered
    } else if status == StatusCode::GONE {
        rejected("http 410")
    } else {
        Outcome::Failed {
            reason: format!("http {}", status.as_u16()),
            at_least,
            unwell: status.is_server_error()
                || matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                ),
        }
    }
}

fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected {
        reason: reason.to_owned(),
    }
}

/// Without the address, which is the organisation's own business, and may hold a secret.
fn reason(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string() == address::PRIVATE {
            return address::PRIVATE;
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection was lost"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_taken_for_delivered() {
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(
                outcome(StatusCode::from_u16(code).unwrap(), None),
                Outcome::Delivered
            );
        }
        assert_eq!(outcome(StatusCode::GONE, None), rejected("http 410"));
        for (code, is_unwell) in [
            (301, false),
            (307, false),
            (400, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let pause = Some(Duration::from_secs(7));
            let Outcome::Failed {
                unwell, at_least, ..
            } = outcome(StatusCode::from_u16(code).unwrap(), pause)
            else {
                panic!("{code} is a failure");
            };
            assert_eq!((unwell, at_least), (is_unwell, pause), "{code}");
        }
    }
}
