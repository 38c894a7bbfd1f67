//! Which archived WAL a restore needs (`restore.md` 12.2), and whether it is all there.
//!
//! The choice follows the timeline history: the backup's timeline up to the point where the next one begins, and so
//! on to the target timeline. Timelines that are no ancestors of the target are of no use to PostgreSQL and stay
//! where they are. History files are always delivered.

use barman_wal::{Lsn, SegmentName, SegmentNumber, SegmentSize, TimelineId, WalFileName};

/// One timeline on the way from the backup to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where the next leg leaves it; `None` for the last one.
    pub until: Option<Lsn>,
}

/// Where the delivered WAL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// With the last archived segment.
    Everything,
    /// With the end of the backup (`--target-immediate`).
    BackupEnd,
    /// With the segment that holds this LSN, but never before the end of the backup.
    Lsn(Lsn),
}

/// What the choice depends on.
#[derive(Debug, Clone)]
pub struct WalChoice {
    /// First segment of the backup.
    pub begin: SegmentName,
    /// Last segment of the backup.
    pub end: SegmentName,
    /// Segment size of the backup.
    pub size: SegmentSize,
    /// From the backup's timeline to the target timeline; never empty.
    pub legs: Vec<Leg>,
    /// How far.
    pub extent: Extent,
    /// `--partial-wal`: whether archived `.partial` files are wanted, too.
    pub partial: bool,
}

/// A hole in the WAL of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first segment that is missing.
    pub first: SegmentName,
    /// How many are missing up to where WAL goes on, or to the end of what is required.
    pub count: u64,
    /// Whether the backup cannot become consistent without it.
    pub in_backup: bool,
    /// Whether later WAL is there: a hole, rather than WAL that has not arrived yet.
    pub later_present: bool,
}

impl WalChoice {
    /// The last segment number that is delivered, if the extent has one.
    #[must_use]
    pub fn last(&self) -> Option<SegmentNumber> {
        let end = self.end.number(self.size);
        match self.extent {
            Extent::Everything => None,
            Extent::BackupEnd => Some(end),
            Extent::Lsn(lsn) => Some(end.max(lsn.segment(self.size))),
        }
    }

    /// Whether an archived file is delivered.
    #[must_use]
    pub fn takes(&self, name: &WalFileName) -> bool {
        let segment = match name {
            WalFileName::History(_) => return true,
            WalFileName::Partial(_) if !self.partial => return false,
            other => match other.segment() {
                Some(segment) => segment,
                None => return false,
            },
        };
        let number = segment.number(self.size);
        let Some(leg) = self.legs.iter().find(|leg| leg.timeline == segment.timeline) else {
            return false;
        };
        let within_leg = leg.until.is_none_or(|until| number <= until.segment(self.size));
        let within_extent = match self.last() {
            None => true,
            // What belongs to the last segment but is not it (`.backup`, `.partial`) sorts after it.
            Some(last) => number < last || number == last && name.is_segment(),
        };
        number >= self.begin.number(self.size) && within_leg && within_extent
    }

    /// The first segment of this range that is not in `present` (plain segments that are archived, ascending).
    ///
    /// Everything up to the end of the backup is required, and everything up to an LSN target. After that, up to the
    /// last segment that is there.
    #[must_use]
    pub fn first_gap(&self, present: &[SegmentName]) -> Option<Gap> {
        let end = self.end.number(self.size);
        let mut from = self.begin.number(self.size);
        for (index, leg) in self.legs.iter().enumerate() {
            let last_present = self.last_present(leg.timeline, present);
            let to = match leg.until {
                // The segment in which the next timeline begins is complete there, at the latest.
                Some(until) => match until.segment(self.size).prev() {
                    Some(to) => Some(to),
                    None => continue,
                },
                None => match self.last() {
                    Some(last) => Some(last),
                    None if index == 0 => Some(last_present.map_or(end, |last| last.max(end))),
                    None => last_present,
                },
            };
            let Some(mut to) = to else { continue };
            if let Some(last) = self.last() {
                to = to.min(last);
            }
            if index == 0 {
                to = to.max(end);
            }
            if let Some(gap) = self.gap_in(leg.timeline, from, to, present, index == 0) {
                return Some(gap);
            }
            from = leg.until.map_or(from, |until| until.segment(self.size));
        }
        None
    }

