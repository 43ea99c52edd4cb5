//! How long to wait before the next attempt. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause after the `attempt`th attempt, from 1: 30 s, 90 s, 4.5 min ... 24 h, a fifth more or less by chance (`random`
/// in 0..1), so that what failed together does not come back together. Twelve attempts take four days.
pub(crate) fn pause(attempt: u32, random: f64) -> Duration {
    let exact = FIRST
        .saturating_mul(3_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(LONGEST);
    exact.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
}

/// What a `Retry-After` header asks for, as seconds or as a date; at most a day.
pub(crate) fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let wanted = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => DateTime::parse_from_rfc2822(value)
            .ok()
            .and_then(|then| (then.with_timezone(&Utc) - now).to_std().ok())?,
    };
    Some(wanted.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_triples_up_to_a_day() {
        let seconds: Vec<u64> = (1..=12)
            .map(|attempt| pause(attempt, 0.5).as_secs())
            .collect();
        assert_eq!(
            seconds,
            [
                30, 90, 270, 810, 2430, 7290, 21870, 65610, 86400, 86400, 86400, 86400
            ]
        );
    }

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        let now = "2031-05-01T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Thu, 01 May 2031 10:02:00 GMT", Some(120)),
            ("99999999", Some(86400)),
            ("Thu, 01 May 2031 09:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(
                retry_after(value, now).map(|pause| pause.as_secs()),
                seconds,
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_too_short_nor_too_long(attempt in 0_u32..=u32::MAX, random in 0.0..1.0_f64) {
            let pause = pause(attempt, random);
            prop_assert!(pause >= FIRST.mul_f64(0.79));
            prop_assert!(pause <= LONGEST.mul_f64(1.2));
        }

        #[test]
        fn no_header_is_too_strange(value in ".*") {
            let _ = retry_after(&value, Utc::now());
        }
    }
}
