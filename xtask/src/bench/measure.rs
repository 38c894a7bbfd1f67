//! Wall time, CPU time and peak memory of a program and everything that it starts.
//!
//! A program runs below a *measuring child*: this binary once more, as small as it starts, which makes itself the reaper of
//! all descendants of the program and ends when the last of them has ended. CPU is what the kernel accounted to all that
//! were reaped (user and system). Memory is the larger of two figures: the peak of the largest single process, which the
//! kernel keeps exactly, and, where several processes ran at one time, the largest sum of their proportional set sizes
//! seen by looking every few milliseconds. Control groups would count the page cache as well, which is nobody's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};
use serde::{Deserialize, Serialize};
use testkit::process::spawn_tied;
use testkit::{Finished, Program};

/// How often the tree is looked at.
const SAMPLING: Duration = Duration::from_millis(5);
/// How long descendants may outlive their program.
const LINGER: Duration = Duration::from_secs(60);

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the start of the program to its end.
    pub wall: f64,
    /// Seconds of CPU, user and system, of all processes.
    pub cpu: f64,
    /// Bytes of memory at the peak, of all processes.
    pub memory: f64,
}

/// What the measuring child tells.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    sample: Sample,
    /// Exit code of the program; none when a signal ended it.
    code: Option<i32>,
    /// Whether descendants were still there when the patience ended.
    lingering: bool,
}

/// Runs `program` with `args` to its end and insists on exit code 0.
///
/// # Errors
/// It cannot be started, fails, or does not end in time.
pub fn run<A: Into<OsString>>(
    program: &Program,
    args: impl IntoIterator<Item = A>,
) -> Result<(Sample, Finished)> {
    let report = tempfile::NamedTempFile::new().context("make a file for a report")?;
    let wrapper: [OsString; 4] = [
        "bench".into(),
        "--measure-into".into(),
        report.path().into(),
        "--".into(),
    ];
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    // This very program, also when a build has replaced its file meanwhile.
    let done = program.wrapped("/proc/self/exe", wrapper).ok(args)?;
    let text = fs::read(report.path()).context("read a report")?;
    let report: Report = serde_json::from_slice(&text)
        .with_context(|| format!("the measuring child reported nothing: {done}"))?;
    ensure!(
        report.code == Some(0),
        "the program ended with {:?}: {done}",
        report.code
    );
    ensure!(!report.lingering, "processes outlive `{}`", done.command);
    Ok((report.sample, done))
}

/// The measuring child.
///
/// # Errors
/// The program cannot be started or waited for, or did not end with 0.
pub fn child(report: &Path, command: &[OsString]) -> Result<()> {
    let (program, args) = command.split_first().context("no program to measure")?;
    set_child_subreaper(Some(getpid())).context("become the reaper of descendants")?;
    let over = AtomicBool::new(false);
    let peak = AtomicU64::new(0);
    let started = AtomicI32::new(0);
    let own = getpid().as_raw_nonzero().get();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(SAMPLING);
                if started.load(Ordering::Relaxed) != 0 {
                    peak.fetch_max(tree_memory(own), Ordering::Relaxed);
                }
            }
        });
        let outcome = watch(program, args, &started);
        over.store(true, Ordering::Relaxed);
        outcome
    });
    let (wall, code, lingering) = outcome?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the resources used")?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let largest = u64::try_from(usage.max_rss()).unwrap_or(0) * 1024;
    let made = Report {
        sample: Sample {
            wall: wall.as_secs_f64(),
            cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
            memory: largest.max(peak.into_inner()) as f64,
        },
        code,
        lingering,
    };
    fs::write(report, serde_json::to_vec(&made)?).with_context(|| format!("write {}", report.display()))?;
    if code != Some(0) {
        bail!("the program ended with {code:?}");
    }
    Ok(())
}

