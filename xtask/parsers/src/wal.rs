//! PostgreSQL's files (`barman-wal`).

use std::convert::Infallible;
use std::io::{Read, Write};
use std::path::Component;

use barman_wal::backup_label::BackupLabel;
use barman_wal::codec::{self, Algorithm, Level};
use barman_wal::control::ControlFile;
use barman_wal::history::TimelineHistory;
use barman_wal::manifest::{self, ManifestFile, ManifestSummary, ManifestWriter};
use barman_wal::page::{self, PageHeader};
use barman_wal::tablespace_map::TablespaceMap;
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName};
use sha2::{Digest, Sha256};

pub use crate::blocks::{data_pages, incremental_file};
pub use crate::index::wal_index;
pub use crate::records::wal_records;

use crate::input::{Dripping, reached, text};

/// More is never unpacked in one run: a few kilobytes may stand for terabytes.
const UNPACKED: u64 = 4 << 20;

/// Names and numbers: what is read is written as it was, and neighbours of a segment are each other's neighbours.
pub fn names(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
    if let Ok(timeline) = text.parse::<TimelineId>() {
        assert_eq!(timeline.to_string().parse(), Ok(timeline));
    }
    if let Some(timeline) = TimelineId::from_hex8(text) {
        assert_eq!(timeline.hex8(), text.to_uppercase());
        assert_eq!(
            timeline
                .history_file_name()
                .parse::<WalFileName>()
                .map(|name| name.timeline()),
            Ok(timeline)
        );
    }
    if let Ok(size) = text.parse::<u64>() {
        let _ = SegmentSize::try_from(size);
    }
    if let Ok(name) = text.parse::<WalFileName>() {
        assert_eq!(
            name.to_string(),
            name.to_string()
                .parse::<WalFileName>()
                .map(|n| n.to_string())
                .expect(text)
        );
        assert_eq!(name.to_string().parse(), Ok(name));
        if let Some(directory) = name.archive_directory() {
            assert!(
                SegmentName::is_archive_directory(directory.as_bytes()),
                "{directory}"
            );
        }
    }
    let Ok(segment) = text.parse::<SegmentName>() else {
        return;
    };
    reached();
    for size in [1 << 20, 16 << 20, 1 << 30] {
        let size = SegmentSize::new(size).expect("a size that PostgreSQL has");
        if !segment.fits(size) {
            continue;
        }
        assert_eq!(
            SegmentName::from_lsn(segment.timeline, segment.start_lsn(size), size),
            segment
        );
        if let Some(next) = segment.next(size) {
            assert!(next > segment);
            assert_eq!(next.prev(size), Some(segment));
        }
        assert!(segment.onwards(size).take(3).count() <= 3);
    }
}

/// A timeline history file, as that of a high and of a low timeline.
pub fn history(bytes: &[u8]) {
    for timeline in [u32::MAX, 4] {
        let timeline = TimelineId::new(timeline).expect("not 0");
        let Ok(history) = TimelineHistory::parse(timeline, bytes) else {
            continue;
        };
        assert_eq!(
            TimelineHistory::parse(timeline, history.format().as_bytes()).as_ref(),
            Ok(&history)
        );
        for entry in history.entries() {
            reached();
            assert!(history.contains(entry.parent));
            assert_eq!(history.switch_point(entry.parent), Some(entry.switch_point));
            assert!(history.contains(history.owner_of(entry.switch_point)));
            let segment = history.segment_for(entry.switch_point, SegmentSize::DEFAULT);
            assert!(history.contains(segment.timeline));
            let _ = (
                history.start_of(entry.parent),
                history.contains_position(entry.parent, Lsn(1)),
            );
        }
    }
}

/// A backup label or backup history file.
pub fn backup_label(bytes: &[u8]) {
    if let Ok(label) = BackupLabel::parse(bytes) {
        reached();
        assert_eq!(BackupLabel::parse(label.format().as_bytes()).as_ref(), Ok(&label));
    }
}

/// A tablespace map.
pub fn tablespace_map(bytes: &[u8]) {
    if let Ok(map) = TablespaceMap::parse(bytes) {
        assert_eq!(TablespaceMap::parse(&map.format()).as_ref(), Ok(&map));
        for entry in map.entries() {
            reached();
            assert!(map.path(entry.oid).is_some());
        }
    }
}

/// A backup manifest: the same in pieces, and written again. The bytes are read as they are, and with the checksum
/// that their content would have.
pub fn backup_manifest(bytes: &[u8]) {
    one_manifest(bytes);
    if let Some(repaired) = with_checksum(bytes) {
        one_manifest(&repaired);
    }
}

fn one_manifest(bytes: &[u8]) {
    let whole = read_manifest(bytes);
    let pieces = read_manifest(Dripping::new(bytes));
    assert_eq!(whole.as_ref().map_err(drop), pieces.as_ref().map_err(drop));
    let Ok((files, summary)) = whole else { return };
    assert_eq!(summary.files, files.len() as u64);
    for file in &files {
        reached();
        assert!(file.path.components().count() > 0);
        assert!(
            file.path
                .components()
                .all(|part| matches!(part, Component::Normal(_))),
            "{:?}",
            file.path
        );
    }
    let mut writer = ManifestWriter::new(Vec::new(), summary.system_identifier).expect("write to memory");
    for file in &files {
        writer.file(file).expect("write to memory");
    }
    let written = writer.finish(&summary.wal_ranges).expect("write to memory");
    let (again, same) = read_manifest(written.as_slice()).expect("what we write we can read");
    assert_eq!(again, files);
    assert_eq!(
        (same.files, same.bytes, same.wal_ranges),
        (summary.files, summary.bytes, summary.wal_ranges)
    );
}

