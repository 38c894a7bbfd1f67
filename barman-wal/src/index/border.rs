//! Records that lie over a segment border: judged when both sides are there, whichever came first.
//!
//! The segment where such a record begins has its *tail*, the one where it ends has its rest, the [`Head`]. The
//! checksum of the whole can be computed from those of the parts, so a side needs not be kept; of records that matter
//! (commits, restore points...) the bytes are kept, up to 4096 on each side. What comes out of it belongs to the
//! segment in which the record *ends*: without that one it is not replayed.

use crate::lsn::Lsn;
use crate::record::{DecodeError, Payload, Reason, Record, ResourceManager, WalTime};
use crate::timeline::TimelineId;

use super::summary::{CheckpointMark, RestorePointMark, TimelineChange};

/// `SizeOfXLogRecord`, bytes.
const HEADER: usize = 24;
/// Where `xl_crc` is.
const CRC: usize = 20;
/// How many bytes of a side are kept.
pub(super) const KEPT: usize = 4096;

/// The record that begins in a segment and goes on after it, as far as it is there; for a segment that lies wholly
/// within a record, all of it up to the end of that segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where the record starts.
    pub start: Lsn,
    /// `xl_tot_len`: how long it is.
    pub total: u32,
    /// How many bytes of it are there.
    pub have: u32,
    /// CRC-32C of those after the header.
    pub(super) crc: u32,
    /// The record before, if that is known.
    pub(super) previous: Option<Lsn>,
    /// The first bytes: at least the header as far as it is there, up to 4096 of records that matter.
    pub(super) bytes: Vec<u8>,
}

impl Tail {
    /// The tail that has these first bytes of the record at `start`; `None` when they do not even tell its length,
    /// which no page border can bring about.
    pub(super) fn new(start: Lsn, bytes: &[u8], previous: Option<Lsn>) -> Option<Self> {
        let total = u32::from_le_bytes(*bytes.first_chunk()?);
        let have = u32::try_from(bytes.len()).ok()?;
        let mut tail = Self {
            start,
            total,
            have,
            crc: crc32c::crc32c(bytes.get(HEADER..).unwrap_or_default()),
            previous,
            bytes: bytes.get(..KEPT).unwrap_or(bytes).to_vec(),
        };
        if !tail.matters() {
            tail.bytes.truncate(HEADER);
            tail.bytes.shrink_to_fit();
        }
        Some(tail)
    }

    /// How many bytes are missing.
    #[must_use]
    pub const fn missing(&self) -> u32 {
        self.total.saturating_sub(self.have)
    }

    /// Whether what it says can matter: so it does while the resource manager is not known.
    fn matters(&self) -> bool {
        let manager = self.bytes.get(17).copied();
        manager.is_none_or(|id| id == ResourceManager::XLOG.id() || id == ResourceManager::TRANSACTION.id())
    }

    /// The transaction that the record is of, as far as its header is there.
    #[must_use]
    pub fn xid(&self) -> Option<u32> {
        let (_, rest) = self.bytes.split_first_chunk::<4>()?;
        rest.first_chunk().copied().map(u32::from_le_bytes)
    }
}

/// The rest of a record that began before the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many bytes of the record the segment and those after it have (`xlp_rem_len`).
    pub remaining: u32,
    /// How many of them are in this segment.
    pub length: u32,
    /// What is known of the whole.
    pub verdict: Verdict,
    /// CRC-32C of those in this segment.
    pub(super) crc: u32,
    /// The first of them: at least 16, up to 4096 until it is found good.
    pub(super) bytes: Vec<u8>,
}

/// What is known of a record that began in an earlier segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The segment before is not known yet.
    Pending,
    /// It ends in this segment, and is good.
    Good(Spanning),
    /// It goes on in the next segment; so far nothing is wrong.
    GoesOn(Tail),
    /// The parts do not fit each other. Which segment is damaged cannot be told from this.
    Broken(Broken),
    /// A crash cut it off within this segment, and recovery began anew after it: it is void.
    Void,
    /// The WAL ends within it.
    Cut,
}

