//! How much WAL belongs to each backup: all figures from one sorted pass over the WAL catalogue.
//!
//! The WAL of a backup runs from its `begin_wal` to the `end_wal` of the next backup, on its own timeline and any
//! lower one in between by name; what lies after its own `end_wal` is the WAL "until the next backup".

use crate::backup_info::BackupInfo;
use crate::xlogdb::XlogDb;
use barman_wal::{SegmentName, SegmentSize, TimelineId, WalFileName};

/// The segments of an archive, sorted, with running totals: figures of any range by binary search. 28 bytes each.
#[derive(Debug, Clone, Default)]
pub struct WalIndex {
    names: Vec<SegmentName>,
    times: Vec<f64>,
    /// `totals[i]`: bytes of the first `i` segments.
    totals: Vec<u64>,
}

/// The figures of one backup, as `show-backup` names them.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct WalFigures {
    /// Segments from the beginning to the end of the backup.
    pub wal_num: u64,
    /// Their bytes in the archive.
    pub wal_size: u64,
    /// Segments after the end of the backup, up to the end of the next one.
    pub wal_until_next_num: u64,
    /// Their bytes in the archive.
    pub wal_until_next_size: u64,
    /// The last of all these.
    pub wal_last: Option<SegmentName>,
    /// Its time, seconds since the epoch.
    pub wal_last_timestamp: Option<f64>,
    /// `begin_wal`, if it is archived.
    pub wal_first: Option<SegmentName>,
    /// Its time.
    pub wal_first_timestamp: Option<f64>,
    /// Seconds between the first and the last; 0 if one is not known.
    pub wal_total_seconds: f64,
    /// Segments per second; 0 if not known.
    pub wals_per_second: f64,
    /// The part of the backup's WAL that compression saved.
    pub wal_compression_ratio: f64,
    /// The part of the WAL until the next backup that compression saved.
    pub wal_until_next_compression_ratio: f64,
}

impl WalIndex {
    /// The index of all plain segments of a catalogue.
    #[must_use]
    pub fn new(db: &XlogDb) -> Self {
        let mut segments: Vec<(SegmentName, u64, f64)> = Vec::new();
        let mut index = Self::default();
        let plain = || {
            db.iter().filter_map(|r| match r.name {
                WalFileName::Segment(name) => Some((name, r.size, r.time)),
                _ => None,
            })
        };
        index.names.reserve(db.len());
        index.times.reserve(db.len());
        index.totals.reserve(db.len() + 1);
        index.totals.push(0);
        let mut last = None;
        let mut sorted = true;
        for (name, _, _) in plain() {
            sorted &= last.is_none_or(|last| last < name);
            last = Some(name);
        }
        if sorted {
            plain().for_each(|(name, size, time)| index.push(name, size, time));
        } else {
            // Of several lines for one segment the last counts.
            segments.extend(plain());
            segments.reverse();
            segments.sort_by_key(|s| s.0);
            segments.dedup_by_key(|s| s.0);
            segments
                .iter()
                .for_each(|&(name, size, time)| index.push(name, size, time));
        }
        index
    }

    fn push(&mut self, name: SegmentName, size: u64, time: f64) {
        let total = self.totals.last().copied().unwrap_or(0).saturating_add(size);
        self.names.push(name);
        self.times.push(time);
        self.totals.push(total);
    }

    /// How many segments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a segment is in the catalogue.
    #[must_use]
    pub fn contains(&self, name: SegmentName) -> bool {
        self.names.binary_search(&name).is_ok()
    }

    fn range_of(&self, backup: &BackupInfo, next: Option<&BackupInfo>) -> (usize, usize) {
        let Some(begin) = backup.begin_wal else {
            return (0, 0);
        };
        let from = self.names.partition_point(|n| *n < begin);
        let mut to = self.names.partition_point(|n| n.timeline <= begin.timeline);
        if let Some(stop) = next.and_then(|n| n.end_wal) {
            to = to.min(self.names.partition_point(|n| *n <= stop));
        }
        (from, to.max(from))
    }