fn read_manifest(input: impl Read) -> Result<(Vec<ManifestFile>, ManifestSummary), String> {
    let mut files = Vec::new();
    let summary = manifest::read(input, |file| {
        files.push(file);
        Ok::<(), Infallible>(())
    });
    summary
        .map(|summary| (files, summary))
        .map_err(|error| error.to_string())
}

fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    const KEY: &[u8] = b"\"Manifest-Checksum\": \"";
    let line = bytes
        .strip_suffix(b"\n")
        .unwrap_or(bytes)
        .iter()
        .rposition(|byte| *byte == b'\n')?
        + 1;
    let digits = line
        + bytes
            .get(line..)?
            .windows(KEY.len())
            .position(|part| part == KEY)?
        + KEY.len();
    let sum: String = Sha256::digest(bytes.get(..line)?)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut repaired = bytes.get(..digits)?.to_vec();
    repaired.extend(sum.as_bytes());
    repaired.extend(b"\"}\n");
    Some(repaired)
}

/// `pg_control`, as it is, and with the CRC that its content would have.
pub fn pg_control(bytes: &[u8]) {
    let _ = ControlFile::parse(bytes);
    for place in [280, 288, 292] {
        let mut repaired = bytes.to_vec();
        let Some((content, rest)) = repaired.split_at_mut_checked(place) else {
            continue;
        };
        let Some(room) = rest.get_mut(..4) else { continue };
        room.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
        if let Ok(control) = ControlFile::parse(&repaired) {
            reached();
            let _ = (control.has_data_checksums(), format!("{control:?}"));
        }
    }
}

/// The first page of a WAL segment.
pub fn wal_page(bytes: &[u8]) {
    if let Some(header) = PageHeader::parse(bytes) {
        let _ = (
            page::postgres_major_of(header.magic),
            page::is_plausible_magic(header.magic),
        );
    }
    if let Ok(header) = page::check_segment_header(bytes) {
        reached();
        assert!(PageHeader::parse(bytes).is_some());
        assert_eq!(header.check_name(header.name()), Ok(()));
        let _ = header.postgres_major();
    }
}

/// A file of the archive: what its first bytes say, unpacked, and packed again.
pub fn archived_file(bytes: &[u8]) {
    let head = bytes.get(..codec::DETECT_LENGTH).unwrap_or(bytes);
    let found = Algorithm::detect(bytes, None);
    assert_eq!(Algorithm::detect(head, None), found);
    assert_eq!(codec::looks_encrypted(head), codec::looks_encrypted(bytes));
    assert_eq!(Algorithm::detect(bytes, Some(b"")), found);
    let _ = Algorithm::detect(bytes, bytes.get(..3));

    for algorithm in [
        Algorithm::None,
        Algorithm::Gzip,
        Algorithm::Bzip2,
        Algorithm::Xz,
        Algorithm::Zstd,
        Algorithm::Lz4,
        Algorithm::Snappy,
    ] {
        let whole = unpack(algorithm, bytes);
        let pieces = unpack(algorithm, Dripping::new(bytes));
        assert_eq!(whole, pieces);
        if algorithm == Algorithm::Gzip {
            for threads in [2, 5] {
                assert_eq!(whole, unpack_on(algorithm, threads, bytes), "{threads}");
            }
        }
        if algorithm == Algorithm::Gzip && whole.is_ok_and(|plain| !plain.is_empty()) {
            reached();
        }
        let mut encoder = codec::encoder(algorithm, Level::Low, Vec::new()).expect("a codec that we have");
        encoder.write_all(bytes).expect("write to memory");
        let packed = encoder.finish().expect("write to memory");
        assert_eq!(unpack(algorithm, packed.as_slice()).as_deref(), Ok(bytes));
    }
}

fn unpack(algorithm: Algorithm, input: impl Read) -> Result<Vec<u8>, ()> {
    unpack_on(algorithm, 1, input)
}

fn unpack_on(algorithm: Algorithm, threads: usize, input: impl Read) -> Result<Vec<u8>, ()> {
    let mut plain = Vec::new();
    let decoder = codec::decoder_on(algorithm, threads, input).map_err(drop)?;
    decoder.take(UNPACKED).read_to_end(&mut plain).map_err(drop)?;
    Ok(plain)
}

/// Words of files and options: algorithms, checksums.
pub fn algorithms(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(algorithm) = text.parse::<Algorithm>() {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        let _ = (
            algorithm.format(),
            algorithm.is_available(),
            Level::Number(7).of(algorithm),
        );
    }
    let (name, digits) = text.split_once(' ').unwrap_or(("SHA256", text));
    let Ok(algorithm) = name.parse::<manifest::Algorithm>() else {
        return;
    };
    assert_eq!(algorithm.name().parse(), Ok(algorithm));
    if let Some(sum) = manifest::Checksum::from_hex(algorithm, digits) {
        reached();
        assert_eq!(sum.bytes.len(), algorithm.length());
        assert_eq!(sum.to_hex(), digits.to_lowercase());
    }
}