    fn last_present(&self, timeline: TimelineId, present: &[SegmentName]) -> Option<SegmentNumber> {
        let low = SegmentName {
            timeline,
            log: 0,
            seg: 0,
        };
        let high = SegmentName {
            timeline,
            log: u32::MAX,
            seg: u32::MAX,
        };
        range(present, low, high)
            .last()
            .map(|segment| segment.number(self.size))
    }

    fn gap_in(
        &self,
        timeline: TimelineId,
        from: SegmentNumber,
        to: SegmentNumber,
        present: &[SegmentName],
        first_leg: bool,
    ) -> Option<Gap> {
        if from > to {
            return None;
        }
        let low = from.name(timeline, self.size)?;
        let high = to.name(timeline, self.size)?;
        // Walks what is there, not what should be: a wrong number in a file must not make this loop for ever.
        let mut expected = from;
        let mut found_after = None;
        for segment in range(present, low, high) {
            let number = segment.number(self.size);
            if number != expected {
                found_after = Some(number);
                break;
            }
            match expected.next() {
                Some(next) => expected = next,
                None => return None,
            }
        }
        if expected > to {
            return None;
        }
        let until = found_after.unwrap_or(SegmentNumber(to.0.saturating_add(1)));
        Some(Gap {
            first: expected.name(timeline, self.size)?,
            count: until.0.saturating_sub(expected.0).max(1),
            in_backup: first_leg && expected <= self.end.number(self.size),
            later_present: found_after.is_some()
                || self
                    .last_present(timeline, present)
                    .is_some_and(|last| last > expected),
        })
    }
}