    fn bytes(&self, from: usize, to: usize) -> u64 {
        match (self.totals.get(from), self.totals.get(to)) {
            (Some(before), Some(up_to)) => up_to.saturating_sub(*before),
            _ => 0,
        }
    }

    /// The figures of `backup`, when `next` is the next backup whose copy is done. Two or three binary searches.
    #[must_use]
    pub fn figures(&self, backup: &BackupInfo, next: Option<&BackupInfo>) -> WalFigures {
        let (from, to) = self.range_of(backup, next);
        let middle = match backup.end_wal {
            Some(end) => self.names.partition_point(|n| *n <= end).clamp(from, to),
            None => to,
        };
        let mut figures = WalFigures {
            wal_num: (middle - from) as u64,
            wal_size: self.bytes(from, middle),
            wal_until_next_num: (to - middle) as u64,
            wal_until_next_size: self.bytes(middle, to),
            ..WalFigures::default()
        };
        if from == to {
            return figures;
        }
        if self.names.get(from).copied() == backup.begin_wal {
            figures.wal_first = backup.begin_wal;
            figures.wal_first_timestamp = self.times.get(from).copied();
        }
        figures.wal_last = self.names.get(to - 1).copied();
        figures.wal_last_timestamp = self.times.get(to - 1).copied();
        if let (Some(first), Some(last)) = (figures.wal_first_timestamp, figures.wal_last_timestamp) {
            figures.wal_total_seconds = last - first;
            if figures.wal_total_seconds > 0.0 {
                figures.wals_per_second = as_f64((to - from) as u64) / figures.wal_total_seconds;
            }
            let size = backup.xlog_segment_size;
            figures.wal_compression_ratio = saved(figures.wal_num, figures.wal_size, size);
            figures.wal_until_next_compression_ratio =
                saved(figures.wal_until_next_num, figures.wal_until_next_size, size);
        }
        figures
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ratios for people; Barman computes them in doubles too"
)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn saved(count: u64, bytes: u64, size: SegmentSize) -> f64 {
    if count == 0 {
        0.0
    } else {
        1.0 - as_f64(bytes) / (as_f64(count) * f64::from(size.bytes()))
    }
}

/// The timelines that branch off the WAL of a backup: those whose history names the backup's timeline as a parent,
/// left at or after the end of the backup.
///
/// `branches` are the history files of the archive, ascending by timeline without a gap from the backup's timeline
/// on, each with its lines (parent timeline, switch point).
#[must_use]
pub fn child_timelines(
    backup: &BackupInfo,
    branches: impl IntoIterator<Item = (TimelineId, Vec<(TimelineId, barman_wal::Lsn)>)>,
) -> Vec<TimelineId> {
    let (Some(timeline), Some(end)) = (backup.timeline, backup.end_xlog) else {
        return Vec::new();
    };
    branches
        .into_iter()
        .filter(|(_, lines)| {
            lines
                .iter()
                .any(|(parent, switch)| *parent == timeline && *switch >= end)
        })
        .map(|(child, _)| child)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db(lines: &[(&str, u64, f64)]) -> XlogDb {
        let text: String = lines
            .iter()
            .map(|(n, s, t)| format!("{n}\t{s}\t{t:?}\tNone\tNone\n"))
            .collect();
        XlogDb::parse(text.as_bytes()).unwrap()
    }

    fn backup(id: &str, begin: &str, end: &str) -> BackupInfo {
        let mut b = BackupInfo::new(id.parse().unwrap(), "s", None);
        b.begin_wal = begin.parse().ok();
        b.end_wal = end.parse().ok();
        b.timeline = b.begin_wal.map(|w| w.timeline);
        b
    }

    const M16: u64 = 16 << 20;

    #[test]
    fn the_range_runs_through_the_end_of_the_next_backup() {
        let db = db(&[
            ("000000010000000000000001", M16, 10.0),
            ("000000010000000000000002", M16, 20.0),
            ("000000010000000000000003", M16 / 2, 30.0),
            ("000000010000000000000003.00000028.backup", 300, 31.0),
            ("000000010000000000000004", M16 / 4, 40.0),
            ("000000010000000000000005", M16, 50.0),
            ("00000002.history", 41, 60.0),
            ("000000020000000000000005", M16, 60.0),
        ]);
        let index = WalIndex::new(&db);
        let a = backup(
            "20260101T000000",
            "000000010000000000000002",
            "000000010000000000000003",
        );
        let b = backup(
            "20260102T000000",
            "000000010000000000000004",
            "000000010000000000000004",
        );
        let figures = index.figures(&a, Some(&b));
        assert_eq!((figures.wal_num, figures.wal_size), (2, M16 + M16 / 2));
        assert_eq!(
            (figures.wal_until_next_num, figures.wal_until_next_size),
            (1, M16 / 4)
        );
        assert_eq!(figures.wal_last, "000000010000000000000004".parse().ok());
        assert!((figures.wal_total_seconds - 20.0).abs() < 1e-9);
        assert!((figures.wals_per_second - 0.15).abs() < 1e-9);
        assert!((figures.wal_compression_ratio - 0.25).abs() < 1e-9);
        assert!((figures.wal_until_next_compression_ratio - 0.75).abs() < 1e-9);
        // The last backup owns what follows on its timeline, nothing of the next one.
        let last = index.figures(&b, None);
        assert_eq!((last.wal_num, last.wal_until_next_num), (1, 1));
        // A next backup on a higher timeline does not cut the own one.
        let c = backup(
            "20260103T000000",
            "000000020000000000000005",
            "000000020000000000000005",
        );
        assert_eq!(index.figures(&b, Some(&c)), last);
    }

    #[test]
    fn without_the_first_segment_there_are_no_rates() {
        let index = WalIndex::new(&db(&[
            ("000000010000000000000003", 100, 30.0),
            ("000000010000000000000004", 100, 40.0),
        ]));
        let a = backup(
            "20260101T000000",
            "000000010000000000000002",
            "000000010000000000000003",
        );
        let figures = index.figures(&a, None);
        assert_eq!((figures.wal_num, figures.wal_until_next_num), (1, 1));
        assert!(figures.wals_per_second == 0.0 && figures.wal_compression_ratio == 0.0);
        assert_eq!(figures.wal_last, "000000010000000000000004".parse().ok());
    }

    #[test]
    fn files_out_of_order_and_twice_count_once() {
        let sorted = db(&[
            ("000000010000000000000002", 7, 1.0),
            ("000000010000000000000003", 8, 2.0),
        ]);
        let mixed = db(&[
            ("000000010000000000000003", 1, 9.0),
            ("000000010000000000000002", 7, 1.0),
            ("000000010000000000000003", 8, 2.0),
        ]);
        let a = backup(
            "20260101T000000",
            "000000010000000000000002",
            "000000010000000000000002",
        );
        assert_eq!(
            WalIndex::new(&mixed).figures(&a, None),
            WalIndex::new(&sorted).figures(&a, None)
        );
    }

    #[test]
    fn an_unknown_beginning_owns_nothing() {
        let index = WalIndex::new(&db(&[("000000010000000000000003", 100, 30.0)]));
        let a = BackupInfo::new("20260101T000000".parse().unwrap(), "s", None);
        assert_eq!(index.figures(&a, None), WalFigures::default());
    }

    #[test]
    fn timelines_left_before_the_end_of_the_backup_are_not_its_children() {
        let mut a = backup(
            "20260101T000000",
            "000000010000000000000002",
            "000000010000000000000002",
        );
        a.end_xlog = "0/2000100".parse().ok();
        let tli = |n| TimelineId::new(n).unwrap();
        let lsn = |t: &str| t.parse().unwrap();
        let branches = [
            (tli(2), vec![(tli(1), lsn("0/2000000"))]),
            (tli(3), vec![(tli(1), lsn("0/2000100"))]),
            (
                tli(4),
                vec![(tli(1), lsn("0/2000000")), (tli(2), lsn("0/3000000"))],
            ),
            (
                tli(5),
                vec![(tli(1), lsn("0/3000000")), (tli(3), lsn("0/4000000"))],
            ),
        ];
        assert_eq!(child_timelines(&a, branches), [tli(3), tli(5)]);
    }
}
