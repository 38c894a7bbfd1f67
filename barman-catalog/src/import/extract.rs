//! From the archive into the staging directory, in one pass that also computes the checksum of the file.
//!
//! An archive may be a bomb: a few bytes that decompress to more than the disk has. What it may have is bounded by what
//! an export has: small files of metadata, in `backup/` not much more than `backup.info` tells (which comes first in
//! every export), WAL files no bigger than a segment; and nothing is written for which there is no room, with a
//! segment's worth left for the WAL that arrives meanwhile.

use super::error::ImportError;
use super::place::{Place, place};
use crate::backup_info::{BackupInfo, BackupStatus};
use crate::export::DEPTH;
use crate::identity::Identity;
use crate::ids::BackupId;
use crate::layout::Layout;
use crate::tarball::{Kind, Member, TarError, TarReader, decompressor};
use crate::xlogdb::XlogDb;
use barman_wal::codec::{Decoder, first_bytes};
use barman_wal::{WalFileName, durable};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// How much is read at a time, bytes.
const BUFFER: usize = 256 << 10;
/// No file of metadata is larger, bytes.
const METADATA_LIMIT: u64 = 64 << 20;
/// What a backup may have beyond what its `backup.info` tells: a manifest is made after its size is measured.
const BACKUP_SLACK: u64 = 1 << 30;
/// What compression and encryption may add to a segment.
const WAL_SLACK: u64 = 1 << 20;
/// No backup has more files and directories.
const MEMBER_LIMIT: u64 = 50_000_000;
/// No backup has more directories: their names are kept.
const DIRECTORY_LIMIT: usize = 1_000_000;
/// Nor are their names longer together, bytes.
const NAMES_LIMIT: usize = 256 << 20;
/// What is passed over, bytes in all.
const SKIPPED_LIMIT: u64 = 1 << 30;
/// Room is asked for again after so many bytes.
const ROOM_EVERY: u64 = 64 << 20;

/// What was extracted.
pub(super) struct Extracted {
    /// The metadata of the backup.
    pub(super) info: BackupInfo,
    /// Lines of the WAL files, sorted.
    pub(super) lines: XlogDb,
    /// WAL files that were extracted, with their sizes.
    pub(super) wal: BTreeMap<WalFileName, u64>,
    /// The cluster of the backup.
    pub(super) identity: Identity,
    /// Whether the data directory had links to its tablespaces.
    pub(super) linked: bool,
    /// The SHA-256 of the file, hexadecimal.
    pub(super) sha256: String,
}

/// What extraction gets from its caller.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tarball: &'a Path,
    pub(super) id: BackupId,
    /// The cluster of this server.
    pub(super) own: &'a Identity,
    pub(super) cancel: Option<&'a AtomicBool>,
    /// Is told of the bytes of the file that have been read.
    pub(super) done: &'a dyn Fn(u64),
}

/// Where things are in a staging directory.
pub(super) fn staged_backup(staging: &Path) -> PathBuf {
    staging.join("backup")
}

pub(super) fn staged_wal(staging: &Path, name: &WalFileName) -> PathBuf {
    staging.join("wals").join(name.to_string())
}

/// Hashes what is read.
struct Hashed<'a> {
    file: File,
    hash: Sha256,
    done: &'a dyn Fn(u64),
}

impl<'a> Hashed<'a> {
    fn open(source: Source<'a>) -> Result<Self, ImportError> {
        Ok(Self {
            file: durable::open_file(source.tarball).map_err(ImportError::io("open", source.tarball))?,
            hash: Sha256::new(),
            done: source.done,
        })
    }

    /// Reads what is left of the file, and tells the checksum of all of it.
    fn rest(mut self, source: Source<'_>, buffer: &mut [u8]) -> Result<String, ImportError> {
        loop {
            unless_cancelled(source.cancel)?;
            match self.read(buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ImportError::io("read", source.tarball)(e)),
            }
        }
        let digest = self.hash.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        (self.done)(count as u64);
        Ok(count)
    }
}

type Archive<'a, 'h> = TarReader<BufReader<Decoder<&'h mut Hashed<'a>>>>;

