//! What may go: pure decisions over a catalogue.

use crate::annotations::Keep;
use crate::backup_info::{BackupInfo, BackupStatus};
use crate::catalog::Catalog;
use crate::ids::BackupId;
use crate::retention;
use barman_wal::{SegmentName, TimelineId, WalFileName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who wants a backup deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A user.
    Manual,
    /// The retention policy.
    Policy,
}

/// On whose behalf a backup is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandate {
    /// Who wants it deleted.
    pub trigger: Trigger,
    /// The root of the tree that is being deleted, whose lock the caller holds all the time.
    pub root: Option<BackupId>,
}

impl From<Trigger> for Mandate {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, root: None }
    }
}

/// Why a backup is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is kept on request.
    #[error("backup {id} is kept ({})", keep.as_str())]
    Kept {
        /// The backup.
        id: BackupId,
        /// How.
        keep: Keep,
    },
    /// There would be too few left.
    #[error("backup {id} is needed for the minimum redundancy: {available} of at least {minimum} backups")]
    MinimumRedundancy {
        /// The backup.
        id: BackupId,
        /// How many must be left.
        minimum: u32,
        /// How many there are.
        available: u32,
    },
}

/// Whether a user may delete the backup: not one that is kept, and not one of the last whole ones. A deletion that
/// has begun may always be finished.
///
/// # Errors
/// The reason against it.
pub fn check(catalog: &Catalog, backup: &BackupInfo, minimum_redundancy: u32) -> Result<(), Refusal> {
    let id = backup.id;
    if let Some(keep) = catalog.keep(id) {
        return Err(Refusal::Kept { id, keep });
    }
    let counts =
        backup.status == BackupStatus::Done && !backup.is_incremental() && !catalog.is_being_deleted(id);
    let available = retention::redundancy(catalog);
    if counts && minimum_redundancy >= available {
        return Err(Refusal::MinimumRedundancy {
            id,
            minimum: minimum_redundancy,
            available,
        });
    }
    Ok(())
}

/// Why WAL from the limit on stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum LimitReason {
    /// This backup begins there.
    Begins {
        /// Which.
        id: BackupId,
    },
    /// The deleted backup, which has no successor, began there: what was archived since may be all that is left.
    LastBackup {
        /// The deleted backup.
        id: BackupId,
    },
}

/// Which WAL goes: what is below a limit, unless somebody needs it. Each range that stays has its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalPlan {
    /// Nothing from here on goes, in the order of names, so no higher timeline either.
    pub limit: SegmentName,
    /// Why not.
    pub limit_reason: LimitReason,
    /// Nothing of these timelines goes; each with a backup that is on it.
    pub protected_timelines: BTreeMap<TimelineId, BackupId>,
    /// Nothing in these ranges goes; both ends are in them. Each with the standalone backup that needs it.
    pub protected_ranges: Vec<(SegmentName, SegmentName, BackupId)>,
    /// Where backups begin on timelines below that of the limit: recovery from there may go on to a later timeline,
    /// so nothing at or after these positions goes on higher timelines than theirs.
    pub protected_futures: Vec<(SegmentName, BackupId)>,
}

/// What becomes of a file of the archive, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Fate {
    /// It goes: it is older than everything that is needed, which begins here.
    Goes {
        /// The first segment that is needed.
        limit: SegmentName,
        /// By whom.
        because: LimitReason,
    },
    /// A history file: whoever restores along its timeline needs it.
    History,
    /// It is at the limit or after it.
    FromLimit {
        /// The first segment that is needed.
        limit: SegmentName,
        /// By whom.
        because: LimitReason,
    },
    /// There is a backup on its timeline.
    Timeline {
        /// Which.
        id: BackupId,
    },
    /// A backup that is kept alone needs it to be consistent.
    Standalone {
        /// Which.
        id: BackupId,
    },
    /// A backup on an older timeline can be restored along it.
    Future {
        /// Which.
        id: BackupId,
    },
}

impl Fate {
    /// Whether the file goes.
    #[must_use]
    pub fn goes(&self) -> bool {
        matches!(self, Self::Goes { .. })
    }
}

