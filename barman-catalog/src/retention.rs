//! Retention: which backups a policy still needs. A pure function of the catalogue and the clock.

use crate::annotations::Keep;
use crate::backup_info::BackupStatus;
use crate::catalog::{Catalog, tree_leaves_first};
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

/// What `policy` says about each backup at `now`.
///
/// Backups with status `EMPTY` have no entry. Incremental backups take over what holds for their root; one whose root
/// is gone gets [`RetentionStatus::None`]. A backup whose deletion has begun is obsolete and counts for nothing.
#[must_use]
pub fn report(
    policy: RetentionPolicy,
    minimum_redundancy: u32,
    catalog: &Catalog,
    now: jiff::Timestamp,
) -> BTreeMap<BackupId, RetentionStatus> {
    let mut report = BTreeMap::new();
    for backup in catalog.backups().filter(|b| b.status != BackupStatus::Empty) {
        report.insert(backup.id, RetentionStatus::None);
    }
    let children = catalog.child_map();
    let mut walk = Walk::new(policy, minimum_redundancy, now);
    for root in catalog
        .backups()
        .rev()
        .filter(|b| !b.is_incremental() && b.status != BackupStatus::Empty)
    {
        let (word, children_word) = if catalog.is_being_deleted(root.id) {
            (RetentionStatus::Obsolete, RetentionStatus::Obsolete)
        } else if root.status == BackupStatus::Done {
            walk.next(catalog.keep(root.id), root.end_time.map(|t| t.instant()))
        } else {
            (RetentionStatus::None, RetentionStatus::None)
        };
        for id in tree_leaves_first(&children, root.id) {
            let word = match (id == root.id, catalog.is_being_deleted(id)) {
                (true, _) => word,
                (false, true) => RetentionStatus::Obsolete,
                (false, false) => children_word,
            };
            if let Some(entry) = report.get_mut(&id) {
                *entry = word;
            }
        }
    }
    report
}

/// The walk over whole backups from the newest to the oldest.
struct Walk {
    policy: RetentionPolicy,
    minimum_redundancy: u32,
    window_start: Option<jiff::Timestamp>,
    /// Backups seen (redundancy), or taken as valid (recovery window).
    counted: u32,
    /// A backup older than the window has been seen.
    reached: bool,
}

impl Walk {
    fn new(policy: RetentionPolicy, minimum_redundancy: u32, now: jiff::Timestamp) -> Self {
        let policy = match policy {
            RetentionPolicy::Redundancy(count) => RetentionPolicy::Redundancy(count.max(minimum_redundancy)),
            window @ RetentionPolicy::RecoveryWindow { .. } => window,
        };
        let window_start = policy.window_start(now);
        Self {
            policy,
            minimum_redundancy,
            window_start,
            counted: 0,
            reached: false,
        }
    }

