//! Removing WAL from the archive.

use super::{DeletionObserver, WalPlan};
use crate::layout::Layout;
use crate::xlogdb::{BadLine, CustomMagic, LockedXlogDb, WalRecord, XlogDb, XlogDbError};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// What was removed from the archive.
#[derive(Debug, Clone, Default)]
pub struct WalRemoval {
    /// The files, grouped by directory, in the order of the catalogue.
    pub removed: XlogDb,
    /// Lines of the catalogue that were no records and are gone from it.
    pub bad_lines: Vec<BadLine>,
    /// Files that could not be removed, and why; the catalogue does not list them any more.
    pub warnings: Vec<String>,
    /// Why it was stopped, if a hook did so. The rest is still there and listed.
    pub stopped: Option<String>,
}

/// Removes what `plan` says, under the lock of the WAL catalogue: first the lines, durably, then the files one by
/// one, then directories that have become empty. A crash in between leaves files that are not listed, which do no
/// harm, and never lines without files. A file that is already gone is fine.
///
/// # Errors
/// The catalogue could not be read or replaced. Nothing has been removed then.
pub fn remove_wal(
    layout: &Layout,
    plan: &WalPlan,
    custom: &CustomMagic,
    observer: &mut dyn DeletionObserver,
    cancel: Option<&AtomicBool>,
) -> Result<WalRemoval, XlogDbError> {
    remove(layout, plan, Extent::Listed, custom, observer, cancel)
}

/// Where to look for what the plan removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// In the WAL catalogue.
    Listed,
    /// In the archive's directories too: an interrupted removal has left files without lines.
    Found,
}

pub(super) fn remove(
    layout: &Layout,
    plan: &WalPlan,
    extent: Extent,
    custom: &CustomMagic,
    observer: &mut dyn DeletionObserver,
    cancel: Option<&AtomicBool>,
) -> Result<WalRemoval, XlogDbError> {
    if !layout.wals_directory.exists() && !layout.xlogdb().exists() {
        return Ok(WalRemoval::default());
    }
    let locked = LockedXlogDb::open(layout, custom, cancel)?;
    let db = locked.read()?;
    let mut removal = WalRemoval {
        bad_lines: db.bad_lines().to_vec(),
        ..WalRemoval::default()
    };
    let mut doomed = by_directory(db.iter().filter(|r| plan.removes(&r.name)));
    let listed = !doomed.is_empty();
    if extent == Extent::Found {
        let known: HashSet<_> = doomed.iter().map(|r| r.name).collect();
        // Nobody can have stored a file and not yet listed it: that is done under the lock held here.
        let found = locked.archived()?;
        doomed.extend(
            found
                .iter()
                .filter(|r| plan.removes(&r.name) && !known.contains(&r.name)),
        );
    }
    if listed {
        locked.replace_with(db.iter().filter(|r| !plan.removes(&r.name)))?;
    }
    let mut directory = None;
    for record in &doomed {
        let path = layout.wal_path(&record.name);
        if directory.is_some() && directory.as_deref() != path.parent() {
            remove_if_empty(layout, directory.as_deref());
        }
        directory = path.parent().map(Path::to_path_buf);
        if let Err(reason) = observer.before_wal(record, &path) {
            removal.stopped = Some(reason);
            break;
        }
        let error = match std::fs::remove_file(&path) {
            Ok(()) => None,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(e) => Some(format!("cannot remove {}: {e}", path.display())),
        };
        removal.removed.push(record);
        observer.after_wal(record, &path, error.as_deref());
        removal.warnings.extend(error);
    }
    remove_if_empty(layout, directory.as_deref());
    if removal.stopped.is_some() {
        // The lines of what is still there come back, at their places.
        let gone: HashSet<_> = removal.removed.iter().map(|r| r.name).collect();
        locked.replace_with(db.iter().filter(|r| !gone.contains(&r.name)))?;
    }
    Ok(removal)
}

/// Grouped by directory in the order in which directories first occur.
fn by_directory(records: impl Iterator<Item = WalRecord>) -> Vec<WalRecord> {
    let mut places = std::collections::HashMap::new();
    let mut doomed: Vec<(usize, WalRecord)> = Vec::new();
    for record in records {
        let key = record.name.segment().map(|s| (s.timeline, s.log));
        let next = places.len();
        doomed.push((*places.entry(key).or_insert(next), record));
    }
    doomed.sort_by_key(|(place, _)| *place);
    doomed.into_iter().map(|(_, record)| record).collect()
}

/// Removes a directory of the archive if nothing is left in it; never the archive itself.
fn remove_if_empty(layout: &Layout, directory: Option<&Path>) {
    if let Some(directory) = directory.filter(|d| *d != layout.wals_directory) {
        // Not empty, gone, or not ours to remove: all the same.
        let _ = std::fs::remove_dir(directory);
    }
}
