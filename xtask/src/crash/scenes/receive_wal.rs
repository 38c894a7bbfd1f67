//! `barman receive-wal` of a running server that writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Cluster, Finished, Mode, Program, Sandbox, wait_until};

use super::backup::between;
use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const SEGMENT: u64 = 1 << 20;

const WHOLE: &str = "a segment under its final name is whole";
const GAP: &str = "segments follow each other";
const ACKNOWLEDGED: &str = "what was acknowledged is here";
const SOON: Duration = Duration::from_secs(120);
/// How long a session whose client has gone may take to end by itself.
const ALONE: Duration = Duration::from_secs(10);
/// How many segments a run has to complete.
const SEGMENTS: usize = 2;

/// PostgreSQL 17.
pub fn of_17(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Receiver::new(program, 17)?))
}

struct Receiver {
    sandbox: Sandbox,
    cluster: Cluster,
    /// The first segment that has to be received.
    since: String,
}

impl Receiver {
    fn new(program: &Path, major: u16) -> Result<Self> {
        let cluster = Cluster::builder(major)
            .wal_segment_mb(1)
            .conf("wal_keep_size", "512MB")
            .start()?;
        let sandbox = Sandbox::builder("main")
            .cluster(&cluster)
            .mode(Mode::Streaming)
            .option("create_slot", "manual")
            .program(program)
            .build()?;
        for part in ["incoming", "streaming", "errors", "wals", "meta", "base"] {
            fs::create_dir_all(sandbox.server_dir().join(part))?;
        }
        fs::write(sandbox.server_dir().join("wals/main-xlog.db"), "")?;
        Ok(Self {
            since: String::new(),
            sandbox,
            cluster,
        })
    }

    fn streaming(&self) -> PathBuf {
        self.sandbox.server_dir().join("streaming")
    }

    /// What the server has of a segment.
    fn original(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.cluster.data_dir().join("pg_wal").join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Segments under their final names, as the server has them, one after the other.
    fn complete(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = disk::files(&self.streaming())?
            .into_iter()
            .map(|file| file.display().to_string())
            .filter(|name| name.len() == 24)
            .collect();
        names.sort();
        Ok(names)
    }

    fn segments_whole(&self) -> Result<()> {
        for name in self.complete()? {
            let same = fs::read(self.streaming().join(&name))? == self.original(&name)?;
            ensure!(same, "{name} is not as the server has it");
        }
        Ok(())
    }

    fn no_gap(&self) -> Result<()> {
        let names = self.complete()?;
        let Some(last) = names.last() else { return Ok(()) };
        let expected = between(&self.since, last)?;
        ensure!(names == expected, "{names:?} instead of {expected:?}");
        Ok(())
    }

    /// Up to where the server believes that we have everything, we have it.
    fn acknowledged_is_here(&self) -> Result<()> {
        let value = |what: &str| {
            self.cluster.sql_value(&format!(
                "SELECT {what} FROM pg_replication_slots WHERE slot_name = 'barman'"
            ))
        };
        let name = value("pg_walfile_name(restart_lsn)")?;
        let position: u64 = value("restart_lsn - '0/0'")?.parse().context("restart_lsn")?;
        // The name of the segment before, if the position is at a border.
        let mut names = between(&self.since, &name.clone().max(self.since.clone()))?;
        let last = names.pop().context("no segment")?;
        for name in names {
            let path = self.streaming().join(&name);
            ensure!(path.exists(), "{name} was acknowledged and is not here");
        }
        let inside = usize::try_from(position % SEGMENT)?;
        if inside == 0 {
            return Ok(());
        }
        let here = [last.clone(), format!("{last}.partial")]
            .into_iter()
            .find_map(|name| fs::read(self.streaming().join(name)).ok());
        // The slot is made in the middle of a segment, before anything is received.
        if here.is_none() && last == self.since {
            return Ok(());
        }
        let here =
            here.with_context(|| format!("{last} was acknowledged up to byte {inside} and is not here"))?;
        let original = self.original(&last)?;
        let empty_so_far = last == self.since && here.iter().all(|byte| *byte == 0);
        ensure!(
            empty_so_far || here.get(..inside) == original.get(..inside),
            "{last} differs before byte {inside}, which was acknowledged"
        );
        Ok(())
    }

    /// Ends the receiver as a user does. It is the child of `strace`, if that runs it; its lock may have lost its id.
    fn interrupt(&self, started: u32) {
        let children =
            fs::read_to_string(format!("/proc/{started}/task/{started}/children")).unwrap_or_default();
        let is_strace =
            fs::read_to_string(format!("/proc/{started}/comm")).is_ok_and(|name| name.trim() == "strace");
        let child = children
            .split_ascii_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        let pid = if is_strace {
            child
        } else {
            i32::try_from(started).ok()
        };
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
    }

    fn receive(&self, program: &Program, more: usize) -> Result<Finished> {
        let before = self.complete()?.len();
        let mut receiver = program.spawn(["receive-wal", "main"])?;
        let mut asked = 0;
        wait_until("segments are received", SOON, || {
            if !receiver.is_running()? {
                return Ok(true);
            }
            if self.complete()?.len() >= before + more {
                return Ok(true);
            }
            let streams = self
                .cluster
                .sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?;
            if asked < more + 2 && (streams == "1" || asked == 0) {
                asked += 1;
                self.cluster
                    .sql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000))")?;
                self.cluster.switch_wal()?;
            }
            Ok(false)
        })?;
        if receiver.is_running()? {
            self.interrupt(receiver.pid());
        }
        receiver.wait(SOON)
    }

    /// A walsender of a receiver that was killed holds the slot until it notices. It is left alone at first: it has still
    /// to hear what the receiver has acknowledged last, and would not if it were ended before.
    fn slot_is_free(&self) -> Result<()> {
        let begin = Instant::now();
        wait_until("the slot is free", SOON, || {
            if begin.elapsed() > ALONE {
                self.cluster.sql(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'barman' AND active",
                )?;
            }
            let active = self
                .cluster
                .sql_value("SELECT count(*) FROM pg_replication_slots WHERE active")?;
            Ok(active == "0")
        })
    }
}

