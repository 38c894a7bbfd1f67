//! Prints WAL records, one a line: position, length, resource manager, transaction, type, details.
//!
//! ```text
//! cargo run --example waldump -- [--quiet] SEGMENT...
//! ```
//!
//! Segments that are given in one call follow each other. With `--quiet` only the end is told.

#![allow(clippy::disallowed_macros, reason = "a program that prints")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use barman_wal::record::{Decoder, Ending, Payload, Record, Xids};
use barman_wal::{Lsn, SegmentName};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let quiet = files.first().is_some_and(|first| first == "--quiet");
    if quiet {
        files.remove(0);
    }
    if files.is_empty() {
        eprintln!("usage: waldump [--quiet] SEGMENT...");
        return ExitCode::from(2);
    }
    match dump(&files, quiet) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waldump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dump(files: &[String], quiet: bool) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut decoder = Decoder::new();
    if let Some(name) = files.first().and_then(|file| segment_name(file)) {
        decoder = decoder.of_segment(name);
    }
    let mut buffer = vec![0; 256 << 10];
    let mut line = String::new();
    let mut records = 0u64;
    for name in files {
        let mut file = File::open(name).map_err(|error| format!("{name}: {error}"))?;
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(|error| format!("{name}: {error}"))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            let mut feed = decoder.feed(bytes);
            loop {
                let next = match feed.next() {
                    Ok(next) => next,
                    Err(error) => {
                        out.flush()?;
                        return Err(format!("{name}: {error}").into());
                    }
                };
                let Some(record) = next else { break };
                records += 1;
                if !quiet {
                    line.clear();
                    show(&record, &mut line)?;
                    writeln!(out, "{line}")?;
                }
            }
        }
    }
    let ending = match decoder.ending() {
        Ending::Nothing => "there is no WAL".to_owned(),
        Ending::AtRecord(next) => format!("the next record can be at {}", Long(next)),
        Ending::InRecord { start } => format!(
            "the record of {} is not complete",
            Long(start.unwrap_or_default())
        ),
        Ending::Zeros { end, .. } => format!("the WAL ends at {}", Long(end)),
    };
    writeln!(out, "# {records} records; {ending}")?;
    out.flush()?;
    Ok(())
}

/// The segment that a path names; none when the last part is no such name.
fn segment_name(path: &str) -> Option<SegmentName> {
    path.rsplit('/').next()?.get(..24)?.parse().ok()
}

/// A position as `pg_waldump` writes it: the lower half has eight digits.
struct Long(Lsn);

impl std::fmt::Display for Long {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:X}/{:08X}", self.0.0 >> 32, self.0.0 & 0xFFFF_FFFF)
    }
}

fn show(record: &Record<'_>, line: &mut String) -> Result<()> {
    write!(
        line,
        "{} {} {} {} {}",
        Long(record.lsn()),
        record.total_length(),
        record.resource_manager().name(),
        record.xid(),
        record.type_name()
    )?;
    match record.payload()? {
        Payload::Commit(end) | Payload::Abort(end) => {
            if let Some(xid) = end.prepared_xid {
                write!(line, " of {xid}")?;
            }
            if let Some(gid) = end.gid {
                write!(line, " '{}'", String::from_utf8_lossy(gid))?;
            }
            write!(line, " {}", end.time)?;
            xids(line, "subxacts", end.subtransactions)?;
            if let Some(origin) = end.origin {
                write!(line, "; origin at {} {}", origin.lsn, origin.time)?;
            }
        }
        Payload::Prepare(prepare) => {
            let gid = String::from_utf8_lossy(prepare.gid);
            write!(line, " of {} '{gid}' {}", prepare.xid, prepare.time)?;
            xids(line, "subxacts", prepare.subtransactions)?;
        }
        Payload::Assignment(assignment) => {
            write!(line, " of {}", assignment.top)?;
            xids(line, "subxacts", assignment.subtransactions)?;
        }
        Payload::Checkpoint(checkpoint) => write!(
            line,
            " redo {}; tli {}; prev tli {}; fpw {}; xid {}:{}; oid {}; multi {}; offset {}; oldest xid {}; \
             oldest running xid {}; {}",
            checkpoint.redo,
            checkpoint.timeline,
            checkpoint.previous_timeline,
            checkpoint.full_page_writes,
            checkpoint.next_xid >> 32,
            checkpoint.next_xid_number(),
            checkpoint.next_oid,
            checkpoint.next_multi,
            checkpoint.next_multi_offset,
            checkpoint.oldest_xid,
            checkpoint.oldest_active_xid,
            checkpoint.time,
        )?,
        Payload::CheckpointRedo { wal_level } => {
            if let Some(level) = wal_level {
                write!(line, " wal_level {level}")?;
            }
        }
        Payload::EndOfRecovery(end) => write!(
            line,
            " tli {}; prev tli {}; time {}",
            end.timeline, end.previous_timeline, end.time
        )?,
        Payload::RestorePoint(point) => {
            write!(line, " {} {}", String::from_utf8_lossy(point.name), point.time)?;
        }
        Payload::ParameterChange(change) => write!(
            line,
            " max_connections={} wal_level={}",
            change.max_connections, change.wal_level
        )?,
        Payload::FullPageWrites(on) => write!(line, " {on}")?,
        Payload::BackupEnd { start } => write!(line, " {start}")?,
        Payload::Overwritten(overwritten) => {
            write!(line, " lsn {}; time {}", overwritten.lsn, overwritten.time)?;
        }
        Payload::RunningTransactions(running) => {
            write!(
                line,
                " nextXid {} latestCompletedXid {} oldestRunningXid {}",
                running.next_xid, running.latest_completed, running.oldest_running
            )?;
            xids(line, "xacts", running.running)?;
        }
        Payload::Switch | Payload::Other => {}
    }
    for block in record.blocks() {
        let relation = block.relation;
        write!(
            line,
            ", blkref #{}: rel {}/{}/{} fork {} blk {}",
            block.id, relation.tablespace, relation.database, relation.number, block.fork, block.block
        )?;
        if let Some(image) = block.image {
            write!(line, " FPW {} {}", image.bytes.len(), image.compression.as_str())?;
        }
    }
    Ok(())
}

fn xids(line: &mut String, what: &str, xids: Xids<'_>) -> std::fmt::Result {
    if !xids.is_empty() {
        write!(line, "; {what}:")?;
    }
    xids.iter().try_for_each(|xid| write!(line, " {xid}"))
}