fn unless_cancelled(cancel: Option<&AtomicBool>) -> Result<(), ImportError> {
    if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err(ImportError::Interrupted);
    }
    Ok(())
}

/// The SHA-256 of the file, hexadecimal.
pub(super) fn checksum(source: Source<'_>) -> Result<String, ImportError> {
    Hashed::open(source)?.rest(source, &mut vec![0; BUFFER])
}

/// Extracts the file into `staging`, an empty directory.
pub(super) fn extract(source: Source<'_>, staging: &Path) -> Result<Extracted, ImportError> {
    let mut extraction = Extraction {
        source,
        staging,
        buffer: vec![0; BUFFER],
        free: 0,
        since: u64::MAX,
        members: 0,
        skipped: 0,
        in_backup: 0,
        identity: None,
        info: None,
        lines: None,
        has_backup: false,
        has_wals: false,
        linked: false,
        wal: BTreeMap::new(),
        directories: BTreeMap::new(),
        names: 0,
    };
    let mut file = Hashed::open(source)?;
    let cannot_read = || ImportError::io("read", source.tarball);
    let first = first_bytes(&file.file).map_err(cannot_read())?;
    let input = decompressor(&first, &mut file).map_err(|e| cannot_read()(e.into()))?;
    let mut archive = TarReader::new(BufReader::with_capacity(BUFFER, input));
    while let Some(member) = archive.next().map_err(|e| extraction.broken(e))? {
        unless_cancelled(source.cancel)?;
        extraction.take(&mut archive, &member)?;
    }
    if !archive.is_marked() {
        return Err(extraction.broken(TarError::Truncated));
    }
    // Filling behind the end of the archive.
    let mut filling = archive.into_inner().take(BUFFER as u64 * 4);
    io::copy(&mut filling, &mut io::sink()).map_err(|e| extraction.broken(e.into()))?;
    let sha256 = file.rest(source, &mut extraction.buffer)?;
    extraction.finish(sha256)
}

/// An extraction under way.
struct Extraction<'a> {
    source: Source<'a>,
    staging: &'a Path,
    buffer: Vec<u8>,
    /// Free bytes when they were last asked for, and how many have been written since.
    free: u64,
    since: u64,
    members: u64,
    skipped: u64,
    in_backup: u64,
    identity: Option<Identity>,
    info: Option<BackupInfo>,
    lines: Option<XlogDb>,
    has_backup: bool,
    has_wals: bool,
    linked: bool,
    wal: BTreeMap<WalFileName, u64>,
    /// Directories of the backup that were made, with the modes they are to have.
    directories: BTreeMap<PathBuf, u32>,
    /// The bytes of their names.
    names: usize,
}