    /// The word for the next older backup, and that for its incrementals.
    fn next(
        &mut self,
        keep: Option<Keep>,
        end: Option<jiff::Timestamp>,
    ) -> (RetentionStatus, RetentionStatus) {
        let (word, past) = match self.policy {
            RetentionPolicy::Redundancy(count) => {
                let word = if self.counted < count {
                    RetentionStatus::Valid
                } else {
                    RetentionStatus::Obsolete
                };
                self.counted = self.counted.saturating_add(1);
                (word, self.counted > count)
            }
            RetentionPolicy::RecoveryWindow { .. } => {
                let word = if !self.reached {
                    self.counted = self.counted.saturating_add(1);
                    // The first one that is older is needed to reach the window's beginning.
                    self.reached =
                        matches!((end, self.window_start), (Some(end), Some(start)) if end < start);
                    RetentionStatus::Valid
                } else if self.counted < self.minimum_redundancy {
                    self.counted = self.counted.saturating_add(1);
                    RetentionStatus::PotentiallyObsolete
                } else {
                    RetentionStatus::Obsolete
                };
                (word, self.reached)
            }
        };
        match keep {
            None => (word, word),
            Some(Keep::Full) => (RetentionStatus::KeepFull, RetentionStatus::Valid),
            Some(Keep::Standalone) => {
                let children = if past {
                    RetentionStatus::Obsolete
                } else {
                    RetentionStatus::Valid
                };
                (RetentionStatus::KeepStandalone, children)
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_info::BackupInfo;
    use proptest::prelude::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn now() -> jiff::Timestamp {
        NOW.parse().unwrap()
    }

    /// A backup `age` days old. `W` waits for WAL, `F` failed, `E` is empty, `S`/`K` are kept.
    fn backup(age: u32, letter: char) -> BackupInfo {
        let end = now() - jiff::SignedDuration::from_hours(24 * i64::from(age));
        let wall = end.to_zoned(jiff::tz::TimeZone::UTC);
        let mut info = BackupInfo::new(
            BackupId::next(wall.datetime(), None),
            "s",
            Some("postgres".into()),
        );
        info.end_time = Some(crate::Timestamp::from_zoned(&wall));
        info.status = match letter {
            'W' => BackupStatus::WaitingForWals,
            'F' => BackupStatus::Failed,
            'E' => BackupStatus::Empty,
            _ => BackupStatus::Done,
        };
        info
    }

    /// `ages`: newest first, like `3W 10 20S`.
    fn catalog(ages: &str) -> Catalog {
        let mut kept = Vec::new();
        let backups: Vec<_> = ages
            .split_whitespace()
            .map(|word| {
                let letter = word.chars().last().filter(|c| c.is_alphabetic()).unwrap_or(' ');
                let info = backup(
                    word.trim_end_matches(char::is_alphabetic).parse().unwrap(),
                    letter,
                );
                match letter {
                    'S' => kept.push((info.id, Keep::Standalone)),
                    'K' => kept.push((info.id, Keep::Full)),
                    _ => {}
                }
                info
            })
            .collect();
        kept.into_iter()
            .fold(Catalog::from_backups("s", backups), |c, (id, keep)| {
                c.with_keep(id, keep)
            })
    }

    fn words(policy: RetentionPolicy, minimum: u32, catalog: &Catalog) -> String {
        let report = report(policy, minimum, catalog, now());
        report
            .values()
            .rev()
            .map(|w| w.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn window(count: u32, unit: WindowUnit) -> RetentionPolicy {
        RetentionPolicy::RecoveryWindow { count, unit }
    }

    #[test]
    fn words_of_whole_backups() {
        use RetentionPolicy::Redundancy;
        use WindowUnit::{Days, Months, Weeks};
        for (ages, policy, minimum, expected) in [
            (
                "3W 10 20 30 40",
                window(5, Days),
                0,
                "- VALID OBSOLETE OBSOLETE OBSOLETE",
            ),
            (
                "3W 10 20 30 40",
                window(5, Days),
                3,
                "- VALID OBSOLETE* OBSOLETE* OBSOLETE",
            ),
            (
                "3W 10 20 30 40",
                window(15, Days),
                0,
                "- VALID VALID OBSOLETE OBSOLETE",
            ),
            (
                "3W 10 20 30 40",
                window(1, Months),
                0,
                "- VALID VALID VALID VALID",
            ),
            (
                "3W 10 20 30 40",
                window(2, Weeks),
                0,
                "- VALID VALID OBSOLETE OBSOLETE",
            ),
            (
                "3W 10 20 30 40",
                window(u32::MAX, Months),
                0,
                "- VALID VALID VALID VALID",
            ),
            (
                "1 2 3F 4 5E 6",
                Redundancy(2),
                0,
                "VALID VALID - OBSOLETE OBSOLETE",
            ),
            ("1 2 3", Redundancy(1), 2, "VALID VALID OBSOLETE"),
            ("1 2", Redundancy(0), 0, "OBSOLETE OBSOLETE"),
            // Kept backups count.
            ("1S 2 3", Redundancy(1), 0, "KEEP:STANDALONE OBSOLETE OBSOLETE"),
            ("1 2K 3", Redundancy(2), 0, "VALID KEEP:FULL OBSOLETE"),
            ("10 20S 30", window(5, Days), 3, "VALID KEEP:STANDALONE OBSOLETE*"),
        ] {
            assert_eq!(
                words(policy, minimum, &catalog(ages)),
                expected,
                "{ages} {policy} {minimum}"
            );
        }
    }

    /// A root `age` days old and two generations of incrementals, the younger failed.
    fn chain(keep: Option<Keep>) -> Catalog {
        let (newest, root) = (backup(1, ' '), backup(10, ' '));
        let (mut child, mut grandchild) = (backup(9, ' '), backup(8, 'F'));
        child.parent_backup_id = Some(root.id);
        grandchild.parent_backup_id = Some(child.id);
        let id = root.id;
        // The parents know nothing of their children: the children's word counts.
        let catalog = Catalog::from_backups("s", [newest, root, child, grandchild]);
        match keep {
            Some(keep) => catalog.with_keep(id, keep),
            None => catalog,
        }
    }

    #[test]
    fn incrementals_take_over_the_word_of_their_root() {
        use RetentionPolicy::Redundancy;
        for (keep, policy, expected) in [
            (None, Redundancy(1), "VALID OBSOLETE OBSOLETE OBSOLETE"),
            (None, Redundancy(2), "VALID VALID VALID VALID"),
            (Some(Keep::Full), Redundancy(1), "VALID VALID VALID KEEP:FULL"),
            (
                Some(Keep::Standalone),
                Redundancy(1),
                "VALID OBSOLETE OBSOLETE KEEP:STANDALONE",
            ),
            (
                Some(Keep::Standalone),
                Redundancy(2),
                "VALID VALID VALID KEEP:STANDALONE",
            ),
            (
                Some(Keep::Standalone),
                window(5, WindowUnit::Days),
                "VALID OBSOLETE OBSOLETE KEEP:STANDALONE",
            ),
            (
                Some(Keep::Standalone),
                window(15, WindowUnit::Days),
                "VALID VALID VALID KEEP:STANDALONE",
            ),
        ] {
            assert_eq!(words(policy, 0, &chain(keep)), expected, "{keep:?} {policy}");
        }
    }

    #[test]
    fn incrementals_without_their_root_have_no_word() {
        let mut orphan = backup(2, ' ');
        orphan.parent_backup_id = "19990101T000000".parse().ok();
        let catalog = Catalog::from_backups("s", [backup(1, ' '), orphan]);
        assert_eq!(words(RetentionPolicy::Redundancy(1), 0, &catalog), "VALID -");
    }

    #[test]
    fn loops_of_parents_end() {
        let (mut a, mut b) = (backup(1, ' '), backup(2, ' '));
        (a.parent_backup_id, b.parent_backup_id) = (Some(b.id), Some(a.id));
        let catalog = Catalog::from_backups("s", [a, b]);
        assert_eq!(words(RetentionPolicy::Redundancy(1), 0, &catalog), "- -");
    }

    #[test]
    fn a_backup_being_deleted_counts_for_nothing() {
        let catalog = catalog("1 2 3");
        let newest = catalog.highest_id().unwrap();
        let catalog = catalog.with_deletion_begun(newest);
        assert_eq!(
            words(RetentionPolicy::Redundancy(1), 0, &catalog),
            "OBSOLETE VALID OBSOLETE"
        );
        assert_eq!(redundancy(&catalog), 2);
    }

    /// The number of backups a word leaves alone.
    fn survivors(policy: RetentionPolicy, minimum: u32, catalog: &Catalog) -> Vec<BackupId> {
        let report = report(policy, minimum, catalog, now());
        report
            .into_iter()
            .filter(|(_, w)| *w != RetentionStatus::Obsolete)
            .map(|(id, _)| id)
            .collect()
    }

    proptest! {
        #[test]
        fn asking_for_more_never_loses_a_backup(
            ages in prop::collection::btree_map(0u32..60, prop::sample::select(vec![' ', 'W', 'F', 'S', 'K']), 0..12),
            count in 0u32..10,
            minimum in 0u32..5,
            by_window in any::<bool>(),
        ) {
            let spelled: Vec<String> = ages.iter().map(|(age, letter)| format!("{age}{}", letter.to_string().trim())).collect();
            let catalog = catalog(&spelled.join(" "));
            let policy = |count| if by_window { window(count, WindowUnit::Days) } else { RetentionPolicy::Redundancy(count) };
            let now = survivors(policy(count), minimum, &catalog);
            for more in [survivors(policy(count + 1), minimum, &catalog), survivors(policy(count), minimum + 1, &catalog)] {
                prop_assert!(now.iter().all(|id| more.contains(id)));
            }
            // The minimum redundancy survives.
            let done = redundancy(&catalog).min(minimum);
            let kept = now.iter().filter(|id| catalog.get(**id).is_some_and(|b| b.status == BackupStatus::Done)).count();
            prop_assert!(kept >= usize::try_from(done).unwrap());
        }
    }
}
