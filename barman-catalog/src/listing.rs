//! The files that belong to a backup: its data, found on disk, and its WAL, found in the WAL catalogue or by its names.

use crate::backup_info::BackupInfo;
use crate::xlogdb::XlogDb;
use barman_wal::{SegmentName, WalFileName};
use std::ffi::OsString;
use std::fs::FileType;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Whether directories without content are told, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyDirectories {
    /// No.
    Skip,
    /// Yes, each where the walk meets it.
    Show,
}

/// Tells `each` every file below the directory of a backup: the files of a directory by their names, then its
/// subdirectories in the order in which the file system has them. Links are files, unless they lead to a directory: those
/// are neither told nor followed. A directory that does not exist has no files.
///
/// # Errors
/// A directory that cannot be read, with its path. `each` may end the walk.
pub fn walk_data(
    backup: &Path,
    empty: EmptyDirectories,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, (PathBuf, io::Error)> {
    let mut directories = vec![backup.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let content = match read(&directory) {
            Ok(content) => content,
            // Deleted meanwhile, or never there.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err((directory, e)),
        };
        if content.is_empty() && empty == EmptyDirectories::Show && directory != backup {
            if each(&directory).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            continue;
        }
        let (mut files, mut below) = (Vec::new(), Vec::new());
        for (name, kind) in content {
            let path = directory.join(name);
            if kind.is_dir() {
                below.push(path);
            } else if !(kind.is_symlink() && path.is_dir()) {
                files.push(path);
            }
        }
        files.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        for file in &files {
            if each(file).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        // The last one is taken first.
        directories.extend(below.into_iter().rev());
    }
    Ok(ControlFlow::Continue(()))
}

fn read(directory: &Path) -> io::Result<Vec<(OsString, FileType)>> {
    std::fs::read_dir(directory)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), entry.file_type()?))
        })
        .collect()
}

/// Why the WAL of a backup cannot be told from its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRange {
    /// It is not known where it begins or ends.
    #[error("it is not known where the backup {}, so the WAL that it needs is not listed", missing(*begins))]
    Unknown {
        /// Whether at least the begin is known.
        begins: bool,
    },
    /// There is no such range.
    #[error("the backup begins in {begin} and ends in {end}, which is no range of one timeline")]
    NotARange {
        /// Where it begins.
        begin: SegmentName,
        /// Where it ends.
        end: SegmentName,
    },
}

fn missing(begins: bool) -> &'static str {
    if begins { "ends" } else { "begins and ends" }
}

/// The segments that a backup needs to be consistent, by their names: whether they exist is not looked at.
///
/// # Errors
/// They are not known.
pub fn consistent_wal(backup: &BackupInfo) -> Result<impl Iterator<Item = SegmentName> + use<>, NoRange> {
    let Some((begin, end)) = backup.wal_range() else {
        return Err(NoRange::Unknown {
            begins: backup.begin_wal.is_some(),
        });
    };
    if begin.timeline != end.timeline || end < begin {
        return Err(NoRange::NotARange { begin, end });
    }
    Ok(begin.through(end, backup.xlog_segment_size))
}

/// The files of the archive from the beginning of `backup` to the end of `next`, in the order of the catalogue: segments
/// of its timeline and lower ones, and history files up to there.
pub fn wal_until_next<'d>(
    db: &'d XlogDb,
    backup: &BackupInfo,
    next: Option<&BackupInfo>,
) -> impl Iterator<Item = WalFileName> + use<'d> {
    let begin = backup.begin_wal;
    let stop = next.and_then(|n| n.end_wal);
    db.iter()
        .map(|record| record.name)
        .take_while(move |_| begin.is_some())
        .take_while(move |name| match (name, stop) {
            (WalFileName::Segment(segment), Some(stop)) => {
                begin.is_none_or(|begin| *segment < begin || segment.timeline > begin.timeline)
                    || *segment <= stop
            }
            _ => true,
        })
        .filter(move |name| match (name, begin) {
            (WalFileName::History(_), _) => true,
            (WalFileName::Segment(segment), Some(begin)) => {
                *segment >= begin && segment.timeline <= begin.timeline
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn walked(root: &Path, empty: EmptyDirectories) -> Vec<String> {
        let mut found = Vec::new();
        let result = walk_data(root, empty, &mut |path| {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            ControlFlow::Continue(())
        });
        assert_eq!(result.unwrap(), ControlFlow::Continue(()));
        found
    }

    #[test]
    fn files_before_directories_and_no_link_followed() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("backup");
        assert!(walked(&root, EmptyDirectories::Show).is_empty());
        for directory in ["data/base/1", "data/pg_tblspc", "data/pg_wal/archive_status"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["data/b", "data/PG_VERSION", "data/base/1/112"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        symlink("/nowhere", root.join("data/link")).unwrap();
        symlink(home.path(), root.join("data/pg_tblspc/1")).unwrap();
        let files = walked(&root, EmptyDirectories::Skip);
        assert_eq!(files[..3], ["data/PG_VERSION", "data/b", "data/link"]);
        assert_eq!(files[3..], ["data/base/1/112"]);
        let mut all = walked(&root, EmptyDirectories::Show);
        all.retain(|path| !files.contains(path));
        assert_eq!(all, ["data/pg_wal/archive_status"]);
        let mut seen = 0;
        let end = walk_data(&root, EmptyDirectories::Skip, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!((end.unwrap(), seen), (ControlFlow::Break(()), 1));
    }

    fn backup(begin: &str, end: &str) -> BackupInfo {
        let mut info = BackupInfo::new("20260101T000000".parse().unwrap(), "s", None);
        info.begin_wal = begin.parse().ok();
        info.end_wal = end.parse().ok();
        info
    }

    const A: &str = "000000010000000000000002";
    const B: &str = "000000010000000000000004";

    #[test]
    fn a_range_without_an_end_is_none() {
        let names: Vec<_> = consistent_wal(&backup(A, B))
            .unwrap()
            .map(|s| s.to_string())
            .collect();
        assert_eq!(names, [A, "000000010000000000000003", B]);
        for (begin, end, says) in [
            (A, "", "where the backup ends"),
            ("", "", "begins and ends"),
            (A, "000000020000000000000004", "no range"),
            (B, A, "no range"),
        ] {
            let error = consistent_wal(&backup(begin, end)).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn wal_up_to_the_next_backup_with_history_files() {
        let names = [
            "000000010000000000000001",
            A,
            "000000010000000000000002.00000028.backup",
            "00000002.history",
            B,
            "000000010000000000000005",
            "000000020000000000000005",
            "00000003.history",
        ];
        let text: String = names
            .iter()
            .map(|n| format!("{n}\t1\t1.0\tNone\tNone\n"))
            .collect();
        let db = XlogDb::parse(text.as_bytes()).unwrap();
        let listed = |backup: &BackupInfo, next: Option<&BackupInfo>| -> Vec<String> {
            wal_until_next(&db, backup, next).map(|n| n.to_string()).collect()
        };
        let first = backup(A, A);
        assert_eq!(
            listed(&first, None),
            [
                A,
                "00000002.history",
                B,
                "000000010000000000000005",
                "00000003.history"
            ]
        );
        assert_eq!(listed(&first, Some(&backup(B, B))), [A, "00000002.history", B]);
        assert!(listed(&backup("", ""), None).is_empty());
    }
}
