//! Catalogues on disk: files of the specification byte for byte, broken files, crashes, the WAL catalogue under use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use barman_catalog::annotations::{self, DELETE_THIS};
use barman_catalog::backup_info::{self, BackupInfo, StoreError};
use barman_catalog::deletion::{
    self, DeletionError, DeletionObserver, LimitReason, NoObserver, Trigger, WalPlan,
};
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::xlogdb::{self, CustomMagic, LockedXlogDb, Tag, WalRecord};
use barman_catalog::{BackupId, BackupStatus, BrokenBackup, Catalog, Keep, Layout, Tablespace};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

const STREAMED: &str = r#"backup_label='START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\nCHECKPOINT LOCATION: 0/3000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-21 04:47:27 UTC\nLABEL: pg_basebackup base backup\nSTART TIMELINE: 1\n'
backup_name=first one
begin_offset=40
begin_time=2026-11-21 04:47:24.066066+00:00
begin_wal=000000010000000000000003
begin_xlog=0/3000028
children_backup_ids=None
cluster_size=23203529
compression=None
config_file=/pg/p15/postgresql.conf
copy_stats={'copy_time': 4.626641, 'total_time': 4.626641}
data_checksums=on
deduplicated_size=23195571
encryption=None
end_offset=0
end_time=2026-11-21 04:47:28.710168+00:00
end_wal=000000010000000000000003
end_xlog=0/4000000
error=None
hba_file=/pg/p15/pg_hba.conf
ident_file=/pg/p15/pg_ident.conf
included_files=['/srv/pg/postgresql.auto.conf']
mode=postgres
parent_backup_id=None
pgdata=/pg/p15
server_name=p15
size=23195571
status=DONE
summarize_wal=None
systemid=7710481529789920731
tablespaces=[("my ts'1", 16384, '/pg/ts15')]
timeline=1
version=150018
xlog_segment_size=16777216
"#;

const NEW: &str = "backup_label=None
begin_offset=None
begin_time=None
begin_wal=None
begin_xlog=None
children_backup_ids=None
cluster_size=None
compression=None
config_file=None
copy_stats=None
data_checksums=None
deduplicated_size=None
encryption=None
end_offset=None
end_time=None
end_wal=None
end_xlog=None
error=None
hba_file=None
ident_file=None
included_files=None
mode=postgres
parent_backup_id=None
pgdata=None
server_name=pg
size=None
status=EMPTY
summarize_wal=None
systemid=None
tablespaces=None
timeline=None
version=None
xlog_segment_size=16777216
";

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

const ID: &str = "20261121T044724";

fn parse(text: &str) -> BackupInfo {
    BackupInfo::parse(id(ID), "pg", text.as_bytes()).unwrap()
}

struct Home {
    layout: Layout,
    _directory: tempfile::TempDir,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    Home {
        layout: Layout::new("pg", directory.path()),
        _directory: directory,
    }
}

#[test]
fn the_example_of_the_specification_survives_byte_for_byte() {
    let info = parse(STREAMED);
    assert_eq!(info.to_text().unwrap(), STREAMED);
    assert_eq!(info.backup_name.as_deref(), Some("first one"));
    assert_eq!(
        info.tablespaces,
        [Tablespace {
            name: "my ts'1".into(),
            oid: 16384,
            location: "/pg/ts15".into()
        }]
    );
    assert!(
        info.label_text()
            .unwrap()
            .starts_with("START WAL LOCATION: 0/3000028 (file 0")
    );
    assert_eq!(info.copy_stats.unwrap().copy_time(), Some(4.626641));
}

#[test]
fn a_new_backup_has_no_more_than_barman_gives_it() {
    let info = BackupInfo::new(id(ID), "pg", Some("postgres".into()));
    assert_eq!(info.to_text().unwrap(), NEW);
    assert_eq!(parse("status=EMPTY\n"), BackupInfo { mode: None, ..info });
}

#[test]
fn fields_of_a_newer_barman_survive() {
    let text = NEW.replace("error=None\n", "error=None\nfuture={'x': [1]}\n") + "zeta=None\n";
    let info = parse(&text);
    assert_eq!(info.unknown.len(), 2);
    assert_eq!(info.to_text().unwrap(), text);
}

