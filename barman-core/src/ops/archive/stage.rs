//! The heavy part of archiving one file, which needs no lock and runs on several threads: looking at it, comparing it
//! with what the archive has, compressing or linking it into a temporary name in the archive, syncing that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use barman_catalog::Layout;
use barman_catalog::xlogdb::{Tag, WalRecord};
use barman_wal::WalFileName;
use barman_wal::codec::{self, Algorithm, CodecError};
use barman_wal::durable::{self, AtomicFile, DurableError};
use barman_wal::page;
use jiff::Timestamp;

use super::compare::{Comparison, compare};
use super::queue::{Source, Waiting};
use super::rejects::{self, Reason};
use super::segment_check::{self, Verdict};
use crate::ops::wal_codec::WalCodec;

/// A file that was written to so recently may not be complete: `archive_command`s that copy to the final name exist,
/// to network file systems that stall and whose clocks differ from ours too. Whoever is moved to the errors directory
/// while he is writing tells PostgreSQL that the file is archived.
const SETTLED_SECONDS: i64 = 300;
const BUFFER: usize = 256 * 1024;

/// What of the configuration decides how a file is stored.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    pub(super) layout: &'a Layout,
    pub(super) codec: WalCodec<'a>,
    /// How many threads each file may be compressed with, by the compression that can: what the staging of several
    /// files leaves.
    pub(super) spare_threads: AtomicUsize,
    /// With filters of the user's own, nothing is known about what a segment looks like.
    pub(super) check_segments: bool,
    /// The cluster whose WAL this archive has, as far as it is known.
    pub(super) system_identifier: Option<u64>,
}

/// A file of the queue, as it is now.
#[derive(Debug)]
pub(super) struct Facts {
    /// Open for reading.
    file: File,
    metadata: fs::Metadata,
    first: Vec<u8>,
    /// Whether the name in the queue is a symbolic link.
    is_link: bool,
    /// The compression it came with.
    pub(super) compression: Option<Algorithm>,
}

impl Facts {
    pub(super) fn size(&self) -> u64 {
        self.metadata.len()
    }

    /// As in the catalogue.
    pub(super) fn time(&self) -> f64 {
        WalRecord::time_from(self.metadata.mtime(), self.metadata.mtime_nsec())
    }

    /// Whether `other` is the same file, unchanged.
    fn is_still(&self, other: &fs::Metadata) -> bool {
        let key = |metadata: &fs::Metadata| {
            (
                metadata.dev(),
                metadata.ino(),
                metadata.len(),
                metadata.mtime(),
                metadata.mtime_nsec(),
            )
        };
        key(&self.metadata) == key(other)
    }

    /// A file that is no good is given up only when nobody seems to be writing it.
    fn bad_once_settled(&self, reason: String, now: Timestamp) -> Staged {
        let age = now.as_second().saturating_sub(self.metadata.mtime());
        if age < SETTLED_SECONDS {
            Staged::Unsettled(reason)
        } else {
            Staged::Bad(reason)
        }
    }

    /// Whether `path` still names the file that was looked at.
    pub(super) fn is_still_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|now| self.is_still(&now))
    }
}

/// What is to be done with a file.
#[derive(Debug)]
pub(super) enum Staged {
    /// It has gone.
    Vanished,
    /// Publish the temporary file, add the record to the catalogue, remove the source.
    Store {
        temporary: Box<AtomicFile>,
        record: WalRecord,
    },
    /// The archive has the same content. The record describes what is stored.
    Same { record: WalRecord },
    /// The archive has other content.
    Different,
    /// A complete segment that is useless; why.
    Bad(String),
    /// It seems to be written just now; what makes us think so.
    Unsettled(String),
    /// It cannot be archived now, for a reason of its own.
    Failed(String),
    /// Nothing can be archived now.
    Fatal(DurableError),
    /// The caller wants to stop.
    Cancelled,
}

