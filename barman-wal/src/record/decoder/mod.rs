//! Pages and bytes become records.

mod head;
mod pages;
mod quick;

pub use head::RecordRest;

use super::Record;
use super::error::{DecodeError, Reason};
use super::header::{self, Header};
use super::parts::Parts;
use crate::crc;
use crate::lsn::Lsn;
use crate::segment::{SegmentName, SegmentSize};
use crate::timeline::TimelineId;

/// Records begin at multiples of this (`MAXALIGN`).
const ALIGNMENT: u64 = 8;

/// How much memory is kept from one long record for the next, bytes.
const KEPT: usize = 1 << 20;

/// What the first page tells about all that follow.
#[derive(Debug, Clone, Copy)]
struct Format {
    magic: u16,
    major: u8,
    segment: SegmentSize,
    /// The size of a page, bytes; a power of two.
    block: u64,
    /// Unknown until the first long header.
    system: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Records follow each other.
    Records,
    /// After an `XLOG_SWITCH`: nothing up to the end of the segment.
    Switched,
    /// After the end of the WAL: zeros.
    Zeros { end: Lsn },
}

/// Where the bytes that were fed so far end. See [`Decoder::ending`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Before the first page header is complete.
    Nothing,
    /// Behind a complete record, or within the unused rest of a segment after a switch: the next record can be at
    /// this position at the earliest.
    AtRecord(Lsn),
    /// Within a record.
    InRecord {
        /// Where it starts; `None` when that was before the first page.
        start: Option<Lsn>,
    },
    /// Within zeros: what was allocated, but not written.
    Zeros {
        /// The end of the WAL: where the zeros begin; or where the record begins that would continue there, which is
        /// the first page when it began before that.
        end: Lsn,
        /// Whether a record would continue there.
        in_record: bool,
    },
}

/// Decodes WAL that is fed to it in pieces of any size. See the [module](super) for how.
///
/// It keeps at most one record in memory: the one that continues on another page or in the next piece.
#[derive(Debug, Clone)]
pub struct Decoder {
    name: Option<SegmentName>,
    system: Option<u64>,
    format: Option<Format>,
    /// Of the next byte; means nothing before the first page header.
    position: u64,
    state: State,
    /// A page header is next.
    header_due: bool,
    /// As much of it as came.
    header: Vec<u8>,
    first_page: bool,
    /// Where the first page is.
    first: Lsn,
    timeline: Option<TimelineId>,
    /// How much of a record that began before the first page is to come.
    skip: u32,
    /// That record, as far as it came.
    head: Option<RecordRest>,
    /// The first bytes of a record that is not complete yet, or the record that was returned last.
    pending: Vec<u8>,
    /// Where that record starts.
    pending_lsn: Option<Lsn>,
    /// Its header, as soon as there is one.
    pending_header: Option<Header>,
    /// CRC-32C of what came of it after the header: computed before the bytes are copied, as they come from memory
    /// then, and once.
    pending_crc: u32,
    previous: Option<Lsn>,
    failed: Option<DecodeError>,
    quick: quick::Quick,
}

