//! What a killed import leaves, and how it is cleared away.

use super::error::ImportError;
use super::wal::journal;
use super::{STAGING, is_placed};
use crate::annotations::{self, KEEP};
use crate::backup_info::read_bounded;
use crate::ids::BackupId;
use crate::layout::Layout;
use crate::xlogdb::{CustomMagic, LockedXlogDb, WalRecord};
use barman_wal::durable;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Records, durably, what is about to change: the backup, and the segments it needs. The first line is the id, the
/// others are lines of the WAL catalogue.
pub(super) fn write(staging: &Path, id: BackupId, records: &[WalRecord]) -> Result<(), ImportError> {
    let mut text = format!("{id}\n");
    for record in records {
        text.push_str(&format!("{record}\n"));
    }
    Ok(durable::write_atomic(&journal(staging), text.as_bytes(), 0o600)?)
}

/// Reads a journal; `None` if there is none, or none that was finished.
fn read(staging: &Path) -> Option<(BackupId, Vec<WalRecord>)> {
    let content = read_bounded(&journal(staging)).ok()?;
    let text = std::str::from_utf8(&content).ok()?;
    let mut lines = text.lines();
    let id = lines.next()?.parse().ok()?;
    let records = lines.map(|line| WalRecord::parse(line.as_bytes()).ok());
    Some((id, records.collect::<Option<_>>()?))
}

/// Whether there is anything for [`sweep`].
#[must_use]
pub fn has_leftovers(layout: &Layout) -> bool {
    let Ok(entries) = fs::read_dir(&layout.basebackups_directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(STAGING))
    })
}

/// Removes what imports that were killed have left beside the backups of a server, staging directories of Barman
/// included. The caller holds the server's backup lock, without which nobody imports. What cannot be removed is left
/// for the next time. Returns how many there were.
pub fn sweep(layout: &Layout, custom: &CustomMagic, cancel: Option<&AtomicBool>) -> usize {
    let Ok(entries) = fs::read_dir(&layout.basebackups_directory) else {
        return 0;
    };
    let mut removed = 0;
    for entry in entries.flatten() {
        let is_staging = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(STAGING));
        if !is_staging || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let staging = entry.path();
        log::info!(target: "barman.backup", "removing {}, which an import has left", staging.display());
        match finish(layout, &staging, custom, cancel) {
            Ok(()) => {
                remove(&staging);
                removed += 1;
            }
            Err(e) => log::warn!(target: "barman.backup", "{e}"),
        }
    }
    removed
}

/// Takes an import back that has begun to change the catalogue, unless it was done but for this.
fn finish(
    layout: &Layout,
    staging: &Path,
    custom: &CustomMagic,
    cancel: Option<&AtomicBool>,
) -> Result<(), ImportError> {
    let Some((id, records)) = read(staging) else {
        return Ok(());
    };
    let exists = |path: PathBuf| path.try_exists().map_err(ImportError::io("look at", path));
    if !exists(layout.backup_info(id))? && !exists(layout.old_backup_info(id))? {
        if is_placed(staging)? {
            durable::remove_tree_durable(&layout.base_directory(id))?;
        }
        annotations::remove(layout, id, KEEP)?;
    }
    // Segments that have come into the archive stay there, and are listed.
    let mut db = LockedXlogDb::open(layout, custom, cancel)?;
    let listed = db.read()?;
    let unlisted: Vec<WalRecord> = records
        .into_iter()
        .filter(|record| listed.find(&record.name).is_none() && layout.wal_path(&record.name).exists())
        .collect();
    super::wal::list(&mut db, &unlisted)
}

/// Removes a staging directory when nothing that had begun is left to be finished or taken back. The journal goes first:
/// once a part of the rest is gone, it would tell something else.
pub(super) fn remove(staging: &Path) {
    let log = |e: &dyn std::fmt::Display| log::warn!(target: "barman.backup", "{e}");
    let clear = || -> io::Result<()> {
        crate::files::remove(&journal(staging))?;
        for entry in fs::read_dir(staging)? {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_dir() {
                remove_tree(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    };
    match clear() {
        Ok(()) => {
            if let Err(e) = durable::remove_tree_durable(staging) {
                log(&e);
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => log(&e),
    }
}

/// Removes a tree some of whose directories may have come with modes that forbid it.
fn remove_tree(path: &Path) -> io::Result<()> {
    let Err(error) = fs::remove_dir_all(path) else {
        return Ok(());
    };
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Err(error);
    }
    let mut pending = vec![path.to_path_buf()];
    while let Some(directory) = pending.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::extract::staged_backup;

    /// Killed before or after the directory of the backup was put in its place.
    #[test]
    fn only_what_the_import_has_put_there_is_taken_back() {
        for is_placed in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let layout = Layout::new("s", home.path());
            let id = "20260101T000000".parse().unwrap();
            let staging = layout.basebackups_directory.join(".import-99999999-0");
            fs::create_dir_all(&staging).unwrap();
            let there = layout.base_directory(id).join("data");
            fs::create_dir_all(&there).unwrap();
            if !is_placed {
                fs::create_dir(staged_backup(&staging)).unwrap();
            }
            write(&staging, id, &[]).unwrap();
            assert_eq!(sweep(&layout, &CustomMagic::None, None), 1);
            assert!(!staging.exists());
            assert_eq!(there.exists(), !is_placed);
            assert!(!has_leftovers(&layout));
        }
    }

    /// Killed between the move of a segment and its line.
    #[test]
    fn segments_that_have_come_are_listed() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let staging = layout.basebackups_directory.join(".import-99999999-0");
        fs::create_dir_all(&staging).unwrap();
        let line = "000000010000000000000003\t3\t1.0\tzstd\tgpg";
        let record = WalRecord::parse(line.as_bytes()).unwrap();
        let path = layout.wal_path(&record.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "wal").unwrap();
        fs::write(layout.xlogdb(), "").unwrap();
        write(&staging, "20260101T000000".parse().unwrap(), &[record]).unwrap();
        sweep(&layout, &CustomMagic::None, None);
        assert_eq!(fs::read_to_string(layout.xlogdb()).unwrap(), format!("{line}\n"));
    }
}
