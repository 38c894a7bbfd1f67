//! What is known of one segment.

use std::fmt;

use crate::lsn::Lsn;
use crate::record::{Checkpoint, CheckpointKind, Payload, Record, RestorePoint, WalTime};
use crate::segment::{SegmentName, SegmentSize};
use crate::timeline::TimelineId;

use super::border::{Before, Head, SpanningContent, SpanningEnd, Tail, Verdict};
use super::xids::{Membership, XidBase, XidSet};

/// XXH3-128 of the plain content of a segment, as `xxh128sum` prints it.
///
/// It tells whether two files are the same segment, and finds accidental changes of what PostgreSQL's own checksums
/// do not cover. Against that 128 bits are plenty. It does not protect against somebody who makes up a second file on
/// purpose: whoever can do so can write WAL with right checksums anyway. SHA-256 would: at three to ten times the
/// time of everything else that is done to a segment, on processors without instructions for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// What the index says of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentState {
    /// Nobody has looked at it yet. That says nothing about whether the file exists.
    Unknown,
    /// All of it was read.
    Known(Box<SegmentSummary>),
    /// It cannot be read, or not to its end.
    Unreadable(Unreadable),
    /// WAL of a version that this program does not know, which says nothing about its condition.
    UnknownFormat {
        /// `xlp_magic`.
        magic: u16,
        /// Of the content.
        digest: Digest,
    },
}

impl SegmentState {
    /// What could be read: everything, or what comes before the damage.
    #[must_use]
    pub fn summary(&self) -> Option<&SegmentSummary> {
        match self {
            Self::Known(summary) => Some(summary),
            Self::Unreadable(unreadable) => unreadable.readable.as_deref(),
            Self::Unknown | Self::UnknownFormat { .. } => None,
        }
    }

    /// The summary of a segment that was read to its end.
    #[must_use]
    pub fn known(&self) -> Option<&SegmentSummary> {
        match self {
            Self::Known(summary) => Some(summary),
            _ => None,
        }
    }
}

/// Why a segment could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A page or a record is damaged.
    Corrupt,
    /// The file is shorter or longer than a segment.
    Length,
    /// It is another segment, or of another cluster.
    Foreign,
    /// It cannot be decompressed.
    Compression,
    /// It is encrypted and there is no key, or not the right one.
    Encrypted,
    /// The file cannot be opened or read. Another attempt may succeed.
    Io,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Corrupt => "corrupt",
            Self::Length => "of the wrong length",
            Self::Foreign => "not this segment",
            Self::Compression => "cannot be decompressed",
            Self::Encrypted => "cannot be decrypted",
            Self::Io => "cannot be read",
        })
    }
}

/// A segment that cannot be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Why.
    pub cause: Cause,
    /// Where, if that is known: what lies before it is good.
    pub lsn: Option<Lsn>,
    /// In words; at most 400 bytes are kept in the index.
    pub detail: String,
    /// Of the content, when there was any.
    pub digest: Option<Digest>,
    /// What came before `lsn`: recovery gets that far.
    pub readable: Option<Box<SegmentSummary>>,
}

impl Unreadable {
    /// A segment whose content could not be had at all.
    #[must_use]
    pub fn without_content(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            lsn: None,
            detail: detail.into(),
            digest: None,
            readable: None,
        }
    }
}

/// How the WAL in a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalEnd {
    /// It goes on in the next segment.
    Full,
    /// With a switch, whose record is here.
    Switch {
        /// Where that is.
        lsn: Lsn,
    },
    /// With zeros: what was allocated but not written, as in the last segment of a timeline; or after the rest of a
    /// switch's record that began in the segment before ([`SpanningContent::Switch`]).
    Zeros {
        /// Whether they cut a record off.
        in_record: bool,
    },
}

