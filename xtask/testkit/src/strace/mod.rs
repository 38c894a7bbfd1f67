//! Crashes and failures of the system on demand, and the order of system calls: a program run under `strace`, so that
//! nothing in the program itself knows of the test.
//!
//! `strace` counts calls for each thread, and for each name. `--seccomp-bpf` is never used: with it, injected kills
//! silently do nothing.

mod calls;
pub mod order;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Program;

pub use calls::{Call, Outcome, calls, parse};

/// Calls that change a file system, or put something on stable storage; `open` and `openat` do so sometimes.
pub const FILE_CALLS: [&str; 46] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync",
    "sync_file_range",
    "msync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mknod",
    "mknodat",
    "open",
    "openat",
    "openat2",
    "creat",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utimensat",
    "symlink",
    "symlinkat",
    "setxattr",
    "fsetxattr",
    "ioctl",
];

/// What a program tells another one over the network, for what must be on disk before it is said.
pub const SEND_CALLS: [&str; 3] = ["sendto", "sendmsg", "sendmmsg"];

/// What says where a relative path is: who works in which directory, and who is whose child.
pub const DIRECTORY_CALLS: [&str; 6] = ["chdir", "fchdir", "clone", "clone3", "fork", "vfork"];

/// What says where in a file a write goes, and what writes without a call for each write.
pub const WRITING_CALLS: [&str; 3] = ["lseek", "mmap", "io_uring_setup"];

/// All calls that the order checker has to know of.
#[must_use]
pub fn order_calls() -> Vec<&'static str> {
    FILE_CALLS
        .into_iter()
        .chain(SEND_CALLS)
        .chain(DIRECTORY_CALLS)
        .chain(WRITING_CALLS)
        .collect()
}

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The whole process is killed before the call is done.
    Kill,
    /// The call fails with this error, `ENOSPC` for example.
    Error(&'static str),
}

/// A fault, where it happens, and what else differs from an ordinary run.
#[derive(Debug, Clone)]
pub struct Injection {
    /// The name of the call.
    pub call: String,
    /// What happens to it.
    pub fault: Fault,
    /// Which of the calls of this name, from 1. Each thread has its own count, and the first that comes so far is hit.
    pub at: u32,
    /// Calls of these names take this much longer: the threads that make them fall behind the others.
    pub delayed: Vec<(String, Duration)>,
    /// Whether all [`order_calls()`] are recorded, whole, and not only those of this name.
    pub whole: bool,
    /// Where calls are recorded, for [`calls()`].
    pub log: PathBuf,
}

impl Injection {
    /// A fault at the `at`-th `call`, nothing delayed, nothing recorded.
    #[must_use]
    pub fn new(call: &str, fault: Fault, at: u32) -> Self {
        Self {
            call: call.to_owned(),
            fault,
            at,
            delayed: Vec::new(),
            whole: false,
            log: PathBuf::from("/dev/null"),
        }
    }
}

/// `program`, to which `fault` happens at its `at`-th `call` (from 1, counted for each thread). A run that does not
/// come that far ends as always.
#[must_use]
pub fn with_fault(program: &Program, call: &str, fault: Fault, at: u32) -> Program {
    injected(program, &Injection::new(call, fault, at))
}

/// `program` with this fault. A run that does not come that far ends as always.
#[must_use]
pub fn injected(program: &Program, injection: &Injection) -> Program {
    let what = match injection.fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(error) => format!("error={error}"),
    };
    let (call, at) = (&injection.call, injection.at);
    let mut names: Vec<&str> = std::iter::once(call.as_str())
        .chain(injection.delayed.iter().map(|(name, _)| name.as_str()))
        .collect();
    names.extend(if injection.whole {
        order_calls()
    } else {
        DIRECTORY_CALLS.to_vec()
    });
    let mut args = options(&injection.log, if injection.whole { 1 << 16 } else { 64 });
    args.extend(["-e".to_owned(), format!("trace={}", names.join(","))]);
    args.extend(["-e".to_owned(), format!("inject={call}:{what}:when={at}")]);
    for (name, pause) in injection.delayed.iter().filter(|(name, _)| name != call) {
        args.extend([
            "-e".to_owned(),
            format!("inject={name}:delay_enter={}", pause.as_micros()),
        ]);
    }
    program.wrapped("strace", args)
}

/// `program`, whose `calls` are recorded in the file `log` with the paths of the descriptors; see [`calls()`].
#[must_use]
pub fn recorded(program: &Program, calls: &[&str], log: &Path) -> Program {
    let mut args = options(log, 1 << 16);
    args.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    program.wrapped("strace", args)
}

/// All threads and children, descriptors with their paths, texts up to `length` bytes.
fn options(log: &Path, length: usize) -> Vec<String> {
    let mut args: Vec<String> = ["-f", "-qq", "-y", "-s"].map(str::to_owned).into();
    args.extend([length.to_string(), "-o".to_owned(), log.display().to_string()]);
    args
}
