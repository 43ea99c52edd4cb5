//! What is claimed, and what came of it.

use chrono::{DateTime, Utc};
use lyceum_core::{Error, Repeat, ServiceDatabase};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// For how long a claim holds: longer than a run and its last receiver together.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// What is given back untried waits so long, lest this run finds it again.
pub(crate) const DEFERRED: Duration = Duration::from_secs(30);

/// A row of `lms.claim_deliveries`.
#[derive(Debug, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) lease: Uuid,
    pub(crate) attempt: u32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) webhook_id: Option<Uuid>,
    pub(crate) recipient: Option<String>,
    pub(crate) organization: String,
    pub(crate) language: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) params: Option<Map<String, Value>>,
    pub(crate) url: Option<String>,
    pub(crate) secrets: Option<Vec<String>>,
    pub(crate) payload: Option<Value>,
}

/// What came of a delivery. The reasons hold nothing of the message or the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Not now: to be tried again, not before the pause that the receiver asked for.
    Failed {
        reason: String,
        at_least: Option<Duration>,
        /// Nothing else would get through to this receiver either.
        unwell: bool,
    },
    /// Never.
    Rejected { reason: String },
}

/// How many had which outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// Taken by their receivers.
    pub(crate) delivered: u64,
    /// To be tried again.
    pub(crate) failed: u64,
    /// Refused for good.
    pub(crate) rejected: u64,
    /// Given back untried, because the receiver is unwell or the run was over.
    pub(crate) deferred: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.deferred += other.deferred;
    }
}

#[derive(Serialize)]
struct Claim {
    p_channel: &'static str,
    p_limit: u32,
    p_lease_seconds: u64,
}

#[derive(Serialize)]
struct Settlement<'a> {
    p_id: Uuid,
    p_lease: Uuid,
    p_outcome: &'static str,
    p_error: Option<&'a str>,
    p_retry_seconds: u64,
}

/// Claims what is due.
///
/// # Errors
/// When the database does not hand any out.
pub(crate) async fn claim(
    database: &ServiceDatabase<'_>,
    channel: &'static str,
    limit: u32,
) -> Result<Vec<Delivery>, Error> {
    let claim = Claim {
        p_channel: channel,
        p_limit: limit,
        p_lease_seconds: LEASE.as_secs(),
    };
    let answer = database
        .rpc("lms", "claim_deliveries", &claim, Repeat::Never)
        .await?;
    serde_json::from_slice(&answer).map_err(|error| {
        Error::internal(format!(
            "lms.claim_deliveries answered no deliveries: {error}"
        ))
    })
}

/// Says what came of it. Where that fails the lease runs out and it is sent again, under the same id.
pub(crate) async fn settle(
    database: &ServiceDatabase<'_>,
    delivery: &Delivery,
    outcome: &Outcome,
) -> Counts {
    let mut counts = Counts::default();
    let (word, error, pause) = match outcome {
        Outcome::Delivered => {
            counts.delivered = 1;
            ("delivered", None, Duration::ZERO)
        }
        Outcome::Failed {
            reason, at_least, ..
        } => {
            counts.failed = 1;
            let pause = crate::backoff::pause(delivery.attempt, rand::random())
                .max(at_least.unwrap_or_default());
            ("failed", Some(reason.as_str()), pause)
        }
        Outcome::Rejected { reason } => {
            counts.rejected = 1;
            ("rejected", Some(reason.as_str()), Duration::ZERO)
        }
    };
    tell(database, delivery, word, error, pause).await;
    counts
}

/// Gives it back untried.
pub(crate) async fn defer(database: &ServiceDatabase<'_>, delivery: &Delivery) -> Counts {
    tell(database, delivery, "deferred", None, DEFERRED).await;
    Counts {
        deferred: 1,
        ..Counts::default()
    }
}

async fn tell(
    database: &ServiceDatabase<'_>,
    delivery: &Delivery,
    outcome: &'static str,
    error: Option<&str>,
    pause: Duration,
) {
    let settlement = Settlement {
        p_id: delivery.id,
        p_lease: delivery.lease,
        p_outcome: outcome,
        p_error: error,
        p_retry_seconds: pause.as_secs(),
    };
    let told = database
        .rpc("lms", "settle_delivery", &settlement, Repeat::Safe)
        .await;
    if let Err(fault) = told {
        tracing::warn!(delivery = %delivery.id, outcome, error = %fault, "a delivery was not settled");
    }
}
