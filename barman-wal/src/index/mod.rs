//! What each segment of a WAL archive holds: from it follows what can be restored, without reading the archive.
//!
//! A [`SegmentSummary`] is made in one pass over the plain bytes of a segment, which come in any pieces (a
//! [`Summarizer`] is a [`Write`](std::io::Write), to stand beside a compressor). It verifies every record's checksum.
//! A [`WalIndex`] keeps the summaries on disk and answers: where does recovery to a time stop, in which segment does a
//! transaction end, which restore points are there, does each segment lead into the next.
//!
//! ```
//! use std::ops::ControlFlow;
//! use barman_wal::index::{Order, PlainDirectory, Route, SegmentState, Span, TimeTarget, WalIndex, summarize};
//! use barman_wal::record::WalTime;
//! use barman_wal::{SegmentNumber, SegmentSize, TimelineId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (archive, meta) = (directory.path().join("wals"), directory.path().join("meta/wal-index"));
//! # std::fs::create_dir(&archive)?;
//! # std::fs::write(archive.join("000000010000000000000002"), include_bytes!("../../tests/fixtures/wal/18-start"))?;
//! # let segment = include_bytes!("../../tests/fixtures/wal/18-start").as_slice();
//! // As a segment is archived.
//! let index = WalIndex::new(&meta, SegmentSize::DEFAULT);
//! let name = "000000010000000000000002".parse()?;
//! index.put(name, summarize(name, segment)?)?;
//! match index.get(name) {
//!     SegmentState::Known(summary) => println!("{} commits", summary.commits),
//!     SegmentState::Unreadable(why) => println!("{}: {}", why.cause, why.detail),
//!     SegmentState::UnknownFormat { magic, .. } => println!("a newer PostgreSQL wrote this ({magic:#06X})"),
//!     SegmentState::Unknown => println!("nobody has looked"),
//! }
//!
//! // A question, for which unknown segments are looked at now.
//! let span = Span { timeline: TimelineId::FIRST, first: SegmentNumber(2), last: SegmentNumber(4) };
//! let route = Route::of(span, SegmentSize::DEFAULT);
//! let mut archive = PlainDirectory::new(archive, SegmentSize::DEFAULT)?;
//! let answer = index.answer(&mut archive, Order::OldestFirst, &mut |_| ControlFlow::Continue(()), |index| {
//!     index.stop_at_time(&route, TimeTarget::Inclusive(WalTime(0)))
//! })?;
//! // Recovery stops in the first segment, of which only a beginning is there; the others do not matter then.
//! assert_eq!((answer.reached, answer.candidates), (true, vec![name]));
//! assert_eq!(answer.coverage.unreadable.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! **States.** A segment is *unknown* (nobody has looked), *known*, *unreadable* (damaged, not decompressed, no key...,
//! with what could be read before the damage) or of an *unknown format* (a newer PostgreSQL). Every answer names the
//! segments that it does not rest on: unknown never means refused, and the caller decides.
//!
//! **Borders.** Nearly every segment ends within a record. Each side keeps what is needed to judge the whole when the
//! other side is there, whichever comes first; what the record says (a commit's time, a restore point) belongs to the
//! segment in which it ends. That works over any number of segments, and over the fork of a timeline, since the first
//! page of a segment tells on which timeline the one before lies.
//!
//! **On disk.** Below the directory there is one file for each 4096 segments of a timeline, with a slot of 320 bytes
//! for each, found by the segment's number: 0.03 % of segments of 1 MiB, 0.002 % of 16 MiB. A summary that does not
//! fit (many restore points, a long record over a border that waits for its neighbour) is in a heap beside it, to
//! which is only appended; what is not used there any more goes when the file does. Why like this:
//!
//! - a slot has a checksum of its own, over which segment it is and which file it is in, so a torn, stale or misplaced
//!   one is as good as none, never a wrong answer; what is lost is looked at again;
//! - slots are written in place, in any order, any number of times, without a sync, while others read;
//! - writers hold one lock ([`lock`](crate::lock)) for each call; readers none;
//! - a *zone* in a file says what all its slots have together, so that a look-up by time in a million segments reads
//!   3 KiB of each of 245 files. It exists only while the slots do not change: that is synced in the right order, or
//!   it would outlive, after a power cut, what it speaks of;
//! - a file of a newer version is not read and not changed; a damaged one is replaced.
//!
//! Nothing here is authoritative. The directory may be removed at any time, also while it is used.
//!
//! **What PostgreSQL does not look at**, the rest of a segment after a switch for one, is in the digest and is not
//! judged.

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
