//! A backup as one file that another catalogue can take in: `export-backup`.
//!
//! The file is a tar archive with members in this order: `identity.json`, `backup.info`, `barman.json`, `backup/` with
//! everything in the directory of the backup, `wals/HASH/SEGMENT` for the segments that the backup needs, as they are
//! archived, and `xlog.db` with their lines. It is written once, as a stream, under a temporary name; its final name
//! has the first digits of its SHA-256.

mod owners;
mod tree;

pub(crate) use tree::DEPTH;

use crate::backup_info::{BackupInfo, read_bounded};
use crate::files;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::tarball::{Compression, Entry, TarWriter, compressor};
use crate::xlogdb::{WalRecord, XlogDb};
use barman_wal::durable::{self, AtomicFile, DurableError};
use barman_wal::{SegmentName, WalFileName};
use owners::Owners;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the names of all exports begin with.
pub const PREFIX: &str = "backup-export-";
/// How many digits of its checksum the name of an export has.
pub const CHECKSUM_DIGITS: usize = 8;
/// How much is read at a time, bytes.
const BUFFER: usize = 256 << 10;
/// So many files that are not exported are named.
const NAMED: usize = 1000;

/// What is exported, and how.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// The directory for the file.
    pub directory: &'a Path,
    /// UTC, `YYYYMMDDTHHMMSS`: part of its name.
    pub stamp: &'a str,
    /// How it is compressed.
    pub compression: Option<Compression>,
    /// The level of the compression.
    pub level: Option<u32>,
    /// The cluster the backup belongs to.
    pub identity: &'a Identity,
    /// The content of `barman.json`, which nobody reads back.
    pub about: &'a str,
}

/// What has been exported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// The segments in it.
    pub wal_files: u64,
    /// Sockets, devices and the like, which are left out; relative to the directory of the backup, at most 1000.
    pub left_out: Vec<PathBuf>,
    /// Links other than those of tablespaces, which an import refuses; at most 1000.
    pub links: Vec<PathBuf>,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It is not known which segments the backup needs.
    #[error("backup {id} does not tell which WAL files it needs")]
    NoRange {
        /// The backup.
        id: crate::BackupId,
    },
    /// A segment is not in the WAL catalogue.
    #[error("WAL file {name}, which the backup needs, is not in the WAL catalogue")]
    NotListed {
        /// The segment.
        name: SegmentName,
    },
    /// A file of the backup or the archive cannot be read, or has changed meanwhile.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The export cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The caller's flag was raised.
    #[error("the export was interrupted")]
    Interrupted,
}

/// The records of the segments that a backup needs, ascending, from a [sorted](XlogDb::sorted) catalogue.
///
/// # Errors
/// It is not known which, or one is not listed.
pub fn needed_wal(backup: &BackupInfo, db: &XlogDb) -> Result<Vec<WalRecord>, ExportError> {
    let (begin, end) = backup.wal_range().ok_or(ExportError::NoRange { id: backup.id })?;
    if begin.timeline != end.timeline || begin > end {
        return Err(ExportError::NoRange { id: backup.id });
    }
    begin
        .through(end, backup.xlog_segment_size)
        .map(|name| {
            db.find_sorted(&WalFileName::Segment(name))
                .ok_or(ExportError::NotListed { name })
        })
        .collect()
}

/// Writes the export of `backup`; `wal` are the records of [`needed_wal`]. The caller holds the lock of the backup.
/// Until everything is on disk there is only a temporary file, which is removed if something fails; what a killed
/// export has left in the directory is removed too. `done` is told of the bytes that are read.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    layout: &Layout,
    backup: &BackupInfo,
    wal: &[WalRecord],
    options: ExportOptions<'_>,
    cancel: Option<&AtomicBool>,
    done: &dyn Fn(u64),
) -> Result<Exported, ExportError> {
    let name = format!("{PREFIX}{}-{}-{}", layout.server(), backup.id, options.stamp);
    let target = options.directory.join(&name);
    let write = |source: io::Error| ExportError::Write {
        path: target.clone(),
        source,
    };
    sweep(options.directory, layout.server());
    let file = AtomicFile::create(&target, files::MODE).map_err(|e| write(e.into()))?;
    // Tells a sweep, also one on another host, that somebody is at work here.
    let _ = flock(file.file(), FlockOperation::NonBlockingLockExclusive);
    let output = Hashed {
        output: BufWriter::with_capacity(BUFFER, file),
        hash: Sha256::new(),
        bytes: 0,
    };
    let output = compressor(options.compression, options.level, output).map_err(|e| write(e.into()))?;
    let output = BufWriter::with_capacity(BUFFER, output);
    let mut export = Export {
        tar: TarWriter::new(output),
        owners: Owners::default(),
        buffer: vec![0; BUFFER],
        target: &target,
        cancel,
        done,
        left_out: Vec::new(),
        links: Vec::new(),
    };
    export.made_up(b"identity.json", options.identity.to_json().as_bytes())?;
    export.backup_info(layout, backup)?;
    export.made_up(b"barman.json", options.about.as_bytes())?;
    export.tree(&layout.base_directory(backup.id))?;
    for record in wal {
        export.wal(layout, record)?;
    }
    let lines: String = wal.iter().map(|record| format!("{record}\n")).collect();
    export.lines(lines.as_bytes())?;
    let Export {
        tar, left_out, links, ..
    } = export;
    let finish = || -> io::Result<(Hashed<AtomicFile>, String)> {
        let compressor = tar
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let mut output = compressor.finish()?;
        output.output.flush()?;
        let digest = std::mem::take(&mut output.hash).finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((output, sha256))
    };
    let (output, sha256) = finish().map_err(write)?;
    let bytes = output.bytes;
    let mut file = output.output.into_inner().map_err(|e| write(e.into_error()))?;
    let suffix = options.compression.map_or("", Compression::suffix);
    let digits = sha256.get(..CHECKSUM_DIGITS).unwrap_or(&sha256);
    let publish = || -> Result<PathBuf, DurableError> {
        file.rename_target(&OsString::from(format!("{name}-{digits}.tar{suffix}")))?;
        file.sync()?;
        let path = file.target().to_path_buf();
        file.publish_new()?;
        durable::fsync_dir(options.directory)?;
        Ok(path)
    };
    let path = publish().map_err(|e| write(e.into()))?;
    Ok(Exported {
        path,
        bytes,
        sha256,
        wal_files: wal.len() as u64,
        left_out,
        links,
    })
}

