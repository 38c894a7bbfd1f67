//! delete, check-backup, list-backups, show-backup and retention over catalogues on disk, some of them with what
//! Barman 3.20.1 said and left behind. No PostgreSQL is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use barman_catalog::annotations::{self, DELETE_THIS};
use barman_catalog::backup_info::{self, BackupInfo};
use barman_catalog::deletion::{self, DeletionObserver, Trigger, WalDecision, WalRemoval};
use barman_catalog::xlogdb::CustomMagic;
use barman_catalog::{BackupId, BackupStatus, Catalog, Keep, Layout, Timestamp};
use barman_core::config::Config;
use barman_core::context::{Cancel, Clock, Context, Level, Message, Progress, SystemClock};
use barman_core::failure::{Class, Failure};
use barman_core::ops::check_backup::{self, Occasion};
use barman_core::ops::delete::{self, DeleteError};
use barman_core::ops::list_backups::{self, Detail, Problem};
use barman_core::ops::show_backup;
use barman_core::server::Server;
use barman_wal::lock::Lock;
use serde_json::Value;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

/// Everything an operation said.
#[derive(Default)]
struct Said(Mutex<Vec<(Level, String)>>);

impl Progress for Said {
    fn message(&self, message: Message<'_>) {
        self.0
            .lock()
            .unwrap()
            .push((message.level, message.text.to_owned()));
    }
}

impl Said {
    fn at(&self, level: Level) -> Vec<String> {
        let said = self.0.lock().unwrap();
        said.iter()
            .filter(|(l, _)| *l == level)
            .map(|(_, text)| text.clone())
            .collect()
    }
}

struct Node {
    server: Server,
    said: Said,
    cancel: Cancel,
    home: tempfile::TempDir,
}

impl Node {
    fn new(settings: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join("barman.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[pg]\nbackup_method = postgres\nconninfo = host=nowhere\n\
             streaming_conninfo = host=nowhere\nstreaming_archiver = on\nslot_name = b\n{settings}\n",
            home.path().join("home").display()
        );
        fs::write(&conf, text).unwrap();
        let config = Config::load(&conf, None).unwrap();
        let server = Server::new(config.server("pg").unwrap().clone());
        let layout = server.layout();
        for directory in ["base", "meta", "wals", "incoming", "streaming", "errors"] {
            fs::create_dir_all(layout.backup_directory.join(directory)).unwrap();
        }
        Self {
            server,
            said: Said::default(),
            cancel: Cancel::new(),
            home,
        }
    }

    fn layout(&self) -> &Layout {
        self.server.layout()
    }

    fn ctx(&self) -> Context<'_> {
        Context {
            progress: &self.said,
            cancel: &self.cancel,
            clock: &SystemClock,
        }
    }

    /// A backup with `begin` and `end` as segment numbers of timeline 1.
    fn add(&self, id: &str, status: BackupStatus, wal: Option<(u32, u32)>, parent: Option<&str>) -> BackupId {
        let mut info = BackupInfo::new(id.parse().unwrap(), "pg", Some("postgres".into()));
        info.status = status;
        info.parent_backup_id = parent.map(|p| p.parse().unwrap());
        info.begin_wal = wal.and_then(|(begin, _)| segment(begin).parse().ok());
        info.end_wal = wal.and_then(|(_, end)| segment(end).parse().ok());
        info.timeline = info.begin_wal.map(|w| w.timeline);
        info.end_time = Some(Timestamp::from_zoned(&SystemClock.now()));
        backup_info::save(self.layout(), &info).unwrap();
        fs::create_dir_all(self.layout().base_directory(info.id).join("data")).unwrap();
        info.id
    }

    fn archive(&self, numbers: impl IntoIterator<Item = u32>) {
        let mut lines = fs::read_to_string(self.layout().xlogdb()).unwrap_or_default();
        for number in numbers {
            put(self.layout(), &segment(number), "x");
            lines.push_str(&format!("{}\t1\t1795236795.5\tNone\tNone\n", segment(number)));
        }
        fs::write(self.layout().xlogdb(), lines).unwrap();
    }

    fn ids(&self) -> Vec<String> {
        Catalog::load(self.layout())
            .unwrap()
            .backups()
            .map(|b| b.id.to_string())
            .collect()
    }

    fn status(&self, id: BackupId) -> BackupStatus {
        backup_info::load(self.layout(), id).unwrap().status
    }
}

fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn put(layout: &Layout, name: &str, content: &str) {
    let path = layout.wal_path(&name.parse().unwrap());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn oracle() -> Value {
    serde_json::from_str(include_str!(
        "../../barman-catalog/tests/data/oracle-catalogues.json"
    ))
    .unwrap()
}

/// Puts the catalogue of a fixture on disk.
fn lay_out(node: &Node, fixture: &Value) {
    let layout = node.layout();
    for info in list(&fixture["infos"]) {
        let id = text(&info[0]).parse().unwrap();
        fs::write(layout.backup_info(id), text(&info[1])).unwrap();
        let base = layout.base_directory(id);
        fs::create_dir_all(base.join("data")).unwrap();
        fs::create_dir_all(base.join("16384")).unwrap();
        fs::write(base.join("data/PG_VERSION"), "15\n").unwrap();
    }
    let mut db = String::new();
    for wal in list(&fixture["wals"]) {
        put(layout, text(&wal[0]), "x");
        let time = barman_catalog::python_literal::float_repr(wal[2].as_f64().unwrap());
        db.push_str(&format!(
            "{}\t{}\t{time}\t{}\tNone\n",
            text(&wal[0]),
            wal[1],
            text(&wal[3])
        ));
    }
    fs::write(layout.xlogdb(), db).unwrap();
    for (id, how) in fixture["keeps"].as_object().unwrap() {
        fs::write(layout.annotation(id.parse().unwrap(), "keep"), text(how)).unwrap();
    }
}

fn tree(root: &Path, below: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() {
            found.push(format!("{name}/"));
            tree(root, &path, found);
        } else {
            found.push(name);
        }
    }
}

/// Barman removes this segment in one of the cases although a whole backup on timeline 1 can be restored along it to
/// timeline 2: the only difference.
const SPARED: &str = "00000002000000000000000A";

fn is_spared(fixture: &Value) -> bool {
    let infos = list(&fixture["infos"]);
    let begins = |at: usize, wal: &str| {
        infos
            .get(at)
            .is_some_and(|info| text(&info[1]).contains(&format!("begin_wal={wal}\n")))
    };
    begins(1, "00000002000000000000000B") && begins(2, "000000010000000000000008")
}

fn without_spared(content: &str) -> String {
    let lines = content
        .split_inclusive('\n')
        .filter(|line| !line.contains(SPARED));
    lines.collect()
}

#[test]
fn delete_says_and_leaves_what_barman_does() {
    for fixture in list(&oracle()["deletes"]) {
        let node = Node::new(text(&fixture["extra"]));
        lay_out(&node, fixture);
        let id = text(&fixture["id"]);
        let result = delete::run(&node.server, id, &node.ctx());
        assert_eq!(result.is_err(), fixture["code"] != 0, "{id}");
        if let Err(e) = result {
            assert_eq!(
                (e.to_string(), e.class()),
                (format!("Cannot delete backup (pg {id})"), Class::Error)
            );
            let warnings = node.said.at(Level::Warning);
            assert!(warnings[0].starts_with(&format!("Skipping delete of backup {id} for server pg ")));
        }
        let spared = is_spared(fixture);
        let mut said = node.said.at(Level::Info);
        said.retain(|line| !line.starts_with("Deleted backup "));
        let expected: Vec<&str> = list(&fixture["lines"])
            .iter()
            .map(text)
            .filter(|l| !(l.is_empty() || spared && l.contains(SPARED)))
            .collect();
        assert_eq!(said, expected, "{id}");
        let mut found = Vec::new();
        let root = &node.layout().backup_directory;
        tree(root, root, &mut found);
        found.sort();
        if spared {
            let before = found.len();
            found.retain(|path| !path.ends_with(SPARED));
            assert_eq!(found.len(), before - 1);
        }
        let mut expected: Vec<&str> = list(&fixture["tree"]).iter().map(text).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{id}");
        let mut listed = fs::read_to_string(node.layout().xlogdb()).unwrap();
        if spared {
            listed = without_spared(&listed);
        }
        assert_eq!(listed, text(&fixture["xlogdb"]), "{id}");
    }
}

#[test]
fn the_last_line_tells_when_and_how_long() {
    let node = Node::new("");
    node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    let report = delete::run(&node.server, "oldest", &node.ctx()).unwrap();
    assert_eq!(report.deleted.len(), 1);
    let last = node.said.at(Level::Info).pop().unwrap();
    let (before, after) = last.split_once(" (start time: ").unwrap();
    assert_eq!(before, "Deleted backup 20260101T000000");
    let (_, elapsed) = after.split_once(", elapsed time: ").unwrap();
    // How long that is the machine decides.
    assert!(
        elapsed == "less than one second)" || elapsed.ends_with(" second)") || elapsed.ends_with(" seconds)"),
        "{last}"
    );
    assert!(!node.layout().id_lock("20260101T000000".parse().unwrap()).exists());
}

