//! Timeline history files (`0000000A.history`): from which timelines a timeline descends, and where it left them.
//!
//! One line for each ancestor, the oldest first: `PARENT_TLI <TAB> SWITCHPOINT <TAB> REASON` (PostgreSQL,
//! `timeline.c`). Lines are trimmed; empty ones and those that begin with `#` are skipped. Like PostgreSQL this reader
//! accepts any white space between the fields and a missing reason.
//!
//! ```
//! use barman_wal::{Lsn, TimelineId, history::TimelineHistory};
//!
//! let three = TimelineId::new(3).ok_or("timeline 0 does not exist")?;
//! let history = TimelineHistory::parse(three, b"1\t0/5000000\tno recovery target specified\n2\t0/7000000\tx\n")?;
//! assert_eq!(history.owner_of(Lsn(0x4FF_FFFF)).get(), 1);
//! assert_eq!(history.owner_of(Lsn(0x500_0000)).get(), 2);
//! assert_eq!(history.owner_of(Lsn(0x700_0000)), three);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, digit1, space0, space1};
use nom::combinator::{map_opt, map_res, recognize, rest};
use nom::sequence::{preceded, separated_pair};

use crate::lsn::Lsn;
use crate::segment::{SegmentName, SegmentSize};
use crate::text::excerpt;
use crate::timeline::TimelineId;

/// One ancestor of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The ancestor.
    pub parent: TimelineId,
    /// Where its successor begins: the first position that no longer belongs to `parent`.
    pub switch_point: Lsn,
    /// Why, in PostgreSQL's words; may be empty.
    pub reason: String,
}

/// The ancestry of one timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: TimelineId,
    entries: Vec<HistoryEntry>,
}

/// What is wrong with a history file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A line is no ancestor.
    #[error("line {line} is not a parent timeline, a switch point and a reason: `{text}`")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// Ancestors must come in ascending order, and before the timeline itself.
    #[error(
        "line {line}: timeline {parent} cannot be an ancestor here (timelines ascend up to {below}, exclusive)"
    )]
    Order {
        /// Counted from 1.
        line: usize,
        /// The timeline in it.
        parent: TimelineId,
        /// The timeline whose file this is.
        below: TimelineId,
    },
    /// No line has an ancestor.
    #[error("no line names a parent timeline")]
    Empty,
}

impl TimelineHistory {
    /// The history of a timeline without ancestors.
    #[must_use]
    pub const fn root(timeline: TimelineId) -> Self {
        Self {
            timeline,
            entries: Vec::new(),
        }
    }

    /// Reads the content of the history file of `timeline`, which is known from the file's name.
    ///
    /// # Errors
    /// A line that is neither blank, comment nor ancestor; ancestors out of order; none at all.
    pub fn parse(timeline: TimelineId, content: &[u8]) -> Result<Self, HistoryError> {
        let text = String::from_utf8_lossy(content);
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let line = index + 1;
            let entry = parse_line(trimmed).ok_or_else(|| HistoryError::Syntax {
                line,
                text: excerpt(trimmed),
            })?;
            let ascends = entries.last().is_none_or(|last| last.parent < entry.parent);
            if !ascends || entry.parent >= timeline {
                return Err(HistoryError::Order {
                    line,
                    parent: entry.parent,
                    below: timeline,
                });
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            Err(HistoryError::Empty)
        } else {
            Ok(Self { timeline, entries })
        }
    }

