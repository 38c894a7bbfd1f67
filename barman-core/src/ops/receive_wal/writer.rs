//! Segment files as `pg_receivewal` writes them: `SEG.partial`, created at full size with zeros and made durable before
//! use, written from its beginning, and renamed to `SEG` when it is complete and on stable storage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName, durable};

use super::ReceiveError;

/// Zeros are written in pieces of this size.
const ZEROS: usize = 64 * 1024;

/// What happened to a partial file that had another size than 0 or a segment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repaired {
    pub(super) path: PathBuf,
    pub(super) found: u64,
    pub(super) expected: u64,
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    name: SegmentName,
    /// Whether it had no content when it was opened.
    fresh: bool,
}

/// Writes a stream of WAL into segment files.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    directory: PathBuf,
    size: SegmentSize,
    timeline: TimelineId,
    open: Option<Open>,
    /// Where the next byte goes.
    written: Lsn,
    /// Up to here everything is on stable storage.
    flushed: Lsn,
    repaired: Option<Repaired>,
}

impl SegmentWriter {
    /// Begins at the beginning of a segment; nothing is written yet.
    pub(super) fn new(directory: &Path, size: SegmentSize, timeline: TimelineId, start: Lsn) -> Self {
        Self {
            directory: directory.to_path_buf(),
            size,
            timeline,
            open: None,
            written: start,
            flushed: start,
            repaired: None,
        }
    }

    pub(super) fn written(&self) -> Lsn {
        self.written
    }

    pub(super) fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// What was found when a partial file was opened, once.
    pub(super) fn take_repaired(&mut self) -> Option<Repaired> {
        self.repaired.take()
    }

    /// Writes the next bytes, which begin at [`SegmentWriter::written`], up to the end of the segment. Returns how many
    /// were taken and whether they completed a segment.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(usize, bool), ReceiveError> {
        let offset = self.written.offset(self.size);
        let room = usize::try_from(self.size.bytes() - offset).unwrap_or(usize::MAX);
        let taken = bytes.get(..room).unwrap_or(bytes);
        let next = self
            .written
            .checked_add(taken.len() as u64)
            .ok_or_else(|| ReceiveError::Refused("WAL beyond the largest position".to_owned()))?;
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_partial()?,
        };
        // If it fails, what came before is still to be flushed.
        let open = self.open.insert(open);
        open.file
            .write_all_at(taken, u64::from(offset))
            .map_err(ReceiveError::file("write", &open.path))?;
        self.written = next;
        let complete = taken.len() == room;
        if complete && let Some(open) = self.open.take() {
            self.complete(&open)?;
            // Not with the next byte: on a quiet server that may take long, and until there is a partial file the
            // archiver keeps the last complete one back.
            self.open = Some(self.open_partial()?);
        }
        Ok((taken.len(), complete))
    }

    fn open_partial(&mut self) -> Result<Open, ReceiveError> {
        if !self.written.is_segment_start(self.size) {
            return Err(ReceiveError::Refused(format!(
                "WAL at {} does not begin a segment",
                self.written
            )));
        }
        let name = SegmentName::from_lsn(self.timeline, self.written, self.size);
        let path = self.directory.join(WalFileName::Partial(name).to_string());
        let (file, found) = prepare(&path, u64::from(self.size.bytes()))?;
        durable::fsync_dir(&self.directory).map_err(ReceiveError::Disk)?;
        let expected = u64::from(self.size.bytes());
        if found != 0 && found != expected {
            self.repaired = Some(Repaired {
                path: path.clone(),
                found,
                expected,
            });
        }
        Ok(Open {
            file,
            path,
            name,
            fresh: found == 0,
        })
    }

    fn complete(&mut self, open: &Open) -> Result<(), ReceiveError> {
        let target = self.directory.join(WalFileName::Segment(open.name).to_string());
        durable::fsync_open(&open.file, &open.path).map_err(ReceiveError::Disk)?;
        durable::rename_synced(&open.path, &target).map_err(ReceiveError::Disk)?;
        self.flushed = self.written;
        Ok(())
    }

    /// Puts what was written on stable storage. What a failed sync has lost does not count as flushed ever again.
    pub(super) fn flush(&mut self) -> Result<(), ReceiveError> {
        if self.flushed < self.written
            && let Some(open) = self.open.take()
        {
            durable::fsync_open(&open.file, &open.path).map_err(ReceiveError::Disk)?;
            self.open = Some(open);
            self.flushed = self.written;
        }
        Ok(())
    }

    /// Leaves an incomplete segment as it is, on stable storage. Returns its name if there is one.
    pub(super) fn close(&mut self) -> Result<Option<SegmentName>, ReceiveError> {
        self.flush()?;
        Ok(self.open.take().map(|open| open.name))
    }

    /// [`SegmentWriter::close`] at the end of a timeline, which gets no further WAL and is followed at `switch_point`,
    /// which is not beyond what was written, by `next`: a file that was only prepared for it becomes the one of `next`.
    /// It is not just removed: if the archiver has taken the segment before it, it is all that says where to go on
    /// after a restart.
    pub(super) fn end_timeline(
        &mut self,
        next: TimelineId,
        switch_point: Lsn,
    ) -> Result<Option<SegmentName>, ReceiveError> {
        let unused = |open: &mut Open| open.fresh && self.written.is_segment_start(self.size);
        if let Some(open) = self.open.take_if(unused) {
            let name = SegmentName::from_lsn(next, switch_point, self.size);
            let path = self.directory.join(WalFileName::Partial(name).to_string());
            match durable::rename_new_synced(&open.path, &path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    durable::remove_durable(&open.path)
                        .map(drop)
                        .map_err(ReceiveError::Disk)?;
                }
                outcome => outcome.map_err(ReceiveError::Disk)?,
            }
        }
        self.close()
    }
}

