//! One target while it runs, and how it ended.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use testkit::process::spawn_tied;

use super::parsers::Row;
use crate::run;

/// More memory than this is a finding. A good part of it is the sanitizer's.
const MEMORY_MB: u32 = 512;
/// A single input that takes longer is a finding.
const SECONDS_PER_INPUT: u32 = 10;

/// What the names of these directories begin with; the process id follows.
const PREFIX: &str = "barman-fuzz-";

/// A directory for what targets write while they run: in memory where there is such a place. It goes when this does, or, when this process was killed,
/// with the next one. It is locked as long as somebody uses it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    pub fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        Self::below(&parent)
    }

    fn below(parent: &Path) -> Result<Self> {
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        for _ in 0..10 {
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            let lock = File::open(&path).with_context(|| format!("open {}", path.display()))?;
            lock.lock().with_context(|| format!("lock {}", path.display()))?;
            // Somebody who swept may have had it first, and removed it.
            let here = fs::metadata(&path).is_ok_and(|now| {
                lock.metadata()
                    .is_ok_and(|held| (held.dev(), held.ino()) == (now.dev(), now.ino()))
            });
            if here {
                return Ok(Self { path, _lock: lock });
            }
        }
        bail!("{} is removed again and again", path.display())
    }

    /// An empty directory of that name.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories of processes that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let ours = pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where inputs are kept that reached new code.
pub fn found(name: &str) -> PathBuf {
    run::target_dir().join("fuzz-corpus").join(name)
}

/// The inputs in the repository.
pub fn saved(name: &str) -> PathBuf {
    run::root().join("fuzz/corpus").join(name)
}

/// The program of a target with the limits that always hold.
pub fn command(row: &Row, programs: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(programs.join(&row.name));
    command
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg(format!("-timeout={SECONDS_PER_INPUT}"))
        .arg(format!("-max_len={}", row.max_length))
        // The quarantine of freed memory counts as the target's; leaks of threads that wait are none.
        .env(
            "ASAN_OPTIONS",
            "quarantine_size_mb=16:detect_leaks=0:detect_odr_violation=0",
        )
        .env("RUST_BACKTRACE", "1")
        .env("TMPDIR", scratch)
        .stdin(Stdio::null());
    command
}

/// A target that runs.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    artifacts: PathBuf,
    interrupted: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a target ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What libFuzzer counted.
    pub figures: Figures,
    /// Whether it failed.
    pub failed: bool,
    /// The files that made it fail.
    pub artifacts: Vec<PathBuf>,
    /// The whole output of the program.
    pub log: PathBuf,
    /// The lines that say why.
    pub why: Vec<String>,
}

/// What libFuzzer says in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Inputs run.
    pub executions: u64,
    /// The same in a second.
    pub per_second: u64,
    /// Inputs that reached new code.
    pub new_inputs: u64,
    /// Edges of the program's flow that were reached.
    pub edges: u64,
    /// Peak of memory, MiB.
    pub memory: u64,
}