#[test]
fn the_label_of_a_passive_node_is_decoded_twice() {
    let label = r#""'START WAL LOCATION: 0/3000028\\nLABEL: it is\\n'""#;
    let text = NEW.replace("backup_label=None", &format!("backup_label={label}"));
    let info = parse(&text);
    assert_eq!(
        info.label_text().as_deref(),
        Some("START WAL LOCATION: 0/3000028\nLABEL: it is\n")
    );
    assert_eq!(info.to_text().unwrap(), text);
}

#[test]
fn a_broken_line_is_named() {
    for (text, line, reason) in [
        ("status=DONE\ngarbage\n", 2, "no '='"),
        ("\n# x\nstatus=RUNNING\n", 3, "unknown backup status"),
        ("size=12x\n", 1, "no number"),
        ("timeline=0\n", 1, "no timeline"),
        ("xlog_segment_size=3\n", 1, "xlog_segment_size"),
        ("begin_wal=00000001\n", 1, "begin_wal"),
        ("tablespaces=[('a', 1)]\n", 1, "not a list of"),
        ("copy_stats=open('/etc/passwd')\n", 1, "not a Python literal"),
        ("begin_time=yesterday\n", 1, "not a date"),
        ("parent_backup_id=../../etc\n", 1, "not a backup id"),
        ("pgdata=\u{fffd}\n", 0, ""),
    ] {
        match BackupInfo::parse(id(ID), "pg", text.as_bytes()) {
            Ok(_) => assert_eq!(line, 0, "{text}"),
            Err(e) => assert!(e.line == line && e.reason.contains(reason), "{text}: {e}"),
        }
    }
    assert!(BackupInfo::parse(id(ID), "pg", b"pgdata=\xff\n").is_err());
}

#[test]
fn what_would_not_read_back_is_not_written() {
    for value in ["two\nlines", " blank", "blank ", "cr\r"] {
        let mut info = BackupInfo::new(id(ID), "pg", None);
        info.pgdata = Some(value.to_owned());
        assert_eq!(info.to_text().unwrap_err().field, "pgdata");
    }
    // The reason of a failure is cut to its first line.
    let mut info = BackupInfo::new(id(ID), "pg", None);
    info.set_failed("copying files", "no space left\non device");
    assert!(
        info.to_text()
            .unwrap()
            .contains("error=failure copying files (no space left)\n")
    );
}

#[test]
fn broken_files_hide_nobody_else() {
    let home = home();
    let layout = &home.layout;
    fs::create_dir_all(layout.meta_directory()).unwrap();
    for (name, content) in [
        ("20260101T000000-backup.info", "status=DONE\nmode=postgres\n"),
        ("20260102T000000-backup.info", "status=DONE\nend_time\n"),
        // As a crash may leave that of a whole backup.
        ("20260103T000000-backup.info", ""),
        ("nonsense-backup.info", "status=DONE\n"),
        (".20260104T000000-backup.info.123-0.tmp", "status=DONE\n"),
        ("20260104T000000-backup.info.tmp", "status=DONE\n"),
        ("20260101T000000-keep", "standalone\n"),
        ("20260105T000000-delete_this", "delete"),
    ] {
        fs::write(layout.meta_directory().join(name), content).unwrap();
    }
    // The place before 3.13.2, and both places.
    for (id, status) in [("20250101T000000", "FAILED"), ("20260101T000000", "STARTED")] {
        let path = layout.old_backup_info(id.parse().unwrap());
        fs::create_dir_all(path.parent().unwrap().join("annotations")).unwrap();
        fs::write(path, format!("status={status}\n")).unwrap();
    }
    fs::write(layout.old_annotation(id("20250101T000000"), "keep"), "").unwrap();
    let catalog = Catalog::load(layout).unwrap();
    let found: Vec<_> = catalog
        .backups()
        .map(|b| (b.id.to_string(), b.status.as_str()))
        .collect();
    let expected = [("20250101T000000", "FAILED"), ("20260101T000000", "DONE")];
    assert_eq!(found, expected.map(|(id, s)| (id.to_owned(), s)));
    let broken: Vec<_> = catalog
        .broken()
        .iter()
        .map(|b| (b.id.map(|i| i.to_string()), b.reason.as_str()))
        .collect();
    assert_eq!(broken.len(), 3, "{broken:?}");
    for (unreadable, reason) in [
        ("20260102T000000", "line 2"),
        ("20260103T000000", "line 1: the file is empty"),
    ] {
        let named = |b: &&BrokenBackup| b.id == Some(id(unreadable));
        let found = catalog.broken().iter().find(named).unwrap();
        assert!(found.reason.starts_with(reason), "{found:?}");
    }
    assert_eq!(catalog.keep(id("20260101T000000")), Some(Keep::Standalone));
    assert_eq!(catalog.keep(id("20250101T000000")), Some(Keep::Full));
    assert_eq!(
        catalog.stale_deletions().collect::<Vec<_>>(),
        [id("20260105T000000")]
    );
    assert_eq!(catalog.highest_id(), Some(id("20260105T000000")));
    let unreadable = ids::resolve(&catalog, "20260102T000000");
    assert!(matches!(unreadable, Err(ResolveError::Unreadable { .. })));
    for unknown in ["", "20260101T000000\n"] {
        assert!(
            matches!(ids::resolve(&catalog, unknown), Err(ResolveError::Unknown { .. })),
            "{unknown:?}"
        );
    }
}

