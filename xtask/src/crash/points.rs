//! Where faults are injected: every call of a recorded run that touches the files of the scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::strace::{Call, Fault, Injection, Outcome};

/// How far the threads that are not meant fall behind those that are.
const BEHIND: Duration = Duration::from_millis(40);

/// The kinds of fault, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// kill -9 before the call is done
    Kill,
    /// The call fails: no space left on device
    Enospc,
    /// The call fails: input/output error
    Eio,
    /// The call is one that the file system does not know
    Unsupported,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Enospc, Self::Eio, Self::Unsupported];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Enospc => "enospc",
            Self::Eio => "eio",
            Self::Unsupported => "unsupported",
        }
    }

    /// What happens to this call, if this kind can happen to it.
    fn fault(self, call: &Call) -> Option<Fault> {
        let creates = call.arguments.iter().any(|a| a.contains("O_CREAT"));
        let clones = call.arguments.iter().any(|a| a.contains("FICLONE"));
        match self {
            Self::Kill => Some(Fault::Kill),
            Self::Enospc => match call.name.as_str() {
                "write" | "pwrite64" | "writev" | "pwritev" | "fsync" | "fdatasync" | "syncfs" | "mkdir"
                | "mkdirat" | "rename" | "renameat" | "renameat2" | "link" | "linkat" | "symlink"
                | "symlinkat" | "ftruncate" | "fallocate" | "copy_file_range" | "sendfile" | "fsetxattr"
                | "setxattr" => Some(Fault::Error("ENOSPC")),
                "open" | "openat" | "openat2" | "creat" if creates => Some(Fault::Error("ENOSPC")),
                _ => None,
            },
            Self::Eio => Some(Fault::Error("EIO")),
            Self::Unsupported => match call.name.as_str() {
                "link" | "linkat" => Some(Fault::Error("EPERM")),
                "renameat2" => Some(Fault::Error("EINVAL")),
                "copy_file_range" => Some(Fault::Error("EXDEV")),
                "fallocate" | "syncfs" | "sync_file_range" => Some(Fault::Error("EOPNOTSUPP")),
                "ioctl" if clones => Some(Fault::Error("EOPNOTSUPP")),
                _ => None,
            },
        }
    }
}

/// Which threads are meant. The count of `strace` is one of each thread, and the thread that first comes so far is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Whichever thread comes first.
    Any,
    /// The threads beside the first one, which is held back.
    Others,
}

/// One fault at one call.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its kind.
    pub kind: Kind,
    /// What is injected.
    pub fault: Fault,
    /// The name of the call.
    pub call: String,
    /// Which of the calls of this name, from 1.
    pub at: u32,
    /// Which threads are meant.
    pub side: Side,
    /// One of many alike.
    pub bulk: bool,
}

impl Point {
    /// The injection; calls of `slow` hold the first thread back.
    pub fn injection(&self, slow: &BTreeSet<String>, log: &Path) -> Injection {
        let delayed = match self.side {
            Side::Any => Vec::new(),
            Side::Others => slow.iter().map(|name| (name.clone(), BEHIND)).collect(),
        };
        Injection {
            call: self.call.clone(),
            fault: self.fault,
            at: self.at,
            delayed,
            whole: self.is_failing_sync(),
            log: log.to_owned(),
        }
    }

    /// Whether a sync says that it has failed. The kernel still has the data then, so that files alone never show a program
    /// that does not care: its calls have to be looked at.
    pub fn is_failing_sync(&self) -> bool {
        matches!(self.fault, Fault::Error(_))
            && matches!(self.call.as_str(), "fsync" | "fdatasync" | "syncfs" | "sync")
    }

    /// The options of `cargo xtask crash` that repeat it.
    pub fn options(&self) -> String {
        let others = match self.side {
            Side::Any => "",
            Side::Others => " --other-threads",
        };
        format!(
            "--fault {} --call {} --at {}{others}",
            self.kind.name(),
            self.call,
            self.at
        )
    }
}

/// What is known of a recorded run.
pub struct Plan {
    /// Every fault at every call.
    pub points: Vec<Point>,
    /// How many calls of each name touch the scenario's files, all threads together.
    pub calls: BTreeMap<String, usize>,
    /// Calls that only the first thread makes.
    pub slow: BTreeSet<String>,
}

