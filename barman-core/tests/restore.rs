//! Restored servers start and hold exactly what their target says, on every version; timelines are followed.
//!
//! Takes base backups with the server's own functions and writes the catalogue around them, so that these tests need
//! neither the backup nor the archiving of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test moves its own files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barman_catalog::{BackupInfo, BackupMode, BackupStatus, Tablespace, backup_info};
use barman_core::config::Config;
use barman_core::context::{Cancel, Context, Message, Progress, SystemClock};
use barman_core::ops::restore::{self, RestoreError, RestoreOptions, Target, TargetAction, TargetTimeline};
use barman_core::{Level, Server};
use barman_wal::backup_label::BackupLabel;
use barman_wal::{Lsn, SegmentName, SegmentSize};
use testkit::{Cluster, TestDir};

const SOON: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Progress for Warnings {
    fn message(&self, message: Message<'_>) {
        if message.level >= Level::Warning {
            self.0.lock().unwrap().push(message.text.to_owned());
        }
    }
}

/// A Barman home whose archive is filled by the server itself.
struct Node {
    dir: TestDir,
    server: Server,
    next: std::cell::Cell<u32>,
}

impl Node {
    fn new() -> Self {
        let dir = TestDir::new().unwrap();
        let conf = dir.join("barman.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nbackup_method = postgres\nconninfo = host=x\n\
             streaming_conninfo = host=x\nstreaming_archiver = on\nslot_name = b\n",
            dir.path().display()
        );
        fs::write(&conf, text).unwrap();
        let config = Config::load(&conf, None).unwrap();
        let server = Server::new(config.server("main").unwrap().clone());
        fs::create_dir_all(dir.join("main/meta")).unwrap();
        fs::create_dir_all(dir.join("main/base")).unwrap();
        dir.server_dir("main/wals").unwrap();
        Self {
            dir,
            server,
            next: std::cell::Cell::new(0),
        }
    }

    fn wals(&self) -> PathBuf {
        self.server.layout().wals_directory.clone()
    }

    /// Puts each WAL file where Barman would.
    fn archive_command(&self) -> String {
        let wals = self.wals();
        let wals = wals.display();
        format!(
            "case %f in *.history) d={wals};; *) d={wals}/$(echo %f | cut -c1-16);; esac; mkdir -p $d && cp %p $d/%f"
        )
    }

    /// Takes a backup and describes it as Barman would.
    fn back_up(&self, cluster: &Cluster, id: &str) -> BackupInfo {
        let layout = self.server.layout();
        let id = id.parse().unwrap();
        let base = layout.base_directory(id);
        fs::create_dir(&base).unwrap();
        let data = base.join("data");
        cluster.copy_online(&data).unwrap();
        let label_text = fs::read(data.join("backup_label")).unwrap();
        let label = BackupLabel::parse(&label_text).unwrap();
        let mut info = BackupInfo::new(id, "main", Some(BackupMode::Postgres));
        let size: u64 = cluster
            .sql_value("SHOW wal_segment_size")
            .unwrap()
            .trim_end_matches("MB")
            .parse()
            .unwrap();
        info.xlog_segment_size = SegmentSize::new(size << 20).unwrap();
        let end: Lsn = cluster.current_lsn().unwrap().parse().unwrap();
        let timeline = label.start_wal.timeline;
        info.version = Some(
            cluster
                .sql_value("SHOW server_version_num")
                .unwrap()
                .parse()
                .unwrap(),
        );
        info.systemid = Some(
            cluster
                .sql_value("SELECT system_identifier FROM pg_control_system()")
                .unwrap(),
        );
        info.timeline = Some(timeline);
        info.begin_wal = Some(label.start_wal);
        info.begin_xlog = Some(label.start_lsn);
        info.end_xlog = Some(end);
        info.end_wal = SegmentName::holding_last_byte_before(timeline, end, info.xlog_segment_size);
        info.end_time = Some(
            cluster
                .sql_value("SELECT clock_timestamp()")
                .unwrap()
                .parse()
                .unwrap(),
        );
        for row in cluster
            .sql("SELECT spcname, oid, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 10000")
            .unwrap()
        {
            let column = |index: usize| row[index].clone().unwrap();
            let oid: u32 = column(1).parse().unwrap();
            info.tablespaces.push(Tablespace {
                name: column(0),
                oid,
                location: column(2),
            });
        }
        info.status = BackupStatus::Done;
        backup_info::save(layout, &info).unwrap();
        info
    }

