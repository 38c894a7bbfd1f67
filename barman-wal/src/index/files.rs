//! The files of an index: where they are, and how they are read and written.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::durable;
use crate::segment::{SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

use super::chunk::{self, Beginning, Identity, LONGEST, Place, SLOT, SLOTS, SLOTS_AT, ZONE, ZONE_AT, Zone};
use super::error::IndexError;
use super::summary::SegmentState;

/// How often a slot is read that seems to be just being written.
const ATTEMPTS: usize = 3;
/// A file with all its slots, bytes.
const WHOLE: u64 = SLOTS_AT + SLOTS * SLOT as u64;

/// Where the files of an index are: `DIRECTORY/TTTTTTTT/LL-CCCCCCCCCC.index` with the timeline, log2 of the segment
/// size and the number of the chunk, and a `.heap` beside it for what does not fit into slots.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub directory: PathBuf,
    pub size: SegmentSize,
}

impl Places {
    fn timeline(&self, timeline: TimelineId) -> PathBuf {
        self.directory.join(timeline.hex8())
    }

    pub fn index(&self, timeline: TimelineId, chunk: u64) -> PathBuf {
        let log = self.size.bytes().trailing_zeros();
        self.timeline(timeline)
            .join(format!("{log:02}-{chunk:010X}.index"))
    }

    pub fn lock(&self) -> PathBuf {
        self.directory.join(".lock")
    }

    /// The timelines with files, ascending. What cannot be read has none.
    pub fn timelines(&self) -> Vec<TimelineId> {
        names(&self.directory)
            .filter_map(|name| TimelineId::from_hex8(&name))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// The chunks with files, ascending.
    pub fn chunks(&self, timeline: TimelineId) -> Vec<u64> {
        let log = format!("{:02}-", self.size.bytes().trailing_zeros());
        names(&self.timeline(timeline))
            .filter_map(|name| {
                let digits = name.strip_suffix(".index")?.strip_prefix(&log)?;
                u64::from_str_radix(digits, 16).ok()
            })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Opens a file to read; `None` when there is none that can be read.
    pub fn open(&self, timeline: TimelineId, chunk: u64) -> Option<Chunk> {
        let path = self.index(timeline, chunk);
        let file = File::open(&path).ok()?;
        match beginning(&file) {
            Ok(Beginning::Ours(identity)) => self.fitting(timeline, chunk, identity, file, path),
            _ => None,
        }
    }

    fn fitting(
        &self,
        timeline: TimelineId,
        chunk: u64,
        identity: Identity,
        file: File,
        path: PathBuf,
    ) -> Option<Chunk> {
        let expected = (timeline, chunk, self.size);
        ((identity.timeline, identity.chunk, identity.size) == expected).then_some(Chunk {
            file,
            path,
            identity,
        })
    }

    /// Opens a file to write, under the lock; makes one if there is none, or none that can be used.
    pub fn open_to_write(&self, timeline: TimelineId, chunk: u64) -> Result<Chunk, IndexError> {
        if let Some(chunk) = self.open_existing(timeline, chunk)? {
            return Ok(chunk);
        }
        let path = self.index(timeline, chunk);
        let directory = self.timeline(timeline);
        fs::create_dir_all(&directory).map_err(IndexError::io("create", &directory))?;
        // What is there belongs to what is replaced.
        remove(&heap_of(&path))?;
        let identity = Identity {
            timeline,
            size: self.size,
            chunk,
            incarnation: random(),
        };
        durable::write_atomic(&path, &identity.new_file(), 0o666)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(IndexError::io("open", &path))?;
        Ok(Chunk { file, path, identity })
    }

    /// As [`Places::open_to_write`], but makes none.
    pub fn open_existing(&self, timeline: TimelineId, chunk: u64) -> Result<Option<Chunk>, IndexError> {
        let path = self.index(timeline, chunk);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IndexError::io("open", &path)(error)),
        };
        match beginning(&file).map_err(IndexError::io("read", &path))? {
            Beginning::Newer => Err(IndexError::Newer { path }),
            Beginning::Damaged => Ok(None),
            Beginning::Ours(identity) => Ok(self.fitting(timeline, chunk, identity, file, path)),
        }
    }

    /// Removes a file and its heap.
    pub fn remove(&self, timeline: TimelineId, chunk: u64) -> Result<(), IndexError> {
        let path = self.index(timeline, chunk);
        remove(&path)?;
        remove(&heap_of(&path))
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn remove(path: &Path) -> Result<(), IndexError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IndexError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn heap_of(path: &Path) -> PathBuf {
    path.with_extension("heap")
}

/// Another number for each file.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn beginning(file: &File) -> io::Result<Beginning> {
    let mut bytes = [0; 64];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Identity::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Beginning::Damaged),
        Err(error) => Err(error),
    }
}