/// Finds all points of a recorded run. `concerns` says which paths are the scenario's.
pub fn plan(calls: &[Call], concerns: &dyn Fn(&Path) -> bool, is_bulk: &dyn Fn(&Path) -> bool) -> Plan {
    let mut begun: Vec<&Call> = calls.iter().collect();
    begun.sort_by_key(|call| call.begin);
    let first = begun.first().map_or(0, |call| call.thread);
    let mut counts: BTreeMap<(u32, &str), u32> = BTreeMap::new();
    let mut plan = Plan {
        points: Vec::new(),
        calls: BTreeMap::new(),
        slow: BTreeSet::new(),
    };
    let mut made_by: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    // By call, position and side: what it touches.
    let mut places: BTreeMap<(&str, u32, Side), (&Call, PathBuf)> = BTreeMap::new();
    for call in begun {
        let at = counts.entry((call.thread, &call.name)).or_insert(0);
        *at += 1;
        made_by
            .entry(&call.name)
            .or_default()
            .insert(call.thread == first);
        let Some(path) = touched(call).filter(|path| concerns(path)) else {
            continue;
        };
        if call.outcome == Outcome::Failed && !matters_when_it_fails(call) {
            continue;
        }
        *plan.calls.entry(call.name.clone()).or_default() += 1;
        let sides = if call.thread == first {
            &[Side::Any][..]
        } else {
            &[Side::Any, Side::Others]
        };
        for side in sides {
            places
                .entry((&call.name, *at, *side))
                .or_insert((call, path.clone()));
        }
    }
    for ((name, at, side), (call, path)) in places {
        for kind in Kind::ALL {
            // A second thread makes a difference to a kill; an error is one for whoever meets it.
            let Some(fault) = kind
                .fault(call)
                .filter(|_| side == Side::Any || kind == Kind::Kill)
            else {
                continue;
            };
            plan.points.push(Point {
                kind,
                fault,
                call: name.to_owned(),
                at,
                side,
                bulk: is_bulk(&path),
            });
        }
    }
    let only_first = |(_, by): &(&&str, &BTreeSet<bool>)| !by.contains(&false);
    let holds = |name: &str| name.starts_with("rename") || name.starts_with("unlink") || name == "write";
    plan.slow = made_by
        .iter()
        .filter(only_first)
        .map(|(name, _)| (*name).to_owned())
        .filter(|name| holds(name))
        .collect();
    plan
}

/// A call that failed by itself is a place for a fault if the program lives with its failure.
fn matters_when_it_fails(call: &Call) -> bool {
    call.name.starts_with("mkdir") || call.name.starts_with("unlink") || call.name == "rmdir"
}

/// The file that a call is about.
pub fn touched(call: &Call) -> Option<PathBuf> {
    match call.name.as_str() {
        "open" | "creat" | "rename" | "link" | "unlink" | "rmdir" | "mkdir" | "chmod" | "chown"
        | "lchown" | "truncate" | "mknod" | "setxattr" => call.path(0),
        "openat" | "openat2" | "unlinkat" | "mkdirat" | "mknodat" | "fchmodat" | "fchownat" | "symlink" => {
            call.path(1)
        }
        "symlinkat" => call.path(2),
        "renameat" | "renameat2" | "linkat" => call.path(3),
        "copy_file_range" | "splice" => call.descriptor(2),
        "utimensat" => call
            .descriptor(0)
            .filter(|_| call.bytes(1).is_none())
            .or_else(|| call.path(1)),
        // It changes nothing on the disk.
        "lseek" => None,
        "ioctl" if !call.arguments.iter().any(|a| a.contains("FICLONE")) => None,
        _ => call.descriptor(0),
    }
}