/// Removes what exports of this server that were killed have left in a directory: temporary files with our names whose
/// process is gone and which nobody holds locked, as an export does also on another host.
fn sweep(directory: &Path, server: &str) {
    let prefix = format!(".{PREFIX}{server}-");
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(&prefix)) || !durable::is_temporary_name(&name)
        {
            continue;
        }
        let held = durable::open_file(&entry.path()).map_or(true, |file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
        });
        if !held
            && let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.'))
            && let Err(e) = durable::remove_stale_temporaries_of(directory, name.as_ref())
        {
            log::debug!(target: "barman.backup", "{e}");
        }
    }
}

/// Hashes and counts what goes to the file.
#[derive(Debug)]
struct Hashed<W: Write> {
    output: BufWriter<W>,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// An export that is being written.
struct Export<'a, W: Write> {
    tar: TarWriter<W>,
    owners: Owners,
    buffer: Vec<u8>,
    target: &'a Path,
    cancel: Option<&'a AtomicBool>,
    done: &'a dyn Fn(u64),
    left_out: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl<W: Write> Export<'_, W> {
    fn write_error(&self, source: io::Error) -> ExportError {
        ExportError::Write {
            path: self.target.to_path_buf(),
            source,
        }
    }

    fn unless_cancelled(&self) -> Result<(), ExportError> {
        if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(ExportError::Interrupted);
        }
        Ok(())
    }

    fn small(&mut self, entry: &Entry<'_>, content: &[u8]) -> Result<(), ExportError> {
        let result = self.tar.append(entry, content, &mut self.buffer);
        result.map_err(|source| self.write_error(source))
    }

    /// A small file without an owner or a time.
    fn made_up(&mut self, name: &[u8], content: &[u8]) -> Result<(), ExportError> {
        self.small(&Entry::made_up(name, content.len() as u64), content)
    }

    /// The metadata, as they are on disk.
    fn backup_info(&mut self, layout: &Layout, backup: &BackupInfo) -> Result<(), ExportError> {
        let new = layout.backup_info(backup.id);
        let path = if new.exists() {
            new
        } else {
            layout.old_backup_info(backup.id)
        };
        let read = |source| ExportError::Read {
            path: path.clone(),
            source,
        };
        let content = read_bounded(&path).map_err(read)?;
        let metadata = fs::metadata(&path).map_err(read)?;
        let owners = self.owners.of(&metadata);
        let entry = Entry {
            size: content.len() as u64,
            ..tree::entry(b"backup.info", &metadata, &owners)
        };
        self.small(&entry, &content)
    }

    /// The lines of the segments, with the time of now and of whoever exports.
    fn lines(&mut self, content: &[u8]) -> Result<(), ExportError> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let owners = self.owners.names(uid.as_raw(), gid.as_raw());
        let now = jiff::Timestamp::now();
        let entry = Entry {
            mode: 0o600,
            owner: (uid.as_raw(), gid.as_raw(), &owners.0, &owners.1),
            modified: Some(WalRecord::time_from(
                now.as_second(),
                i64::from(now.subsec_nanosecond()),
            )),
            ..Entry::made_up(b"xlog.db", content.len() as u64)
        };
        self.small(&entry, content)
    }

    /// One segment, as it is archived.
    fn wal(&mut self, layout: &Layout, record: &WalRecord) -> Result<(), ExportError> {
        let path = layout.wal_path(&record.name);
        let name = match record.name.archive_directory() {
            Some(directory) => format!("wals/{directory}/{}", record.name),
            None => format!("wals/{}", record.name),
        };
        self.file(name.as_bytes(), &path)
    }

    fn note(list: &mut Vec<PathBuf>, path: &Path) {
        if list.len() < NAMED {
            list.push(path.to_path_buf());
        }
    }
}