    /// Waits until the server has archived everything so far, and makes the WAL catalogue forget what it knows.
    fn archived(&self, cluster: &Cluster) {
        let last = cluster.switch_wal().unwrap();
        let path = self.server.layout().wal_path(&last.parse().unwrap());
        testkit::wait_until("WAL is archived", SOON, || Ok(path.exists())).unwrap();
        let done = "SELECT last_archived_wal >= $$".to_owned() + &last + "$$ FROM pg_stat_archiver";
        testkit::wait_until("the archiver is done", SOON, || {
            Ok(cluster.sql_value(&done)? == "t")
        })
        .unwrap();
        let _ = fs::remove_file(self.server.layout().xlogdb());
    }

    fn restore(
        &self,
        change: impl FnOnce(&mut RestoreOptions),
    ) -> Result<(PathBuf, Vec<String>), RestoreError> {
        self.next.set(self.next.get() + 1);
        // What needs quotes, for the shell and in settings, when PostgreSQL runs the commands.
        let to = self.dir.join(format!("it's restored, 100%f {}", self.next.get()));
        let mut options = RestoreOptions::new("latest", &to);
        options.skip_archive_wal = true;
        change(&mut options);
        let (warnings, cancel) = (Warnings::default(), Cancel::new());
        restore::run(
            &self.server,
            &options,
            &Context {
                progress: &warnings,
                cancel: &cancel,
                clock: &SystemClock,
            },
        )?;
        Ok((to, warnings.0.into_inner().unwrap()))
    }
}

/// Starts a restored server and tells which rows it has, and its timeline.
fn rows(major: u16, data: &Path) -> (String, String, Cluster) {
    let server = Cluster::builder(major).open(data).unwrap();
    server.wait_primary(SOON).unwrap();
    let rows = server
        .sql_value("SELECT string_agg(i::text, ',' ORDER BY i) FROM t")
        .unwrap();
    server.sql("CHECKPOINT").unwrap();
    let timeline = server
        .sql_value("SELECT timeline_id FROM pg_control_checkpoint()")
        .unwrap();
    (rows, timeline, server)
}

fn promoted(target: Target) -> impl FnOnce(&mut RestoreOptions) {
    move |options| {
        options.target = target;
        options.target_action = Some(TargetAction::Promote);
    }
}

fn every_target(major: u16) {
    let node = Node::new();
    let mut builder = Cluster::builder(major)
        .conf("archive_mode", "on")
        .conf("archive_command", &node.archive_command());
    if major >= 11 {
        builder = builder.wal_segment_mb(1);
    }
    let cluster = builder.start().unwrap();
    cluster.sql("CREATE TABLE t (i int)").unwrap();
    cluster.sql("INSERT INTO t VALUES (1)").unwrap();
    node.back_up(&cluster, "20261121T000000");
    cluster.sql("INSERT INTO t VALUES (2)").unwrap();
    let time = cluster.sql_value("SELECT clock_timestamp()").unwrap();
    cluster.sql("SELECT pg_create_restore_point('here')").unwrap();
    cluster.sql("INSERT INTO t VALUES (3)").unwrap();
    let lsn: Lsn = cluster.current_lsn().unwrap().parse().unwrap();
    cluster.sql("INSERT INTO t VALUES (4)").unwrap();
    node.archived(&cluster);

    let after = |change: Box<dyn FnOnce(&mut RestoreOptions)>| {
        let (to, warnings) = node.restore(change).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (rows, timeline, _server) = rows(major, &to);
        (rows, timeline)
    };
    let expect = |rows: &str, timeline: &str| (rows.to_owned(), timeline.to_owned());
    assert_eq!(after(Box::new(|_| {})), expect("1,2,3,4", "1"));
    assert_eq!(after(Box::new(promoted(Target::Immediate))), expect("1", "2"));
    assert_eq!(after(Box::new(promoted(Target::Time(time)))), expect("1,2", "2"));
    assert_eq!(
        after(Box::new(promoted(Target::Name("here".into())))),
        expect("1,2", "2")
    );
    assert_eq!(after(Box::new(promoted(Target::Lsn(lsn)))), expect("1,2,3", "2"));
    let command = format!("cp {}/*/%f %p", node.wals().display());
    assert_eq!(
        after(Box::new(move |options| {
            options.get_wal = Some(true);
            options.restore_command = Some(command);
        })),
        expect("1,2,3,4", "2")
    );
}

