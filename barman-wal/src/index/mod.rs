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
mod build;
mod chunk;
mod encode;
mod error;
mod files;
mod find;
mod route;
mod store;
mod summarizer;
mod summary;
mod walk;
mod xids;

#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod summary_tests;
#[cfg(test)]
mod wal_maker;

pub use border::{Broken, Head, Spanning, SpanningContent, SpanningEnd, Tail, Verdict};
pub use build::{Archive, BuildError, Built, OnProgress, Order, PlainDirectory, Progress};
pub use chunk::read_index_file;
pub use encode::{decode_state, encode_state};
pub use error::IndexError;
pub use find::{
    Answer, Break, BreakReason, ContinuityAnswer, PointsAnswer, TimeAnswer, TimeTarget, XidAnswer, XidTarget,
};
pub use route::{Route, Span};
pub use store::WalIndex;
pub use summarizer::{Summarizer, summarize};
pub use summary::{
    Cause, CheckpointMark, Digest, RestorePointMark, SegmentState, SegmentSummary, TimelineChange,
    Unreadable, WalEnd,
};
pub use walk::Coverage;
pub use xids::{FIRST_NORMAL_XID, Membership, XID_RANGES, XidBase, XidRange, XidSet, full_xid};