#[test]
fn check_backup_decides_as_barman_does() {
    for fixture in list(&oracle()["checks"]) {
        let node = Node::new("");
        let id: BackupId = "20260101T000000".parse().unwrap();
        fs::write(node.layout().backup_info(id), text(&fixture["info"])).unwrap();
        for wal in list(&fixture["wals"]) {
            put(node.layout(), text(wal), "x");
        }
        let result = check_backup::run(&node.server, id, Occasion::Command, &node.ctx());
        let info = backup_info::load(node.layout(), id).unwrap();
        assert_eq!(
            info.status.as_str(),
            text(&fixture["status"]),
            "{}",
            fixture["wals"]
        );
        assert_eq!(
            info.error.as_deref().unwrap_or("None"),
            text(&fixture["error"]),
            "{}",
            fixture["wals"]
        );
        assert_eq!(result.is_err(), fixture["code"] != 0, "{}", fixture["wals"]);
        if let Err(e) = result
            && info.error.as_deref() != Some("failure copying files (x)")
        {
            assert_eq!(format!("ERROR: {e}\n"), text(&fixture["stderr"]));
        }
    }
}

#[test]
fn a_hole_is_given_time_unless_a_user_asks() {
    let node = Node::new("");
    let id = node.add(
        "20260101T000000",
        BackupStatus::WaitingForWals,
        Some((3, 5)),
        None,
    );
    node.archive([3, 5]);
    let check = |occasion| check_backup::run(&node.server, id, occasion, &node.ctx());
    let report = check(Occasion::Automatic).unwrap();
    assert_eq!(report.first_missing.map(|s| s.to_string()), Some(segment(4)));
    // On its way: not even a user's question makes it fail.
    fs::write(
        node.layout()
            .streaming_wals_directory
            .join(format!("{}.partial", segment(4))),
        "x",
    )
    .unwrap();
    assert_eq!(
        check(Occasion::Command).unwrap().status,
        BackupStatus::WaitingForWals
    );
    fs::remove_file(
        node.layout()
            .streaming_wals_directory
            .join(format!("{}.partial", segment(4))),
    )
    .unwrap();
    assert!(matches!(
        check(Occasion::Command),
        Err(check_backup::CheckBackupError::MarkedFailed { .. })
    ));
    assert_eq!(node.status(id), BackupStatus::Failed);
    // Failed for nothing else, it is whole when the WAL has come, and a user asks.
    assert!(check(Occasion::Command).is_err());
    node.archive([4]);
    assert!(check(Occasion::Automatic).is_err());
    assert_eq!(check(Occasion::Command).unwrap().status, BackupStatus::Done);
    assert_eq!(backup_info::load(node.layout(), id).unwrap().error, None);
}

#[test]
fn wal_that_comes_does_not_make_a_half_deleted_backup_good() {
    let node = Node::new("");
    let id = node.add(
        "20260101T000000",
        BackupStatus::WaitingForWals,
        Some((3, 5)),
        None,
    );
    node.archive([3, 5]);
    let check = || check_backup::run(&node.server, id, Occasion::Command, &node.ctx());
    assert!(check().is_err());
    assert_eq!(node.status(id), BackupStatus::Failed);
    // A deletion that dies once the data is gone.
    struct Dies;
    impl DeletionObserver for Dies {
        fn wal_done(&mut self, _: &WalDecision, _: &WalRemoval) {
            panic!("killed");
        }
    }
    let (data, custom) = (
        node.layout().base_directory(id).join("data"),
        CustomMagic::default(),
    );
    let mut catalog = Catalog::load(node.layout()).unwrap();
    let died = catch_unwind(AssertUnwindSafe(|| {
        let manual = Trigger::Manual;
        deletion::delete_backup(node.layout(), &mut catalog, id, manual, &custom, &mut Dies, None)
    }));
    assert!(died.is_err() && !data.exists());
    node.archive([3, 5]);
    node.archive([4]);
    let refused = check().unwrap_err();
    assert!(refused.to_string().contains("is being deleted"), "{refused}");
    // Also for Barman, which does not look for the mark.
    let info = backup_info::load(node.layout(), id).unwrap();
    assert_eq!(info.status, BackupStatus::Failed);
    assert_eq!(info.error.as_deref(), Some("deletion not completed"));
}

