//! The file under its lock `.SERVER-xlogdb.lock`, which every access takes, as Barman does.

use super::rebuild::{self, CustomMagic, RebuildReport, Watch};
use super::{WalRecord, XlogDb, is_complete};
use crate::files;
use crate::layout::Layout;
use barman_wal::durable::{self, AtomicFile, DurableError};
use barman_wal::lock::{Lock, LockError};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Why the WAL catalogue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum XlogDbError {
    /// Its lock could not be taken.
    #[error("cannot lock the WAL catalogue of server {server}: {source}")]
    Lock {
        /// The server.
        server: String,
        /// Why.
        source: LockError,
    },
    /// A system call failed.
    #[error("cannot {what} the WAL catalogue {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the catalogue as [`read`] does, but changes nothing: one that is missing is read from the archive and not
/// written. For those who tell what would happen.
///
/// # Errors
/// The lock; reading.
pub fn peek(
    layout: &Layout,
    custom: &CustomMagic,
    cancel: Option<&AtomicBool>,
) -> Result<XlogDb, XlogDbError> {
    if is_nowhere(layout) {
        return Ok(XlogDb::default());
    }
    LockedXlogDb::open_shared(layout, custom, cancel)?.peek()
}

/// The WAL catalogue of a server while nobody else can use it. Dropping it releases the lock.
#[derive(Debug)]
pub struct LockedXlogDb<'a> {
    layout: &'a Layout,
    custom: CustomMagic,
    cancel: Option<&'a AtomicBool>,
    _lock: Lock,
}

/// Reads the catalogue under its lock, releases the lock, returns the content. The way for everybody who only looks.
///
/// A catalogue that is missing is read from the archive (and written, if that is possible); without an archive it is
/// empty.
///
/// # Errors
/// The lock; reading.
pub fn read(
    layout: &Layout,
    custom: &CustomMagic,
    cancel: Option<&AtomicBool>,
) -> Result<XlogDb, XlogDbError> {
    if is_nowhere(layout) {
        return Ok(XlogDb::default());
    }
    LockedXlogDb::open(layout, custom, cancel)?.read()
}

/// Whether there is neither a catalogue nor an archive to make it from. One that cannot be looked at (permissions, a file
/// system that has gone away) is somewhere.
fn is_nowhere(layout: &Layout) -> bool {
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    is_missing(&layout.xlogdb()) && is_missing(&layout.wals_directory)
}

impl<'a> LockedXlogDb<'a> {
    /// Waits for the lock until it is free or `cancel` is raised. `custom` tells how files of a custom compression
    /// are recognised, should the catalogue have to be rebuilt.
    ///
    /// # Errors
    /// The lock cannot be taken; the wait was cancelled.
    pub fn open(
        layout: &'a Layout,
        custom: &CustomMagic,
        cancel: Option<&'a AtomicBool>,
    ) -> Result<Self, XlogDbError> {
        let lock = Lock::acquire(&layout.xlogdb_lock(), cancel);
        Self::under(lock, layout, custom, cancel)
    }

    fn under(
        lock: Result<Lock, LockError>,
        layout: &'a Layout,
        custom: &CustomMagic,
        cancel: Option<&'a AtomicBool>,
    ) -> Result<Self, XlogDbError> {
        let lock = lock.map_err(|source| XlogDbError::Lock {
            server: layout.server().to_owned(),
            source,
        })?;
        Ok(Self {
            layout,
            custom: custom.clone(),
            cancel,
            _lock: lock,
        })
    }

    /// As [`open`](Self::open), for one who only [`peek`](Self::peek)s, with others who do so too.
    fn open_shared(
        layout: &'a Layout,
        custom: &CustomMagic,
        cancel: Option<&'a AtomicBool>,
    ) -> Result<Self, XlogDbError> {
        let lock = Lock::acquire_shared(&layout.xlogdb_lock(), cancel);
        Self::under(lock, layout, custom, cancel)
    }

    fn error(&self, what: &'static str) -> impl Fn(io::Error) -> XlogDbError + use<> {
        let path = self.layout.xlogdb();
        move |source| XlogDbError::Io {
            what,
            path: path.clone(),
            source,
        }
    }

    fn durable_error(&self, what: &'static str) -> impl Fn(DurableError) -> XlogDbError + use<> {
        let error = self.error(what);
        move |e| error(e.into())
    }

