//! Whether the WAL a backup needs to be consistent is archived. A pure function over what is in the archive.

use crate::backup_info::{BackupInfo, BackupStatus};
use barman_wal::SegmentName;

/// The beginning of the reason for which a backup failed because of missing WAL.
const MISSING: &str = "At least one WAL file is missing. The first missing WAL file is ";

/// What holds for the WAL of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// It is not known yet where the backup ends: nothing can be said.
    Unknown,
    /// All of it is archived.
    Done,
    /// This segment, and perhaps later ones, may still come.
    Waiting {
        /// The first one that is not archived.
        first_missing: SegmentName,
    },
    /// The backup can never become consistent, for this reason (the text of its `error`).
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the archive looks like to [`assess`].
pub trait ArchiveView {
    /// The latest archived segment on the timeline of `segment`.
    fn latest_on_timeline_of(&self, segment: SegmentName) -> Option<SegmentName>;
    /// Whether the segment is archived.
    fn is_archived(&self, segment: SegmentName) -> bool;
    /// Whether the segment is on its way: received or delivered, not yet archived.
    fn is_arriving(&self, segment: SegmentName) -> bool;
}

/// Whether a hole in the archive is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The missing segment may still be on its way from a slower sender.
    HolesMayFill,
    /// Whatever has not come until now does not come.
    HolesAreFinal,
}

/// Checks the segments from the beginning to the end of `backup`.
///
/// The number of looks into the archive is that of the segments there, plus one: a hole ends the walk.
pub fn assess(backup: &BackupInfo, archive: &impl ArchiveView, patience: Patience) -> Completeness {
    let Some(end) = backup.end_wal else {
        return Completeness::Unknown;
    };
    let Some(begin) = backup.begin_wal else {
        return Completeness::Unknown;
    };
    if begin.timeline != end.timeline {
        let (from, to) = (begin.timeline.hex8(), end.timeline.hex8());
        let reason = format!(
            "Backups spanning multiple timelines are not supported. \
             The backup starts in timeline {from} and ends in timeline {to}."
        );
        return Completeness::Failed { reason };
    }
    let latest = archive.latest_on_timeline_of(begin);
    let Some(latest) = latest.filter(|latest| *latest >= begin) else {
        return Completeness::Waiting { first_missing: begin };
    };
    let mut segment = begin;
    while segment <= end {
        if segment > latest {
            return Completeness::Waiting {
                first_missing: segment,
            };
        }
        if !archive.is_archived(segment) {
            if patience == Patience::HolesMayFill || archive.is_arriving(segment) {
                return Completeness::Waiting {
                    first_missing: segment,
                };
            }
            return Completeness::Failed {
                reason: format!("{MISSING}{segment}"),
            };
        }
        match segment.next(backup.xlog_segment_size) {
            Some(next) => segment = next,
            None => break,
        }
    }
    Completeness::Done
}

/// Whether a failed backup failed for nothing but missing WAL, so that it is whole once that WAL has come.
#[must_use]
pub fn failed_for_missing_wal(backup: &BackupInfo) -> bool {
    backup.status == BackupStatus::Failed && backup.error.as_deref().is_some_and(|e| e.starts_with(MISSING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Segments 1, 2, ... of timeline 1; `arriving` are not archived yet.
    struct Archive {
        archived: BTreeSet<SegmentName>,
        arriving: BTreeSet<SegmentName>,
    }

    impl ArchiveView for Archive {
        fn latest_on_timeline_of(&self, segment: SegmentName) -> Option<SegmentName> {
            self.archived
                .iter()
                .rfind(|s| s.timeline == segment.timeline)
                .copied()
        }
        fn is_archived(&self, segment: SegmentName) -> bool {
            self.archived.contains(&segment)
        }
        fn is_arriving(&self, segment: SegmentName) -> bool {
            self.arriving.contains(&segment)
        }
    }

    fn segment(timeline: u32, number: u32) -> SegmentName {
        format!("{timeline:08X}00000000{number:08X}").parse().unwrap()
    }

    fn segments(numbers: &[u32]) -> BTreeSet<SegmentName> {
        numbers.iter().map(|n| segment(1, *n)).collect()
    }

    fn backup(begin: SegmentName, end: SegmentName) -> BackupInfo {
        let mut info = BackupInfo::new("20261121T044724".parse().unwrap(), "s", None);
        (info.begin_wal, info.end_wal) = (Some(begin), Some(end));
        info
    }

    #[test]
    fn every_case() {
        use Completeness::{Done, Failed, Waiting};
        let waiting = |n| Waiting {
            first_missing: segment(1, n),
        };
        let failed = |n| Failed {
            reason: format!(
                "At least one WAL file is missing. The first missing WAL file is {}",
                segment(1, n)
            ),
        };
        for (archived, arriving, expected) in [
            (&[][..], &[][..], waiting(3)),
            (&[2], &[], waiting(3)),
            (&[3], &[], waiting(4)),
            (&[3, 4, 5], &[], Done),
            (&[1, 3, 4, 5, 6], &[], Done),
            (&[3, 5], &[], failed(4)),
            (&[3, 5], &[4], waiting(4)),
            (&[3, 6], &[4], waiting(4)),
            (&[4, 5], &[], failed(3)),
        ] {
            let archive = Archive {
                archived: segments(archived),
                arriving: segments(arriving),
            };
            let backup = backup(segment(1, 3), segment(1, 5));
            assert_eq!(
                assess(&backup, &archive, Patience::HolesAreFinal),
                expected,
                "{archived:?} {arriving:?}"
            );
            let patient = assess(&backup, &archive, Patience::HolesMayFill);
            assert!(!matches!(patient, Failed { .. }));
            assert_eq!(patient == Done, expected == Done);
        }
    }

    #[test]
    fn a_backup_across_timelines_fails_and_one_without_end_is_unknown() {
        let archive = Archive {
            archived: segments(&[3, 4]),
            arriving: segments(&[]),
        };
        let across = backup(segment(1, 3), segment(2, 3));
        let Completeness::Failed { reason } = assess(&across, &archive, Patience::HolesMayFill) else {
            panic!("not failed")
        };
        assert!(
            reason.contains("00000001") && reason.ends_with("00000002."),
            "{reason}"
        );
        let mut running = backup(segment(1, 3), segment(1, 3));
        running.end_wal = None;
        assert_eq!(
            assess(&running, &archive, Patience::HolesAreFinal),
            Completeness::Unknown
        );
    }

    #[test]
    fn a_hostile_range_costs_no_more_than_the_archive() {
        let archive = Archive {
            archived: segments(&[3]),
            arriving: segments(&[]),
        };
        let endless = backup(segment(1, 3), "00000001FFFFFFFF000000FF".parse().unwrap());
        assert_eq!(
            assess(&endless, &archive, Patience::HolesAreFinal),
            Completeness::Waiting {
                first_missing: segment(1, 4)
            }
        );
    }

    #[test]
    fn only_missing_wal_can_be_forgiven() {
        let mut info = backup(segment(1, 3), segment(1, 3));
        info.set_failed_because(
            "At least one WAL file is missing. The first missing WAL file is 000000010000000000000003",
        );
        assert!(failed_for_missing_wal(&info));
        info.set_failed("copying files", "disk full");
        assert!(!failed_for_missing_wal(&info));
    }
}