#[test]
fn nobody_checks_a_backup_that_is_being_worked_on() {
    let node = Node::new("");
    let id = node.add("20260101T000000", BackupStatus::Started, Some((3, 3)), None);
    node.archive([3]);
    assert_eq!(
        check_backup::run(&node.server, id, Occasion::Command, &node.ctx())
            .unwrap()
            .status,
        BackupStatus::Started
    );
    let _held = Lock::try_acquire(&node.layout().id_lock(id)).unwrap();
    let busy = check_backup::run(&node.server, id, Occasion::Command, &node.ctx()).unwrap_err();
    assert_eq!(busy.class(), Class::Info);
}

#[test]
fn lists_survive_killed_backups_and_broken_files() {
    let node = Node::new("retention_policy = REDUNDANCY 1\n");
    node.add("20260101T000000", BackupStatus::Done, Some((2, 3)), None);
    node.add("20260102T000000", BackupStatus::Started, None, None);
    node.add("20260103T000000", BackupStatus::Done, Some((5, 5)), None);
    let broken: BackupId = "20260104T000000".parse().unwrap();
    fs::write(node.layout().backup_info(broken), "status=DONE\ngarbage\n").unwrap();
    // An incremental whose root is gone.
    node.add(
        "20260105T000000",
        BackupStatus::Done,
        Some((6, 6)),
        Some("20250101T000000"),
    );
    fs::write(
        node.layout().backup_info("20260106T000000".parse().unwrap()),
        "status=EMPTY\n",
    )
    .unwrap();
    node.archive([2, 3, 4, 5]);
    let mut db = fs::read_to_string(node.layout().xlogdb()).unwrap();
    db.push_str("not-a-wal\t1\t2.0\tNone\tNone\n");
    fs::write(node.layout().xlogdb(), db + &segment(6)[..10]).unwrap();

    let report = list_backups::run(&node.server, Detail::Full, &node.ctx()).unwrap();
    let lines: Vec<String> = report
        .backups
        .iter()
        .map(|b| {
            let complete = b.complete.as_ref();
            let numbers = complete.map_or(String::new(), |c| {
                format!(
                    " {} {} {}",
                    c.size_bytes,
                    c.wal_size_bytes,
                    c.retention_status.unwrap().as_str()
                )
            });
            format!("{} {}{numbers}", b.backup_id, b.status)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "20260106T000000 EMPTY",
            "20260105T000000 DONE 0 0 -",
            "20260103T000000 DONE 1 0 VALID",
            "20260102T000000 STARTED",
            "20260101T000000 DONE 2 2 OBSOLETE",
        ]
    );
    let [
        Problem::Backup { id, text: first },
        Problem::WalCatalogue { text: second },
    ] = report.problems.as_slice()
    else {
        panic!("{:?}", report.problems)
    };
    assert!(
        *id == Some(broken) && first.contains("20260104T000000") && first.contains("line 2"),
        "{first}"
    );
    assert!(
        second.contains("barman rebuild-xlogdb pg") && second.contains("not-a-wal"),
        "{second}"
    );
    let minimal = list_backups::run(&node.server, Detail::Minimal, &node.ctx()).unwrap();
    assert_eq!((minimal.backups.len(), minimal.problems.len()), (5, 1));

    let shown = show_backup::run(&node.server, "20260105T000000", &node.ctx()).unwrap();
    let chain = shown.chain.unwrap();
    assert_eq!(
        (chain.root.as_str(), chain.parent.as_str(), chain.size),
        ("20260105T000000", "20250101T000000", 1)
    );
    assert_eq!(shown.retention.as_str(), "-");
    assert!(show_backup::run(&node.server, "fail", &node.ctx()).is_err());
    let unreadable = show_backup::run(&node.server, "20260104T000000", &node.ctx()).unwrap_err();
    assert!(unreadable.to_string().contains("line 2"), "{unreadable}");
}

