//! `receive-wal` against real servers: the files it leaves, what it tells the server, how it starts and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use barman_core::config::Config;
use barman_core::context::{Message, SystemClock};
use barman_core::failure::Failure;
use barman_core::ops::archive::{self, ArchiveOptions};
use barman_core::ops::receive_wal::{self, ReceiveAction, ReceiveError, ReceiveOptions, ReceiveReport};
use barman_core::{Cancel, CancelCause, Context, Progress, Server};
use testkit::{Cluster, ClusterBuilder, Stop, TestDir, wait_until};

const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Progress for Lines {
    fn message(&self, message: Message<'_>) {
        self.0.lock().unwrap().push(message.text.to_owned());
    }
}

impl Lines {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Home {
    dir: TestDir,
    options: String,
}

impl Home {
    fn new(cluster: &Cluster, options: &str) -> Self {
        let dir = TestDir::new().unwrap();
        let options = format!(
            "[barman]\nbarman_home = {home}\nlock_directory_cleanup = false\n[main]\ndescription = m\n\
             conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\nstreaming_archiver = on\n{options}\n",
            cluster.conninfo(),
            cluster.streaming_conninfo(),
            home = dir.path().display(),
        );
        Self { dir, options }
    }

    fn server(&self) -> Server {
        let path = self.dir.join("barman.conf");
        std::fs::write(&path, &self.options).unwrap();
        Server::new(Config::load(&path, None).unwrap().servers[0].clone())
    }

    fn streaming(&self) -> PathBuf {
        self.dir.join("main/streaming")
    }

    fn names(&self) -> Vec<String> {
        names(&self.streaming())
    }

    fn call(&self, action: ReceiveAction) -> (Result<ReceiveReport, ReceiveError>, Vec<String>) {
        let (lines, cancel) = (Lines::default(), Cancel::new());
        let ctx = Context {
            progress: &lines,
            cancel: &cancel,
            clock: &SystemClock,
        };
        (
            receive_wal::run(&mut self.server(), &ReceiveOptions { action }, &ctx),
            lines.all(),
        )
    }

    fn start(&self) -> Running {
        let (lines, cancel, mut server) = (Lines::default(), Cancel::new(), self.server());
        let thread = std::thread::spawn({
            let (lines, cancel) = (lines.clone(), cancel.clone());
            move || {
                let ctx = Context {
                    progress: &lines,
                    cancel: &cancel,
                    clock: &SystemClock,
                };
                receive_wal::run(&mut server, &ReceiveOptions::default(), &ctx)
            }
        });
        Running {
            lines,
            cancel,
            thread,
        }
    }
}

struct Running {
    lines: Lines,
    cancel: Cancel,
    thread: JoinHandle<Result<ReceiveReport, ReceiveError>>,
}

impl Running {
    fn streams(&self, cluster: &Cluster) {
        wait_until("the receiver streams", PATIENCE, || {
            assert!(!self.thread.is_finished(), "{:?}", self.lines.all());
            Ok(
                cluster.sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?
                    == "1",
            )
        })
        .unwrap();
    }