impl Running {
    /// Starts a target for so many seconds.
    pub fn start(row: &Row, programs: &Path, scratch: &Scratch, seconds: u64) -> Result<Self> {
        let name = &row.name;
        let artifacts = run::target_dir().join("fuzz-artifacts").join(name);
        for directory in [&artifacts, &found(name)] {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        let log = artifacts.join("log");
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = command(row, programs, &scratch.fresh(name)?);
        command
            .arg(found(name))
            .arg(saved(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-reload=0"])
            .stdout(output.try_clone().context("share the log")?)
            .stderr(output)
            // Signals of the terminal go to this task, which ends the targets one by one.
            .process_group(0);
        // A task that is killed leaves none behind.
        let child = spawn_tied(command, Signal::KILL).with_context(|| format!("start the target {name}"))?;
        Ok(Self {
            name: name.clone(),
            child,
            log,
            artifacts,
            interrupted: false,
        })
    }

    /// Asks it to end now; it says what it has done so far.
    pub fn interrupt(&mut self) {
        if !std::mem::replace(&mut self.interrupted, true) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        }
    }

    /// How it ended, once it has.
    pub fn finished(&mut self) -> Result<Option<Outcome>> {
        let Some(status) = self.child.try_wait().context("look at a target")? else {
            return Ok(None);
        };
        let log = String::from_utf8_lossy(&fs::read(&self.log).context("read a target's log")?).into_owned();
        Ok(Some(self.outcome(status, &log)))
    }

    fn outcome(&self, status: ExitStatus, log: &str) -> Outcome {
        let figures = figures(log);
        // One that ran nothing has shown nothing.
        let failed = !self.interrupted && (!status.success() || figures.executions == 0);
        let written = log
            .lines()
            .filter_map(|line| line.split_once("Test unit written to "))
            .map(|(_, path)| path.into());
        Outcome {
            name: self.name.clone(),
            figures,
            failed,
            artifacts: written.collect(),
            log: self.artifacts.join("log"),
            why: if failed { reasons(log) } else { Vec::new() },
        }
    }
}

/// Reads libFuzzer's output.
fn figures(log: &str) -> Figures {
    let last = |key: &str| {
        let line = log.lines().rfind(|line| line.contains(key))?;
        let after = line.split_once(key)?.1;
        after.split_whitespace().next()?.parse().ok()
    };
    Figures {
        executions: last("stat::number_of_executed_units:").unwrap_or(0),
        per_second: last("stat::average_exec_per_sec:").unwrap_or(0),
        new_inputs: last("stat::new_units_added:").unwrap_or(0),
        edges: last(" cov: ").unwrap_or(0),
        memory: last("stat::peak_rss_mb:").unwrap_or(0),
    }
}

/// The lines of the output that say what happened: the panic with its message, the sanitizer, a limit.
fn reasons(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let mut reasons = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.contains("panicked at") {
            let message = lines
                .get(at..)
                .unwrap_or_default()
                .iter()
                .take_while(|line| !line.starts_with("stack backtrace"));
            reasons.extend(message.take(6).map(|line| (*line).to_owned()));
        } else if line.contains("ERROR: ") && !line.contains("deadly signal") {
            reasons.push((*line).to_owned());
        }
    }
    reasons.truncate(12);
    if reasons.is_empty() {
        reasons.extend(lines.iter().rev().take(3).rev().map(|line| (*line).to_owned()));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: seed corpus: files: 9\n\
        #10\tINITED cov: 120 ft: 130 corp: 9/500b exec/s: 0 rss: 40Mb\n\
        #2048\tNEW    cov: 345 ft: 400 corp: 12/600b lim: 96 exec/s: 900 rss: 45Mb\n\
        thread '<unnamed>' panicked at src/x.rs:5:9:\nassertion failed: a\nstack backtrace:\n   0: x\n\
        ==1== ERROR: libFuzzer: deadly signal\n\
        artifact_prefix='a/'; Test unit written to a/crash-12\n\
        stat::number_of_executed_units: 2100\nstat::average_exec_per_sec:     900\n\
        stat::new_units_added:          3\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              45\n";

    #[test]
    fn what_killed_runs_left_is_removed_and_nothing_else() {
        let dir = testkit::TestDir::new().unwrap();
        let names = ["barman-fuzz-1", "barman-fuzz-2", "barman-fuzz-x", "other"];
        for name in names {
            fs::create_dir_all(dir.join(name).join("target")).unwrap();
        }
        let used = File::open(dir.join("barman-fuzz-2")).unwrap();
        used.lock().unwrap();
        let scratch = Scratch::below(dir.path()).unwrap();
        let there = |name: &str| dir.join(name).exists();
        assert_eq!(names.map(there), [false, true, true, true]);
        let own = scratch.fresh("a").unwrap();
        sweep(dir.path());
        assert!(own.is_dir());
        drop(scratch);
        assert!(!own.exists());
    }

    #[test]
    fn the_output_of_libfuzzer_is_read() {
        let expected = Figures {
            executions: 2100,
            per_second: 900,
            new_inputs: 3,
            edges: 345,
            memory: 45,
        };
        assert_eq!(figures(LOG), expected);
        assert_eq!(
            reasons(LOG),
            [
                "thread '<unnamed>' panicked at src/x.rs:5:9:",
                "assertion failed: a"
            ]
        );
        assert_eq!(figures("nothing"), Figures::default());
        assert_eq!(reasons("a\nb"), ["a", "b"]);
        let slow = "==7== ERROR: libFuzzer: timeout after 10 seconds\nSUMMARY: libFuzzer: timeout";
        assert_eq!(
            reasons(slow),
            ["==7== ERROR: libFuzzer: timeout after 10 seconds"]
        );
    }
}
