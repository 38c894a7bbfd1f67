//! Extraction of a base backup into directories, as `pg_basebackup --format=plain` leaves them: files and modes of the
//! server, links in `pg_tblspc`, no `tablespace_map`. What arrives is compared with the server's manifest.
//!
//! Three threads: the caller's reads the network, one decompresses, parses, hashes and writes, one has the disk write
//! back what is complete. Memory is bounded by the blocks between them. When [`extract`] returns, everything is on
//! stable storage.

mod source;
mod sync;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};

use barman_wal::durable::{self, AtomicFile, DurableError};
use barman_wal::history::TimelineHistory;

use self::source::{Source, Spares};
use self::writer::Writer;
use super::manifest::{self, OwnWriter, Said};
use super::{BackupEnd, BackupPosition, BaseBackup, Block, CompressionMethod, ManifestMode, decompress};
use crate::error::Error;
use crate::replication::SystemIdentification;

/// Blocks (256 KiB each) between reader and writer.
const QUEUE: usize = 24;
/// Threads of the final sync. Big files are durable by then, and more threads only fight for the journal's lock.
const SYNC_THREADS: usize = 2;

/// The manifest in the data directory.
const MANIFEST: &str = "backup_manifest";
/// A file that stands for the links of `pg_tblspc`.
pub(super) const TABLESPACE_MAP: &str = "tablespace_map";

/// Where the manifest is put that is written here when the server (PostgreSQL 10 to 12) cannot send one. It has the
/// format of the servers' own and is accepted by `pg_verifybackup`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OwnManifest {
    /// In the data directory as `backup_manifest`, where newer servers have theirs. A PostgreSQL before 13 that is
    /// started there knows nothing of it, and sends it as an ordinary file with its next base backup.
    #[default]
    InData,
    /// In this file; its directory must exist.
    At(PathBuf),
    /// Nowhere.
    No,
}

/// Where the parts of a backup go. The directories must exist and be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtractTargets {
    /// The data directory.
    pub data: PathBuf,
    /// Each tablespace with a location of its own, by object id.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// A manifest for servers that send none.
    pub own_manifest: OwnManifest,
}

/// What was extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractReport {
    /// Where the backup begins.
    pub start: BackupPosition,
    /// Where it ends, as the server told.
    pub end: BackupEnd,
    /// Files of all archives.
    pub files: u64,
    /// Their sizes added up, bytes.
    pub bytes: u64,
    /// Whether all files were compared with a manifest (servers from 13 on send one).
    pub verified: bool,
    /// The cluster, as it was when the backup began.
    pub system: SystemIdentification,
    /// The manifest that was written here, see [`OwnManifest`].
    pub own_manifest: Option<PathBuf>,
    /// Tablespaces that were created while the backup ran. There is neither a link nor a file of them: replay of WAL
    /// creates them.
    pub new_tablespaces: Vec<u32>,
}

/// Why an extraction failed. What has been written must be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The server or the connection.
    #[error(transparent)]
    Connection(#[from] Error),
    /// Something local.
    #[error("cannot {action} \"{}\": {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Making it durable.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// This build cannot decompress what the server was asked to send.
    #[error("base backups compressed with {} cannot be extracted: built without the feature `compression`", method.name())]
    Compression {
        /// The compression.
        method: CompressionMethod,
    },
    /// What the server has compressed is damaged.
    #[error("archive of the base backup: cannot decompress it: {0}")]
    Decompression(io::Error),
    /// The archive is not one that a PostgreSQL server sends.
    #[error("archive of the base backup: {0}")]
    Archive(String),
    /// A tablespace appeared for which no directory is known.
    #[error("the base backup has a tablespace {oid} (\"{}\") for which no directory was given; it was probably created after the backup was planned", location.display())]
    UnknownTablespace {
        /// Its object id.
        oid: u32,
        /// Its directory on the server.
        location: PathBuf,
    },
    /// What arrived is not what the server says that it sent.
    #[error("the received files do not match the backup manifest: {0}")]
    Mismatch(String),
    /// The manifest itself is damaged.
    #[error("the received backup manifest is not valid: {0}")]
    Manifest(String),
}

impl From<String> for ExtractError {
    fn from(what: String) -> Self {
        Self::Archive(what)
    }
}

impl ExtractError {
    /// Whether the caller's interrupt flag ended it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_interrupted(),
            Self::Durable(error) => error.kind() == io::ErrorKind::Interrupted,
            _ => false,
        }
    }
}

/// Attaches what was done to which path to an error of the operating system.
pub(super) fn file_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ExtractError + 'a {
    move |source| ExtractError::File {
        action,
        path: path.to_path_buf(),
        source,
    }
}

