//! The writer: archives in, files, directories and links out. It never writes outside the directories that it is given.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use barman_wal::durable::AtomicFile;
use barman_wal::manifest::{Algorithm, Hasher};

use super::source::Source;
use super::sync::{Job, PORTION, SYNC_EARLY};
use super::{ExtractError, ExtractTargets, MANIFEST, TABLESPACE_MAP, file_error};
use crate::basebackup::manifest::{FileSet, OwnWriter};
use crate::basebackup::tar::{Member, MemberKind, TarEvent, TarParser};
use crate::basebackup::{ArchiveKind, BaseBackup, CompressionMethod, Piece, decompress};

/// Pieces of a file that are written with one call.
const GATHER: usize = 64;
/// What is decompressed at once.
const PLAIN: usize = 128 * 1024;
/// More tablespaces than anybody creates while a backup runs.
const NEW_TABLESPACES: usize = 10_000;

/// The file that is being written.
struct Open {
    file: Arc<File>,
    path: PathBuf,
    /// Its name in the manifest.
    name: PathBuf,
    size: u64,
    mode: u32,
    modified: u64,
    hasher: Hasher,
    /// Bytes written so far, and how many of them the disk was told of.
    written: u64,
    handed: u64,
}

/// Where the members of an archive go: a directory, and the prefix of its files in the manifest.
struct Root {
    directory: PathBuf,
    prefix: PathBuf,
}

/// What the current archive is.
enum Sink {
    None,
    Tar { parser: Box<TarParser>, root: Root },
    Manifest,
}

/// See the module.
pub(super) struct Writer<'t> {
    targets: &'t ExtractTargets,
    compression: Option<CompressionMethod>,
    checksums: Algorithm,
    /// The server marks the end of each archive, and leaves an old manifest in its data directory out.
    marks_end: bool,
    leaves_manifest_out: bool,
    known_tablespaces: Vec<u32>,
    /// Gone when everything has been written, which ends the syncing thread.
    pub(super) sync: Option<SyncSender<Job>>,
    pub(super) own: Option<OwnWriter>,
    open: Option<Open>,
    /// The content of a member that is not kept is read over.
    skipping: bool,
    pub(super) set: FileSet,
    pub(super) main_complete: bool,
    /// The server's manifest. It gets its name when everything that it lists is there and has been compared.
    pub(super) manifest: Option<AtomicFile>,
    pub(super) new_tablespaces: Vec<u32>,
}

impl<'t> Writer<'t> {
    pub(super) fn new(
        backup: &BaseBackup<'_>,
        targets: &'t ExtractTargets,
        own: Option<OwnWriter>,
        sync: SyncSender<Job>,
    ) -> Self {
        Self {
            targets,
            compression: backup.compression(),
            checksums: backup.manifest().algorithm(),
            marks_end: backup.version().at_least(15),
            leaves_manifest_out: backup.version().at_least(13),
            known_tablespaces: backup.tablespaces().iter().map(|one| one.oid).collect(),
            sync: Some(sync),
            own,
            open: None,
            skipping: false,
            set: FileSet::new(),
            main_complete: false,
            manifest: None,
            new_tablespaces: Vec::new(),
        }
    }

