//! The WAL catalogue made anew from what lies in the archive.

use super::{Tag, WalRecord, XlogDb};
use crate::layout::Layout;
use barman_wal::WalFileName;
use barman_wal::codec::{self, Algorithm, DETECT_LENGTH};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

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
    /// Paths below the archive that do not belong there, at most 1000.
    pub strangers: Vec<String>,
}

impl RebuildReport {
    fn stranger(&mut self, path: &Path) {
        if self.strangers.len() < 1000 {
            self.strangers.push(path.display().to_string());
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

/// Reads the archive, sorted by name. What `old` knows of the compression of an encrypted file is kept: it cannot be
/// seen from outside.
pub(super) fn scan(
    layout: &Layout,
    custom: &CustomMagic,
    old: &XlogDb,
) -> io::Result<(XlogDb, RebuildReport)> {
    let known: HashMap<WalFileName, Tag> = old
        .iter()
        .filter(|r| r.encryption.is_some())
        .filter_map(|r| r.compression.map(|compression| (r.name, compression)))
        .collect();
    let own_prefix = format!("{}-xlog.db", layout.server());
    let mut db = XlogDb::default();
    let mut report = RebuildReport::default();
    for name in sorted_names(&layout.wals_directory)? {
        // Hidden: our temporary files, `.` directories of other programs.
        if name.starts_with(&own_prefix)
            || name.starts_with('.')
            || name == "xlog.db"
            || name == "sync-wals.info"
        {
            continue;
        }
        let path = layout.wals_directory.join(&name);
        if path.is_dir() {
            for inner in sorted_names(&path)? {
                if !inner.starts_with('.') {
                    let path = path.join(&inner);
                    add(&mut db, &mut report, layout, &path, &inner, (custom, &known))?;
                }
            }
        } else {
            add(&mut db, &mut report, layout, &path, &name, (custom, &known))?;
        }
    }
    Ok((db.sorted(), report))
}

fn add(
    db: &mut XlogDb,
    report: &mut RebuildReport,
    layout: &Layout,
    path: &Path,
    name: &str,
    (custom, known): (&CustomMagic, &HashMap<WalFileName, Tag>),
) -> io::Result<()> {
    // Whoever reads a line looks for the file where its name says: one that lies elsewhere, or is written in lower
    // case, would be a line without a file.
    let in_place = |name: &WalFileName| layout.wal_path(name) == path;
    let Some(parsed) = name.parse().ok().filter(in_place) else {
        report.stranger(path);
        return Ok(());
    };
    let count = match parsed {
        WalFileName::History(_) => &mut report.history,
        WalFileName::Segment(_) => &mut report.wal_file,
        WalFileName::BackupHistory { .. } => &mut report.backup_labels,
        WalFileName::Partial(_) => &mut report.partial,
    };
    match describe(path, name, custom) {
        Ok(Some(mut record)) => {
            if record.encryption.is_some() {
                record.compression = known.get(&record.name).copied();
            }
            *count += 1;
            db.push(&record);
            Ok(())
        }
        Ok(None) => {
            report.stranger(path);
            Ok(())
        }
        // Deleted meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The record of a file in the archive; `None` if it is no regular file or has no WAL name.
pub(super) fn describe(path: &Path, name: &str, custom: &CustomMagic) -> io::Result<Option<WalRecord>> {
    let Ok(name) = name.parse() else { return Ok(None) };
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut head = Vec::with_capacity(DETECT_LENGTH);
    File::open(path)?
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

/// The names in a directory that are text, in byte order.
fn sorted_names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

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