impl fmt::Display for LimitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins { id } => write!(f, "where backup {id} begins"),
            Self::LastBackup { id } => write!(f, "where backup {id} began, the last one"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goes { limit, because } => write!(f, "older than {limit}, {because}"),
            Self::History => f.write_str("history files stay"),
            Self::FromLimit { limit, because } => write!(f, "from {limit} on, {because}"),
            Self::Timeline { id } => write!(f, "backup {id} is on this timeline"),
            Self::Standalone { id } => write!(f, "backup {id}, which is kept alone, needs it"),
            Self::Future { id } => write!(f, "backup {id} can be restored along this timeline"),
        }
    }
}

impl WalPlan {
    /// Whether a file of the archive goes. History files never do.
    #[must_use]
    pub fn removes(&self, name: &WalFileName) -> bool {
        self.fate(name).goes()
    }

    /// What becomes of a file of the archive.
    #[must_use]
    pub fn fate(&self, name: &WalFileName) -> Fate {
        let Some(segment) = name.segment() else {
            return Fate::History;
        };
        let (limit, because) = (self.limit, self.limit_reason);
        // The label and the partial file of the limit's own segment sort after it and stay.
        if segment >= limit {
            return Fate::FromLimit { limit, because };
        }
        let in_range =
            |(from, to, _): &&(SegmentName, SegmentName, BackupId)| *from <= segment && segment <= *to;
        if let Some((_, _, id)) = self.protected_ranges.iter().find(in_range) {
            return Fate::Standalone { id: *id };
        }
        if let Some(id) = self.protected_timelines.get(&segment.timeline) {
            return Fate::Timeline { id: *id };
        }
        let is_before = |(begin, _): &&(SegmentName, BackupId)| {
            begin.timeline < segment.timeline && (begin.log, begin.seg) <= (segment.log, segment.seg)
        };
        match self.protected_futures.iter().find(is_before) {
            Some((_, id)) => Fate::Future { id: *id },
            None => Fate::Goes { limit, because },
        }
    }
}

/// Why no WAL goes with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum KeepReason {
    /// This older backup needs it to be restored to later moments.
    OlderBackup {
        /// Which.
        id: BackupId,
    },
    /// An older backup's metadata cannot be read, so what it needs is not known.
    UnreadableBackup,
    /// It is not known where the next backup (or the deleted one) begins.
    NoLimit,
    /// For a purge: the backup is not one that could be restored.
    NotWhole,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OlderBackup { id } => write!(f, "backup {id}, which is older, needs it"),
            Self::UnreadableBackup => f.write_str("a backup that cannot be read may need it"),
            Self::NoLimit => f.write_str("it is not known from where on WAL is needed"),
            Self::NotWhole => f.write_str("the backup is not whole"),
        }
    }
}

/// What of the WAL goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalDecision {
    /// Nothing.
    Keep(KeepReason),
    /// What the plan says.
    Remove(WalPlan),
}

/// Which WAL goes when the backup `id` is deleted.
///
/// WAL goes only with the oldest backup; older ones that are kept as standalone do not count when a policy deletes,
/// their own ranges are protected. What goes ends where the next backup begins, or, when there is none, where the
/// deleted one began. Other timelines are protected as long as a backup is on them, and on the limit's own timeline
/// any other backup that begins earlier moves the limit down. A backup whose metadata cannot be read may need
/// anything.
#[must_use]
pub fn wal_decision(catalog: &Catalog, id: BackupId, trigger: Trigger) -> WalDecision {
    if catalog.broken().iter().any(|b| b.id != Some(id)) {
        return WalDecision::Keep(KeepReason::UnreadableBackup);
    }
    let mut ranges = Vec::new();
    let mut standalone = BTreeSet::from([id]);
    let mut older = catalog.previous(id);
    while let Some(backup) = older {
        // Ends before it begins, or elsewhere: what it needs is not known.
        let range = backup
            .wal_range()
            .filter(|(from, to)| from.timeline == to.timeline && from <= to);
        match (trigger, catalog.keep(backup.id), range) {
            (Trigger::Policy, Some(Keep::Standalone), Some(range)) => {
                ranges.push((range.0, range.1, backup.id));
                standalone.insert(backup.id);
                older = catalog.previous(backup.id);
            }
            _ => return WalDecision::Keep(KeepReason::OlderBackup { id: backup.id }),
        }
    }
    let until = catalog.next(id);
    let (limit, reason) = match until {
        Some(next) => (next.begin_wal, LimitReason::Begins { id: next.id }),
        None => (
            catalog.get(id).and_then(|b| b.begin_wal),
            LimitReason::LastBackup { id },
        ),
    };
    let Some(limit) = limit else {
        return WalDecision::Keep(KeepReason::NoLimit);
    };
    let others = catalog
        .usable()
        .filter(|b| b.status.is_archiving() && !standalone.contains(&b.id));
    WalDecision::Remove(protect((limit, reason), ranges, others))
}

