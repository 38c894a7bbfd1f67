//! From the bytes of a segment to its summary, in one pass.

use std::io::{self, Read, Write};

use twox_hash::xxhash3_128;

use crate::lsn::Lsn;
use crate::page::{FIRST_IS_OVERWRITE_CONTRECORD, LONG_HEADER_SIZE, PageHeader, SegmentHeaderError};
use crate::record::{DecodeError, Decoder, Ending, Payload, Reason, Record, ResourceManager, WalTime};
use crate::segment::{SegmentName, SegmentSize};
use crate::timeline::TimelineId;

use super::border::{Head, Tail, Verdict};
use super::summary::{
    Cause, CheckpointMark, Digest, RestorePointMark, SegmentState, SegmentSummary, TimelineChange,
    Unreadable, WalEnd,
};
use super::xids::{XidBase, XidCollector, XidExtent};

/// How many restore points, checkpoints and timeline changes of a segment are kept, each.
const KEPT: usize = 1000;
/// The smallest segment, bytes: so much is certainly of this one.
const SMALLEST: usize = 1 << 20;
/// How much is read at once, bytes.
const BUFFER: usize = 256 << 10;

/// Makes the summary of one segment from its plain bytes, which come in pieces of any size. It is a [`Write`], so
/// that it can stand beside a compressor in one pass; nothing it is fed with makes it fail: what is wrong is what
/// [`Summarizer::finish`] says.
pub struct Summarizer {
    name: SegmentName,
    decoder: Decoder,
    hash: xxhash3_128::Hasher,
    length: u64,
    /// The first page header, as far as it came.
    first: Vec<u8>,
    failed: Option<DecodeError>,
    found: Found,
}

/// What the records said.
#[derive(Default)]
struct Found {
    records: u32,
    first_record: Option<(Lsn, Lsn)>,
    last_record: Option<Lsn>,
    commits: u32,
    aborts: u32,
    end_times: Option<(WalTime, WalTime)>,
    xids: XidExtent,
    ended: XidCollector,
    xid_base: Option<u64>,
    restore_points: Vec<RestorePointMark>,
    checkpoints: Vec<CheckpointMark>,
    timeline_changes: Vec<TimelineChange>,
    more: bool,
    /// Where the record of a switch starts and where its bytes end.
    switch: Option<(Lsn, Lsn)>,
}

