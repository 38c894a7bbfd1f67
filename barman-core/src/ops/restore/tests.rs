//! Restores of a made-up catalogue: what is refused, and what an interrupted restore leaves.

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

#[test]
fn a_plain_restore_is_complete() {
    let node = Node::new();
    let listener = Listener::default();
    let report = node
        .run_listening(&node.options(), &listener, &Cancel::new())
        .unwrap();
    let to = node.to();
    assert_eq!(
        names(&to),
        [
            ".barman-recover.info",
            "PG_VERSION",
            "backup_label",
            "backup_manifest.20261121T044724",
            "base",
            "global",
            "log",
            "pg_tblspc",
            "pg_wal",
            "postgresql.auto.conf",
            "postgresql.auto.conf.origin",
            "postgresql.conf",
            "postgresql.conf.origin",
        ]
    );
    assert_eq!(fs::read(to.join("global/pg_control")).unwrap(), b"control");
    assert_eq!(fs::read(to.join("pg_tblspc/16384/1")).unwrap(), b"ts");
    assert_eq!(
        fs::read_link(to.join("pg_tblspc/16384")).unwrap(),
        node.home.path().join("ts")
    );
    assert!(names(&to.join("log")).is_empty());
    assert_eq!(names(&to.join("pg_wal")).len(), 7);
    assert_eq!(
        names(&to.join("pg_wal/archive_status"))[0],
        "000000010000000000000003.done"
    );
    for path in [&to, &node.home.path().join("ts")] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            0o700,
            "{}",
            path.display()
        );
    }
    let info = fs::read(node.layout().backup_info(ID.parse().unwrap())).unwrap();
    assert_eq!(fs::read(to.join(".barman-recover.info")).unwrap(), info);
    assert_eq!(report.missing_files, ["pg_hba.conf", "pg_ident.conf"]);
    assert_eq!((report.changes.len(), report.wal_files), (1, 6));
    let ts = node.home.path().join("ts").display().to_string();
    assert_eq!(
        listener.lines.into_inner().unwrap(),
        [
            "Info Starting local restore for server main using backup 20261121T044724".to_owned(),
            format!("Info Destination directory: {}", to.display()),
            "Info Copying the base backup.".to_owned(),
            format!("Info \t16384, t1, {ts}"),
            "Info Copying required WAL segments.".to_owned(),
            "Info Generating archive status files".to_owned(),
            "Info Identify dangerous settings in destination directory.".to_owned(),
        ]
    );
}

#[test]
fn an_interrupted_restore_cannot_be_started() {
    for line in [
        "Doing PITR",
        "Copying the base",
        "Copying required",
        "Generating",
        "Identify",
    ] {
        let node = Node::new();
        let cancel = Cancel::new();
        let listener = Listener {
            stop_at: Some((line, cancel.clone())),
            ..Listener::default()
        };
        let mut options = node.options();
        options.target = Target::Immediate;
        let error = node.run_listening(&options, &listener, &cancel).unwrap_err();
        assert_eq!(error.class(), Class::Interrupted, "{line}: {error}");
        assert!(!node.to().join("global/pg_control").exists(), "{line}");
        // Before the first directory there is nothing to clean up, and nothing is said of it.
        assert_eq!(
            matches!(error, RestoreError::Partial { .. }),
            node.to().exists(),
            "{line}"
        );
        assert_eq!(
            error.to_string().contains("is incomplete"),
            node.to().exists(),
            "{line}"
        );
    }
}

#[test]
fn damaged_wal_is_found_and_the_result_cannot_be_started() {
    let gzip_magic = [0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let wrong_name = wal(segment(9));
    let mut other_cluster = wal(segment(5));
    other_cluster[24] ^= 1;
    for (content, what) in [
        (&gzip_magic[..], ""),
        (&[1, 2, 3][..], "3 bytes"),
        (&wrong_name[..], "000000010000000000000009"),
        (&other_cluster[..], "cluster"),
        (&[wal(segment(5)), vec![0]].concat()[..], "more than"),
    ] {
        let node = Node::new();
        fs::write(node.wal_path(5), content).unwrap();
        let error = node.run(&node.options()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("000000010000000000000005' is damaged") && text.contains(what),
            "{text}"
        );
        assert!(text.contains("is incomplete"), "{text}");
        assert!(!node.to().join("global/pg_control").exists());
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("another archive") && hint.contains("Empty"))
        );
    }
}

