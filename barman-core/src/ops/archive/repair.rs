//! Files that are in the archive and not in the catalogue: a run was killed in between. Ours leaves the source in the
//! queue and finds it again as a duplicate; Barman removes the source first, so that nobody would ever notice.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use barman_catalog::xlogdb::{CustomMagic, LockedXlogDb, WalRecord};
use barman_wal::durable;
use barman_wal::{SegmentName, WalFileName};

use super::error::ArchiveError;
use super::stage::Storage;

/// How much of the end of the catalogue is looked at: about a thousand lines.
const TAIL: u64 = 64 * 1024;

/// Adds lines for the newest files of the archive that have none, and returns how many. Older holes are for
/// `rebuild-xlogdb`.
pub(super) fn complete_tail(
    storage: &Storage<'_>,
    custom: &CustomMagic,
    cancel: &AtomicBool,
) -> Result<usize, ArchiveError> {
    let layout = storage.layout;
    let Ok(tail) = tail_of(&layout.xlogdb()) else {
        return Ok(0);
    };
    let listed: HashSet<WalFileName> = tail
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .collect();
    let Some(newest) = listed.iter().filter_map(WalFileName::segment).max() else {
        return Ok(0);
    };
    let unlisted = unlisted(&layout.wals_directory, newest, &listed);
    if unlisted.is_empty() {
        return Ok(0);
    }
    let mut db = LockedXlogDb::open(layout, custom, Some(cancel))?;
    let known: HashSet<WalFileName> = db.read()?.iter().map(|record| record.name).collect();
    let mut lines: Vec<WalRecord> = Vec::new();
    for (name, path) in unlisted.into_iter().filter(|(name, _)| !known.contains(name)) {
        // Barman copies from another file system to the final name: a half file is no archived one. Should the whole
        // one come, it takes the place.
        if let Some(reason) = storage.judge_stored(name, &path) {
            log::warn!(target: super::TARGET, "{} is not listed and useless: {reason}", path.display());
            continue;
        }
        match storage.describe(name, &path) {
            Ok(record) => {
                let synced = durable::fsync_file(&path).and_then(|()| durable::fsync_parent(&path));
                synced.map_err(|source| ArchiveError::store(name.to_string(), source))?;
                log::warn!(target: super::TARGET, "{name} was archived but not listed; a line is added");
                lines.push(record);
            }
            Err(error) => {
                log::warn!(target: super::TARGET, "{name} is not listed and cannot be read: {error}");
            }
        }
    }
    db.append(&lines)?;
    Ok(lines.len())
}

/// The last lines of the catalogue, without a cut first one.
fn tail_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if start == 0 {
        return Ok(text);
    }
    Ok(text
        .split_once('\n')
        .map(|(_, rest)| rest.to_owned())
        .unwrap_or_default())
}

/// The files after `newest` in its directory and in those that follow, in the order of their names.
fn unlisted(wals: &Path, newest: SegmentName, listed: &HashSet<WalFileName>) -> Vec<(WalFileName, PathBuf)> {
    let first = newest.archive_directory();
    let mut found = Vec::new();
    for (directory, path) in names(wals) {
        if !SegmentName::is_archive_directory(directory.as_bytes()) || directory < first {
            continue;
        }
        for (spelling, path) in names(&path) {
            let Ok(name) = spelling.parse::<WalFileName>() else {
                continue;
            };
            let is_newer = name.segment().is_some_and(|segment| segment > newest);
            if is_newer && name.to_string() == spelling && !listed.contains(&name) {
                found.push((name, path));
            }
        }
    }
    found.sort();
    found
}

fn names(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.path()))
        })
        .collect()
}
