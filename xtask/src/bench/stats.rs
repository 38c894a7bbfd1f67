//! Medians, intervals and verdicts: what is concluded from the figures of a few runs.
//!
//! Timings on a shared machine are skewed and have outliers, so nothing here uses means or standard deviations. The
//! interval of a median comes from the order of the values alone.

use serde::{Deserialize, Serialize};

/// A median with its spread. All in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// Lower end of the interval that has the true median with a probability of 90 % at least (of all values, with fewer than eight).
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

/// Summarises values; `None` when there are none, or one is no number.
pub fn summarize(values: &[f64]) -> Option<Summary> {
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let median = if sorted.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(*sorted.get(middle - 1)?, upper)
    };
    let drop = dropped(sorted.len());
    Some(Summary {
        median,
        low: *sorted.get(drop)?,
        high: *sorted.get(sorted.len() - 1 - drop)?,
        min: *sorted.first()?,
        max: *sorted.last()?,
    })
}

/// How many of `count` sorted values may be left out at each end so that those left still enclose the true median with a
/// probability of 90 %: the median lies below the k-th smallest value with the probability that fewer than k of `count`
/// fair coins show heads.
fn dropped(count: usize) -> usize {
    const OUTSIDE: f64 = 0.05;
    let mut term = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut below = term;
    let mut dropped = 0;
    while below <= OUTSIDE && 2 * (dropped + 1) < count {
        let heads = dropped + 1;
        #[allow(clippy::cast_precision_loss, reason = "counts of runs are small")]
        let factor = (count - heads + 1) as f64 / heads as f64;
        term *= factor;
        below += term;
        if below <= OUTSIDE {
            dropped = heads;
        } else {
            break;
        }
    }
    // The first value left out has the probability of index 0.
    dropped
}

/// What a comparison with a target says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval is within the target.
    Met,
    /// The whole interval is outside.
    Missed,
    /// The target lies inside the interval: the median is within it.
    NoiseMet,
    /// The target lies inside the interval: the median is outside.
    NoiseMissed,
}

impl Verdict {
    /// The verdict on values that should be at most `limit` (or, for throughputs, at least).
    pub fn of(summary: &Summary, limit: f64, bound: Bound) -> Self {
        let (best, median, worst) = match bound {
            Bound::AtMost => (summary.low, summary.median, summary.high),
            Bound::AtLeast => (-summary.high, -summary.median, -summary.low),
        };
        let limit = match bound {
            Bound::AtMost => limit,
            Bound::AtLeast => -limit,
        };
        if worst <= limit {
            Self::Met
        } else if best > limit {
            Self::Missed
        } else if median <= limit {
            Self::NoiseMet
        } else {
            Self::NoiseMissed
        }
    }

    /// As the table shows it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NoiseMet => "within noise (median meets it)",
            Self::NoiseMissed => "within noise (median misses it)",
        }
    }
}

/// On which side of its limit a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Times, memory, and ratios of them.
    AtMost,
    /// Ratios of throughputs.
    AtLeast,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let median = |values: &[f64]| summarize(values).map(|s| s.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
        assert_eq!(median(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn an_interval_leaves_out_what_the_order_of_the_values_allows() {
        // Count, and how many fall away at each end: from the binomial distribution, as in tables of the sign test.
        for (count, expected) in [
            (1, 0),
            (2, 0),
            (4, 0),
            (5, 0),
            (7, 0),
            (8, 1),
            (9, 1),
            (10, 1),
            (11, 2),
            (15, 3),
            (20, 5),
            (25, 7),
        ] {
            assert_eq!(dropped(count), expected, "{count} values");
        }
        let values: Vec<f64> = (1..=11).map(f64::from).collect();
        let summary = summarize(&values).unwrap();
        assert_eq!(
            (
                summary.min,
                summary.low,
                summary.median,
                summary.high,
                summary.max
            ),
            (1.0, 3.0, 6.0, 9.0, 11.0)
        );
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let summary = summarize(&[0.8, 0.9, 1.0]).unwrap();
        for (limit, at_most, at_least) in [
            (1.1, Verdict::Met, Verdict::Missed),
            (1.0, Verdict::Met, Verdict::NoiseMissed),
            (0.95, Verdict::NoiseMet, Verdict::NoiseMissed),
            (0.85, Verdict::NoiseMissed, Verdict::NoiseMet),
            (0.8, Verdict::NoiseMissed, Verdict::Met),
            (0.7, Verdict::Missed, Verdict::Met),
        ] {
            assert_eq!(Verdict::of(&summary, limit, Bound::AtMost), at_most, "<= {limit}");
            assert_eq!(
                Verdict::of(&summary, limit, Bound::AtLeast),
                at_least,
                ">= {limit}"
            );
        }
    }
}
