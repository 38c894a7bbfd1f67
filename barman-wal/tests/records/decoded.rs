//! Segments of a server, decoded in several ways.

use std::fs;
use std::path::PathBuf;

use barman_wal::control::ControlFile;
use barman_wal::record::{DecodeError, Decoder, Ending, Payload, Reason, Record, Xids};
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use testkit::Cluster;

/// A record as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub lsn: Lsn,
    pub end: Lsn,
    pub length: u32,
    pub manager: String,
    pub xid: u32,
    pub kind: String,
    /// `Debug` of the payload.
    pub payload: String,
    /// What `pg_waldump` says of it, in parts.
    pub description: Vec<String>,
    /// The old and the new one.
    pub timeline_change: Option<(u32, u32)>,
    /// Length of the record without block images.
    pub without_images: u32,
    /// Checksum of the parts that are handed out.
    pub content: u32,
}

impl Seen {
    pub fn of(record: &Record<'_>) -> Self {
        let mut content = crc32c(0, record.main_data());
        let mut images = 0;
        let mut blocks = 0;
        for block in record.blocks() {
            content = crc32c(content, block.data);
            blocks += 1;
            if let Some(image) = block.image {
                content = crc32c(content, image.bytes);
                images += u32::try_from(image.bytes.len()).unwrap();
            }
        }
        assert_eq!(record.block_count(), blocks);
        assert_eq!(record.image_bytes(), images);
        assert_eq!(record.bytes().len(), record.total_length() as usize);
        assert!(record.previous() < record.lsn() && record.lsn() < record.end());
        let payload = record.payload().unwrap();
        Self {
            description: describe(&payload, record.postgres_major()),
            timeline_change: payload.timeline_change().map(|(old, new)| (old.get(), new.get())),
            lsn: record.lsn(),
            end: record.end(),
            length: record.total_length(),
            manager: record.resource_manager().name().into_owned(),
            xid: record.xid(),
            kind: record.type_name().into_owned(),
            payload: format!("{payload:?}"),
            without_images: record.total_length() - images,
            content,
        }
    }
}

fn list(xids: Xids<'_>) -> String {
    let texts: Vec<String> = xids.iter().map(|xid| xid.to_string()).collect();
    texts.join(" ")
}

