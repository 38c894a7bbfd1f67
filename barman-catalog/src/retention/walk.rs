//! The walk over the backups from the newest to the oldest that decides about each.

use super::{Reason, RetentionPolicy, RetentionStatus};
use crate::annotations::Keep;
use crate::backup_info::BackupStatus;
use crate::catalog::{Catalog, tree_leaves_first};
use crate::ids::BackupId;
use std::collections::BTreeMap;

/// What a policy says about a backup, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// What it says.
    pub status: RetentionStatus,
    /// Why.
    pub reason: Reason,
}

/// What `policy` says about each backup at `now`, and why. See [`report`](super::report).
#[must_use]
pub fn explain(
    policy: RetentionPolicy,
    minimum_redundancy: u32,
    catalog: &Catalog,
    now: jiff::Timestamp,
) -> BTreeMap<BackupId, Verdict> {
    let mut verdicts = BTreeMap::new();
    for backup in catalog.backups().filter(|b| b.status != BackupStatus::Empty) {
        let verdict = Verdict {
            status: RetentionStatus::None,
            reason: Reason::RootMissing,
        };
        verdicts.insert(backup.id, verdict);
    }
    let children = catalog.child_map();
    let mut walk = Walk::new(policy, minimum_redundancy, now);
    for root in catalog
        .backups()
        .rev()
        .filter(|b| !b.is_incremental() && b.status != BackupStatus::Empty)
    {
        let deleting = Verdict {
            status: RetentionStatus::Obsolete,
            reason: Reason::BeingDeleted,
        };
        let of_root = Reason::OfRoot { root: root.id };
        let (verdict, below) = if catalog.is_being_deleted(root.id) {
            (deleting, (RetentionStatus::Obsolete, of_root))
        } else if root.status == BackupStatus::Done {
            walk.next(root.id, catalog.keep(root.id), root.end_time.map(|t| t.instant()))
        } else {
            let reason = Reason::NotDone { status: root.status };
            let verdict = Verdict {
                status: RetentionStatus::None,
                reason,
            };
            (verdict, (RetentionStatus::None, of_root))
        };
        for id in tree_leaves_first(&children, root.id) {
            let verdict = match (id == root.id, catalog.is_being_deleted(id)) {
                (true, _) => verdict,
                (false, true) => deleting,
                (false, false) => Verdict {
                    status: below.0,
                    reason: below.1,
                },
            };
            if let Some(entry) = verdicts.get_mut(&id) {
                *entry = verdict;
            }
        }
    }
    spare_what_kept_incrementals_need(catalog, &mut verdicts);
    verdicts
}

/// Nobody keeps an incremental backup by the command, but an annotation says what it says: it stays, and what it is
/// based on with it.
fn spare_what_kept_incrementals_need(catalog: &Catalog, verdicts: &mut BTreeMap<BackupId, Verdict>) {
    for kept in catalog.usable().filter(|b| b.is_incremental()) {
        let Some(keep) = catalog.keep(kept.id) else {
            continue;
        };
        let chain = catalog.chain(kept.id);
        if chain.iter().any(|b| catalog.is_being_deleted(b.id)) {
            continue;
        }
        for backup in chain {
            let Some(verdict) = verdicts.get_mut(&backup.id) else {
                continue;
            };
            if verdict.status == RetentionStatus::Obsolete {
                *verdict = Verdict {
                    status: RetentionStatus::Valid,
                    reason: if backup.id == kept.id {
                        Reason::Kept { keep }
                    } else {
                        Reason::NeededBy { kept: kept.id }
                    },
                };
            }
        }
    }
}

/// The walk over whole backups from the newest to the oldest.
struct Walk {
    policy: RetentionPolicy,
    minimum_redundancy: u32,
    window_start: Option<jiff::Timestamp>,
    /// Backups seen (redundancy), or taken as valid (recovery window).
    counted: u32,
    /// The newest backup that is older than the window, once it has been seen.
    reached_by: Option<BackupId>,
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
            reached_by: None,
        }
    }

    /// The verdict on the next older backup, and what holds for its incrementals.
    fn next(
        &mut self,
        id: BackupId,
        keep: Option<Keep>,
        end: Option<jiff::Timestamp>,
    ) -> (Verdict, (RetentionStatus, Reason)) {
        let (status, reason, past) = match self.policy {
            RetentionPolicy::Redundancy(wanted) => self.by_redundancy(wanted),
            RetentionPolicy::RecoveryWindow { .. } => self.by_window(id, end),
        };
        let of_root = Reason::OfRoot { root: id };
        match keep {
            None => (Verdict { status, reason }, (status, of_root)),
            Some(keep @ Keep::Full) => {
                let verdict = Verdict {
                    status: RetentionStatus::KeepFull,
                    reason: Reason::Kept { keep },
                };
                (verdict, (RetentionStatus::Valid, of_root))
            }
            Some(keep @ Keep::Standalone) => {
                let verdict = Verdict {
                    status: RetentionStatus::KeepStandalone,
                    reason: Reason::Kept { keep },
                };
                let below = if past {
                    RetentionStatus::Obsolete
                } else {
                    RetentionStatus::Valid
                };
                (verdict, (below, Reason::RootKeptAlone { root: id }))
            }
        }
    }

    /// The word, why, and whether what comes after this one is obsolete.
    fn by_redundancy(&mut self, wanted: u32) -> (RetentionStatus, Reason, bool) {
        let is_wanted = self.counted < wanted;
        self.counted = self.counted.saturating_add(1);
        let position = self.counted;
        let (status, reason) = if is_wanted {
            (RetentionStatus::Valid, Reason::Newest { position, wanted })
        } else {
            (
                RetentionStatus::Obsolete,
                Reason::BeyondRedundancy { position, wanted },
            )
        };
        (status, reason, self.counted > wanted)
    }

    fn by_window(&mut self, id: BackupId, end: Option<jiff::Timestamp>) -> (RetentionStatus, Reason, bool) {
        let window_start = self.window_start.unwrap_or(jiff::Timestamp::MIN);
        let (status, reason) = match self.reached_by {
            None => {
                self.counted = self.counted.saturating_add(1);
                let reason = match end {
                    // The first one that is older is needed to reach the window's beginning.
                    Some(end) if end < window_start => {
                        self.reached_by = Some(id);
                        Reason::ReachesWindow { window_start }
                    }
                    Some(_) => Reason::InWindow { window_start },
                    None => Reason::NoEndTime,
                };
                (RetentionStatus::Valid, reason)
            }
            Some(_) if self.counted < self.minimum_redundancy => {
                self.counted = self.counted.saturating_add(1);
                let reason = Reason::MinimumRedundancy {
                    position: self.counted,
                    minimum: self.minimum_redundancy,
                };
                (RetentionStatus::PotentiallyObsolete, reason)
            }
            Some(reached_by) => (
                RetentionStatus::Obsolete,
                Reason::BeforeWindow {
                    window_start,
                    reached_by,
                },
            ),
        };
        (status, reason, self.reached_by.is_some())
    }
}
