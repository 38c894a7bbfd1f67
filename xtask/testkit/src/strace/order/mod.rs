//! The order checker: whether a program puts things on stable storage before it does what relies on them.
//!
//! Killing a process never shows a missing sync, because the kernel still has what was written. So the calls of a run
//! are replayed against a model of the file system in which only a sync makes anything durable, and at the calls that
//! matter the rules of [`RULES`] are asked. `sync_file_range` begins to write and makes nothing durable.

mod model;
mod rules;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::calls::{Call, Outcome};
use model::Model;

/// What the checker looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as in reports.
    pub name: &'static str,
    /// What must hold.
    pub what: &'static str,
}

/// A file is on stable storage before it gets its final name.
pub const RENAME: Rule = Rule {
    name: "rename-before-sync",
    what: "a file is on stable storage before it gets its final name",
};

/// A WAL file leaves the queue only when its copy, the copy's directories and its line in xlog.db are on stable storage.
pub const SOURCE: Rule = Rule {
    name: "source-removed-before-copy",
    what: "a WAL file leaves the queue only when its copy, the copy's directories and its line in xlog.db are on stable storage",
};

/// A WAL file is on stable storage before xlog.db lists it.
pub const LISTED: Rule = Rule {
    name: "listed-before-copy",
    what: "a WAL file is on stable storage before xlog.db lists it",
};

/// All files of a backup are on stable storage before backup.info says WAITING_FOR_WALS or DONE.
pub const STATUS: Rule = Rule {
    name: "status-before-data",
    what: "all files of a backup are on stable storage before backup.info says WAITING_FOR_WALS or DONE",
};

/// Before anything of a backup is removed, it is on stable storage that it is being deleted.
pub const UNMARKED: Rule = Rule {
    name: "deleted-before-mark",
    what: "before anything of a backup is removed, it is on stable storage that it is being deleted",
};

/// A WAL file is removed only when the xlog.db on stable storage does not list it.
pub const WAL_LISTED: Rule = Rule {
    name: "wal-removed-while-listed",
    what: "a WAL file is removed only when the xlog.db on stable storage does not list it",
};

/// Backup.info goes only when the removal of the backup's data is on stable storage.
pub const INFO_LAST: Rule = Rule {
    name: "info-removed-before-data",
    what: "backup.info goes only when the removal of the backup's data is on stable storage",
};

/// A file of the catalogue is replaced as a whole, never emptied or written over.
pub const IN_PLACE: Rule = Rule {
    name: "overwritten-in-place",
    what: "a file of the catalogue is replaced as a whole, never emptied or written over",
};

/// When the program has ended, nothing that it left is only in memory.
pub const AT_END: Rule = Rule {
    name: "not-durable-at-end",
    what: "when the program has ended, nothing that it left is only in memory",
};

/// WAL is on stable storage before the server is told so.
pub const ACKNOWLEDGED: Rule = Rule {
    name: "acknowledged-before-sync",
    what: "WAL is on stable storage before the server is told so",
};

/// The files of a restored data directory are on stable storage before pg_control is there.
pub const CONTROL_LAST: Rule = Rule {
    name: "control-before-data",
    what: "the files of a restored data directory are on stable storage before pg_control is there",
};

/// The record says of every name where it is.
pub const UNKNOWN: Rule = Rule {
    name: "path-not-known",
    what: "the record says of every name that is made, changed or removed where it is",
};

/// Every write is a call in the record.
pub const UNFOLLOWED: Rule = Rule {
    name: "writes-not-followed",
    what: "nothing is written in ways that cannot be followed: no shared writable mapping of a file, no io_uring, no AIO",
};

/// All rules.
pub const RULES: [Rule; 13] = [
    RENAME,
    SOURCE,
    LISTED,
    STATUS,
    UNMARKED,
    WAL_LISTED,
    INFO_LAST,
    IN_PLACE,
    AT_END,
    ACKNOWLEDGED,
    CONTROL_LAST,
    UNKNOWN,
    UNFOLLOWED,
];

/// Where the program works, and how things were before.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `barman_home`: the servers' directories are in it.
    pub home: PathBuf,
    /// A copy of `home` from before the run, to know what was there.
    pub before: Option<PathBuf>,
    /// Where a restore writes.
    pub destination: Option<PathBuf>,
    /// Where it puts tablespaces.
    pub tablespaces: Vec<PathBuf>,
    /// The size of a WAL segment in bytes; 16 MiB if 0.
    pub segment_size: u64,
    /// Mount points, for `syncfs`, which covers one file system.
    pub mounts: Vec<PathBuf>,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The call at which it was seen; empty for the end of the run.
    pub call: String,
    /// The line of the log in which that call began.
    pub line: usize,
    /// What is not as it must be.
    pub why: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rule,
            call,
            line,
            why,
        } = self;
        write!(f, "{}: {why}", rule.name)?;
        if !call.is_empty() {
            write!(f, "\n    at line {}: {call}", line + 1)?;
        }
        Ok(())
    }
}

/// The mount points of this machine.
pub fn mounts() -> Vec<PathBuf> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect()
}

/// Replays the calls of one whole run. Two threads' calls count as one after the other only if one ended before the
/// other began.
pub fn check(calls: &[Call], places: &Places) -> Vec<Violation> {
    let mut moments: Vec<(usize, bool, &Call)> = Vec::with_capacity(calls.len() * 2);
    for call in calls {
        if matches!(call.outcome, Outcome::Failed | Outcome::Injected) {
            continue;
        }
        moments.push((call.begin, true, call));
        if call.outcome == Outcome::Done {
            moments.push((call.end, false, call));
        }
    }
    // A call within one line begins before it ends.
    moments.sort_by_key(|(line, begins, _)| (*line, !begins));
    let mut model = Model::new(places.clone());
    let mut found = Vec::new();
    for (line, begins, call) in moments {
        if begins {
            for (rule, why) in rules::before(&model, call) {
                found.push(Violation {
                    rule,
                    call: call.text(),
                    line,
                    why,
                });
            }
            model.begin(call);
        } else {
            model.end(call, line);
        }
    }
    for (rule, why) in rules::at_end(&model) {
        found.push(Violation {
            rule,
            call: String::new(),
            line: 0,
            why,
        });
    }
    found
}

/// The names of the rules that were broken.
pub fn names(violations: &[Violation]) -> BTreeSet<&'static str> {
    violations.iter().map(|violation| violation.rule.name).collect()
}

/// The last part of a path, if it is readable.
fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// Whether a file of this name says how things are configured: a configuration file, the queue of changes, the name of the
/// active model.
#[must_use]
pub fn is_configuration(name: &str) -> bool {
    name.ends_with(".conf") || ["cfg_changes.queue", ".active-model.auto"].contains(&name)
}
