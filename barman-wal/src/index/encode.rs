//! One state of a segment as bytes.
//!
//! Numbers are LEB128 (signed ones zigzag), positions count from the start of the segment, times in microseconds from
//! the earliest one or from 2000. Which segment it is stands outside, with a checksum: what is read here was written
//! by this module, or is refused.

use crate::lsn::Lsn;
use crate::record::{CheckpointKind, WalTime};
use crate::segment::{SegmentName, SegmentSize};
use crate::timeline::TimelineId;

use super::border::{Broken, Head, Spanning, SpanningContent, SpanningEnd, Tail, Verdict};
use super::summary::{
    Cause, CheckpointMark, Digest, RestorePointMark, SegmentState, SegmentSummary, TimelineChange,
    Unreadable, WalEnd,
};
use super::xids::{XID_RANGES, XidBase, XidRange, XidSet};

/// Of a text that says what is wrong, bytes.
const DETAIL: usize = 400;
/// Of each list, and of the bytes of a record's side, at most.
const LIST: usize = 1000;
const BYTES: usize = 4096 * 2;

const KNOWN: u8 = 1;
const UNREADABLE: u8 = 2;
const UNKNOWN_FORMAT: u8 = 3;

/// The bytes of a state; `None` for [`SegmentState::Unknown`], which is nothing.
#[must_use]
pub fn encode_state(state: &SegmentState) -> Option<Vec<u8>> {
    let mut out = Out {
        bytes: Vec::with_capacity(300),
        start: 0,
    };
    match state {
        SegmentState::Unknown => return None,
        SegmentState::Known(summary) => {
            out.byte(KNOWN);
            out.summary(summary);
        }
        SegmentState::Unreadable(unreadable) => {
            out.byte(UNREADABLE);
            out.byte(
                CAUSES
                    .iter()
                    .position(|cause| *cause == unreadable.cause)
                    .unwrap_or(0) as u8,
            );
            let lsn = unreadable.lsn.map(|lsn| lsn.0);
            out.option(lsn, Out::number);
            let mut length = unreadable.detail.len().min(DETAIL);
            while !unreadable.detail.is_char_boundary(length) {
                length -= 1;
            }
            out.block(unreadable.detail.as_bytes().get(..length).unwrap_or_default());
            out.option(unreadable.digest, |out, digest| {
                out.bytes.extend(digest.0.to_le_bytes());
            });
            out.option(unreadable.readable.as_deref(), Out::summary);
        }
        SegmentState::UnknownFormat { magic, digest } => {
            out.byte(UNKNOWN_FORMAT);
            out.number(u64::from(*magic));
            out.bytes.extend(digest.0.to_le_bytes());
        }
    }
    Some(out.bytes)
}

/// Reads what [`encode_state`] wrote of the segment `name`; `None` when these are other bytes.
#[must_use]
pub fn decode_state(bytes: &[u8], name: SegmentName, size: SegmentSize) -> Option<SegmentState> {
    let mut from = In { bytes, start: 0 };
    let state = match from.byte()? {
        KNOWN => SegmentState::Known(Box::new(from.summary(name, size)?)),
        UNREADABLE => SegmentState::Unreadable(Unreadable {
            cause: *CAUSES.get(usize::from(from.byte()?))?,
            lsn: from.option(In::number)?.map(Lsn),
            detail: String::from_utf8(from.block(DETAIL)?.to_vec()).ok()?,
            digest: from.option(In::digest)?,
            readable: from.option(|from| from.summary(name, size).map(Box::new))?,
        }),
        UNKNOWN_FORMAT => SegmentState::UnknownFormat {
            magic: u16::try_from(from.number()?).ok()?,
            digest: from.digest()?,
        },
        _ => return None,
    };
    from.bytes.is_empty().then_some(state)
}

const CAUSES: [Cause; 6] = [
    Cause::Corrupt,
    Cause::Length,
    Cause::Foreign,
    Cause::Compression,
    Cause::Encrypted,
    Cause::Io,
];

const BROKEN: [Broken; 4] = [Broken::Length, Broken::Header, Broken::Checksum, Broken::Content];

/// What is written so far.
struct Out {
    bytes: Vec<u8>,
    /// Of the segment.
    start: u64,
}