/// Parts of what `pg_waldump` prints for this, in the words of all versions.
fn describe(payload: &Payload<'_>, major: u32) -> Vec<String> {
    match payload {
        Payload::Commit(end) | Payload::Abort(end) => {
            let mut texts = vec![end.time.to_string()];
            if !end.subtransactions.is_empty() {
                texts.push(format!("; subxacts: {}", list(end.subtransactions)));
            }
            if let Some(xid) = end.prepared_xid {
                texts.push(format!(" {xid}: "));
            }
            if let Some(origin) = end.origin {
                texts.push(format!("lsn {}, at {}", origin.lsn, origin.time));
            }
            texts
        }
        Payload::Prepare(prepare) => {
            let mut texts = vec![
                String::from_utf8_lossy(prepare.gid).into_owned(),
                prepare.time.to_string(),
            ];
            if !prepare.subtransactions.is_empty() {
                texts.push(format!("; subxacts: {}", list(prepare.subtransactions)));
            }
            texts
        }
        Payload::Assignment(assignment) => vec![format!(
            "xtop {}: subxacts: {}",
            assignment.top,
            list(assignment.subtransactions)
        )],
        Payload::Checkpoint(checkpoint) => {
            let mut texts = vec![
                format!(
                    "redo {}; tli {}; prev tli {}; fpw {}; ",
                    checkpoint.redo,
                    checkpoint.timeline,
                    checkpoint.previous_timeline,
                    checkpoint.full_page_writes
                ),
                format!(
                    "xid {}:{}; oid {}; multi {}; offset {}; oldest xid {} in DB {}; oldest multi {} in DB {}; \
                     oldest/newest commit timestamp xid: {}/{}; oldest running xid {}; ",
                    checkpoint.next_xid >> 32,
                    checkpoint.next_xid_number(),
                    checkpoint.next_oid,
                    checkpoint.next_multi,
                    checkpoint.next_multi_offset,
                    checkpoint.oldest_xid,
                    checkpoint.oldest_xid_database,
                    checkpoint.oldest_multi,
                    checkpoint.oldest_multi_database,
                    checkpoint.oldest_commit_ts_xid,
                    checkpoint.newest_commit_ts_xid,
                    checkpoint.oldest_active_xid
                ),
            ];
            texts.extend(checkpoint.wal_level.map(|level| format!("wal_level {level}")));
            assert!((2025..2100).contains(&checkpoint.time.to_string()[..4].parse().unwrap()));
            texts
        }
        Payload::CheckpointRedo { wal_level } => vec![format!("wal_level {wal_level}")],
        Payload::EndOfRecovery(end) => {
            let mut texts = vec![format!(
                "tli {}; prev tli {}; time {}",
                end.timeline, end.previous_timeline, end.time
            )];
            texts.extend(end.wal_level.map(|level| format!("wal_level {level}")));
            texts
        }
        Payload::RestorePoint(point) => vec![String::from_utf8_lossy(point.name).into_owned()],
        Payload::ParameterChange(change) => vec![
            format!(
                "max_connections={} max_worker_processes={}",
                change.max_connections, change.max_worker_processes
            ),
            format!(
                "wal_level={} wal_log_hints={} track_commit_timestamp={}",
                change.wal_level,
                if change.wal_log_hints { "on" } else { "off" },
                if change.track_commit_timestamp {
                    "on"
                } else {
                    "off"
                }
            ),
        ],
        Payload::FullPageWrites(on) => vec![on.to_string()],
        Payload::BackupEnd { start } => vec![start.to_string()],
        Payload::Overwritten(overwritten) => {
            vec![format!("lsn {}; time {}", overwritten.lsn, overwritten.time)]
        }
        Payload::RunningTransactions(running) => {
            let mut texts = vec![format!(
                "nextXid {} latestCompletedXid {} oldestRunningXid {}",
                running.next_xid, running.latest_completed, running.oldest_running
            )];
            if !running.running.is_empty() {
                texts.push(format!(
                    "{} xacts: {}",
                    running.running.len(),
                    list(running.running)
                ));
            }
            if !running.subtransactions.is_empty() && major >= 16 {
                texts.push(list(running.subtransactions));
            }
            texts
        }
        Payload::Switch | Payload::Other => Vec::new(),
    }
}

/// A plain sum that sees order and value; no need for more.
fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(start, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte))
}

