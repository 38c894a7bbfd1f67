//! Along the segments of a route, over whole files where what they say together is enough.

use std::ops::ControlFlow;

use crate::segment::{SegmentName, SegmentNumber};

use super::border::Verdict;
use super::chunk::{Kind, SLOTS, Zone};
use super::route::{Route, Span};
use super::store::{WalIndex, with_epochs};
use super::summary::SegmentState;

/// What of a route an answer rests on. An answer is as good as this is empty: the caller decides what the rest means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// How many segments are known.
    pub known: u64,
    /// Those that nobody has looked at, whether they exist or not.
    pub unknown: Vec<Span>,
    /// Those that cannot be read, or not to their end; [`WalIndex::get`] tells why.
    pub unreadable: Vec<Span>,
    /// Those of a version that this program does not know.
    pub unknown_format: Vec<Span>,
    /// Segments whose first record, which begins in the segment before, is broken, or cannot be judged since that
    /// segment cannot be read.
    pub borders: Vec<SegmentName>,
}

impl Coverage {
    /// Whether every segment was read and every border is good.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
            && self.unreadable.is_empty()
            && self.unknown_format.is_empty()
            && self.borders.is_empty()
    }

    fn add(&mut self, kind: Kind, span: Span) {
        let list = match kind {
            Kind::Known => {
                self.known = self.known.saturating_add(span.count());
                return;
            }
            Kind::Unknown => &mut self.unknown,
            Kind::Unreadable => &mut self.unreadable,
            Kind::UnknownFormat => &mut self.unknown_format,
        };
        match list.last_mut() {
            Some(last) if last.timeline == span.timeline && last.last.next() == Some(span.first) => {
                last.last = span.last;
            }
            _ => list.push(span),
        }
    }
}

/// Whether a file can be passed over: nothing in it can matter.
pub(super) type Skip<'a> = &'a dyn Fn(&Zone) -> bool;

impl WalIndex {
    /// What is known of the segments of a route, without a question.
    #[must_use]
    pub fn coverage(&self, route: &Route) -> Coverage {
        self.walk(route, &|_| true, &mut |_, _| ControlFlow::Continue(()))
    }

    /// Shows the states of all segments that are not unknown, in order, but for those in files that `skip` says can be
    /// passed over, until `visit` has enough. The coverage is that up to there.
    pub(super) fn walk(
        &self,
        route: &Route,
        skip: Skip<'_>,
        visit: &mut dyn FnMut(SegmentName, &SegmentState) -> ControlFlow<()>,
    ) -> Coverage {
        let mut walk = Walk {
            coverage: Coverage::default(),
            before: None,
        };
        for span in route.spans() {
            if self.walk_span(span, skip, visit, &mut walk).is_break() {
                break;
            }
        }
        walk.coverage
    }

    fn walk_span(
        &self,
        span: &Span,
        skip: Skip<'_>,
        visit: &mut dyn FnMut(SegmentName, &SegmentState) -> ControlFlow<()>,
        walk: &mut Walk,
    ) -> ControlFlow<()> {
        let mut next = span.first.0;
        let (low, high) = (span.first.0 / SLOTS, span.last.0 / SLOTS);
        let chunks = self.places().chunks(span.timeline);
        for number in chunks.into_iter().filter(|chunk| (low..=high).contains(chunk)) {
            let start = number.saturating_mul(SLOTS);
            let Some(part) = span.within(start, start.saturating_add(SLOTS - 1)) else {
                continue;
            };
            let Some(chunk) = self.places().open(span.timeline, number) else {
                continue;
            };
            walk.unknown(span, next, part.first.0);
            // It speaks for the whole file, not for a part of it.
            let zone = (part.count() == SLOTS).then(|| chunk.zone()).flatten();
            if let Some(zone) = zone.filter(|zone| !zone.borders && skip(zone)) {
                for number in part.first.0..=part.last.0 {
                    walk.step(zone.kind(SegmentNumber(number)), span, number);
                }
                next = part.last.0.saturating_add(1);
                continue;
            }
            next = part.first.0;
            for (number, state) in with_epochs(chunk.states()) {
                if number < part.first || number > part.last {
                    continue;
                }
                let Some(name) = number.name(span.timeline, self.segment_size()) else {
                    continue;
                };
                walk.unknown(span, next, number.0);
                walk.border(name, &state);
                walk.step(Kind::of(&state), span, number.0);
                next = number.0.saturating_add(1);
                visit(name, &state)?;
            }
            walk.unknown(span, next, part.last.0.saturating_add(1));
            next = part.last.0.saturating_add(1);
        }
        walk.unknown(span, next, span.last.0.saturating_add(1));
        ControlFlow::Continue(())
    }
}

struct Walk {
    coverage: Coverage,
    /// The kind of the segment before.
    before: Option<Kind>,
}

impl Walk {
    fn step(&mut self, kind: Kind, span: &Span, number: u64) {
        let one = SegmentNumber(number);
        self.coverage.add(
            kind,
            Span {
                timeline: span.timeline,
                first: one,
                last: one,
            },
        );
        self.before = Some(kind);
    }

    /// From `next` to before `end` nothing is known.
    fn unknown(&mut self, span: &Span, next: u64, end: u64) {
        if next < end {
            self.coverage.add(
                Kind::Unknown,
                Span {
                    timeline: span.timeline,
                    first: SegmentNumber(next),
                    last: SegmentNumber(end - 1),
                },
            );
            self.before = Some(Kind::Unknown);
        }
    }

    fn border(&mut self, name: SegmentName, state: &SegmentState) {
        let head = state.summary().and_then(|summary| summary.head.as_ref());
        let bad = match head.map(|head| &head.verdict) {
            Some(Verdict::Broken(_)) => true,
            // The one before an unknown one is looked at with it.
            Some(Verdict::Pending) => !matches!(self.before, None | Some(Kind::Unknown)),
            _ => false,
        };
        if bad {
            self.coverage.borders.push(name);
        }
    }
}