/// A record that was found: where its bytes are.
struct Found {
    lsn: Lsn,
    end: Lsn,
    parts: Parts,
    /// Where in the input; `None`: it is in `pending`.
    range: Option<(usize, usize)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder of WAL from the start of a segment on: its first page tells everything else.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name: None,
            system: None,
            format: None,
            position: 0,
            state: State::Records,
            header_due: true,
            header: Vec::new(),
            first_page: true,
            first: Lsn::INVALID,
            timeline: None,
            skip: 0,
            head: None,
            pending: Vec::new(),
            pending_lsn: None,
            pending_header: None,
            pending_crc: 0,
            previous: None,
            failed: None,
            quick: quick::Quick::NOTHING,
        }
    }

    /// Demands that the first page belongs to a file of this name: its place, and no page of a later timeline.
    #[must_use]
    pub fn of_segment(mut self, name: SegmentName) -> Self {
        self.name = Some(name);
        self
    }

    /// Demands that this cluster wrote it.
    #[must_use]
    pub fn of_system(mut self, identifier: u64) -> Self {
        self.system = Some(identifier);
        self
    }

    /// Takes the bytes that follow those of the calls before. The records come out of the [`Feed`]; what has not been
    /// taken out of it when it is dropped counts as never fed.
    pub fn feed<'d, 'b>(&'d mut self, bytes: &'b [u8]) -> Feed<'d, 'b> {
        Feed {
            decoder: self,
            bytes,
            at: 0,
        }
    }

    /// Where the bytes that were fed so far end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.format.is_none() {
            return Ending::Nothing;
        }
        if let State::Zeros { end } = self.state {
            return Ending::Zeros {
                end,
                in_record: self.skip > 0 || self.pending_lsn.is_some(),
            };
        }
        if self.skip > 0 || self.pending_lsn.is_some() {
            return Ending::InRecord {
                start: self.pending_lsn,
            };
        }
        Ending::AtRecord(self.lsn())
    }

    /// The rest of the record that began before the first page, as far as it came; `None` when the first page begins
    /// no such.
    #[must_use]
    pub const fn rest_at_start(&self) -> Option<&RecordRest> {
        self.head.as_ref()
    }

    /// Where the record starts that is not complete yet, and what came of it; `None` when there is none, and for one
    /// that began before the first page.
    #[must_use]
    pub fn incomplete_record(&self) -> Option<(Lsn, &[u8])> {
        self.pending_lsn.map(|lsn| (lsn, self.pending.as_slice()))
    }

    /// The position after the last byte that was read; `None` before the first page header.
    #[must_use]
    pub fn position(&self) -> Option<Lsn> {
        self.format.map(|_| self.lsn())
    }

    /// The timeline of the current page; `None` before the first page header.
    #[must_use]
    pub const fn timeline(&self) -> Option<TimelineId> {
        self.timeline
    }

    /// The major version of the server; `None` before the first page header.
    #[must_use]
    pub fn postgres_major(&self) -> Option<u32> {
        self.format.map(|format| u32::from(format.major))
    }

    /// The size of a segment; `None` before the first page header.
    #[must_use]
    pub fn segment_size(&self) -> Option<SegmentSize> {
        self.format.map(|format| format.segment)
    }

    /// The cluster; `None` before the first page header.
    #[must_use]
    pub fn system_identifier(&self) -> Option<u64> {
        self.format.and_then(|format| format.system)
    }

    const fn lsn(&self) -> Lsn {
        Lsn(self.position)
    }

    const fn error(&self, reason: Reason) -> DecodeError {
        DecodeError {
            lsn: self.lsn(),
            reason,
        }
    }

    /// Reads `input` from `at` on up to the end of the next record.
    fn advance(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Found>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let found = self.search(input, at);
        if let Err(error) = &found {
            self.failed = Some(error.clone());
        }
        self.prepare_quick();
        found
    }

    fn search(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Found>, DecodeError> {
        if self.pending_lsn.is_none() {
            // The record of the call before.
            self.pending.clear();
            self.pending.shrink_to(KEPT);
        }
        loop {
            let rest = input.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            match self.state {
                State::Zeros { end } => {
                    self.check_zeros(rest, end)?;
                    *at = input.len();
                    return Ok(None);
                }
                State::Switched => {
                    self.skip_to_segment(rest.len(), at)?;
                    continue;
                }
                State::Records => {}
            }
            if self.header_due {
                *at += self.collect_header(rest)?;
                continue;
            }
            let Some(format) = self.format else {
                return Ok(None);
            };
            // What this page still has, as far as it came. Never empty: at its end a header is due.
            let page_left = format.block - (self.position & (format.block - 1));
            let here = usize::try_from(page_left).unwrap_or(usize::MAX).min(rest.len());
            let rest = rest.get(..here).unwrap_or_default();
            if self.skip > 0 {
                let taken = here.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                // Not more than `skip`, so it fits.
                self.skip -= u32::try_from(taken).unwrap_or(0);
                if let Some(head) = &mut self.head {
                    head.add(rest.get(..taken).unwrap_or_default());
                }
                self.pass(taken, at)?;
                continue;
            }
            if self.pending_lsn.is_some() {
                if let Some(found) = self.collect(rest, at, format)? {
                    return Ok(Some(found));
                }
                continue;
            }
            let padding = self.position.next_multiple_of(ALIGNMENT) - self.position;
            if padding > 0 {
                let padding = usize::try_from(padding).unwrap_or(0).min(here);
                self.pass(padding, at)?;
                continue;
            }
            if let Some(found) = self.begin(rest, at, format)? {
                return Ok(Some(found));
            }
        }
    }

    /// Moves on by `taken` bytes of the current page.
    #[inline]
    fn pass(&mut self, taken: usize, at: &mut usize) -> Result<(), DecodeError> {
        *at += taken;
        self.position = u64::try_from(taken)
            .ok()
            .and_then(|taken| self.position.checked_add(taken))
            .ok_or_else(|| {
                self.error(Reason::Structure {
                    what: "the WAL goes on beyond the last position",
                })
            })?;
        if let Some(format) = self.format {
            self.header_due = self.position & (format.block - 1) == 0;
        }
        Ok(())
    }

    /// A record begins with `rest`, which ends with the page or earlier.
    #[inline]
    fn begin(&mut self, rest: &[u8], at: &mut usize, format: Format) -> Result<Option<Found>, DecodeError> {
        let lsn = self.lsn();
        if let Some(length) = header::length_field(rest) {
            if length == [0; 4] {
                self.state = State::Zeros { end: lsn };
                return Ok(None);
            }
            let length = header::length(length).map_err(|reason| self.error(reason))?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if let (Some(record), Some(head)) = (rest.get(..length), header::head(rest)) {
                let header = Header::read(head, format.major, lsn, self.previous)
                    .map_err(|reason| self.error(reason))?;
                let start = *at;
                let body = record.get(header::SIZE..).unwrap_or_default();
                let wrong = |reason| DecodeError { lsn, reason };
                header.check_crc(record, crc::append(0, body)).map_err(wrong)?;
                let parts = parts(record, lsn, format)?;
                self.pass(length, at)?;
                return self
                    .found(&header, lsn, parts, Some((start, length)), format)
                    .map(Some);
            }
        }
        self.pending_lsn = Some(lsn);
        self.pending_header = None;
        self.collect(rest, at, format)
    }

    /// `rest` continues the record in `pending`.
    fn collect(&mut self, rest: &[u8], at: &mut usize, format: Format) -> Result<Option<Found>, DecodeError> {
        let Some(lsn) = self.pending_lsn else {
            return Ok(None);
        };
        let wrong = |reason| DecodeError { lsn, reason };
        let mut taken = 0;
        // First the length, then the header, then all: each is checked before more is kept.
        loop {
            let wanted = match (self.pending_header, header::length_field(&self.pending)) {
                (Some(header), _) => usize::try_from(header.length).unwrap_or(usize::MAX),
                (None, Some(_)) => header::SIZE,
                (None, None) => 4,
            };
            let missing = wanted.saturating_sub(self.pending.len());
            let left = rest.get(taken..).unwrap_or_default();
            let more = left.get(..missing).unwrap_or(left);
            if self.pending_header.is_some() {
                self.pending_crc = crc::append(self.pending_crc, more);
            }
            self.pending.extend_from_slice(more);
            taken += more.len();
            if more.len() < missing {
                self.pass(taken, at)?;
                return Ok(None);
            }
            if let Some(header) = self.pending_header {
                header.check_crc(&self.pending, self.pending_crc).map_err(wrong)?;
                let parts = parts(&self.pending, lsn, format)?;
                self.pending_lsn = None;
                self.pending_header = None;
                self.pass(taken, at)?;
                return self.found(&header, lsn, parts, None, format).map(Some);
            }
            if let Some(head) = header::head(&self.pending) {
                let header = Header::read(head, format.major, lsn, self.previous).map_err(wrong)?;
                self.pending_header = Some(header);
                self.pending_crc = 0;
            } else if let Some(length) = header::length_field(&self.pending) {
                if length == [0; 4] {
                    self.pending_lsn = None;
                    self.pending.clear();
                    self.state = State::Zeros { end: lsn };
                    self.pass(taken, at)?;
                    return Ok(None);
                }
                header::length(length).map_err(wrong)?;
            }
        }
    }

    /// The record before `position` is complete.
    #[inline]
    fn found(
        &mut self,
        header: &Header,
        lsn: Lsn,
        parts: Parts,
        range: Option<(usize, usize)>,
        format: Format,
    ) -> Result<Found, DecodeError> {
        self.previous = Some(lsn);
        let too_far = || DecodeError {
            lsn,
            reason: Reason::Structure {
                what: "the WAL goes on beyond the last position",
            },
        };
        let boundary = if header.is_switch() {
            self.state = State::Switched;
            u64::from(format.segment.bytes())
        } else {
            ALIGNMENT
        };
        let end = self
            .position
            .checked_next_multiple_of(boundary)
            .map(Lsn)
            .ok_or_else(too_far)?;
        Ok(Found {
            lsn,
            end,
            parts,
            range,
        })
    }

    /// After an `XLOG_SWITCH` PostgreSQL does not look at anything up to the end of the segment.
    fn skip_to_segment(&mut self, available: usize, at: &mut usize) -> Result<(), DecodeError> {
        let size = self.format.map_or(1, |format| u64::from(format.segment.bytes()));
        let left = self.position.next_multiple_of(size) - self.position;
        if left == 0 {
            self.state = State::Records;
            self.header_due = true;
            return Ok(());
        }
        self.pass(usize::try_from(left).unwrap_or(usize::MAX).min(available), at)
    }

    /// After the end of the WAL.
    fn check_zeros(&mut self, rest: &[u8], end: Lsn) -> Result<(), DecodeError> {
        // In pieces, because that is quick.
        let zero = rest
            .chunks(4096)
            .take_while(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0);
        let zeros = zero.map(<[u8]>::len).sum::<usize>();
        let more = rest
            .get(zeros..)
            .and_then(|rest| rest.iter().position(|byte| *byte != 0));
        let passed = zeros.saturating_add(more.unwrap_or(0));
        self.position = self
            .position
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        match more {
            None => Ok(()),
            Some(_) => Err(self.error(Reason::AfterEnd { end })),
        }
    }
}

