//! The WAL catalogue made anew from what lies in the archive.

use super::{Tag, WalRecord, XlogDb};
use crate::layout::Layout;
use barman_wal::codec::{self, Algorithm, DETECT_LENGTH};
use barman_wal::durable;
use barman_wal::{SegmentName, WalFileName};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// So many paths that do not belong into the archive are named.
const MAX_STRANGERS: usize = 1000;

/// So many directories are looked at at the same time, at most.
const MAX_THREADS: usize = 8;

/// How files of the `custom` compression are recognised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CustomMagic {
    /// There is no custom compression.
    #[default]
    None,
    /// They begin with these bytes (`custom_compression_magic`).
    Bytes(Vec<u8>),
    /// Not at all: whatever is not recognised is taken for one.
    Anything,
}

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RebuildReport {
    /// History files.
    pub history: u64,
    /// Backup labels.
    pub backup_labels: u64,
    /// Complete segments.
    pub wal_file: u64,
    /// Partial segments.
    pub partial: u64,
    /// Paths below the archive that do not belong there, at most 1000. What is no UTF-8, or would not stay on its line,
    /// is escaped.
    pub strangers: Vec<String>,
}

impl RebuildReport {
    fn add(&mut self, other: Self) {
        self.history += other.history;
        self.backup_labels += other.backup_labels;
        self.wal_file += other.wal_file;
        self.partial += other.partial;
        let room = MAX_STRANGERS.saturating_sub(self.strangers.len());
        self.strangers.extend(other.strangers.into_iter().take(room));
    }

    fn stranger(&mut self, path: &Path) {
        if self.strangers.len() < MAX_STRANGERS {
            self.strangers.push(escaped(path));
        }
    }
}

/// The compression and the encryption of a file, by its first bytes.
#[must_use]
pub fn inspect(head: &[u8], custom: &CustomMagic) -> (Option<&'static str>, Option<&'static str>) {
    if codec::looks_encrypted(head) {
        return (None, Some("gpg"));
    }
    let magic = match custom {
        CustomMagic::Bytes(magic) => Some(magic.as_slice()),
        CustomMagic::None | CustomMagic::Anything => None,
    };
    let known = Algorithm::detect(head, magic).map(Algorithm::name);
    (
        known.or((*custom == CustomMagic::Anything).then_some("custom")),
        None,
    )
}

/// Who watches a rebuild, and may stop it.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Raised by whoever wants it to stop; the old catalogue stays in place then.
    pub cancel: Option<&'a AtomicBool>,
    /// Told now and then how many bytes of WAL files have been looked at in all, by any thread.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

/// Reads the archive, sorted by name; several directories at a time. What `old` knows of the compression of an
/// encrypted file is kept: it cannot be seen from outside.
pub(super) fn scan(
    layout: &Layout,
    custom: &CustomMagic,
    old: &XlogDb,
    watch: Watch<'_>,
) -> io::Result<(XlogDb, RebuildReport)> {
    let scan = Scan {
        layout,
        custom,
        known: old
            .iter()
            .filter(|r| r.encryption.is_some())
            .filter_map(|r| r.compression.map(|compression| (r.name, compression)))
            .collect(),
        watch,
        bytes: AtomicU64::new(0),
    };
    let own_prefix = format!("{}-xlog.db", layout.server());
    let mut top = Part::default();
    let mut directories = Vec::new();
    for name in sorted_names(&layout.wals_directory)? {
        // Hidden: our temporary files, `.` directories of other programs.
        if name.as_bytes().starts_with(own_prefix.as_bytes())
            || name.as_bytes().starts_with(b".")
            || name == "xlog.db"
            || name == "sync-wals.info"
        {
            continue;
        }
        let path = layout.wals_directory.join(&name);
        if path.is_dir() {
            directories.push(path);
        } else {
            scan.add(&mut top, &path, &name)?;
        }
    }
    let mut db = top.db;
    let mut report = top.report;
    for part in scan.directories(&directories)? {
        part.db.iter().for_each(|record| db.push(&record));
        report.add(part.report);
    }
    Ok((db.sorted(), report))
}

/// What was found in a part of the archive.
#[derive(Default)]
struct Part {
    db: XlogDb,
    report: RebuildReport,
}

struct Scan<'a> {
    layout: &'a Layout,
    custom: &'a CustomMagic,
    /// Compressions of encrypted files.
    known: HashMap<WalFileName, Tag>,
    watch: Watch<'a>,
    /// Bytes of the files looked at.
    bytes: AtomicU64,
}

