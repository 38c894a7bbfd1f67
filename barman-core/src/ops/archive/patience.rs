//! What a command that waits for WAL, and archives again and again meanwhile, remembers from one run to the next: what
//! failed is told once, and not tried ten times a second, with all its scripts and filters.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::queue::{Source, Waiting};

/// How long what has failed is left alone.
const REST: Duration = Duration::from_secs(5);

/// Failures of earlier runs of one command.
#[derive(Debug)]
pub(in crate::ops) struct Patience {
    rest: Duration,
    told: HashSet<String>,
    files: HashMap<(Source, String), Instant>,
    archivers: HashMap<Source, Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self::resting(REST)
    }
}

impl Patience {
    /// With another rest than usual.
    pub(super) fn resting(rest: Duration) -> Self {
        Self {
            rest,
            told: HashSet::new(),
            files: HashMap::new(),
            archivers: HashMap::new(),
        }
    }

    /// Whether this was not told before.
    pub(super) fn is_news(&mut self, text: &str) -> bool {
        self.told.insert(text.to_owned())
    }

    /// Nothing rests in the next run: the last one, after which nobody tries again.
    pub(in crate::ops) fn try_all(&mut self) {
        self.files.clear();
        self.archivers.clear();
    }

    /// This file could not be archived.
    pub(super) fn failed(&mut self, source: Source, file: &Waiting) {
        self.files.insert((source, file.spelling.clone()), Instant::now());
    }

    /// A script ended this archiver.
    pub(super) fn stopped(&mut self, source: Source) {
        self.archivers.insert(source, Instant::now());
    }

    /// Whether a file that failed has to wait.
    pub(super) fn rests(&self, source: Source, file: &Waiting) -> bool {
        !self.files.is_empty()
            && self
                .files
                .get(&(source, file.spelling.clone()))
                .is_some_and(|since| since.elapsed() < self.rest)
    }

    /// Whether an archiver that a script ended has to wait.
    pub(super) fn is_stopped(&self, source: Source) -> bool {
        self.archivers
            .get(&source)
            .is_some_and(|since| since.elapsed() < self.rest)
    }
}
