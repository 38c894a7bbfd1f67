//! Which segments a recovery reads, one after the other.

use std::fmt;

use crate::history::TimelineHistory;
use crate::lsn::Lsn;
use crate::segment::{SegmentName, SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

/// Segments of one timeline that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The timeline in their names.
    pub timeline: TimelineId,
    /// The first one.
    pub first: SegmentNumber,
    /// The last one; not before the first.
    pub last: SegmentNumber,
}

impl Span {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1)
    }

    /// What is in this span and in the other numbers too.
    #[must_use]
    pub fn within(&self, first: u64, last: u64) -> Option<Self> {
        let (first, last) = (self.first.0.max(first), self.last.0.min(last));
        (first <= last).then_some(Self {
            timeline: self.timeline,
            first: SegmentNumber(first),
            last: SegmentNumber(last),
        })
    }

    /// The names of the first and the last segment; `None` beyond the end of the address space.
    #[must_use]
    pub fn names(&self, size: SegmentSize) -> Option<(SegmentName, SegmentName)> {
        Some((
            self.first.name(self.timeline, size)?,
            self.last.name(self.timeline, size)?,
        ))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "segments {} to {} of timeline {}",
            self.first.0, self.last.0, self.timeline
        )
    }
}

/// The segments that a recovery reads from some position on, in this order: those of the oldest timeline first. A
/// segment in which a timeline begins is read from that timeline, which has a copy of what is before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    start: Lsn,
    size: SegmentSize,
    spans: Vec<Span>,
}

impl Route {
    /// From `start` (where replay starts: `START WAL LOCATION` of a backup's label) to the timeline of `history`, up to
    /// the segment with the number `last`, included.
    #[must_use]
    pub fn along(history: &TimelineHistory, start: Lsn, last: SegmentNumber, size: SegmentSize) -> Self {
        let mut next = start.segment(size).0;
        let mut spans = Vec::new();
        let mut add = |timeline, last: u64| {
            if next <= last {
                spans.push(Span {
                    timeline,
                    first: SegmentNumber(next),
                    last: SegmentNumber(last),
                });
                next = last.saturating_add(1);
            }
        };
        for entry in history.entries() {
            if let Some(before) = entry.switch_point.segment(size).0.checked_sub(1) {
                add(entry.parent, before.min(last.0));
            }
        }
        add(history.timeline(), last.0);
        Self { start, size, spans }
    }

    /// All of one span.
    #[must_use]
    pub fn of(span: Span, size: SegmentSize) -> Self {
        Self {
            start: span.first.start_lsn(size).unwrap_or_default(),
            size,
            spans: vec![span],
        }
    }

    /// Its parts, in order.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Where it starts.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// Whether this is its first segment and it starts within: what is in the segment may lie before.
    #[must_use]
    pub fn starts_within(&self, name: SegmentName) -> bool {
        let start = name.start_lsn(self.size);
        start < self.start && self.start.segment(self.size) == name.number(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_timelines() {
        let size = SegmentSize::new(1 << 20).unwrap();
        let three = TimelineId::new(3).unwrap();
        let history = TimelineHistory::parse(three, b"1\t0/500010\tx\n2\t0/500020\ty\n").unwrap();
        let spans = |start: u64, last: u64| -> Vec<(u32, u64, u64)> {
            Route::along(&history, Lsn(start), SegmentNumber(last), size)
                .spans()
                .iter()
                .map(|span| (span.timeline.get(), span.first.0, span.last.0))
                .collect()
        };
        assert_eq!(spans(0x20_0028, 9), [(1, 2, 4), (3, 5, 9)]);
        assert_eq!(spans(0x20_0028, 3), [(1, 2, 3)]);
        assert_eq!(spans(0x50_0028, 9), [(3, 5, 9)]);
        assert_eq!(spans(0xA0_0028, 9), []);
        let border = TimelineHistory::parse(three, b"1\t0/500000\tx\n").unwrap();
        let route = Route::along(&border, Lsn(0x40_0028), SegmentNumber(6), size);
        assert_eq!(route.spans().len(), 2);
        assert_eq!(route.spans()[1].first.0, 5);
        assert!(route.starts_within(SegmentNumber(4).name(TimelineId::FIRST, size).unwrap()));
        assert!(!route.starts_within(SegmentNumber(5).name(three, size).unwrap()));
        for lsn in [0x40_0000, 0x4F_FFFF, 0x50_0000, 0x50_0019, 0x60_0000] {
            let name = history.segment_for(Lsn(lsn), size);
            let number = name.number(size);
            let route = Route::along(&history, Lsn(0x10_0000), SegmentNumber(9), size);
            let span = route
                .spans()
                .iter()
                .find(|span| span.first <= number && number <= span.last);
            assert_eq!(span.unwrap().timeline, name.timeline, "{lsn:#X}");
        }
    }
}
