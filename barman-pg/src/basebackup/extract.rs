//! Extraction of a base backup into directories, as `pg_basebackup --format=plain` leaves them: files and modes of the
//! server, links in `pg_tblspc`, no `tablespace_map`. What arrives is compared with the server's manifest.
//!
//! Three threads: the caller's reads the network, one parses and writes, one makes finished big files durable early.
//! Memory is bounded by the blocks between them. When [`extract`] returns, everything is on stable storage.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use barman_wal::durable::{self, DurableError};
use barman_wal::manifest::{self, Algorithm, Hasher, ManifestError};

use super::manifest::FileSet;
use super::tar::{Member, MemberKind, TarEvent, TarParser};
use super::{ArchiveKind, BackupEnd, BackupPosition, BaseBackup, Block, Piece};
use crate::error::Error;

/// Blocks (256 KiB each) between reader and writer.
const QUEUE: usize = 24;
/// Files from this size on are made durable as soon as they are complete.
const SYNC_EARLY: u64 = 256 * 1024;
/// Threads of the final sync. Big files are durable by then, and more threads only fight for the journal's lock.
const SYNC_THREADS: usize = 2;

const MANIFEST: &str = "backup_manifest";
const TABLESPACE_MAP: &str = "tablespace_map";

/// Where the parts of a backup go. The directories must exist and be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtractTargets {
    /// The data directory.
    pub data: PathBuf,
    /// Each tablespace with a location of its own, by object id.
    pub tablespaces: BTreeMap<u32, PathBuf>,
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

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ExtractError + 'a {
    move |source| ExtractError::File {
        action,
        path: path.to_path_buf(),
        source,
    }
}

/// Receives the whole backup into `targets` and makes it durable. `progress` is told the bytes received so far.
///
/// # Errors
/// See [`ExtractError`]; whatever the failure, the backup in `targets` is not complete.
pub fn extract(
    mut backup: BaseBackup<'_>,
    targets: &ExtractTargets,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExtractReport, ExtractError> {
    for tablespace in backup.tablespaces() {
        if tablespace.location.is_absolute() && !targets.tablespaces.contains_key(&tablespace.oid) {
            return Err(ExtractError::UnknownTablespace {
                oid: tablespace.oid,
                location: tablespace.location.clone(),
            });
        }
    }
    let start = backup.start();
    let (full_sender, full) = mpsc::sync_channel::<Block>(QUEUE);
    let (empty_sender, empty) = mpsc::channel::<Vec<u8>>();
    let (sync_sender, sync) = mpsc::sync_channel::<(File, PathBuf)>(16);
    let received = AtomicU64::new(0);

    let writer = std::thread::scope(|scope| {
        let spawn_failed = file_error("start a thread for", &targets.data);
        let syncer = std::thread::Builder::new()
            .name("backup-sync".to_owned())
            .spawn_scoped(scope, move || sync_early(&sync));
        let writer = std::thread::Builder::new()
            .name("backup-write".to_owned())
            .spawn_scoped(scope, || {
                let mut writer = Writer::new(targets, sync_sender);
                let outcome = writer.consume(&full, &empty_sender);
                drop(full);
                // Ends the syncing thread.
                writer.sync = None;
                outcome.map(|()| writer)
            });
        let (Ok(syncer), Ok(writer)) = (syncer, writer) else {
            return Err(spawn_failed(io::Error::other("no thread")));
        };
        let read = read_all(&mut backup, &full_sender, &empty, &received, progress);
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
    })?;
    let stop = backup.interrupt();
    let end = backup.finish()?;
    let verified = writer.complete(stop.as_deref())?;
    Ok(ExtractReport {
        start,
        end,
        files: writer.set.files,
        bytes: writer.set.bytes,
        verified,
    })
}

enum ReadEnded {
    Failed(Error),
    NobodyListens,
}

fn read_all(
    backup: &mut BaseBackup<'_>,
    full: &SyncSender<Block>,
    empty: &Receiver<Vec<u8>>,
    received: &AtomicU64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), ReadEnded> {
    loop {
        let spare = empty.try_recv().unwrap_or_default();
        let Some(block) = backup.next_block(spare).map_err(ReadEnded::Failed)? else {
            return Ok(());
        };
        let total = received.fetch_add(block.data.len() as u64, Ordering::Relaxed) + block.data.len() as u64;
        progress(total);
        full.send(block).map_err(|_| ReadEnded::NobodyListens)?;
    }
}

/// Makes finished files durable while the next ones arrive. Small ones are left to the sync at the end.
fn sync_early(files: &Receiver<(File, PathBuf)>) -> Result<(), DurableError> {
    let mut outcome = Ok(());
    for (file, path) in files {
        if outcome.is_ok() {
            outcome = durable::fsync_open(&file, &path);
        }
    }
    outcome
}

/// The file that is being written.
struct Open {
    file: File,
    path: PathBuf,
    /// Its name in the manifest.
    name: PathBuf,
    size: u64,
    mode: u32,
    hasher: Hasher,
}

/// What the current archive is and where its members go.
enum Sink {
    None,
    /// A directory, and the prefix of its files in the manifest.
    Tar {
        parser: Box<TarParser>,
        root: PathBuf,
        prefix: PathBuf,
    },
    Manifest(File),
}

struct Writer<'t> {
    targets: &'t ExtractTargets,
    /// Gone when everything has been written, which ends the syncing thread.
    sync: Option<SyncSender<(File, PathBuf)>>,
    sink: Sink,
    open: Option<Open>,
    /// The content of a `tablespace_map` is read over.
    skipping: bool,
    set: FileSet,
    main_complete: bool,
    has_manifest: bool,
}

