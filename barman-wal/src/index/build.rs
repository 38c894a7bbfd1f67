//! Looking at the segments of an archive: all of them, or those that a question needs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::segment::{SegmentName, SegmentNumber, SegmentSize};
use crate::timeline::TimelineId;

use super::chunk::SLOTS;
use super::error::IndexError;
use super::find::{Answer, is_settled};
use super::route::Span;
use super::store::WalIndex;
use super::summarizer::summarize;
use super::summary::{Cause, SegmentState, Unreadable};

/// How many segments are looked at before what was found is written: within them, in ascending order, so that records
/// over their borders are judged at once.
const BATCH: usize = 64;
/// How many segments a question has looked at before it is asked again, at first.
const FIRST_DEMAND: u64 = 4;
/// And at most.
const DEMAND: u64 = 512;

/// An archive of WAL segments, compressed and encrypted as its owner knows.
pub trait Archive {
    /// The segments that there are: for each timeline one span or more, in any order. They can have gaps.
    ///
    /// # Errors
    /// The archive cannot be listed.
    fn spans(&mut self) -> io::Result<Vec<Span>>;

    /// Which segments of `span`, at most 4096, there are, ascending.
    ///
    /// # Errors
    /// The archive cannot be listed.
    fn list(&mut self, span: Span) -> io::Result<Vec<SegmentNumber>>;

    /// Reads a segment: [`summarize`] of its plain content; an [`Unreadable`] with the right cause when that cannot be
    /// had; [`SegmentState::Unknown`] when it is gone.
    fn look(&mut self, name: SegmentName) -> SegmentState;
}

/// Which segments are looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest: for everything that is about now.
    NewestFirst,
    /// The oldest: for what stops at the first that it finds.
    OldestFirst,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The segment that was looked at last.
    pub segment: SegmentName,
    /// How many have been looked at.
    pub done: u64,
    /// How many there are to look at, at most: gaps and what is known already are counted too.
    pub total: u64,
}

/// Told after each segment; can stop it.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Built {
    /// How many segments were looked at.
    pub looked_at: u64,
    /// How many of them could not be read.
    pub unreadable: u64,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// Why segments were not looked at.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The archive cannot be listed.
    #[error("cannot list the WAL archive: {0}")]
    List(io::Error),
    /// The index cannot be written.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl WalIndex {
    /// Looks at all segments of the archive that are unknown, the newest first. Memory does not grow with the archive.
    /// It can be stopped at any time; what was found until then stays, and the next call goes on.
    ///
    /// # Errors
    /// The archive cannot be listed, or the index not be written.
    pub fn build(&self, archive: &mut dyn Archive, progress: OnProgress<'_>) -> Result<Built, BuildError> {
        let spans = archive.spans().map_err(BuildError::List)?;
        let mut job = Job::new(self, archive, progress, spans.iter().map(Span::count).sum());
        job.fill(&spans, Order::NewestFirst, u64::MAX)?;
        Ok(job.built)
    }

    /// Looks at the segments in `spans` that there are and that are unknown, not more than `limit`.
    ///
    /// # Errors
    /// The archive cannot be listed, or the index not be written.
    pub fn fill(
        &self,
        archive: &mut dyn Archive,
        spans: &[Span],
        order: Order,
        limit: u64,
        progress: OnProgress<'_>,
    ) -> Result<Built, BuildError> {
        let total = spans.iter().map(Span::count).fold(0, u64::saturating_add);
        let mut job = Job::new(self, archive, progress, total.min(limit));
        job.fill(spans, order, limit)?;
        Ok(job.built)
    }

    /// Asks the index, looks at what the answer lacks, and asks again, until nothing that there is in the archive is
    /// unknown to the answer, or `progress` stops it. What is unknown then is missing, or was not reached.
    ///
    /// ```no_run
    /// # use barman_wal::index::*;
    /// # fn example(index: &WalIndex, route: &Route, archive: &mut dyn Archive, target: TimeTarget) -> Result<(), BuildError> {
    /// use std::ops::ControlFlow;
    /// let answer = index.answer(archive, Order::OldestFirst, &mut |_| ControlFlow::Continue(()), |index| {
    ///     index.stop_at_time(route, target)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The archive cannot be listed, or the index not be written.
    pub fn answer<A: Answer>(
        &self,
        archive: &mut dyn Archive,
        order: Order,
        progress: OnProgress<'_>,
        ask: impl Fn(&Self) -> A,
    ) -> Result<A, BuildError> {
        let mut demand = FIRST_DEMAND;
        let mut done = 0;
        loop {
            let answer = ask(self);
            let unknown = answer.coverage().unknown.clone();
            if unknown.is_empty() {
                return Ok(answer);
            }
            let total = unknown.iter().map(Span::count).fold(done, u64::saturating_add);
            let mut job = Job::new(self, archive, &mut *progress, total);
            job.built.looked_at = done;
            job.fill(&unknown, order, demand)?;
            let built = job.built;
            if built.stopped || built.looked_at == done {
                return Ok(ask(self));
            }
            done = built.looked_at;
            demand = (demand * 2).min(DEMAND);
        }
    }
}

struct Job<'a> {
    index: &'a WalIndex,
    archive: &'a mut dyn Archive,
    progress: OnProgress<'a>,
    total: u64,
    built: Built,
}