/// What is known of one segment that was read from its first byte on.
///
/// *In the segment* are the records that begin in it and are complete in it; what came from before is in
/// [`SegmentSummary::head`], what goes on after it in [`SegmentSummary::tail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Which segment.
    pub name: SegmentName,
    /// The size of the cluster's segments.
    pub size: SegmentSize,
    /// How many bytes of it are used: up to the end of the switch's record, or to where the zeros begin.
    pub used: u32,
    /// How its WAL ends.
    pub end: WalEnd,
    /// `xlp_magic`.
    pub magic: u16,
    /// The major version of the server.
    pub postgres_major: u32,
    /// The cluster.
    pub system_identifier: u64,
    /// The timeline of the first page: lower than the name's when the timeline begins within the segment, and then
    /// the one on which the segment before lies.
    pub first_page_timeline: TimelineId,
    /// How many records are in it.
    pub records: u32,
    /// The first record that begins in it.
    pub first_record: Option<Lsn>,
    /// The record that this one says is before it.
    pub first_previous: Option<Lsn>,
    /// The last record that begins in it, complete or not.
    pub last_record: Option<Lsn>,
    /// The record that it begins within.
    pub head: Option<Head>,
    /// Whether the first page says that the record before it was given up (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
    pub overwrites: bool,
    /// The record that begins in it and goes on after it.
    pub tail: Option<Tail>,
    /// How many commits are in it.
    pub commits: u32,
    /// How many aborts are in it.
    pub aborts: u32,
    /// The earliest and the latest time of its commits and aborts. They do not ascend within WAL.
    pub end_times: Option<(WalTime, WalTime)>,
    /// The oldest and the newest transaction of any of its records.
    pub xids: Option<(u32, u32)>,
    /// The top-level transactions whose commit or abort is in it.
    pub ended: XidSet,
    /// What the epoch of its transactions follows from.
    pub xid_base: XidBase,
    /// Its restore points, in order.
    pub restore_points: Vec<RestorePointMark>,
    /// Its checkpoints, in order.
    pub checkpoints: Vec<CheckpointMark>,
    /// Where it begins timelines.
    pub timeline_changes: Vec<TimelineChange>,
    /// Whether there are more restore points, checkpoints or timeline changes than the 1000 of each that are kept.
    pub more: bool,
    /// Of the whole content.
    pub digest: Digest,
}

impl SegmentSummary {
    /// Where it starts.
    #[must_use]
    pub fn start(&self) -> Lsn {
        self.name.start_lsn(self.size)
    }

    /// What the record over the border to the segment before says, once that is known.
    #[must_use]
    pub fn spanning(&self) -> Option<&SpanningContent> {
        match &self.head.as_ref()?.verdict {
            Verdict::Good(spanning) => Some(&spanning.content),
            _ => None,
        }
    }

    /// Whether the record over the border to the segment before is still to be judged.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.verdict == Verdict::Pending)
    }

    /// The end of a transaction over the border to the segment before.
    #[must_use]
    pub fn spanning_end(&self) -> Option<SpanningEnd> {
        match self.spanning()? {
            SpanningContent::Commit(end) | SpanningContent::Abort(end) => Some(*end),
            _ => None,
        }
    }

    /// The earliest and the latest time of all commits and aborts that end here, with the one over the border.
    #[must_use]
    pub fn all_end_times(&self) -> Option<(WalTime, WalTime)> {
        let spanning = self.spanning_end().map(|end| (end.time, end.time));
        match (self.end_times, spanning) {
            (Some((low, high)), Some((other_low, other_high))) => {
                Some((low.min(other_low), high.max(other_high)))
            }
            (own, None) => own,
            (None, other) => other,
        }
    }

    /// Whether the commit or abort of this transaction ends here.
    #[must_use]
    pub fn ends_transaction(&self, xid: u32) -> Membership {
        let spanning = match self.spanning_end() {
            None => Membership::No,
            Some(SpanningEnd { xid: Some(other), .. }) if other == xid => Membership::Yes,
            Some(SpanningEnd { xid: None, .. }) => Membership::Maybe,
            Some(_) => Membership::No,
        };
        self.ended.holds(xid).max(spanning)
    }

    /// All restore points that end here, with the one over the border.
    pub fn all_restore_points(&self) -> impl Iterator<Item = &RestorePointMark> {
        let spanning = match self.spanning() {
            Some(SpanningContent::RestorePoint(point)) => Some(point),
            _ => None,
        };
        spanning.into_iter().chain(&self.restore_points)
    }

    /// All checkpoints that end here, with the one over the border.
    pub fn all_checkpoints(&self) -> impl Iterator<Item = &CheckpointMark> {
        let spanning = match self.spanning() {
            Some(SpanningContent::Checkpoint(mark, _)) => Some(mark),
            _ => None,
        };
        spanning.into_iter().chain(&self.checkpoints)
    }

    /// All timelines that begin here, with the one over the border.
    pub fn all_timeline_changes(&self) -> impl Iterator<Item = &TimelineChange> {
        let spanning = match self.spanning() {
            Some(SpanningContent::Checkpoint(_, Some(change)) | SpanningContent::EndOfRecovery(change)) => {
                Some(change)
            }
            _ => None,
        };
        spanning.into_iter().chain(&self.timeline_changes)
    }

    /// Whether its WAL ends with a switch, whose record may have begun in the segment before.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        matches!(self.end, WalEnd::Switch { .. }) || self.spanning() == Some(&SpanningContent::Switch)
    }

    /// What its end says to the segment after it.
    pub(super) fn side(&self) -> Before<'_> {
        if let Some(tail) = &self.tail {
            return Before::Open(tail);
        }
        match &self.head {
            Some(head) if head.length < head.remaining => match &head.verdict {
                Verdict::GoesOn(tail) => Before::Open(tail),
                Verdict::Pending | Verdict::Broken(_) => Before::NotKnown,
                Verdict::Good(_) | Verdict::Void | Verdict::Cut => Before::Closed,
            },
            _ => Before::Closed,
        }
    }

    /// Whether it lies wholly within a record.
    #[must_use]
    pub fn is_within_a_record(&self) -> bool {
        matches!(&self.head, Some(head) if head.length < head.remaining
            && !matches!(head.verdict, Verdict::Void | Verdict::Cut))
    }

    /// Judges the record over the border to the segment before, which is `before`; gives whether that changed
    /// anything.
    ///
    /// A summary begins without a verdict. An index does this when it has both sides; so does whoever reads segments
    /// in order.
    pub fn judge(&mut self, before: &Self) -> bool {
        self.judge_side(before.side()) | self.inherit(before)
    }

    pub(super) fn judge_side(&mut self, before: Before<'_>) -> bool {
        let Some(head) = &mut self.head else {
            return false;
        };
        if !matches!(head.verdict, Verdict::Pending | Verdict::Broken(_)) {
            return false;
        }
        let end = Lsn(self
            .name
            .start_lsn(self.size)
            .0
            .saturating_add(u64::from(self.used)));
        let verdict = super::border::judge(before, head, self.postgres_major, self.first_page_timeline, end);
        if verdict == head.verdict {
            return false;
        }
        // A good record is not looked at again; a broken one is when a better copy of the other side comes.
        if matches!(verdict, Verdict::Good(_) | Verdict::GoesOn(_)) {
            head.bytes.truncate(16);
        }
        head.verdict = verdict;
        true
    }

    /// Takes the epoch over from the segment next to it, if it has none; gives whether it did.
    pub(super) fn inherit(&mut self, neighbour: &Self) -> bool {
        if self.xid_base != XidBase::Unknown || self.system_identifier != neighbour.system_identifier {
            return false;
        }
        let Some(base) = neighbour.xid_base.value() else {
            return false;
        };
        // The base moves along with the transactions.
        let base = self
            .xids
            .and_then(|(_, newest)| super::xids::full_xid(newest, base))
            .unwrap_or(base);
        self.xid_base = XidBase::Inherited(base);
        true
    }
}