/// An open index file.
#[derive(Debug)]
pub(super) struct Chunk {
    file: File,
    path: PathBuf,
    pub identity: Identity,
}

impl Chunk {
    fn slot_at(number: SegmentNumber) -> u64 {
        SLOTS_AT + number.0 % SLOTS * SLOT as u64
    }

    fn slot(&self, number: SegmentNumber) -> Option<[u8; SLOT]> {
        let mut slot = [0; SLOT];
        self.file
            .read_exact_at(&mut slot, Self::slot_at(number))
            .ok()
            .map(|()| slot)
    }

    /// What the slot of one segment says; [`SegmentState::Unknown`] for one that is not there or damaged.
    pub fn state(&self, number: SegmentNumber) -> SegmentState {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                thread::yield_now();
            }
            let Some(slot) = self.slot(number) else { break };
            if slot == [0; SLOT] {
                break;
            }
            let content = self.identity.read_slot(number, &slot);
            let state = content.and_then(|content| {
                chunk::state(&self.identity, number, content, &mut |place| self.heap(place))
            });
            if let Some(state) = state {
                return state;
            }
        }
        SegmentState::Unknown
    }

    fn heap(&self, place: Place) -> Option<Vec<u8>> {
        let length = usize::try_from(place.length)
            .ok()
            .filter(|length| *length <= LONGEST)?;
        let mut bytes = vec![0; length];
        let heap = File::open(heap_of(&self.path)).ok()?;
        heap.read_exact_at(&mut bytes, place.offset).ok()?;
        Some(bytes)
    }

    /// All states, ascending.
    pub fn states(&self) -> Vec<(SegmentNumber, SegmentState)> {
        let length = self
            .file
            .metadata()
            .map_or(0, |metadata| metadata.len().min(WHOLE));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return Vec::new();
        }
        let heap = File::open(heap_of(&self.path)).ok();
        let mut from_heap = |place: Place| {
            let length = usize::try_from(place.length)
                .ok()
                .filter(|length| *length <= LONGEST)?;
            let mut bytes = vec![0; length];
            heap.as_ref()?.read_exact_at(&mut bytes, place.offset).ok()?;
            Some(bytes)
        };
        chunk::states(&self.identity, &bytes, &mut from_heap)
    }

    /// What all slots say together, if that is written down.
    pub fn zone(&self) -> Option<Zone> {
        let mut bytes = vec![0; ZONE];
        self.file.read_exact_at(&mut bytes, ZONE_AT).ok()?;
        self.identity.read_zone(&bytes)
    }

    /// Writes down what all slots say, after they are synced.
    pub fn seal(&self, zone: &Zone) -> Result<(), IndexError> {
        durable::fsync_open(&self.file, &self.path)?;
        let heap = heap_of(&self.path);
        if heap.exists() {
            durable::fsync_file(&heap)?;
        }
        self.file
            .write_all_at(&self.identity.zone(zone), ZONE_AT)
            .map_err(IndexError::io("write", &self.path))
    }

    /// Before a slot changes: what all say together is true no longer.
    fn unseal(&self) -> Result<(), IndexError> {
        if self.zone().is_some() {
            self.file
                .write_all_at(&[0; 64], ZONE_AT)
                .map_err(IndexError::io("write", &self.path))?;
            durable::fsync_open(&self.file, &self.path)?;
        }
        Ok(())
    }

    /// Makes this the state of a segment; gives whether that changed anything. Nothing is synced: after a crash of
    /// the machine the slot may be the one of before.
    pub fn write(&self, number: SegmentNumber, state: &SegmentState) -> Result<bool, IndexError> {
        let old = self.slot(number).unwrap_or([0; SLOT]);
        let slot = if *state == SegmentState::Unknown {
            [0; SLOT]
        } else {
            if old != [0; SLOT] && self.state(number) == *state {
                return Ok(false);
            }
            self.new_slot(number, state)?
        };
        if slot == old {
            return Ok(false);
        }
        self.unseal()?;
        self.file
            .write_all_at(&slot, Self::slot_at(number))
            .map_err(IndexError::io("write", &self.path))?;
        Ok(true)
    }

    fn new_slot(&self, number: SegmentNumber, state: &SegmentState) -> Result<[u8; SLOT], IndexError> {
        match chunk::written(&self.identity, number, state, 0) {
            None => Ok([0; SLOT]),
            Some((slot, None)) => Ok(slot),
            Some((_, Some(_))) => {
                let path = heap_of(&self.path);
                let heap = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&path)
                    .map_err(IndexError::io("open", &path))?;
                let offset = heap.metadata().map_err(IndexError::io("read", &path))?.len();
                let Some((slot, Some(bytes))) = chunk::written(&self.identity, number, state, offset) else {
                    return Ok([0; SLOT]);
                };
                heap.write_all_at(&bytes, offset)
                    .map_err(IndexError::io("write", &path))?;
                Ok(slot)
            }
        }
    }
}