impl Scan<'_> {
    /// Looks at all these directories, and returns what is in them in their order.
    fn directories(&self, paths: &[PathBuf]) -> io::Result<Vec<Part>> {
        let threads = barman_wal::processors().min(MAX_THREADS);
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<Vec<(usize, Part)>> {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = paths.get(at) else {
                    return Ok(done);
                };
                match self.directory(path) {
                    Ok(part) => done.push((at, part)),
                    Err(error) => {
                        // The others need not go on.
                        next.store(paths.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let mut parts = Vec::with_capacity(paths.len());
        thread::scope(|scope| -> io::Result<()> {
            let others: Vec<_> = (1..threads.min(paths.len())).map(|_| scope.spawn(work)).collect();
            let mut result = work().map(|done| parts.extend(done));
            for other in others {
                match other.join() {
                    Ok(Ok(done)) => parts.extend(done),
                    Ok(Err(error)) => result = result.and(Err(error)),
                    Err(_) => result = result.and(Err(io::Error::other("a thread has ended unexpectedly"))),
                }
            }
            result
        })?;
        parts.sort_by_key(|(at, _)| *at);
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }

    fn directory(&self, path: &Path) -> io::Result<Part> {
        let mut part = Part::default();
        let names = match sorted_names(path) {
            Ok(names) => names,
            // Emptied and removed meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(part),
            // `lost+found` of a file system that is mounted here: it holds no WAL file that anybody would look for.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !is_of_segments(path) => {
                part.report.stranger(path);
                return Ok(part);
            }
            Err(e) => return Err(about(path, &e)),
        };
        for name in names.iter().filter(|name| !name.as_bytes().starts_with(b".")) {
            self.add(&mut part, &path.join(name), name)?;
        }
        if let Some(progress) = self.watch.progress {
            progress(self.bytes.load(Ordering::Relaxed));
        }
        Ok(part)
    }

    fn add(&self, part: &mut Part, path: &Path, name: &OsStr) -> io::Result<()> {
        if self
            .watch
            .cancel
            .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
        {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let report = &mut part.report;
        // Whoever reads a line looks for the file where its name says: one that lies elsewhere, or is written in lower
        // case, would be a line without a file.
        let in_place = |name: &WalFileName| self.layout.wal_path(name) == path;
        let name = name.to_str();
        let Some(parsed) = name.and_then(|name| name.parse().ok()).filter(in_place) else {
            report.stranger(path);
            return Ok(());
        };
        let count = match parsed {
            WalFileName::History(_) => &mut report.history,
            WalFileName::Segment(_) => &mut report.wal_file,
            WalFileName::BackupHistory { .. } => &mut report.backup_labels,
            WalFileName::Partial(_) => &mut report.partial,
        };
        match describe(path, parsed, self.custom) {
            Ok(Some(mut record)) => {
                if record.encryption.is_some() {
                    record.compression = self.known.get(&record.name).copied();
                }
                *count += 1;
                self.bytes.fetch_add(record.size, Ordering::Relaxed);
                part.db.push(&record);
                Ok(())
            }
            Ok(None) => {
                report.stranger(path);
                Ok(())
            }
            // Deleted meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(about(path, &e)),
        }
    }
}

/// Whether segments of a timeline belong in this directory.
fn is_of_segments(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| SegmentName::is_archive_directory(name.as_bytes()))
}

/// An error that tells the file.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The record of a file in the archive; `None` if it is no regular file.
pub(super) fn describe(
    path: &Path,
    name: WalFileName,
    custom: &CustomMagic,
) -> io::Result<Option<WalRecord>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut head = Vec::with_capacity(DETECT_LENGTH);
    durable::open_file(path)?
        .take(DETECT_LENGTH as u64)
        .read_to_end(&mut head)?;
    let (compression, encryption) = inspect(&head, custom);
    Ok(Some(WalRecord {
        name,
        size: metadata.len(),
        time: WalRecord::time_from(metadata.mtime(), metadata.mtime_nsec()),
        compression: compression.and_then(Tag::new),
        encryption: encryption.and_then(Tag::new),
    }))
}

/// The names in a directory, in byte order.
fn sorted_names(directory: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// A path for a line of a log: bytes that are no UTF-8 as `\xff`, control characters as `\t` or `\u{1b}`.
fn escaped(path: &Path) -> String {
    let mut shown = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_debug());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_line_whatever_is_in_them() {
        for (bytes, shown) in [
            (&b"/w/0000000100000000/f"[..], "/w/0000000100000000/f"),
            ("/w/gr\u{fc}n it's".as_bytes(), "/w/gr\u{fc}n it's"),
            (b"/w/a\xff\xfeb", "/w/a\\xff\\xfeb"),
            (b"/w/\xe2\x82", "/w/\\xe2\\x82"),
            (b"/w/a\nb\t\x1b[31m", "/w/a\\nb\\t\\u{1b}[31m"),
        ] {
            assert_eq!(escaped(Path::new(OsStr::from_bytes(bytes))), shown);
        }
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let custom = CustomMagic::Bytes(b"MAGIC".to_vec());
        for (head, kind) in [
            (&b"\x1f\x8b\x08\x00"[..], (Some("gzip"), None)),
            (b"BZh9", (Some("bzip2"), None)),
            (b"MAGIC...", (Some("custom"), None)),
            (b"\x28\xb5\x2f\xfd....", (Some("zstd"), None)),
            (b"\x10\xd1\x07\x00", (None, None)),
            (b"\x97\xd0\x07\x00", (None, None)),
            (b"", (None, None)),
            // gpg --encrypt: old format, tag 1, two bytes of length, version 3.
            (b"\x85\x01\x0c\x03", (None, Some("gpg"))),
            (b"\x84\x5e\x03", (None, Some("gpg"))),
            // New format.
            (b"\xc1\xc0\x4c\x03", (None, Some("gpg"))),
        ] {
            assert_eq!(inspect(head, &custom), kind, "{head:x?}");
        }
        assert_eq!(
            inspect(b"\x10\xd1\x07\x00", &CustomMagic::Anything),
            (Some("custom"), None)
        );
        assert_eq!(
            inspect(b"\x1f\x8b\x08", &CustomMagic::Anything),
            (Some("gzip"), None)
        );
    }
}
