//! What lies in the WAL archive, by its directories rather than by its catalogue.

use crate::completeness::ArchiveView;
use crate::layout::Layout;
use barman_wal::codec;
use barman_wal::durable;
use barman_wal::page::{self, PageHeader, SegmentHeaderError, postgres_major_of};
use barman_wal::{SegmentName, TimelineId, WalFileName};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The latest complete segment of each timeline that has one.
///
/// # Errors
/// The archive exists and cannot be read.
pub fn latest_segments(layout: &Layout) -> io::Result<BTreeMap<TimelineId, SegmentName>> {
    let mut latest = BTreeMap::new();
    for directory in archive_directories(layout)? {
        let Some(timeline) = directory.get(..8).and_then(TimelineId::from_hex8) else {
            continue;
        };
        if latest.contains_key(&timeline) {
            continue;
        }
        if let Some(segment) = latest_in(&layout.wals_directory.join(&directory), timeline)? {
            latest.insert(timeline, segment);
        }
    }
    Ok(latest)
}

/// The latest complete segment of one timeline.
///
/// # Errors
/// The archive exists and cannot be read.
pub fn latest_segment(layout: &Layout, timeline: TimelineId) -> io::Result<Option<SegmentName>> {
    let prefix = timeline.hex8();
    for directory in archive_directories(layout)? {
        if directory
            .get(..8)
            .is_some_and(|p| p.eq_ignore_ascii_case(&prefix))
            && let Some(segment) = latest_in(&layout.wals_directory.join(&directory), timeline)?
        {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// The names of the archive's directories, descending.
fn archive_directories(layout: &Layout) -> io::Result<Vec<String>> {
    let mut directories: Vec<String> = match std::fs::read_dir(&layout.wals_directory) {
        Ok(entries) => entries
            .map(|e| Ok(e?.file_name().into_string().unwrap_or_default()))
            .collect::<io::Result<Vec<_>>>()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    directories.retain(|directory| SegmentName::is_archive_directory(directory.as_bytes()));
    directories.sort_unstable_by(|a, b| b.cmp(a));
    Ok(directories)
}

fn latest_in(directory: &Path, timeline: TimelineId) -> io::Result<Option<SegmentName>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        // Emptied and removed meanwhile, or a file.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let mut latest = None;
    for entry in entries {
        if let Some(Ok(WalFileName::Segment(segment))) = entry?.file_name().to_str().map(str::parse)
            && segment.timeline == timeline
        {
            latest = latest.max(Some(segment));
        }
    }
    Ok(latest)
}

/// Whether there is a file that can be the segment. An existing name is not enough: Barman copies from another file
/// system to the final name, and archives what is empty. Of compressed and encrypted files nothing but the size is
/// known here.
fn is_whole(path: &Path, segment: SegmentName) -> io::Result<bool> {
    let file = durable::open_file(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let first = codec::first_bytes(&file)?;
    let known = PageHeader::parse(&first).is_some_and(|page| postgres_major_of(page.magic).is_some());
    Ok(match page::check_segment_header(&first) {
        Ok(header) if known => {
            header.check_name(segment).is_ok() && metadata.len() == u64::from(header.segment_size.bytes())
        }
        Err(SegmentHeaderError::Zeroed) => false,
        Ok(_) | Err(_) => true,
    })
}

/// Whether the archive has the segment: a file of its name that can be it. One that is empty, cut off, zeroed or has
/// another segment's content is none, nor is one that cannot be read.
#[must_use]
pub fn holds(layout: &Layout, segment: SegmentName) -> bool {
    is_whole(&layout.wal_path(&segment.into()), segment).unwrap_or(false)
}

/// The archive on disk as [`crate::completeness::assess`] sees it.
#[derive(Debug, Clone)]
pub struct DiskArchive<'a> {
    layout: &'a Layout,
    latest: Option<SegmentName>,
}

impl<'a> DiskArchive<'a> {
    /// Looks up the latest segment on `timeline`; the rest is looked up when asked for.
    ///
    /// # Errors
    /// The archive exists and cannot be read.
    pub fn on_timeline(layout: &'a Layout, timeline: TimelineId) -> io::Result<Self> {
        Ok(Self {
            layout,
            latest: latest_segment(layout, timeline)?,
        })
    }
}

impl ArchiveView for DiskArchive<'_> {
    fn latest_on_timeline_of(&self, segment: SegmentName) -> Option<SegmentName> {
        self.latest.filter(|latest| latest.timeline == segment.timeline)
    }

    fn is_archived(&self, segment: SegmentName) -> bool {
        holds(self.layout, segment)
    }

    fn is_arriving(&self, segment: SegmentName) -> bool {
        let name = segment.to_string();
        let partial = format!("{name}.partial");
        self.layout.incoming_wals_directory.join(&name).exists()
            || self.layout.streaming_wals_directory.join(&name).exists()
            || self.layout.streaming_wals_directory.join(partial).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_segment_of_each_timeline() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        assert!(latest_segments(&layout).unwrap().is_empty());
        for name in [
            "000000010000000000000003",
            "0000000100000001000000FE",
            "0000000100000001000000FF.partial",
            "000000020000000200000001.00000028.backup",
            "000000020000000100000005",
        ] {
            let path = layout.wal_path(&name.parse().unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::write(layout.wals_directory.join("00000003.history"), "").unwrap();
        std::fs::create_dir(layout.wals_directory.join("0000000300000000")).unwrap();
        let latest: Vec<String> = latest_segments(&layout)
            .unwrap()
            .values()
            .map(ToString::to_string)
            .collect();
        // The directory with a label only does not hide the segment below it.
        assert_eq!(latest, ["0000000100000001000000FE", "000000020000000100000005"]);
        let two = TimelineId::new(2).unwrap();
        assert_eq!(
            latest_segment(&layout, two)
                .unwrap()
                .map(|s| s.to_string())
                .as_deref(),
            Some("000000020000000100000005")
        );
    }

    #[test]
    fn a_name_alone_is_not_an_archived_segment() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let segment: SegmentName = "000000010000000000000003".parse().unwrap();
        let path = layout.wal_path(&segment.into());
        let archive = DiskArchive::on_timeline(&layout, segment.timeline).unwrap();
        assert!(!archive.is_archived(segment));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let header = |number: u64, magic: u16| {
            let mut bytes = testkit::Segment::small(number).whole(0);
            bytes[..2].copy_from_slice(&magic.to_le_bytes());
            bytes
        };
        let good = header(3, 0xD118);
        for (content, archived) in [
            (&good[..], true),
            (&good[..5000], false),
            (&header(4, 0xD118)[..], false),
            (&vec![0; 1 << 20][..], false),
            (b"", false),
            // Not ours to judge: a newer PostgreSQL, compressed, encrypted, the user's own format.
            (&header(4, 0xD1FF)[..5000], true),
            (b"\x1f\x8b\x08\x00 and so on", true),
            (b"\x85\x01\x0c\x03 and so on", true),
            (b"x", true),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(archive.is_archived(segment), archived, "{} bytes", content.len());
        }
    }
}
