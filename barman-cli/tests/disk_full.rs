//! Commands on a file system that is full, or becomes so: an error that names the path, exit code 1, nothing lost, and all is well again once there is room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests; they say what this machine lets them do"
)]

mod e2e_support;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use e2e_support::against_server::*;
use e2e_support::*;
use rustix::process::Signal;
use testkit::small_fs::limited;
use testkit::{Cluster, Finished, FsKind, FsSize, Mode, Program, Sandbox, SmallFs, wait_until};

/// A disk that can be filled: a small file system, or where none can be mounted a limit on what the program writes.
struct Disk {
    small: Option<SmallFs>,
    limit: Cell<Option<u64>>,
}

impl Disk {
    fn new(kind: FsKind, mib: u32, at: &Path) -> Result<Self> {
        fs::create_dir_all(at)?;
        let small = match SmallFs::available() {
            Ok(()) => Some(SmallFs::new(kind, FsSize::mib(mib), at)?),
            Err(reason) => {
                eprintln!("{reason:#}; the test limits the size of files instead");
                None
            }
        };
        Ok(Self {
            small,
            limit: Cell::new(None),
        })
    }

    /// Leaves so many bytes.
    fn fill(&self, leave: u64) -> Result<()> {
        self.limit.set(Some(leave));
        self.small.as_ref().map_or(Ok(()), |small| small.fill(leave))
    }

    fn make_room(&self) -> Result<()> {
        self.limit.set(None);
        self.small.as_ref().map_or(Ok(()), SmallFs::make_room)
    }

    /// The program as it runs on this disk.
    fn barman(&self, sandbox: &Sandbox) -> Result<Program> {
        let program = sandbox.barman()?;
        Ok(match (&self.small, self.limit.get()) {
            (None, Some(limit)) => limited(&program, limit),
            _ => program,
        })
    }
}

const KINDS: [FsKind; 2] = [FsKind::Tmpfs, FsKind::Ext4];

/// Exit code 1 and an error that names a path below `place`, and why.
fn full(done: &Finished, place: &Path, what: &str) -> Result<()> {
    ensure!(done.code == Some(1), "{what}: {done}");
    let said = done
        .stderr
        .lines()
        .any(|line| line.starts_with("ERROR: ") || line.starts_with("EXCEPTION: "));
    ensure!(said, "{what}: {done}");
    let why = ["No space left", "File too large", "not enough disk space"]
        .iter()
        .any(|reason| done.stderr.contains(reason));
    ensure!(why, "{what} does not say why: {done}");
    ensure!(
        done.stderr.contains(&place.display().to_string()),
        "{what} does not name a path: {done}"
    );
    Ok(())
}

fn small_cluster() -> Result<Cluster> {
    let cluster = Cluster::builder(15)
        .wal_segment_mb(1)
        .conf("wal_keep_size", "900")
        .conf("autovacuum", "off")
        .start()?;
    cluster.sql("CREATE TABLE t (f text)")?;
    Ok(cluster)
}

fn streaming(cluster: &Cluster) -> Result<Sandbox> {
    sandbox(cluster, Mode::Streaming).build()
}

/// Streams about `loads` times three megabytes of WAL into `streaming/`.
fn stream(cluster: &Cluster, sandbox: &Sandbox, loads: u32) -> Result<()> {
    let mut receiver = start_receiver(cluster, sandbox)?;
    for _ in 0..loads {
        load(cluster)?;
    }
    let last = cluster.switch_wal()?;
    caught_up(cluster, sandbox, &last)?;
    receiver.signal(Signal::TERM)?;
    receiver.wait(SOON).map(drop)
}

/// A good backup with all its WAL; its id.
fn good_backup(cluster: &Cluster, sandbox: &Sandbox) -> Result<String> {
    let mut receiver = start_receiver(cluster, sandbox)?;
    let id = backup(sandbox, &["--wait"])?;
    receiver.signal(Signal::TERM)?;
    receiver.wait(SOON)?;
    assert_eq!(field(sandbox, &id, "status")?, "DONE");
    verify(sandbox, 15, &id)?;
    Ok(id)
}

