//! The files of a manifest without their names: 32 bytes and a checksum each. A name is known by 128 bits of a keyed
//! hash, which nobody can aim at.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use barman_wal::durable;
use barman_wal::manifest::{self, Algorithm, Checksum, ManifestError, ManifestFile, ManifestSummary};

use super::VerifyError;

/// What a verification does not look at, with all below (PostgreSQL, `pg_verifybackup.c`): what is not in manifests,
/// and what restores change.
const IGNORED: [&str; 5] = [
    super::BACKUP_MANIFEST,
    "pg_wal",
    "postgresql.auto.conf",
    "recovery.signal",
    "standby.signal",
];

/// Whether a verification passes over this path, relative to the data directory.
pub(super) fn is_ignored(path: &Path) -> bool {
    let first = path.components().next().map(std::path::Component::as_os_str);
    first.is_some_and(|first| IGNORED.iter().any(|name| first == *name))
}

/// What a manifest says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// Bytes.
    pub(super) size: u64,
    /// `None`: the backup was taken without checksums.
    pub(super) checksum: Option<Checksum>,
}

struct Entry {
    key: u128,
    size: u64,
    /// Where its checksum begins in [`Index::sums`].
    sum: u32,
    algorithm: Algorithm,
    found: AtomicBool,
}

/// The files of a manifest, and which of them have been found.
pub(super) struct Index {
    keys: [RandomState; 2],
    entries: Vec<Entry>,
    sums: Vec<u8>,
    /// The manifest.
    path: PathBuf,
    /// What else it says.
    pub(super) summary: ManifestSummary,
}

fn key(keys: &[RandomState; 2], path: &Path) -> u128 {
    let half = |state: &RandomState| {
        let mut hasher = state.build_hasher();
        hasher.write(path.as_os_str().as_bytes());
        u128::from(hasher.finish())
    };
    let [high, low] = keys;
    half(high) << 64 | half(low)
}

impl Index {
    /// Reads a manifest; nothing is said of it unless its own checksum is right.
    pub(super) fn read(path: &Path) -> Result<Self, VerifyError> {
        let keys = [RandomState::new(), RandomState::new()];
        let mut entries = Vec::new();
        let mut sums = Vec::new();
        let summary = each(path, |file| {
            let too_big = || "too many files".to_owned();
            let sum = u32::try_from(sums.len()).map_err(|_| too_big())?;
            let algorithm = file.checksum.as_ref().map_or(Algorithm::None, |c| c.algorithm);
            sums.extend_from_slice(file.checksum.as_ref().map_or(&[], |c| c.bytes.as_slice()));
            entries.push(Entry {
                key: key(&keys, &file.path),
                size: file.size,
                sum,
                algorithm,
                found: AtomicBool::new(false),
            });
            Ok(())
        })?;
        entries.sort_unstable_by_key(|entry: &Entry| entry.key);
        let index = Self {
            keys,
            entries,
            sums,
            path: path.to_path_buf(),
            summary,
        };
        let twice = index.entries.windows(2).any(|pair| match pair {
            [a, b] => a.key == b.key,
            _ => false,
        });
        if twice { Err(index.duplicate()?) } else { Ok(index) }
    }

    fn position(&self, path: &Path) -> Option<&Entry> {
        let key = key(&self.keys, path);
        let at = self.entries.binary_search_by_key(&key, |entry| entry.key).ok()?;
        self.entries.get(at)
    }

    /// What the manifest says of a file; it counts as found from now on.
    pub(super) fn find(&self, path: &Path) -> Option<Expected> {
        let entry = self.position(path)?;
        entry.found.store(true, Ordering::Relaxed);
        let start = usize::try_from(entry.sum).ok()?;
        let bytes = self
            .sums
            .get(start..start.checked_add(entry.algorithm.length())?)?
            .to_vec();
        Some(Expected {
            size: entry.size,
            checksum: (entry.algorithm != Algorithm::None).then_some(Checksum {
                algorithm: entry.algorithm,
                bytes,
            }),
        })
    }

    /// Calls `each` for every file that was not found. The names are only in the manifest, which is read again.
    pub(super) fn missing(&self, mut report: impl FnMut(PathBuf)) -> Result<(), VerifyError> {
        let unfound = self
            .entries
            .iter()
            .any(|entry| !entry.found.load(Ordering::Relaxed));
        if !unfound {
            return Ok(());
        }
        each(&self.path, |file| {
            // A file that the index does not know: the manifest has changed since.
            let found = self
                .position(&file.path)
                .is_some_and(|entry| entry.found.load(Ordering::Relaxed));
            if !found {
                report(file.path);
            }
            Ok(())
        })
        .map(drop)
    }

    /// The error that names a file which the manifest has twice.
    fn duplicate(&self) -> Result<VerifyError, VerifyError> {
        let mut twice = None;
        each(&self.path, |file| {
            let seen = self
                .position(&file.path)
                .is_some_and(|entry| entry.found.swap(true, Ordering::Relaxed));
            if seen && twice.is_none() {
                twice = Some(file.path);
            }
            Ok(())
        })?;
        Ok(VerifyError::Duplicate {
            path: twice.unwrap_or_default(),
        })
    }
}

/// Reads the manifest at `path`.
fn each(
    path: &Path,
    each: impl FnMut(ManifestFile) -> Result<(), String>,
) -> Result<ManifestSummary, VerifyError> {
    let open = |source: io::Error| VerifyError::Open {
        path: path.to_path_buf(),
        source,
    };
    let file = durable::open_file(path).map_err(open)?;
    manifest::read(file, each).map_err(|error| match error {
        ManifestError::Io(source) => open(source),
        other => VerifyError::Manifest {
            path: path.to_path_buf(),
            reason: other.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over() {
        for (path, ignored) in [
            ("pg_wal", true),
            ("pg_wal/archive_status/x", true),
            ("pg_wal2/x", false),
            ("base/pg_wal/x", false),
            ("standby.signal", true),
            ("backup_manifest", true),
            ("backup_label", false),
            ("", false),
        ] {
            assert_eq!(is_ignored(Path::new(path)), ignored, "{path}");
        }
    }
}
