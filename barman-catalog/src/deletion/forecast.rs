//! What a deletion would remove, without removing anything: for `delete --dry-run` and `retention --explain`.

use super::{Fate, KeepReason, Trigger, WalDecision, WalPlan, wal_decision};
use crate::backup_info::BackupStatus;
use crate::catalog::Catalog;
use crate::ids::BackupId;
use crate::retention::RetentionStatus;
use crate::xlogdb::XlogDb;
use barman_wal::WalFileName;
use std::collections::{BTreeMap, BTreeSet};

/// Neighbouring files of the archive that share a fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct WalRange {
    /// The first file.
    pub first: WalFileName,
    /// The last file.
    pub last: WalFileName,
    /// How many there are.
    pub files: u64,
    /// Their bytes in the archive.
    pub bytes: u64,
    /// What becomes of them, and why.
    pub fate: Fate,
}

/// What of the archive goes with a backup, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WalForecast {
    /// Nothing goes.
    Stays(KeepReason),
    /// The ranges in the order of their names. Those from the limit on are one range.
    Ranges(Vec<WalRange>),
}

/// One backup that would be deleted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Which.
    pub id: BackupId,
    /// Its status.
    pub status: BackupStatus,
    /// What it is based on.
    pub parent: Option<BackupId>,
    /// How many bytes come free, as far as they were measured.
    pub bytes: Option<u64>,
    /// What of the archive goes with it.
    pub wal: WalForecast,
}

/// What deleting the backups of `order`, one after the other, would do to `catalog` and to the archive that `db` lists.
///
/// Each file of the archive is looked at once for every time that it stays below a limit; so this is linear in all that
/// is deleted.
#[must_use]
pub fn forecast(catalog: &Catalog, order: &[BackupId], trigger: Trigger, db: &XlogDb) -> Vec<Step> {
    let mut catalog = catalog.clone();
    let mut archive = Archive::new(db);
    let mut steps = Vec::new();
    for id in order {
        let Some(backup) = catalog.get(*id) else { continue };
        let wal = match wal_decision(&catalog, *id, trigger) {
            WalDecision::Keep(reason) => WalForecast::Stays(reason),
            WalDecision::Remove(plan) => WalForecast::Ranges(archive.remove(&plan)),
        };
        steps.push(Step {
            id: *id,
            status: backup.status,
            parent: backup.parent_backup_id,
            bytes: backup.deduplicated_size.or(backup.size),
            wal,
        });
        catalog.forget(*id);
    }
    steps
}

/// What a policy deletes, by what it says of each backup: trees in the order of their roots, each with its leaves first
/// and its root last. Deletions that have begun are among them, and need no policy.
///
/// A tree in which a backup cannot be read stays: what that one is based on would go.
#[must_use]
pub fn obsolete_trees(catalog: &Catalog, words: &BTreeMap<BackupId, RetentionStatus>) -> Vec<Vec<BackupId>> {
    let goes = |id: BackupId| {
        catalog.is_being_deleted(id)
            || (words.get(&id) == Some(&RetentionStatus::Obsolete) && catalog.keep(id).is_none())
    };
    let mut trees = Vec::new();
    let mut seen = BTreeSet::new();
    for root in catalog.backups().map(|b| b.id).filter(|id| goes(*id)) {
        // With a backup goes what is based on it, whatever is said about that.
        let tree = catalog.tree_leaves_first(root);
        if !catalog.is_being_deleted(root) && catalog.unreadable_child(&tree).is_some() {
            continue;
        }
        let new: Vec<BackupId> = tree.into_iter().filter(|id| seen.insert(*id)).collect();
        if new.last() == Some(&root) {
            trees.push(new);
        }
    }
    trees
}

/// The files of an archive, sorted, as they become fewer. History files are left out: they stay.
struct Archive {
    files: Vec<(WalFileName, u64)>,
    /// `totals[i]`: bytes of the first `i` files.
    totals: Vec<u64>,
    /// Files below an earlier limit that have stayed.
    low: Vec<(WalFileName, u64)>,
    /// Files from here on have not been looked at.
    next: usize,
}

