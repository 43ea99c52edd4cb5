//! When a failed call may be sent again: a little of what succeeds is saved up for
//! repeats, so that an outage is not answered with twice the load.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// Repeats of one call beyond its first attempt.
const MOST_REPEATS: u32 = 2;
/// One repeat costs as much as ten successes earn.
const COST: u32 = 10;
const CAPACITY: u32 = 10 * COST;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The savings of one function instance.
pub(super) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(CAPACITY))
    }
}

impl RetryBudget {
    /// Books a success.
    pub fn earn(&self) {
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved < CAPACITY).then_some(saved + 1)
            });
    }

    /// Books a repeat after the given attempt (the first is 0), if one is allowed, and
    /// answers how long to wait before it: 50 to 100 ms, then 150 to 300 ms.
    pub fn spend(&self, attempt: u32, deadline: Instant) -> Option<Duration> {
        if attempt >= MOST_REPEATS {
            return None;
        }
        let base = FIRST_PAUSE * 3_u32.pow(attempt);
        let pause = base + base.mul_f64(jitter());
        if Instant::now() + pause >= deadline {
            return None;
        }
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                saved.checked_sub(COST)
            })
            .ok()
            .map(|_| pause)
    }
}

/// A number from 0 to 1, so that repeats of many callers do not arrive together.
fn jitter() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_call_is_repeated_twice_at_most() {
        let budget = RetryBudget::default();
        let first = budget.spend(0, later()).unwrap();
        assert!((50..=100).contains(&first.as_millis()));
        let second = budget.spend(1, later()).unwrap();
        assert!((150..=300).contains(&second.as_millis()));
        assert!(budget.spend(2, later()).is_none());
    }

    #[test]
    fn no_repeat_past_the_deadline() {
        assert!(RetryBudget::default().spend(0, Instant::now()).is_none());
    }

    #[test]
    fn an_outage_exhausts_the_budget_and_successes_refill_it() {
        let budget = RetryBudget::default();
        let granted = (0..50)
            .filter(|_| budget.spend(0, later()).is_some())
            .count();
        assert_eq!(granted, 10);
        for _ in 0..COST {
            budget.earn();
        }
        assert!(budget.spend(0, later()).is_some());
        assert!(budget.spend(0, later()).is_none());
    }
}
