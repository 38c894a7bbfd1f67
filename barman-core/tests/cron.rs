//! What `cron` starts, stops, repairs and says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::path::PathBuf;
use std::sync::Mutex;

use barman_catalog::{BackupInfo, BackupStatus, Layout, backup_info};
use barman_core::config::Config;
use barman_core::context::SystemClock;
use barman_core::host::process::{Descriptors, SelfCommand, task_lock};
use barman_core::ops::cron::{self, CronReport};
use barman_core::{Cancel, Context, Level, Message, Progress};
use barman_wal::lock::Lock;

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn message(&self, message: Message<'_>) {
        let mark = match message.level {
            Level::Debug => return,
            Level::Info => "",
            Level::Warning => "WARNING: ",
            Level::Error => "ERROR: ",
        };
        self.0.lock().unwrap().push(format!("{mark}{}", message.text));
    }
}

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new(servers: &str) -> Self {
        let host = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let home = host.home();
        let text = format!("[barman]\nbarman_home = {}\n{servers}", home.display());
        std::fs::write(host.directory.path().join("barman.conf"), text).unwrap();
        host
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn run(&self) -> (CronReport, Vec<String>) {
        let path = self.directory.path().join("barman.conf");
        let config = Config::load(&path, None).unwrap();
        let barman = SelfCommand {
            program: "/bin/true".into(),
            config: path,
            descriptors: Descriptors::Close,
        };
        let told = Told::default();
        let cancel = Cancel::new();
        let report = cron::run(
            &config,
            &barman,
            &Context {
                progress: &told,
                cancel: &cancel,
                clock: &SystemClock,
            },
        );
        (report, told.0.into_inner().unwrap())
    }

    fn backup(&self, server: &str, id: &str, status: BackupStatus) {
        let layout = Layout::new(server, self.home());
        let mut info = BackupInfo::new(id.parse().unwrap(), server, Some("postgres".into()));
        info.status = status;
        std::fs::create_dir_all(layout.meta_directory()).unwrap();
        std::fs::create_dir_all(layout.base_directory(info.id)).unwrap();
        backup_info::save(&layout, &info).unwrap();
    }

    fn status(&self, server: &str, id: &str) -> BackupStatus {
        backup_info::load(&Layout::new(server, self.home()), id.parse().unwrap())
            .unwrap()
            .status
    }
}

const STREAMING: &str =
    "conninfo = host=pg\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n";

fn tasks(report: &CronReport) -> Vec<String> {
    report
        .started
        .iter()
        .map(|started| started.task.join(" "))
        .collect()
}

#[test]
fn missing_children_are_started() {
    let host = Host::new(&format!(
        "[b]\n{STREAMING}[a]\nconninfo = host=pg\narchiver = on\nbackup_method = postgres\n[dis]\n[off]\nactive = off\n"
    ));
    let (report, told) = host.run();
    assert_eq!(
        told,
        [
            "Skipping temporarily disabled server 'dis'",
            "Starting WAL archiving for server a",
            "Starting WAL archiving for server b",
            "Starting streaming archiver for server b",
        ]
    );
    assert_eq!(
        tasks(&report),
        ["archive-wal a", "archive-wal b", "receive-wal b"]
    );
    assert!(!report.failed);
    assert!(host.home().is_dir(), "the lock directory is made");
    let left: Vec<_> = std::fs::read_dir(host.home())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new(), "unused locks are swept");
}

#[test]
fn replaced_connection_strings_are_told() {
    let host = Host::new(&format!("[pg]\n{STREAMING}wal_conninfo = host=v\n"));
    let (_, told) = host.run();
    assert_eq!(
        told[0],
        "Configuration overrides applied: 'conninfo' overridden with 'host=v'"
    );
}