    /// The timeline whose history this is.
    #[must_use]
    pub const fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Its ancestors, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.entries
    }

    /// The timeline that it left when it began, and where; `None` for one without ancestors.
    #[must_use]
    pub fn parent(&self) -> Option<&HistoryEntry> {
        self.entries.last()
    }

    /// The timeline on which the byte at `lsn` lies, seen from this timeline.
    #[must_use]
    pub fn owner_of(&self, lsn: Lsn) -> TimelineId {
        self.entries
            .iter()
            .find(|entry| lsn < entry.switch_point)
            .map_or(self.timeline, |entry| entry.parent)
    }

    /// Where this history leaves `timeline`: the first position that belongs to its successor. `None` for a timeline
    /// that is not an ancestor.
    #[must_use]
    pub fn switch_point(&self, timeline: TimelineId) -> Option<Lsn> {
        self.entries
            .iter()
            .find(|entry| entry.parent == timeline)
            .map(|entry| entry.switch_point)
    }

    /// Where `timeline` begins in this history: `0/0` for the oldest. `None` for a timeline that does not occur.
    #[must_use]
    pub fn start_of(&self, timeline: TimelineId) -> Option<Lsn> {
        let mut start = Lsn::INVALID;
        for entry in &self.entries {
            if entry.parent == timeline {
                return Some(start);
            }
            start = entry.switch_point;
        }
        (timeline == self.timeline).then_some(start)
    }

    /// Whether `timeline` is this timeline or one of its ancestors.
    #[must_use]
    pub fn contains(&self, timeline: TimelineId) -> bool {
        timeline == self.timeline || self.entries.iter().any(|entry| entry.parent == timeline)
    }

    /// Whether `lsn` on `timeline` is part of this history: a server that was there can go on to this timeline.
    #[must_use]
    pub fn contains_position(&self, timeline: TimelineId, lsn: Lsn) -> bool {
        self.contains(timeline) && self.switch_point(timeline).is_none_or(|end| lsn <= end)
    }

    /// The segment file that a recovery to this timeline reads for the byte at `lsn`. A segment in which a switch lies
    /// is read from the later timeline, which begins with a copy of its start.
    #[must_use]
    pub fn segment_for(&self, lsn: Lsn, size: SegmentSize) -> SegmentName {
        let last_byte = Lsn(lsn.segment_start(size).0 | u64::from(size.bytes() - 1));
        let owner = self
            .entries
            .iter()
            .find(|entry| last_byte < entry.switch_point)
            .map_or(self.timeline, |entry| entry.parent);
        SegmentName::from_lsn(owner, lsn, size)
    }

    /// The file's content as PostgreSQL writes it: tabs, one line for each ancestor.
    #[must_use]
    pub fn format(&self) -> String {
        self.entries
            .iter()
            .map(|entry| format!("{}\t{}\t{}\n", entry.parent, entry.switch_point, entry.reason))
            .collect()
    }
}

/// The timelines of `histories` that left `timeline` itself, not one of its descendants, at `not_before` or later,
/// with the position where each begins: the earliest first. Numbers need not be without gaps: a timeline whose recovery
/// failed leaves none.
#[must_use]
pub fn children<'h>(
    histories: impl IntoIterator<Item = &'h TimelineHistory>,
    timeline: TimelineId,
    not_before: Lsn,
) -> Vec<(TimelineId, Lsn)> {
    let mut children: Vec<_> = histories
        .into_iter()
        .filter_map(|history| Some((history.timeline, history.parent()?)))
        .filter(|(_, parent)| parent.parent == timeline && parent.switch_point >= not_before)
        .map(|(child, parent)| (child, parent.switch_point))
        .collect();
    children.sort_by_key(|(child, start)| (*start, *child));
    children.dedup();
    children
}

fn parse_line(line: &str) -> Option<HistoryEntry> {
    let lsn = map_res(
        recognize(separated_pair(hex_digits, char('/'), hex_digits)),
        str::parse::<Lsn>,
    );
    let timeline = map_opt(digit1::<&str, ()>, |digits| digits.parse::<TimelineId>().ok());
    let (_, ((parent, switch_point), reason)) =
        (separated_pair(timeline, space1, lsn), preceded(space0, rest))
            .parse(line)
            .ok()?;
    // What follows an LSN at once ("0/50G") belongs to it.
    let after = line.get(..line.len() - reason.len())?;
    if !reason.is_empty() && !after.ends_with([' ', '\t']) {
        return None;
    }
    Some(HistoryEntry {
        parent,
        switch_point,
        reason: reason.to_owned(),
    })
}

