//! A manifest for a backup that has none, as Barman's `generate-manifest` writes it: the files below the data
//! directory in the order of the walk, SHA-256, no WAL.

use std::fs;
use std::io::{self, BufWriter, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use barman_wal::durable::{self, AtomicFile, DurableError};
use barman_wal::manifest::{Algorithm, BarmanManifestWriter, Hasher, ManifestFile};

use super::pool::{self, Feeder};
use super::{BACKUP_MANIFEST, Run, path};
use crate::files;

/// So many files that have no place in a manifest are named.
const SPECIAL_LIMIT: usize = 1000;

/// What a generated manifest tells of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Generated {
    /// The manifest.
    pub path: PathBuf,
    /// How many files are in it.
    pub files: u64,
    /// The sum of their sizes, bytes.
    pub bytes: u64,
    /// What is neither a file nor a directory, or a link that leads nowhere: not in the manifest. Relative to the data
    /// directory, at most 1000.
    pub special: Vec<PathBuf>,
}

/// Why there is no new manifest.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The backup has one.
    #[error("File {} already exists.", path.display())]
    Exists {
        /// The manifest.
        path: PathBuf,
    },
    /// A file of the backup cannot be read.
    #[error("cannot {what} {}: {source}", path.display())]
    Read {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The manifest cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot work with several threads: {0}")]
    Thread(#[from] io::Error),
    /// The caller's flag was raised.
    #[error("interrupted; there is no manifest")]
    Interrupted,
}

/// Writes the manifest of the backup whose data directory is `data`. It appears complete or not at all; what a killed
/// run left is removed.
///
/// Links to files count as files, as they do for PostgreSQL's verification; of links to directories only those of
/// tablespaces (`pg_tblspc/OID`) are followed.
///
/// # Errors
/// There is one already, a file cannot be read, the manifest cannot be written.
pub fn generate(data: &Path, run: Run<'_>) -> Result<Generated, GenerateError> {
    let target = path(data);
    let exists = || GenerateError::Exists { path: target.clone() };
    let failed = |source: io::Error| GenerateError::Write {
        path: target.clone(),
        source,
    };
    if fs::symlink_metadata(&target).is_ok() {
        return Err(exists());
    }
    durable::remove_stale_temporaries_of(data, BACKUP_MANIFEST.as_ref()).map_err(|e| failed(e.into()))?;
    let file = AtomicFile::create(&target, files::MODE).map_err(|e| failed(e.into()))?;
    let own = file.temporary_path().to_path_buf();
    let output = BufWriter::with_capacity(256 << 10, file);
    let mut writer = BarmanManifestWriter::new(output).map_err(failed)?;
    let mut generated = Generated {
        path: target.clone(),
        files: 0,
        bytes: 0,
        special: Vec::new(),
    };
    let mut special = Vec::new();
    pool::in_order(
        run.threads,
        |feeder| walk(data, &own, feeder, &mut special, run),
        |relative: PathBuf, buffer| describe(data, relative, buffer, run),
        |described| {
            let entry = described?;
            generated.files += 1;
            generated.bytes = generated.bytes.saturating_add(entry.size);
            writer.file(&entry).map_err(failed)
        },
    )?;
    generated.special = special;
    let output = writer.finish().map_err(failed)?;
    let file = output.into_inner().map_err(|e| failed(e.into_error()))?;
    let publish = |file: AtomicFile| -> Result<(), DurableError> {
        file.sync()?;
        // Somebody else may have been as busy: one wins, and none replaces the other's.
        file.publish_new()?;
        durable::fsync_dir(data)
    };
    publish(file).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => failed(e.into()),
    })?;
    Ok(generated)
}

/// Hands out the files below `data`, relative to it: those of a directory in the order in which the system lists them,
/// then its directories.
fn walk(
    data: &Path,
    own: &Path,
    feeder: &Feeder<PathBuf, Result<ManifestFile, GenerateError>>,
    special: &mut Vec<PathBuf>,
    run: Run<'_>,
) -> Result<(), GenerateError> {
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        let full = data.join(&directory);
        let mut below = Vec::new();
        for entry in fs::read_dir(&full).map_err(failure("read directory", &full))? {
            if run.is_cancelled() {
                return Err(GenerateError::Interrupted);
            }
            let entry = entry.map_err(failure("read directory", &full))?;
            let path = entry.path();
            if path == own {
                continue;
            }
            let relative = directory.join(entry.file_name());
            let mut kind = entry.file_type().map_err(failure("look at", &path))?;
            let is_link = kind.is_symlink();
            if is_link {
                kind = match fs::metadata(&path) {
                    Ok(metadata) => metadata.file_type(),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        note(special, relative);
                        continue;
                    }
                    Err(e) => return Err(failure("look at", &path)(e)),
                };
            }
            if kind.is_dir() {
                if !is_link || directory == Path::new("pg_tblspc") {
                    below.push(relative);
                }
            } else if kind.is_file() {
                if !feeder.push(relative) {
                    return Ok(());
                }
            } else {
                note(special, relative);
            }
        }
        pending.extend(below.into_iter().rev());
    }
    Ok(())
}

fn note(special: &mut Vec<PathBuf>, path: PathBuf) {
    if special.len() < SPECIAL_LIMIT {
        special.push(path);
    }
}

fn failure(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_path_buf();
    move |source| GenerateError::Read { what, path, source }
}

/// The entry of one file.
fn describe(
    data: &Path,
    relative: PathBuf,
    buffer: &mut [u8],
    run: Run<'_>,
) -> Result<ManifestFile, GenerateError> {
    let path = data.join(&relative);
    let mut file = durable::open_file(&path).map_err(failure("open", &path))?;
    let metadata = file.metadata().map_err(failure("look at", &path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut size = 0_u64;
    loop {
        if run.is_cancelled() {
            return Err(GenerateError::Interrupted);
        }
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failure("read", &path)(e)),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        size = size.saturating_add(count as u64);
        (run.read)(count as u64);
    }
    Ok(ManifestFile {
        path: relative,
        size,
        last_modified: Some(last_modified(metadata.mtime())),
        checksum: hasher.finish(),
    })
}

/// UTC, to the second, without a zone.
fn last_modified(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
