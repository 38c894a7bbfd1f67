//! Transaction ids: from 32 to 64 bits, and sets of them in little space.
//!
//! A record has the lower 32 bits of a transaction's id. The upper ones, the epoch, are in checkpoints only. Within
//! WAL that lies close together all ids are less than 2^31 apart (PostgreSQL, `TransactionIdPrecedes`), so one known
//! 64-bit id, a *base*, tells the epoch of all others there.

/// The first id of an ordinary transaction (`FirstNormalTransactionId`).
pub const FIRST_NORMAL_XID: u32 = 3;

/// How many ranges a set has while it is made.
const WORKING: usize = 64;

/// How many ranges a finished set has at most.
pub const XID_RANGES: usize = 6;

/// The 64-bit id whose lower half is `xid` and that is nearest to `base`. `None` when it would be below 0.
#[must_use]
pub fn full_xid(xid: u32, base: u64) -> Option<u64> {
    // The lower half, on purpose.
    let low = (base & 0xFFFF_FFFF) as u32;
    let distance = i64::from(xid.wrapping_sub(low).cast_signed());
    base.checked_add_signed(distance)
}

/// Where the epoch of the transaction ids of a segment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XidBase {
    /// Nothing that is known tells it.
    #[default]
    Unknown,
    /// A checkpoint in the segment told its next transaction id.
    Told(u64),
    /// Taken over from a segment next to it.
    Inherited(u64),
}

impl XidBase {
    /// A 64-bit id near those of the segment.
    #[must_use]
    pub const fn value(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Told(base) | Self::Inherited(base) => Some(base),
        }
    }

    /// The 64-bit form of `xid`, if it can be told.
    #[must_use]
    pub fn full(self, xid: u32) -> Option<u64> {
        full_xid(xid, self.value()?)
    }
}

/// Ids from `first` to `last`, both included, in the order of transactions: `last` may be the smaller number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XidRange {
    /// The oldest one.
    pub first: u32,
    /// The newest one.
    pub last: u32,
    /// Whether each id in between is in the set.
    pub dense: bool,
}

impl XidRange {
    /// Whether `xid` lies in it.
    #[must_use]
    pub const fn contains(self, xid: u32) -> bool {
        xid.wrapping_sub(self.first) <= self.last.wrapping_sub(self.first)
    }
}

/// Whether an id is in an [`XidSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// It is not.
    No,
    /// It can be: the set does not know each id.
    Maybe,
    /// It is.
    Yes,
}

/// Some ids of one segment, as at most [`XID_RANGES`] ranges: transactions that end together began together, but for
/// a few, so that few ranges that leave out the widest gaps say nearly all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XidSet {
    ranges: Vec<XidRange>,
}

impl XidSet {
    /// The set of these ranges, which a finished set gave.
    #[must_use]
    pub(super) fn of_ranges(ranges: Vec<XidRange>) -> Self {
        Self { ranges }
    }

    /// Its ranges, the oldest first.
    #[must_use]
    pub fn ranges(&self) -> &[XidRange] {
        &self.ranges
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the transaction with these lower 32 bits is in it.
    #[must_use]
    pub fn holds(&self, xid: u32) -> Membership {
        match self.ranges.iter().find(|range| range.contains(xid)) {
            None => Membership::No,
            Some(range) if range.dense => Membership::Yes,
            Some(_) => Membership::Maybe,
        }
    }

    /// The oldest and the newest id.
    #[must_use]
    pub fn extent(&self) -> Option<(u32, u32)> {
        Some((self.ranges.first()?.first, self.ranges.last()?.last))
    }
}

/// Collects an [`XidSet`] in bounded memory.
#[derive(Debug, Clone, Default)]
pub(super) struct XidCollector {
    /// What the numbers below count from: the first id that came.
    origin: Option<u32>,
    /// Ascending, disjoint, not adjacent: first, last, dense.
    ranges: Vec<(i64, i64, bool)>,
}

impl XidCollector {
    /// Takes one id; those that are no ordinary transaction's are left out.
    pub fn add(&mut self, xid: u32) {
        if xid < FIRST_NORMAL_XID {
            return;
        }
        let origin = *self.origin.get_or_insert(xid);
        let number = i64::from(xid.wrapping_sub(origin).cast_signed());
        // The first range that ends at the number before it or later.
        let at = self.ranges.partition_point(|(_, last, _)| *last < number - 1);
        match self.ranges.get_mut(at) {
            Some((first, last, _)) if *first <= number + 1 => {
                *first = (*first).min(number);
                *last = (*last).max(number);
                self.join_adjacent(at);
            }
            _ => {
                self.ranges.insert(at, (number, number, true));
                self.limit(WORKING);
            }
        }
    }

