//! The errors directory: where files go that must not be archived, so that somebody looks at them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use barman_wal::durable::{self, CopyOptions, DurableError};
use jiff::{SignedDuration, Timestamp};

/// Why a file is there: the end of its name, by which `check` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The archive has another file of this name.
    Duplicate,
    /// Not a WAL file.
    Unknown,
    /// A WAL file that is useless.
    Error,
}

impl Reason {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Unknown => "unknown",
            Self::Error => "error",
        }
    }
}

/// No more files of one name can be rejected within one second than this.
const ATTEMPTS: i64 = 10_000;

/// Moves `path` into `errors` under a name that no other file has, durably, and returns the new path. Whatever it is
/// (directory, link, FIFO) is moved as it is; files also to another file system.
///
/// # Errors
/// It cannot be moved; it is still where it was.
pub(super) fn reject(
    path: &Path,
    errors: &Path,
    reason: Reason,
    now: Timestamp,
) -> Result<PathBuf, DurableError> {
    durable::create_dir_all_durable(errors, 0o777)?;
    for second in 0..ATTEMPTS {
        let time = now.checked_add(SignedDuration::from_secs(second)).unwrap_or(now);
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(time.strftime(".%Y%m%dT%H%M%SZ.").to_string());
        name.push(reason.suffix());
        let target = errors.join(name);
        match durable::rename_new_synced(path, &target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.is_cross_device() && is_file(path) => {
                if fs::symlink_metadata(&target).is_ok() {
                    continue;
                }
                durable::copy_durable(path, &target, CopyOptions::default())?;
                durable::remove_durable(path)?;
                return Ok(target);
            }
            Err(error) => return Err(error),
        }
    }
    Err(DurableError {
        action: "find a free name for",
        path: path.to_path_buf(),
        source: io::Error::from(io::ErrorKind::AlreadyExists),
    })
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_barmans_and_unique() {
        let directory = tempfile::tempdir().unwrap();
        let errors = directory.path().join("errors");
        let now: Timestamp = "2026-11-21T23:59:59.9Z".parse().unwrap();
        let source = directory.path().join("000000010000000000000002");
        let mut names = Vec::new();
        for reason in [Reason::Duplicate, Reason::Duplicate, Reason::Unknown] {
            fs::write(&source, "x").unwrap();
            let target = reject(&source, &errors, reason, now).unwrap();
            assert!(!source.exists());
            names.push(target.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!(
            names,
            [
                "000000010000000000000002.20261121T235959Z.duplicate",
                "000000010000000000000002.20261122T000000Z.duplicate",
                "000000010000000000000002.20261121T235959Z.unknown"
            ]
        );
        let dangling = directory.path().join("dir");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let target = reject(&dangling, &errors, Reason::Unknown, now).unwrap();
        assert!(fs::symlink_metadata(target).unwrap().is_symlink());
        assert!(reject(&dangling, &errors, Reason::Unknown, now).is_err());
    }
}
