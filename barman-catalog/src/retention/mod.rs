//! Retention: which backups a policy still needs, and why. Pure functions of the catalogue and the clock.

mod reason;
mod walk;

pub use reason::Reason;
pub use walk::{Verdict, explain};

use crate::backup_info::BackupStatus;
use crate::catalog::Catalog;
use crate::ids::BackupId;
use std::collections::BTreeMap;
use std::fmt;

/// A unit of a recovery window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowUnit {
    /// 24 hours.
    Days,
    /// 7 days.
    Weeks,
    /// 31 days.
    Months,
}

/// A retention policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionPolicy {
    /// Keep so many backups.
    Redundancy(u32),
    /// Keep what is needed to restore to any moment of the last so many units.
    RecoveryWindow {
        /// How many.
        count: u32,
        /// Of what.
        unit: WindowUnit,
    },
}

impl fmt::Display for RetentionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redundancy(count) => write!(f, "REDUNDANCY {count}"),
            Self::RecoveryWindow { count, unit } => {
                let unit = match unit {
                    WindowUnit::Days => "DAYS",
                    WindowUnit::Weeks => "WEEKS",
                    WindowUnit::Months => "MONTHS",
                };
                write!(f, "RECOVERY WINDOW OF {count} {unit}")
            }
        }
    }
}

impl RetentionPolicy {
    /// The beginning of the recovery window at `now`; `None` for redundancy. A window longer than time itself begins
    /// when time begins.
    #[must_use]
    pub fn window_start(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let Self::RecoveryWindow { count, unit } = self else {
            return None;
        };
        let days: i64 = match unit {
            WindowUnit::Days => 1,
            WindowUnit::Weeks => 7,
            WindowUnit::Months => 31,
        };
        let seconds = i64::from(*count).saturating_mul(days).saturating_mul(86_400);
        let window = jiff::SignedDuration::from_secs(seconds);
        Some(now.checked_sub(window).unwrap_or(jiff::Timestamp::MIN))
    }
}

/// What a policy says about a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionStatus {
    /// Needed.
    Valid,
    /// Not needed: `cron` deletes it.
    Obsolete,
    /// Outside the recovery window, but kept for the minimum redundancy.
    PotentiallyObsolete,
    /// Kept on request, with all WAL from its beginning on.
    KeepFull,
    /// Kept on request, with the WAL it needs to be consistent.
    KeepStandalone,
    /// Nothing: the backup is not whole.
    None,
}

impl RetentionStatus {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Obsolete => "OBSOLETE",
            Self::PotentiallyObsolete => "OBSOLETE*",
            Self::KeepFull => "KEEP:FULL",
            Self::KeepStandalone => "KEEP:STANDALONE",
            Self::None => "-",
        }
    }
}

impl fmt::Display for RetentionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for RetentionStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What `policy` says about each backup at `now`; [`explain`] tells why, too.
///
/// Backups with status `EMPTY` have no entry. Incremental backups take over what holds for their root; one whose root
/// is gone gets [`RetentionStatus::None`]. A backup whose deletion has begun is obsolete and counts for nothing. What a
/// kept incremental backup is based on is valid.
#[must_use]
pub fn report(
    policy: RetentionPolicy,
    minimum_redundancy: u32,
    catalog: &Catalog,
    now: jiff::Timestamp,
) -> BTreeMap<BackupId, RetentionStatus> {
    explain(policy, minimum_redundancy, catalog, now)
        .into_iter()
        .map(|(id, verdict)| (id, verdict.status))
        .collect()
}

/// How many backups count towards the minimum redundancy: `DONE`, not incremental, not being deleted.
#[must_use]
pub fn redundancy(catalog: &Catalog) -> u32 {
    let count = catalog
        .usable()
        .filter(|b| b.status == BackupStatus::Done && !b.is_incremental())
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The newest whole backup that goes, if what stays are only backups that are kept alone: from none of them any later
/// moment can be restored. Barman's policies count kept backups like the others, so this can come.
#[must_use]
pub fn loses_recovery(catalog: &Catalog, words: &BTreeMap<BackupId, RetentionStatus>) -> Option<BackupId> {
    let whole = || {
        catalog
            .usable()
            .rev()
            .filter(|b| b.status.is_copy_done() && !b.is_incremental())
    };
    let word = |id| words.get(&id).copied();
    let reaches = |id| {
        !matches!(
            word(id),
            Some(RetentionStatus::Obsolete | RetentionStatus::KeepStandalone)
        )
    };
    if whole().any(|b| reaches(b.id)) {
        return None;
    }
    whole()
        .map(|b| b.id)
        .find(|id| word(*id) == Some(RetentionStatus::Obsolete))
        .filter(|_| whole().any(|b| word(b.id) == Some(RetentionStatus::KeepStandalone)))
}

#[cfg(test)]
mod tests;