/// Each filter waits until another one runs: one after the other they would fail.
#[test]
fn wal_is_delivered_in_parallel() {
    let meet = "touch HOME/$$.running; tries=0; while [ $(ls HOME/*.running | wc -l) -lt 2 ]; do \
                tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05; done; tail -c +3";
    let node = Node::with(&format!(
        "parallel_jobs = 2\ncompression = custom\ncustom_compression_magic = 0x7879\n\
         custom_compression_filter = cat\ncustom_decompression_filter = {meet}"
    ));
    for number in 3..=8 {
        let stored = [&b"xy"[..], &wal(segment(number))].concat();
        fs::write(node.wal_path(number), stored).unwrap();
    }
    node.run(&node.options()).unwrap();
    for number in 3..=8 {
        let delivered = node.to().join("pg_wal").join(segment(number).to_string());
        assert_eq!(fs::read(delivered).unwrap(), wal(segment(number)));
    }
}

#[test]
fn missing_wal_is_an_error_before_a_byte_is_copied() {
    for (missing, target, first) in [
        (vec![3], Target::None, "000000010000000000000003"),
        (vec![4], Target::Immediate, "000000010000000000000004"),
        (vec![4, 5, 6, 7, 8], Target::None, "000000010000000000000004"),
        (
            vec![6],
            Target::Lsn("0/700000".parse().unwrap()),
            "000000010000000000000006",
        ),
    ] {
        let node = Node::new();
        for number in missing {
            fs::remove_file(node.wal_path(number)).unwrap();
        }
        let error = node.refused(|options| options.target = target);
        assert!(
            error
                .to_string()
                .contains(&format!("WAL segment {first} is missing")),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn wal_that_is_not_needed_may_be_missing() {
    for (missing, target, warnings) in [
        (6, Target::Immediate, 0),
        (6, Target::Lsn("0/5000FF".parse().unwrap()), 0),
        // What lies behind the hole cannot be reached: the user is told.
        (6, Target::None, 1),
        // The archive ends before the target.
        (8, Target::Lsn("0/800001".parse().unwrap()), 1),
    ] {
        let node = Node::new();
        fs::remove_file(node.wal_path(missing)).unwrap();
        let mut options = node.options();
        options.target = target.clone();
        let listener = Listener::default();
        node.run_listening(&options, &listener, &Cancel::new()).unwrap();
        let lines = listener.lines.into_inner().unwrap();
        let told = lines.iter().filter(|line| line.starts_with("Warning")).count();
        assert_eq!(told, warnings, "{target:?} {lines:?}");
    }
}

#[test]
fn a_waiting_backup_is_restored_with_warnings() {
    let node = Node::new();
    node.info(|info| info.status = BackupStatus::WaitingForWals);
    for number in 4..=8 {
        fs::remove_file(node.wal_path(number)).unwrap();
    }
    let listener = Listener::default();
    node.run_listening(&node.options(), &listener, &Cancel::new())
        .unwrap();
    let lines = listener.lines.into_inner().unwrap();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("Warning IMPORTANT"))
            .count(),
        2,
        "{lines:?}"
    );
}

#[test]
fn a_file_of_the_catalogue_that_is_lost_is_an_error() {
    let node = Node::new();
    gather::wal_catalogue(
        node.layout(),
        node.server.config(),
        &Context {
            progress: &Listener::default(),
            cancel: &Cancel::new(),
            clock: &SystemClock,
        },
    )
    .unwrap();
    fs::remove_file(node.wal_path(7)).unwrap();
    let error = node.refused(|_| {});
    assert!(matches!(error, RestoreError::LostWal { .. }), "{error}");
}

#[test]
fn places_that_hold_something_are_refused() {
    let node = Node::new();
    fs::create_dir(node.to()).unwrap();
    fs::write(node.to().join(".hidden"), "").unwrap();
    assert!(matches!(
        node.refused(|_| {}),
        RestoreError::DestinationNotEmpty { .. }
    ));

    let node = Node::new();
    let full = node.home.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "").unwrap();
    let error = node.refused(|options| options.tablespaces = vec![format!("t1:{}", full.display())]);
    assert!(
        matches!(error, RestoreError::TablespaceNotEmpty { .. }),
        "{error}"
    );

    let node = Node::new();
    let inside = node.layout().basebackups_directory.join("new");
    let error = node.refused(|options| options.destination = inside);
    assert!(matches!(error, RestoreError::InsideCatalogue { .. }), "{error}");
    let to = node.to();
    let error = node.refused(|options| options.tablespaces = vec![format!("t1:{}/base", to.display())]);
    assert!(
        matches!(error, RestoreError::TablespacesOverlap { .. }),
        "{error}"
    );
}