impl Extraction<'_> {
    fn broken(&self, source: TarError) -> ImportError {
        ImportError::Tar {
            path: self.source.tarball.to_path_buf(),
            source,
        }
    }

    fn take(&mut self, archive: &mut Archive<'_, '_>, member: &Member) -> Result<(), ImportError> {
        let name = || String::from_utf8_lossy(&member.name).into_owned();
        self.members += 1;
        if self.members > MEMBER_LIMIT {
            return Err(too_much(format!("more than {MEMBER_LIMIT} members")));
        }
        let place = place(&member.name, member.kind)?;
        if let Place::Directory(path) | Place::File(path) = &place
            && path.components().count() > DEPTH
        {
            return Err(too_much(format!("more than {DEPTH} directories in each other")));
        }
        match place {
            Place::Identity => {
                if self.identity.is_some() {
                    return Err(ImportError::Twice { name: name() });
                }
                let content = self.metadata(archive, member)?;
                let identity =
                    Identity::from_json(&content).map_err(|reason| ImportError::Identity { reason })?;
                check_cluster(identity.systemid.as_deref(), self.source.own)?;
                self.identity = Some(identity);
            }
            Place::BackupInfo => {
                if self.info.is_some() {
                    return Err(ImportError::Twice { name: name() });
                }
                let content = self.metadata(archive, member)?;
                let (layout, id) = (self.source.layout, self.source.id);
                let info = BackupInfo::parse(id, layout.server(), &content)
                    .map_err(|source| ImportError::Info { source })?;
                if info.is_incremental() {
                    return Err(ImportError::Incremental {
                        id,
                        server: layout.server().to_owned(),
                    });
                }
                if info.status != BackupStatus::Done {
                    return Err(ImportError::Status {
                        id,
                        server: layout.server().to_owned(),
                        status: info.status,
                    });
                }
                if info.systemid.is_some() {
                    check_cluster(info.systemid.as_deref(), self.source.own)?;
                }
                self.info = Some(info);
            }
            Place::XlogDb => {
                if self.lines.is_some() {
                    return Err(ImportError::Twice { name: name() });
                }
                let content = self.metadata(archive, member)?;
                let lines = XlogDb::parse(content.as_slice()).map_err(|e| self.broken(e.into()))?;
                if let Some(bad) = lines.bad_lines().first() {
                    return Err(ImportError::Line {
                        number: bad.number,
                        text: bad.text.clone(),
                    });
                }
                if let Some(torn) = lines.torn_line() {
                    return Err(ImportError::Line {
                        number: lines.len() as u64 + 1,
                        text: torn.chars().take(120).collect(),
                    });
                }
                self.lines = Some(lines.sorted());
            }
            Place::Directory(path) => {
                self.has_backup = true;
                self.directory(&path)?;
                // Written to until everything is there.
                self.directories.insert(path, member.mode & 0o777);
            }
            Place::File(path) => {
                self.has_backup = true;
                self.in_backup = self.in_backup.saturating_add(member.size);
                let told = self.info.as_ref().and_then(|info| info.size);
                let limit = told.map(|told| told.saturating_add(told / 2).saturating_add(BACKUP_SLACK));
                if limit.is_some_and(|limit| self.in_backup > limit) {
                    return Err(too_much(format!(
                        "files of {} bytes, where backup.info tells of {} bytes",
                        self.in_backup,
                        told.unwrap_or_default()
                    )));
                }
                if let Some(above) = path.parent() {
                    self.directory(above)?;
                }
                let target = staged_backup(self.staging).join(&path);
                self.file(archive, member, &target)?;
            }
            Place::WalDirectory => self.has_wals = true,
            Place::Wal(wal) => {
                self.has_wals = true;
                let segment = self
                    .info
                    .as_ref()
                    .map_or(1 << 30, |info| u64::from(info.xlog_segment_size.bytes()));
                if member.size > segment.saturating_add(segment / 8).saturating_add(WAL_SLACK) {
                    return Err(too_much(format!("{} of {} bytes", name(), member.size)));
                }
                let target = staged_wal(self.staging, &wal);
                if let Some(above) = target.parent() {
                    fs::create_dir_all(above).map_err(ImportError::io("create directory", above))?;
                }
                self.file(archive, member, &target)?;
                self.wal.insert(wal, member.size);
            }
            Place::Nowhere => {
                // No other link has come so far.
                self.linked |= member.kind == Kind::Symlink;
                self.skipped = self.skipped.saturating_add(member.size);
                if self.skipped > SKIPPED_LIMIT {
                    return Err(too_much(format!(
                        "{} bytes that belong to no backup",
                        self.skipped
                    )));
                }
            }
        }
        Ok(())
    }

    /// The content of a small file.
    fn metadata(&self, archive: &mut Archive<'_, '_>, member: &Member) -> Result<Vec<u8>, ImportError> {
        if member.size > METADATA_LIMIT {
            let name = String::from_utf8_lossy(&member.name);
            return Err(too_much(format!("{name} of {} bytes", member.size)));
        }
        let mut content = Vec::new();
        archive
            .read_to_end(&mut content)
            .map_err(|e| self.broken(e.into()))?;
        Ok(content)
    }

    /// Makes a directory of the backup, and those above it.
    fn directory(&mut self, path: &Path) -> Result<(), ImportError> {
        if self.directories.contains_key(path) {
            return Ok(());
        }
        if self.directories.len() >= DIRECTORY_LIMIT {
            return Err(too_much(format!("more than {DIRECTORY_LIMIT} directories")));
        }
        if self.names >= NAMES_LIMIT {
            return Err(too_much("directories with names this long".to_owned()));
        }
        let full = staged_backup(self.staging).join(path);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&full);
        made.map_err(ImportError::io("create directory", full))?;
        for above in path.ancestors() {
            if self.directories.contains_key(above) {
                break;
            }
            self.names = self.names.saturating_add(above.as_os_str().len());
            self.directories.insert(above.to_path_buf(), 0o700);
        }
        Ok(())
    }

    /// Writes a file with its mode and time.
    fn file(
        &mut self,
        archive: &mut Archive<'_, '_>,
        member: &Member,
        target: &Path,
    ) -> Result<(), ImportError> {
        let name = || String::from_utf8_lossy(&member.name).into_owned();
        self.room(member)?;
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target);
        let mut file = made.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => ImportError::Twice { name: name() },
            _ => ImportError::io("create", target)(e),
        })?;
        loop {
            unless_cancelled(self.source.cancel)?;
            let count = match archive.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.broken(e.into())),
            };
            file.write_all(self.buffer.get(..count).unwrap_or_default())
                .map_err(ImportError::io("write", target))?;
        }
        let mode = Permissions::from_mode(member.mode & 0o777);
        file.set_permissions(mode)
            .map_err(ImportError::io("set the mode of", target))?;
        let (seconds, nanoseconds) = member.modified;
        Ok(durable::set_times(&file, target, seconds, nanoseconds)?)
    }

    /// Whether there is room for a member, and for the next WAL segment besides.
    fn room(&mut self, member: &Member) -> Result<(), ImportError> {
        let segment = self
            .info
            .as_ref()
            .map_or(16 << 20, |info| u64::from(info.xlog_segment_size.bytes()));
        self.since = self.since.saturating_add(member.size);
        if self.since >= ROOM_EVERY || self.since.saturating_add(segment) > self.free {
            let found = rustix::fs::statvfs(self.staging)
                .map_err(|e| ImportError::io("look at the file system of", self.staging)(e.into()))?;
            self.free = found.f_bavail.saturating_mul(found.f_frsize);
            self.since = member.size;
        }
        if self.since.saturating_add(segment) > self.free && member.size > 0 {
            return Err(ImportError::NoSpace {
                name: String::from_utf8_lossy(&member.name).into_owned(),
                needed: member.size,
                free: self.free,
                path: self.source.layout.basebackups_directory.clone(),
            });
        }
        Ok(())
    }

    /// Whether everything is there.
    fn finish(self, sha256: String) -> Result<Extracted, ImportError> {
        let lacks = |what| ImportError::Lacks { what };
        let identity = self.identity.ok_or_else(|| lacks("identity.json"))?;
        if !self.has_backup {
            return Err(lacks("a 'backup/' directory"));
        }
        let info = self.info.ok_or_else(|| lacks("a 'backup.info' file"))?;
        if !self.has_wals {
            return Err(lacks("a 'wals/' directory"));
        }
        let lines = self.lines.ok_or_else(|| lacks("a 'xlog.db' file"))?;
        // From the deepest up: one that may not be entered closes what is below it.
        for (path, mode) in self.directories.iter().rev() {
            let full = staged_backup(self.staging).join(path);
            fs::set_permissions(&full, Permissions::from_mode(*mode))
                .map_err(ImportError::io("set the mode of", full))?;
        }
        Ok(Extracted {
            info,
            lines,
            wal: self.wal,
            identity,
            linked: self.linked,
            sha256,
        })
    }
}

fn too_much(what: String) -> ImportError {
    ImportError::TooMuch { what }
}

fn check_cluster(exported: Option<&str>, own: &Identity) -> Result<(), ImportError> {
    if exported == own.systemid.as_deref() {
        return Ok(());
    }
    let text = |id: Option<&str>| id.unwrap_or("None").to_owned();
    Err(ImportError::OtherCluster {
        exported: text(exported),
        own: text(own.systemid.as_deref()),
    })
}
