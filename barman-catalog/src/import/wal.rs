//! The WAL of an imported backup: whether it is complete, whether it agrees with what is archived, and how it becomes
//! part of the archive.

use super::error::ImportError;
use super::extract::{Extracted, staged_wal};
use crate::backup_info::BackupInfo;
use crate::layout::Layout;
use crate::xlogdb::{LockedXlogDb, WalRecord, XlogDb};
use barman_wal::{WalFileName, durable};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// So many conflicts are named.
const NAMED: usize = 5;

/// The records of the segments that the backup needs, ascending; each of them was extracted.
pub(super) fn required(extracted: &Extracted) -> Result<Vec<WalRecord>, ImportError> {
    let info: &BackupInfo = &extracted.info;
    let unknown = || ImportError::NoRange { id: info.id };
    let (begin, end) = info.wal_range().ok_or_else(unknown)?;
    if begin.timeline != end.timeline || begin > end {
        return Err(unknown());
    }
    let mut records = Vec::new();
    for segment in begin.through(end, info.xlog_segment_size) {
        let name = WalFileName::Segment(segment);
        let record = extracted
            .lines
            .find_sorted(&name)
            .ok_or_else(|| ImportError::NotListed {
                name: name.to_string(),
            })?;
        let size = extracted.wal.get(&name).ok_or_else(|| ImportError::NoFile {
            name: name.to_string(),
        })?;
        if *size != record.size {
            return Err(ImportError::WalSize {
                name: name.to_string(),
                found: *size,
                listed: record.size,
            });
        }
        records.push(record);
    }
    Ok(records)
}

/// What is archived under the name of a segment, as far as it must not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

fn look(path: &Path) -> Result<Option<Seen>, ImportError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(Seen {
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ImportError::io("look at", path)(e)),
    }
}

/// What is archived already of what the backup needs, with the same content. Compared before the WAL catalogue is
/// locked, since that takes its time.
#[derive(Debug)]
pub(super) struct Compared(Vec<(WalRecord, Option<Seen>)>);

/// Compares the extracted segments with the archive, byte by byte.
///
/// # Errors
/// One has other content; a file cannot be read.
pub(super) fn compare(
    layout: &Layout,
    staging: &Path,
    records: &[WalRecord],
    cancel: Option<&AtomicBool>,
) -> Result<Compared, ImportError> {
    let mut compared = Vec::with_capacity(records.len());
    let mut conflicts = Vec::new();
    for record in records {
        if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(ImportError::Interrupted);
        }
        let (own, archived) = (staged_wal(staging, &record.name), layout.wal_path(&record.name));
        let seen = look(&archived)?;
        if seen.is_some() && !same_content(&own, &archived)? {
            conflicts.push(record.name);
        }
        compared.push((*record, seen));
    }
    unless_conflicting(&conflicts)?;
    Ok(Compared(compared))
}

fn same_content(one: &Path, other: &Path) -> Result<bool, ImportError> {
    let open = |path: &Path| durable::open_file(path).map_err(ImportError::io("open", path));
    let (mut a, mut b) = (open(one)?, open(other)?);
    let size = |file: &File, path: &Path| {
        file.metadata()
            .map(|found| found.len())
            .map_err(ImportError::io("look at", path))
    };
    if size(&a, one)? != size(&b, other)? {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    loop {
        let count = a.read(&mut left).map_err(ImportError::io("read", one))?;
        if count == 0 {
            return Ok(true);
        }
        let right = right.get_mut(..count).unwrap_or_default();
        match b.read_exact(right) {
            Ok(()) if left.get(..count) == Some(&*right) => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(ImportError::io("read", other)(e)),
        }
    }
}

fn unless_conflicting(names: &[WalFileName]) -> Result<(), ImportError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut text: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    if names.len() > NAMED {
        text.push("...".to_owned());
    }
    Err(ImportError::Conflict {
        names: text.join(", "),
    })
}

