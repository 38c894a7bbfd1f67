//! What is tortured: a command in a prepared place, what must hold whatever happens to it, and how it goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use testkit::strace::order::Rule;
use testkit::{Finished, Program, Sandbox};

use super::planted::barman::Known;
use super::planted::damage::Damage;

/// One entry of the table of scenarios.
pub struct Scenario {
    /// `command` or `command/variant`.
    pub name: &'static str,
    /// What is there, what is run, in a line.
    pub about: &'static str,
    /// Prepares the place; gets the path of our program.
    pub build: fn(&Path) -> Result<Box<dyn Scene>>,
    /// The rules of the order checker that its run could break: each is broken on purpose in the recorded calls.
    pub rules: &'static [Rule],
    /// The rules that Barman breaks in this scenario, which the order checker must find; `None` if it is not asked.
    pub barman: Option<&'static [Known]>,
}

impl Scenario {
    /// Whether `filter` names it: the whole name, or the command alone.
    pub fn is_called(&self, filter: &str) -> bool {
        self.name == filter || self.name.split('/').next() == Some(filter)
    }
}

/// An invariant by its name, and whether it holds now.
pub type Held = (&'static str, Result<()>);

/// A prepared place. Everything that a run may change is in the sandbox's `home`, which is put back before each run.
pub trait Scene: Send {
    /// The Barman home.
    fn sandbox(&self) -> &Sandbox;

    /// Called when `home` is as it was prepared: puts back what is outside of it.
    ///
    /// # Errors
    /// That cannot be done.
    fn reset(&mut self) -> Result<()> {
        Ok(())
    }

    /// Runs the command with `program`, which may kill or hinder it.
    ///
    /// # Errors
    /// It could not be run at all, or did not end.
    fn run(&mut self, program: &Program) -> Result<Finished>;

    /// What must hold at any moment at which nobody is at work. Must not change anything.
    fn invariants(&self) -> Vec<Held>;

    /// The next run, undisturbed: what a user, `cron` or PostgreSQL does next.
    ///
    /// # Errors
    /// It fails.
    fn again(&mut self, program: &Program) -> Result<()>;

    /// How things are, without what differs from run to run. After `again` this must be as after an undisturbed run.
    ///
    /// # Errors
    /// Files cannot be read.
    fn state(&self) -> Result<BTreeMap<String, String>>;

    /// Whether a run that ended with 0 must have left [`Scene::state`] as an undisturbed one does, without `again`.
    fn success_is_complete(&self) -> bool {
        true
    }

    /// Damage that the invariants must see. Asked for after an undisturbed run.
    ///
    /// # Errors
    /// There is no place for it.
    fn damages(&self) -> Result<Vec<Damage>>;

    /// Whether this difference to an undisturbed run is what the run has announced.
    fn is_announced(&self, done: &Finished, key: &str) -> bool {
        let _ = (done, key);
        false
    }

    /// Where a restore writes.
    fn destination(&self) -> Option<PathBuf> {
        None
    }

    /// Where it puts tablespaces.
    fn tablespaces(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Bytes of a WAL segment.
    fn segment_size(&self) -> u64 {
        16 << 20
    }

    /// A part of the run's work that is alike file by file, by path: sampled unless everything is asked for.
    fn is_bulk(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
}
