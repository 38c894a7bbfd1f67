//! The JSON file of a run: all figures, and the facts of the machine without which they mean nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::contest::RowResult;
use crate::run;

/// To be raised when a reader of older files could misunderstand newer ones.
pub const SCHEMA: u32 = 1;

/// What `--json` writes and `--compare` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub schema: u32,
    /// RFC 3339, UTC.
    pub time: String,
    pub revision: Revision,
    pub machine: Machine,
    /// Measured runs of each side, at least.
    pub runs: usize,
    /// Whether sizes were small: verdicts are hints only.
    pub quick: bool,
    /// Versions of the peers that were there.
    pub peers: BTreeMap<String, String>,
    pub rows: Vec<RowResult>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// `git rev-parse HEAD`; empty outside a repository.
    pub commit: String,
    /// Whether files differed from the commit.
    pub changed: bool,
}

/// Where it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    /// Bytes.
    pub memory: u64,
    pub kernel: String,
    /// Where the files of the benchmarks are: device, file system, mount options.
    pub disk: String,
    /// Load averages of 1, 5 and 15 minutes when the run began.
    pub load: String,
}

impl Machine {
    /// Looks at this machine; `dir` is where files are written.
    pub fn look(dir: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
                .unwrap_or_default()
        };
        let total = field(&read("/proc/meminfo"), "MemTotal");
        let loads = read("/proc/loadavg");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory: total
                .strip_suffix("kB")
                .and_then(|n| n.trim().parse::<u64>().ok())
                .unwrap_or(0)
                * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: mount_of(&read("/proc/mounts"), dir),
            load: loads.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    /// One line for the head of the table.
    pub fn text(&self) -> String {
        format!(
            "{} cores ({}), {:.0} GiB, Linux {}, {}, load {}",
            self.cores,
            self.processor,
            self.memory as f64 / f64::from(1 << 30),
            self.kernel,
            self.disk,
            self.load
        )
    }
}

/// Device, type and options of the file system that holds `dir`, from `/proc/mounts`.
fn mount_of(mounts: &str, dir: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (device, point) = (fields.next()?, fields.next()?);
            let (kind, options) = (fields.next()?, fields.next()?);
            dir.starts_with(point)
                .then(|| (point.len(), format!("{device} {kind} ({options})")))
        })
        // Of two on one point, the later one hides the earlier.
        .max_by_key(|(length, _)| *length)
        .map(|(_, text)| text)
        .unwrap_or_default()
}

impl Revision {
    /// Asks git.
    pub fn look() -> Self {
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            run::quiet(command.arg("-C").arg(run::root()).args(args)).unwrap_or_default()
        };
        Self {
            commit: git(&["rev-parse", "HEAD"]).trim().to_owned(),
            changed: !git(&["status", "--porcelain", "--untracked-files=no"])
                .trim()
                .is_empty(),
        }
    }
}

impl Record {
    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Reads a file that an earlier run wrote.
    ///
    /// # Errors
    /// It cannot be read, is no such file, or of another schema.
    pub fn load(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let what = || {
            format!(
                "{} is no file that `cargo xtask bench --json` wrote",
                path.display()
            )
        };
        let head: Head = serde_json::from_slice(&text).with_context(what)?;
        ensure!(
            head.schema == SCHEMA,
            "{} has the schema {}, this program reads {SCHEMA}: measure again",
            path.display(),
            head.schema
        );
        serde_json::from_slice(&text).with_context(what)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::contest::{SideResult, State, judge};
    use super::super::measure::Sample;
    use super::super::row::{OURS, memory, wall_of};
    use super::super::stats::summarize;
    use super::*;

    fn side(name: &str, walls: &[f64]) -> SideResult {
        let summary = summarize(walls).unwrap();
        SideResult {
            name: name.to_owned(),
            wall: summary,
            cpu: summary,
            memory: summarize(&vec![4_194_304.0; walls.len()]).unwrap(),
            samples: walls
                .iter()
                .map(|wall| Sample {
                    wall: *wall,
                    cpu: *wall,
                    memory: 4_194_304.0,
                })
                .collect(),
        }
    }

    /// A small record: one row measured, one that awaits its feature.
    pub fn example(ours: &[f64]) -> Record {
        let sides = vec![side(OURS, ours), side("cp", &vec![1.0; ours.len()])];
        let targets = [wall_of("cp", 0.5), memory(16.0), wall_of("pigz", 1.0)];
        let missing = [("pigz", "not installed".to_owned())];
        let measured = RowResult {
            id: "wal/copy".to_owned(),
            what: "copy a file".to_owned(),
            state: State::Measured,
            reason: None,
            targets: targets
                .iter()
                .map(|t| judge(t, &sides, &missing).unwrap())
                .collect(),
            sides,
            notes: vec!["16 MiB".to_owned()],
        };
        let awaits = RowResult {
            id: "wal/decode".to_owned(),
            what: "decode a file".to_owned(),
            state: State::Awaits,
            reason: Some("the WAL decoder".to_owned()),
            sides: Vec::new(),
            targets: vec![super::super::contest::unmeasured(&wall_of("pg_waldump", 0.5))],
            notes: Vec::new(),
        };
        Record {
            schema: SCHEMA,
            time: "2026-11-21T12:00:00Z".to_owned(),
            revision: Revision {
                commit: "abc".to_owned(),
                changed: false,
            },
            machine: Machine {
                cores: 2,
                processor: "a processor".to_owned(),
                memory: 8 << 30,
                kernel: "6.1".to_owned(),
                disk: "/dev/sda ext4 (rw)".to_owned(),
                load: "0.10 0.20 0.30".to_owned(),
            },
            runs: ours.len(),
            quick: false,
            peers: BTreeMap::from([("cp".to_owned(), "9.1".to_owned())]),
            rows: vec![measured, awaits],
        }
    }

    #[test]
    fn a_record_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        let record = example(&[0.3, 0.4, 0.5]);
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), record);
    }

    #[test]
    fn another_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        for (text, expected) in [
            ("hello", "is no file that"),
            ("{\"schema\": 99}", "has the schema 99"),
            ("{\"schema\": 1, \"rows\": []}", "is no file that"),
        ] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", Record::load(&path).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_system_is_the_innermost_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,size=1 0 0\n/dev/b /tmpx xfs rw 0 0\n";
        for (dir, expected) in [
            ("/tmp/x", "tmpfs tmpfs (rw,size=1)"),
            ("/var", "/dev/a ext4 (rw)"),
            ("/tmpx", "/dev/b xfs (rw)"),
        ] {
            assert_eq!(mount_of(mounts, Path::new(dir)), expected, "{dir}");
        }
    }
}