impl Archive {
    fn new(db: &XlogDb) -> Self {
        let mut files: Vec<_> = db
            .iter()
            .filter(|r| r.name.segment().is_some())
            .map(|r| (r.name, r.size))
            .collect();
        files.sort_by_key(|(name, _)| (name.segment(), *name));
        files.dedup_by_key(|(name, _)| *name);
        let mut totals = Vec::with_capacity(files.len() + 1);
        let mut total = 0u64;
        totals.push(total);
        for (_, size) in &files {
            total = total.saturating_add(*size);
            totals.push(total);
        }
        Self {
            files,
            totals,
            low: Vec::new(),
            next: 0,
        }
    }

    /// What becomes of the files by this plan; those that go are gone for the next one.
    fn remove(&mut self, plan: &WalPlan) -> Vec<WalRange> {
        let end = self
            .files
            .partition_point(|(name, _)| name.segment() < Some(plan.limit))
            .max(self.next);
        let mut ranges: Vec<WalRange> = Vec::new();
        let mut low = Vec::new();
        let looked_at = self
            .low
            .iter()
            .chain(self.files.get(self.next..end).unwrap_or(&[]));
        for (name, size) in looked_at {
            let fate = plan.fate(name);
            if !fate.goes() {
                low.push((*name, *size));
            }
            match ranges.last_mut() {
                Some(last) if last.fate == fate && last.first.timeline() == name.timeline() => {
                    last.last = *name;
                    last.files += 1;
                    last.bytes = last.bytes.saturating_add(*size);
                }
                _ => ranges.push(WalRange {
                    first: *name,
                    last: *name,
                    files: 1,
                    bytes: *size,
                    fate,
                }),
            }
        }
        self.low = low;
        self.next = end;
        if let (Some((first, _)), Some((last, _))) = (self.files.get(end), self.files.last()) {
            let bytes = |at: usize| self.totals.get(at).copied().unwrap_or(0);
            ranges.push(WalRange {
                first: *first,
                last: *last,
                files: (self.files.len() - end) as u64,
                bytes: bytes(self.files.len()).saturating_sub(bytes(end)),
                fate: Fate::FromLimit {
                    limit: plan.limit,
                    because: plan.limit_reason,
                },
            });
        }
        ranges
    }
}

impl WalForecast {
    /// The ranges that go.
    pub fn going(&self) -> impl Iterator<Item = &WalRange> {
        self.ranges().iter().filter(|r| r.fate.goes())
    }

    /// The ranges that stay.
    pub fn staying(&self) -> impl Iterator<Item = &WalRange> {
        self.ranges().iter().filter(|r| !r.fate.goes())
    }

