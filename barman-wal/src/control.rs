//! `global/pg_control`: the state of a cluster (PostgreSQL, `pg_control.h`), versions 10 to 18 on 64-bit
//! little-endian machines.
//!
//! The CRC-32C over everything before it is checked, so a torn or foreign file is never taken for good. A file of a
//! version that we do not know is read with the newest layout we know, and only if that makes the CRC right.
//!
//! ```no_run
//! use barman_wal::control::ControlFile;
//!
//! let control = ControlFile::parse(&std::fs::read("/var/lib/postgresql/18/main/global/pg_control")?)?;
//! println!("cluster {} at {}", control.system_identifier, control.checkpoint_redo);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::lsn::Lsn;
use crate::segment::SegmentSize;
use crate::timeline::TimelineId;

/// The size of the file, of which only the first 300 bytes or so are used (`PG_CONTROL_FILE_SIZE`).
pub const CONTROL_FILE_SIZE: usize = 8192;

/// What the cluster was doing when the file was written (`DBState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterState {
    /// `DB_STARTUP`.
    Startup,
    /// `DB_SHUTDOWNED`: shut down cleanly.
    ShutDown,
    /// `DB_SHUTDOWNED_IN_RECOVERY`: a standby, shut down cleanly.
    ShutDownInRecovery,
    /// `DB_SHUTDOWNING`.
    ShuttingDown,
    /// `DB_IN_CRASH_RECOVERY`.
    InCrashRecovery,
    /// `DB_IN_ARCHIVE_RECOVERY`: recovering from an archive or a standby.
    InArchiveRecovery,
    /// `DB_IN_PRODUCTION`: running, or crashed.
    InProduction,
    /// A number that we do not know.
    Unknown(u32),
}

impl From<u32> for ClusterState {
    fn from(state: u32) -> Self {
        match state {
            0 => Self::Startup,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            other => Self::Unknown(other),
        }
    }
}

/// What of `pg_control` concerns backups. Positions that do not apply are `0/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlFile {
    /// The cluster's identity, drawn by `initdb`.
    pub system_identifier: u64,
    /// The layout of this file: 1002 (PostgreSQL 10), 1100, 1201, 1300 (13 to 16), 1700, 1800.
    pub control_version: u32,
    /// The layout of the system catalogues; tells the major version.
    pub catalog_version: u32,
    /// What the cluster was doing.
    pub state: ClusterState,
    /// When the file was last written, seconds since 1970 UTC.
    pub time: i64,
    /// The last checkpoint record.
    pub checkpoint: Lsn,
    /// Where recovery from it starts to read.
    pub checkpoint_redo: Lsn,
    /// Its timeline.
    pub checkpoint_timeline: TimelineId,
    /// The timeline before, if the checkpoint begins a new one; else the same.
    pub checkpoint_previous_timeline: TimelineId,
    /// When it was made, seconds since 1970 UTC.
    pub checkpoint_time: i64,
    /// Whether `full_page_writes` was on.
    pub full_page_writes: bool,
    /// How far recovery must get before the cluster is consistent.
    pub min_recovery_point: Lsn,
    /// On which timeline; `None` when there is no such point.
    pub min_recovery_timeline: Option<TimelineId>,
    /// The start of the backup that is being recovered.
    pub backup_start: Lsn,
    /// The end of a backup from a standby that is being recovered.
    pub backup_end: Lsn,
    /// Whether recovery must see the record that ends the backup.
    pub backup_end_required: bool,
    /// The size of data pages, bytes.
    pub block_size: u32,
    /// How many of them a file of a relation has before the next one begins (`RELSEG_SIZE`).
    pub relation_segment_blocks: u32,
    /// The size of WAL pages, bytes.
    pub wal_block_size: u32,
    /// The size of WAL segments.
    pub wal_segment_size: SegmentSize,
    /// The version of data page checksums; 0 without.
    pub data_checksum_version: u32,
}

/// Why bytes are not a control file that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlFileError {
    /// Too few bytes.
    #[error("{length} bytes are too few for pg_control")]
    Short {
        /// How many.
        length: usize,
    },
    /// Neither a version we know nor a layout that fits.
    #[error("pg_control version {version} is not known")]
    Version {
        /// As found.
        version: u32,
    },
    /// The checksum does not fit the content.
    #[error("pg_control is damaged: CRC {found:08X} instead of {expected:08X}")]
    Crc {
        /// In the file.
        found: u32,
        /// Computed.
        expected: u32,
    },
    /// The checksum fits, but a field has an impossible value.
    #[error("pg_control has an impossible {what}")]
    Field {
        /// Which.
        what: &'static str,
    },
}