#[test]
fn a_backup_that_runs_out_of_space_fails_and_can_be_deleted() -> Result<()> {
    for kind in KINDS {
        let cluster = small_cluster()?;
        let sandbox = streaming(&cluster)?;
        let disk = Disk::new(kind, 160, &sandbox.home())?;
        sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
        let first = good_backup(&cluster, &sandbox)?;
        for leave in [9 << 20, 1 << 20, 0] {
            let before = ids(&sandbox);
            disk.fill(leave)?;
            // The check before a backup wants a receiver; it needs no space before WAL comes.
            let mut receiver = start_receiver(&cluster, &sandbox)?;
            let done = disk
                .barman(&sandbox)?
                .run(["backup", "--immediate-checkpoint", "main"])?;
            let what = format!("{kind:?}, {leave} bytes left");
            if leave < 2 << 20 && done.stderr.contains("Impossible to start the backup: ") {
                // The receiver had no space for its WAL, and without it no backup starts.
                ensure!(done.code == Some(1) && ids(&sandbox) == before, "{what}: {done}");
            } else {
                full(&done, &sandbox.home(), &what)?;
            }
            if receiver.is_running()? {
                receiver.signal(Signal::TERM)?;
            }
            receiver.wait(SOON)?;
            for id in ids(&sandbox).iter().filter(|id| !before.contains(id)) {
                let status = field(&sandbox, id, "status")?;
                ensure!(
                    !matches!(status.as_str(), "DONE" | "WAITING_FOR_WALS"),
                    "{what}: {status}"
                );
                let data = sandbox.server_dir().join("base").join(id).join("data");
                ensure!(
                    !data.join("global/pg_control").exists(),
                    "{what}: {id} looks whole"
                );
                // Space comes back by deleting it, on the full disk.
                disk.barman(&sandbox)?.ok(["delete", "main", id])?;
                ensure!(!sandbox.server_dir().join("base").join(id).exists(), "{what}");
            }
            disk.make_room()?;
        }
        verify(&sandbox, 15, &first)?;
        good_backup(&cluster, &sandbox)?;
    }
    Ok(())
}

#[test]
fn a_delete_works_on_a_full_disk() -> Result<()> {
    for kind in KINDS {
        let cluster = small_cluster()?;
        let sandbox = streaming(&cluster)?;
        let disk = Disk::new(kind, 160, &sandbox.home())?;
        sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
        let first = good_backup(&cluster, &sandbox)?;
        let second = good_backup(&cluster, &sandbox)?;
        disk.fill(0)?;
        disk.barman(&sandbox)?.ok(["delete", "main", &first])?;
        assert_eq!(ids(&sandbox), std::slice::from_ref(&second), "{kind:?}");
        disk.make_room()?;
        verify(&sandbox, 15, &second)?;
        sandbox.barman()?.ok(["check-backup", "main", &second])?;
        compare_wal(&cluster, &sandbox)?;
    }
    Ok(())
}

