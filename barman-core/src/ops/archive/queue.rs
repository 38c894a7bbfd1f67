//! What waits to be archived: listing a directory, and deciding what of it this run takes.
//!
//! Barman limits the raw listing before it looks at it, so that a partial segment or a stale `.tmp` file uses up the
//! batch; here the limit comes after the decision.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use barman_wal::WalFileName;

/// From where WAL files come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// `streaming/`, filled by `receive-wal`.
    Streaming,
    /// `incoming/`, filled by `archive_command` and `put-wal`.
    Incoming,
}

impl Source {
    /// As in the header line.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Incoming => "file archival",
        }
    }
}

/// One entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it is spelled.
    pub(super) name: OsString,
    /// Whether it is a regular file, or a link to one.
    pub(super) is_file: bool,
}

/// A file to archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// As it is spelled.
    pub(super) spelling: String,
    /// What it means.
    pub(super) name: WalFileName,
}

/// What a run has to do with one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Batch {
    /// In the order of archiving.
    pub(super) files: Vec<Waiting>,
    /// Objects that do not belong there, in the order of their names.
    pub(super) unknown: Vec<OsString>,
    /// How many entries the directory has, ignored ones included.
    pub(super) total: usize,
    /// How many files could be archived now, were there no limit.
    pub(super) ready: usize,
}

/// Lists a directory as a shell's `*` would, sorted by byte. A missing directory is empty: nothing was ever delivered.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_file = kind.is_file()
            || (kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|target| target.is_file()));
        listed.push(Entry { name, is_file });
    }
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed)
}

/// Decides. `entries` are sorted; `limit` 0 means none. What `rests` uses up nothing of the limit.
pub(super) fn choose(
    source: Source,
    entries: Vec<Entry>,
    limit: u64,
    rests: &dyn Fn(&Waiting) -> bool,
) -> Batch {
    let mut batch = Batch {
        total: entries.len(),
        ..Batch::default()
    };
    let mut partials = Vec::new();
    for entry in entries {
        if entry.name.as_bytes().ends_with(b".tmp") {
            continue;
        }
        let parsed = entry
            .name
            .to_str()
            .filter(|_| entry.is_file)
            .and_then(|spelling| {
                let name = spelling.parse::<WalFileName>().ok()?;
                Some(Waiting {
                    spelling: spelling.to_owned(),
                    name,
                })
            });
        match parsed {
            None => batch.unknown.push(entry.name),
            Some(file) if source == Source::Streaming && matches!(file.name, WalFileName::Partial(_)) => {
                partials.push(file);
            }
            Some(file) => batch.files.push(file),
        }
    }
    if source == Source::Streaming {
        // The receiver needs a file to find its position after a restart: the partial it writes, or else the last
        // complete one. An older partial is the end of a timeline that was left.
        if partials.pop().is_none() {
            batch.files.pop();
        }
        batch.files.append(&mut partials);
    }
    // After the choice of what the receiver needs, which is the same whatever rests.
    batch.files.retain(|file| !rests(file));
    batch.ready = batch.files.len();
    if limit > 0 {
        batch.files.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    batch
}

/// The path of a file in its directory.
pub(super) fn path_of(directory: &Path, file: &Waiting) -> PathBuf {
    directory.join(&file.spelling)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(source: Source, names: &[&str], limit: u64) -> (Vec<String>, Vec<String>) {
        let mut entries: Vec<_> = names
            .iter()
            .map(|name| Entry {
                name: (*name).into(),
                is_file: !name.starts_with("dir"),
            })
            .collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let batch = choose(source, entries, limit, &|_| false);
        assert_eq!(batch.total, names.len());
        (
            batch.files.into_iter().map(|file| file.spelling).collect(),
            batch
                .unknown
                .into_iter()
                .map(|name| name.into_string().unwrap())
                .collect(),
        )
    }

    const A: &str = "00000001000000000000000A";
    const B: &str = "00000001000000000000000B";
    const C: &str = "00000001000000000000000C";
    const HISTORY: &str = "00000002.history";
    const A_PARTIAL: &str = "00000001000000000000000A.partial";
    const C_PARTIAL: &str = "00000001000000000000000C.partial";
    const LABEL: &str = "00000001000000000000000A.00000028.backup";

    #[test]
    fn incoming() {
        let incoming = |names: &[&str], limit| chosen(Source::Incoming, names, limit);
        assert_eq!(
            incoming(
                &[
                    B,
                    HISTORY,
                    A,
                    LABEL,
                    A_PARTIAL,
                    "x",
                    "dir",
                    "0.tmp",
                    "00000001000000000000000A.gz"
                ],
                0
            ),
            (
                [A, LABEL, A_PARTIAL, B, HISTORY].map(str::to_owned).to_vec(),
                ["00000001000000000000000A.gz", "dir", "x"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
        // The limit counts files, not what is passed over.
        assert_eq!(incoming(&["0.tmp", "1.tmp", B, A, C], 2).0, [A, B]);
        assert!(incoming(&[], 0).0.is_empty());
    }

    #[test]
    fn streaming() {
        let streaming = |names: &[&str], limit| chosen(Source::Streaming, names, limit).0;
        for (names, limit, files) in [
            (&[A, B, C_PARTIAL][..], 0, &[A, B][..]),
            // Without a partial the last one stays.
            (&[A, B, C], 0, &[A, B]),
            (&[A], 0, &[]),
            // Older partials go last, the newest stays.
            (&[A_PARTIAL, B, C_PARTIAL, HISTORY], 0, &[B, HISTORY, A_PARTIAL]),
            // The limit neither loses one file each time nor stops at 1.
            (&[A, B, C_PARTIAL], 1, &[A]),
            (&[A, B, C], 2, &[A, B]),
            (&[], 0, &[]),
        ] {
            assert_eq!(streaming(names, limit), files, "{names:?} {limit}");
        }
    }

    #[test]
    fn listing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["b", "a", ".hidden"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("zz")).unwrap();
        let found: Vec<_> = list(directory.path())
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name.into_string().unwrap(), entry.is_file))
            .collect();
        let expected = [
            ("a", true),
            ("b", true),
            ("d", false),
            ("link", true),
            ("zz", false),
        ];
        assert_eq!(found, expected.map(|(name, file)| (name.to_owned(), file)));
        assert!(list(&at("missing")).unwrap().is_empty());
        assert!(list(&at("a")).is_err());
    }
}