impl Storage<'_> {
    /// Where a file goes. Names are stored in upper case, by which everybody looks for them.
    pub(super) fn target(&self, name: &WalFileName) -> PathBuf {
        self.layout.wal_path(name)
    }

    /// Opens a file of the queue. `None`: it has gone, or is no regular file any more.
    pub(super) fn look(&self, source: Source, path: &Path) -> io::Result<Option<Facts>> {
        let open = OpenOptions::new()
            .read(true)
            // Should somebody have put a FIFO in its place, the open must not wait.
            .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
            .open(path);
        let file = match open {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink());
        let first = codec::first_bytes(&file)?;
        let compression = match source {
            Source::Streaming => None,
            Source::Incoming => self.codec.detect(&first),
        };
        Ok(Some(Facts {
            file,
            metadata,
            first,
            is_link,
            compression,
        }))
    }

    /// Does everything that can be done before the catalogue is locked.
    pub(super) fn stage(
        &self,
        waiting: &Waiting,
        path: &Path,
        facts: &Facts,
        now: Timestamp,
        cancelled: &dyn Fn() -> bool,
    ) -> Staged {
        let target = self.target(&waiting.name);
        match fs::symlink_metadata(&target) {
            Ok(_) => match self.clear_useless(waiting, facts, &target, now) {
                Ok(true) => {}
                Ok(false) => return self.compare_with(waiting, facts, &target, now, cancelled),
                Err(error) => return Staged::Fatal(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Staged::Fatal(DurableError {
                    action: "look at",
                    path: target,
                    source,
                });
            }
        }
        if let Some(reason) = self.is_useless(waiting, facts) {
            return facts.bad_once_settled(reason, now);
        }
        match self.write(waiting, path, facts, &target, cancelled) {
            Ok(staged) => staged,
            Err(error) => Staged::Fatal(error),
        }
    }

    fn compare_with(
        &self,
        waiting: &Waiting,
        facts: &Facts,
        target: &Path,
        now: Timestamp,
        cancelled: &dyn Fn() -> bool,
    ) -> Staged {
        match compare(&facts.file, target, waiting.name, &self.codec, cancelled) {
            Comparison::Same => self.same(waiting, target),
            // A run was killed after it had linked the file into the archive. Whoever delivers straight to the final
            // name may have begun again since, and has cut what is in the archive.
            Comparison::OneFile => match self.is_useless(waiting, facts) {
                // Rewritten since, it may not be on disk.
                None => match durable::fsync_file(target) {
                    Ok(()) => self.same(waiting, target),
                    Err(error) => Staged::Failed(error.to_string()),
                },
                Some(reason) => match facts.bad_once_settled(reason, now) {
                    Staged::Bad(reason) => Staged::Failed(format!(
                        "it is linked to {} and useless: {reason}",
                        target.display()
                    )),
                    unsettled => unsettled,
                },
            },
            // The beginning of what is there already may be the same file on its way once more.
            Comparison::Different => match self.is_useless(waiting, facts) {
                Some(reason)
                    if matches!(facts.bad_once_settled(String::new(), now), Staged::Unsettled(_)) =>
                {
                    Staged::Unsettled(reason)
                }
                _ => Staged::Different,
            },
            Comparison::SourceUnreadable(_) | Comparison::StoredUnreadable(_) if cancelled() => {
                Staged::Cancelled
            }
            Comparison::SourceUnreadable(error) => {
                let reason = format!("it cannot be read to its end: {error}");
                // What a codec says about damaged content; anything else may pass.
                match error.kind() {
                    io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof => facts.bad_once_settled(reason, now),
                    _ => Staged::Failed(reason),
                }
            }
            Comparison::StoredUnreadable(error) => Staged::Failed(format!(
                "it cannot be compared with {}: {error}",
                target.display()
            )),
        }
    }

    fn same(&self, waiting: &Waiting, target: &Path) -> Staged {
        match self.describe(waiting.name, target) {
            Ok(record) => Staged::Same { record },
            Err(error) => Staged::Failed(format!("the archived file cannot be read: {error}")),
        }
    }

    /// Makes room for a good segment where the archive has a useless one: Barman copies from another file system to
    /// the final name, and takes empty files. `true` when the useless one is in the errors directory.
    fn clear_useless(
        &self,
        waiting: &Waiting,
        facts: &Facts,
        target: &Path,
        now: Timestamp,
    ) -> Result<bool, DurableError> {
        let WalFileName::Segment(segment) = waiting.name else {
            return Ok(false);
        };
        let is_good = |first: &[u8], size| segment_check::judge(segment, first, size) == Verdict::Good;
        if !self.check_segments || facts.compression.is_some() || !is_good(&facts.first, facts.size()) {
            return Ok(false);
        }
        let Some(reason) = self.judge_stored(waiting.name, target) else {
            return Ok(false);
        };
        let moved = rejects::reject(target, &self.layout.errors_directory, Reason::Error, now)?;
        log::warn!(
            target: super::TARGET,
            "the archived {} is useless ({reason}): it is moved to {} and replaced",
            waiting.name,
            moved.display()
        );
        Ok(true)
    }

    /// Why a file of the archive is useless; `None` if it is not, or nobody can tell.
    pub(super) fn judge_stored(&self, name: WalFileName, stored: &Path) -> Option<String> {
        let WalFileName::Segment(segment) = name else {
            return None;
        };
        let file = File::open(stored).ok().filter(|_| self.check_segments)?;
        let (first, size) = (codec::first_bytes(&file).ok()?, file.metadata().ok()?.len());
        if codec::looks_encrypted(&first) || self.codec.detect(&first).is_some() {
            return None;
        }
        match segment_check::judge(segment, &first, size) {
            Verdict::Bad(reason) => Some(reason),
            Verdict::Good | Verdict::Unrecognised => None,
        }
    }

    /// The catalogue's record for a file of the archive.
    pub(super) fn describe(&self, name: WalFileName, stored: &Path) -> io::Result<WalRecord> {
        let file = File::open(stored)?;
        let metadata = file.metadata()?;
        let first = codec::first_bytes(&file)?;
        let encrypted = codec::looks_encrypted(&first);
        let compression = if encrypted {
            None
        } else {
            // The bytes do not tell `pigz` from `gzip`: then it was made as configured.
            Some(self.codec.stored_as(name, &first)).map(|found| {
                if self.codec.compression.format() == found {
                    self.codec.compression
                } else {
                    found
                }
            })
        };
        Ok(WalRecord {
            name,
            size: metadata.len(),
            time: WalRecord::time_from(metadata.mtime(), metadata.mtime_nsec()),
            compression: compression.and_then(tag),
            encryption: Tag::new("gpg").filter(|_| encrypted),
        })
    }

    fn is_useless(&self, waiting: &Waiting, facts: &Facts) -> Option<String> {
        let WalFileName::Segment(segment) = waiting.name else {
            return None;
        };
        if !self.check_segments || facts.compression.is_some() || codec::looks_encrypted(&facts.first) {
            return None;
        }
        match segment_check::judge(segment, &facts.first, facts.size()) {
            Verdict::Good => {
                let header = page::check_segment_header(&facts.first).ok()?;
                if self
                    .system_identifier
                    .is_some_and(|known| known != header.system_identifier)
                {
                    log::warn!(
                        target: super::TARGET,
                        "{} is of another cluster (system identifier {}) than the backups of this server",
                        waiting.spelling,
                        header.system_identifier
                    );
                }
                None
            }
            Verdict::Unrecognised => {
                log::warn!(
                    target: super::TARGET,
                    "{} does not begin like a WAL segment of a known PostgreSQL; it is archived as it is",
                    waiting.spelling
                );
                None
            }
            Verdict::Bad(reason) => Some(reason),
        }
    }

    /// Makes the temporary file in the archive. An error is one of the archive, not of the source.
    fn write(
        &self,
        waiting: &Waiting,
        path: &Path,
        facts: &Facts,
        target: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Staged, DurableError> {
        if let Some(directory) = target.parent() {
            durable::create_dir_all_durable(directory, 0o777)?;
        }
        let configured = self.codec.compression;
        let compress = configured != Algorithm::None && facts.compression.is_none();
        let temporary = if compress {
            None
        } else {
            self.link(path, facts, target)
        };
        let (temporary, compression) = match temporary {
            Some(temporary) => (temporary, facts.compression),
            None => {
                let algorithm = if compress { configured } else { Algorithm::None };
                let temporary = AtomicFile::create(target, 0o600)?;
                match self.pour(&facts.file, temporary, algorithm, cancelled) {
                    Ok(temporary) => {
                        durable::copy_attributes(&facts.file, temporary.file(), temporary.temporary_path())?;
                        (
                            temporary,
                            if compress {
                                Some(configured)
                            } else {
                                facts.compression
                            },
                        )
                    }
                    Err(PourError::Read(error)) => {
                        return Ok(Staged::Failed(format!("it cannot be read: {error}")));
                    }
                    Err(PourError::Write(error)) => return Err(error),
                    Err(PourError::Codec(error)) => return Ok(Staged::Failed(error.to_string())),
                    Err(PourError::Filter(reason)) => return Ok(Staged::Failed(reason)),
                    Err(PourError::Cancelled) => return Ok(Staged::Cancelled),
                }
            }
        };
        temporary.sync()?;
        let failed = |source| DurableError {
            action: "look at",
            path: temporary.temporary_path().to_path_buf(),
            source,
        };
        let size = temporary.file().metadata().map_err(failed)?.len();
        // Whoever is still writing has another file in mind than the one that was read.
        if !facts.file.metadata().is_ok_and(|now| facts.is_still(&now)) {
            return Ok(Staged::Unsettled("it changed while it was read".to_owned()));
        }
        let record = WalRecord {
            name: waiting.name,
            size,
            time: facts.time(),
            compression: compression.and_then(tag),
            encryption: None,
        };
        Ok(Staged::Store {
            temporary: Box::new(temporary),
            record,
        })
    }

    /// Copies a whole file through a compressor.
    fn pour(
        &self,
        source: &File,
        temporary: AtomicFile,
        algorithm: Algorithm,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<AtomicFile, PourError> {
        let path = temporary.temporary_path().to_path_buf();
        let failed = |source| {
            PourError::Write(DurableError {
                action: "write",
                path: path.clone(),
                source,
            })
        };
        let threads = self.spare_threads.load(Ordering::Relaxed);
        let is_custom = algorithm == Algorithm::Custom;
        let (mut reader, encoded): (Box<dyn Read + '_>, _) = if is_custom {
            let filter = self.codec.compressing_filter(source, cancelled);
            let filter = filter.map_err(|error| PourError::Filter(error.to_string()))?;
            (Box::new(filter), Algorithm::None)
        } else {
            (Box::new(source), algorithm)
        };
        let mut encoder =
            codec::encoder_on(encoded, self.codec.level, threads, temporary).map_err(PourError::Codec)?;
        let mut buffer = vec![0; BUFFER];
        let mut begun = false;
        loop {
            if cancelled() {
                return Err(PourError::Cancelled);
            }
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    begun = true;
                    encoder
                        .write_all(buffer.get(..count).unwrap_or_default())
                        .map_err(failed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if cancelled() => return Err(PourError::Cancelled),
                Err(error) if is_custom => return Err(PourError::Filter(error.to_string())),
                Err(error) => return Err(PourError::Read(error)),
            }
        }
        let temporary = encoder.finish().map_err(failed)?;
        if is_custom {
            self.check_filtered(source, &temporary, begun).map_err(failed)??;
        }
        Ok(temporary)
    }

    /// What nobody would recognise, or what is nothing, must not replace a WAL file.
    fn check_filtered(
        &self,
        source: &File,
        made: &AtomicFile,
        begun: bool,
    ) -> io::Result<Result<(), PourError>> {
        if !begun && source.metadata()?.len() > 0 {
            let reason = "custom_compression_filter gave nothing".to_owned();
            return Ok(Err(PourError::Filter(reason)));
        }
        let made = File::open(made.temporary_path())?;
        if let Some(magic) = self.codec.custom_magic()
            && !codec::first_bytes(&made)?.starts_with(magic)
        {
            let reason = "what custom_compression_filter gave does not begin with custom_compression_magic";
            return Ok(Err(PourError::Filter(reason.to_owned())));
        }
        Ok(Ok(()))
    }

    /// A second name in the archive costs nothing and keeps everything; the first name goes when all is on disk.
    /// `None` where that is not possible: another file system, a foreign owner, a symbolic link (whose target is not
    /// ours to keep).
    fn link(&self, path: &Path, facts: &Facts, target: &Path) -> Option<AtomicFile> {
        if facts.is_link {
            return None;
        }
        let file = facts.file.try_clone().ok()?;
        match AtomicFile::link(file, path, target) {
            Ok(temporary) => Some(temporary),
            Err(error) => {
                log::debug!(target: super::TARGET, "{error}: copying instead");
                None
            }
        }
    }
}

/// A compression as the catalogue names it.
fn tag(algorithm: Algorithm) -> Option<Tag> {
    if algorithm == Algorithm::None {
        None
    } else {
        Tag::new(algorithm.name())
    }
}

enum PourError {
    Read(io::Error),
    Write(DurableError),
    Codec(CodecError),
    /// The user's filter failed; in what way.
    Filter(String),
    Cancelled,
}