#[test]
fn a_tablespace_may_be_inside_of_the_destination() {
    let node = Node::new();
    let mut options = node.options();
    options.tablespaces = vec![format!("t1:{}", node.to().join("spaces/t1").display())];
    node.run(&options).unwrap();
    assert_eq!(fs::read(node.to().join("pg_tblspc/16384/1")).unwrap(), b"ts");
}

#[test]
fn an_existing_empty_destination_becomes_private() {
    let node = Node::new();
    fs::create_dir(node.to()).unwrap();
    fs::set_permissions(node.to(), fs::Permissions::from_mode(0o755)).unwrap();
    node.run(&node.options()).unwrap();
    assert_eq!(
        fs::metadata(node.to()).unwrap().permissions().mode() & 0o7777,
        0o700
    );
}

#[test]
fn options_that_cannot_work_are_refused() {
    let node = Node::new();
    type Change = fn(&mut RestoreOptions);
    let table: &[(Change, &str)] = &[
        (
            |options| options.backup = "nonesuch".into(),
            "Unknown backup 'nonesuch' for server 'main'",
        ),
        (
            |options| options.target = Target::Time("nonsense".into()),
            "nonsense",
        ),
        (
            |options| options.target = Target::Time("2026-11-21 04:47:27Z".into()),
            "before the backup end time",
        ),
        (
            |options| options.target = Target::Lsn("0/400000".parse().unwrap()),
            "before the backup end LSN",
        ),
        (
            |options| options.target_tli = Some("9".parse().unwrap()),
            "Timeline 9 is unknown",
        ),
        (
            |options| options.target_action = Some(TargetAction::Pause),
            "target action",
        ),
        (
            |options| options.tablespaces.push("x".into()),
            "relocation rule 'x'",
        ),
        (
            |options| options.tablespaces.push("x:/y".into()),
            "tablespace name 'x'",
        ),
        (|options| options.destination = "/a:b".into(), "':'"),
        (
            |options| options.staging_path = Some("rel".into()),
            "--staging-path",
        ),
        (
            |options| options.staging_location = Some("remote".into()),
            "--remote-ssh-command",
        ),
        (
            |options| options.network_compression = Some(true),
            "--remote-ssh-command",
        ),
        (
            |options| options.remote_ssh_command = Some("ssh x".into()),
            "--remote-ssh-command",
        ),
        (|options| options.delta_restore = Some(true), "--delta-restore"),
        (
            |options| options.snapshot_recovery_instance = Some("i".into()),
            "not a snapshot",
        ),
        (
            |options| options.recovery_conf_filename = Some("../x".into()),
            "--recovery-conf-filename",
        ),
        (
            |options| {
                options.backup = "auto".into();
                options.target = Target::Immediate;
            },
            "only possible recovery targets",
        ),
        (
            |options| {
                options.backup = "auto".into();
                options.target = Target::Time("2020-01-01 00:00Z".into());
            },
            "Cannot find any candidate backup for recovery.",
        ),
    ];
    for (change, text) in table {
        let error = node.refused(change);
        assert!(error.to_string().contains(text), "{error} / {text}");
    }
}