/// Where the fields are that move between versions; offsets in bytes.
struct Layout {
    /// `checkPointCopy`.
    checkpoint: usize,
    /// `time` within it.
    checkpoint_time: usize,
    /// `minRecoveryPoint`; TLI, backup positions and flag follow.
    min_recovery: usize,
    /// `blcksz`.
    block_size: usize,
    crc: usize,
}

const V10: Layout = Layout {
    checkpoint: 48,
    checkpoint_time: 56,
    min_recovery: 136,
    block_size: 216,
    crc: 288,
};
const V11: Layout = Layout {
    checkpoint: 40,
    checkpoint_time: 56,
    min_recovery: 128,
    block_size: 208,
    crc: 280,
};
const V12: Layout = Layout {
    checkpoint: 40,
    checkpoint_time: 64,
    min_recovery: 136,
    block_size: 216,
    crc: 288,
};
/// `default_char_signedness` before the nonce.
const V18: Layout = Layout { crc: 292, ..V12 };

fn layout_of(version: u32) -> Option<&'static Layout> {
    match version {
        1002 => Some(&V10),
        1100 => Some(&V11),
        1201 | 1300 | 1700 => Some(&V12),
        1800.. => Some(&V18),
        _ => None,
    }
}

impl ControlFile {
    /// Reads the content of a control file; the unused rest may be missing.
    ///
    /// # Errors
    /// See [`ControlFileError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFileError> {
        let short = || ControlFileError::Short { length: bytes.len() };
        let u32_at = |at: usize| field::<4>(bytes, at).map(u32::from_le_bytes).ok_or_else(short);
        let u64_at = |at: usize| field::<8>(bytes, at).map(u64::from_le_bytes).ok_or_else(short);
        let i64_at = |at: usize| field::<8>(bytes, at).map(i64::from_le_bytes).ok_or_else(short);
        let bool_at = |at: usize| bytes.get(at).map(|byte| *byte != 0).ok_or_else(short);