/// Names in `streaming/` and in the archive that are whole segments.
fn segments(sandbox: &Sandbox) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in ["streaming", "wals"] {
        for name in tree(&sandbox.server_dir().join(directory)).unwrap_or_default() {
            let name = name.rsplit('/').next().unwrap_or_default().to_owned();
            if name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                names.push(name);
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[test]
fn the_archiver_keeps_what_it_cannot_archive() -> Result<()> {
    for kind in KINDS {
        for compression in ["", "gzip"] {
            let cluster = small_cluster()?;
            let mut sandbox = streaming(&cluster)?;
            sandbox.set_option("compression", compression)?;
            let disk = Disk::new(kind, 48, &sandbox.home())?;
            sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
            stream(&cluster, &sandbox, 3)?;
            let all = segments(&sandbox)?;
            ensure!(all.len() >= 8, "{all:?}");
            for leave in [0, 8192, 300 << 10] {
                disk.fill(leave)?;
                let done = disk.barman(&sandbox)?.run(["archive-wal", "main"])?;
                let what = format!("{kind:?}, {compression:?}, {leave} bytes left");
                if leave == 0 {
                    full(&done, &sandbox.home(), &what)?;
                }
                assert_eq!(segments(&sandbox)?, all, "{what}");
                disk.make_room()?;
            }
            sandbox.barman()?.ok(["archive-wal", "main"])?;
            let database = fs::read_to_string(sandbox.server_dir().join("wals/main-xlog.db"))?;
            let listed: Vec<&str> = database
                .lines()
                .filter_map(|line| line.split('\t').next())
                .collect();
            assert_eq!(listed, all, "{kind:?}, {compression:?}: xlog.db");
            if compression.is_empty() {
                assert_eq!(compare_wal(&cluster, &sandbox)?, all.len());
            }
            for name in &all {
                let got = sandbox.barman()?.ok(["get-wal", "main", name])?;
                let theirs = fs::read(cluster.data_dir().join("pg_wal").join(name))?;
                ensure!(got.stdout_bytes == theirs, "{kind:?}, {compression:?}: {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_receiver_that_runs_out_of_space_goes_on_where_it_was() -> Result<()> {
    for kind in KINDS {
        let cluster = small_cluster()?;
        let sandbox = streaming(&cluster)?;
        let disk = Disk::new(kind, 48, &sandbox.home())?;
        sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
        stream(&cluster, &sandbox, 1)?;
        for leave in [5 << 19, 3 << 18, 0] {
            disk.fill(leave)?;
            former_receiver_has_gone(&cluster)?;
            let mut receiver = disk.barman(&sandbox)?.spawn(["receive-wal", "main"])?;
            let state = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
            wait_until("it streams or has ended", SOON, || {
                Ok(cluster.sql_value(state)? == "1" || !receiver.is_running()?)
            })?;
            load(&cluster)?;
            load(&cluster)?;
            let what = format!("{kind:?}, {leave} bytes left");
            let done = receiver.wait(SOON)?;
            full(&done, &sandbox.home(), &what)?;
            disk.make_room()?;
            stream(&cluster, &sandbox, 1)?;
        }
        sandbox.barman()?.ok(["archive-wal", "main"])?;
        ensure!(compare_wal(&cluster, &sandbox)? > 15);
    }
    Ok(())
}

#[test]
fn a_restore_that_runs_out_of_space_looks_like_no_cluster() -> Result<()> {
    let cluster = small_cluster()?;
    let sandbox = streaming(&cluster)?;
    sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
    let id = good_backup(&cluster, &sandbox)?;
    for kind in KINDS {
        let target = sandbox.dir().join(format!("restore-{kind:?}"));
        let disk = Disk::new(kind, 96, &target)?;
        let data = target.join("data");
        let data_text = data.to_str().unwrap();
        // The check before the copy counts bytes; that files run out shows in the middle of it.
        if SmallFs::available().is_ok() {
            let at = sandbox.dir().join(format!("few-{kind:?}"));
            fs::create_dir(&at)?;
            let size = FsSize {
                mib: 96,
                inodes: Some(400),
            };
            let few = SmallFs::new(kind, size, &at)?;
            let data = at.join("data");
            let done = sandbox
                .barman()?
                .run(["restore", "main", &id, data.to_str().unwrap()])?;
            full(&done, &at, "few files")?;
            ensure!(!data.join("global/pg_control").exists(), "{kind:?} looks whole");
            drop(few);
        }
        for leave in [12 << 20, 1 << 20, 0] {
            disk.fill(leave)?;
            let done = disk.barman(&sandbox)?.run(["restore", "main", &id, data_text])?;
            let what = format!("{kind:?}, {leave} bytes left");
            full(&done, &target, &what)?;
            ensure!(!data.join("global/pg_control").exists(), "{what} looks whole");
            disk.make_room()?;
        }
        sandbox.barman()?.ok(["restore", "main", &id, data_text])?;
        let restored = Cluster::builder(15).open(&data)?;
        restored.wait_primary(SOON)?;
        restored.sql("SELECT count(*) FROM t")?;
        drop(restored);
    }
    Ok(())
}
