//! Whether what was received is what the server's `backup_manifest` says was sent, in constant memory: both sides are
//! summed up as sets of (path, size, checksum), and only if the sums differ the files are compared one by one. Servers
//! before 13 send no manifest: for them one is written here, file by file as they arrive.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher as _};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use barman_wal::durable::AtomicFile;
use barman_wal::history::TimelineHistory;
use barman_wal::manifest::{
    self, Checksum, Hasher, ManifestError, ManifestFile, ManifestSummary, ManifestWriter, WalRange,
};

use super::BackupPosition;
use super::extract::{ExtractError, TABLESPACE_MAP, file_error};

/// The sum of a set of files, in any order.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    keys: [RandomState; 2],
    sums: [u64; 2],
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl FileSet {
    pub(super) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            sums: [0; 2],
            files: 0,
            bytes: 0,
        }
    }

    /// An empty set that can be compared with this one.
    pub(super) fn sibling(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            sums: [0; 2],
            files: 0,
            bytes: 0,
        }
    }

    pub(super) fn add(&mut self, path: &Path, size: u64, checksum: Option<&Checksum>) {
        for (sum, key) in self.sums.iter_mut().zip(&self.keys) {
            let mut hasher = key.build_hasher();
            let name = path.as_os_str().as_bytes();
            hasher.write_usize(name.len());
            hasher.write(name);
            hasher.write_u64(size);
            hasher.write(checksum.map(|c| c.bytes.as_slice()).unwrap_or_default());
            *sum = sum.wrapping_add(hasher.finish());
        }
        self.files += 1;
        self.bytes = self.bytes.wrapping_add(size);
    }

    /// Whether both sets hold the same files. They must be siblings.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.sums == other.sums && self.files == other.files && self.bytes == other.bytes
    }
}

/// What the server said besides the files, to compare with the manifest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) systemid: &'a str,
    pub(super) start: BackupPosition,
    pub(super) end: BackupPosition,
}

/// Compares what was received with the manifest that came with it, which is at `path`.
pub(super) fn verify(
    data: &Path,
    path: &Path,
    received: &FileSet,
    said: Said<'_>,
) -> Result<(), ExtractError> {
    let open = || {
        File::open(path)
            .map(|file| BufReader::with_capacity(64 * 1024, file))
            .map_err(file_error("read", path))
    };
    let mut sent = received.sibling();
    let summary = manifest::read(open()?, |file| {
        // It is not kept: the links that it stands for are.
        if file.path != Path::new(TABLESPACE_MAP) {
            sent.add(&file.path, file.size, file.checksum.as_ref());
        }
        Ok::<(), String>(())
    })
    .map_err(|error| ExtractError::Manifest(error.to_string()))?;
    agree(&summary, said).map_err(ExtractError::Mismatch)?;
    if sent.equals(received) {
        return Ok(());
    }
    // Something differs: now it is worth reading the files again to say what.
    let found = manifest::read(open()?, |file| compare(data, &file));
    Err(ExtractError::Mismatch(match found {
        Err(ManifestError::Callback(what)) => what,
        Err(other) => other.to_string(),
        Ok(_) => format!("{} files were sent and {} received", sent.files, received.files),
    }))
}

/// Whether the manifest is of this cluster and this backup: its WAL ranges, newest timeline first, must lead from the
/// start to the end without a gap (PostgreSQL, `AddWALInfoToBackupManifest`).
fn agree(summary: &ManifestSummary, said: Said<'_>) -> Result<(), String> {
    if let Some(id) = summary.system_identifier
        && id.to_string() != said.systemid
    {
        return Err(format!(
            "the manifest is of system {id}, the backup of system {}",
            said.systemid
        ));
    }
    let mut position = said.end.lsn;
    let mut newer = None;
    for range in &summary.wal_ranges {
        let follows = match newer {
            None => range.timeline == said.end.timeline,
            Some(newer) => range.timeline < newer,
        };
        if !follows || range.end != position || range.start > range.end {
            return Err(format!(
                "the manifest needs WAL of timeline {} from {} to {}, which does not lead to the end at {} (timeline {})",
                range.timeline, range.start, range.end, said.end.lsn, said.end.timeline
            ));
        }
        position = range.start;
        newer = Some(range.timeline);
    }
    if position != said.start.lsn || newer != Some(said.start.timeline) {
        return Err(format!(
            "the WAL that the manifest needs does not begin at {} (timeline {})",
            said.start.lsn, said.start.timeline
        ));
    }
    Ok(())
}

