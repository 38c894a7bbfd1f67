//! The words of a backup on the console: the lines that scripts read. Nothing here touches a
//! disk or a server.

use crate::format::size_of as size;

/// Whether the size line also tells what is shared with the previous backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLine {
    /// The size alone.
    Plain,
    /// Size, size on disk and the ratio: `reuse_backup = link`.
    Deduplicated,
}

/// The line that tells how big the backup is.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage with two decimals is shown"
)]
pub fn size_line(bytes: u64, unshared: u64, form: SizeLine) -> String {
    match form {
        SizeLine::Plain => format!("Backup size: {}", size(bytes)),
        SizeLine::Deduplicated => {
            let ratio = if bytes == 0 {
                0.0
            } else {
                1.0 - unshared as f64 / bytes as f64
            };
            format!(
                "Backup size: {}. Actual size on disk: {} (-{:.2}% deduplication ratio).",
                size(bytes),
                size(unshared),
                ratio * 100.0
            )
        }
    }
}

/// What is told at the end of a backup that still waits for WAL.
pub const WAITING: &str = "this backup is WAITING_FOR_WALS: its data are safe, but some of the WAL files that it needs to be consistent have not been archived yet.\n\
     This is normal for a backup taken while the server works; it becomes DONE by itself once they have arrived.\n\
     Use '--wait' to make the backup command wait for them.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_line_of_a_linked_backup_shows_the_ratio() {
        assert_eq!(size_line(23_203_387, 0, SizeLine::Plain), "Backup size: 22.1 MiB");
        assert_eq!(
            size_line(1000, 88, SizeLine::Deduplicated),
            "Backup size: 1000 B. Actual size on disk: 88 B (-91.20% deduplication ratio)."
        );
        assert_eq!(
            size_line(0, 0, SizeLine::Deduplicated),
            "Backup size: 0 B. Actual size on disk: 0 B (-0.00% deduplication ratio)."
        );
    }
}
