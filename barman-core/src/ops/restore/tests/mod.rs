//! Restores of a made-up catalogue: what is refused, and what an interrupted restore leaves.

mod refusals;
mod result;
mod wal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use barman_catalog::{BackupInfo, BackupMode, BackupStatus, Layout, Tablespace, backup_info};
use barman_wal::lock::Lock;
use barman_wal::{SegmentName, SegmentSize};

use super::*;
use crate::config::Config;
use crate::context::{Cancel, CancelCause, Message, Progress, SystemClock};
use crate::failure::{Class, Failure};

const ID: &str = "20261121T044724";
const SYSTEM: u64 = 7_710_481_529_789_920_731;

/// Remembers what it is told, and asks to stop when it hears a certain line.
#[derive(Default)]
struct Listener {
    lines: Mutex<Vec<String>>,
    stop_at: Option<(&'static str, Cancel)>,
}

impl Progress for Listener {
    fn message(&self, message: Message<'_>) {
        self.lines
            .lock()
            .unwrap()
            .push(format!("{:?} {}", message.level, message.text));
        if let Some((text, cancel)) = &self.stop_at
            && message.text.starts_with(text)
        {
            cancel.request(CancelCause::Interrupt);
        }
    }
}

/// A node with one server, one backup of a cluster with one tablespace, and the WAL segments 3 to 8 of 1 MiB.
struct Node {
    home: tempfile::TempDir,
    server: Server,
}

fn segment(number: u32) -> SegmentName {
    SegmentName {
        timeline: barman_wal::TimelineId::FIRST,
        log: 0,
        seg: number,
    }
}

/// A WAL segment that is right as far as its first page header goes.
fn wal(name: SegmentName) -> Vec<u8> {
    let number = name.start_lsn(SegmentSize::new(1 << 20).unwrap()).0 >> 20;
    let segment = testkit::Segment {
        timeline: name.timeline.get(),
        system: SYSTEM,
        ..testkit::Segment::small(number)
    };
    segment.whole(0)
}

impl Node {
    fn new() -> Self {
        Self::with("")
    }

    fn with(settings: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("home");
        let conf = home.path().join("barman.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nbackup_method = postgres\nconninfo = host=nowhere\n\
             streaming_conninfo = host=nowhere\nstreaming_archiver = on\nslot_name = b\n{}\n",
            root.display(),
            settings.replace("HOME", &home.path().display().to_string())
        );
        fs::write(&conf, text).unwrap();
        let config = Config::load(&conf, None).unwrap();
        let server = Server::new(config.server("main").unwrap().clone());
        let node = Self { home, server };
        let layout = node.layout();
        for directory in [
            &layout.wals_directory,
            &layout.streaming_wals_directory,
            &layout.meta_directory(),
        ] {
            fs::create_dir_all(directory).unwrap();
        }
        let data = layout.base_directory(ID.parse().unwrap()).join("data");
        for directory in ["base/5", "global", "pg_wal/archive_status", "log", "pg_tblspc"] {
            fs::create_dir_all(data.join(directory)).unwrap();
        }
        fs::create_dir(layout.base_directory(ID.parse().unwrap()).join("16384")).unwrap();
        std::os::unix::fs::symlink("../../16384", data.join("pg_tblspc/16384")).unwrap();
        for (file, content) in [
            ("PG_VERSION", "15\n"),
            ("base/5/1247", "pages"),
            ("global/pg_control", "control"),
            ("log/old", "x"),
            ("backup_label", "label"),
            ("backup_manifest", "{}"),
            ("tablespace_map", "16384 /x"),
            ("postgresql.conf", "archive_command = 'x'\n"),
            ("postgresql.auto.conf", "# auto\n"),
            ("../16384/1", "ts"),
        ] {
            fs::write(data.join(file), content).unwrap();
        }
        let mut info = BackupInfo::new(ID.parse().unwrap(), "main", Some(BackupMode::Postgres));
        info.status = BackupStatus::Done;
        info.timeline = Some(barman_wal::TimelineId::FIRST);
        info.version = Some(150_018);
        info.systemid = Some(SYSTEM.to_string());
        info.xlog_segment_size = SegmentSize::new(1 << 20).unwrap();
        info.begin_wal = Some(segment(3));
        info.end_wal = Some(segment(4));
        info.begin_xlog = Some("0/300028".parse().unwrap());
        info.end_xlog = Some("0/400100".parse().unwrap());
        info.end_time = Some("2026-11-21 04:47:28+00:00".parse().unwrap());
        info.tablespaces = vec![Tablespace {
            name: "t1".into(),
            oid: 16384,
            location: "/nowhere/t1".into(),
        }];
        backup_info::save(layout, &info).unwrap();
        for number in 3..=8 {
            let path = node.wal_path(number);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, wal(segment(number))).unwrap();
        }
        node
    }

    fn layout(&self) -> &Layout {
        self.server.layout()
    }

    fn wal_path(&self, number: u32) -> PathBuf {
        self.layout().wal_path(&segment(number).into())
    }

    fn info(&self, change: impl FnOnce(&mut BackupInfo)) {
        let mut info = backup_info::load(self.layout(), ID.parse().unwrap()).unwrap();
        change(&mut info);
        backup_info::save(self.layout(), &info).unwrap();
    }

    fn to(&self) -> PathBuf {
        self.home.path().join("to")
    }

    fn options(&self) -> RestoreOptions {
        let mut options = RestoreOptions::new("latest", self.to());
        options.tablespaces = vec![format!("t1:{}", self.home.path().join("ts").display())];
        options.skip_archive_wal = true;
        options
    }

    fn run(&self, options: &RestoreOptions) -> Result<RestoreReport, RestoreError> {
        self.run_listening(options, &Listener::default(), &Cancel::new())
    }

    fn run_listening(
        &self,
        options: &RestoreOptions,
        listener: &Listener,
        cancel: &Cancel,
    ) -> Result<RestoreReport, RestoreError> {
        run(
            &self.server,
            options,
            &Context {
                progress: listener,
                cancel,
                clock: &SystemClock,
            },
        )
    }

    /// Restores with changed options and expects a refusal that leaves nothing.
    fn refused(&self, change: impl FnOnce(&mut RestoreOptions)) -> RestoreError {
        let mut options = self.options();
        change(&mut options);
        let existed = self.to().exists();
        let error = self.run(&options).unwrap_err();
        assert_eq!(self.to().exists(), existed, "{error}");
        assert!(
            !self.to().join("base").exists() && !self.home.path().join("ts").exists(),
            "{error}"
        );
        error
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