/// The part of `sorted` from `low` to `high`.
fn range(sorted: &[SegmentName], low: SegmentName, high: SegmentName) -> &[SegmentName] {
    let from = sorted.partition_point(|segment| *segment < low);
    let to = sorted.partition_point(|segment| *segment <= high);
    sorted.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(id: u32) -> TimelineId {
        TimelineId::new(id).unwrap()
    }

    fn leg(id: u32, until: Option<u64>) -> Leg {
        Leg {
            timeline: timeline(id),
            until: until.map(Lsn),
        }
    }

    fn choice(legs: &[Leg], extent: Extent) -> WalChoice {
        let segment = |n: u32| SegmentName {
            timeline: legs[0].timeline,
            log: 0,
            seg: n,
        };
        WalChoice {
            begin: segment(3),
            end: segment(4),
            size: SegmentSize::DEFAULT,
            legs: legs.to_vec(),
            extent,
            partial: false,
        }
    }

    const ARCHIVE: &[&str] = &[
        "00000002.history",
        "00000003.history",
        "00000004.history",
        "000000010000000000000002",
        "000000010000000000000003",
        "000000010000000000000003.00000028.backup",
        "000000010000000000000004",
        "000000010000000000000004.00000028.backup",
        "000000010000000000000005",
        "000000010000000000000006.partial",
        "000000020000000000000006",
        "000000020000000000000007",
        "000000030000000000000005",
        "000000040000000000000007",
        "000000040000000000000008",
    ];

    fn taken(choice: &WalChoice) -> Vec<String> {
        ARCHIVE
            .iter()
            .filter(|name| choice.takes(&name.parse().unwrap()))
            .map(|name| name.strip_prefix("0000000").unwrap().replace("000000000000", "-"))
            .filter(|name| !name.ends_with("history"))
            .collect()
    }

    /// Timeline 2 leaves 1 in segment 6, 4 leaves 2 in segment 7; 3 is a dead branch.
    fn legs() -> Vec<Leg> {
        vec![leg(1, Some(0x0680_0000)), leg(2, Some(0x0710_0000)), leg(4, None)]
    }

    #[test]
    fn follows_the_history_and_nothing_else() {
        assert_eq!(
            taken(&choice(&legs(), Extent::Everything)),
            [
                "1-0003",
                "1-0003.00000028.backup",
                "1-0004",
                "1-0004.00000028.backup",
                "1-0005",
                "2-0006",
                "2-0007",
                "4-0007",
                "4-0008"
            ]
        );
        assert_eq!(
            taken(&choice(&[leg(1, None)], Extent::Everything)),
            [
                "1-0003",
                "1-0003.00000028.backup",
                "1-0004",
                "1-0004.00000028.backup",
                "1-0005"
            ]
        );
        assert!(choice(&[leg(1, None)], Extent::BackupEnd).takes(&"00000004.history".parse().unwrap()));
    }

    #[test]
    fn the_extent_cuts_but_never_before_the_end_of_the_backup() {
        let one = vec![leg(1, None)];
        let backup_only = ["1-0003", "1-0003.00000028.backup", "1-0004"];
        assert_eq!(taken(&choice(&one, Extent::BackupEnd)), backup_only);
        assert_eq!(taken(&choice(&one, Extent::Lsn(Lsn(0x0300_0100)))), backup_only);
        assert_eq!(
            taken(&choice(&one, Extent::Lsn(Lsn(0x0500_0000))))
                .last()
                .unwrap(),
            "1-0005"
        );
        assert_eq!(
            taken(&choice(&legs(), Extent::Lsn(Lsn(0x0750_0000))))
                .last()
                .unwrap(),
            "4-0007"
        );
        assert_eq!(
            taken(&choice(&legs(), Extent::Lsn(Lsn(0x0650_0000))))
                .last()
                .unwrap(),
            "2-0006"
        );
    }

    #[test]
    fn partial_files_come_on_request() {
        let mut choice = choice(&legs(), Extent::Everything);
        choice.partial = true;
        assert!(taken(&choice).contains(&"1-0006.partial".to_owned()));
    }

    fn gap(choice: &WalChoice, without: &[&str]) -> Option<(String, u64, bool, bool)> {
        let mut present: Vec<SegmentName> = ARCHIVE
            .iter()
            .filter(|name| !without.iter().any(|missing| name.ends_with(missing)))
            .filter_map(|name| match name.parse() {
                Ok(WalFileName::Segment(segment)) => Some(segment),
                _ => None,
            })
            .collect();
        present.sort();
        choice
            .first_gap(&present)
            .map(|gap| (gap.first.to_string(), gap.count, gap.in_backup, gap.later_present))
    }

    #[test]
    fn a_hole_is_found_wherever_it_is() {
        let name = |text: &str, count, in_backup, later| Some((text.to_owned(), count, in_backup, later));
        let one = choice(&[leg(1, None)], Extent::Everything);
        assert_eq!(gap(&one, &[]), None);
        assert_eq!(
            gap(&one, &["10000000000000003"]),
            name("000000010000000000000003", 1, true, true)
        );
        assert_eq!(
            gap(&one, &["04"]),
            name("000000010000000000000004", 1, true, true)
        );
        assert_eq!(
            gap(&one, &["04", "05"]),
            name("000000010000000000000004", 1, true, false)
        );
        assert_eq!(
            gap(&one, &["03", "04", "05"]),
            name("000000010000000000000003", 2, true, false)
        );
        assert_eq!(gap(&one, &["05"]), None);
        let all = choice(&legs(), Extent::Everything);
        assert_eq!(gap(&all, &[]), None);
        assert_eq!(
            gap(&all, &["20000000000000006"]),
            name("000000020000000000000006", 1, false, true)
        );
        assert_eq!(
            gap(&all, &["40000000000000007"]),
            name("000000040000000000000007", 1, false, true)
        );
        let lsn = choice(&[leg(1, None)], Extent::Lsn(Lsn(0x0A00_0000)));
        assert_eq!(gap(&lsn, &[]), name("000000010000000000000006", 5, false, false));
    }

    #[test]
    fn the_last_segment_before_a_fork_need_not_be_complete_on_the_old_timeline() {
        // Segment 6 of timeline 1 is there as `.partial` only.
        assert_eq!(gap(&choice(&legs(), Extent::Lsn(Lsn(0x0750_0000))), &[]), None);
    }
}