#[test]
fn every_target_on_10() {
    every_target(10);
}

#[test]
fn every_target_on_11() {
    every_target(11);
}

#[test]
fn every_target_on_12() {
    every_target(12);
}

#[test]
fn every_target_on_15() {
    every_target(15);
}

#[test]
fn every_target_on_18() {
    every_target(18);
}

/// A server is restored, promoted, archives its new timeline in the same place; then that is followed, or not.
#[test]
fn timelines_are_followed_or_left_alone() {
    let major = 15;
    let node = Node::new();
    let archiving = |builder: testkit::ClusterBuilder| {
        builder
            .conf("archive_mode", "on")
            .conf("archive_command", &node.archive_command())
    };
    let cluster = archiving(Cluster::builder(major).wal_segment_mb(1))
        .start()
        .unwrap();
    cluster.sql("CREATE TABLE t (i int)").unwrap();
    cluster.sql("INSERT INTO t VALUES (1)").unwrap();
    node.back_up(&cluster, "20261121T000000");
    cluster.sql("INSERT INTO t VALUES (2)").unwrap();
    cluster.sql("SELECT pg_create_restore_point('fork')").unwrap();
    cluster.sql("INSERT INTO t VALUES (3)").unwrap();
    node.archived(&cluster);

    let (to, _) = node.restore(promoted(Target::Name("fork".into()))).unwrap();
    let second = archiving(Cluster::builder(major)).open(&to).unwrap();
    second.wait_primary(SOON).unwrap();
    second.sql("INSERT INTO t VALUES (20)").unwrap();
    node.archived(&second);
    // The first server goes on, too.
    cluster.sql("INSERT INTO t VALUES (4)").unwrap();
    node.archived(&cluster);

    let (to, warnings) = node.restore(|_| {}).unwrap();
    assert!(
        warnings[0].contains("timeline 2") && warnings[0].contains("--target-tli latest"),
        "{warnings:?}"
    );
    assert_eq!(rows(major, &to).0, "1,2,3,4");
    let at = |word: &'static str| {
        move |options: &mut RestoreOptions| {
            options.target_tli = Some(word.parse::<TargetTimeline>().unwrap());
            options.target_action = Some(TargetAction::Promote);
        }
    };
    let (to, _) = node.restore(at("latest")).unwrap();
    let (found, timeline, _server) = rows(major, &to);
    assert_eq!((found.as_str(), timeline.as_str()), ("1,2,20", "3"));
    let (to, _) = node.restore(at("current")).unwrap();
    assert_eq!(rows(major, &to).0, "1,2,3,4");
    let error = node.restore(at("7")).unwrap_err();
    assert!(error.to_string().contains("Timeline 7 is unknown"), "{error}");

    // A backup taken after the fork cannot reach the other branch.
    node.back_up(&cluster, "20261121T000001");
    node.archived(&cluster);
    let error = node.restore(at("latest")).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    let (to, _) = node.restore(at("current")).unwrap();
    assert_eq!(rows(major, &to).0, "1,2,3,4");
}
