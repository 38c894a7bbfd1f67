//! What a restore has done, for whoever renders it.

use std::path::PathBuf;
use std::time::Duration;

use barman_catalog::BackupId;
use jiff::Zoned;

use super::time::format_zoned;

/// A setting that was commented out in the restored server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSetting {
    /// File, relative to the destination.
    pub file: String,
    /// Zero-based line number in the original file.
    pub line: usize,
    /// The setting.
    pub key: String,
    /// Its new value; `None` when it is only commented out.
    pub value: Option<&'static str>,
}

/// A setting to look at before the server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DangerousSetting {
    /// File, relative to the destination.
    pub file: String,
    /// Zero-based line number in the restored file.
    pub line: usize,
    /// The setting.
    pub key: String,
    /// Its value as written, with quotes and comment.
    pub value: String,
}

/// The result of a restore.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// Name of the server.
    pub server: String,
    /// The backup that was restored.
    pub backup: BackupId,
    /// Where to.
    pub destination: PathBuf,
    /// When it began, in the zone of this host.
    pub started: Zoned,
    /// Seconds it took, microsecond resolution.
    pub elapsed_seconds: f64,
    /// Settings that were commented out.
    pub changes: Vec<ChangedSetting>,
    /// Settings to look at.
    pub warnings: Vec<DangerousSetting>,
    /// Configuration files that the backup does not have.
    pub missing_files: Vec<String>,
    /// For the get-wal notice: the file to review. `None` without get-wal.
    pub get_wal_file: Option<String>,
    /// Bytes of the base backup that were copied.
    pub bytes: u64,
    /// WAL files that were delivered.
    pub wal_files: u64,
}

impl RestoreReport {
    /// When it began, as Barman writes it.
    #[must_use]
    pub fn started_text(&self) -> String {
        format_zoned(&self.started)
    }

    /// When it began, whole seconds of the epoch; a text in the JSON.
    #[must_use]
    pub fn started_epoch(&self) -> i64 {
        self.started.timestamp().as_second()
    }

    /// How long it took, in words.
    #[must_use]
    pub fn elapsed_text(&self) -> String {
        let elapsed = Duration::try_from_secs_f64(self.elapsed_seconds).unwrap_or_default();
        crate::format::interval(elapsed)
    }
}