/// Which WAL goes once `id`, the first backup of a server, is whole: what lies before it and before every other
/// backup that may need WAL. Nothing if an older whole backup exists, or if this one failed or never began.
#[must_use]
pub fn first_backup_purge(catalog: &Catalog, id: BackupId) -> WalDecision {
    let Some(backup) = catalog.get(id) else {
        return WalDecision::Keep(KeepReason::NoLimit);
    };
    if !backup.status.is_archiving() {
        return WalDecision::Keep(KeepReason::NotWhole);
    }
    if !catalog.broken().is_empty() {
        return WalDecision::Keep(KeepReason::UnreadableBackup);
    }
    if let Some(older) = catalog.previous(id) {
        return WalDecision::Keep(KeepReason::OlderBackup { id: older.id });
    }
    let Some(limit) = backup.begin_wal else {
        return WalDecision::Keep(KeepReason::NoLimit);
    };
    let others = catalog.usable().filter(|b| b.status.is_archiving() && b.id != id);
    WalDecision::Remove(protect((limit, LimitReason::Begins { id }), Vec::new(), others))
}

/// The plan below `limit` that spares what `others` need.
fn protect<'a>(
    (mut limit, mut limit_reason): (SegmentName, LimitReason),
    protected_ranges: Vec<(SegmentName, SegmentName, BackupId)>,
    others: impl Iterator<Item = &'a BackupInfo>,
) -> WalPlan {
    let mut protected_timelines = BTreeMap::new();
    let mut protected_futures = Vec::new();
    for other in others {
        let future = other.begin_wal.filter(|begin| begin.timeline < limit.timeline);
        protected_futures.extend(future.map(|begin| (begin, other.id)));
        let timeline = other.begin_wal.map(|w| w.timeline).or(other.timeline);
        match (timeline, other.begin_wal) {
            (Some(timeline), Some(begin)) if timeline == limit.timeline => {
                if begin < limit {
                    limit = begin;
                    limit_reason = LimitReason::Begins { id: other.id };
                }
            }
            (Some(timeline), _) => {
                protected_timelines.entry(timeline).or_insert(other.id);
            }
            (None, _) => {}
        }
    }
    // Standalone backups protect their timeline too when it is not the limit's, as Barman has it.
    for (from, _, id) in &protected_ranges {
        if from.timeline != limit.timeline {
            protected_timelines.entry(from.timeline).or_insert(*id);
        }
    }
    WalPlan {
        limit,
        limit_reason,
        protected_timelines,
        protected_ranges,
        protected_futures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Backups by lines `ID STATUS BEGIN END [keep]`, where BEGIN and END are `timeline/segment number`.
    fn catalog(lines: &str) -> Catalog {
        let mut kept = Vec::new();
        let backups: Vec<_> = lines
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let mut info = BackupInfo::new(id(words[0]), "s", Some("postgres".into()));
                info.status = words[1].parse().unwrap();
                info.begin_wal = segment(words[2]);
                info.end_wal = segment(words[3]);
                info.timeline = info.begin_wal.map(|w| w.timeline);
                match words.get(4) {
                    Some(&"standalone") => kept.push((info.id, Keep::Standalone)),
                    Some(&"full") => kept.push((info.id, Keep::Full)),
                    Some(parent) => info.parent_backup_id = Some(id(parent)),
                    None => {}
                }
                info
            })
            .collect();
        kept.into_iter()
            .fold(Catalog::from_backups("s", backups), |c, (id, keep)| {
                c.with_keep(id, keep)
            })
    }

    /// `3` is 20260103T000000.
    fn id(day: &str) -> BackupId {
        format!("202601{day:0>2}T000000").parse().unwrap()
    }

    fn segment(text: &str) -> Option<SegmentName> {
        let (timeline, number) = text.split_once('/')?;
        format!("{timeline:0>8}00000000{number:0>8}").parse().ok()
    }

    fn show(decision: &WalDecision) -> String {
        let short = |s: SegmentName| format!("{}/{:X}", s.timeline.get(), s.seg);
        match decision {
            WalDecision::Keep(KeepReason::OlderBackup { id }) => format!("OlderBackup({id})"),
            WalDecision::Keep(reason) => format!("{reason:?}"),
            WalDecision::Remove(plan) => {
                let mut text = format!("below {}", short(plan.limit));
                for timeline in plan.protected_timelines.keys() {
                    let _ = write!(text, " not {}", timeline.get());
                }
                for (from, to, _) in &plan.protected_ranges {
                    let _ = write!(text, " not {}-{}", short(*from), short(*to));
                }
                text
            }
        }
    }

    #[test]
    fn wal_goes_with_the_oldest_backup_up_to_the_next() {
        let three = "1 DONE 1/2 1/3\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9";
        for (lines, deleted, trigger, expected) in [
            (three, "1", Trigger::Manual, "below 1/5"),
            (three, "2", Trigger::Manual, "OlderBackup(20260101T000000)"),
            ("1 DONE 1/2 1/3", "1", Trigger::Manual, "below 1/2"),
            ("1 FAILED - -", "1", Trigger::Manual, "NoLimit"),
            ("1 FAILED - -\n2 DONE 1/5 1/6", "1", Trigger::Manual, "below 1/5"),
            // Failed backups are not the next one, waiting ones are.
            (
                "1 DONE 1/2 1/3\n2 FAILED 1/4 1/4\n3 WAITING_FOR_WALS 1/8 1/9",
                "1",
                Trigger::Manual,
                "below 1/8",
            ),
            // A backup that is running, or being copied from another node, needs its WAL.
            (
                "1 DONE 1/2 1/3\n2 STARTED 1/4 -\n3 DONE 1/8 1/9",
                "1",
                Trigger::Manual,
                "below 1/4",
            ),
            (
                "1 DONE 1/2 1/3\n2 SYNCING 2/4 -\n3 DONE 1/8 1/9",
                "1",
                Trigger::Manual,
                "below 1/8 not 2",
            ),
            // Ids out of order: the next by id began later than one that follows.
            (
                "1 DONE 1/2 1/3\n2 DONE 1/8 1/9\n3 DONE 1/5 1/6",
                "1",
                Trigger::Manual,
                "below 1/5",
            ),
            // Timelines on which there is a backup stay.
            (
                "1 DONE 1/2 1/3\n2 DONE 2/5 2/6\n3 DONE 1/8 1/9",
                "1",
                Trigger::Manual,
                "below 2/5 not 1",
            ),
            (
                "1 DONE 1/2 1/3\n2 DONE 2/5 2/6\n3 DONE 3/8 3/9",
                "1",
                Trigger::Manual,
                "below 2/5 not 3",
            ),
            // Standalone backups.
            (
                "1 DONE 1/2 1/3 standalone\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9",
                "2",
                Trigger::Manual,
                "OlderBackup(20260101T000000)",
            ),
            (
                "1 DONE 1/2 1/3 standalone\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9",
                "2",
                Trigger::Policy,
                "below 1/8 not 1/2-1/3",
            ),
            (
                "1 DONE 1/2 1/3 full\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9",
                "2",
                Trigger::Policy,
                "OlderBackup(20260101T000000)",
            ),
            (
                "1 DONE 1/2 1/3 standalone\n2 DONE 1/5 1/6\n3 DONE 2/8 2/9",
                "2",
                Trigger::Policy,
                "below 2/8 not 1 not 1/2-1/3",
            ),
            // One that does not tell what it needs.
            (
                "1 DONE 1/3 1/2 standalone\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9",
                "2",
                Trigger::Policy,
                "OlderBackup(20260101T000000)",
            ),
            (
                "1 DONE 1/2 - standalone\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9",
                "2",
                Trigger::Policy,
                "OlderBackup(20260101T000000)",
            ),
            // The tree of an incremental: its root needs the WAL.
            (
                "1 DONE 1/2 1/3\n2 DONE 1/5 1/6 1",
                "2",
                Trigger::Policy,
                "OlderBackup(20260101T000000)",
            ),
        ] {
            assert_eq!(
                show(&wal_decision(&catalog(lines), id(deleted), trigger)),
                expected,
                "{lines:?} - {deleted}"
            );
        }
    }

    #[test]
    fn a_backup_being_deleted_holds_no_wal_back() {
        let catalog = catalog("1 DONE 1/2 1/3\n2 DONE 1/5 1/6\n3 DONE 1/8 1/9").with_deletion_begun(id("1"));
        assert_eq!(
            show(&wal_decision(&catalog, id("2"), Trigger::Manual)),
            "below 1/8"
        );
    }

    #[test]
    fn the_first_backup_purges_only_what_nobody_needs() {
        for (lines, first, expected) in [
            ("1 STARTED 1/5 1/6", "1", "below 1/5"),
            ("1 FAILED 1/5 1/6", "1", "NotWhole"),
            ("1 FAILED - -", "1", "NotWhole"),
            ("1 STARTED - -", "1", "NoLimit"),
            ("1 FAILED 1/2 1/3\n2 DONE 1/5 1/6", "2", "below 1/5"),
            (
                "1 DONE 1/2 1/3\n2 DONE 1/5 1/6",
                "2",
                "OlderBackup(20260101T000000)",
            ),
            // The clock went back: the newest backup has the lowest id.
            (
                "1 STARTED 1/8 1/9\n2 DONE 1/2 1/3\n3 DONE 2/5 2/6",
                "1",
                "below 1/2 not 2",
            ),
        ] {
            assert_eq!(
                show(&first_backup_purge(&catalog(lines), id(first))),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn names_below_the_limit_go_unless_protected() {
        let plan = WalPlan {
            limit: segment("3/5").unwrap(),
            limit_reason: LimitReason::Begins { id: id("9") },
            protected_timelines: BTreeMap::from([(TimelineId::new(2).unwrap(), id("8"))]),
            protected_ranges: vec![(segment("3/2").unwrap(), segment("3/3").unwrap(), id("7"))],
            protected_futures: Vec::new(),
        };
        for (name, goes) in [
            ("00000001.history", false),
            ("000000010000000000000009", true),
            ("000000020000000000000001", false),
            ("000000030000000000000001", true),
            ("000000030000000000000002", false),
            ("000000030000000000000003.00000028.backup", false),
            ("000000030000000000000004.partial", true),
            ("000000030000000000000004.00000028.backup", true),
            ("000000030000000000000005", false),
            ("000000030000000000000005.00000028.backup", false),
            ("000000040000000000000001", false),
        ] {
            assert_eq!(plan.removes(&name.parse().unwrap()), goes, "{name}");
        }
    }

    /// An old primary that still is on timeline 1 is backed up after the new one on timeline 3, or the clock went back:
    /// its backup can be restored along timelines 1, 2 and 3.
    #[test]
    fn wal_of_timelines_that_a_backup_on_an_older_one_may_follow_stays() {
        let catalog = catalog("1 DONE 1/2 1/3\n2 DONE 3/50 3/51\n3 DONE 1/10 1/11");
        let WalDecision::Remove(plan) = wal_decision(&catalog, id("1"), Trigger::Manual) else {
            panic!("nothing goes");
        };
        for (name, goes) in [
            // Barman protects the whole timeline of a backup.
            ("000000010000000000000002", false),
            ("00000002000000000000000F", true),
            ("000000020000000000000010", false),
            ("000000020000000000000010.00000028.backup", false),
            ("000000020000000100000001", false),
            ("00000003000000000000000F", true),
            ("000000030000000000000020", false),
            ("000000030000000000000050", false),
        ] {
            assert_eq!(plan.removes(&name.parse().unwrap()), goes, "{name}");
        }
    }

    #[test]
    fn kept_and_last_backups_are_refused() {
        let catalog = catalog("1 DONE 1/2 1/3\n2 DONE 1/5 1/6 full\n3 FAILED 1/8 -\n4 DONE 1/9 1/9 1");
        let refused = |day, minimum| check(&catalog, catalog.get(id(day)).unwrap(), minimum).is_err();
        assert!(!refused("1", 1) && refused("1", 2));
        assert!(refused("2", 0));
        assert!(!refused("3", 9) && !refused("4", 9));
        let begun = catalog.clone().with_deletion_begun(id("1"));
        assert!(check(&begun, begun.get(id("1")).unwrap(), 9).is_ok());
    }
}