/// What will be done to the archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WalPlan {
    /// Segments to be moved into the archive.
    pub(super) moved: Vec<WalRecord>,
    /// Lines that the WAL catalogue lacks: those of `moved`, and of files that were archived but not listed.
    pub(super) lines: Vec<WalRecord>,
}

/// Decides with the WAL catalogue locked. A listed segment must be listed with the same size, time and encryption; the
/// compression may have another name.
pub(super) fn plan(layout: &Layout, compared: &Compared, listed: &XlogDb) -> Result<WalPlan, ImportError> {
    let mut plan = WalPlan {
        moved: Vec::new(),
        lines: Vec::new(),
    };
    let mut conflicts = Vec::new();
    for (record, seen) in &compared.0 {
        let line = listed.find(&record.name);
        let agrees = line.is_none_or(|line| {
            line.size == record.size
                && line.encryption == record.encryption
                && line.time.to_bits() == record.time.to_bits()
        });
        let now = look(&layout.wal_path(&record.name))?;
        // Archived meanwhile, replaced or gone: this import has compared something else.
        if !agrees || now != *seen || (line.is_some() && now.is_none()) {
            conflicts.push(record.name);
            continue;
        }
        if now.is_none() {
            plan.moved.push(*record);
        }
        if line.is_none() {
            plan.lines.push(*record);
        }
    }
    unless_conflicting(&conflicts)?;
    Ok(plan)
}

/// Moves segments into the archive, durably; what is there is never replaced. On an error those that were moved are
/// moved back.
pub(super) fn move_in(layout: &Layout, staging: &Path, plan: &WalPlan) -> Result<(), ImportError> {
    let mut moved = Vec::new();
    let result = (|| {
        let mut directories = BTreeSet::new();
        for record in &plan.moved {
            let target = layout.wal_path(&record.name);
            let directory = target.parent().map(Path::to_path_buf).unwrap_or_default();
            if directories.insert(directory.clone()) {
                durable::create_dir_all_durable(&directory, 0o777)?;
            }
            bring(&staged_wal(staging, &record.name), &target)?;
            moved.push(record.name);
        }
        for directory in &directories {
            durable::fsync_dir(directory)?;
        }
        Ok(())
    })();
    if result.is_err() {
        take_back(layout, &moved);
    }
    result
}

/// Gives a synced file its name in the archive, which may be on another file system.
fn bring(own: &Path, target: &Path) -> Result<(), ImportError> {
    match durable::rename_new(own, target) {
        Ok(()) => Ok(()),
        Err(e) if e.is_cross_device() => {
            durable::copy_durable(own, target, durable::CopyOptions::default())?;
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// Removes segments that were moved in, and directories that are empty then. The WAL catalogue has been locked all the
/// time, and lists none of them: nobody relies on them yet.
pub(super) fn take_back(layout: &Layout, names: &[WalFileName]) {
    for name in names {
        let path = layout.wal_path(name);
        if let Err(e) = durable::remove_durable(&path) {
            log::warn!(target: "barman.backup", "{e}");
        }
        if let Some(directory) = path.parent() {
            // Not empty, most of the time.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Merges lines into the WAL catalogue, which is replaced at once. Returns the lines that were there, to go back.
pub(super) fn list(db: &mut LockedXlogDb<'_>, lines: &[WalRecord]) -> Result<(), ImportError> {
    if lines.is_empty() {
        return Ok(());
    }
    // A last line that a crash has cut is made whole first.
    db.append(&[])?;
    let mut all = db.read()?;
    for record in lines {
        all.push(record);
    }
    Ok(db.replace(&all.sorted())?)
}

/// Takes lines out again.
pub(super) fn unlist(db: &LockedXlogDb<'_>, lines: &[WalRecord]) -> Result<(), ImportError> {
    let names: BTreeSet<WalFileName> = lines.iter().map(|record| record.name).collect();
    let all = db.read()?;
    Ok(db.replace_with(all.iter().filter(|record| !names.contains(&record.name)))?)
}

/// Where a killed import has put its journal.
pub(super) fn journal(staging: &Path) -> PathBuf {
    staging.join("journal")
}
