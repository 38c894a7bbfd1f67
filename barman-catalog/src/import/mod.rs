//! A backup that another catalogue has exported becomes one of this catalogue: `import-backup`.
//!
//! Everything is extracted into a staging directory, checked and synced there. Only then the catalogue changes, under
//! the lock of the WAL catalogue: segments, their lines, `keep`, the directory of the backup, and last `backup.info`,
//! with which the backup exists. Whoever is killed before has changed nothing that anybody sees, and leaves a journal;
//! [`sweep`] removes what is left. Of the WAL nothing is removed then: the archiver may have relied on it meanwhile.

mod error;
mod extract;
mod journal;
mod name;
mod place;
mod wal;

pub use error::ImportError;
pub use journal::{has_leftovers, sweep};
pub use name::{ExportName, NameError};

use crate::annotations::{self, DELETE_THIS, KEEP, Keep};
use crate::backup_info::{self, BackupInfo};
use crate::catalog::Catalog;
use crate::deletion;
use crate::export::CHECKSUM_DIGITS;
use crate::identity::Identity;
use crate::ids::BackupId;
use crate::layout::Layout;
use crate::tarball::{TarReader, decompressor};
use crate::xlogdb::{CustomMagic, LockedXlogDb, WalRecord};
use barman_wal::codec::first_bytes;
use barman_wal::{WalFileName, durable};
use extract::{Extracted, Source, extract, staged_backup};
use std::fs::{self, DirBuilder};
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wal::WalPlan;

/// What an import gets from its caller.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// The file.
    pub tarball: &'a Path,
    /// What its name tells.
    pub name: &'a ExportName,
    /// The cluster of the server.
    pub identity: &'a Identity,
    /// How files of the server's custom compression are recognised.
    pub custom: &'a CustomMagic,
    /// How many threads sync files.
    pub threads: usize,
    /// Ends the import when it is raised, as long as nothing has changed.
    pub cancel: Option<&'a AtomicBool>,
    /// Is told of the bytes of the file that have been read.
    pub done: &'a dyn Fn(u64),
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions")
            .field("tarball", &self.tarball)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What has been imported.
#[derive(Debug)]
pub struct Imported {
    /// The backup.
    pub backup: BackupInfo,
    /// The segments that were not archived before.
    pub wal: Vec<WalFileName>,
    /// The major version of PostgreSQL that the backup is of, where it is not the server's.
    pub other_version: Option<String>,
    /// A working directory that could not be removed; [`sweep`] tries again.
    pub left: Option<PathBuf>,
}

/// Whether a file is a tar archive, perhaps compressed: whether its first member can be read.
///
/// # Errors
/// It cannot be opened.
pub fn is_tar(path: &Path) -> io::Result<bool> {
    let file = durable::open_file(path)?;
    let Ok(first) = first_bytes(&file) else {
        return Ok(false);
    };
    let input = decompressor(&first, file);
    Ok(input.is_ok_and(|input| matches!(TarReader::new(BufReader::new(input)).next(), Ok(Some(_)))))
}

/// Takes in a backup. The caller holds the server's backup lock and the lock of the backup.
///
/// # Errors
/// See [`ImportError`]; the catalogue is as it was, except perhaps for empty directories.
pub fn import(layout: &Layout, options: ImportOptions<'_>) -> Result<Imported, ImportError> {
    let id = options.name.id;
    sweep(layout, options.custom, options.cancel);
    let catalog = Catalog::load(layout)?;
    if let Err(e) = deletion::sweep_stale_marks(layout, &catalog) {
        log::warn!(target: "barman.backup", "{e}");
    }
    unless_there(layout, id)?;
    let mut staging = Staging::create(layout)?;
    let source = Source {
        layout,
        tarball: options.tarball,
        id,
        own: options.identity,
        cancel: options.cancel,
        done: options.done,
    };
    let matches = |sha256: &str| {
        let found = sha256.get(..CHECKSUM_DIGITS).unwrap_or(sha256);
        if found == options.name.checksum {
            return Ok(());
        }
        Err(ImportError::Checksum {
            expected: options.name.checksum.clone(),
            found: found.to_owned(),
        })
    };
    let mut extracted = match extract(source, &staging.path) {
        Ok(extracted) => extracted,
        Err(ImportError::Interrupted) => return Err(ImportError::Interrupted),
        Err(reason) => {
            // Whatever is wrong with its content: a file that is not the one that was exported is told as such.
            matches(&extract::checksum(source)?)?;
            return Err(reason);
        }
    };
    matches(&extracted.sha256)?;
    // Incremental backups do not travel. Barman cannot delete a backup whose list names one that is not there.
    let is_child = |child: &BackupId| {
        catalog
            .get(*child)
            .is_some_and(|b| b.parent_backup_id == Some(id))
    };
    extracted.info.children_backup_ids.retain(is_child);
    let records = wal::required(&extracted)?;
    let compared = wal::compare(layout, &staging.path, &records, options.cancel)?;
    if extracted.linked {
        link_tablespaces(layout, &staging.path, &extracted.info)?;
    }
    durable::sync_tree(&staging.path, options.threads, options.cancel).map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted => ImportError::Interrupted,
        _ => e.into(),
    })?;
    // From here on it is done or taken back, not interrupted.
    let mut db = LockedXlogDb::open(layout, options.custom, options.cancel)?;
    let listed = db.read()?;
    let plan = wal::plan(layout, &compared, &listed)?;
    drop(listed);
    journal::write(&staging.path, id, &records)?;
    durable::fsync_dir(&layout.basebackups_directory)?;
    wal::move_in(layout, &staging.path, &plan)?;
    if let Err(error) = publish(layout, &staging.path, &extracted.info, &plan.lines, &mut db) {
        if !take_back(layout, &staging.path, id, &plan, &db) {
            staging.keep = true;
        }
        return Err(error);
    }
    drop(db);
    let path = staging.path.clone();
    drop(staging);
    let Extracted { info, identity, .. } = extracted;
    Ok(Imported {
        backup: info,
        wal: plan.moved.iter().map(|record| record.name).collect(),
        other_version: identity
            .version
            .filter(|version| Some(version) != options.identity.version.as_ref()),
        left: path.exists().then_some(path),
    })
}