fn hex_digits(input: &str) -> nom::IResult<&str, &str, ()> {
    take_while1(|letter: char| letter.is_ascii_hexdigit()).parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tli(id: u32) -> TimelineId {
        TimelineId::new(id).unwrap()
    }

    fn parse(timeline: u32, text: &str) -> Result<TimelineHistory, HistoryError> {
        TimelineHistory::parse(tli(timeline), text.as_bytes())
    }

    #[test]
    fn lines_of_all_kinds() {
        let history = parse(
            4,
            "# comment\n\n  1\t0/3000000\tno recovery target specified  \r\n\t2 \t 1/A0\treason\twith tab\n3\t1/B0",
        )
        .unwrap();
        let entries: Vec<_> = history
            .entries()
            .iter()
            .map(|entry| (entry.parent.get(), entry.switch_point.0, entry.reason.as_str()))
            .collect();
        assert_eq!(
            entries,
            [
                (1, 0x300_0000, "no recovery target specified"),
                (2, 0x1_0000_00A0, "reason\twith tab"),
                (3, 0x1_0000_00B0, "")
            ]
        );
        assert_eq!(
            history.format(),
            "1\t0/3000000\tno recovery target specified\n2\t1/A0\treason\twith tab\n3\t1/B0\t\n"
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("1\t0/3000000\tx\nnonsense\n", 2),
            ("# c\n\n\n1\n", 4),
            ("1 0-5 x", 1),
            ("1\t0/5G\tx", 1),
            ("0\t0/5\tx", 1),
            ("-1\t0/5\tx", 1),
            ("4294967296\t0/5\tx", 1),
            ("1\t0/123456789\tx", 1),
            ("1\t/\tx", 1),
        ] {
            assert!(
                matches!(parse(3, text), Err(HistoryError::Syntax { line: found, .. }) if found == line),
                "{text:?}: {:?}",
                parse(3, text)
            );
        }
        assert!(matches!(
            parse(3, "2\t0/5\tx\n1\t0/6\tx"),
            Err(HistoryError::Order { line: 2, .. })
        ));
        assert!(matches!(
            parse(3, "1\t0/5\tx\n1\t0/6\tx"),
            Err(HistoryError::Order { line: 2, .. })
        ));
        assert!(matches!(
            parse(2, "2\t0/5\tx"),
            Err(HistoryError::Order { line: 1, .. })
        ));
        for empty in ["", "\n\n", "# only a comment"] {
            assert_eq!(parse(2, empty), Err(HistoryError::Empty), "{empty:?}");
        }
    }

    #[test]
    fn who_owns_what() {
        let history = parse(5, "1\t0/5000000\tx\n3\t0/6000080\tx\n").unwrap();
        for (lsn, owner) in [
            (0, 1),
            (0x4FF_FFFF, 1),
            (0x500_0000, 3),
            (0x600_007F, 3),
            (0x600_0080, 5),
        ] {
            assert_eq!(history.owner_of(Lsn(lsn)).get(), owner, "{lsn:X}");
        }
        assert_eq!(history.switch_point(tli(3)), Some(Lsn(0x600_0080)));
        assert_eq!(history.switch_point(tli(5)), None);
        assert_eq!(history.start_of(tli(1)), Some(Lsn(0)));
        assert_eq!(history.start_of(tli(3)), Some(Lsn(0x500_0000)));
        assert_eq!(history.start_of(tli(5)), Some(Lsn(0x600_0080)));
        assert_eq!(history.start_of(tli(2)), None);
        assert!(history.contains(tli(5)) && history.contains(tli(1)) && !history.contains(tli(4)));
        assert!(history.contains_position(tli(1), Lsn(0x500_0000)));
        assert!(!history.contains_position(tli(1), Lsn(0x500_0001)));
        assert!(history.contains_position(tli(5), Lsn(u64::MAX)));
        let segment = |lsn| history.segment_for(Lsn(lsn), SegmentSize::DEFAULT).to_string();
        assert_eq!(segment(0x4FF_FFFF), "000000010000000000000004");
        assert_eq!(segment(0x500_0000), "000000030000000000000005");
        // The switch lies within this segment: the later timeline has all of it.
        assert_eq!(segment(0x600_0000), "000000050000000000000006");
        assert_eq!(TimelineHistory::root(tli(1)).owner_of(Lsn(9)), tli(1));
    }

    #[test]
    fn who_left_whom() {
        let histories = [
            parse(2, "1\t0/6000000\tx").unwrap(),
            parse(3, "1\t0/6000000\tx\n2\t0/7000000\tx").unwrap(),
            parse(9, "1\t0/5000000\tx").unwrap(),
            parse(7, "1\t0/6000000\tx").unwrap(),
            TimelineHistory::root(tli(1)),
        ];
        let of = |timeline, not_before| -> Vec<(u32, u64)> {
            children(&histories, tli(timeline), Lsn(not_before))
                .into_iter()
                .map(|(child, start)| (child.get(), start.0))
                .collect()
        };
        assert_eq!(of(1, 0), [(9, 0x500_0000), (2, 0x600_0000), (7, 0x600_0000)]);
        assert_eq!(of(1, 0x500_0001), [(2, 0x600_0000), (7, 0x600_0000)]);
        assert_eq!(of(1, 0x600_0001), []);
        assert_eq!(of(2, 0), [(3, 0x700_0000)]);
        assert_eq!(of(3, 0), []);
        assert_eq!(histories[1].parent().unwrap().parent, tli(2));
        assert_eq!(histories[4].parent(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = TimelineHistory::parse(tli(7), &bytes);
        }

        #[test]
        fn round_trip(points in proptest::collection::vec((any::<u64>(), "[a-z ]{0,10}"), 1..6)) {
            let entries = points.into_iter().zip(1..).map(|((lsn, reason), parent)| HistoryEntry {
                parent: tli(parent), switch_point: Lsn(lsn), reason: reason.trim().to_owned(),
            }).collect();
            let history = TimelineHistory { timeline: tli(9), entries };
            prop_assert_eq!(TimelineHistory::parse(tli(9), history.format().as_bytes()).unwrap(), history);
        }
    }
}
