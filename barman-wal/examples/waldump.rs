//! Prints WAL records, one a line: position, length, resource manager, transaction, type, details.
//!
//! ```text
//! cargo run --example waldump [--features codecs] -- [--quiet] SEGMENT...
//! ```
//!
//! Segments that are given in one call follow each other. With `--quiet` only the end is told. Compressed segments are
//! read if the feature of their compression is there.

#![allow(clippy::disallowed_macros, reason = "a program that prints")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use barman_wal::codec::{self, Algorithm};
use barman_wal::record::{Decoder, Ending, Payload, Record, Xids};
use barman_wal::{Lsn, SegmentName};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: waldump [--quiet] SEGMENT...";

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let quiet = files.first().is_some_and(|first| first == "--quiet");
    if quiet {
        files.remove(0);
    }
    if files
        .first()
        .is_some_and(|first| first == "--help" || first == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if files.first().is_none_or(|first| first.starts_with("--")) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match dump(&files, quiet) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough (`| head`).
        Err(Stop::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Write(error)) => failed(&format!("standard output: {error}")),
        Err(Stop::File(name, error)) => failed(&format!("{name}: {error}")),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("waldump: {why}");
    ExitCode::FAILURE
}

/// Why not all was printed.
enum Stop {
    Write(io::Error),
    File(String, Box<dyn std::error::Error>),
}

fn dump(files: &[String], quiet: bool) -> Result<(), Stop> {
    let mut decoder = Decoder::new();
    if let Some(name) = files.first().and_then(|file| segment_name(file)) {
        decoder = decoder.of_segment(name);
    }
    let mut dump = Dump {
        decoder,
        out: BufWriter::new(io::stdout().lock()),
        quiet,
        line: String::new(),
        records: 0,
    };
    for name in files {
        let result = dump.file(name);
        dump.out.flush().map_err(Stop::Write)?;
        result.map_err(|error| Stop::File(name.clone(), error))?;
    }
    let Dump {
        decoder,
        mut out,
        records,
        ..
    } = dump;
    let ending = match decoder.ending() {
        Ending::Nothing => "there is no WAL".to_owned(),
        Ending::AtRecord(next) => format!("the next record can be at {}", Long(next)),
        Ending::InRecord { start } => format!(
            "the record of {} is not complete",
            Long(start.unwrap_or_default())
        ),
        Ending::Zeros { end, .. } => format!("the WAL ends at {}", Long(end)),
    };
    writeln!(out, "# {records} records; {ending}")
        .and_then(|()| out.flush())
        .map_err(Stop::Write)
}

struct Dump<'o> {
    decoder: Decoder,
    out: BufWriter<io::StdoutLock<'o>>,
    quiet: bool,
    line: String,
    records: u64,
}

impl Dump<'_> {
    fn file(&mut self, name: &str) -> Result<()> {
        let mut file = File::open(name)?;
        // Of a pipe nothing can be read twice.
        if file.metadata()?.is_file()
            && let Some(algorithm) = Algorithm::detect(&codec::first_bytes(&file)?, None)
        {
            return self.stream(&mut codec::decoder(algorithm, file)?);
        }
        if let Some(mapped) = Mapped::of(&file) {
            return self.bytes(mapped.bytes());
        }
        self.stream(&mut file)
    }

    fn stream(&mut self, file: &mut dyn Read) -> Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = file.read(&mut buffer)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            self.bytes(bytes)?;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let mut feed = self.decoder.feed(bytes);
        while let Some(record) = feed.next()? {
            self.records += 1;
            if !self.quiet {
                self.line.clear();
                show(&record, &mut self.line)?;
                writeln!(self.out, "{}", self.line)?;
            }
        }
        Ok(())
    }
}

/// A file in memory without a copy of it: to copy segments takes nearly as long as to decode them. Whoever truncates
/// the file meanwhile ends this program with a signal; a program that must live on reads instead. All of it is mapped at
/// once, which is cheaper than page by page.
struct Mapped {
    start: std::ptr::NonNull<u8>,
    length: usize,
}

impl Mapped {
    /// `None` when it is empty, no ordinary file, or cannot be mapped.
    fn of(file: &File) -> Option<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let length = usize::try_from(metadata.len())
            .ok()
            .filter(|length| *length > 0)?;
        #[expect(unsafe_code, reason = "that is how the system maps files")]
        // SAFETY: a new private mapping at an address that the kernel chooses; it touches no memory of ours.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::POPULATE,
                file,
                0,
            )
        };
        let start = std::ptr::NonNull::new(start.ok()?.cast())?;
        Some(Self { start, length })
    }

    fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "that is how the system maps files")]
        // SAFETY: `length` readable bytes are mapped there until `self` is dropped. That another process writes to a
        // finished segment is as much a fault as with `read`.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.length)
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "that is how the system maps files")]
        // SAFETY: made by `mmap` with this length, and nothing borrows from it any more.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
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
            write!(line, " wal_level {wal_level}")?;
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
