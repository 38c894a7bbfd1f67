//! What a restore has done, for whoever renders it.

use std::path::PathBuf;

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
        elapsed_text(self.elapsed_seconds)
    }
}

/// `1 day, 2 hours, 3 minutes, 4 seconds`; parts that are zero are left out.
#[must_use]
pub fn elapsed_text(seconds: f64) -> String {
    // Whole seconds of a duration: the fraction is dropped, and it is never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.max(0.0) as u64;
    let parts = [
        (whole / 86_400, "day"),
        (whole / 3_600 % 24, "hour"),
        (whole / 60 % 60, "minute"),
        (whole % 60, "second"),
    ];
    let words: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() {
        "less than one second".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (seconds, text) in [
            (0.99, "less than one second"),
            (1.34, "1 second"),
            (62.0, "1 minute, 2 seconds"),
            (93_784.0, "1 day, 2 hours, 3 minutes, 4 seconds"),
            (86_400.0, "1 day"),
        ] {
            assert_eq!(elapsed_text(seconds), text);
        }
    }
}