    fn stop(self, cause: CancelCause) -> (ReceiveReport, Vec<String>) {
        self.cancel.request(cause);
        let report = self.thread.join().unwrap().unwrap();
        assert_eq!(report.stopped, Some(cause));
        (report, self.lines.all())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

fn load(cluster: &Cluster) {
    cluster.sql("CREATE TABLE IF NOT EXISTS t (n int, f text); INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g").unwrap();
}

#[test]
fn segments_partials_slot_and_restart() {
    for major in [10, 15, 18] {
        let cluster = Cluster::start_new(major).unwrap();
        let home = Home::new(&cluster, "slot_name = barman\ncreate_slot = auto");
        let running = home.start();
        running.streams(&cluster);
        load(&cluster);
        let first = cluster.switch_wal().unwrap();
        load(&cluster);
        let partial = format!(
            "{}.partial",
            cluster
                .sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")
                .unwrap()
        );
        wait_until("a segment and a partial", PATIENCE, || {
            // The new one is filled with zeros under its name.
            let size = std::fs::metadata(home.streaming().join(&partial)).map_or(0, |file| file.len());
            Ok(home.names() == [first.clone(), partial.clone()] && size >= 16 << 20)
        })
        .unwrap();
        assert!(
            std::fs::read(home.streaming().join(&first)).unwrap()
                == std::fs::read(cluster.data_dir().join("pg_wal").join(&first)).unwrap()
        );
        let metadata = std::fs::metadata(home.streaming().join(&partial)).unwrap();
        assert_eq!(metadata.len(), 16 << 20);
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777,
            0o600
        );

        // A second one keeps out; the slot is in use.
        let (second, _) = home.call(ReceiveAction::Stream);
        assert_eq!(
            second.unwrap_err().to_string(),
            "Another receive-wal process is already running for server main."
        );
        let (reset, _) = home.call(ReceiveAction::Reset);
        assert_eq!(
            reset.unwrap_err().to_string(),
            "Unable to reset the status of receive-wal for server main. Process is still running"
        );
        let (dropped, _) = home.call(ReceiveAction::DropSlot);
        assert_eq!(
            dropped.unwrap_err().to_string(),
            "Cannot drop replication slot 'barman' on server 'main' because it is in use."
        );

        let (report, lines) = running.stop(CancelCause::Interrupt);
        assert_eq!(report.segments, 1);
        let begin = &lines[..4];
        assert_eq!(
            begin,
            [
                "Starting receive-wal for server main",
                "Creating replication slot 'barman'",
                "Creating physical replication slot 'barman' on server 'main'",
                "Replication slot 'barman' created"
            ]
        );
        assert!(
            lines[4].starts_with("main: pg_receivewal: starting log streaming at 0/")
                && lines[4].ends_with(" (timeline 1)"),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("main: pg_receivewal: finished segment at 0/"))
        );
        assert_eq!(lines.last().unwrap(), "SIGINT received. Terminate gracefully.");
        // What is durable here is what the server keeps no longer.
        let restart = cluster
            .sql_value("SELECT restart_lsn FROM pg_replication_slots")
            .unwrap();
        assert_ne!(restart, "");
        assert!(
            cluster
                .sql_value(&format!("SELECT '{restart}'::pg_lsn <= pg_current_wal_lsn()"))
                .unwrap()
                == "t"
        );

        // The next one goes on with the partial, whatever size a crash left it.
        std::fs::OpenOptions::new()
            .write(true)
            .open(home.streaming().join(&partial))
            .unwrap()
            .set_len(4096)
            .unwrap();
        load(&cluster);
        let again = home.start();
        again.streams(&cluster);
        let closed = cluster.switch_wal().unwrap();
        load(&cluster);
        wait_until("the second segment", PATIENCE, || {
            Ok(home.names().contains(&closed))
        })
        .unwrap();
        let (_, lines) = again.stop(CancelCause::Terminate);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("Truncating partial file ")
                    && line.ends_with("has wrong size 4096 while 16777216 was expected.")),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|line| line.starts_with("SIGINT")));
        assert!(
            std::fs::read(home.streaming().join(&closed)).unwrap()
                == std::fs::read(cluster.data_dir().join("pg_wal").join(&closed)).unwrap()
        );

        let (dropped, lines) = home.call(ReceiveAction::DropSlot);
        dropped.unwrap();
        assert_eq!(
            lines,
            [
                "Dropping physical replication slot 'barman' on server 'main'",
                "Replication slot 'barman' dropped"
            ]
        );
        assert_eq!(
            home.call(ReceiveAction::DropSlot).0.unwrap_err().to_string(),
            "Replication slot 'barman' does not exist"
        );
    }
}

#[test]
fn an_empty_directory_begins_where_the_slot_stands() {
    for major in [12, 17] {
        let cluster = Cluster::start_new(major).unwrap();
        let home = Home::new(&cluster, "slot_name = barman");
        cluster
            .sql("SELECT pg_create_physical_replication_slot('barman', true)")
            .unwrap();
        let reserved = cluster
            .sql_value("SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots")
            .unwrap();
        load(&cluster);
        cluster.switch_wal().unwrap();
        load(&cluster);
        cluster.switch_wal().unwrap();
        let running = home.start();
        wait_until("the reserved segment", PATIENCE, || {
            Ok(home.names().contains(&reserved))
        })
        .unwrap();
        running.stop(CancelCause::Interrupt);
    }
}

