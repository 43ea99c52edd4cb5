//! Numbers out of measurements.

/// The median; zero of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the share `q` (0 to 1) of `values` lies, interpolated; zero of nothing.
pub(super) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    #[expect(clippy::cast_precision_loss, reason = "samples are few")]
    let place = q.clamp(0.0, 1.0) * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and last"
    )]
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Measurements of one side in each round, summed up to their medians.
#[derive(Debug, Default, Clone)]
pub(super) struct Rounds {
    pub(super) ours: Vec<f64>,
    pub(super) reference: Vec<f64>,
}

impl Rounds {
    /// Adds a round by the medians of its samples.
    pub(super) fn add(&mut self, ours: &[f64], reference: &[f64]) {
        self.ours.push(median(ours));
        self.reference.push(median(reference));
    }

    /// Ours divided by the reference, in each round.
    pub(super) fn ratios(&self) -> Vec<f64> {
        self.pairs(|ours, reference| ours / reference)
    }

    /// Ours less the reference, in each round.
    pub(super) fn differences(&self) -> Vec<f64> {
        self.pairs(|ours, reference| ours - reference)
    }

    fn pairs(&self, of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        self.ours
            .iter()
            .zip(&self.reference)
            .map(|(a, b)| of(*a, *b))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_middle_two() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!((median(&[5.0]) - 5.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn the_99th_percentile_is_near_the_top() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((quantile(&values, 0.99) - 99.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_of_medians_of_each_round() {
        let mut rounds = Rounds::default();
        rounds.add(&[2.0, 2.0, 9.0], &[1.0, 1.0, 1.0]);
        rounds.add(&[3.0], &[2.0]);
        assert_eq!(rounds.ratios(), vec![2.0, 1.5]);
        assert_eq!(rounds.differences(), vec![1.0, 1.0]);
    }
}
