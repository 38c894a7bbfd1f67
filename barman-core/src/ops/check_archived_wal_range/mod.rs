//! `check-archived-wal-range`: whether every segment of a range is in the archive.
//!
//! A file that cannot be the segment of its name (empty, cut off, zeroed, another segment's content) is a missing one,
//! as for `check-backup`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use barman_catalog::archive;
use barman_catalog::{Catalog, CatalogError};
use barman_wal::{SegmentName, SegmentSize, WalFileName};
use serde::Serialize;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::server::Server;

/// A longer range is refused: 64 TiB of WAL in segments of 16 MiB.
const MOST: u64 = 1 << 22;
/// So many threads look, at most.
const MAX_THREADS: usize = 8;
/// So many segments at a time.
const PORTION: u64 = 1024;

/// A range of segments on one timeline, in the words of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalRange {
    /// The first segment as given.
    pub begin: String,
    /// The last segment as given.
    pub end: String,
    first: SegmentName,
    last: SegmentName,
}

/// Why a range is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not the name of a segment.
    #[error("Invalid WAL segment name: {0}")]
    Name(String),
    /// Two timelines.
    #[error("begin_wal ({begin}) and end_wal ({end}) must be on the same timeline")]
    Timelines {
        /// The first segment.
        begin: String,
        /// The last segment.
        end: String,
    },
    /// The wrong way round.
    #[error("begin_wal ({begin}) must not be greater than end_wal ({end})")]
    Order {
        /// The first segment.
        begin: String,
        /// The last segment.
        end: String,
    },
}

impl Failure for RangeError {}

impl WalRange {
    /// Reads a range.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(begin: &str, end: &str) -> Result<Self, RangeError> {
        let segment = |name: &str| match name.parse() {
            Ok(WalFileName::Segment(segment)) => Ok(segment),
            _ => Err(RangeError::Name(name.to_owned())),
        };
        let (first, last) = (segment(begin)?, segment(end)?);
        let (begin, end) = (begin.to_owned(), end.to_owned());
        if first.timeline != last.timeline {
            return Err(RangeError::Timelines { begin, end });
        }
        if first > last {
            return Err(RangeError::Order { begin, end });
        }
        Ok(Self {
            begin,
            end,
            first,
            last,
        })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RangeReport {
    /// The segments that are not in the archive, ascending.
    pub missing: Vec<SegmentName>,
    /// How many of these have a file that is none: empty, cut off, zeroed, another segment's.
    pub useless: u64,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum CheckRangeError {
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Only a backup tells the size of segments.
    #[error("No backup found for server '{server}': cannot determine WAL segment size")]
    NoBackup {
        /// The server.
        server: String,
    },
    /// A name that no segment of this size has.
    #[error("WAL segments of server '{server}' have {bytes} bytes: there is none of the name {name}")]
    NoSuchSegment {
        /// The server.
        server: String,
        /// The size of its segments.
        bytes: u32,
        /// The name as given.
        name: String,
    },
    /// More than can be looked at in one go.
    #[error("The range {begin}..{end} has {segments} segments, more than {MOST}")]
    TooLong {
        /// The first segment.
        begin: String,
        /// The last segment.
        end: String,
        /// How many there are.
        segments: u64,
    },
    /// The archive is not on this host.
    #[error("The WAL archive of server '{server}' is in cloud storage, which is not supported yet")]
    Cloud {
        /// The server.
        server: String,
    },
    /// The user stopped it.
    #[error("the check was interrupted")]
    Interrupted,
}

impl Failure for CheckRangeError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } => Some("check it in parts".to_owned()),
            _ => None,
        }
    }
}

/// Looks for the segments of `range` in the archive. Works without PostgreSQL and changes nothing.
///
/// # Errors
/// There is no backup to tell the size of segments; the range does not fit that size or is too long.
pub fn run(server: &Server, range: &WalRange, ctx: &Context<'_>) -> Result<RangeReport, CheckRangeError> {
    let name = || server.name().to_owned();
    if server.config().wals_in_cloud() {
        return Err(CheckRangeError::Cloud { server: name() });
    }
    let catalog = Catalog::load(server.layout())?;
    let backup = catalog
        .usable()
        .rfind(|backup| backup.status.is_copy_done())
        .ok_or_else(|| CheckRangeError::NoBackup { server: name() })?;
    let size = backup.xlog_segment_size;
    for (segment, given) in [(range.first, &range.begin), (range.last, &range.end)] {
        if !segment.fits(size) {
            return Err(CheckRangeError::NoSuchSegment {
                server: name(),
                bytes: size.bytes(),
                name: given.clone(),
            });
        }
    }
    let (first, last) = (range.first.number(size).0, range.last.number(size).0);
    let segments = last.saturating_sub(first).saturating_add(1);
    if segments > MOST {
        return Err(CheckRangeError::TooLong {
            begin: range.begin.clone(),
            end: range.end.clone(),
            segments,
        });
    }
    let text = format!("\tChecking WAL sequence from {} to {}", range.begin, range.end);
    ctx.say(Level::Debug, "barman.server", &text);
    let missing = missing(server, range.first, (first, last), size, ctx);
    if ctx.cancel.is_requested() {
        return Err(CheckRangeError::Interrupted);
    }
    let exists = |segment: &&SegmentName| server.layout().wal_path(&(**segment).into()).exists();
    let useless = missing.iter().filter(exists).count() as u64;
    Ok(RangeReport { missing, useless })
}

/// The segments that are not there, ascending. Ends early when somebody asks to stop.
fn missing(
    server: &Server,
    sample: SegmentName,
    (first, last): (u64, u64),
    size: SegmentSize,
    ctx: &Context<'_>,
) -> Vec<SegmentName> {
    let next = AtomicU64::new(first);
    let work = || {
        let mut missing = Vec::new();
        loop {
            let from = next.fetch_add(PORTION, Ordering::Relaxed);
            if from > last || ctx.cancel.is_requested() {
                return missing;
            }
            for number in from..=from.saturating_add(PORTION - 1).min(last) {
                let Some(segment) = barman_wal::SegmentNumber(number).name(sample.timeline, size) else {
                    return missing;
                };
                if !archive::holds(server.layout(), segment) {
                    missing.push(segment);
                }
            }
        }
    };
    let wanted = usize::try_from((last - first) / PORTION + 1).unwrap_or(usize::MAX);
    let threads = barman_wal::processors().min(MAX_THREADS).min(wanted);
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            // A thread that has panicked would hide missing segments: so does this one, then.
            match other.join() {
                Ok(found) => all.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        const A: &str = "000000010000000000000002";
        const B: &str = "00000001000000000000000a";
        for (begin, end, expected) in [
            (A, A, ""),
            (A, B, ""),
            (
                B,
                A,
                "begin_wal (00000001000000000000000a) must not be greater than end_wal (000000010000000000000002)",
            ),
            (
                A,
                "000000020000000000000003",
                "begin_wal (000000010000000000000002) and end_wal (000000020000000000000003) must be on the same timeline",
            ),
            ("x", "y", "Invalid WAL segment name: x"),
            (
                A,
                "000000010000000000000002.partial",
                "Invalid WAL segment name: 000000010000000000000002.partial",
            ),
            (
                "00000002.history",
                A,
                "Invalid WAL segment name: 00000002.history",
            ),
        ] {
            let found = WalRange::parse(begin, end).map_or_else(|e| e.to_string(), |_| String::new());
            assert_eq!(found, expected);
        }
    }
}
