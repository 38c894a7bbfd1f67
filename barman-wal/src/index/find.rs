//! Questions to an index.

use std::cell::Cell;
use std::ops::ControlFlow;

use crate::lsn::Lsn;
use crate::record::WalTime;
use crate::segment::SegmentName;

use super::border::{Before, Broken, Verdict};
use super::chunk::Zone;
use super::route::Route;
use super::store::WalIndex;
use super::summary::{RestorePointMark, SegmentState, SegmentSummary, WalEnd};
use super::walk::Coverage;
use super::xids::Membership;

/// An answer that rests on what is known.
pub trait Answer {
    /// On what.
    fn coverage(&self) -> &Coverage;
}

/// `recovery_target_time` with `recovery_target_inclusive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeTarget {
    /// Recovery stops before the first commit or abort that is later than this.
    Inclusive(WalTime),
    /// Recovery stops before the first commit or abort that is at this time or later.
    Exclusive(WalTime),
}

impl TimeTarget {
    /// Whether recovery stops before a commit or abort of this time.
    #[must_use]
    pub fn stops_before(self, time: WalTime) -> bool {
        match self {
            Self::Inclusive(target) => time > target,
            Self::Exclusive(target) => time >= target,
        }
    }
}

/// Where recovery to a time stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeAnswer {
    /// The segments that can hold the commit before which recovery stops, in the order of the WAL: it is in none
    /// before the first of them, and if it is [reached](TimeAnswer::reached), in none after the last. There are two
    /// at most.
    pub candidates: Vec<SegmentName>,
    /// Whether the last candidate has such a commit for certain. Otherwise recovery may get to the end of the route
    /// without one.
    pub reached: bool,
    /// The latest time of all commits and aborts before the last candidate, as far as they are known.
    pub latest: Option<WalTime>,
    /// Of the route up to the last candidate, or of all when it is not reached.
    pub coverage: Coverage,
}

impl Answer for TimeAnswer {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

/// A transaction id as users give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XidTarget {
    /// With epoch (`pg_current_xact_id()`).
    Full(u64),
    /// Without (`recovery_target_xid`): this transaction of any epoch.
    Low(u32),
}

/// Where a transaction ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XidAnswer {
    /// The segments with its commit or abort, in the order of the WAL, and whether that is certain. For a full id the
    /// first certain one is the last.
    pub candidates: Vec<(SegmentName, Membership)>,
    /// Of the route up to there.
    pub coverage: Coverage,
}

impl Answer for XidAnswer {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

/// Restore points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointsAnswer {
    /// In the order of the WAL, each with the segment in which its record ends. Names repeat; recovery stops at the
    /// first.
    pub points: Vec<(SegmentName, RestorePointMark)>,
    /// Segments with more of them than an index keeps.
    pub more: Vec<SegmentName>,
    /// Of the route.
    pub coverage: Coverage,
}

impl Answer for PointsAnswer {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

/// A segment does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// The segment before.
    pub before: SegmentName,
    /// The one after it, in which recovery cannot go on.
    pub after: SegmentName,
    /// Why not.
    pub why: BreakReason,
}

/// Why a segment does not follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakReason {
    /// They are of different clusters.
    System,
    /// The WAL ends within the one before.
    Ended,
    /// A record begins in the one before and does not go on.
    NotContinued,
    /// The record over the border is broken.
    Record(Broken),
    /// The first record of one says that another record is before it than the last one there.
    Previous {
        /// What it says.
        found: Lsn,
        /// What is there.
        expected: Lsn,
    },
}

/// What the segments of a route are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinuityAnswer {
    /// Where one does not follow the other.
    pub breaks: Vec<Break>,
    /// Of the route.
    pub coverage: Coverage,
}

impl Answer for ContinuityAnswer {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

impl WalIndex {
    /// Where recovery along `route` stops for a target time: before the first commit or abort *in the order of the
    /// WAL* that is beyond it. Times do not ascend, so the segments before are all looked at.
    ///
    /// Commits between the start of the route and the end of the backup count as PostgreSQL counts them: recovery
    /// that stops there fails, since it is not consistent yet.
    #[must_use]
    pub fn stop_at_time(&self, route: &Route, target: TimeTarget) -> TimeAnswer {
        let mut candidates = Vec::new();
        let mut reached = false;
        let latest = Cell::new(None);
        let passes = |zone: &Zone| {
            let high = zone.times.map(|(_, high)| high);
            let passes = !high.is_some_and(|high| target.stops_before(high));
            if passes {
                latest.set(latest.get().max(high));
            }
            passes
        };
        let coverage = self.walk(route, &passes, &mut |name, state| {
            let Some((_, high)) = state.summary().and_then(SegmentSummary::all_end_times) else {
                return ControlFlow::Continue(());
            };
            if target.stops_before(high) {
                candidates.push(name);
                // What is beyond the target may lie before the start.
                if !route.starts_within(name) {
                    reached = true;
                    return ControlFlow::Break(());
                }
            }
            latest.set(latest.get().max(Some(high)));
            ControlFlow::Continue(())
        });
        TimeAnswer {
            candidates,
            reached,
            latest: latest.get(),
            coverage,
        }
    }