    /// The content, without writing anything: that of a missing file is what lies in the archive.
    ///
    /// # Errors
    /// Reading.
    pub fn peek(&self) -> Result<XlogDb, XlogDbError> {
        match self.stored()? {
            Some(db) => Ok(db),
            None => self.archived(),
        }
    }

    /// The content of the file, if it is there.
    fn stored(&self) -> Result<Option<XlogDb>, XlogDbError> {
        match durable::open_file(&self.layout.xlogdb()) {
            Ok(file) => XlogDb::parse(file).map(Some).map_err(self.error("read")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("open")(e)),
        }
    }

    /// The content. A missing file is rebuilt from the archive first.
    ///
    /// # Errors
    /// Reading.
    pub fn read(&self) -> Result<XlogDb, XlogDbError> {
        if let Some(db) = self.stored()? {
            return Ok(db);
        }
        let db = self.archived()?;
        if let Err(e) = self.replace(&db) {
            log::warn!(target: "barman.wal_archiver", "{e}");
        } else {
            self.remove_old();
        }
        Ok(db)
    }

    /// Makes a catalogue that is missing, from the archive. Whoever is going to store a file and to list it comes here
    /// first: the archive does not tell all that is known of a file, such as the program that compressed it.
    ///
    /// # Errors
    /// Reading the archive; writing.
    pub fn create_if_missing(&mut self) -> Result<(), XlogDbError> {
        match self.layout.xlogdb().try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => self.rebuild(&XlogDb::default()).map(drop),
            Err(error) => Err(self.error("look at")(error)),
        }
    }

    /// Adds lines at the end, durably. A last line that a crash cut is repaired first; a missing file is rebuilt
    /// from the archive (and gets no second line for a file it lists already).
    ///
    /// # Errors
    /// Reading, writing, syncing. A failed write is taken back as far as possible.
    pub fn append(&mut self, records: &[WalRecord]) -> Result<(), XlogDbError> {
        let path = self.layout.xlogdb();
        let open = || OpenOptions::new().read(true).append(true).open(&path);
        let mut rebuilt = None;
        let mut file = match open() {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                rebuilt = Some(self.rebuild(&XlogDb::default())?.0);
                open().map_err(self.error("open"))?
            }
            Err(e) => return Err(self.error("open")(e)),
        };
        let mut text = self.repair_tail(&mut file)?;
        for record in records {
            if rebuilt
                .as_ref()
                .is_some_and(|db: &XlogDb| db.find(&record.name).is_some())
            {
                continue;
            }
            text.push_str(&format!("{record}\n"));
        }
        if text.is_empty() {
            return Ok(());
        }
        let before = file.metadata().map_err(self.error("read"))?.len();
        if let Err(e) = file.write_all(text.as_bytes()) {
            // Disk full in the middle: half a line would only have to be repaired later.
            let _ = file.set_len(before);
            return Err(self.error("append to")(e));
        }
        durable::fsync_open(&file, &path).map_err(self.durable_error("sync"))
    }

    /// Makes the file end with a line end, and returns what has to be written before anything else: the line end
    /// that a complete last record lacks, or a new line for the file that a torn one names.
    fn repair_tail(&self, file: &mut File) -> Result<String, XlogDbError> {
        const LONGEST: u64 = 4096;
        let len = file.seek(SeekFrom::End(0)).map_err(self.error("read"))?;
        let start = len.saturating_sub(LONGEST);
        file.seek(SeekFrom::Start(start)).map_err(self.error("read"))?;
        let mut tail = Vec::new();
        file.take(LONGEST)
            .read_to_end(&mut tail)
            .map_err(self.error("read"))?;
        if tail.is_empty() || tail.ends_with(b"\n") {
            return Ok(String::new());
        }
        let line_start = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if start > 0 && line_start == 0 {
            // No line we know is so long; whatever it is, it ends here.
            return Ok("\n".to_owned());
        }
        let torn = tail.get(line_start..).unwrap_or(&[]);
        if is_complete(torn) {
            return Ok("\n".to_owned());
        }
        log::warn!(
            target: "barman.wal_archiver",
            "the last line of {} was cut by a crash and is replaced: {:?}",
            self.layout.xlogdb().display(),
            String::from_utf8_lossy(torn)
        );
        file.set_len(start + line_start as u64)
            .map_err(self.error("truncate"))?;
        let name = String::from_utf8_lossy(torn.split(|b| *b == b'\t').next().unwrap_or(&[])).into_owned();
        let Ok(parsed) = name.parse() else {
            return Ok(String::new());
        };
        match rebuild::describe(&self.layout.wal_path(&parsed), parsed, &self.custom) {
            Ok(Some(record)) => Ok(format!("{record}\n")),
            // Not in the archive: it will be archived again.
            Ok(None) | Err(_) => Ok(String::new()),
        }
    }

    /// Replaces the content by `db`, atomically and durably, keeping the mode of the file.
    ///
    /// # Errors
    /// Writing, syncing, renaming; the old content is in place then.
    pub fn replace(&self, db: &XlogDb) -> Result<(), XlogDbError> {
        self.replace_with(db.iter())
    }

    /// As [`replace`](Self::replace), with the lines of `records`.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub fn replace_with(&self, records: impl Iterator<Item = WalRecord>) -> Result<(), XlogDbError> {
        let path = self.layout.xlogdb();
        files::create_directories(&self.layout.xlogdb_directory)
            .map_err(self.error("create the directory of"))?;
        // What a killed run left, as big as the catalogue; nobody else writes here while the lock is held.
        if let Err(e) = durable::remove_stale_temporaries(&self.layout.xlogdb_directory) {
            log::debug!(target: "barman.wal_archiver", "{e}");
        }
        let target = AtomicFile::create(&path, files::MODE).map_err(self.durable_error("write"))?;
        if let Ok(metadata) = std::fs::metadata(&path) {
            let mode = metadata.permissions().mode() & 0o7777;
            target
                .file()
                .set_permissions(std::fs::Permissions::from_mode(mode))
                .map_err(self.error("write"))?;
        }
        let mut out = BufWriter::with_capacity(256 << 10, target);
        for record in records {
            writeln!(out, "{record}").map_err(self.error("write"))?;
        }
        let target = out
            .into_inner()
            .map_err(|e| self.error("write")(e.into_error()))?;
        target.commit().map_err(self.durable_error("replace"))
    }

    /// Makes the catalogue anew from the archive; `old` is what was known before (see [`inspect`](super::inspect)).
    /// The old content stays in place until the new one is complete.
    ///
    /// # Errors
    /// Reading the archive; writing.
    pub fn rebuild(&mut self, old: &XlogDb) -> Result<(XlogDb, RebuildReport), XlogDbError> {
        self.rebuild_watched(old, None)
    }

    /// As [`rebuild`](Self::rebuild); `progress` is told now and then how many bytes of WAL files have been looked at.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild); the rebuild was interrupted.
    pub fn rebuild_watched(
        &mut self,
        old: &XlogDb,
        progress: Option<&(dyn Fn(u64) + Sync)>,
    ) -> Result<(XlogDb, RebuildReport), XlogDbError> {
        let (db, report) = self.scan(old, progress)?;
        // A file system that is not mounted: what the old catalogue knows must not go for that.
        if !old.is_empty() && !self.layout.wals_directory.exists() {
            let text = format!(
                "there is no directory {}, though the catalogue lists {} files",
                self.layout.wals_directory.display(),
                old.len()
            );
            return Err(self.error("rebuild")(io::Error::new(
                io::ErrorKind::NotFound,
                text,
            )));
        }
        self.replace(&db)?;
        self.remove_old();
        for stranger in &report.strangers {
            log::warn!(target: "barman.server", "unexpected file in the WAL archive: {stranger}");
        }
        Ok((db, report))
    }

    /// What lies in the archive, listed or not, sorted by name.
    ///
    /// # Errors
    /// Reading the archive.
    pub fn archived(&self) -> Result<XlogDb, XlogDbError> {
        Ok(self.scan(&XlogDb::default(), None)?.0)
    }

    fn scan(
        &self,
        old: &XlogDb,
        progress: Option<&(dyn Fn(u64) + Sync)>,
    ) -> Result<(XlogDb, RebuildReport), XlogDbError> {
        let watch = Watch {
            cancel: self.cancel,
            progress,
        };
        match rebuild::scan(self.layout, &self.custom, old, watch) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.layout.wals_directory.exists() => {
                Ok((XlogDb::default(), RebuildReport::default()))
            }
            other => other.map_err(self.error("rebuild")),
        }
    }

    /// The catalogue of Barman before 3.13 is removed once there is a new one, as Barman does.
    fn remove_old(&self) {
        let old = self.layout.old_xlogdb();
        if old != self.layout.xlogdb()
            && old.is_file()
            && let Err(e) = files::remove(&old)
        {
            log::warn!(target: "barman.server", "cannot remove {}: {e}", old.display());
        }
    }
}
