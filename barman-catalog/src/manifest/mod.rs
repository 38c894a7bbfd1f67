//! Manifests of backups in a catalogue: [`generate`] writes one for a backup that has none (`generate-manifest`, and
//! the automatic one after a backup over rsync), [`verify`] compares a backup with the one it has (`verify-backup`).
//!
//! Files are read by several threads through buffers of a fixed size. What is kept for each file of a manifest is
//! some 40 bytes, whatever its name.

mod generate;
mod index;
mod pool;
mod problem;
mod verify;
mod verify_tar;

pub use generate::{GenerateError, Generated, generate};
pub use problem::{Problem, Verdict, VerifyError};
pub use verify::{Format, verify};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of a manifest, in the data directory of its backup.
pub const BACKUP_MANIFEST: &str = "backup_manifest";

/// How much of a file is read at a time, bytes.
const BUFFER: usize = 256 << 10;

/// What a long run over the files of a backup gets from its caller.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// How many files are read at the same time, at least one.
    pub threads: usize,
    /// Ends the run when it is raised.
    pub cancel: Option<&'a AtomicBool>,
    /// Is told of every piece that has been read, bytes; called by several threads, often.
    pub read: &'a (dyn Fn(u64) + Sync),
}

impl Run<'_> {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Where the manifest of a backup is whose data directory is `data`.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(BACKUP_MANIFEST)
}
