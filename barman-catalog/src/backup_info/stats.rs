//! The structured fields `copy_stats` and `snapshots_info`: dictionaries kept whole, with typed views.

use crate::python_literal::Value;

/// How long a copy took. The dictionary is kept as written, so that keys we do not look at survive.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct CopyStats(pub Value);

impl CopyStats {
    /// The statistics of a copy without parts, as the `postgres` method records them: the same number twice.
    #[must_use]
    pub fn simple(seconds: f64) -> Self {
        Self(Value::dict([
            ("copy_time", Value::Float(seconds)),
            ("total_time", Value::Float(seconds)),
        ]))
    }

    fn seconds(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_float()
    }

    /// Seconds of copying.
    #[must_use]
    pub fn copy_time(&self) -> Option<f64> {
        self.seconds("copy_time")
    }

    /// Seconds in all.
    #[must_use]
    pub fn total_time(&self) -> Option<f64> {
        self.seconds("total_time")
    }

    /// Seconds of finding out what to copy.
    #[must_use]
    pub fn analysis_time(&self) -> Option<f64> {
        self.seconds("analysis_time")
    }

    /// How many workers copied. 1 when not recorded.
    #[must_use]
    pub fn number_of_workers(&self) -> u64 {
        self.0
            .get("number_of_workers")
            .and_then(Value::as_int)
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(1)
    }
}

/// Cloud snapshots of a backup: `{'provider': …, 'provider_info': {…}, 'snapshots': […]}`. Kept as written; no cloud
/// library is needed to read it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct SnapshotsInfo(pub Value);

impl SnapshotsInfo {
    /// The provider's short name (`gcp`, `azure`, `aws`).
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.0.get("provider")?.as_str()
    }

    /// The provider's own fields.
    #[must_use]
    pub fn provider_info(&self) -> &[(Value, Value)] {
        self.0
            .get("provider_info")
            .and_then(Value::as_dict)
            .unwrap_or(&[])
    }

    /// The snapshots, each with `mount` and `provider`.
    #[must_use]
    pub fn snapshots(&self) -> &[Value] {
        self.0
            .get("snapshots")
            .and_then(Value::as_sequence)
            .unwrap_or(&[])
    }
}