#[test]
fn a_change_is_made_to_what_is_there_now_and_under_the_lock() {
    let home = home();
    let layout = &home.layout;
    let stale = parse(STREAMED);
    backup_info::save(layout, &stale).unwrap();
    backup_info::update(layout, id(ID), |info| {
        info.children_backup_ids.push(id("20261121T050000"));
    })
    .unwrap();
    let now = backup_info::update(layout, id(ID), |info| info.status = BackupStatus::Failed).unwrap();
    assert_eq!(now.children_backup_ids, [id("20261121T050000")]);
    let _held = barman_wal::lock::Lock::try_acquire(&layout.id_lock(id(ID))).unwrap();
    assert!(matches!(
        backup_info::update(layout, id(ID), |_| {}),
        Err(StoreError::Lock { .. })
    ));
    let missing = backup_info::load(layout, id("20200101T000000"));
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    // No temporary file is left, and the mode is that of Barman's files.
    let names: Vec<_> = fs::read_dir(layout.meta_directory())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [format!("{ID}-backup.info").as_str()]);
}

#[test]
fn annotations_move_from_their_old_place_when_written() {
    let home = home();
    let layout = &home.layout;
    let old = layout.old_annotation(id(ID), annotations::KEEP);
    fs::create_dir_all(old.parent().unwrap()).unwrap();
    fs::write(&old, "standalone").unwrap();
    assert_eq!(
        annotations::read_keep(layout, id(ID)).unwrap(),
        Some(Keep::Standalone)
    );
    annotations::write_keep(layout, id(ID), Keep::Full).unwrap();
    assert!(!old.exists());
    assert_eq!(
        fs::read_to_string(layout.annotation(id(ID), "keep")).unwrap(),
        "full"
    );
    annotations::remove(layout, id(ID), annotations::KEEP).unwrap();
    annotations::remove(layout, id(ID), annotations::KEEP).unwrap();
    assert_eq!(annotations::read_keep(layout, id(ID)).unwrap(), None);
    assert!(layout.meta_directory().exists());
}

fn record(name: &str) -> WalRecord {
    WalRecord {
        name: name.parse().unwrap(),
        size: 7,
        time: 1795236795.5,
        compression: Tag::new("pigz"),
        encryption: None,
    }
}

