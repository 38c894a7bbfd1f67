//! Whether the places a restore writes to may be written to: empty, writable, not Barman's own, big enough.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use barman_wal::durable;
use rustix::fs::Access;

use super::error::RestoreError;
use super::plan::RestorePlan;
use crate::config::ServerConfig;

/// What a mount point may hold from the start.
const TOLERATED: &str = "lost+found";

/// The first entry of `path` that makes it not empty, hidden ones included. A directory that is not there is empty.
fn first_entry(path: &Path) -> Result<Option<String>, RestoreError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RestoreError::io("look at", path)(error)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(RestoreError::NotADirectory {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    for entry in fs::read_dir(path).map_err(RestoreError::io("read directory", path))? {
        let name = entry
            .map_err(RestoreError::io("read directory", path))?
            .file_name();
        if name != TOLERATED {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// The nearest directory at or above `path` that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"))
}

fn check_writable(path: &Path) -> Result<(), RestoreError> {
    let directory = existing(path);
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| RestoreError::io("write to directory", directory)(error.into()))
}

/// `path` with the links of its existing part resolved, so that no detour leads into the catalogue.
fn resolved(path: &Path) -> PathBuf {
    let directory = existing(path);
    match (directory.canonicalize(), path.strip_prefix(directory)) {
        (Ok(canonical), Ok(rest)) if rest.as_os_str().is_empty() => canonical,
        (Ok(canonical), Ok(rest)) => canonical.join(rest),
        _ => path.to_owned(),
    }
}

/// Refuses places that hold something, cannot be written to, or belong to Barman.
///
/// # Errors
///
/// The first such place.
pub(super) fn check(plan: &RestorePlan, config: &ServerConfig) -> Result<(), RestoreError> {
    let wal_place = (!plan.get_wal && !plan.wal_directory.starts_with(&plan.destination))
        .then_some(plan.wal_directory.as_path());
    let places = plan
        .tablespaces
        .iter()
        .map(|(tablespace, _)| tablespace.location.as_path());
    for path in places.chain([plan.destination.as_path()]).chain(wal_place) {
        let path = resolved(path);
        let own = [
            &config.backup_directory,
            &config.basebackups_directory,
            &config.wals_directory,
            &config.incoming_wals_directory,
            &config.streaming_wals_directory,
            &config.errors_directory,
        ];
        if let Some(inside) = own.into_iter().find(|own| path.starts_with(resolved(own))) {
            return Err(RestoreError::InsideCatalogue {
                path,
                inside: inside.clone(),
            });
        }
    }
    if let Some(found) = first_entry(&plan.destination)? {
        return Err(RestoreError::DestinationNotEmpty {
            path: plan.destination.clone(),
            found,
        });
    }
    check_writable(&plan.destination)?;
    for (tablespace, _) in &plan.tablespaces {
        if let Some(found) = first_entry(&tablespace.location)? {
            return Err(RestoreError::TablespaceNotEmpty {
                path: tablespace.location.clone(),
                tablespace: tablespace.name.clone(),
                found,
            });
        }
        check_writable(&tablespace.location)?;
        if let Ok(inside) = tablespace.location.strip_prefix(&plan.destination)
            && plan.data.from.join(inside).symlink_metadata().is_ok()
            && !inside.starts_with("pg_tblspc")
        {
            return Err(RestoreError::TablespacesOverlap {
                first: "the data directory".to_owned(),
                second: tablespace.name.clone(),
                path: tablespace.location.clone(),
            });
        }
    }
    if let Some(path) = wal_place {
        // It is removed with all that is in it when recovery ends.
        if let Some(found) = first_entry(path)? {
            return Err(RestoreError::DestinationNotEmpty {
                path: path.to_owned(),
                found,
            });
        }
        check_writable(path)?;
    }
    Ok(())
}

/// Refuses when a file system has not the room for what goes there. `wal` is the size of the delivered WAL.
///
/// # Errors
///
/// The first file system that is too small.
pub(super) fn check_space(plan: &RestorePlan, wal: u64) -> Result<(), RestoreError> {
    let mut needs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    let trees = plan.tablespaces.iter().map(|(_, tree)| tree).chain([&plan.data]);
    let sizes = trees.map(|tree| (tree.to.as_path(), tree.from.as_path(), tree.size.allocated));
    for (to, from, bytes) in sizes.chain([(plan.wal_directory.as_path(), Path::new(""), wal)]) {
        let directory = existing(to);
        let Ok(device) = fs::metadata(directory).map(|metadata| metadata.dev()) else {
            continue;
        };
        // Where a copy shares its blocks with the original it takes no room.
        if fs::metadata(from).is_ok_and(|metadata| metadata.dev() == device) && shares_blocks(directory) {
            continue;
        }
        let need = needs.entry(device).or_insert_with(|| (directory.to_owned(), 0));
        need.1 = need.1.saturating_add(bytes);
    }
    for (path, needed) in needs.into_values() {
        let Ok(stat) = rustix::fs::statvfs(&path) else {
            continue;
        };
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        if stat.f_blocks > 0 && needed > available {
            return Err(RestoreError::DiskSpace {
                path,
                needed,
                available,
            });
        }
    }
    Ok(())
}

/// Whether the file system can clone (btrfs, XFS, bcachefs).
fn shares_blocks(path: &Path) -> bool {
    const CLONING: [i128; 3] = [0x9123_683E, 0x5846_5342, 0xCA45_1A4E];
    rustix::fs::statfs(path).is_ok_and(|stat| CLONING.contains(&i128::from(stat.f_type)))
}

/// Makes a directory with mode 0700, those above it as the umask wants.
///
/// # Errors
///
/// The system's.
pub(super) fn make(path: &Path) -> Result<(), RestoreError> {
    let fail = |error: durable::DurableError| RestoreError::io("create directory", path)(error.into());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        durable::create_dir_all_durable(parent, 0o777).map_err(fail)?;
    }
    durable::create_dir_all_durable(path, 0o700).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_entries_count_and_lost_found_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(first_entry(&path.join("none")).unwrap(), None);
        fs::create_dir(path.join("lost+found")).unwrap();
        assert_eq!(first_entry(path).unwrap(), None);
        fs::write(path.join(".hidden"), "").unwrap();
        assert_eq!(first_entry(path).unwrap().as_deref(), Some(".hidden"));
        assert!(matches!(
            first_entry(&path.join(".hidden")),
            Err(RestoreError::NotADirectory { .. })
        ));
    }

    #[test]
    fn links_do_not_hide_where_a_path_leads() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, directory.path().join("link")).unwrap();
        assert_eq!(
            resolved(&directory.path().join("link/new/dir")),
            real.join("new/dir")
        );
    }
}
