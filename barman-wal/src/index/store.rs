//! The index itself: what is known of each segment, on disk.

use std::path::Path;
use std::time::Duration;

use crate::lock::Lock;
use crate::lsn::Lsn;
use crate::segment::{SegmentName, SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

use super::border::{Before, Verdict};
use super::chunk::{SLOTS, Zone};
use super::error::IndexError;
use super::files::{Chunk, Places};
use super::summary::{SegmentState, SegmentSummary};

/// How long a writer waits for another one, who holds the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// In a chunk, the place whose segment seals the chunk before: late arrivals are over then.
const SEALS_BEFORE: u64 = 255;
/// How many files a writer holds open.
const OPEN: usize = 8;

/// What is known of the segments of one archive, in files below a directory. See the [module](super).
///
/// It holds no file open and keeps nothing in memory: any number of them, in any number of processes, can be used at
/// once, and the directory can be removed at any time.
#[derive(Debug, Clone)]
pub struct WalIndex {
    places: Places,
}

impl WalIndex {
    /// The index in `directory`, for segments of this size. Nothing is read or made.
    #[must_use]
    pub fn new(directory: &Path, size: SegmentSize) -> Self {
        Self {
            places: Places {
                directory: directory.to_path_buf(),
                size,
            },
        }
    }

    /// The size of the segments.
    #[must_use]
    pub const fn segment_size(&self) -> SegmentSize {
        self.places.size
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.places.directory
    }

    /// The timelines of which something may be known, ascending.
    #[must_use]
    pub fn timelines(&self) -> Vec<TimelineId> {
        self.places.timelines()
    }

    /// What is known of a segment.
    #[must_use]
    pub fn get(&self, name: SegmentName) -> SegmentState {
        let number = name.number(self.places.size);
        if !name.fits(self.places.size) {
            return SegmentState::Unknown;
        }
        self.places
            .open(name.timeline, number.0 / SLOTS)
            .map_or(SegmentState::Unknown, |chunk| chunk.state(number))
    }

    /// The segment of `timeline` that holds the byte at `lsn`, and what is known of it. Along a history, ask
    /// [`TimelineHistory::segment_for`](crate::history::TimelineHistory::segment_for) for the timeline.
    #[must_use]
    pub fn at(&self, timeline: TimelineId, lsn: Lsn) -> (SegmentName, SegmentState) {
        let name = SegmentName::from_lsn(timeline, lsn, self.places.size);
        (name, self.get(name))
    }

    /// Makes this the state of the segment `name`; [`SegmentState::Unknown`] forgets it. Segments can come in any
    /// order and more than once. A record over the border to a neighbour that is known is judged now.
    ///
    /// # Errors
    /// The files cannot be written, are those of a newer version, or the segment is of another size. The archive does
    /// not depend on it: a caller that archives logs this and goes on.
    pub fn put(&self, name: SegmentName, state: SegmentState) -> Result<(), IndexError> {
        self.put_all([(name, state)])
    }

    /// As [`WalIndex::put`], for several at once under one lock.
    ///
    /// # Errors
    /// As there. Those before the failing one are in.
    pub fn put_all(
        &self,
        states: impl IntoIterator<Item = (SegmentName, SegmentState)>,
    ) -> Result<(), IndexError> {
        let mut writer = self.writer()?;
        for (name, state) in states {
            writer.put(name, state)?;
        }
        Ok(())
    }

    /// Forgets the segments of `timeline` from `first` to `last`, both included: their files are gone.
    ///
    /// # Errors
    /// The files cannot be written, or are those of a newer version.
    pub fn forget(
        &self,
        timeline: TimelineId,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> Result<(), IndexError> {
        let chunks: Vec<u64> = self.places.chunks(timeline);
        if first > last || chunks.is_empty() {
            return Ok(());
        }
        let _writer = self.writer()?;
        for number in chunks {
            let start = number.saturating_mul(SLOTS);
            let end = start.saturating_add(SLOTS - 1);
            if end < first.0 || start > last.0 {
                continue;
            }
            if first.0 <= start && end <= last.0 {
                self.places.remove(timeline, number)?;
            } else if let Some(chunk) = self.places.open_existing(timeline, number)? {
                for segment in start.max(first.0)..=end.min(last.0) {
                    chunk.write(SegmentNumber(segment), &SegmentState::Unknown)?;
                }
            }
        }
        Ok(())
    }

    /// Writes down for every file but the newest of each timeline what its segments say together, so that look-ups
    /// can pass over it. That happens by itself as segments arrive in order; after many came out of order this does
    /// it.
    ///
    /// # Errors
    /// The files cannot be written, or are those of a newer version.
    pub fn seal(&self) -> Result<(), IndexError> {
        for timeline in self.places.timelines() {
            let chunks = self.places.chunks(timeline);
            let (_, older) = chunks.split_last().unwrap_or((&0, &[]));
            for chunk in older {
                self.writer()?.seal(timeline, *chunk)?;
            }
        }
        Ok(())
    }

    pub(super) fn seal_file(&self, timeline: TimelineId, chunk: u64) -> Result<(), IndexError> {
        self.writer()?.seal(timeline, chunk)
    }

    pub(super) const fn places(&self) -> &Places {
        &self.places
    }

    fn writer(&self) -> Result<Writer<'_>, IndexError> {
        let directory = &self.places.directory;
        std::fs::create_dir_all(directory).map_err(IndexError::io("create", directory))?;
        let lock = Lock::acquire_within(&self.places.lock(), PATIENCE, None)?;
        Ok(Writer {
            places: &self.places,
            open: Vec::new(),
            timelines: None,
            _lock: lock,
        })
    }
}

/// States of one file, the epochs of transactions filled in from neighbours in it.
pub(super) fn with_epochs(
    mut states: Vec<(SegmentNumber, SegmentState)>,
) -> Vec<(SegmentNumber, SegmentState)> {
    for at in 1..states.len() {
        pass_epoch(&mut states, at, Direction::Up);
    }
    for at in (1..states.len()).rev() {
        pass_epoch(&mut states, at, Direction::Down);
    }
    states
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Between the states at `at - 1` and `at`.
fn pass_epoch(states: &mut [(SegmentNumber, SegmentState)], at: usize, direction: Direction) {
    let (before, after) = states.split_at_mut(at);
    let (Some((low, before)), Some((high, after))) = (before.last_mut(), after.first_mut()) else {
        return;
    };
    // Within so few segments less than 2^31 transactions can have begun: 8 GiB of WAL at 4 bytes each.
    if high.0.saturating_sub(low.0) > 4 {
        return;
    }
    if let (Some(before), Some(after)) = (summary_of(before), summary_of(after)) {
        match direction {
            Direction::Up => after.inherit(before),
            Direction::Down => before.inherit(after),
        };
    }
}

fn summary_of(state: &mut SegmentState) -> Option<&mut SegmentSummary> {
    match state {
        SegmentState::Known(summary) => Some(summary),
        SegmentState::Unreadable(unreadable) => unreadable.readable.as_deref_mut(),
        SegmentState::Unknown | SegmentState::UnknownFormat { .. } => None,
    }
}

/// What a known segment means for what is known of the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Nothing,
    Changed,
    /// What was found out about the border holds no longer.
    Stale,
}

/// Judges the border between two segments that follow each other.
fn settle(before: &SegmentSummary, after: &mut SegmentState) -> Effect {
    let Some(after) = summary_of(after) else {
        return Effect::Nothing;
    };
    if after.system_identifier != before.system_identifier {
        return Effect::Nothing;
    }
    if let Some(head) = &after.head {
        let start = match &head.verdict {
            Verdict::Good(spanning) => Some(spanning.start),
            Verdict::GoesOn(tail) => Some(tail.start),
            _ => None,
        };
        let fits = match (before.side(), start) {
            (Before::NotKnown, _) | (_, None) => true,
            (Before::Closed, Some(_)) => false,
            (Before::Open(tail), Some(start)) => tail.start == start && tail.missing() == head.remaining,
        };
        if !fits {
            return Effect::Stale;
        }
    }
    if after.judge(before) {
        Effect::Changed
    } else {
        Effect::Nothing
    }
}

/// Holds the lock of the index.
struct Writer<'a> {
    places: &'a Places,
    open: Vec<Chunk>,
    timelines: Option<Vec<TimelineId>>,
    _lock: Lock,
}