impl<'t> Writer<'t> {
    fn new(targets: &'t ExtractTargets, sync: SyncSender<(File, PathBuf)>) -> Self {
        Self {
            targets,
            sync: Some(sync),
            sink: Sink::None,
            open: None,
            skipping: false,
            set: FileSet::new(),
            main_complete: false,
            has_manifest: false,
        }
    }

    fn consume(&mut self, full: &Receiver<Block>, empty: &mpsc::Sender<Vec<u8>>) -> Result<(), ExtractError> {
        for block in full {
            for piece in block.pieces {
                match piece {
                    Piece::Begin(kind) => {
                        self.close_archive()?;
                        self.begin(&kind)?;
                    }
                    Piece::Data(range) => self.data(block.data.get(range).unwrap_or_default())?,
                    Piece::End => self.close_archive()?,
                }
            }
            // Nobody takes it when the reader has ended.
            let _ = empty.send(block.data);
        }
        Ok(())
    }

    fn begin(&mut self, kind: &ArchiveKind) -> Result<(), ExtractError> {
        self.sink = match kind {
            ArchiveKind::Main => {
                self.main_complete = false;
                Sink::Tar {
                    parser: Box::new(TarParser::new()),
                    root: self.targets.data.clone(),
                    prefix: PathBuf::new(),
                }
            }
            ArchiveKind::Tablespace { oid } => {
                let prefix = Path::new("pg_tblspc").join(oid.to_string());
                let root = match self.targets.tablespaces.get(oid) {
                    Some(root) => root.clone(),
                    // One inside the data directory: its archive comes before the data directory's.
                    None => {
                        let root = self.targets.data.join(&prefix);
                        std::fs::DirBuilder::new()
                            .recursive(true)
                            .mode(0o700)
                            .create(&root)
                            .map_err(file_error("create directory", &root))?;
                        root
                    }
                };
                Sink::Tar {
                    parser: Box::new(TarParser::new()),
                    root,
                    prefix,
                }
            }
            ArchiveKind::Manifest => {
                let path = self.targets.data.join(MANIFEST);
                self.has_manifest = true;
                Sink::Manifest(create(&path)?)
            }
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        match std::mem::replace(&mut self.sink, Sink::None) {
            Sink::None => return Err(ExtractError::Archive("data outside an archive".to_owned())),
            Sink::Manifest(mut file) => {
                let path = self.targets.data.join(MANIFEST);
                file.write_all(bytes).map_err(file_error("write", &path))?;
                self.sink = Sink::Manifest(file);
            }
            Sink::Tar {
                mut parser,
                root,
                prefix,
            } => {
                parser.push(bytes, &mut |event| self.event(event, &root, &prefix))?;
                self.sink = Sink::Tar { parser, root, prefix };
            }
        }
        Ok(())
    }

    fn event(&mut self, event: TarEvent<'_>, root: &Path, prefix: &Path) -> Result<(), ExtractError> {
        match event {
            TarEvent::Member(member) => self.member(&member, root, prefix),
            TarEvent::Data(bytes) => {
                if self.skipping {
                    return Ok(());
                }
                let Some(open) = &mut self.open else {
                    return Err(ExtractError::Archive("content without a file".to_owned()));
                };
                open.hasher.update(bytes);
                open.file
                    .write_all(bytes)
                    .map_err(file_error("write", &open.path))
            }
            TarEvent::EndOfFile => {
                self.skipping = false;
                let Some(open) = self.open.take() else {
                    return Ok(());
                };
                self.set.add(&open.name, open.size, open.hasher.finish().as_ref());
                // Created 0600; most files are just that.
                if open.mode != 0o600 {
                    let mode = std::fs::Permissions::from_mode(open.mode);
                    open.file
                        .set_permissions(mode)
                        .map_err(file_error("change the mode of", &open.path))?;
                }
                if open.size >= SYNC_EARLY {
                    // A busy syncer leaves the file to the sync at the end.
                    if let Some(sync) = &self.sync {
                        let _ = sync.try_send((open.file, open.path));
                    }
                }
                Ok(())
            }
        }
    }

    fn member(&mut self, member: &Member, root: &Path, prefix: &Path) -> Result<(), ExtractError> {
        let path = root.join(&member.path);
        let main = prefix.as_os_str().is_empty();
        let in_tablespace = if main {
            self.tablespace_of(&member.path)?
        } else {
            None
        };
        if let Some((oid, Below::Deeper)) = in_tablespace
            && self.targets.tablespaces.contains_key(&oid)
        {
            return Err(ExtractError::Archive(format!(
                "member \"{}\" of the data directory is inside a tablespace",
                member.path.display()
            )));
        }
        match member.kind {
            MemberKind::Directory => make_directory(&path, member.mode),
            MemberKind::Link(_) => match in_tablespace {
                Some((oid, Below::Itself)) => match self.targets.tablespaces.get(&oid) {
                    Some(target) => {
                        std::os::unix::fs::symlink(target, &path).map_err(file_error("create link", &path))
                    }
                    None => Err(ExtractError::UnknownTablespace { oid, location: path }),
                },
                _ => Err(ExtractError::Archive(format!(
                    "member \"{}\" is a link but not one of a tablespace",
                    member.path.display()
                ))),
            },
            MemberKind::File => {
                if main && member.path == Path::new(MANIFEST) {
                    return Err(ExtractError::Archive(
                        "a backup_manifest inside the data directory".to_owned(),
                    ));
                }
                if main && member.path == Path::new(TABLESPACE_MAP) {
                    self.skipping = true;
                    return self.make_links_of_map();
                }
                let name = prefix.join(&member.path);
                self.open = Some(Open {
                    file: create(&path)?,
                    path,
                    name,
                    size: member.size,
                    mode: member.mode & 0o777,
                    hasher: Hasher::new(Algorithm::Crc32c),
                });
                Ok(())
            }
        }
    }

    /// Which tablespace's link (or what below it) a member of the data directory is.
    fn tablespace_of(&self, path: &Path) -> Result<Option<(u32, Below)>, ExtractError> {
        let mut components = path.components();
        if components.next() != Some(Component::Normal("pg_tblspc".as_ref())) {
            return Ok(None);
        }
        let Some(Component::Normal(name)) = components.next() else {
            return Ok(None);
        };
        let Some(oid) = name.to_str().and_then(|name| name.parse().ok()) else {
            return Err(ExtractError::Archive(format!(
                "member \"{}\" is no tablespace",
                path.display()
            )));
        };
        Ok(Some((
            oid,
            if components.next().is_some() {
                Below::Deeper
            } else {
                Below::Itself
            },
        )))
    }

    /// A `tablespace_map` stands for the links that are then not in the archive.
    fn make_links_of_map(&self) -> Result<(), ExtractError> {
        let directory = self.targets.data.join("pg_tblspc");
        make_directory(&directory, 0o700)?;
        for (oid, target) in &self.targets.tablespaces {
            let link = directory.join(oid.to_string());
            std::os::unix::fs::symlink(target, &link).map_err(file_error("create link", &link))?;
        }
        Ok(())
    }

    fn close_archive(&mut self) -> Result<(), ExtractError> {
        match std::mem::replace(&mut self.sink, Sink::None) {
            Sink::None | Sink::Manifest(_) => Ok(()),
            Sink::Tar { parser, prefix, .. } => {
                if !parser.is_complete() || self.open.is_some() {
                    return Err(ExtractError::Archive(
                        "it ends in the middle of a file".to_owned(),
                    ));
                }
                self.main_complete |= prefix.as_os_str().is_empty();
                Ok(())
            }
        }
    }

    /// Compares with the manifest and makes everything durable. True if there was a manifest.
    fn complete(&self, stop: Option<&AtomicBool>) -> Result<bool, ExtractError> {
        if !self.main_complete {
            return Err(ExtractError::Archive("the data directory is missing".to_owned()));
        }
        if self.has_manifest {
            self.verify()?;
        }
        for root in self.targets.tablespaces.values().chain([&self.targets.data]) {
            durable::sync_tree(root, SYNC_THREADS, stop)?;
        }
        Ok(self.has_manifest)
    }

    fn verify(&self) -> Result<(), ExtractError> {
        let path = self.targets.data.join(MANIFEST);
        let open = || {
            File::open(&path)
                .map(BufReader::new)
                .map_err(file_error("read", &path))
        };
        let mut sent = self.set.sibling();
        let summary = manifest::read(open()?, |file| {
            // We do not keep it, see `make_links_of_map`.
            if file.path != Path::new(TABLESPACE_MAP) {
                sent.add(&file.path, file.size, file.checksum.as_ref());
            }
            Ok::<(), String>(())
        });
        summary.map_err(|error| ExtractError::Manifest(error.to_string()))?;
        if sent.equals(&self.set) {
            return Ok(());
        }
        // Something differs: now it is worth reading the files again to say what.
        let found = manifest::read(open()?, |file| self.compare(&file));
        Err(ExtractError::Mismatch(match found {
            Err(ManifestError::Callback(what)) => what,
            Err(other) => other.to_string(),
            Ok(_) => format!("{} files were sent and {} received", sent.files, self.set.files),
        }))
    }

    fn compare(&self, file: &manifest::ManifestFile) -> Result<(), String> {
        if file.path == Path::new(TABLESPACE_MAP) {
            return Ok(());
        }
        let shown = file.path.display();
        let path = self.targets.data.join(&file.path);
        let mut content = File::open(&path).map_err(|error| format!("\"{shown}\" is missing: {error}"))?;
        let length = content
            .metadata()
            .map_err(|error| format!("\"{shown}\": {error}"))?
            .len();
        if length != file.size {
            return Err(format!("\"{shown}\" has {length} bytes, {} were sent", file.size));
        }
        let Some(checksum) = &file.checksum else {
            return Ok(());
        };
        let mut hasher = Hasher::new(checksum.algorithm);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let length =
                io::Read::read(&mut content, &mut buffer).map_err(|error| format!("\"{shown}\": {error}"))?;
            match buffer.get(..length) {
                None | Some([]) => break,
                Some(bytes) => hasher.update(bytes),
            }
        }
        if hasher.finish().as_ref() == Some(checksum) {
            Ok(())
        } else {
            Err(format!("\"{shown}\" does not have the checksum that was sent"))
        }
    }
}

/// Where below a tablespace's entry in `pg_tblspc` a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Itself,
    Deeper,
}

/// A new file; one that exists, or a link in its place, is an error.
fn create(path: &Path) -> Result<File, ExtractError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(file_error("create", path))
}

/// A directory with this mode; it may exist already, as a directory and not through a link.
fn make_directory(path: &Path, mode: u32) -> Result<(), ExtractError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = std::fs::symlink_metadata(path).map_err(file_error("look at", path))?;
            if !metadata.is_dir() {
                return Err(file_error("create directory", path)(error));
            }
        }
        Err(error) => return Err(file_error("create directory", path)(error)),
    }
    if mode != 0o700 {
        let mode = std::fs::Permissions::from_mode(mode & 0o777);
        std::fs::set_permissions(path, mode).map_err(file_error("change the mode of", path))?;
    }
    Ok(())
}
