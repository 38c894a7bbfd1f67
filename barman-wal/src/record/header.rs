//! The header of a record (PostgreSQL, `XLogRecord`).

use super::bytes::Bytes;
use super::error::Reason;
use super::names::{RMGR_INFO_MASK, ResourceManager};
use crate::crc;
use crate::lsn::Lsn;

/// `SizeOfXLogRecord`, bytes.
pub(super) const SIZE: usize = 24;
/// Where `xl_crc` is; all before it is in the checksum.
const CRC_OFFSET: usize = 20;
/// No server can keep more in memory (`MaxAllocSize`; `XLogRecordMaxSize` of 16 and newer is a little lower).
const MAX_LENGTH: u32 = 0x3FFF_FFFF;

/// Its fields have been checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub length: u32,
    info: u8,
    manager: ResourceManager,
    crc: u32,
}

/// `xl_tot_len` of a record that begins with `bytes`, if it is possible.
pub(super) fn length(bytes: [u8; 4]) -> Result<u32, Reason> {
    let length = u32::from_le_bytes(bytes);
    if (24..=MAX_LENGTH).contains(&length) {
        Ok(length)
    } else {
        Err(Reason::Length { length })
    }
}

/// `xl_tot_len`.
#[inline]
pub(super) fn total_length(head: &[u8; SIZE]) -> u32 {
    let [l0, l1, l2, l3, ..] = *head;
    u32::from_le_bytes([l0, l1, l2, l3])
}

/// `xl_tot_len` if it is possible.
#[inline]
pub(super) fn plain_length(head: &[u8; SIZE]) -> Option<usize> {
    let length = total_length(head) as usize;
    (length >= SIZE).then_some(length)
}

/// `xl_xid`.
#[inline]
pub(super) fn xid(head: &[u8; SIZE]) -> u32 {
    let [_, _, _, _, x0, x1, x2, x3, ..] = *head;
    u32::from_le_bytes([x0, x1, x2, x3])
}

/// `xl_prev`.
#[inline]
pub(super) fn previous(head: &[u8; SIZE]) -> Lsn {
    let [_, _, _, _, _, _, _, _, p0, p1, p2, p3, p4, p5, p6, p7, ..] = *head;
    Lsn(u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]))
}

/// `xl_info`.
#[inline]
pub(super) fn info(head: &[u8; SIZE]) -> u8 {
    let [.., info, _, _, _, _, _, _, _] = *head;
    info
}

/// `xl_rmid`.
#[inline]
fn manager_id(head: &[u8; SIZE]) -> u8 {
    let [.., id, _, _, _, _, _, _] = *head;
    id
}

/// `xl_rmid` of a header that was checked.
#[inline]
pub(super) fn manager(head: &[u8; SIZE]) -> ResourceManager {
    ResourceManager::checked(manager_id(head))
}

/// What the checksum is of besides the body, and the checksum.
#[inline]
fn crc_parts(head: &[u8; SIZE]) -> (&[u8; CRC_OFFSET], u32) {
    let (start, rest) = head.split_first_chunk().unwrap_or((&[0; CRC_OFFSET], &[]));
    (
        start,
        rest.first_chunk().map_or(0, |crc| u32::from_le_bytes(*crc)),
    )
}

impl Header {
    /// Reads the header of the record at `lsn`, whose predecessor is at `before` if that is known.
    #[inline]
    pub fn read(head: &[u8; SIZE], major: u8, lsn: Lsn, before: Option<Lsn>) -> Result<Self, Reason> {
        let total = total_length(head);
        if !(SIZE as u32..=MAX_LENGTH).contains(&total) {
            return Err(Reason::Length { length: total });
        }
        let id = manager_id(head);
        let manager = ResourceManager::new(id, major as u32).ok_or(Reason::ResourceManager { id })?;
        let found = previous(head);
        if before.map_or(found >= lsn, |before| found != before) {
            return Err(Reason::Previous {
                found,
                expected: before,
            });
        }
        Ok(Self {
            length: total,
            info: info(head),
            manager,
            crc: crc_parts(head).1,
        })
    }

    /// Whether the checksum of the whole `record` is the one that the header has.
    #[inline]
    pub fn crc_fits(&self, record: &[u8]) -> bool {
        record
            .split_first_chunk::<SIZE>()
            .is_some_and(|(head, body)| crc::of_two(body, crc_parts(head).0) == self.crc)
    }

    /// Compares the checksum of a `record` whose bytes after the header have the checksum `body`.
    pub fn check_crc(&self, record: &[u8], body: u32) -> Result<(), Reason> {
        let computed = crc::append(body, record.get(..CRC_OFFSET).unwrap_or_default());
        if computed == self.crc {
            Ok(())
        } else {
            Err(Reason::Crc {
                found: self.crc,
                expected: computed,
            })
        }
    }

    /// Whether the rest of the segment is not used (`XLOG_SWITCH`).
    #[inline]
    pub const fn is_switch(&self) -> bool {
        self.manager.id() == ResourceManager::XLOG.id() && self.info & RMGR_INFO_MASK == 0x40
    }
}

/// The first 24 bytes.
#[inline]
pub(super) fn head(record: &[u8]) -> Option<&[u8; SIZE]> {
    record.first_chunk()
}

/// The first 4 bytes.
#[inline]
pub(super) fn length_field(record: &[u8]) -> Option<[u8; 4]> {
    let mut bytes = Bytes(record);
    bytes.u32().map(u32::to_le_bytes)
}