impl Writer<'_> {
    fn chunk(&mut self, timeline: TimelineId, number: SegmentNumber) -> Result<&Chunk, IndexError> {
        let wanted = number.0 / SLOTS;
        let is_wanted = |chunk: &Chunk| (chunk.identity.timeline, chunk.identity.chunk) == (timeline, wanted);
        let at = match self.open.iter().position(is_wanted) {
            Some(at) => at,
            None => {
                let chunk = self.places.open_to_write(timeline, wanted)?;
                if self.open.len() >= OPEN {
                    self.open.remove(0);
                }
                self.open.push(chunk);
                self.timelines = None;
                self.open.len() - 1
            }
        };
        let path = || self.places.index(timeline, wanted);
        self.open
            .get(at)
            .ok_or_else(|| IndexError::io("open", &path())(std::io::ErrorKind::NotFound.into()))
    }

    fn get(&self, name: SegmentName) -> SegmentState {
        let number = name.number(self.places.size);
        let is_wanted = |chunk: &&Chunk| {
            (chunk.identity.timeline, chunk.identity.chunk) == (name.timeline, number.0 / SLOTS)
        };
        match self.open.iter().find(is_wanted) {
            Some(chunk) => chunk.state(number),
            None => self
                .places
                .open(name.timeline, number.0 / SLOTS)
                .map_or(SegmentState::Unknown, |chunk| chunk.state(number)),
        }
    }

    fn write(&mut self, name: SegmentName, state: &SegmentState) -> Result<bool, IndexError> {
        let number = name.number(self.places.size);
        self.chunk(name.timeline, number)?.write(number, state)
    }

    fn put(&mut self, name: SegmentName, mut state: SegmentState) -> Result<(), IndexError> {
        let size = self.places.size;
        let number = name.number(size);
        if !name.fits(size) {
            return Ok(());
        }
        if let Some(found) = state.summary().map(|summary| summary.size)
            && found != size
        {
            return Err(IndexError::Size {
                name,
                found,
                expected: size,
            });
        }
        let old = self.get(name);
        if let Some(summary) = summary_of(&mut state) {
            adopt(old.summary(), summary);
            if let Some(before) = number
                .prev()
                .and_then(|before| before.name(summary.first_page_timeline, size))
                && let SegmentState::Known(before) = self.get(before)
                && before.system_identifier == summary.system_identifier
            {
                summary.judge(&before);
            }
        }
        let mut after = self.after(name);
        if let Some(summary) = summary_of(&mut state) {
            for (_, next) in &after {
                if let Some(next) = next.known() {
                    summary.inherit(next);
                }
            }
        }
        self.write(name, &state)?;
        // What this tells about those after it; a long record can lie over many.
        let mut current = state;
        while let SegmentState::Known(before) = &current {
            let mut next = None;
            for (name, mut state) in after {
                match settle(before, &mut state) {
                    Effect::Nothing => continue,
                    Effect::Stale => self.write(name, &SegmentState::Unknown)?,
                    Effect::Changed => self.write(name, &state)?,
                };
                if state.known().is_some_and(SegmentSummary::is_within_a_record) {
                    next = Some((name, state));
                }
            }
            let Some((name, state)) = next else { break };
            after = self.after(name);
            current = state;
        }
        if number.0 % SLOTS == SEALS_BEFORE
            && let Some(before) = (number.0 / SLOTS).checked_sub(1)
        {
            self.seal(name.timeline, before)?;
        }
        Ok(())
    }

    /// The segments that follow this one, with what is known of them: on its timeline, and on those that begin in
    /// the next segment.
    fn after(&mut self, name: SegmentName) -> Vec<(SegmentName, SegmentState)> {
        let size = self.places.size;
        let Some(next) = name.number(size).next() else {
            return Vec::new();
        };
        let timelines = self.timelines.get_or_insert_with(|| self.places.timelines());
        let later: Vec<TimelineId> = timelines
            .iter()
            .copied()
            .filter(|timeline| *timeline >= name.timeline)
            .collect();
        later
            .into_iter()
            .filter_map(|timeline| {
                let next = next.name(timeline, size)?;
                let state = self.get(next);
                let follows = state
                    .summary()
                    .is_some_and(|summary| summary.first_page_timeline == name.timeline);
                follows.then_some((next, state))
            })
            .collect()
    }

    fn seal(&self, timeline: TimelineId, chunk: u64) -> Result<(), IndexError> {
        let Some(chunk) = self.places.open_existing(timeline, chunk)? else {
            return Ok(());
        };
        if chunk.zone().is_some() {
            return Ok(());
        }
        let states = with_epochs(chunk.states());
        let zone = Zone::of(states.iter().map(|(number, state)| (*number, state)));
        chunk.seal(&zone)
    }
}

/// What was found out about the same content before is not found out again.
fn adopt(old: Option<&SegmentSummary>, new: &mut SegmentSummary) {
    let Some(old) = old.filter(|old| old.digest == new.digest) else {
        return;
    };
    if let (Some(old), Some(new)) = (&old.head, &mut new.head)
        && new.verdict == Verdict::Pending
        && matches!(old.verdict, Verdict::Good(_) | Verdict::GoesOn(_))
    {
        *new = old.clone();
    }
    new.inherit(old);
}