    /// Where the transaction ends that recovery along `route` is to stop at: the end of the transaction itself, not of
    /// one that is a part of another.
    #[must_use]
    pub fn find_transaction(&self, route: &Route, target: XidTarget) -> XidAnswer {
        let low = match target {
            XidTarget::Full(full) => (full & 0xFFFF_FFFF) as u32,
            XidTarget::Low(low) => low,
        };
        let mut candidates = Vec::new();
        let absent = |zone: &Zone| !zone.any_xid && !zone.may_end(target);
        let coverage = self.walk(route, &absent, &mut |name, state| {
            let Some(summary) = state.summary() else {
                return ControlFlow::Continue(());
            };
            let mut member = summary.ends_transaction(low);
            if let (XidTarget::Full(full), true) = (target, member != Membership::No) {
                member = match summary.xid_base.full(low) {
                    Some(found) if found == full => member,
                    Some(_) => Membership::No,
                    None => Membership::Maybe,
                };
            }
            if member != Membership::No {
                candidates.push((name, member));
            }
            match (target, member) {
                (XidTarget::Full(_), Membership::Yes) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        XidAnswer { candidates, coverage }
    }

    /// The restore points along `route` with this name, or all.
    #[must_use]
    pub fn restore_points(&self, route: &Route, name: Option<&[u8]>) -> PointsAnswer {
        let mut points = Vec::new();
        let mut more = Vec::new();
        let coverage = self.walk(route, &|zone| !zone.points, &mut |segment, state| {
            if let Some(summary) = state.summary() {
                let wanted = |point: &&RestorePointMark| name.is_none_or(|name| point.name == name);
                let found = summary.all_restore_points().filter(wanted);
                points.extend(found.map(|point| (segment, point.clone())));
                if summary.more {
                    more.push(segment);
                }
            }
            ControlFlow::Continue(())
        });
        PointsAnswer {
            points,
            more,
            coverage,
        }
    }

    /// Whether each segment of `route` leads into the next. Every slot is read for this.
    #[must_use]
    pub fn continuity(&self, route: &Route) -> ContinuityAnswer {
        let mut breaks = Vec::new();
        let mut before: Option<SegmentSummary> = None;
        let size = self.segment_size();
        let coverage = self.walk(route, &|_| false, &mut |name, state| {
            let after = state.summary();
            if let (Some(before), Some(after)) = (&before, after)
                && before.name.number(size).next() == Some(name.number(size))
                && let Some(why) = follows(before, after)
            {
                breaks.push(Break {
                    before: before.name,
                    after: name,
                    why,
                });
            }
            before = state.known().cloned();
            ControlFlow::Continue(())
        });
        ContinuityAnswer { breaks, coverage }
    }
}

/// Why `after` cannot follow `before`, which was read to its end.
pub(super) fn follows(before: &SegmentSummary, after: &SegmentSummary) -> Option<BreakReason> {
    if before.system_identifier != after.system_identifier {
        return Some(BreakReason::System);
    }
    if let Some(Verdict::Broken(broken)) = after.head.as_ref().map(|head| &head.verdict) {
        return Some(BreakReason::Record(*broken));
    }
    if matches!(before.end, WalEnd::Zeros { .. }) && !before.is_switched() {
        return Some(BreakReason::Ended);
    }
    // A record that a crash cut off is void, and what is after it names the one before it.
    if after.overwrites {
        return None;
    }
    let open = match before.side() {
        Before::Open(tail) => Some(tail),
        Before::Closed => None,
        Before::NotKnown => return None,
    };
    if open.is_some() && after.head.is_none() {
        return Some(BreakReason::NotContinued);
    }
    let last = open.map(|tail| tail.start).or(before.last_record).or(
        match before.head.as_ref().map(|head| &head.verdict) {
            Some(Verdict::Good(spanning)) => Some(spanning.start),
            _ => None,
        },
    );
    match (after.first_previous, last) {
        (Some(found), Some(expected)) if found != expected => Some(BreakReason::Previous { found, expected }),
        _ => None,
    }
}

/// Whether nothing more than looking at the file will tell more about it.
pub(super) const fn is_settled(state: &SegmentState) -> bool {
    !matches!(state, SegmentState::Unknown)
}