#[test]
fn wal_is_kept_and_closed_segments_can_be_archived_on_a_quiet_server() {
    let cluster = Cluster::start_new(15).unwrap();
    let home = Home::new(&cluster, "slot_name = kept\ncreate_slot = auto");
    let running = home.start();
    running.streams(&cluster);
    // Before any WAL has come: a checkpoint may not remove what the receiver needs next.
    assert_eq!(
        cluster
            .sql_value("SELECT restart_lsn IS NOT NULL FROM pg_replication_slots")
            .unwrap(),
        "t"
    );
    let closed = cluster.switch_wal().unwrap();
    // Nobody writes: the next file is there all the same, so the archiver takes the closed one.
    wait_until("the next segment is prepared", PATIENCE, || {
        let names = home.names();
        Ok(names.contains(&closed) && names.last().is_some_and(|name| name.ends_with(".partial")))
    })
    .unwrap();
    let server = home.server();
    let (lines, cancel) = (Lines::default(), Cancel::new());
    let ctx = Context {
        progress: &lines,
        cancel: &cancel,
        clock: &SystemClock,
    };
    let report = archive::run(&server, &ArchiveOptions::default(), &ctx).unwrap();
    assert_eq!(report.last_archived.unwrap().to_string(), closed);
    running.stop(CancelCause::Interrupt);
}

#[test]
fn a_slot_made_by_hand_keeps_wal_as_soon_as_somebody_receives() {
    let cluster = Cluster::start_new(15).unwrap();
    let home = Home::new(&cluster, "slot_name = by_hand");
    let create = ReceiveAction::CreateSlot { if_not_exists: false };
    home.call(create).0.unwrap();
    let kept = || {
        cluster
            .sql_value("SELECT restart_lsn IS NOT NULL FROM pg_replication_slots")
            .unwrap()
    };
    assert_eq!(kept(), "f");
    let running = home.start();
    running.streams(&cluster);
    // Long before the interval of status messages (10 s) is over.
    wait_until("the slot keeps WAL", Duration::from_secs(8), || Ok(kept() == "t")).unwrap();
    running.stop(CancelCause::Interrupt);
}

#[test]
fn slots_are_created_once_and_refusals_are_barmans() {
    let cluster = Cluster::builder(15)
        .conf("max_replication_slots", "1")
        .start()
        .unwrap();
    let home = Home::new(&cluster, "slot_name = barman");
    let create = |if_not_exists| home.call(ReceiveAction::CreateSlot { if_not_exists });
    let error = home.call(ReceiveAction::Stream).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ArchiverFailure:replication slot 'barman' doesn't exist. Please execute 'barman receive-wal --create-slot main'"
    );
    cluster
        .sql("SELECT pg_create_physical_replication_slot('other')")
        .unwrap();
    assert_eq!(
        create(false).0.unwrap_err().to_string(),
        "All replication slots for server 'main' are in use\nFree one or increase the max_replication_slots value on your PostgreSQL server."
    );
    cluster.sql("SELECT pg_drop_replication_slot('other')").unwrap();
    let (created, lines) = create(false);
    created.unwrap();
    assert_eq!(
        lines,
        [
            "Creating physical replication slot 'barman' on server 'main'",
            "Replication slot 'barman' created"
        ]
    );
    assert_eq!(
        create(false).0.unwrap_err().to_string(),
        "Replication slot 'barman' already exists"
    );
    let (existed, lines) = create(true);
    existed.unwrap();
    assert_eq!(
        lines[1],
        "Replication slot 'barman' already exists and --if-not-exists was specified. Skipping creation"
    );

    // Reset: nothing there, then behind, then ahead.
    let (aligned, lines) = home.call(ReceiveAction::Reset);
    aligned.unwrap();
    assert_eq!(lines, ["Nothing to do. Position of receive-wal is aligned."]);
    let current = cluster
        .sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        .unwrap();
    let old = home.streaming().join("000000010000000000000000.partial");
    std::fs::write(&old, "").unwrap();
    let (reset, lines) = home.call(ReceiveAction::Reset);
    reset.unwrap();
    let new = home.streaming().join(format!("{current}.partial"));
    assert_eq!(
        lines,
        [
            "Resetting receive-wal directory status".to_owned(),
            format!("Removing status file {}", old.display()),
            format!("Creating status file {}", new.display())
        ]
    );
    assert_eq!(home.names(), [format!("{current}.partial")]);
    std::fs::write(home.streaming().join("0000000100000000000000FF.partial"), "").unwrap();
    let ahead = home.call(ReceiveAction::Reset).0.unwrap_err().to_string();
    assert_eq!(
        ahead,
        format!(
            "The receive-wal position is ahead of PostgreSQL current WAL lsn (0000000100000000000000FF.partial > {current})"
        )
    );

    let off = Home {
        options: home.options.replace(
            "streaming_archiver = on",
            "streaming_archiver = off\narchiver = on",
        ),
        dir: TestDir::new().unwrap(),
    };
    assert!(matches!(
        off.call(ReceiveAction::Stream).0,
        Err(ReceiveError::ArchiverOff)
    ));
}