/// What comes out of some pieces: the records up to an error, and where they end.
pub fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> (Vec<Seen>, Result<Ending, DecodeError>) {
    let mut seen = Vec::new();
    for piece in pieces {
        let mut feed = decoder.feed(piece);
        loop {
            match feed.next() {
                Ok(Some(record)) => seen.push(Seen::of(&record)),
                Ok(None) => break,
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(decoder.ending()))
}

/// The WAL of a stopped server on one timeline, up to its last checkpoint.
pub struct Segments {
    pub directory: PathBuf,
    pub files: Vec<(SegmentName, Vec<u8>)>,
    pub system: u64,
    pub size: SegmentSize,
    /// The record that the server wrote last.
    pub last: Lsn,
}

impl Segments {
    pub fn of(cluster: &Cluster, timeline: u32) -> Self {
        let data = cluster.data_dir();
        let control = ControlFile::parse(&fs::read(data.join("global/pg_control")).unwrap()).unwrap();
        let timeline = TimelineId::new(timeline).unwrap();
        assert_eq!(control.checkpoint_timeline, timeline);
        let directory = data.join("pg_wal");
        let size = control.wal_segment_size;
        let end = SegmentName::from_lsn(timeline, control.checkpoint, size);
        let mut files = Vec::new();
        for entry in fs::read_dir(&directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Ok(name) = name.parse::<SegmentName>()
                && name.timeline == timeline
                && name <= end
            {
                files.push((name, fs::read(directory.join(name.to_string())).unwrap()));
            }
        }
        files.sort_by_key(|(name, _)| *name);
        for pair in files.windows(2) {
            assert_eq!(pair[0].0.next(size), Some(pair[1].0), "segments are missing");
        }
        assert_eq!(files.last().unwrap().0, end);
        Self {
            directory,
            files,
            system: control.system_identifier,
            size,
            last: control.checkpoint,
        }
    }

    pub fn decoder(&self, name: SegmentName) -> Decoder {
        Decoder::new().of_segment(name).of_system(self.system)
    }

    /// Everything in one go; the last record is the shutdown's checkpoint.
    pub fn decode_all(&self) -> Vec<Seen> {
        let pieces: Vec<&[u8]> = self.files.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        // The timeline of the last file counts for all.
        let decoder = Decoder::new().of_system(self.system);
        let (records, ending) = decode(decoder, &pieces);
        let last = records.last().unwrap();
        assert_eq!(
            (last.lsn, last.kind.as_str()),
            (self.last, "CHECKPOINT_SHUTDOWN"),
            "{ending:?}"
        );
        self.check_ending(last.end, &ending);
        for record in &records {
            assert!(!record.kind.starts_with("UNKNOWN"), "{record:?}");
        }
        records
    }

    /// After the last record there are zeros, or what a recycled file held before.
    fn check_ending(&self, end: Lsn, ending: &Result<Ending, DecodeError>) {
        match ending {
            Ok(Ending::Zeros {
                end: zeros,
                in_record: false,
            }) => assert_eq!(*zeros, end),
            Ok(Ending::AtRecord(at)) => assert_eq!(*at, end),
            Err(DecodeError { reason, lsn }) => assert!(
                matches!(reason, Reason::AfterEnd { end: zeros } if *zeros == end)
                    || matches!(reason, Reason::PageAddress { .. } if *lsn >= end),
                "{end} {reason:?}"
            ),
            other => panic!("{end} {other:?}"),
        }
    }

    /// Each file for itself gives the records that begin and end in it.
    pub fn each_alone(&self, all: &[Seen]) {
        for (number, (name, bytes)) in self.files.iter().enumerate() {
            let start = name.start_lsn(self.size);
            let end = Lsn(start.0 + u64::from(self.size.bytes()));
            let (records, ending) = decode(self.decoder(*name), &[bytes]);
            // One that ends with the segment's last byte has its end where the next begins.
            let expected: Vec<&Seen> = all
                .iter()
                .filter(|record| start <= record.lsn && record.end <= end)
                .collect();
            assert!(expected.iter().copied().eq(&records), "{name}");
            if number + 1 == self.files.len() {
                self.check_ending(all.last().unwrap().end, &ending);
                continue;
            }
            let open = all.iter().find(|record| record.lsn < end && record.end > end);
            match (ending.unwrap(), open) {
                (Ending::InRecord { start: Some(begin) }, Some(open)) => assert_eq!(begin, open.lsn),
                (Ending::InRecord { start: None }, Some(open)) => assert!(open.lsn < start),
                (Ending::AtRecord(at), None) => assert_eq!(at, end),
                // The record that a crash cut off here is in no list.
                (Ending::InRecord { start: Some(begin) }, None) => {
                    assert!(
                        all.iter().any(|record| record.kind == "OVERWRITE_CONTRECORD"),
                        "{begin}"
                    );
                }
                (Ending::InRecord { start: None }, None) => {
                    assert!(all.iter().any(|record| record.kind == "OVERWRITE_CONTRECORD"));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    /// Pieces of all kinds of sizes give the same; the first segments byte by byte.
    pub fn in_odd_pieces(&self, all: &[Seen]) {
        let bytes: Vec<u8> = self
            .files
            .iter()
            .take(3)
            .flat_map(|(_, bytes)| bytes)
            .take(2 << 20)
            .copied()
            .collect();
        let (whole, ending) = decode(Decoder::new(), &[&bytes]);
        assert!(whole.iter().eq(all.iter().take(whole.len())));
        for size in [1, 3, 23, 24, 4097, 8192, 100_001] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let (records, end) = decode(Decoder::new(), &pieces);
            assert!(
                records == whole && end == ending,
                "pieces of {size}: {end:?} {ending:?}"
            );
        }
    }
}
