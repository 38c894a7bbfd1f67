//! What `barman check` found out.

use crate::context::CancelCause;
use crate::failure::{Class, Failure};

/// Checks whose failure does not stop a backup or a WAL stream, by name.
pub const NON_CRITICAL: &[&str] = &[
    "minimum redundancy requirements",
    "backup maximum age",
    "backup minimum size",
    "failed backups",
    "archiver errors",
    "empty incoming directory",
    "empty streaming directory",
    "incoming WALs directory",
    "streaming WALs directory",
    "wal maximum age",
    "PostgreSQL server is standby",
];

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CheckResult {
    /// Its name, as monitoring scripts know it.
    pub name: String,
    /// Whether all is well.
    pub ok: bool,
    /// What stands in parentheses behind the status; empty for nothing.
    pub hint: String,
    /// Bytes for the performance data of `--nagios`.
    pub perfdata: Option<u64>,
    /// Why it failed, where Barman's line leaves that to the log.
    pub reason: Option<String>,
}

impl CheckResult {
    /// A good result.
    #[must_use]
    pub fn ok(name: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: true,
            hint: hint.into(),
            perfdata: None,
            reason: None,
        }
    }

    /// A bad result.
    #[must_use]
    pub fn failed(name: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::ok(name, hint)
        }
    }

    /// Good or bad, without a hint.
    #[must_use]
    pub fn of(name: impl Into<String>, ok: bool) -> Self {
        Self {
            ok,
            ..Self::ok(name, "")
        }
    }

    /// The same with performance data.
    #[must_use]
    pub fn with_perfdata(mut self, bytes: u64) -> Self {
        self.perfdata = Some(bytes);
        self
    }

    /// The same with the reason of the failure.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    /// The name with what is known of the failure behind it.
    #[must_use]
    pub fn described(&self) -> String {
        match self.reason.as_deref().unwrap_or(&self.hint) {
            "" => self.name.clone(),
            why => format!("{} ({why})", self.name),
        }
    }

    /// Whether the failure of this check stops a backup.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        !NON_CRITICAL.contains(&self.name.as_str())
    }

    /// `OK` or `FAILED`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.ok { "OK" } else { "FAILED" }
    }

    /// The key of the check in JSON.
    #[must_use]
    pub fn key(&self) -> String {
        self.name.to_lowercase().replace([' ', '-'], "_").replace('.', "")
    }
}

/// All checks of one server, in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// The server.
    pub server: String,
    /// Inactive servers may fail without consequences.
    pub active: bool,
    /// ` (inactive)`, ` (WARNING: disabled)` or nothing, for the header.
    pub state: &'static str,
    /// The results.
    pub results: Vec<CheckResult>,
    /// The configuration messages, shown after a failed `configuration` check.
    pub messages: Vec<String>,
}

impl CheckReport {
    /// Whether a check failed on an active server: the exit code becomes 1.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.active && self.results.iter().any(|result| !result.ok)
    }

    /// The failures that stop a backup.
    pub fn critical(&self) -> impl Iterator<Item = &CheckResult> {
        self.results
            .iter()
            .filter(|result| !result.ok && result.is_critical())
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("interrupted while checking server '{server}'")]
pub struct CheckInterrupted {
    /// The server.
    pub server: String,
    /// Why to stop.
    pub cause: CancelCause,
}

impl Failure for CheckInterrupted {
    fn class(&self) -> Class {
        Class::Interrupted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys() {
        for (name, key) in [
            (
                "PostgreSQL streaming (WAL streaming)",
                "postgresql_streaming_(wal_streaming)",
            ),
            ("receive-wal running", "receive_wal_running"),
            ("a.b", "ab"),
        ] {
            assert_eq!(CheckResult::of(name, true).key(), key);
        }
    }

    #[test]
    fn a_reason_says_more_than_the_hint() {
        let bare = CheckResult::failed("PostgreSQL", "");
        assert_eq!(bare.described(), "PostgreSQL");
        assert_eq!(
            bare.because(Some("Connection refused".to_owned())).described(),
            "PostgreSQL (Connection refused)"
        );
        assert_eq!(
            CheckResult::failed("directories", "/x: Permission denied").described(),
            "directories (/x: Permission denied)"
        );
    }

    #[test]
    fn some_failures_stop_nothing() {
        assert!(!CheckResult::of("failed backups", false).is_critical());
        assert!(CheckResult::of("check timeout", false).is_critical());
        assert!(CheckResult::of("wal_level (WAL streaming)", false).is_critical());
    }
}