fn archive(layout: &Layout, name: &str, content: &[u8]) {
    let path = layout.wal_path(&name.parse().unwrap());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

const W1: &str = "000000010000000000000001";
const W2: &str = "000000010000000000000002";
const W3: &str = "000000010000000000000003";

fn names(db: &xlogdb::XlogDb) -> Vec<String> {
    db.iter().map(|r| r.name.to_string()).collect()
}

#[test]
fn a_torn_line_is_repaired_before_the_next_one() {
    let line = format!("{}\n", record(W2));
    for cut in 0..=line.len() {
        let home = home();
        let layout = &home.layout;
        archive(layout, W1, b"x");
        archive(layout, W2, b"\x1f\x8b\x08");
        fs::write(layout.xlogdb(), format!("{}\n{}", record(W1), &line[..cut])).unwrap();
        let mut db = LockedXlogDb::open(layout, &CustomMagic::None, None).unwrap();
        db.append(&[record(W3)]).unwrap();
        let text = fs::read_to_string(layout.xlogdb()).unwrap();
        let db = db.read().unwrap();
        assert!(
            db.bad_lines().is_empty() && db.torn_line().is_none(),
            "{cut}: {text}"
        );
        // The file of the torn line is in the archive: once its name is known it is listed, by what it looks like.
        let expected = if cut < W2.len() {
            vec![W1, W3]
        } else {
            vec![W1, W2, W3]
        };
        assert_eq!(names(&db), expected, "{cut}: {text}");
        assert!(text.ends_with(&format!("\n{}\n", record(W3))));
    }
}

#[test]
fn a_missing_catalogue_is_made_from_the_archive() {
    let home = home();
    let layout = &home.layout;
    assert!(xlogdb::read(layout, &CustomMagic::None, None).unwrap().is_empty());
    assert!(!layout.wals_directory.exists());
    archive(layout, W2, b"\x1f\x8b\x08");
    archive(layout, W1, b"\x85\x01\x0c\x03");
    archive(layout, "000000010000000000000002.00000028.backup", b"START WAL");
    archive(layout, "000000010000000000000003.partial", b"x");
    archive(layout, "00000002.history", b"1\t0/3000000\tx\n");
    fs::write(
        layout
            .wals_directory
            .join("0000000100000000/000000010000000000000009.tmp"),
        "x",
    )
    .unwrap();
    // Good names in wrong places, where nobody would find the files: no lines for them.
    for misplaced in [
        "0000000100000001/000000010000000000000007",
        "0000000100000000/00000003.history",
        "0000000100000000/00000001000000000000000a",
        "000000010000000000000008",
    ] {
        let path = layout.wals_directory.join(misplaced);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    // Names that are no text, at both levels.
    fs::create_dir(layout.wals_directory.join(OsStr::from_bytes(b"dir\xfe"))).unwrap();
    for odd in [&b"top\xff"[..], b"dir\xfe/f", b"0000000100000000/\xffin\nside"] {
        fs::write(layout.wals_directory.join(OsStr::from_bytes(odd)), "x").unwrap();
    }
    fs::write(layout.wals_directory.join("xlog.db"), "old").unwrap();
    let mut locked = LockedXlogDb::open(layout, &CustomMagic::None, None).unwrap();
    locked
        .append(&[record(W2), record("000000010000000000000004")])
        .unwrap();
    let db = locked.read().unwrap();
    let label = "000000010000000000000002.00000028.backup";
    let partial = "000000010000000000000003.partial";
    assert_eq!(
        names(&db),
        [
            W1,
            W2,
            label,
            partial,
            "00000002.history",
            "000000010000000000000004"
        ]
    );
    let facts: Vec<_> = db
        .iter()
        .map(|r| (r.compression.map(|c| c.to_string()), r.encryption.is_some()))
        .collect();
    assert_eq!(facts[0], (None, true));
    assert_eq!(facts[1], (Some("gzip".to_owned()), false));
    assert!(!layout.old_xlogdb().exists());
    // What an encrypted file is compressed with cannot be seen; a rebuild keeps what was known.
    let mut known = xlogdb::XlogDb::default();
    known.push(&WalRecord {
        compression: Tag::new("zstd"),
        encryption: Tag::new("gpg"),
        ..record(W1)
    });
    let (db, report) = locked.rebuild(&known).unwrap();
    assert_eq!(db.get(0).unwrap().compression, Tag::new("zstd"));
    assert_eq!(
        (
            report.wal_file,
            report.backup_labels,
            report.history,
            report.partial
        ),
        (2, 1, 1, 1)
    );
    let root = layout.wals_directory.to_str().unwrap();
    let shown: Vec<_> = report.strangers.iter().map(|path| &path[root.len()..]).collect();
    assert_eq!(
        shown,
        [
            "/000000010000000000000008",
            "/top\\xff",
            "/0000000100000000/000000010000000000000009.tmp",
            "/0000000100000000/00000001000000000000000a",
            "/0000000100000000/00000003.history",
            "/0000000100000000/\\xffin\\nside",
            "/0000000100000001/000000010000000000000007",
            "/dir\\xfe/f",
        ]
    );
}

#[test]
fn replacing_keeps_the_mode_of_the_file() {
    let home = home();
    let layout = &home.layout;
    fs::create_dir_all(&layout.wals_directory).unwrap();
    fs::write(layout.xlogdb(), format!("{W1} 1 2.0\n")).unwrap();
    fs::set_permissions(layout.xlogdb(), fs::Permissions::from_mode(0o640)).unwrap();
    let locked = LockedXlogDb::open(layout, &CustomMagic::None, None).unwrap();
    locked.replace(&locked.read().unwrap()).unwrap();
    assert_eq!(
        fs::metadata(layout.xlogdb()).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(
        fs::read_to_string(layout.xlogdb()).unwrap(),
        format!("{W1}\t1\t2.0\tNone\tNone\n")
    );
}

#[test]
fn unfinished_files_of_killed_processes_go() {
    let home = home();
    let layout = &home.layout;
    archive(layout, W1, b"x");
    fs::create_dir_all(layout.meta_directory()).unwrap();
    // No process has this id.
    let dead = |stem: &str| format!(".{stem}.4194999-0.tmp");
    let alive = format!(".pg-xlog.db.{}-999.tmp", std::process::id());
    let left = layout.xlogdb_directory.join(dead("pg-xlog.db"));
    let mark = layout.meta_directory().join(dead("20260101T000000-delete_this"));
    for path in [&left, &mark, &layout.xlogdb_directory.join(&alive)] {
        fs::write(path, "half").unwrap();
    }
    LockedXlogDb::open(layout, &CustomMagic::None, None)
        .unwrap()
        .rebuild(&xlogdb::XlogDb::default())
        .unwrap();
    deletion::sweep_stale_marks(layout, &Catalog::load(layout).unwrap()).unwrap();
    assert!(!left.exists() && !mark.exists());
    assert!(layout.xlogdb_directory.join(alive).exists());
}

fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

/// 255 segments and a label in one directory: as many as Barman takes for "all of it".
#[test]
fn only_what_is_listed_goes_from_a_full_directory() {
    let home = home();
    let layout = &home.layout;
    let label = format!("{}.00000028.backup", segment(3));
    let all: Vec<String> = (0..=255).map(segment).chain([label]).collect();
    let mut lines = String::new();
    for name in &all {
        archive(layout, name, b"x");
        lines.push_str(&format!("{}\n", record(name)));
    }
    archive(layout, "000000010000000100000000", b"x");
    fs::write(layout.xlogdb(), lines + "garbage\n").unwrap();
    let plan = WalPlan {
        limit: segment(255).parse().unwrap(),
        limit_reason: LimitReason::LastBackup { id: id(ID) },
        protected_timelines: BTreeMap::new(),
        protected_ranges: vec![],
        protected_futures: vec![],
    };
    let removal = deletion::remove_wal(layout, &plan, &CustomMagic::None, &mut NoObserver, None).unwrap();
    assert_eq!((removal.removed.len(), removal.bad_lines.len()), (256, 1));
    let left = fs::read_dir(layout.wals_directory.join("0000000100000000"))
        .unwrap()
        .count();
    assert_eq!(left, 1);
    assert_eq!(
        names(&xlogdb::read(layout, &CustomMagic::None, None).unwrap()),
        [segment(255)]
    );
    // The directory goes with its last file.
    let plan = WalPlan {
        limit: "000000010000000100000000".parse().unwrap(),
        ..plan
    };
    deletion::remove_wal(layout, &plan, &CustomMagic::None, &mut NoObserver, None).unwrap();
    assert!(!layout.wals_directory.join("0000000100000000").exists());
    assert!(layout.wals_directory.exists());
}

/// Stops at the n-th WAL file.
struct StopsAt(usize);

impl DeletionObserver for StopsAt {
    fn before_wal(&mut self, _: &WalRecord, _: &std::path::Path) -> Result<(), String> {
        self.0 = self.0.checked_sub(1).ok_or("enough")?;
        Ok(())
    }
}

/// Says no at once.
struct Vetoes;

impl DeletionObserver for Vetoes {
    fn begun(&mut self, _: &BackupInfo) -> Result<(), String> {
        Err("no".to_owned())
    }
}

fn two_backups(layout: &Layout) -> (BackupId, BackupId) {
    let ids = (id("20260101T000000"), id("20260102T000000"));
    for (id, begin) in [(ids.0, 2), (ids.1, 5)] {
        let mut info = BackupInfo::new(id, "pg", Some("postgres".into()));
        info.status = BackupStatus::Done;
        info.begin_wal = segment(begin).parse().ok();
        info.end_wal = info.begin_wal;
        backup_info::save(layout, &info).unwrap();
        fs::create_dir_all(layout.base_directory(id).join("data")).unwrap();
    }
    let mut lines = String::new();
    for number in 1..=6 {
        archive(layout, &segment(number), b"x");
        lines.push_str(&format!("{}\n", record(&segment(number))));
    }
    fs::write(layout.xlogdb(), lines).unwrap();
    ids
}

#[test]
fn a_deletion_that_is_stopped_leaves_a_backup_that_does_not_look_whole() {
    let home = home();
    let layout = &home.layout;
    let (first, second) = two_backups(layout);
    let delete = |observer: &mut dyn DeletionObserver| {
        let mut catalog = Catalog::load(layout).unwrap();
        deletion::delete_backup(
            layout,
            &mut catalog,
            first,
            Trigger::Manual,
            &CustomMagic::None,
            observer,
            None,
        )
    };
    // A veto before anything was removed leaves everything as it was.
    assert!(matches!(delete(&mut Vetoes), Err(DeletionError::Stopped { .. })));
    let catalog = Catalog::load(layout).unwrap();
    assert!(!catalog.is_being_deleted(first) && catalog.get(first).unwrap().status == BackupStatus::Done);
    assert!(layout.data_directory(first).exists());

    assert!(matches!(
        delete(&mut StopsAt(2)),
        Err(DeletionError::Stopped { .. })
    ));
    let catalog = Catalog::load(layout).unwrap();
    assert!(catalog.is_being_deleted(first));
    assert_eq!(catalog.get(first).unwrap().status, BackupStatus::Failed);
    assert_eq!(catalog.previous(second), None);
    assert_eq!(ids::resolve(&catalog, "oldest").unwrap().id, second);
    // What was not removed is listed again.
    let db = xlogdb::read(layout, &CustomMagic::None, None).unwrap();
    assert_eq!(names(&db), [3, 4, 5, 6].map(segment));

    delete(&mut NoObserver).unwrap();
    let catalog = Catalog::load(layout).unwrap();
    assert_eq!(catalog.backups().map(|b| b.id).collect::<Vec<_>>(), [second]);
    let db = xlogdb::read(layout, &CustomMagic::None, None).unwrap();
    assert_eq!(names(&db), [5, 6].map(segment));
    let mut meta: Vec<_> = fs::read_dir(layout.meta_directory())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    meta.sort();
    assert_eq!(meta, [format!("{second}-backup.info").as_str()]);
    assert!(!layout.base_directory(first).exists());
}

#[test]
fn a_deletion_goes_on_wherever_it_was_killed() {
    // Everything that may or may not be gone when the process dies, in every combination.
    for gone in 0u8..16 {
        let home = home();
        let layout = &home.layout;
        let (first, second) = two_backups(layout);
        annotations::write(layout, first, DELETE_THIS, b"delete").unwrap();
        if gone & 1 != 0 {
            fs::remove_dir_all(layout.base_directory(first)).unwrap();
        }
        if gone & 2 != 0 {
            fs::remove_dir_all(layout.wals_directory.join("0000000100000000")).unwrap();
        }
        if gone & 4 != 0 {
            fs::write(layout.xlogdb(), "").unwrap();
        }
        if gone & 8 != 0 {
            backup_info::update(layout, first, |i| i.set_failed_because("deletion not completed")).unwrap();
        }
        let mut catalog = Catalog::load(layout).unwrap();
        assert!(deletion::check(&catalog, catalog.get(first).unwrap(), 9).is_ok());
        let observer = &mut NoObserver;
        deletion::delete_backup(
            layout,
            &mut catalog,
            first,
            Trigger::Policy,
            &CustomMagic::None,
            observer,
            None,
        )
        .unwrap();
        let left: Vec<_> = Catalog::load(layout).unwrap().backups().map(|b| b.id).collect();
        assert_eq!(left, [second], "{gone}");
        assert!(!layout.annotation(first, DELETE_THIS).exists());
        // Also those files whose lines went before the process died.
        for number in 1..5 {
            assert!(
                !layout.wal_path(&segment(number).parse().unwrap()).exists(),
                "{gone}"
            );
        }
        let kept = layout.wal_path(&segment(5).parse().unwrap()).exists();
        assert_eq!(kept, gone & 2 == 0);
    }
}

/// Nothing lists it any more, so only the deletion can find it again.
#[test]
fn a_deletion_is_not_over_while_a_wal_file_cannot_be_removed() {
    let home = home();
    let layout = &home.layout;
    let (first, second) = two_backups(layout);
    let delete = || {
        let mut catalog = Catalog::load(layout).unwrap();
        let observer = &mut NoObserver;
        deletion::delete_backup(
            layout,
            &mut catalog,
            first,
            Trigger::Manual,
            &CustomMagic::None,
            observer,
            None,
        )
    };
    // What no `unlink` removes.
    let stuck = layout.wal_path(&segment(2).parse().unwrap());
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    assert!(matches!(delete(), Err(DeletionError::Wal { left: 1, .. })));
    let catalog = Catalog::load(layout).unwrap();
    assert!(catalog.is_being_deleted(first));
    assert_eq!(catalog.get(first).unwrap().status, BackupStatus::Failed);

    fs::remove_dir(&stuck).unwrap();
    fs::write(&stuck, "").unwrap();
    delete().unwrap();
    let left: Vec<_> = Catalog::load(layout).unwrap().backups().map(|b| b.id).collect();
    assert_eq!(left, [second]);
    assert!(!stuck.exists());
}

#[test]
fn an_unreadable_backup_holds_all_wal_back() {
    let home = home();
    let layout = &home.layout;
    let (first, second) = two_backups(layout);
    fs::write(layout.backup_info(second), "status=DONE\ngarbage").unwrap();
    let mut catalog = Catalog::load(layout).unwrap();
    let observer = &mut NoObserver;
    deletion::delete_backup(
        layout,
        &mut catalog,
        first,
        Trigger::Manual,
        &CustomMagic::None,
        observer,
        None,
    )
    .unwrap();
    assert_eq!(xlogdb::read(layout, &CustomMagic::None, None).unwrap().len(), 6);
}

#[test]
fn sizes_count_links_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("data")).unwrap();
    fs::write(at("data/a"), "12345").unwrap();
    fs::write(at("data/b"), "123").unwrap();
    fs::hard_link(at("data/b"), at("c")).unwrap();
    std::os::unix::fs::symlink("a", at("data/link")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("data/dangling")).unwrap();
    std::os::unix::fs::symlink(".", at("data/loop")).unwrap();
    let sizes = deletion::measure(&at("data")).unwrap();
    assert_eq!((sizes.size, sizes.deduplicated), (13, 10));
    // An annotation in its old place is no part of the backup, which a directory of that name in the data is.
    fs::create_dir(at("annotations")).unwrap();
    fs::write(at("annotations/keep"), "standalone").unwrap();
    fs::create_dir(at("data/annotations")).unwrap();
    fs::write(at("data/annotations/d"), "1234567").unwrap();
    let sizes = deletion::measure(directory.path()).unwrap();
    assert_eq!((sizes.size, sizes.deduplicated), (23, 17));
}

fn line() -> impl Strategy<Value = Option<String>> {
    prop::option::of(
        "[^\n\r]{1,20}"
            .prop_map(|s| s.trim().to_owned())
            .prop_filter("written as unset", |s| !s.is_empty() && s != "None"),
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        label in prop::option::of("\\PC{1,40}"),
        lines in prop::collection::vec(line(), 6),
        numbers in prop::collection::vec(prop::option::of(any::<u64>()), 4),
        files in prop::collection::vec(any::<String>(), 0..3),
        tablespaces in prop::collection::vec((any::<String>(), any::<u32>(), any::<String>()), 0..3),
        lsn in prop::option::of(any::<u64>()),
        seconds in prop::option::of((0i64..4_000_000_000, 0i64..1_000_000, -12i8..13)),
    ) {
        let mut info = BackupInfo::new(id(ID), "pg", Some("postgres".into()));
        info.backup_label = label;
        [&mut info.backup_name, &mut info.pgdata, &mut info.error, &mut info.config_file, &mut info.systemid, &mut info.hba_file]
            .into_iter()
            .zip(lines)
            .for_each(|(field, line)| *field = line);
        [&mut info.size, &mut info.cluster_size, &mut info.begin_offset, &mut info.deduplicated_size]
            .into_iter()
            .zip(numbers)
            .for_each(|(field, number)| *field = number);
        info.included_files = files;
        info.tablespaces = tablespaces.into_iter().map(|(name, oid, location)| Tablespace { name, oid, location }).collect();
        info.begin_xlog = lsn.map(barman_wal::Lsn);
        info.end_time = seconds.map(|(s, micros, hours)| {
            let instant = jiff::Timestamp::from_microsecond(s * 1_000_000 + micros).unwrap();
            barman_catalog::Timestamp::new(instant, jiff::tz::Offset::constant(hours))
        });
        let text = info.to_text().unwrap();
        let back = parse(&text);
        prop_assert_eq!(back.to_text().unwrap(), text);
        prop_assert_eq!(back, info);
    }

    #[test]
    fn no_file_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), field in "[a-z_]{3,19}") {
        let _ = BackupInfo::parse(id(ID), "pg", &bytes);
        let mut named = format!("{field}=").into_bytes();
        named.extend(bytes);
        let _ = BackupInfo::parse(id(ID), "pg", &named);
    }
}