/// Checks the inner structure of a record.
fn parts(record: &[u8], lsn: Lsn, format: Format) -> Result<Parts, DecodeError> {
    let body = record.get(header::SIZE..).unwrap_or_default();
    Parts::read(body, format.major).map_err(|what| DecodeError {
        lsn,
        reason: Reason::Structure { what },
    })
}

/// Bytes that a [`Decoder`] is fed with; the records come out of [`Feed::next`].
#[derive(Debug)]
#[must_use = "nothing is read until `next` is called"]
pub struct Feed<'d, 'b> {
    decoder: &'d mut Decoder,
    bytes: &'b [u8],
    at: usize,
}

impl Feed<'_, '_> {
    /// The next record that ends within the bytes, or `None` when all bytes are read. A record that lies on one page
    /// and within the bytes is not copied.
    ///
    /// # Errors
    /// The WAL is damaged, of an unknown version, or of another place or cluster than demanded. The decoder then
    /// gives this error for ever.
    #[expect(clippy::should_implement_trait, reason = "it lends; an iterator cannot")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, DecodeError> {
        match self.decoder.quick(self.bytes, &mut self.at) {
            Some(record) => Ok(Some(record)),
            None => self.long_way(),
        }
    }

    /// Whatever is next.
    #[inline(never)]
    fn long_way(&mut self) -> Result<Option<Record<'_>>, DecodeError> {
        let Some(found) = self.decoder.advance(self.bytes, &mut self.at)? else {
            return Ok(None);
        };
        let major = self.decoder.format.map_or(0, |format| format.major);
        let timeline = self.decoder.timeline.unwrap_or(TimelineId::FIRST);
        let bytes = match found.range {
            Some((start, length)) => self.bytes.get(start..).and_then(|rest| rest.get(..length)),
            None => Some(self.decoder.pending.as_slice()),
        };
        Ok(Some(Record {
            lsn: found.lsn,
            end: found.end,
            timeline,
            parts: found.parts,
            major,
            bytes: bytes.unwrap_or_default(),
        }))
    }

    /// The decoder, to ask it where it is.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        self.decoder
    }
}
