//! The figures that were measured.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::plan::Plan;

/// The percentiles that are told.
pub(crate) const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// What was measured of a load. Its JSON is the file that `amqp bench compare` reads.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// The version of this form; see [`FORMAT`].
    pub(crate) format: u32,
    /// The version of the program.
    pub(crate) version: String,
    /// The broker's name and version, as it says itself.
    pub(crate) broker: String,
    pub(crate) plan: Plan,
    /// The time after the warm-up, in seconds.
    pub(crate) seconds: f64,
    pub(crate) published: Flow,
    pub(crate) confirmed: Flow,
    pub(crate) consumed: Flow,
    /// Messages that the broker nacked or returned.
    pub(crate) refused: u64,
    pub(crate) redelivered: u64,
    /// Messages that were published, warm-up included, and not consumed at the end.
    pub(crate) left: u64,
    /// From publish to delivery.
    pub(crate) latency: Option<Latency>,
    /// From publish to confirm.
    pub(crate) confirm_latency: Option<Latency>,
    pub(crate) intervals: Vec<Interval>,
}

/// The version of the form of a [`Measured`].
pub(crate) const FORMAT: u32 = 1;

/// Messages that went by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    pub(crate) bytes_per_second: f64,
}

/// A distribution of latencies, in microseconds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Latency {
    /// Tells whether the times count from when messages were due, as they do at a rate. Otherwise a
    /// publisher that waits for a slow broker delays the next measurement, and leaves it out.
    pub(crate) is_corrected: bool,
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    pub(crate) percentiles: Vec<Percentile>,
    /// The whole distribution, for plots.
    pub(crate) curve: Vec<Percentile>,
}

/// A percentile, in percent, and the latency at it in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Percentile {
    pub(crate) percentile: f64,
    pub(crate) microseconds: f64,
}

/// The events of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Interval {
    /// When it ended, in seconds after the warm-up.
    pub(crate) end: f64,
    /// In messages a second.
    pub(crate) published: f64,
    pub(crate) confirmed: f64,
    pub(crate) consumed: f64,
    /// In microseconds; `None` without any.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Flow {
    pub(crate) fn new(messages: u64, bytes: u64, seconds: f64) -> Self {
        let seconds = seconds.max(1e-9);
        Flow {
            messages,
            messages_per_second: messages as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
        }
    }
}

impl Latency {
    /// Summarizes a distribution; `None` when it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>, is_corrected: bool) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |percentile| Percentile { percentile, microseconds: at(histogram, percentile) };
        Some(Latency {
            is_corrected,
            count: histogram.len(),
            min: microseconds(histogram.min()),
            mean: histogram.mean() / 1000.0,
            max: microseconds(histogram.max()),
            percentiles: PERCENTILES.into_iter().map(at).collect(),
            curve: curve(histogram.len()).map(at).collect(),
        })
    }

    /// The latency at one of the [`PERCENTILES`].
    pub(crate) fn at(&self, percentile: f64) -> Option<f64> {
        let found = self.percentiles.iter().find(|found| (found.percentile - percentile).abs() < 1e-9);
        found.map(|found| found.microseconds)
    }
}

/// The latency at a percentile, in microseconds.
pub(crate) fn at(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    // Nothing is above the highest latency, although the end of its bucket is.
    microseconds(histogram.value_at_percentile(percentile).min(histogram.max()))
}

/// Nanoseconds as microseconds.
pub(crate) fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Percentiles that come ever closer to 100, as far as so many values tell them apart: ten for each
/// digit of nines.
fn curve(count: u64) -> impl Iterator<Item = f64> {
    let nines = (count as f64).log10().clamp(0.5, 7.0);
    let steps = (nines * 10.0) as u32;
    (0..=steps).map(|step| 100.0 * (1.0 - 10f64.powf(-f64::from(step) / 10.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(values: impl Iterator<Item = u64>) -> Option<Latency> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 40, 3).unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        Latency::of(&histogram, true)
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let latency = latency((1..=1000).map(|value| value * 1000)).unwrap();
        assert_eq!(latency.count, 1000);
        for (percentile, expected) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (99.99, 1000.0)] {
            let found = latency.at(percentile).unwrap();
            assert!((found - expected).abs() <= expected / 500.0, "{percentile}: {found}");
        }
        assert!((latency.mean - 500.5).abs() < 1.0 && latency.min >= 0.99 && latency.max <= 1000.5);
        let curve: Vec<f64> = latency.curve.iter().map(|point| point.percentile).collect();
        assert!(curve.is_sorted() && curve[0] == 0.0 && (curve[30] - 99.9).abs() < 1e-6, "{curve:?}");
        assert!(latency.curve.iter().map(|point| point.microseconds).is_sorted());
    }

    #[test]
    fn nothing_has_no_latency() {
        assert_eq!(latency(std::iter::empty()), None);
    }
}
