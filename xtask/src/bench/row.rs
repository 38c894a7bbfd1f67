//! What a row of the table is: an id, what is compared, the targets, and how to get at the figures.

use anyhow::Result;

use super::measure::Sample;
use super::stats::Bound;
use super::world::World;

/// One row. Rows of a group stand together and share what they prepare.
pub struct Row {
    /// `group/name`.
    pub id: String,
    /// What is done, for somebody who has never seen it.
    pub what: String,
    /// What must be reached.
    pub targets: Vec<Target>,
    /// How.
    pub body: Body,
    /// It takes many minutes: only on request.
    pub long: bool,
}

/// Prepares a row, and says what to run in turn.
type Prepare = Box<dyn Fn(&mut World) -> Result<Contest>>;

/// How a row comes to its figures.
pub enum Body {
    /// The feature is not there yet; who brings it.
    Awaits(&'static str),
    /// Prepares, and says what to run in turn.
    Measure(Prepare),
}

impl Row {
    /// A row that is measured.
    pub fn new(
        id: impl Into<String>,
        what: impl Into<String>,
        targets: impl Into<Vec<Target>>,
        prepare: impl Fn(&mut World) -> Result<Contest> + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            what: what.into(),
            targets: targets.into(),
            body: Body::Measure(Box::new(prepare)),
            long: false,
        }
    }

    /// A row whose feature is not there yet.
    pub fn awaits(id: &str, what: &str, targets: impl Into<Vec<Target>>, issue: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            what: what.to_owned(),
            targets: targets.into(),
            body: Body::Awaits(issue),
            long: false,
        }
    }

    /// It is measured on request only.
    #[must_use]
    pub fn only_long(mut self) -> Self {
        self.long = true;
        self
    }

    /// The part of the id before the first slash.
    pub fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// Name of our side in every contest.
pub const OURS: &str = "ours";

/// Ours and its peers, ready to run in turn.
pub struct Contest {
    pub ours: Side,
    pub peers: Vec<Side>,
    /// Peers that cannot be had, with the reason.
    pub missing: Vec<(&'static str, String)>,
    /// What a reader should know: sizes, versions, what is and is not counted.
    pub notes: Vec<String>,
    /// Runs, at least: programs that end in milliseconds need more of them.
    pub min_runs: usize,
    /// Set when ours cannot do this yet after all: what it said.
    pub awaits: Option<String>,
}

impl Contest {
    /// Ours alone; peers are added to it.
    pub fn of(ours: Side) -> Self {
        Self {
            ours,
            peers: Vec::new(),
            missing: Vec::new(),
            notes: Vec::new(),
            min_runs: 1,
            awaits: None,
        }
    }

    /// Adds a peer.
    #[must_use]
    pub fn against(mut self, peer: Side) -> Self {
        self.peers.push(peer);
        self
    }

    /// Adds a peer, or says why it is not there.
    #[must_use]
    pub fn against_or_missing(mut self, name: &'static str, peer: Result<Side>) -> Self {
        match peer {
            Ok(side) => self.peers.push(side),
            Err(error) => self.missing.push((name, format!("{error:#}"))),
        }
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Runs of each side, at least.
    #[must_use]
    pub fn at_least(mut self, runs: usize) -> Self {
        self.min_runs = runs;
        self
    }
}

/// One side of a contest.
pub struct Side {
    pub name: &'static str,
    /// Makes the same start for each run; not measured.
    pub reset: Box<dyn FnMut() -> Result<()>>,
    /// One measured run.
    pub run: Box<dyn FnMut() -> Result<Sample>>,
}

impl Side {
    /// A side that needs nothing between its runs.
    pub fn new(name: &'static str, run: impl FnMut() -> Result<Sample> + 'static) -> Self {
        Self {
            name,
            reset: Box::new(|| Ok(())),
            run: Box::new(run),
        }
    }

    /// What to do before each run.
    #[must_use]
    pub fn reset(mut self, reset: impl FnMut() -> Result<()> + 'static) -> Self {
        self.reset = Box::new(reset);
        self
    }
}

/// A figure to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    pub figure: Figure,
    pub limit: f64,
    pub bound: Bound,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Seconds.
    Wall,
    /// Bytes.
    Memory,
    /// Our wall time as a part of a peer's.
    WallOf(&'static str),
    /// Our CPU time as a part of a peer's.
    CpuOf(&'static str),
    /// Our wall time minus a peer's, seconds.
    WallOver(&'static str),
    /// Our throughput as a part of a peer's: its wall time divided by ours.
    RateOf(&'static str),
}

impl Figure {
    /// The peer that is needed.
    pub fn peer(self) -> Option<&'static str> {
        match self {
            Self::Wall | Self::Memory => None,
            Self::WallOf(peer) | Self::CpuOf(peer) | Self::WallOver(peer) | Self::RateOf(peer) => Some(peer),
        }
    }

    /// The value of one round: our sample, and the peer's where one is needed.
    pub fn value(self, ours: &Sample, peer: Option<&Sample>) -> Option<f64> {
        Some(match self {
            Self::Wall => ours.wall,
            Self::Memory => ours.memory,
            Self::WallOf(_) => ours.wall / peer?.wall,
            Self::CpuOf(_) => ours.cpu / peer?.cpu,
            Self::WallOver(_) => ours.wall - peer?.wall,
            Self::RateOf(_) => peer?.wall / ours.wall,
        })
    }

    /// What it is, in words.
    pub fn text(self) -> String {
        match self {
            Self::Wall => "wall time".to_owned(),
            Self::Memory => "peak memory".to_owned(),
            Self::WallOf(peer) => format!("wall / {peer}"),
            Self::CpuOf(peer) => format!("CPU / {peer}"),
            Self::WallOver(peer) => format!("wall - {peer}"),
            Self::RateOf(peer) => format!("throughput / {peer}"),
        }
    }
}

const fn at_most(figure: Figure, limit: f64) -> Target {
    Target {
        figure,
        limit,
        bound: Bound::AtMost,
    }
}

/// Wall time of at most so many seconds.
pub const fn wall(seconds: f64) -> Target {
    at_most(Figure::Wall, seconds)
}

/// Peak memory of at most so many MiB.
pub const fn memory(mib: f64) -> Target {
    at_most(Figure::Memory, mib * 1024.0 * 1024.0)
}

/// Wall time of at most this part of a peer's.
pub const fn wall_of(peer: &'static str, ratio: f64) -> Target {
    at_most(Figure::WallOf(peer), ratio)
}

/// CPU time of at most this part of a peer's.
pub const fn cpu_of(peer: &'static str, ratio: f64) -> Target {
    at_most(Figure::CpuOf(peer), ratio)
}

/// Wall time of at most so many seconds more than a peer's.
pub const fn wall_over(peer: &'static str, seconds: f64) -> Target {
    at_most(Figure::WallOver(peer), seconds)
}

/// Throughput of at least this part of a peer's.
pub const fn rate_of(peer: &'static str, ratio: f64) -> Target {
    Target {
        figure: Figure::RateOf(peer),
        limit: ratio,
        bound: Bound::AtLeast,
    }
}