    /// The range at `at` has grown and may touch the next one.
    fn join_adjacent(&mut self, at: usize) {
        if let (Some(&(_, last, _)), Some(&(first, _, _))) = (self.ranges.get(at), self.ranges.get(at + 1))
            && last + 1 >= first
        {
            self.join(at);
        }
    }

    /// Makes one of the ranges at `at` and after it.
    fn join(&mut self, at: usize) {
        if at + 1 >= self.ranges.len() {
            return;
        }
        let (next_first, next_last, next_dense) = self.ranges.remove(at + 1);
        if let Some((_, last, dense)) = self.ranges.get_mut(at) {
            *dense = *dense && next_dense && *last + 1 >= next_first;
            *last = (*last).max(next_last);
        }
    }

    /// Closes the smallest gaps until there are at most `count` ranges.
    fn limit(&mut self, count: usize) {
        while self.ranges.len() > count {
            let gaps = self.ranges.windows(2).map(|pair| match pair {
                [(_, last, _), (first, ..)] => first - last,
                _ => i64::MAX,
            });
            let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else {
                return;
            };
            self.join(at);
        }
    }

    /// The set.
    pub fn finish(mut self) -> XidSet {
        self.limit(XID_RANGES);
        let origin = self.origin.unwrap_or(0);
        // The numbers are differences of 32-bit numbers.
        let xid = |number: i64| origin.wrapping_add((number & 0xFFFF_FFFF) as u32);
        let ranges = self.ranges.iter().map(|&(first, last, dense)| XidRange {
            first: xid(first),
            last: xid(last),
            dense,
        });
        XidSet {
            ranges: ranges.collect(),
        }
    }
}

/// The oldest and the newest of some ids, in the order of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct XidExtent(pub Option<(u32, u32)>);

impl XidExtent {
    #[inline]
    pub fn add(&mut self, xid: u32) {
        if xid < FIRST_NORMAL_XID {
            return;
        }
        self.0 = Some(match self.0 {
            None => (xid, xid),
            Some((first, last)) if xid.wrapping_sub(first).cast_signed() < 0 => (xid, last),
            Some((first, last)) if xid.wrapping_sub(last).cast_signed() > 0 => (first, xid),
            Some(same) => same,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nearest_in_64_bits() {
        for (xid, base, full) in [
            (10, 5, Some(10)),
            (10, 0x1_0000_0005, Some(0x1_0000_000A)),
            (0xFFFF_FFF0, 0x1_0000_0005, Some(0xFFFF_FFF0)),
            (5, 0xFFFF_FFF0, Some(0x1_0000_0005)),
            (0xFFFF_FFF0, 5, None),
            (3, u64::MAX, None),
        ] {
            assert_eq!(full_xid(xid, base), full, "{xid:#X} {base:#X}");
        }
    }

    #[test]
    fn long_transactions_do_not_widen_the_set() {
        let mut collector = XidCollector::default();
        for xid in (5000..9000).chain([3, 700, 4000]).chain(9001..9500) {
            collector.add(xid);
        }
        let set = collector.finish();
        assert_eq!(set.ranges().len(), 5);
        assert_eq!(set.holds(9000), Membership::No);
        assert_eq!(set.holds(6000), Membership::Yes);
        assert_eq!(set.holds(701), Membership::No);
        assert_eq!(set.extent(), Some((3, 9499)));
    }

    proptest! {
        /// What was added is never denied, and what is said for certain was added.
        #[test]
        fn like_a_set(start: u32, steps in proptest::collection::vec(-300i32..400, 0..400)) {
            let mut collector = XidCollector::default();
            let mut extent = XidExtent::default();
            let mut naive = std::collections::BTreeSet::new();
            let mut xid = start;
            for step in steps {
                xid = xid.wrapping_add_signed(step);
                collector.add(xid);
                extent.add(xid);
                naive.insert(xid);
            }
            naive.retain(|xid| *xid >= FIRST_NORMAL_XID);
            let set = collector.finish();
            prop_assert!(set.ranges().len() <= XID_RANGES);
            prop_assert_eq!(set.extent(), extent.0);
            for distance in -2000..2000 {
                let xid = start.wrapping_add_signed(distance);
                match set.holds(xid) {
                    Membership::Yes => prop_assert!(naive.contains(&xid)),
                    Membership::No => prop_assert!(!naive.contains(&xid)),
                    Membership::Maybe => {}
                }
            }
            if naive.len() <= XID_RANGES {
                prop_assert!(set.ranges().iter().all(|range| range.dense));
            }
        }
    }
}
