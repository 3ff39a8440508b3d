//! Gauges from whole numbers.

use metrics::Gauge;

/// Sets a gauge to a whole number.
///
/// This is the one place outside histograms where a measured number becomes a float: the `metrics` crate stores gauges as
/// floats, in which whole numbers up to 2⁵³ are exact.
pub fn set_gauge(gauge: &Gauge, value: u64) {
    gauge.set(value as f64); // float: the metrics crate stores gauges as floats.
}