impl std::fmt::Debug for Summarizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Summarizer")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Summarizer {
    /// For the segment of this name.
    #[must_use]
    pub fn new(name: SegmentName) -> Self {
        Self {
            name,
            decoder: Decoder::new().of_segment(name),
            hash: xxhash3_128::Hasher::new(),
            length: 0,
            first: Vec::with_capacity(LONG_HEADER_SIZE),
            failed: None,
            found: Found::default(),
        }
    }

    /// Demands that this cluster wrote it.
    #[must_use]
    pub fn of_system(mut self, identifier: u64) -> Self {
        self.decoder = self.decoder.of_system(identifier);
        self
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        let missing = LONG_HEADER_SIZE.saturating_sub(self.first.len());
        self.first
            .extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        // Until the first page tells the size only as much as every segment has.
        let (certain, more) = match self.decoder.segment_size() {
            None => bytes.split_at_checked(SMALLEST).unwrap_or((bytes, &[])),
            Some(_) => (&[][..], bytes),
        };
        self.decode(certain);
        if !more.is_empty() {
            let size = self
                .decoder
                .segment_size()
                .map_or(0, |size| u64::from(size.bytes()));
            let left = usize::try_from(size.saturating_sub(self.length)).unwrap_or(usize::MAX);
            let within = more.get(..left).unwrap_or(more);
            self.decode(within);
            let beyond = more.len() - within.len();
            self.length = self.length.saturating_add(beyond as u64);
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.failed.is_some() {
            return;
        }
        let mut feed = self.decoder.feed(bytes);
        loop {
            match feed.next() {
                Ok(Some(record)) => {
                    if let Err(error) = self.found.record(&record) {
                        self.failed = Some(error);
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
            if self.found.switch.is_some_and(|(_, end)| !end.is_valid()) {
                // The decoder has not read further than the record yet.
                let end = feed.decoder().position().unwrap_or_default();
                self.found.switch = self.found.switch.map(|(lsn, _)| (lsn, end));
            }
        }
    }

    /// What the segment is: never [`SegmentState::Unknown`].
    #[must_use]
    pub fn finish(self) -> SegmentState {
        let digest = Digest(self.hash.finish_128());
        if let Some(DecodeError {
            reason: Reason::UnknownFormat { magic },
            ..
        }) = &self.failed
        {
            return SegmentState::UnknownFormat {
                magic: *magic,
                digest,
            };
        }
        let size = self.decoder.segment_size();
        let length = self.length;
        let wrong_length = size.filter(|size| u64::from(size.bytes()) != length);
        let failed = self.failed.clone().filter(|_| !self.is_switched_before());
        let readable = size.and_then(|size| self.summary(size, digest)).map(Box::new);
        let unreadable = |cause, lsn, detail| {
            SegmentState::Unreadable(Unreadable {
                cause,
                lsn,
                detail,
                digest: Some(digest),
                readable: None,
            })
        };
        match (failed, wrong_length, readable) {
            (Some(error), _, readable) => {
                let cause = match &error.reason {
                    Reason::System { .. } | Reason::Segment(SegmentHeaderError::Name { .. }) => {
                        Cause::Foreign
                    }
                    _ => Cause::Corrupt,
                };
                SegmentState::Unreadable(Unreadable {
                    cause,
                    lsn: error.lsn.is_valid().then_some(error.lsn),
                    detail: error.reason.to_string(),
                    digest: Some(digest),
                    readable,
                })
            }
            (None, Some(size), readable) => {
                let end = self
                    .decoder
                    .position()
                    .filter(|_| length < u64::from(size.bytes()));
                SegmentState::Unreadable(Unreadable {
                    cause: Cause::Length,
                    lsn: end,
                    detail: format!("it has {length} bytes instead of {size}"),
                    digest: Some(digest),
                    readable,
                })
            }
            (None, None, Some(summary)) => SegmentState::Known(summary),
            // Not even the first page header is complete.
            (None, None, None) => unreadable(
                Cause::Length,
                None,
                format!("it has {length} bytes, too few for a WAL segment"),
            ),
        }
    }

    /// Whether the error is what follows a switch whose record began in the segment before: PostgreSQL 10 puts page
    /// headers there.
    fn is_switched_before(&self) -> bool {
        let after = matches!(
            &self.failed,
            Some(DecodeError {
                reason: Reason::AfterEnd { .. },
                ..
            })
        );
        after
            && self.found.records == 0
            && self
                .decoder
                .rest_at_start()
                .is_some_and(|rest| rest.length() == rest.remaining() && rest.remaining() <= 16)
    }

    fn summary(&self, size: SegmentSize, digest: Digest) -> Option<SegmentSummary> {
        let header = PageHeader::parse(&self.first)?;
        let long = header.long?;
        let start = self.name.start_lsn(size);
        let segment_end = Lsn(start.0.saturating_add(u64::from(size.bytes())));
        let found = &self.found;
        let ending = self.decoder.ending();
        let tail = self
            .decoder
            .incomplete_record()
            .filter(|_| matches!(ending, Ending::InRecord { .. }) && self.failed.is_none())
            .and_then(|(lsn, bytes)| Tail::new(lsn, bytes, found.last_record));
        let (end, used_to) = match (found.switch, ending) {
            (Some((lsn, end)), _) => (WalEnd::Switch { lsn }, end),
            (None, Ending::Zeros { end, in_record }) => (WalEnd::Zeros { in_record }, end),
            (None, _) => (
                WalEnd::Full,
                self.decoder.position().unwrap_or(start).min(segment_end),
            ),
        };
        let head = self.decoder.rest_at_start().map(|rest| {
            let goes_on = rest.length() < rest.remaining();
            let verdict = match ending {
                Ending::Zeros { in_record: true, .. } if goes_on => Verdict::Cut,
                Ending::InRecord { start: None } => Verdict::Pending,
                _ if goes_on && self.failed.is_none() => Verdict::Void,
                _ => Verdict::Pending,
            };
            Head {
                remaining: rest.remaining(),
                length: rest.length(),
                verdict,
                crc: rest.crc(),
                bytes: rest.bytes().to_vec(),
            }
        });
        let begun = tail.as_ref().map(|tail| {
            let previous = tail.bytes.get(8..16).and_then(|bytes| bytes.first_chunk());
            (tail.start, previous.map(|bytes| Lsn(u64::from_le_bytes(*bytes))))
        });
        let first = found
            .first_record
            .map(|(lsn, previous)| (lsn, Some(previous)))
            .or(begun);
        Some(SegmentSummary {
            name: self.name,
            size,
            used: u32::try_from(used_to.0.saturating_sub(start.0)).unwrap_or(size.bytes()),
            end,
            magic: header.magic,
            postgres_major: self.decoder.postgres_major()?,
            system_identifier: long.system_identifier,
            first_page_timeline: TimelineId::new(header.timeline)?,
            records: found.records,
            first_record: first.map(|(lsn, _)| lsn),
            first_previous: first.and_then(|(_, previous)| previous),
            last_record: begun.map(|(lsn, _)| lsn).or(found.last_record),
            head,
            overwrites: header.info & FIRST_IS_OVERWRITE_CONTRECORD != 0,
            tail,
            commits: found.commits,
            aborts: found.aborts,
            end_times: found.end_times,
            xids: found.xids.0,
            ended: found.ended.clone().finish(),
            xid_base: found.xid_base.map_or(XidBase::Unknown, XidBase::Told),
            restore_points: found.restore_points.clone(),
            checkpoints: found.checkpoints.clone(),
            timeline_changes: found.timeline_changes.clone(),
            more: found.more,
            digest,
        })
    }
}

impl Found {
    #[inline]
    fn record(&mut self, record: &Record<'_>) -> Result<(), DecodeError> {
        self.records = self.records.saturating_add(1);
        let lsn = record.lsn();
        if self.first_record.is_none() {
            self.first_record = Some((lsn, record.previous()));
        }
        self.last_record = Some(lsn);
        self.xids.add(record.xid());
        match record.resource_manager() {
            ResourceManager::XLOG | ResourceManager::TRANSACTION => self.payload(record),
            _ => Ok(()),
        }
    }

    fn payload(&mut self, record: &Record<'_>) -> Result<(), DecodeError> {
        let payload = record.payload().map_err(|_| DecodeError {
            lsn: record.lsn(),
            reason: Reason::Structure {
                what: "the data is not what a record of its type has",
            },
        })?;
        if let Some(change) = TimelineChange::of(record, &payload) {
            self.more |= !push(&mut self.timeline_changes, change);
        }
        match &payload {
            Payload::Commit(end) | Payload::Abort(end) => {
                if matches!(payload, Payload::Commit(_)) {
                    self.commits = self.commits.saturating_add(1);
                } else {
                    self.aborts = self.aborts.saturating_add(1);
                }
                let (low, high) = self.end_times.unwrap_or((end.time, end.time));
                self.end_times = Some((low.min(end.time), high.max(end.time)));
                self.ended.add(end.prepared_xid.unwrap_or(record.xid()));
            }
            Payload::Checkpoint(checkpoint) => {
                self.xid_base = Some(checkpoint.next_xid);
                self.more |= !push(&mut self.checkpoints, CheckpointMark::of(record, checkpoint));
            }
            Payload::RestorePoint(point) => {
                self.more |= !push(&mut self.restore_points, RestorePointMark::of(record, point));
            }
            Payload::Switch => self.switch = Some((record.lsn(), Lsn::INVALID)),
            _ => {}
        }
        Ok(())
    }
}

/// Whether there was room.
fn push<T>(list: &mut Vec<T>, item: T) -> bool {
    let room = list.len() < KEPT;
    if room {
        list.push(item);
    }
    room
}

impl Write for Summarizer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The summary of the segment `name` whose plain bytes `reader` gives.
///
/// # Errors
/// The reader's. What it gave before is lost then: the caller knows better what the failure means, and says so with
/// [`Unreadable::without_content`].
pub fn summarize(name: SegmentName, mut reader: impl Read) -> io::Result<SegmentState> {
    let mut summarizer = Summarizer::new(name);
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(summarizer.finish()),
            Ok(count) => summarizer.feed(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