/// What a record over a border is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanning {
    /// Where it starts.
    pub start: Lsn,
    /// What it says.
    pub content: SpanningContent,
}

/// What a record over a border says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanningContent {
    /// A commit.
    Commit(SpanningEnd),
    /// An abort.
    Abort(SpanningEnd),
    /// A restore point.
    RestorePoint(RestorePointMark),
    /// A checkpoint, with the timeline that it begins, if it begins one.
    Checkpoint(CheckpointMark, Option<TimelineChange>),
    /// The end of recovery.
    EndOfRecovery(TimelineChange),
    /// A WAL switch: the rest of the segment is not used.
    Switch,
    /// Nothing that matters here.
    Other,
}

/// The end of a transaction in a record over a border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanningEnd {
    /// When.
    pub time: WalTime,
    /// The top-level transaction; `None` for a prepared one in a record that is too long to keep.
    pub xid: Option<u32>,
}

/// Why parts do not make up a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The segment before leaves nothing open, or another length.
    Length,
    /// The header cannot be one.
    Header,
    /// The checksum of the whole is wrong.
    Checksum,
    /// The checksum is right, the content cannot be.
    Content,
}

impl Broken {
    /// What is wrong, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "the segment before does not end in a record of that length",
            Self::Header => "the record's header is damaged",
            Self::Checksum => "the record's checksum is wrong",
            Self::Content => "the record's content is damaged",
        }
    }
}

/// What a side of a border tells about the segment that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before<'a> {
    /// Nothing: it is not known, or waits for its own neighbour.
    NotKnown,
    /// No record is open at its end.
    Closed,
    /// This record is open.
    Open(&'a Tail),
}

/// Judges a head by what is before it. `major` and `timeline` are those of the segment, `end` where the record's
/// bytes end there.
pub(super) fn judge(before: Before<'_>, head: &Head, major: u32, timeline: TimelineId, end: Lsn) -> Verdict {
    match before {
        Before::NotKnown => Verdict::Pending,
        Before::Closed => Verdict::Broken(Broken::Length),
        Before::Open(tail) => join(tail, head, major, timeline, end).unwrap_or_else(Verdict::Broken),
    }
}

/// CRC-32C of what follows `prefix`, where `crc` is that of both and `length` how long what follows is.
fn without_prefix(crc: u32, prefix: &[u8], length: usize) -> u32 {
    // The checksum of A and B is that of A, moved on by the length of B, and that of B, added without carry.
    crc ^ crc32c::crc32c_combine(crc32c::crc32c(prefix), 0, length)
}

fn join(tail: &Tail, head: &Head, major: u32, timeline: TimelineId, end: Lsn) -> Result<Verdict, Broken> {
    if tail.missing() != head.remaining || head.length > head.remaining {
        return Err(Broken::Length);
    }
    let have = usize::try_from(tail.have).unwrap_or(usize::MAX);
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    // As much as is left of the header, and what comes after it.
    let header_rest = HEADER.saturating_sub(have).min(length);
    let prefix = head.bytes.get(..header_rest).ok_or(Broken::Length)?;
    let body = length - header_rest;
    let joined = Tail {
        have: tail.have.saturating_add(head.length),
        crc: crc32c::crc32c_combine(tail.crc, without_prefix(head.crc, prefix, body), body),
        bytes: {
            let mut bytes = tail.bytes.clone();
            // Only what follows without a gap.
            if bytes.len() == have {
                bytes.extend_from_slice(&head.bytes);
            }
            bytes
        },
        ..tail.clone()
    };
    if head.length < head.remaining {
        let mut joined = joined;
        joined.bytes.truncate(KEPT);
        if !joined.matters() {
            joined.bytes.truncate(HEADER);
        }
        return Ok(Verdict::GoesOn(joined));
    }
    let content = content(&joined, major, timeline, end)?;
    Ok(Verdict::Good(Spanning {
        start: joined.start,
        content,
    }))
}