/// Puts points into the order in which they are tried when the time may not suffice for all: each kind of fault at each
/// call in turn, and of these any one; bulk last.
pub fn shuffled(points: Vec<Point>, seed: u64) -> Vec<Point> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut groups: BTreeMap<(bool, Kind, String, Side), Vec<Point>> = BTreeMap::new();
    for point in points {
        let key = (point.bulk, point.kind, point.call.clone(), point.side);
        groups.entry(key).or_default().push(point);
    }
    for group in groups.values_mut() {
        for i in (1..group.len()).rev() {
            group.swap(i, random.below(i + 1));
        }
    }
    let mut ordered = Vec::new();
    for bulk in [false, true] {
        loop {
            let before = ordered.len();
            for (_, group) in groups.iter_mut().filter(|((b, ..), _)| *b == bulk) {
                ordered.extend(group.pop());
            }
            if ordered.len() == before {
                break;
            }
        }
    }
    ordered
}

/// Of each kind of bulk at most `most`, of all else every `stride`-th.
pub fn thinned(points: Vec<Point>, most: Option<usize>, stride: usize, seed: u64) -> Vec<Point> {
    let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
    let mut bulk: BTreeMap<(Kind, String, Side), Vec<Point>> = BTreeMap::new();
    let mut kept = Vec::new();
    for (number, point) in points.into_iter().enumerate() {
        if point.bulk {
            let key = (point.kind, point.call.clone(), point.side);
            bulk.entry(key).or_default().push(point);
        } else if number % stride.max(1) == 0 {
            kept.push(point);
        }
    }
    for (_, mut group) in bulk {
        let most = most.unwrap_or(group.len());
        while group.len() > most {
            group.swap_remove(random.below(group.len()));
        }
        kept.extend(group);
    }
    kept
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::strace;

    const LOG: &str = "10 openat(AT_FDCWD</>, \"/lib/x\", O_RDONLY) = 3</lib/x>\n\
                       10 openat(AT_FDCWD</>, \"/h/a\", O_RDWR|O_CREAT, 0600) = 3</h/a>\n\
                       11 write(3</h/a>, \"x\", 1) = 1\n\
                       10 write(1</out>, \"x\", 1) = 1\n\
                       10 write(3</h/a>, \"x\", 1) = 1\n\
                       10 renameat2(AT_FDCWD</>, \"/h/a\", AT_FDCWD</>, \"/h/b\", 0) = 0\n";

    fn texts(plan: &Plan, kind: Kind) -> Vec<String> {
        plan.points
            .iter()
            .filter(|p| p.kind == kind)
            .map(Point::options)
            .collect()
    }

    #[test]
    fn every_call_on_the_files_is_a_point() {
        let plan = plan(&strace::parse(LOG), &|path| path.starts_with("/h"), &|_| false);
        assert_eq!(
            texts(&plan, Kind::Kill),
            [
                "--fault kill --call openat --at 2",
                "--fault kill --call renameat2 --at 1",
                "--fault kill --call write --at 1",
                "--fault kill --call write --at 1 --other-threads",
                "--fault kill --call write --at 2",
            ]
        );
        assert_eq!(
            texts(&plan, Kind::Unsupported),
            ["--fault unsupported --call renameat2 --at 1"]
        );
        assert_eq!(plan.calls["write"], 2);
        assert!(plan.points.iter().all(|point| !point.is_failing_sync()));
        let sync = strace::parse("10 fsync(3</h/a>) = 0\n");
        let sync = super::plan(&sync, &|_| true, &|_| false);
        let failing = sync.points.iter().filter(|point| point.is_failing_sync());
        assert_eq!(
            failing.map(|point| point.kind).collect::<Vec<_>>(),
            [Kind::Enospc, Kind::Eio]
        );
        assert_eq!(plan.slow.iter().collect::<Vec<_>>(), ["renameat2"]);
    }

    #[test]
    fn an_order_has_every_point_once_and_a_sample_only_some_of_the_bulk() {
        let found = plan(&strace::parse(LOG), &|path| path.starts_with("/h"), &|path| {
            path == Path::new("/h/a")
        });
        let all = found.points.len();
        assert_eq!(shuffled(found.points.clone(), 7).len(), all);
        let one = thinned(found.points, Some(1), 1, 7);
        let bulk = one
            .iter()
            .filter(|p| p.bulk && p.kind == Kind::Kill && p.side == Side::Any);
        assert_eq!(
            bulk.map(|p| p.call.clone()).collect::<Vec<_>>(),
            ["openat", "write"]
        );
    }
}