/// Opens a partial file and brings it to its full size, durably. What it holds is kept until it is written over, so
/// nothing is lost if the server cannot send it again. Also returns the size that was found.
fn prepare(path: &Path, size: u64) -> Result<(File, u64), ReceiveError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
        .map_err(ReceiveError::file("open", path))?;
    let found = file
        .metadata()
        .map_err(ReceiveError::file("look at", path))?
        .len();
    if found > size {
        file.set_len(size).map_err(ReceiveError::file("shorten", path))?;
    }
    let zeros = vec![0; ZEROS];
    let mut at = found.min(size);
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(ZEROS).min(ZEROS);
        let piece = zeros.get(..length).unwrap_or_default();
        file.write_all_at(piece, at)
            .map_err(ReceiveError::file("extend", path))?;
        at += length as u64;
    }
    durable::fsync_open(&file, path).map_err(ReceiveError::Disk)?;
    Ok((file, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SIZE: u32 = 1 << 20;

    fn size() -> SegmentSize {
        SegmentSize::new(u64::from(SIZE)).unwrap()
    }

    fn writer(directory: &Path) -> SegmentWriter {
        SegmentWriter::new(directory, size(), TimelineId::FIRST, Lsn(u64::from(SIZE)))
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn segments_are_padded_while_partial_and_renamed_when_complete() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        let wal: Vec<u8> = (0..SIZE + 100).map(|n| (n % 251 + 1) as u8).collect();
        let (taken, complete) = writer.write(&wal[..1000]).unwrap();
        assert_eq!(
            (taken, complete, writer.written().0),
            (1000, false, u64::from(SIZE) + 1000)
        );
        assert_eq!(names(dir.path()), ["000000010000000000000001.partial"]);
        let partial = dir.path().join("000000010000000000000001.partial");
        let content = std::fs::read(&partial).unwrap();
        assert_eq!(content.len(), SIZE as usize);
        assert!(content[..1000] == wal[..1000] && content[1000..].iter().all(|byte| *byte == 0));
        assert_eq!(
            std::fs::metadata(&partial).unwrap().permissions().mode() & 0o777,
            0o600
        );
        // Only a flush makes it count.
        assert_eq!(writer.flushed().0, u64::from(SIZE));
        writer.flush().unwrap();
        assert_eq!(writer.flushed(), writer.written());

        let (taken, complete) = writer.write(&wal[1000..]).unwrap();
        assert_eq!((taken, complete), (SIZE as usize - 1000, true));
        assert_eq!(writer.flushed().0, 2 * u64::from(SIZE));
        // The next one is there at once, so that the complete one can be archived.
        assert_eq!(
            names(dir.path()),
            ["000000010000000000000001", "000000010000000000000002.partial"]
        );
        assert!(std::fs::read(dir.path().join("000000010000000000000001")).unwrap() == wal[..SIZE as usize]);
        assert_eq!(writer.write(&wal[SIZE as usize..]).unwrap(), (100, false));
        assert_eq!(
            writer.close().unwrap().unwrap().to_string(),
            "000000010000000000000002"
        );
        assert_eq!(
            names(dir.path()),
            ["000000010000000000000001", "000000010000000000000002.partial"]
        );
    }

    #[test]
    fn a_timeline_that_ends_with_a_segment_leaves_the_position_to_the_next_one() {
        let second = TimelineId::new(2).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (prepared, there) = (
            "000000020000000000000002.partial",
            dir.path().join("000000020000000000000002.partial"),
        );
        for content in [0, 7] {
            let mut ended = writer(dir.path());
            ended.write(&vec![1; SIZE as usize]).unwrap();
            assert_eq!(ended.end_timeline(second, ended.written()).unwrap(), None);
            assert_eq!(names(dir.path()), ["000000010000000000000001", prepared]);
            // One that is there already is left as it is.
            assert!(std::fs::read(&there).unwrap() == vec![content; SIZE as usize]);
            std::fs::write(&there, vec![7; SIZE as usize]).unwrap();
        }
        std::fs::remove_file(&there).unwrap();
        // The next timeline may begin in the segment before: there it goes on.
        let mut ended = writer(dir.path());
        ended.write(&vec![1; SIZE as usize]).unwrap();
        assert_eq!(
            ended.end_timeline(second, Lsn(ended.written().0 - 40)).unwrap(),
            None
        );
        let earlier = "000000020000000000000001.partial";
        assert_eq!(names(dir.path()), ["000000010000000000000001", earlier]);
        std::fs::remove_file(dir.path().join(earlier)).unwrap();

        // What was there before, or has a byte, stays.
        let next = dir.path().join("000000010000000000000002.partial");
        std::fs::write(&next, vec![7; SIZE as usize]).unwrap();
        let mut ended = writer(dir.path());
        ended.write(&vec![1; SIZE as usize]).unwrap();
        assert!(ended.end_timeline(second, ended.written()).unwrap().is_some());
        assert_eq!(std::fs::read(&next).unwrap(), vec![7; SIZE as usize]);
        std::fs::remove_file(&next).unwrap();
        let mut ended = writer(dir.path());
        ended.write(&vec![1; SIZE as usize + 1]).unwrap();
        ended.write(&[1]).unwrap();
        assert!(ended.end_timeline(second, ended.written()).unwrap().is_some());
        assert!(next.exists());
    }

    #[test]
    fn a_partial_of_any_size_is_completed_without_losing_what_it_has() {
        for found in [0, 5, u64::from(SIZE), u64::from(SIZE) + 7] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("000000010000000000000001.partial");
            std::fs::write(&path, vec![9; usize::try_from(found).unwrap()]).unwrap();
            let mut writer = writer(dir.path());
            writer.write(b"ab").unwrap();
            let content = std::fs::read(&path).unwrap();
            assert_eq!(content.len(), SIZE as usize);
            assert_eq!(&content[..2], b"ab");
            assert!(
                content[2..]
                    .iter()
                    .take(found.saturating_sub(2) as usize)
                    .all(|byte| *byte == 9)
            );
            assert_eq!(
                writer.take_repaired().is_some(),
                found == 5 || found > u64::from(SIZE),
                "{found}"
            );
            assert_eq!(writer.take_repaired(), None);
        }
    }

    #[test]
    fn what_could_not_be_written_or_completed_is_never_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.write(&[1; 10]).unwrap();
        // A file that cannot be written to: what came before is flushed all the same.
        let path = dir.path().join("000000010000000000000001.partial");
        writer.open.as_mut().unwrap().file = File::open(&path).unwrap();
        assert!(writer.write(&[1; 10]).is_err());
        assert_eq!(writer.written().0, u64::from(SIZE) + 10);
        assert!(writer.close().unwrap().is_some());
        assert_eq!(writer.flushed(), writer.written());

        // A segment that cannot get its name.
        let mut writer = super::tests::writer(dir.path());
        writer.write(&[1; 10]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(writer.write(&vec![1; SIZE as usize - 10]).is_err());
        assert_eq!(writer.close().unwrap(), None);
        assert_eq!(writer.flushed().0, u64::from(SIZE));
    }

    #[test]
    fn a_stream_that_does_not_begin_a_segment_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::new(dir.path(), size(), TimelineId::FIRST, Lsn(8));
        assert!(matches!(writer.write(b"x"), Err(ReceiveError::Refused(_))));
        assert!(names(dir.path()).is_empty());
    }
}