/// Starts the program and reaps everything; its wall time and exit code, and whether something outlives it.
fn watch(
    program: &OsString,
    args: &[OsString],
    started: &AtomicI32,
) -> Result<(Duration, Option<i32>, bool)> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::inherit());
    let start = Instant::now();
    let child = spawn_tied(command, Signal::KILL)
        .with_context(|| format!("start {}", Path::new(program).display()))?;
    let main = i32::try_from(child.id()).context("process id out of range")?;
    started.store(main, Ordering::Relaxed);
    let mut ended: Option<(Duration, Option<i32>)> = None;
    loop {
        let options = if ended.is_some() {
            WaitOptions::NOHANG
        } else {
            WaitOptions::empty()
        };
        match waitpid(None::<Pid>, options) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == main => {
                ended = Some((start.elapsed(), status.exit_status()));
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let wall = ended.map_or(Duration::ZERO, |(wall, _)| wall);
                if start.elapsed() > wall + LINGER {
                    return Ok((wall, ended.and_then(|(_, code)| code), true));
                }
                thread::sleep(Duration::from_millis(1));
            }
            Err(rustix::io::Errno::CHILD) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for the program"),
        }
    }
    let (wall, code) = ended.context("the program vanished")?;
    Ok((wall, code, false))
}

/// Bytes of the proportional set sizes of all descendants of `root`; 0 when there are fewer than two, whose memory the
/// kernel keeps by itself.
fn tree_memory(root: i32) -> u64 {
    let members = descendants(root, &|pid| {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Vec::new();
        };
        threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|text| pids(&text))
            .collect()
    });
    if members.len() < 2 {
        return 0;
    }
    members
        .into_iter()
        .filter_map(|pid| proportional(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?))
        .sum()
}

/// All descendants of `root`, as `children` tells them.
fn descendants(root: i32, children: &dyn Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let mut found = Vec::new();
    let mut queue = VecDeque::from([root]);
    while let Some(pid) = queue.pop_front() {
        for child in children(pid) {
            // Process ids that are used again while we look must not make a circle.
            if child != root && !found.contains(&child) {
                found.push(child);
                queue.push_back(child);
            }
        }
    }
    found
}

/// The process ids in `/proc/PID/task/TID/children`.
fn pids(text: &str) -> Vec<i32> {
    text.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Bytes in the line `Pss:` of `smaps_rollup`.
fn proportional(text: &str) -> Option<u64> {
    kibibytes(text, "Pss:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// What a running process has used since it started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// Seconds of CPU, user and system, of its threads.
    pub cpu: f64,
    /// Bytes of resident memory at the peak.
    pub memory: f64,
}

/// Looks at a running process.
///
/// # Errors
/// It has gone.
pub fn running(pid: u32) -> Result<Running> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(dir.join("status")).context("the process has gone")?;
    let mut nanoseconds = 0;
    for thread in fs::read_dir(dir.join("task")).context("the process has gone")? {
        // A thread may end while we look; those of a receiver live as long as itself.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += on_processor(&text).unwrap_or(0);
    }
    let peak = kibibytes(&status, "VmHWM:").context("an unexpected /proc/PID/status")?;
    Ok(Running {
        cpu: nanoseconds as f64 / 1e9,
        memory: peak as f64,
    })
}

/// Nanoseconds on a processor, the first field of `/proc/PID/task/TID/schedstat`.
fn on_processor(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_walked_once_even_in_a_circle() {
        let children = |pid: i32| match pid {
            1 => vec![2, 3],
            2 => vec![4],
            4 => vec![1, 2, 5],
            _ => Vec::new(),
        };
        assert_eq!(descendants(1, &children), [2, 3, 4, 5]);
        assert_eq!(descendants(9, &children), Vec::<i32>::new());
        assert_eq!(pids("12 345 \n"), [12, 345]);
    }

    #[test]
    fn figures_of_proc_are_read() {
        let rollup = "55d-7ff ---p 0000 00:00 0 [rollup]\nRss: 900 kB\nPss: 612 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(proportional(rollup), Some(612 * 1024));
        assert_eq!(proportional("Rss: 900 kB\n"), None);
        assert_eq!(on_processor("1234567 89 10\n"), Some(1_234_567));
        assert_eq!(on_processor(""), None);
        assert!(running(std::process::id()).unwrap().memory > 0.0);
    }
}