#[test]
fn backups_that_cannot_be_restored_are_refused() {
    type Change = fn(&mut BackupInfo);
    let table: &[(Change, &str)] = &[
        (
            |info| info.status = BackupStatus::Failed,
            "backup status is not DONE",
        ),
        (|info| info.compression = Some("gzip".into()), "compressed"),
        (|info| info.encryption = Some("gpg".into()), "encrypted"),
        (
            |info| info.parent_backup_id = Some("20261121T000000".parse().unwrap()),
            "incremental",
        ),
        (|info| info.mode = Some("snapshot-concurrent".into()), "snapshot"),
        (|info| info.begin_wal = None, "begin_wal"),
    ];
    for (change, text) in table {
        let node = Node::new();
        node.info(change);
        let error = node.refused(|options| options.backup = ID.into());
        assert!(error.to_string().contains(text), "{error} / {text}");
    }
}

#[test]
fn a_failed_backup_says_why_it_failed() {
    let node = Node::new();
    node.info(|info| info.set_failed_because("failure copying files (143)"));
    let error = node.refused(|options| options.backup = ID.into());
    assert_eq!(
        error.hint().unwrap(),
        "It is FAILED (failure copying files (143)). 'barman list-backups main' shows the backups that can be \
         restored."
    );
}

#[test]
fn transaction_ids_are_whole_numbers() {
    for (text, good) in [
        ("750", true),
        (" 0x2eE ", true),
        ("18446744073709551615", true),
        ("18446744073709551616", false),
        ("abc", false),
        ("12a", false),
        ("-1", false),
        ("+1", false),
        ("0x", false),
        (" ", false),
    ] {
        let target = Target::from_texts(TargetTexts {
            xid: Some(text),
            ..TargetTexts::default()
        });
        match target {
            Ok(target) => assert!(good && target == Target::Xid(text.into()), "{text:?}: {target:?}"),
            Err(error) => assert!(
                !good && matches!(error, RestoreError::BadXid { .. }),
                "{text:?}: {error}"
            ),
        }
    }
    let several = Target::from_texts(TargetTexts {
        xid: Some("abc"),
        lsn: Some("0/1"),
        ..TargetTexts::default()
    });
    assert!(matches!(several, Err(RestoreError::SeveralTargets)));
}

#[test]
fn what_will_surprise_is_told() {
    let standby = "Warning The backup was taken from a standby";
    let future = "Warning The target time 2199-01-01 00:00:00+00:00 is in the future";
    for (signal, standby_mode, time, expected) in [
        (false, false, None, vec![]),
        (true, false, None, vec![standby]),
        (true, true, None, vec![]),
        (false, false, Some("2199-01-01 00:00:00+00:00"), vec![future]),
        (false, false, Some("2026-11-21 05:00:00+00:00"), vec![]),
    ] {
        let node = Node::new();
        if signal {
            let data = node.layout().data_directory(ID.parse().unwrap());
            fs::write(data.join("standby.signal"), "").unwrap();
        }
        let mut options = node.options();
        options.standby_mode = standby_mode;
        options.target = time.map_or(Target::None, |time| Target::Time(time.into()));
        let listener = Listener::default();
        node.run_listening(&options, &listener, &Cancel::new()).unwrap();
        let lines = listener.lines.lock().unwrap().clone();
        let warnings: Vec<&String> = lines.iter().filter(|line| line.starts_with("Warning")).collect();
        assert_eq!(warnings.len(), expected.len(), "{lines:#?}");
        for (got, wanted) in warnings.iter().zip(expected) {
            assert!(got.starts_with(wanted), "{got}");
        }
    }
}