impl Scene for Receiver {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn reset(&mut self) -> Result<()> {
        self.slot_is_free()?;
        // A session that had only begun when its client was killed takes the slot once more before it notices.
        wait_until("the slot is dropped", SOON, || {
            self.cluster
                .sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
                .map(|_| true)
        })?;
        self.cluster.switch_wal()?;
        self.cluster
            .sql("SELECT pg_create_physical_replication_slot('barman', true)")?;
        self.since = self
            .cluster
            .sql_value("SELECT pg_walfile_name(restart_lsn + 1) FROM pg_replication_slots")?;
        Ok(())
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        let done = self.receive(program, SEGMENTS)?;
        self.slot_is_free()?;
        Ok(done)
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.segments_whole()),
            (GAP, self.no_gap()),
            (ACKNOWLEDGED, self.acknowledged_is_here()),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        let done = self.receive(program, 1)?;
        self.slot_is_free()?;
        ensure!(done.code == Some(0), "{done}");
        ensure!(!self.complete()?.is_empty(), "nothing was received: {done}");
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let mut state = BTreeMap::new();
        let mut partials = 0;
        for file in disk::files(&self.streaming())? {
            let name = file.display().to_string();
            let size = fs::metadata(self.streaming().join(&file))?.len();
            ensure!(size == SEGMENT, "{name} has {size} bytes");
            if name.ends_with(".partial") {
                partials += 1;
            } else {
                ensure!(name.len() == 24, "{name} is left over");
            }
        }
        state.insert("partial files".to_owned(), partials.to_string());
        Ok(state)
    }

    fn success_is_complete(&self) -> bool {
        false
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let names = self.complete()?;
        let first = names.first().context("nothing was received")?;
        let damage = |what, seen_by, edit| Damage {
            what,
            seen_by,
            path: self.streaming().join(first),
            edit,
        };
        Ok(vec![
            damage("a segment is half", WHOLE, Edit::Halve),
            damage("a segment is empty", WHOLE, Edit::Write(vec![0; 1 << 20])),
            damage("a segment is gone", GAP, Edit::Remove),
            damage("an acknowledged segment is gone", ACKNOWLEDGED, Edit::Remove),
        ])
    }

    fn segment_size(&self) -> u64 {
        SEGMENT
    }
}