#[test]
fn running_children_are_left_alone() {
    let host = Host::new(&format!("[pg]\n{STREAMING}"));
    std::fs::create_dir(host.home()).unwrap();
    let hold = |server: &str, task: &str| Lock::try_acquire(&task_lock(&host.home(), server, task)).unwrap();
    let archiver = hold("pg", "archive-wal");
    let receiver = hold("pg", "receive-wal");
    let (report, told) = host.run();
    assert_eq!(
        told,
        ["Another archive-wal process is already running on server pg. Skipping to the next server"]
    );
    assert_eq!(tasks(&report), Vec::<String>::new());
    drop((archiver, receiver));
    let _other = hold("pg-standby", "archive-wal");
    assert_eq!(tasks(&host.run().0), ["archive-wal pg", "receive-wal pg"]);
    let _cron = hold("pg", "cron");
    let (report, told) = host.run();
    assert_eq!(
        told,
        ["Another cron process is already running on server pg. Skipping to the next server"]
    );
    assert!(!report.failed && report.started.is_empty());
}

#[test]
fn waiting_backups_are_checked_and_dead_ones_repaired() {
    let host = Host::new(&format!("[pg]\n{STREAMING}"));
    host.backup("pg", "20261121T010000", BackupStatus::Done);
    host.backup("pg", "20261121T020000", BackupStatus::WaitingForWals);
    host.backup("pg", "20261121T030000", BackupStatus::WaitingForWals);
    host.backup("pg", "20261121T040000", BackupStatus::Started);
    let running = Lock::try_acquire(&task_lock(&host.home(), "pg", "backup")).unwrap();
    let (report, _) = host.run();
    let checked: Vec<_> = tasks(&report)
        .into_iter()
        .filter(|task| task.starts_with("check-backup"))
        .collect();
    assert_eq!(
        checked,
        [
            "check-backup pg 20261121T020000",
            "check-backup pg 20261121T030000"
        ]
    );
    assert_eq!(
        host.status("pg", "20261121T040000"),
        BackupStatus::Started,
        "a backup is running"
    );
    drop(running);
    let (report, told) = host.run();
    assert_eq!(report.repaired, ["20261121T040000".parse().unwrap()]);
    assert_eq!(host.status("pg", "20261121T040000"), BackupStatus::Failed);
    assert!(
        told.iter()
            .any(|line| line.starts_with("WARNING: Backup 20261121T040000"))
    );
}

#[test]
fn obsolete_backups_go() {
    let host = Host::new(&format!("[pg]\n{STREAMING}retention_policy = REDUNDANCY 1\n"));
    host.backup("pg", "20261121T010000", BackupStatus::Done);
    host.backup("pg", "20261121T020000", BackupStatus::Done);
    let (report, told) = host.run();
    assert_eq!(report.deleted, ["20261121T010000".parse().unwrap()], "{told:?}");
    for line in [
        "Enforcing retention policy: removing backup 20261121T010000 for server pg",
        "Deleting backup 20261121T010000 for server pg",
    ] {
        assert!(told.iter().any(|told| told == line), "{told:?}");
    }
}

#[test]
fn a_receiver_that_is_not_wanted_any_more_is_stopped() {
    for server in [
        "active = off\n",
        "conninfo = host=pg\narchiver = on\nbackup_method = postgres\n",
    ] {
        let host = Host::new(&format!("[pg]\n{server}"));
        std::fs::create_dir(host.home()).unwrap();
        let path = task_lock(&host.home(), "pg", "receive-wal");
        let script = format!(
            "exec 9>>{0}; flock 9; echo $$ > {0}; echo up; exec sleep 60",
            path.display()
        );
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        assert_eq!(line, "up\n");
        let (report, told) = host.run();
        let pid = child.id();
        assert!(!child.wait().unwrap().success());
        assert!(
            told.contains(&format!("Stopped process receive-wal({pid})")),
            "{told:?}"
        );
        let inactive = "Server 'pg' is inactive: stopping receive-wal subprocess".to_owned();
        assert_eq!(told.contains(&inactive), server.starts_with("active"));
        assert!(!report.failed);
    }
}

#[test]
fn one_server_that_fails_does_not_stop_the_next() {
    let host = Host::new(&format!(
        "[a/b]\n{STREAMING}[c]\n{STREAMING}[p]\nprimary_ssh_command = ssh b\n"
    ));
    let (report, told) = host.run();
    assert!(report.failed);
    assert_eq!(tasks(&report), ["archive-wal c", "receive-wal c"]);
    assert!(told.first().unwrap().starts_with("ERROR: "), "{told:?}");
    assert!(told.last().unwrap().contains("not available yet"), "{told:?}");
}