/// A restore point (`pg_create_restore_point()`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePointMark {
    /// Where its record starts.
    pub lsn: Lsn,
    /// Where its record ends: what the function gave.
    pub end: Lsn,
    /// When it was made.
    pub time: WalTime,
    /// Its name, in whatever encoding the session had; at most 63 bytes. Names repeat.
    pub name: Vec<u8>,
}

impl RestorePointMark {
    pub(super) fn of(record: &Record<'_>, point: &RestorePoint<'_>) -> Self {
        Self {
            lsn: record.lsn(),
            end: record.end(),
            time: point.time,
            name: point.name.to_vec(),
        }
    }
}

/// A checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointMark {
    /// Where its record starts.
    pub lsn: Lsn,
    /// How it came about.
    pub kind: CheckpointKind,
    /// Where replay starts.
    pub redo: Lsn,
    /// The next transaction: epoch in the upper half, xid in the lower one.
    pub next_xid: u64,
    /// The timeline.
    pub timeline: TimelineId,
    /// The one before, when it begins a timeline; else the same.
    pub previous_timeline: TimelineId,
    /// When; whole seconds.
    pub time: WalTime,
}

impl CheckpointMark {
    pub(super) fn of(record: &Record<'_>, checkpoint: &Checkpoint) -> Self {
        Self {
            lsn: record.lsn(),
            kind: checkpoint.kind,
            redo: checkpoint.redo,
            next_xid: checkpoint.next_xid,
            timeline: checkpoint.timeline,
            previous_timeline: checkpoint.previous_timeline,
            time: checkpoint.time,
        }
    }
}

/// A timeline begins: recovery ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineChange {
    /// Where the record starts that says so.
    pub lsn: Lsn,
    /// The timeline that was replayed.
    pub from: TimelineId,
    /// The one that begins.
    pub to: TimelineId,
}

impl TimelineChange {
    pub(super) fn of(record: &Record<'_>, payload: &Payload<'_>) -> Option<Self> {
        let (from, to) = payload.timeline_change()?;
        Some(Self {
            lsn: record.lsn(),
            from,
            to,
        })
    }
}