#[test]
fn a_compressed_history_file_is_read_too() {
    let node = Node::new("");
    let id = node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    backup_info::update(node.layout(), id, |i| i.end_xlog = "0/2000100".parse().ok()).unwrap();
    let path = node.layout().wal_path(&"00000002.history".parse().unwrap());
    let mut encoder = barman_wal::codec::encoder(
        barman_wal::codec::Algorithm::Gzip,
        barman_wal::codec::Level::default(),
        Vec::new(),
    )
    .unwrap();
    std::io::Write::write_all(&mut encoder, b"1\t0/3000000\tpromoted\n").unwrap();
    fs::write(path, encoder.finish().unwrap()).unwrap();
    let shown = show_backup::run(&node.server, "latest", &node.ctx()).unwrap();
    assert_eq!(
        shown.child_timelines.iter().map(|t| t.get()).collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn hook_scripts_run_around_what_goes() {
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("hooks");
    let line = |what: &str| format!("echo {what} >> {}", log.display());
    let backup = "$BARMAN_PHASE $BARMAN_BACKUP_ID $BARMAN_STATUS [$BARMAN_PREVIOUS_ID] [$BARMAN_NEXT_ID]";
    let wal = "$BARMAN_PHASE $BARMAN_SEGMENT $BARMAN_SIZE $BARMAN_TIMESTAMP";
    let node = Node::new(&format!(
        "pre_delete_script = {b}\npost_delete_script = {b}\npre_wal_delete_script = {w}\npost_wal_delete_script = {w}\n",
        b = line(backup),
        w = line(wal),
    ));
    node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    node.add("20260102T000000", BackupStatus::Done, Some((3, 3)), None);
    node.archive([2, 3]);
    delete::run(&node.server, "first", &node.ctx()).unwrap();
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        format!(
            "pre 20260101T000000 DONE [] [20260102T000000]\npre {s} 1 1795236795.5\npost {s} 1 1795236795.5\n\
             post 20260101T000000 DONE [] [20260102T000000]\n",
            s = segment(2)
        )
    );
}

#[test]
fn a_retry_script_that_says_63_stops_the_deletion() {
    let node = Node::new("pre_delete_retry_script = exit 63\n");
    let id = node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    let error = delete::run(&node.server, "first", &node.ctx()).unwrap_err();
    assert_eq!(error.class(), Class::Exception);
    assert_eq!(node.status(id), BackupStatus::Done);
    assert!(!node.layout().annotation(id, DELETE_THIS).exists());
    assert!(node.layout().data_directory(id).exists());
}

#[test]
fn delete_gives_way_to_a_running_backup() {
    let node = Node::new("");
    node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    let _running = Lock::try_acquire(&node.layout().backup_lock()).unwrap();
    let error = delete::run(&node.server, "first", &node.ctx()).unwrap_err();
    assert!(matches!(error, DeleteError::Busy { .. }));
    assert_eq!(error.to_string(), "Cannot delete backup (pg 20260101T000000)");
    assert_eq!(node.said.at(Level::Error).len(), 1);
    assert_eq!(node.ids().len(), 1);
    // Retention just comes back later.
    assert!(
        delete::enforce_retention(&node.server, &node.ctx())
            .unwrap()
            .deleted
            .is_empty()
    );
}

#[test]
fn retention_deletes_trees_leaves_first_and_nothing_kept() {
    let node = Node::new("retention_policy = REDUNDANCY 1\n");
    let root = node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    node.add(
        "20260102T000000",
        BackupStatus::Done,
        Some((3, 3)),
        Some("20260101T000000"),
    );
    node.add(
        "20260103T000000",
        BackupStatus::Failed,
        None,
        Some("20260102T000000"),
    );
    let kept = node.add("20260104T000000", BackupStatus::Done, Some((5, 6)), None);
    node.add("20260105T000000", BackupStatus::Failed, None, None);
    node.add("20260106T000000", BackupStatus::Done, Some((8, 9)), None);
    annotations::write_keep(node.layout(), kept, Keep::Standalone).unwrap();
    node.archive(1..=9);
    let report = delete::enforce_retention(&node.server, &node.ctx()).unwrap();
    let deleted: Vec<&str> = report.deleted.iter().map(BackupId::as_str).collect();
    assert_eq!(deleted, ["20260103T000000", "20260102T000000", "20260101T000000"]);
    assert_eq!(
        node.ids(),
        ["20260104T000000", "20260105T000000", "20260106T000000"]
    );
    let left = fs::read_to_string(node.layout().xlogdb()).unwrap();
    assert!(left.starts_with(&segment(5)), "{left}");
    assert!(!node.layout().base_directory(root).exists());
    assert!(
        delete::enforce_retention(&node.server, &node.ctx())
            .unwrap()
            .deleted
            .is_empty()
    );
}

#[test]
fn an_interrupted_deletion_is_finished_without_a_policy() {
    let node = Node::new("minimum_redundancy = 5\n");
    let id = node.add("20260101T000000", BackupStatus::Done, Some((2, 2)), None);
    node.add("20260102T000000", BackupStatus::Done, Some((4, 4)), None);
    annotations::write(node.layout(), id, DELETE_THIS, b"delete").unwrap();
    fs::remove_dir_all(node.layout().data_directory(id)).unwrap();
    let listed = list_backups::run(&node.server, Detail::Full, &node.ctx()).unwrap();
    assert!(listed.backups[1].being_deleted && !listed.backups[0].being_deleted);
    let report = delete::enforce_retention(&node.server, &node.ctx()).unwrap();
    assert_eq!(report.deleted, [id]);
    assert_eq!(node.ids(), ["20260102T000000"]);
    assert!(node.home.path().exists());
}