/// A file of metadata that is there but cannot be looked at belongs to a backup, whose WAL nobody may take.
#[test]
fn metadata_in_the_old_place_that_cannot_be_read_are_not_missing() {
    let home = home();
    let layout = &home.layout;
    let (first, second) = two_backups(layout);
    let old = layout.old_backup_info(first);
    fs::remove_file(layout.backup_info(first)).unwrap();
    std::os::unix::fs::symlink(&old, &old).unwrap();
    let catalog = Catalog::load(layout).unwrap();
    let broken: Vec<_> = catalog.broken().iter().map(|b| b.id).collect();
    assert_eq!(broken, [Some(first)]);
    assert!(matches!(
        deletion::wal_decision(&catalog, second, Trigger::Policy),
        deletion::WalDecision::Keep(deletion::KeepReason::UnreadableBackup)
    ));
}

/// Else it would become whole when that WAL comes, with what is left of its data.
#[test]
fn a_failed_backup_that_missing_wal_would_revive_says_that_it_is_being_deleted() {
    struct Stops;
    impl DeletionObserver for Stops {
        fn before_wal(&mut self, _: &WalRecord, _: &std::path::Path) -> Result<(), String> {
            Err("no".to_owned())
        }
    }
    let home = home();
    let layout = &home.layout;
    let (first, _) = two_backups(layout);
    backup_info::update(layout, first, |info| {
        info.set_failed_because(
            "At least one WAL file is missing. The first missing WAL file is 000000010000000000000003",
        );
    })
    .unwrap();
    let is_reviving =
        || barman_catalog::completeness::failed_for_missing_wal(&backup_info::load(layout, first).unwrap());
    assert!(is_reviving());
    let mut catalog = Catalog::load(layout).unwrap();
    let custom = CustomMagic::None;
    let result = deletion::delete_backup(
        layout,
        &mut catalog,
        first,
        Trigger::Manual,
        &custom,
        &mut Stops,
        None,
    );
    assert!(matches!(result, Err(DeletionError::Stopped { .. })));
    assert!(!is_reviving());
}

/// One of a deletion that Barman has begun, which looks only at annotations that are not empty.
#[test]
fn nothing_of_a_deleted_backup_stays_in_meta() {
    let home = home();
    let layout = &home.layout;
    let (first, second) = two_backups(layout);
    annotations::write(layout, first, DELETE_THIS, b"delete").unwrap();
    annotations::write(layout, first, annotations::KEEP, b"").unwrap();
    let mut catalog = Catalog::load(layout).unwrap();
    deletion::delete_backup(
        layout,
        &mut catalog,
        first,
        Trigger::Policy,
        &CustomMagic::None,
        &mut NoObserver,
        None,
    )
    .unwrap();
    let left: Vec<_> = fs::read_dir(layout.meta_directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [format!("{second}-backup.info").as_str()]);
}
