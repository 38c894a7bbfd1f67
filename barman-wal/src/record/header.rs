//! The header of a record.

use super::bytes::Bytes;
use super::error::Reason;
use super::names::{RMGR_INFO_MASK, ResourceManager};
use crate::lsn::Lsn;

/// `SizeOfXLogRecord`, bytes.
pub(super) const SIZE: usize = 24;
/// Where `xl_crc` is; all before it is in the checksum.
const CRC_OFFSET: usize = 20;
/// No server can keep more in memory (`MaxAllocSize`; `XLogRecordMaxSize` of 16 and newer is a little lower).
const MAX_LENGTH: u32 = 0x3FFF_FFFF;

/// PostgreSQL, `XLogRecord`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub length: u32,
    pub xid: u32,
    pub previous: Lsn,
    pub info: u8,
    pub manager: ResourceManager,
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

impl Header {
    /// Reads the header of the record at `lsn`, whose predecessor is at `before` if that is known.
    #[inline]
    pub fn read(bytes: &[u8; SIZE], major: u8, lsn: Lsn, before: Option<Lsn>) -> Result<Self, Reason> {
        let [
            l0,
            l1,
            l2,
            l3,
            x0,
            x1,
            x2,
            x3,
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
            info,
            id,
            _,
            _,
            c0,
            c1,
            c2,
            c3,
        ] = *bytes;
        let length = length([l0, l1, l2, l3])?;
        let manager = ResourceManager::new(id, u32::from(major)).ok_or(Reason::ResourceManager { id })?;
        let previous = Lsn(u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]));
        if before.map_or(previous >= lsn, |before| previous != before) {
            return Err(Reason::Previous {
                found: previous,
                expected: before,
            });
        }
        Ok(Self {
            length,
            xid: u32::from_le_bytes([x0, x1, x2, x3]),
            previous,
            info,
            manager,
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    /// Compares the checksum of the whole `record`.
    #[inline]
    pub fn check_crc(&self, record: &[u8]) -> Result<(), Reason> {
        let (header, body) = record.split_at_checked(SIZE).unwrap_or((record, &[]));
        let computed =
            crc32c::crc32c_append(crc32c::crc32c(body), header.get(..CRC_OFFSET).unwrap_or_default());
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
