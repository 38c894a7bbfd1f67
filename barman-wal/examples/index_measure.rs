//! What the benchmarks run: files read and nothing else, summaries of segments, and questions to an index of as many
//! segments as one likes.
//!
//! ```text
//! cargo run --release --example index_measure -- read FILE...
//! cargo run --release --example index_measure -- summary TIMES SEGMENT...
//! cargo run --release --example index_measure -- make INDEX COUNT SEGMENT
//! cargo run --release --example index_measure -- time INDEX COUNT NUMBER
//! ```
//!
//! `make` pretends that all segments are like the one that is given, each with commits one second later than the one
//! before; `time` asks where recovery to the time of segment NUMBER stops.

#![allow(clippy::disallowed_macros, reason = "a program that prints")]

use std::fs;
use std::io::Read;
use std::path::Path;

use barman_wal::history::TimelineHistory;
use barman_wal::index::{Route, SegmentState, SegmentSummary, TimeTarget, WalIndex, XidBase, summarize};
use barman_wal::record::WalTime;
use barman_wal::{SegmentName, SegmentNumber, SegmentSize, TimelineId};

const USAGE: &str = "usage: index_measure read FILE... | summary TIMES SEGMENT... | make INDEX COUNT SEGMENT | time INDEX COUNT NUMBER";
/// Bytes read at a time: the quickest of what was tried.
const READ: usize = 256 << 10;
/// Of the segments, in the index.
const SECOND: i64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["read", files @ ..] => {
            let mut buffer = vec![0; READ];
            for path in files {
                let mut file = fs::File::open(path)?;
                while file.read(&mut buffer)? > 0 {}
            }
        }
        ["summary", times, segments @ ..] => {
            for path in segments {
                let bytes = fs::read(path)?;
                let name = segment_name(path)?;
                for _ in 0..times.parse::<u32>()? {
                    match summarize(name, bytes.as_slice())? {
                        SegmentState::Known(summary) => println!(
                            "{name}: {} records, {} commits, {}",
                            summary.records, summary.commits, summary.digest
                        ),
                        other => return Err(format!("{name}: {other:?}").into()),
                    }
                }
            }
        }
        ["make", index, count, segment] => make(Path::new(index), count.parse()?, segment)?,
        ["time", index, count, number] => {
            let size = SegmentSize::DEFAULT;
            let last = SegmentNumber(count.parse()?);
            let route = Route::along(
                &TimelineHistory::root(TimelineId::FIRST),
                SegmentNumber(1).start_lsn(size).unwrap_or_default(),
                last,
                size,
            );
            let target = TimeTarget::Inclusive(WalTime(number.parse::<i64>()? * SECOND));
            let answer = WalIndex::new(Path::new(index), size).stop_at_time(&route, target);
            if !answer.coverage.is_complete() {
                return Err(format!("{:?}", answer.coverage).into());
            }
            println!("{:?}", answer.candidates);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn segment_name(path: &str) -> Result<SegmentName, Box<dyn std::error::Error>> {
    Ok(path.rsplit('/').next().unwrap_or(path).parse()?)
}

fn make(directory: &Path, count: u64, segment: &str) -> Result<(), Box<dyn std::error::Error>> {
    let state = summarize(segment_name(segment)?, fs::read(segment)?.as_slice())?;
    let Some(like) = state.known() else {
        return Err(format!("{segment}: {state:?}").into());
    };
    let index = WalIndex::new(directory, like.size);
    let mut next = 1;
    while next <= count {
        let batch = (next..=count).take(4096);
        next += 4096;
        let mut states = Vec::new();
        for number in batch {
            let name = SegmentNumber(number)
                .name(TimelineId::FIRST, like.size)
                .ok_or("too many segments")?;
            let time = WalTime(i64::try_from(number)? * SECOND);
            let summary = SegmentSummary {
                name,
                first_page_timeline: TimelineId::FIRST,
                end_times: Some((time, time)),
                xid_base: XidBase::Told(number << 20),
                head: None,
                tail: None,
                ..like.clone()
            };
            states.push((name, SegmentState::Known(Box::new(summary))));
        }
        index.put_all(states)?;
    }
    index.seal()?;
    Ok(())
}