    /// Writes everything that comes. When the reader ends early, this ends without an error: the reader has it.
    pub(super) fn consume(&mut self, source: &mut Source<'_>) -> Result<(), ExtractError> {
        let mut sink = Sink::None;
        loop {
            if let (Sink::Tar { parser, root }, Some(method)) = (&mut sink, self.compression) {
                let outcome = self.decompress(method, source, parser, root);
                if source.is_cut() {
                    return Ok(());
                }
                outcome?;
                self.close(std::mem::replace(&mut sink, Sink::None))?;
            }
            let Some((pieces, data)) = source.block() else {
                return Ok(());
            };
            let mut taken = 0;
            let mut gathered = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Begin(kind) => {
                        self.close(std::mem::replace(&mut sink, Sink::None))?;
                        sink = self.begin(kind)?;
                    }
                    Piece::End => {
                        self.close(std::mem::replace(&mut sink, Sink::None))?;
                        return Ok(());
                    }
                    Piece::Data(range) => {
                        let bytes = data.get(range.clone()).unwrap_or_default();
                        match &mut sink {
                            Sink::None => {
                                return Err(ExtractError::Archive("data outside an archive".to_owned()));
                            }
                            Sink::Manifest => self.add_to_manifest(bytes)?,
                            Sink::Tar { parser, root } => {
                                parser.push(bytes, &mut |event| self.event(event, root, &mut gathered))?;
                            }
                        }
                    }
                }
                taken += 1;
                if self.compression.is_some() && matches!(sink, Sink::Tar { .. }) {
                    break;
                }
            }
            self.write(&mut gathered)?;
            source.took(taken);
        }
    }

    /// Takes one compressed archive from the source.
    fn decompress(
        &mut self,
        method: CompressionMethod,
        source: &mut Source<'_>,
        parser: &mut TarParser,
        root: &Root,
    ) -> Result<(), ExtractError> {
        let mut plain = decompress::decoder(method, source.archive()).map_err(ExtractError::Decompression)?;
        let mut buffer = vec![0; PLAIN];
        loop {
            let length = match plain.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ExtractError::Decompression(error)),
            };
            let mut gathered = Vec::new();
            let bytes = buffer.get(..length).unwrap_or_default();
            parser.push(bytes, &mut |event| self.event(event, root, &mut gathered))?;
            self.write(&mut gathered)?;
        }
        drop(plain);
        // What follows a complete stream is none of it.
        match io::copy(&mut source.archive(), &mut io::sink()) {
            Ok(0) => Ok(()),
            _ => Err(ExtractError::Archive(
                "data after the end of the compressed archive".to_owned(),
            )),
        }
    }

    fn begin(&mut self, kind: &ArchiveKind) -> Result<Sink, ExtractError> {
        let root = match kind {
            ArchiveKind::Main => {
                self.main_complete = false;
                Root {
                    directory: self.targets.data.clone(),
                    prefix: PathBuf::new(),
                }
            }
            ArchiveKind::Tablespace { oid } => {
                let prefix = Path::new("pg_tblspc").join(oid.to_string());
                let directory = match self.targets.tablespaces.get(oid) {
                    Some(directory) => directory.clone(),
                    // One inside the data directory: its archive comes before the data directory's.
                    None => {
                        let directory = self.targets.data.join(&prefix);
                        std::fs::DirBuilder::new()
                            .recursive(true)
                            .mode(0o700)
                            .create(&directory)
                            .map_err(file_error("create directory", &directory))?;
                        directory
                    }
                };
                Root { directory, prefix }
            }
            ArchiveKind::Manifest => {
                let path = self.targets.data.join(MANIFEST);
                self.manifest = Some(AtomicFile::create(&path, 0o600)?);
                return Ok(Sink::Manifest);
            }
        };
        Ok(Sink::Tar {
            parser: Box::new(TarParser::new()),
            root,
        })
    }

    fn add_to_manifest(&self, bytes: &[u8]) -> Result<(), ExtractError> {
        let Some(manifest) = &self.manifest else {
            return Err(ExtractError::Archive("data outside an archive".to_owned()));
        };
        let mut file = manifest.file();
        file.write_all(bytes)
            .map_err(file_error("write", manifest.target()))
    }

    fn event<'a>(
        &mut self,
        event: TarEvent<'a>,
        root: &Root,
        gathered: &mut Vec<IoSlice<'a>>,
    ) -> Result<(), ExtractError> {
        match event {
            TarEvent::Member(member) => self.member(&member, root),
            TarEvent::Data(_) if self.skipping => Ok(()),
            TarEvent::Data(bytes) => {
                let Some(open) = &mut self.open else {
                    return Err(ExtractError::Archive("content without a file".to_owned()));
                };
                open.hasher.update(bytes);
                gathered.push(IoSlice::new(bytes));
                if gathered.len() >= GATHER {
                    self.write(gathered)?;
                }
                Ok(())
            }
            TarEvent::EndOfFile => {
                self.write(gathered)?;
                self.skipping = false;
                match self.open.take() {
                    Some(open) => self.file_complete(open),
                    None => Ok(()),
                }
            }
        }
    }

    /// Writes what was gathered to the open file; `gathered` is empty afterwards.
    fn write(&mut self, gathered: &mut Vec<IoSlice<'_>>) -> Result<(), ExtractError> {
        if gathered.is_empty() {
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            return Err(ExtractError::Archive("content without a file".to_owned()));
        };
        let mut file = &*open.file;
        let mut rest = gathered.as_mut_slice();
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => {
                    return Err(file_error("write", &open.path)(io::ErrorKind::WriteZero.into()));
                }
                Ok(length) => {
                    open.written += length as u64;
                    IoSlice::advance_slices(&mut rest, length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file_error("write", &open.path)(error)),
            }
        }
        gathered.clear();
        if let Some(sync) = &self.sync
            && let Some(length) = NonZeroU64::new(open.written.saturating_sub(open.handed))
            && length.get() >= PORTION
        {
            let job = Job::WriteBack {
                file: Arc::clone(&open.file),
                from: open.handed,
                length,
            };
            // A busy disk is not pressed: the portion grows.
            if sync.try_send(job).is_ok() {
                open.handed = open.written;
            }
        }
        Ok(())
    }

    fn file_complete(&mut self, open: Open) -> Result<(), ExtractError> {
        let checksum = open.hasher.finish();
        self.set.add(&open.name, open.size, checksum.as_ref());
        if let Some(own) = &mut self.own {
            own.add(&open.name, open.size, open.modified, checksum)
                .map_err(file_error("list in the manifest", &open.path))?;
        }
        // Created 0600; most files are just that.
        if open.mode != 0o600 {
            let mode = std::fs::Permissions::from_mode(open.mode);
            open.file
                .set_permissions(mode)
                .map_err(file_error("change the mode of", &open.path))?;
        }
        if open.size >= SYNC_EARLY
            && let Some(sync) = &self.sync
        {
            // A busy syncer leaves the file to the sync at the end.
            let _ = sync.try_send(Job::Sync {
                file: open.file,
                path: open.path,
            });
        }
        Ok(())
    }

    fn member(&mut self, member: &Member, root: &Root) -> Result<(), ExtractError> {
        let path = root.directory.join(&member.path);
        let main = root.prefix.as_os_str().is_empty();
        let in_tablespace = if main { tablespace_of(&member.path)? } else { None };
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
                Some((oid, Below::Itself)) => self.link(oid, path),
                _ => Err(ExtractError::Archive(format!(
                    "member \"{}\" is a link but not one of a tablespace",
                    member.path.display()
                ))),
            },
            MemberKind::File => {
                if main && member.path == Path::new(MANIFEST) {
                    if self.leaves_manifest_out {
                        return Err(ExtractError::Archive(
                            "a backup_manifest inside the data directory".to_owned(),
                        ));
                    }
                    // Left by the backup that the server was restored from: it tells nothing of this one.
                    self.skipping = true;
                    return Ok(());
                }
                if main && member.path == Path::new(TABLESPACE_MAP) {
                    self.skipping = true;
                    return self.make_links_of_map();
                }
                self.open = Some(Open {
                    file: Arc::new(create(&path)?),
                    name: root.prefix.join(&member.path),
                    path,
                    size: member.size,
                    mode: member.mode & 0o777,
                    modified: member.modified,
                    hasher: Hasher::new(self.checksums),
                    written: 0,
                    handed: 0,
                });
                Ok(())
            }
        }
    }

    /// The link of a tablespace leads to the directory that was given for it, never to where the server's leads.
    fn link(&mut self, oid: u32, path: PathBuf) -> Result<(), ExtractError> {
        if let Some(target) = self.targets.tablespaces.get(&oid) {
            return std::os::unix::fs::symlink(target, &path).map_err(file_error("create link", &path));
        }
        if self.known_tablespaces.contains(&oid) || self.new_tablespaces.len() >= NEW_TABLESPACES {
            return Err(ExtractError::UnknownTablespace { oid, location: path });
        }
        // Created after the server made its list. Nothing of it is sent; replay of WAL creates it, with its link.
        log::warn!(target: "barman.postgres", "tablespace {oid} was created during the base backup");
        self.new_tablespaces.push(oid);
        Ok(())
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

    fn close(&mut self, sink: Sink) -> Result<(), ExtractError> {
        let Sink::Tar { parser, root } = sink else {
            return Ok(());
        };
        if !parser.is_complete() || self.open.is_some() || (self.marks_end && !parser.is_marked()) {
            return Err(ExtractError::Archive(
                "it ends in the middle of a file".to_owned(),
            ));
        }
        self.main_complete |= root.prefix.as_os_str().is_empty();
        Ok(())
    }
}

/// Where below a tablespace's entry in `pg_tblspc` a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Itself,
    Deeper,
}

/// Which tablespace's link (or what below it) a member of the data directory is.
fn tablespace_of(path: &Path) -> Result<Option<(u32, Below)>, ExtractError> {
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