    fn ranges(&self) -> &[WalRange] {
        match self {
            Self::Stays(_) => &[],
            Self::Ranges(ranges) => ranges,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keep;
    use crate::backup_info::BackupInfo;

    fn id(day: u8) -> BackupId {
        format!("202601{day:02}T000000").parse().unwrap()
    }

    fn segment(timeline: u32, number: u32) -> String {
        format!("{timeline:08X}00000000{number:08X}")
    }

    fn backup(day: u8, timeline: u32, begin: u32) -> BackupInfo {
        let mut info = BackupInfo::new(id(day), "s", Some("postgres".into()));
        info.status = BackupStatus::Done;
        info.begin_wal = segment(timeline, begin).parse().ok();
        info.end_wal = segment(timeline, begin + 1).parse().ok();
        info.timeline = info.begin_wal.map(|w| w.timeline);
        info
    }

    fn db(names: impl IntoIterator<Item = String>) -> XlogDb {
        let text: String = names
            .into_iter()
            .map(|name| format!("{name}\t10\t1.0\tNone\tNone\n"))
            .collect();
        XlogDb::parse(text.as_bytes()).unwrap()
    }

    fn show(step: &Step) -> String {
        match &step.wal {
            WalForecast::Stays(reason) => format!("stays: {reason}"),
            WalForecast::Ranges(ranges) => ranges
                .iter()
                .map(|r| {
                    let (first, last) = (r.first.to_string(), r.last.to_string());
                    let short = |name: &str| format!("{}/{}", &name[7..8], &name[22..]);
                    let goes = if r.fate.goes() { "-" } else { "+" };
                    format!("{goes}{}..{} {}", short(&first), short(&last), r.files)
                })
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    #[test]
    fn each_step_takes_what_the_ones_before_have_left() {
        let catalog = Catalog::from_backups(
            "s",
            [
                backup(1, 1, 2),
                backup(2, 1, 5),
                backup(3, 1, 9),
                backup(4, 2, 12),
            ],
        )
        .with_keep(id(2), Keep::Standalone);
        let names = (1..=13)
            .map(|n| segment(1, n))
            .chain([segment(1, 5) + ".00000028.backup"]);
        let names = names.chain([segment(2, 11), segment(2, 12), "00000002.history".to_owned()]);
        let db = db(names);
        let steps = forecast(&catalog, &[id(1), id(3)], Trigger::Policy, &db);
        assert_eq!(
            steps.iter().map(show).collect::<Vec<_>>(),
            [
                "-1/01..1/04 4, +1/05..2/0C 12",
                // A standalone backup protects its timeline when the limit is on another one.
                "+1/05..1/06 3, +1/07..1/0D 7, -2/0B..2/0B 1, +2/0C..2/0C 1",
            ]
        );
        let text = steps[1]
            .wal
            .staying()
            .map(|r| r.fate.to_string())
            .collect::<Vec<_>>()
            .join("; ");
        assert_eq!(
            text,
            "backup 20260102T000000, which is kept alone, needs it; backup 20260102T000000 is on this timeline; \
             from 00000002000000000000000C on, where backup 20260104T000000 begins"
        );
        let steps = forecast(&catalog, &[id(3)], Trigger::Manual, &db);
        assert_eq!(
            steps.iter().map(show).collect::<Vec<_>>(),
            ["stays: backup 20260102T000000, which is older, needs it"]
        );
    }

    /// The forecast says of each file what the plan does with it.
    #[test]
    fn ranges_are_what_the_plan_removes() {
        let catalog = Catalog::from_backups("s", [backup(1, 1, 2), backup(2, 3, 8), backup(3, 1, 4)]);
        let names = (1..=3).flat_map(|timeline| (1..=12).map(move |n| segment(timeline, n)));
        let db = db(names);
        let WalDecision::Remove(plan) = wal_decision(&catalog, id(1), Trigger::Manual) else {
            panic!("nothing goes");
        };
        let steps = forecast(&catalog, &[id(1)], Trigger::Manual, &db);
        let going: u64 = steps[0].wal.going().map(|r| r.files).sum();
        assert_eq!(going, db.iter().filter(|r| plan.removes(&r.name)).count() as u64);
        let staying: u64 = steps[0].wal.staying().map(|r| r.files).sum();
        assert_eq!(going + staying, db.len() as u64);
    }

    #[test]
    fn trees_go_whole_and_leaves_first() {
        let mut all = vec![
            backup(1, 1, 2),
            backup(2, 1, 3),
            backup(3, 1, 4),
            backup(4, 1, 6),
            backup(5, 1, 8),
        ];
        all[1].parent_backup_id = Some(id(1));
        all[2].parent_backup_id = Some(id(2));
        let catalog = Catalog::from_backups("s", all).with_deletion_begun(id(4));
        let words = |obsolete: &[u8]| {
            obsolete
                .iter()
                .map(|d| (id(*d), RetentionStatus::Obsolete))
                .collect()
        };
        let trees = |words: &BTreeMap<_, _>| obsolete_trees(&catalog, words);
        assert_eq!(trees(&words(&[1])), [vec![id(3), id(2), id(1)], vec![id(4)]]);
        assert_eq!(trees(&words(&[2, 3])), [vec![id(3), id(2)], vec![id(4)]]);
        assert_eq!(trees(&BTreeMap::new()), [vec![id(4)]]);
        let kept = catalog.clone().with_keep(id(1), Keep::Full);
        assert_eq!(obsolete_trees(&kept, &words(&[1])), [vec![id(4)]]);
    }
}