/// Lines, `keep`, directory, `backup.info`, each on disk before the next.
fn publish(
    layout: &Layout,
    staging: &Path,
    info: &BackupInfo,
    lines: &[WalRecord],
    db: &mut LockedXlogDb<'_>,
) -> Result<(), ImportError> {
    wal::list(db, lines)?;
    // Before the backup exists: no retention policy may find it unprotected.
    annotations::write_keep(layout, info.id, Keep::Standalone)?;
    durable::rename_new_synced(&staged_backup(staging), &layout.base_directory(info.id))?;
    Ok(backup_info::save(layout, info)?)
}

/// Makes undone what [`publish`] has done. `false`: not all of it, [`sweep`] has to go on with the journal.
fn take_back(layout: &Layout, staging: &Path, id: BackupId, plan: &WalPlan, db: &LockedXlogDb<'_>) -> bool {
    let undo = || -> Result<(), ImportError> {
        if is_placed(staging)? {
            durable::remove_durable(&layout.backup_info(id))?;
            durable::remove_tree_durable(&layout.base_directory(id))?;
        }
        annotations::remove(layout, id, KEEP)?;
        // Never a line without its file.
        wal::unlist(db, &plan.lines)
    };
    match undo() {
        Ok(()) => {
            wal::take_back(
                layout,
                &plan.moved.iter().map(|record| record.name).collect::<Vec<_>>(),
            );
            true
        }
        Err(e) => {
            log::warn!(target: "barman.backup", "{e}");
            false
        }
    }
}

/// Whether the extracted directory has become that of the backup. While it has not, whatever lies there is somebody
/// else's.
fn is_placed(staging: &Path) -> Result<bool, ImportError> {
    let staged = staged_backup(staging);
    let is_there = staged.try_exists().map_err(ImportError::io("look at", staged))?;
    Ok(!is_there)
}

/// Whether there is nothing of this id.
fn unless_there(layout: &Layout, id: BackupId) -> Result<(), ImportError> {
    if layout.backup_info(id).exists() || layout.old_backup_info(id).exists() {
        return Err(ImportError::Exists {
            id,
            server: layout.server().to_owned(),
        });
    }
    let mark = layout.annotation(id, DELETE_THIS);
    if mark.exists() {
        return Err(ImportError::InTheWay { path: mark });
    }
    let path = layout.base_directory(id);
    // An empty one, as an interrupted deletion may leave, is nobody's.
    match fs::remove_dir(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(ImportError::InTheWay { path }),
        _ => Ok(()),
    }
}

/// Links of tablespaces lead to the directories of the backup as it will lie here.
fn link_tablespaces(layout: &Layout, staging: &Path, info: &BackupInfo) -> Result<(), ImportError> {
    let backup = staged_backup(staging);
    let links = backup.join("data/pg_tblspc");
    for tablespace in &info.tablespaces {
        let oid = tablespace.oid.to_string();
        // Backups in tar format have neither.
        if !links.is_dir() || !backup.join(&oid).is_dir() {
            continue;
        }
        let link = links.join(&oid);
        let target = layout.base_directory(info.id).join(&oid);
        std::os::unix::fs::symlink(target, &link).map_err(ImportError::io("create the link", link))?;
    }
    Ok(())
}

/// A directory beside the backups in which one is put together. Dropping it removes it.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    /// It stays, for [`sweep`].
    keep: bool,
}

/// What the names of staging directories begin with, as Barman's.
const STAGING: &str = ".import-";

impl Staging {
    fn create(layout: &Layout) -> Result<Self, ImportError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let name = format!("{STAGING}{}-{serial}", std::process::id());
            let path = layout.basebackups_directory.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, keep: false }),
                // Left by a dead process of our id: `sweep` could not remove it.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && serial < 1000 => {}
                Err(e) => return Err(ImportError::io("create directory", path)(e)),
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep {
            journal::remove(&self.path);
        }
    }
}