/// The data directory of a server that was restored by Barman keeps traces of that, and they come with its backups.
#[test]
fn a_backup_of_a_restored_server_can_be_restored() {
    for (target, standby_mode, signal) in [
        (Target::None, false, None),
        (Target::Immediate, false, Some("recovery.signal")),
        (Target::None, true, Some("standby.signal")),
    ] {
        let node = Node::new();
        let data = node.layout().data_directory(ID.parse().unwrap());
        fs::create_dir(data.join("barman_wal")).unwrap();
        for file in [
            ".barman-recover.info",
            "barman_wal/000000010000000000000003",
            "barman_wal/0000000F.history",
            "recovery.signal",
            "standby.signal",
            "postgresql.auto.conf.origin",
            "backup_manifest.20260101T000000",
        ] {
            fs::write(data.join(file), "old").unwrap();
        }
        let mut options = node.options();
        options.standby_mode = standby_mode;
        options.target = target.clone();
        node.run(&options).unwrap();
        let new = |file: &str| fs::read_to_string(node.to().join(file)).unwrap();
        assert!(new(".barman-recover.info").contains("status=DONE"));
        assert_eq!(new("postgresql.auto.conf.origin"), "# auto\n");
        if let Some(signal) = signal {
            assert_eq!(new(signal), "", "{target:?}");
        }
        if target == Target::Immediate {
            assert_eq!(
                names(&node.to().join("barman_wal")),
                [
                    "000000010000000000000003",
                    "000000010000000000000004",
                    "archive_status"
                ]
            );
        }
    }
}

#[test]
fn a_backup_that_is_being_deleted_is_left_alone() {
    let node = Node::new();
    let lock = Lock::try_acquire(&node.layout().id_lock(ID.parse().unwrap())).unwrap();
    assert!(matches!(node.refused(|_| {}), RestoreError::Busy { .. }));
    drop(lock);
    fs::write(
        node.layout().annotation(ID.parse().unwrap(), "delete_this"),
        "delete",
    )
    .unwrap();
    assert!(matches!(
        node.refused(|options| options.backup = ID.into()),
        RestoreError::BeingDeleted { .. }
    ));
}

#[test]
fn hooks_run_around_the_restore_and_can_stop_it() {
    let node = Node::with("pre_recovery_retry_script = exit 63");
    assert!(matches!(node.refused(|_| {}), RestoreError::Hook(_)));

    let log = tempfile::NamedTempFile::new().unwrap();
    let script = format!(
        "echo $BARMAN_PHASE $BARMAN_DESTINATION_DIRECTORY >> {}",
        log.path().display()
    );
    let node = Node::with(&format!(
        "pre_recovery_script = {script}\npost_recovery_script = {script}"
    ));
    node.run(&node.options()).unwrap();
    let to = node.to().display().to_string();
    assert_eq!(
        fs::read_to_string(log.path()).unwrap(),
        format!("pre {to}\npost {to}\n")
    );
}

#[test]
fn the_streaming_partial_comes_without_its_suffix() {
    let node = Node::new();
    let partial = node
        .layout()
        .streaming_wals_directory
        .join(format!("{}.partial", segment(9)));
    fs::write(partial, wal(segment(9))).unwrap();
    let mut options = node.options();
    options.partial_wal = true;
    node.run(&options).unwrap();
    assert!(node.to().join("pg_wal").join(segment(9).to_string()).exists());
    assert!(
        !node
            .to()
            .join(format!("pg_wal/archive_status/{}.done", segment(9)))
            .exists()
    );
}

#[test]
fn before_postgresql_12_settings_go_to_recovery_conf() {
    let node = Node::new();
    node.info(|info| info.version = Some(110_022));
    let mut options = node.options();
    options.target = Target::Immediate;
    node.run(&options).unwrap();
    let to = node.to();
    let conf = fs::read_to_string(to.join("recovery.conf")).unwrap();
    let wal = to.join("barman_wal");
    assert_eq!(
        conf,
        format!(
            "restore_command = 'cp {0}/%f %p'\nrecovery_end_command = 'rm -fr {0}'\nrecovery_target = 'immediate'\n",
            wal.display()
        )
    );
    assert!(!to.join("recovery.signal").exists());
    assert_eq!(
        fs::read_to_string(to.join("postgresql.auto.conf")).unwrap(),
        "# auto\n"
    );
}