        let version = u32_at(8)?;
        let layout = layout_of(version).ok_or(ControlFileError::Version { version })?;
        let found = u32_at(layout.crc)?;
        let expected = crate::crc::append(0, bytes.get(..layout.crc).ok_or_else(short)?);
        if found != expected {
            return Err(if version > 1800 {
                ControlFileError::Version { version }
            } else {
                ControlFileError::Crc { found, expected }
            });
        }
        let timeline_at = |at: usize, what: &'static str| {
            TimelineId::new(u32_at(at)?).ok_or(ControlFileError::Field { what })
        };
        let Layout {
            checkpoint,
            min_recovery,
            block_size,
            ..
        } = *layout;
        let wal_segment_size =
            SegmentSize::new(u64::from(u32_at(block_size + 12)?)).map_err(|_| ControlFileError::Field {
                what: "WAL segment size",
            })?;
        Ok(Self {
            system_identifier: u64_at(0)?,
            control_version: version,
            catalog_version: u32_at(12)?,
            state: u32_at(16)?.into(),
            time: i64_at(24)?,
            checkpoint: Lsn(u64_at(32)?),
            checkpoint_redo: Lsn(u64_at(checkpoint)?),
            checkpoint_timeline: timeline_at(checkpoint + 8, "checkpoint timeline")?,
            checkpoint_previous_timeline: timeline_at(checkpoint + 12, "previous timeline")?,
            checkpoint_time: i64_at(checkpoint + layout.checkpoint_time)?,
            full_page_writes: bool_at(checkpoint + 16)?,
            min_recovery_point: Lsn(u64_at(min_recovery)?),
            min_recovery_timeline: TimelineId::new(u32_at(min_recovery + 8)?),
            backup_start: Lsn(u64_at(min_recovery + 16)?),
            backup_end: Lsn(u64_at(min_recovery + 24)?),
            backup_end_required: bool_at(min_recovery + 32)?,
            block_size: u32_at(block_size)?,
            relation_segment_blocks: u32_at(block_size + 4)?,
            wal_block_size: u32_at(block_size + 8)?,
            wal_segment_size,
            data_checksum_version: u32_at(block_size + 36)?,
        })
    }

    /// Whether data pages have checksums.
    #[must_use]
    pub const fn has_data_checksums(&self) -> bool {
        self.data_checksum_version != 0
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The used part of files that real servers wrote: `initdb`, a shutdown; for 15 also one out of a base backup.
    const FILES: [(u32, u32, &[u8]); 9] = [
        (10, 1002, include_bytes!("../tests/fixtures/pg_control/10")),
        (11, 1100, include_bytes!("../tests/fixtures/pg_control/11")),
        (12, 1201, include_bytes!("../tests/fixtures/pg_control/12")),
        (13, 1300, include_bytes!("../tests/fixtures/pg_control/13")),
        (14, 1300, include_bytes!("../tests/fixtures/pg_control/14")),
        (15, 1300, include_bytes!("../tests/fixtures/pg_control/15")),
        (16, 1300, include_bytes!("../tests/fixtures/pg_control/16")),
        (17, 1700, include_bytes!("../tests/fixtures/pg_control/17")),
        (18, 1800, include_bytes!("../tests/fixtures/pg_control/18")),
    ];

    #[test]
    fn files_of_every_version() {
        for (major, version, bytes) in FILES {
            let control = ControlFile::parse(bytes).unwrap();
            assert_eq!(control.control_version, version, "{major}");
            assert_eq!(control.state, ClusterState::ShutDown, "{major}");
            assert_eq!(control.wal_segment_size, SegmentSize::DEFAULT, "{major}");
            assert_eq!(
                (
                    control.block_size,
                    control.relation_segment_blocks,
                    control.wal_block_size
                ),
                (8192, 131_072, 8192),
                "{major}"
            );
            assert_eq!(control.checkpoint_timeline, TimelineId::FIRST, "{major}");
            assert_eq!(control.checkpoint_previous_timeline, TimelineId::FIRST, "{major}");
            // A shutdown checkpoint starts where its own record is.
            assert_eq!(control.checkpoint_redo, control.checkpoint, "{major}");
            assert!(control.full_page_writes, "{major}");
            // Written at the end of the same shutdown.
            assert!(
                (0..60).contains(&(control.time - control.checkpoint_time)),
                "{major}: {control:?}"
            );
            assert_eq!(control.min_recovery_timeline, None, "{major}");
            assert_eq!(
                (control.min_recovery_point, control.backup_start),
                (Lsn(0), Lsn(0)),
                "{major}"
            );
            assert!(!control.backup_end_required, "{major}");
            // Checksums are the default since 18.
            assert_eq!(control.has_data_checksums(), major >= 18, "{major}");
        }
    }

    #[test]
    fn damage_is_seen() {
        for (major, _, bytes) in FILES {
            for at in [0, 20, 100, 200, 250] {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1;
                assert!(
                    matches!(ControlFile::parse(&changed), Err(ControlFileError::Crc { .. })),
                    "{major} {at}"
                );
            }
            assert!(matches!(
                ControlFile::parse(&bytes[..200]),
                Err(ControlFileError::Short { length: 200 })
            ));
        }
        assert_eq!(
            ControlFile::parse(&[0; 8192]),
            Err(ControlFileError::Version { version: 0 })
        );
        assert_eq!(
            ControlFile::parse(&[]),
            Err(ControlFileError::Short { length: 0 })
        );
    }

    #[test]
    fn a_newer_version_with_the_newest_layout() {
        let mut bytes = FILES[8].2.to_vec();
        bytes[8..12].copy_from_slice(&1900u32.to_le_bytes());
        assert_eq!(
            ControlFile::parse(&bytes),
            Err(ControlFileError::Version { version: 1900 })
        );
        let crc = crate::crc::append(0, &bytes[..V18.crc]);
        bytes[V18.crc..V18.crc + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(ControlFile::parse(&bytes).unwrap().control_version, 1900);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), file in 0usize..9) {
            if let (Some(target), Some(version)) = (bytes.get_mut(8..12), FILES[file].2.get(8..12)) {
                target.copy_from_slice(version);
            }
            let _ = ControlFile::parse(&bytes);
        }
    }
}