impl Out {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    fn number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.byte((number & 0x7F) as u8 | 0x80);
            number >>= 7;
        }
        self.byte((number & 0x7F) as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn lsn(&mut self, lsn: Lsn) {
        self.signed(lsn.0.wrapping_sub(self.start).cast_signed());
    }

    fn time(&mut self, time: WalTime) {
        self.signed(time.0);
    }

    fn block(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        let items = items.get(..LIST).unwrap_or(items);
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    fn summary(&mut self, summary: &SegmentSummary) {
        self.start = summary.start().0;
        self.number(u64::from(summary.used));
        match summary.end {
            WalEnd::Full => self.byte(0),
            WalEnd::Switch { lsn } => {
                self.byte(1);
                self.lsn(lsn);
            }
            WalEnd::Zeros { in_record } => self.byte(2 + u8::from(in_record)),
        }
        self.bytes.extend(summary.magic.to_le_bytes());
        self.number(u64::from(summary.postgres_major));
        self.bytes.extend(summary.system_identifier.to_le_bytes());
        self.number(u64::from(summary.first_page_timeline.get()));
        self.number(u64::from(summary.records));
        self.option(summary.first_record, Self::lsn);
        self.option(summary.first_previous, Self::lsn);
        self.option(summary.last_record, Self::lsn);
        self.flag(summary.overwrites);
        self.option(summary.head.as_ref(), Self::head);
        self.option(summary.tail.as_ref(), Self::tail);
        self.number(u64::from(summary.commits));
        self.number(u64::from(summary.aborts));
        self.option(summary.end_times, |out, (low, high)| {
            out.time(low);
            out.signed(high.0.wrapping_sub(low.0));
        });
        self.option(summary.xids, |out, (first, last)| {
            out.number(u64::from(first));
            out.number(u64::from(last));
        });
        self.list(summary.ended.ranges(), |out, range| {
            out.number(u64::from(range.first));
            out.number(u64::from(range.last.wrapping_sub(range.first)));
            out.flag(range.dense);
        });
        match summary.xid_base {
            XidBase::Unknown => self.byte(0),
            XidBase::Told(base) => {
                self.byte(1);
                self.number(base);
            }
            XidBase::Inherited(base) => {
                self.byte(2);
                self.number(base);
            }
        }
        self.list(&summary.restore_points, Self::point);
        self.list(&summary.checkpoints, Self::checkpoint);
        self.list(&summary.timeline_changes, Self::change);
        self.flag(summary.more);
        self.bytes.extend(summary.digest.0.to_le_bytes());
    }

    fn head(&mut self, head: &Head) {
        self.number(u64::from(head.remaining));
        self.number(u64::from(head.length));
        self.bytes.extend(head.crc.to_le_bytes());
        self.block(&head.bytes);
        match &head.verdict {
            Verdict::Pending => self.byte(0),
            Verdict::Good(spanning) => {
                self.byte(1);
                self.lsn(spanning.start);
                self.content(&spanning.content);
            }
            Verdict::GoesOn(tail) => {
                self.byte(2);
                self.tail(tail);
            }
            Verdict::Broken(broken) => {
                self.byte(3);
                self.byte(BROKEN.iter().position(|known| known == broken).unwrap_or(0) as u8);
            }
            Verdict::Void => self.byte(4),
            Verdict::Cut => self.byte(5),
        }
    }

    fn tail(&mut self, tail: &Tail) {
        self.lsn(tail.start);
        self.number(u64::from(tail.total));
        self.number(u64::from(tail.have));
        self.bytes.extend(tail.crc.to_le_bytes());
        self.option(tail.previous, Self::lsn);
        self.block(&tail.bytes);
    }

    fn content(&mut self, content: &SpanningContent) {
        let end = |out: &mut Self, end: &SpanningEnd| {
            out.time(end.time);
            out.option(end.xid, |out, xid| out.number(u64::from(xid)));
        };
        match content {
            SpanningContent::Other => self.byte(0),
            SpanningContent::Commit(of) => {
                self.byte(1);
                end(self, of);
            }
            SpanningContent::Abort(of) => {
                self.byte(2);
                end(self, of);
            }
            SpanningContent::RestorePoint(point) => {
                self.byte(3);
                self.point(point);
            }
            SpanningContent::Checkpoint(mark, change) => {
                self.byte(4);
                self.checkpoint(mark);
                self.option(change.as_ref(), Self::change);
            }
            SpanningContent::EndOfRecovery(change) => {
                self.byte(5);
                self.change(change);
            }
            SpanningContent::Switch => self.byte(6),
        }
    }

    fn point(&mut self, point: &RestorePointMark) {
        self.lsn(point.lsn);
        self.lsn(point.end);
        self.time(point.time);
        self.block(&point.name);
    }

    fn checkpoint(&mut self, mark: &CheckpointMark) {
        self.lsn(mark.lsn);
        self.flag(mark.kind == CheckpointKind::Online);
        self.lsn(mark.redo);
        self.number(mark.next_xid);
        self.number(u64::from(mark.timeline.get()));
        self.number(u64::from(mark.previous_timeline.get()));
        self.time(mark.time);
    }

    fn change(&mut self, change: &TimelineChange) {
        self.lsn(change.lsn);
        self.number(u64::from(change.from.get()));
        self.number(u64::from(change.to.get()));
    }
}

/// What is left to read.
struct In<'a> {
    bytes: &'a [u8],
    start: u64,
}