fn compare(data: &Path, file: &ManifestFile) -> Result<(), String> {
    if file.path == Path::new(TABLESPACE_MAP) {
        return Ok(());
    }
    let shown = file.path.display();
    let path = data.join(&file.path);
    let mut content = File::open(&path).map_err(|error| format!("\"{shown}\" is missing: {error}"))?;
    let length = content
        .metadata()
        .map_err(|error| format!("\"{shown}\": {error}"))?
        .len();
    if length != file.size {
        return Err(format!("\"{shown}\" has {length} bytes, {} were sent", file.size));
    }
    let Some(checksum) = &file.checksum else {
        return Ok(());
    };
    let mut hasher = Hasher::new(checksum.algorithm);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let length = content
            .read(&mut buffer)
            .map_err(|error| format!("\"{shown}\": {error}"))?;
        match buffer.get(..length) {
            None | Some([]) => break,
            Some(bytes) => hasher.update(bytes),
        }
    }
    if hasher.finish().as_ref() == Some(checksum) {
        Ok(())
    } else {
        Err(format!("\"{shown}\" does not have the checksum that was sent"))
    }
}

/// The WAL between two positions as a server writes it into a manifest, newest timeline first. `history` is that of the
/// end's timeline, and needed only if it is not the start's.
pub(super) fn wal_ranges(
    start: BackupPosition,
    end: BackupPosition,
    history: Option<&TimelineHistory>,
) -> Result<Vec<WalRange>, String> {
    let mut ranges = Vec::new();
    let mut upper = end;
    while upper.timeline != start.timeline {
        let begin = history
            .and_then(|history| history.start_of(upper.timeline))
            .filter(|begin| *begin <= upper.lsn);
        let older = history.and_then(|history| {
            history
                .entries()
                .iter()
                .map(|entry| entry.parent)
                .take_while(|timeline| *timeline < upper.timeline)
                .last()
        });
        let (Some(begin), Some(older)) = (begin, older) else {
            return Err(format!(
                "timeline {} does not follow timeline {}",
                end.timeline, start.timeline
            ));
        };
        ranges.push(WalRange {
            timeline: upper.timeline,
            start: begin,
            end: upper.lsn,
        });
        upper = BackupPosition {
            lsn: begin,
            timeline: older,
        };
    }
    if upper.lsn < start.lsn {
        return Err(format!(
            "the backup ends at {} before it begins at {}",
            upper.lsn, start.lsn
        ));
    }
    ranges.push(WalRange {
        timeline: start.timeline,
        start: start.lsn,
        end: upper.lsn,
    });
    Ok(ranges)
}

/// A manifest of our own, in the format of the first version. It gets its name when it is complete.
pub(super) struct OwnWriter {
    file: AtomicFile,
    writer: ManifestWriter<BufWriter<File>>,
}

impl OwnWriter {
    pub(super) fn create(path: &Path) -> Result<Self, ExtractError> {
        let file = AtomicFile::create(path, 0o600)?;
        let output = file
            .file()
            .try_clone()
            .map(|file| BufWriter::with_capacity(64 * 1024, file))
            .and_then(|output| ManifestWriter::new(output, None))
            .map_err(file_error("write", path))?;
        Ok(Self { file, writer: output })
    }

    /// The next file; `modified` in seconds from 1970.
    pub(super) fn add(
        &mut self,
        path: &Path,
        size: u64,
        modified: u64,
        checksum: Option<Checksum>,
    ) -> io::Result<()> {
        self.writer.file(&ManifestFile {
            path: path.to_path_buf(),
            size,
            last_modified: last_modified(modified),
            checksum,
        })
    }

    /// Everything is in it; [`AtomicFile::commit`] gives it its name, durably.
    pub(super) fn finish(self, ranges: &[WalRange]) -> Result<AtomicFile, ExtractError> {
        let target = self.file.target().to_path_buf();
        self.writer.finish(ranges).map_err(file_error("write", &target))?;
        Ok(self.file)
    }
}

/// As PostgreSQL writes it: `2026-11-21 09:20:25 GMT`.
fn last_modified(seconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S GMT").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_wal::manifest::{Algorithm, Hasher};

    fn crc(content: &[u8]) -> Option<Checksum> {
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        hasher.update(content);
        hasher.finish()
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let files: [(&str, &[u8]); 3] = [("base/1", b"one"), ("base/2", b"two"), ("global/pg_control", b"")];
        let mut all = FileSet::new();
        for (path, content) in files {
            all.add(Path::new(path), content.len() as u64, crc(content).as_ref());
        }
        let mut backwards = all.sibling();
        for (path, content) in files.iter().rev() {
            backwards.add(Path::new(path), content.len() as u64, crc(content).as_ref());
        }
        assert!(all.equals(&backwards));
        for (path, content) in [("base/1", &b"One"[..]), ("base/3", b"one"), ("base/1", b"one!")] {
            let mut other = all.sibling();
            for (p, c) in &files[1..] {
                other.add(Path::new(p), c.len() as u64, crc(c).as_ref());
            }
            assert!(!all.equals(&other));
            other.add(Path::new(path), content.len() as u64, crc(content).as_ref());
            assert!(!all.equals(&other), "{path}");
        }
    }
}