/// A cluster whose checkpoints, the one after its promotion above all, leave the WAL that a test compares.
fn keeping_wal(major: u16) -> ClusterBuilder {
    let setting = match major {
        ..13 => "wal_keep_segments",
        _ => "wal_keep_size",
    };
    Cluster::builder(major).conf(setting, "128")
}

/// A failover by which the cluster loses the end of what the receiver has.
#[test]
fn a_promoted_standby_that_was_behind_is_gone_on_with() {
    for major in [10, 18] {
        let primary = Cluster::start_new(major).unwrap();
        let standby = keeping_wal(major).standby_of(&primary).unwrap();
        let mut home = Home::new(&primary, "");
        standby.stop(Stop::Fast).unwrap();
        let running = home.start();
        running.streams(&primary);
        load(&primary);
        let lost = primary.switch_wal().unwrap();
        wait_until("the lost segment", PATIENCE, || Ok(home.names().contains(&lost))).unwrap();
        running.stop(CancelCause::Interrupt);
        primary.stop(Stop::Immediate).unwrap();

        standby.start().unwrap();
        standby.promote().unwrap();
        standby.wait_primary(PATIENCE).unwrap();
        home.options = home
            .options
            .replace(&primary.conninfo(), &standby.conninfo())
            .replace(&primary.streaming_conninfo(), &standby.streaming_conninfo());
        let running = home.start();
        running.streams(&standby);
        load(&standby);
        let closed = standby.switch_wal().unwrap();
        assert!(closed.starts_with("00000002"));
        wait_until("the new timeline's segment", PATIENCE, || {
            assert!(!running.thread.is_finished(), "{:?}", running.lines.all());
            Ok(home.names().contains(&closed))
        })
        .unwrap();
        running.stop(CancelCause::Interrupt);
        assert!(home.names().contains(&lost));
        assert_eq!(
            std::fs::read(home.streaming().join(&closed)).unwrap(),
            std::fs::read(standby.data_dir().join("pg_wal").join(&closed)).unwrap()
        );
    }
}