/// Receives the whole backup into `targets` and makes it durable. `progress` is told the bytes of the archives so far, as
/// they are before compression: [`BaseBackup::estimated_kb`] is what they will come to.
///
/// # Errors
/// See [`ExtractError`]; whatever the failure, the backup in `targets` is not complete, and there is no manifest under
/// its final name.
///
/// # What is noticed
/// With a manifest that has checksums (13 and newer) every byte of every file, its name and size, the positions and the
/// system identifier. Without one only what breaks the protocol or the archives' form: TCP's weak checksum is all that
/// protects the contents then, unless the connection is encrypted, which notices every changed byte.
pub fn extract(
    mut backup: BaseBackup<'_>,
    targets: &ExtractTargets,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExtractReport, ExtractError> {
    check(&backup, targets)?;
    let own_path = own_manifest_path(&backup, targets);
    let own = own_path.as_deref().map(OwnWriter::create).transpose()?;
    let written = transfer(&mut backup, targets, own, progress)?;
    let stop = backup.interrupt();
    let end = backup.read_end()?;

    if !written.main_complete {
        return Err(ExtractError::Archive("the data directory is missing".to_owned()));
    }
    let said = Said {
        systemid: &backup.system().systemid,
        start: backup.start(),
        end,
    };
    let verified = written.manifest.is_some();
    if let Some(sent) = &written.manifest {
        manifest::verify(&targets.data, sent.temporary_path(), &written.set, said)?;
    }
    let own = match written.own {
        Some(own) => Some(finish_own(&mut backup, own, end)?),
        None => None,
    };
    for root in targets.tablespaces.values().chain([&targets.data]) {
        durable::sync_tree(root, SYNC_THREADS, stop.as_deref())?;
    }
    // Last: who finds it finds everything that it lists.
    for complete in written.manifest.into_iter().chain(own) {
        complete.commit()?;
    }
    Ok(ExtractReport {
        start: backup.start(),
        end,
        files: written.set.files,
        bytes: written.set.bytes,
        verified,
        system: backup.system().clone(),
        own_manifest: own_path,
        new_tablespaces: written.new_tablespaces,
    })
}

/// What can be refused before the first byte.
fn check(backup: &BaseBackup<'_>, targets: &ExtractTargets) -> Result<(), ExtractError> {
    if let Some(method) = backup.compression()
        && !decompress::available(method)
    {
        return Err(ExtractError::Compression { method });
    }
    for tablespace in backup.tablespaces() {
        if tablespace.location.is_absolute() && !targets.tablespaces.contains_key(&tablespace.oid) {
            return Err(ExtractError::UnknownTablespace {
                oid: tablespace.oid,
                location: tablespace.location.clone(),
            });
        }
    }
    Ok(())
}

/// Where a manifest of our own goes, if there is to be one.
fn own_manifest_path(backup: &BaseBackup<'_>, targets: &ExtractTargets) -> Option<PathBuf> {
    if backup.version().at_least(13) || backup.manifest() == ManifestMode::Without {
        return None;
    }
    match &targets.own_manifest {
        OwnManifest::InData => Some(targets.data.join(MANIFEST)),
        OwnManifest::At(path) => Some(path.clone()),
        OwnManifest::No => None,
    }
}

fn finish_own(
    backup: &mut BaseBackup<'_>,
    own: OwnWriter,
    end: BackupEnd,
) -> Result<AtomicFile, ExtractError> {
    let start = backup.start();
    // The upstream server of a standby may have been promoted meanwhile.
    let history = if end.timeline == start.timeline {
        None
    } else {
        let content = backup.timeline_history(end.timeline)?;
        let history = TimelineHistory::parse(end.timeline, &content)
            .map_err(|error| ExtractError::Manifest(error.to_string()))?;
        Some(history)
    };
    let ranges = manifest::wal_ranges(start, end, history.as_ref()).map_err(ExtractError::Manifest)?;
    own.finish(&ranges)
}

/// Everything up to the end of the archives: network to files.
fn transfer<'t>(
    backup: &mut BaseBackup<'_>,
    targets: &'t ExtractTargets,
    own: Option<OwnWriter>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Writer<'t>, ExtractError> {
    let (full_sender, full) = mpsc::sync_channel::<Block>(QUEUE);
    let (sync_sender, sync) = sync::queue();
    let spares = Spares::default();
    let mut writer = Writer::new(backup, targets, own, sync_sender);
    let mut source = Source::new(full, &spares);
    std::thread::scope(|scope| {
        let spawn_failed = |source| file_error("start a thread for", &targets.data)(source);
        let syncer = std::thread::Builder::new()
            .name("backup-sync".to_owned())
            .spawn_scoped(scope, move || sync::work(&sync))
            .map_err(spawn_failed)?;
        let writer = std::thread::Builder::new()
            .name("backup-write".to_owned())
            .spawn_scoped(scope, move || {
                let outcome = writer.consume(&mut source);
                drop(source);
                // Ends the syncing thread.
                writer.sync = None;
                outcome.map(|()| writer)
            })
            .map_err(spawn_failed)?;
        let read = read_all(backup, &full_sender, &spares, progress);
        drop(full_sender);
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(ExtractError::Archive("the writer failed".to_owned())));
        let synced = syncer.join().unwrap_or(Ok(()));
        // The writer's failure is the cause of the reader's, which only finds nobody listening.
        match (read, written) {
            (Ok(()), Ok(writer)) => synced.map(|()| writer).map_err(ExtractError::from),
            (Err(ReadEnded::Failed(error)), Ok(_)) => Err(error.into()),
            (Err(ReadEnded::NobodyListens), Ok(_)) => {
                Err(ExtractError::Archive("the writer ended early".to_owned()))
            }
            (Err(ReadEnded::Failed(error)), Err(_)) if error.is_interrupted() => Err(error.into()),
            (_, Err(error)) => Err(error),
        }
    })
}

enum ReadEnded {
    Failed(Error),
    NobodyListens,
}

fn read_all(
    backup: &mut BaseBackup<'_>,
    full: &SyncSender<Block>,
    spares: &Spares,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), ReadEnded> {
    while let Some(block) = backup.next_block(spares.take()).map_err(ReadEnded::Failed)? {
        progress(backup.sent());
        full.send(block).map_err(|_| ReadEnded::NobodyListens)?;
    }
    Ok(())
}
