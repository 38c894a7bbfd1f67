//! The short way for what most WAL is: a whole record on one page, all of it in the input. It decides nothing of its
//! own: whatever is unusual or wrong is left to the long way, which says what it is.

use super::super::Record;
use super::super::header::{self, Header};
use super::super::parts::Parts;
use super::{ALIGNMENT, Decoder, State};
use crate::lsn::Lsn;
use crate::timeline::TimelineId;

/// What the short way needs to know, all in one place. The long way sets it whenever it returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    /// How many bytes the current page still has in which records can begin; 0 when the long way has to go on.
    room: usize,
    timeline: Option<TimelineId>,
    major: u8,
}

impl Quick {
    /// The long way has to go on.
    pub const NOTHING: Self = Self {
        room: 0,
        timeline: None,
        major: 0,
    };
}

impl Decoder {
    /// After the long way: whether the short one can go on.
    pub(super) fn prepare_quick(&mut self) {
        let between = self.state == State::Records
            && !self.header_due
            && self.skip == 0
            && self.pending_lsn.is_none()
            && self.failed.is_none();
        self.quick = match self.format {
            Some(format) if between => Quick {
                room: usize::try_from(format.block - (self.position & (format.block - 1))).unwrap_or(0),
                timeline: self.timeline,
                major: format.major,
            },
            _ => Quick::NOTHING,
        };
    }

    /// The next record, if it is a plain one; else nothing is changed.
    #[inline]
    pub(super) fn quick<'b>(&mut self, input: &'b [u8], at: &mut usize) -> Option<Record<'b>> {
        let Quick {
            room,
            timeline,
            major,
        } = self.quick;
        let timeline = timeline?;
        let padding = (self.position.wrapping_neg() & (ALIGNMENT - 1)) as usize;
        let start = *at + padding;
        let rest = input.get(start..)?;
        let rest = rest.get(..room.checked_sub(padding)?).unwrap_or(rest);
        let head = header::head(rest)?;
        let length = header::plain_length(head)?;
        let bytes = rest.get(..length)?;
        let lsn = Lsn(self.position + padding as u64);
        let header = Header::read(head, major, lsn, Some(self.previous?)).ok()?;
        if header.is_switch() || !header.crc_fits(bytes) {
            return None;
        }
        let parts = Parts::read(bytes.get(header::SIZE..)?, major).ok()?;
        let position = lsn.0.checked_add(length as u64)?;
        let end = Lsn(position.checked_next_multiple_of(ALIGNMENT)?);
        *at = start + length;
        self.position = position;
        self.previous = Some(lsn);
        self.quick.room = room - padding - length;
        self.header_due = self.quick.room == 0;
        Some(Record {
            lsn,
            end,
            timeline,
            parts,
            major,
            bytes,
        })
    }
}