#[test]
fn a_promotion_is_followed() {
    let primary = Cluster::start_new(15).unwrap();
    let standby = keeping_wal(15).standby_of(&primary).unwrap();
    let home = Home::new(&standby, "");
    let running = home.start();
    running.streams(&standby);
    load(&primary);
    // A standby that is promoted before it has anything of its segment ends the timeline at the segment's beginning,
    // and then there is nothing of it to be kept.
    wait_until("WAL of the old timeline", PATIENCE, || {
        Ok(!home.names().is_empty())
    })
    .unwrap();
    standby.promote().unwrap();
    standby.wait_primary(PATIENCE).unwrap();
    load(&standby);
    let closed = standby.switch_wal().unwrap();
    assert!(closed.starts_with("00000002"));
    wait_until("the new timeline's segment", PATIENCE, || {
        assert!(!running.thread.is_finished(), "{:?}", running.lines.all());
        Ok(home.names().contains(&closed))
    })
    .unwrap();
    let (_, lines) = running.stop(CancelCause::Interrupt);
    assert!(
        home.names().contains(&"00000002.history".to_owned()),
        "{:?}",
        home.names()
    );
    assert!(
        home.names()
            .iter()
            .any(|name| name.starts_with("00000001") && name.ends_with(".partial")),
        "{:?}, {lines:?}",
        home.names()
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("main: pg_receivewal: switched to timeline 2 at 0/")),
        "{lines:?}"
    );
    assert!(
        std::fs::read(home.streaming().join("00000002.history")).unwrap()
            == std::fs::read(standby.data_dir().join("pg_wal/00000002.history")).unwrap()
    );
    assert!(
        std::fs::read(home.streaming().join(&closed)).unwrap()
            == std::fs::read(standby.data_dir().join("pg_wal").join(&closed)).unwrap()
    );
}

#[test]
fn a_commit_waits_for_a_synchronous_receiver_and_not_long() {
    let cluster = Cluster::builder(15)
        .conf("synchronous_standby_names", "barman_receive_wal")
        .start()
        .unwrap();
    cluster
        .sql("SET synchronous_commit = local; CREATE TABLE s (n int)")
        .unwrap();
    let home = Home::new(&cluster, "slot_name = barman\ncreate_slot = auto");
    let running = home.start();
    running.streams(&cluster);
    // One that is confirmed only at the interval of status messages takes 10 s.
    let start = Instant::now();
    for n in 0..20 {
        cluster.sql(&format!("INSERT INTO s VALUES ({n})")).unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_secs(100),
        "{:?}",
        start.elapsed()
    );
    let flushed = cluster
        .sql_value("SELECT sync_state || (flush_lsn >= '0/0') FROM pg_stat_replication")
        .unwrap();
    assert_eq!(flushed, "synctrue");
    running.stop(CancelCause::Interrupt);
}

#[test]
fn a_lost_server_ends_it_and_another_cluster_is_refused() {
    let cluster = Cluster::start_new(18).unwrap();
    let home = Home::new(&cluster, "slot_name = barman\ncreate_slot = auto");
    let running = home.start();
    running.streams(&cluster);
    load(&cluster);
    // A file that has just been made does not say yet whose it is.
    wait_until("a partial with its beginning", PATIENCE, || {
        let name = home.names().pop().unwrap_or_default();
        Ok(std::fs::read(home.streaming().join(name))?.first() > Some(&0))
    })
    .unwrap();
    cluster.stop(Stop::Immediate).unwrap();
    let error = running.thread.join().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("ArchiverFailure:"), "{error}");
    assert_eq!(error.exit_code(), 1);
    // The partial is still there, and belongs to this cluster.
    assert_eq!(home.names().len(), 1);
    // Clusters of one major are copies of one template and have the same identifier.
    let other = Cluster::start_new(17).unwrap();
    let elsewhere = Home {
        options: home
            .options
            .replace(&cluster.conninfo(), &other.conninfo())
            .replace(&cluster.streaming_conninfo(), &other.streaming_conninfo()),
        dir: TestDir::new().unwrap(),
    };
    std::fs::create_dir_all(elsewhere.streaming()).unwrap();
    let options = elsewhere.options.replace(
        &home.dir.path().display().to_string(),
        &elsewhere.dir.path().display().to_string(),
    );
    let elsewhere = Home {
        options,
        dir: elsewhere.dir,
    };
    let name = home.names().remove(0);
    std::fs::copy(home.streaming().join(&name), elsewhere.streaming().join(&name)).unwrap();
    let error = elsewhere.call(ReceiveAction::Stream).0.unwrap_err().to_string();
    assert!(
        error.contains("was written by the cluster with system identifier"),
        "{error}"
    );
}