impl<'a> In<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // One spelling for each number.
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    fn number32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    fn lsn(&mut self) -> Option<Lsn> {
        Some(Lsn(self.start.wrapping_add(self.signed()?.cast_unsigned())))
    }

    fn time(&mut self) -> Option<WalTime> {
        self.signed().map(WalTime)
    }

    fn timeline(&mut self) -> Option<TimelineId> {
        TimelineId::new(self.number32()?)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(|bytes| Digest(u128::from_le_bytes(bytes)))
    }

    fn block(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?)
            .ok()
            .filter(|length| *length <= limit)?;
        self.take(length)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn list<T>(&mut self, limit: usize, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?)
            .ok()
            .filter(|count| *count <= limit)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }

    fn summary(&mut self, name: SegmentName, size: SegmentSize) -> Option<SegmentSummary> {
        self.start = name.start_lsn(size).0;
        Some(SegmentSummary {
            name,
            size,
            used: self.number32().filter(|used| *used <= size.bytes())?,
            end: match self.byte()? {
                0 => WalEnd::Full,
                1 => WalEnd::Switch { lsn: self.lsn()? },
                2 => WalEnd::Zeros { in_record: false },
                3 => WalEnd::Zeros { in_record: true },
                _ => return None,
            },
            magic: self.array().map(u16::from_le_bytes)?,
            postgres_major: self.number32()?,
            system_identifier: self.array().map(u64::from_le_bytes)?,
            first_page_timeline: self.timeline()?,
            records: self.number32()?,
            first_record: self.option(Self::lsn)?,
            first_previous: self.option(Self::lsn)?,
            last_record: self.option(Self::lsn)?,
            overwrites: self.flag()?,
            head: self.option(Self::head)?,
            tail: self.option(Self::tail)?,
            commits: self.number32()?,
            aborts: self.number32()?,
            end_times: self.option(|from| {
                let low = from.time()?;
                let high = WalTime(low.0.wrapping_add(from.signed()?));
                (low <= high).then_some((low, high))
            })?,
            xids: self.option(|from| Some((from.number32()?, from.number32()?)))?,
            ended: XidSet::of_ranges(self.list(XID_RANGES, |from| {
                let first = from.number32()?;
                Some(XidRange {
                    first,
                    last: first.wrapping_add(from.number32()?),
                    dense: from.flag()?,
                })
            })?),
            xid_base: match self.byte()? {
                0 => XidBase::Unknown,
                1 => XidBase::Told(self.number()?),
                2 => XidBase::Inherited(self.number()?),
                _ => return None,
            },
            restore_points: self.list(LIST, Self::point)?,
            checkpoints: self.list(LIST, Self::checkpoint)?,
            timeline_changes: self.list(LIST, Self::change)?,
            more: self.flag()?,
            digest: self.digest()?,
        })
    }

    fn head(&mut self) -> Option<Head> {
        Some(Head {
            remaining: self.number32()?,
            length: self.number32()?,
            crc: self.array().map(u32::from_le_bytes)?,
            bytes: self.block(BYTES)?.to_vec(),
            verdict: match self.byte()? {
                0 => Verdict::Pending,
                1 => Verdict::Good(Spanning {
                    start: self.lsn()?,
                    content: self.content()?,
                }),
                2 => Verdict::GoesOn(self.tail()?),
                3 => Verdict::Broken(*BROKEN.get(usize::from(self.byte()?))?),
                4 => Verdict::Void,
                5 => Verdict::Cut,
                _ => return None,
            },
        })
    }

    fn tail(&mut self) -> Option<Tail> {
        Some(Tail {
            start: self.lsn()?,
            total: self.number32()?,
            have: self.number32()?,
            crc: self.array().map(u32::from_le_bytes)?,
            previous: self.option(Self::lsn)?,
            bytes: self.block(BYTES)?.to_vec(),
        })
    }

    fn end(&mut self) -> Option<SpanningEnd> {
        Some(SpanningEnd {
            time: self.time()?,
            xid: self.option(Self::number32)?,
        })
    }

    fn content(&mut self) -> Option<SpanningContent> {
        Some(match self.byte()? {
            0 => SpanningContent::Other,
            1 => SpanningContent::Commit(self.end()?),
            2 => SpanningContent::Abort(self.end()?),
            3 => SpanningContent::RestorePoint(self.point()?),
            4 => SpanningContent::Checkpoint(self.checkpoint()?, self.option(Self::change)?),
            5 => SpanningContent::EndOfRecovery(self.change()?),
            6 => SpanningContent::Switch,
            _ => return None,
        })
    }

    fn point(&mut self) -> Option<RestorePointMark> {
        Some(RestorePointMark {
            lsn: self.lsn()?,
            end: self.lsn()?,
            time: self.time()?,
            name: self.block(64)?.to_vec(),
        })
    }

    fn checkpoint(&mut self) -> Option<CheckpointMark> {
        Some(CheckpointMark {
            lsn: self.lsn()?,
            kind: if self.flag()? {
                CheckpointKind::Online
            } else {
                CheckpointKind::Shutdown
            },
            redo: self.lsn()?,
            next_xid: self.number()?,
            timeline: self.timeline()?,
            previous_timeline: self.timeline()?,
            time: self.time()?,
        })
    }

    fn change(&mut self) -> Option<TimelineChange> {
        Some(TimelineChange {
            lsn: self.lsn()?,
            from: self.timeline()?,
            to: self.timeline()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::wal_maker::{SIZE, WalMaker, name, size};
    use super::super::{Summarizer, summarize};
    use super::*;

    /// States of all kinds.
    fn states() -> Vec<(SegmentName, SegmentState)> {
        let mut wal = WalMaker::new(1, 3);
        wal.commit(100, -50);
        wal.checkpoint(0x5_0000_0067, (1, 1));
        wal.restore_point("one", 5);
        wal.fill_to(16);
        wal.commit_prepared(100, 7, 700);
        wal.commit(101, 7);
        wal.fill_to(24);
        wal.restore_point("two", 9);
        wal.message(2_500_000);
        wal.switch();
        let mut promoted = wal.branch(2);
        promoted.checkpoint(9, (1, 2));
        let mut states = Vec::new();
        for number in 3..=8 {
            states.push((
                name(1, number),
                summarize(name(1, number), wal.segment(number).as_slice()).unwrap(),
            ));
        }
        let mut before: Option<SegmentSummary> = None;
        for (_, state) in states.clone() {
            let Some(mut summary) = state.known().cloned() else {
                continue;
            };
            if let Some(before) = &before {
                summary.judge(before);
            }
            before = Some(summary.clone());
            states.push((summary.name, SegmentState::Known(Box::new(summary))));
        }
        let mut damaged = wal.segment(3);
        damaged[SIZE as usize - 30] ^= 1;
        states.push((name(1, 3), summarize(name(1, 3), damaged.as_slice()).unwrap()));
        damaged[0] = 0xFE;
        let mut summarizer = Summarizer::new(name(1, 3));
        summarizer.feed(&damaged);
        states.push((name(1, 3), summarizer.finish()));
        states.push((
            name(1, 3),
            SegmentState::Unreadable(Unreadable::without_content(Cause::Encrypted, "é".repeat(150))),
        ));
        states
    }

    #[test]
    fn there_and_back() {
        let mut kinds = std::collections::BTreeSet::new();
        for (name, state) in states() {
            let bytes = encode_state(&state).unwrap();
            assert_eq!(decode_state(&bytes, name, size()), Some(state.clone()), "{name}");
            for cut in 0..bytes.len() {
                assert_eq!(decode_state(&bytes[..cut], name, size()), None);
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert_eq!(decode_state(&longer, name, size()), None);
            kinds.insert(bytes[0]);
        }
        assert_eq!(kinds.len(), 3);
        assert_eq!(encode_state(&SegmentState::Unknown), None);
    }

    #[test]
    fn long_texts_are_cut() {
        let state = SegmentState::Unreadable(Unreadable::without_content(Cause::Io, "é".repeat(1000)));
        let bytes = encode_state(&state).unwrap();
        let SegmentState::Unreadable(read) = decode_state(&bytes, name(1, 3), size()).unwrap() else {
            panic!("another state");
        };
        assert_eq!(read.detail, "é".repeat(200));
    }
}
