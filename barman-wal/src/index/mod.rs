//! What each segment of a WAL archive holds.
//!
//! ```
//! use barman_wal::index::{SegmentState, summarize};
//!
//! # fn example(segment: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! match summarize("000000010000000000000002".parse()?, segment)? {
//!     SegmentState::Known(summary) => println!("{} commits up to {:?}", summary.commits, summary.end_times),
//!     SegmentState::Unreadable(why) => println!("{}: {}", why.cause, why.detail),
//!     SegmentState::UnknownFormat { magic, .. } => println!("a newer PostgreSQL wrote this ({magic:#06X})"),
//!     SegmentState::Unknown => {}
//! }
//! # Ok(())
//! # }
//! # example(include_bytes!("../../tests/fixtures/wal/18-start"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod border;
mod summarizer;
mod summary;
mod xids;

#[cfg(test)]
mod summary_tests;
#[cfg(test)]
mod wal_maker;

pub use border::{Broken, Head, Spanning, SpanningContent, SpanningEnd, Tail, Verdict};
pub use summarizer::{Summarizer, summarize};
pub use summary::{
    Cause, CheckpointMark, Digest, RestorePointMark, SegmentState, SegmentSummary, TimelineChange,
    Unreadable, WalEnd,
};
pub use xids::{FIRST_NORMAL_XID, Membership, XID_RANGES, XidBase, XidRange, XidSet, full_xid};