/// What the complete record says; its checksum is right then.
fn content(record: &Tail, major: u32, timeline: TimelineId, end: Lsn) -> Result<SpanningContent, Broken> {
    let header = record.bytes.first_chunk::<HEADER>().ok_or(Broken::Header)?;
    let (checked, expected) = header.split_at(CRC);
    let computed = crc32c::crc32c_append(record.crc, checked);
    if expected != computed.to_le_bytes() {
        return Err(Broken::Checksum);
    }
    let (info, manager) = (header[16], header[17]);
    let previous = header.get(8..16).and_then(|bytes| bytes.first_chunk());
    let previous = previous.map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
    if record.previous.is_some() && record.previous != previous {
        return Err(Broken::Header);
    }
    if record.bytes.len() == usize::try_from(record.total).unwrap_or(usize::MAX) {
        let whole = Record::parse(&record.bytes, record.start, end, timeline, major).map_err(
            |DecodeError { reason, .. }| match reason {
                Reason::Crc { .. } => Broken::Checksum,
                Reason::Structure { .. } => Broken::Content,
                _ => Broken::Header,
            },
        )?;
        return said(&whole);
    }
    if manager == ResourceManager::TRANSACTION.id() {
        return Ok(of_prefix(info, header, &record.bytes));
    }
    Ok(SpanningContent::Other)
}

/// What a record says that is there as a whole.
fn said(record: &Record<'_>) -> Result<SpanningContent, Broken> {
    let payload = record.payload().map_err(|_| Broken::Content)?;
    let change = TimelineChange::of(record, &payload);
    Ok(match payload {
        Payload::Commit(end) => SpanningContent::Commit(SpanningEnd {
            time: end.time,
            xid: Some(end.prepared_xid.unwrap_or(record.xid())),
        }),
        Payload::Abort(end) => SpanningContent::Abort(SpanningEnd {
            time: end.time,
            xid: Some(end.prepared_xid.unwrap_or(record.xid())),
        }),
        Payload::RestorePoint(point) => SpanningContent::RestorePoint(RestorePointMark::of(record, &point)),
        Payload::Checkpoint(checkpoint) => {
            SpanningContent::Checkpoint(CheckpointMark::of(record, &checkpoint), change)
        }
        Payload::EndOfRecovery(_) => match change {
            Some(change) => SpanningContent::EndOfRecovery(change),
            None => SpanningContent::Other,
        },
        Payload::Switch => SpanningContent::Switch,
        _ => SpanningContent::Other,
    })
}

/// The end of a transaction whose record is too long to keep: the time is the first that it says.
fn of_prefix(info: u8, header: &[u8; HEADER], bytes: &[u8]) -> SpanningContent {
    let Some(time) = first_time(bytes) else {
        return SpanningContent::Other;
    };
    let xid = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    // `XLOG_XACT_OPMASK`; the prepared ones have their id further back.
    match info & 0x70 {
        0x00 => SpanningContent::Commit(SpanningEnd { time, xid: Some(xid) }),
        0x20 => SpanningContent::Abort(SpanningEnd { time, xid: Some(xid) }),
        0x30 => SpanningContent::Commit(SpanningEnd { time, xid: None }),
        0x40 => SpanningContent::Abort(SpanningEnd { time, xid: None }),
        _ => SpanningContent::Other,
    }
}

/// The first eight bytes of the main data of a record without blocks, of which only a beginning is there.
fn first_time(bytes: &[u8]) -> Option<WalTime> {
    let mut rest = bytes.get(HEADER..)?;
    loop {
        let (id, after) = rest.split_first()?;
        // `XLR_BLOCK_ID_TOPLEVEL_XID`, `_ORIGIN`, `_DATA_LONG`, `_DATA_SHORT`: how long what belongs to them is.
        let (length, last) = match *id {
            252 => (4, false),
            253 => (2, false),
            254 => (4, true),
            255 => (1, true),
            _ => return None,
        };
        rest = after.get(length..)?;
        if last {
            return rest.first_chunk().map(|time| WalTime(i64::from_le_bytes(*time)));
        }
    }
}