impl<'a> Job<'a> {
    fn new(index: &'a WalIndex, archive: &'a mut dyn Archive, progress: OnProgress<'a>, total: u64) -> Self {
        Self {
            index,
            archive,
            progress,
            total,
            built: Built::default(),
        }
    }

    fn fill(&mut self, spans: &[Span], order: Order, limit: u64) -> Result<(), BuildError> {
        let mut spans = spans.to_vec();
        if order == Order::NewestFirst {
            spans.sort();
            spans.reverse();
        }
        let mut left = limit;
        for span in spans {
            let (low, high) = (span.first.0 / SLOTS, span.last.0 / SLOTS);
            let newest = self.index.places().chunks(span.timeline).last().copied();
            let count = high - low;
            for step in 0..=count {
                if self.built.stopped || left == 0 {
                    return Ok(());
                }
                let chunk = match order {
                    Order::NewestFirst => high - step,
                    Order::OldestFirst => low + step,
                };
                let start = chunk.saturating_mul(SLOTS);
                let Some(part) = span.within(start, start.saturating_add(SLOTS - 1)) else {
                    continue;
                };
                let before = self.built.looked_at;
                self.part(part, order, left)?;
                left = left.saturating_sub(self.built.looked_at - before);
                let older = newest.unwrap_or(high).max(high) > chunk;
                if self.built.looked_at > before && part.count() == SLOTS && older && !self.built.stopped {
                    self.index.seal_file(span.timeline, chunk)?;
                }
            }
        }
        Ok(())
    }

    /// Segments of one file of the index.
    fn part(&mut self, part: Span, order: Order, limit: u64) -> Result<(), BuildError> {
        let size = self.index.segment_size();
        let known: Vec<SegmentNumber> = self
            .index
            .places()
            .open(part.timeline, part.first.0 / SLOTS)
            .map(|chunk| chunk.states())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(number, state)| is_settled(&state).then_some(number))
            .collect();
        let listed = self.archive.list(part).map_err(BuildError::List)?;
        let mut wanted: Vec<SegmentNumber> = listed
            .into_iter()
            .filter(|number| part.first <= *number && *number <= part.last)
            .filter(|number| known.binary_search(number).is_err())
            .collect();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match order {
            Order::OldestFirst => wanted.truncate(limit),
            Order::NewestFirst => drop(wanted.drain(..wanted.len().saturating_sub(limit))),
        }
        let mut batches: Vec<&[SegmentNumber]> = match order {
            Order::OldestFirst => wanted.chunks(BATCH).collect(),
            Order::NewestFirst => wanted.rchunks(BATCH).collect(),
        };
        batches.retain(|batch| !batch.is_empty());
        for batch in batches {
            let mut found = Vec::with_capacity(batch.len());
            for number in batch {
                let Some(name) = number.name(part.timeline, size) else {
                    continue;
                };
                let state = self.archive.look(name);
                self.built.looked_at += 1;
                self.built.unreadable += u64::from(matches!(state, SegmentState::Unreadable(_)));
                if state != SegmentState::Unknown {
                    found.push((name, state));
                }
                let progress = Progress {
                    segment: name,
                    done: self.built.looked_at,
                    total: self.total.max(self.built.looked_at),
                };
                if (self.progress)(progress).is_break() {
                    self.built.stopped = true;
                    break;
                }
            }
            self.index.put_all(found)?;
            if self.built.stopped {
                break;
            }
        }
        Ok(())
    }
}

/// A directory of plain segments: all in it, or in its sub-directories as Barman's archive has them.
#[derive(Debug)]
pub struct PlainDirectory {
    size: SegmentSize,
    files: BTreeMap<(TimelineId, SegmentNumber), PathBuf>,
}

impl PlainDirectory {
    /// Lists the directory.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn new(directory: PathBuf, size: SegmentSize) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut directories = vec![(directory, true)];
        while let Some((directory, top)) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                if let Ok(segment) = name.parse::<SegmentName>() {
                    if segment.fits(size) {
                        files.insert((segment.timeline, segment.number(size)), entry.path());
                    }
                } else if top && name.len() == 16 && entry.file_type()?.is_dir() {
                    directories.push((entry.path(), false));
                }
            }
        }
        Ok(Self { size, files })
    }
}

impl Archive for PlainDirectory {
    fn spans(&mut self) -> io::Result<Vec<Span>> {
        let mut spans: Vec<Span> = Vec::new();
        for (timeline, number) in self.files.keys().copied() {
            match spans.last_mut() {
                Some(span) if span.timeline == timeline => span.last = number,
                _ => spans.push(Span {
                    timeline,
                    first: number,
                    last: number,
                }),
            }
        }
        Ok(spans)
    }

    fn list(&mut self, span: Span) -> io::Result<Vec<SegmentNumber>> {
        let range = (span.timeline, span.first)..=(span.timeline, span.last);
        Ok(self.files.range(range).map(|((_, number), _)| *number).collect())
    }

    fn look(&mut self, name: SegmentName) -> SegmentState {
        let Some(path) = self.files.get(&(name.timeline, name.number(self.size))) else {
            return SegmentState::Unknown;
        };
        let state = File::open(path).and_then(|file| summarize(name, file));
        match state {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => SegmentState::Unknown,
            Err(error) => SegmentState::Unreadable(Unreadable::without_content(Cause::Io, error.to_string())),
        }
    }
}
