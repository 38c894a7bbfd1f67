//! What protects backups and the WAL catalogue, through the program: keeping, backups in use, explanations, lists, rebuilds.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use expect_test::{Expect, expect};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Home;

/// 12:00 of day `day` of November.
fn id(day: u8) -> String {
    format!("202611{day:02}T120000")
}

fn segment(number: u8) -> String {
    format!("0000000100000000000000{number:02X}")
}

/// A backup of day `day` in segment `number`; `more` replaces fields.
fn backup(main: &Path, day: u8, number: u8, more: &[(&str, &str)]) {
    let (wal, date) = (segment(number), format!("2026-11-{day:02}"));
    let (begin, end) = (format!("{date} 12:00:00+00:00"), format!("{date} 12:00:05+00:00"));
    let mut fields = vec![
        ("begin_time", begin.as_str()),
        ("begin_wal", &wal),
        ("end_time", &end),
        ("end_wal", &wal),
        ("mode", "postgres"),
        ("server_name", "main"),
        ("size", "1000"),
        ("status", "DONE"),
        ("timeline", "1"),
        ("version", "180004"),
        ("xlog_segment_size", "16777216"),
    ];
    fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    fields.extend(more);
    let text: String = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    fs::create_dir_all(main.join("meta")).unwrap();
    fs::write(main.join(format!("meta/{}-backup.info", id(day))), text).unwrap();
    let data = main.join(format!("base/{}/data", id(day)));
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "18\n").unwrap();
}

fn archive(main: &Path, name: &str, content: &[u8], columns: &str) -> PathBuf {
    let directory = match name.ends_with(".history") {
        true => main.join("wals"),
        false => main.join("wals").join(&name[..16]),
    };
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))
        .unwrap();
    let db = main.join("wals/main-xlog.db");
    let old = fs::read_to_string(&db).unwrap_or_default();
    fs::write(
        db,
        format!("{old}{name}\t{}\t1700000000.0\t{columns}\n", content.len()),
    )
    .unwrap();
    path
}

/// Full backups on days 1, 5 and 9, an incremental one on the first on day 2, and WAL.
fn home(settings: &str) -> Home {
    let servers =
        format!("[main]\nconninfo = host=pg\nbackup_method = postgres\narchiver = on\n{settings}\n");
    let home = Home::new("", &servers);
    let main = home.path().join("main");
    let (one, two) = (id(1), id(2));
    backup(&main, 1, 2, &[("children_backup_ids", &two)]);
    backup(&main, 2, 4, &[("parent_backup_id", &one)]);
    backup(&main, 5, 6, &[]);
    backup(&main, 9, 10, &[]);
    for number in 1..12 {
        archive(&main, &segment(number), &[1; 100], "None\tNone");
    }
    archive(
        &main,
        "00000002.history",
        b"1\t0/B000000\tno reason\n",
        "None\tNone",
    );
    home
}

fn said(home: &Home, arguments: &[&str], code: i32, expected: &Expect) {
    let run = home.run(arguments);
    expected
        .assert_eq(&format!("{}{}", run.stdout, run.stderr).replace(home.path().to_str().unwrap(), "HOME"));
    assert_eq!(run.code, Some(code), "{arguments:?}");
}

fn lock_of(home: &Home, day: u8) -> File {
    let path = home.path().join(format!(".main-{}.lock", id(day)));
    let options = File::options().create(true).append(true).open(path);
    options.unwrap()
}

/// Everything below a directory, with content.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_dry_run_tells_what_goes_and_why_and_changes_nothing() {
    let home = home("");
    let before = tree(&home.path().join("main"));
    said(
        &home,
        &["delete", "--dry-run", "main", "oldest"],
        0,
        &expect![[r#"
            Deleting backup 20261101T120000 of server main would remove:
            	Backup 20261102T120000 (status DONE, 1000 B, based on 20261101T120000)
            		no WAL: backup 20261101T120000, which is older, needs it
            	Backup 20261101T120000 (status DONE, 1000 B)
            		WAL 000000010000000000000001..000000010000000000000005 (5 files, 500 B): older than 000000010000000000000006, where backup 20261105T120000 begins
            		not WAL 000000010000000000000006..00000001000000000000000B (6 files, 600 B): from 000000010000000000000006 on, where backup 20261105T120000 begins
            This was a dry run: nothing has been removed. History files always stay.
        "#]],
    );
    let json = home
        .run(&["-f", "json", "delete", "--dry-run", "main", "oldest"])
        .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["main"]["backups"][1]["wal"]["deleted"][0]["files"], 5);
    assert_eq!(tree(&home.path().join("main")), before);
    // What was announced is what happens.
    let run = home.run(&["delete", "main", "oldest"]);
    let gone: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix('\t'))
        .collect();
    assert_eq!(gone, [1, 2, 3, 4, 5].map(segment), "{}", run.stderr);
}

#[test]
fn a_dry_run_fails_where_the_deletion_would() {
    let home = home("minimum_redundancy = 3");
    fs::write(home.path().join(format!("main/meta/{}-keep", id(9))), "full").unwrap();
    for argument in ["latest", "oldest", "nosuch"] {
        let dry = home.run(&["delete", "--dry-run", "main", argument]);
        let real = home.run(&["delete", "main", argument]);
        assert_eq!((dry.stderr, dry.code), (real.stderr, real.code), "{argument}");
        assert_eq!(dry.code, Some(1));
    }
    let used = lock_of(&home, 2);
    used.lock_shared().unwrap();
    let dry = home.run(&["delete", "--dry-run", "main", &id(2)]);
    assert!(
        dry.stderr.contains("holding the lock for backup 20261102T120000"),
        "{}",
        dry.stderr
    );
    assert_eq!(dry.code, Some(1));
}

/// What is found out only in the tree of the backup, too.
#[test]
fn a_dry_run_looks_at_the_whole_tree() {
    let snapshots = (
        "snapshots_info",
        "{'provider': 'gcp', 'provider_info': {}, 'snapshots': []}",
    );
    for (place, content) in [
        (format!("meta/{}-keep", id(2)), "full".to_owned()),
        (format!("meta/{}-backup.info", id(2)), "garbage\n".to_owned()),
        (
            format!("meta/{}-backup.info", id(1)),
            format!(
                "mode=snapshot-concurrent\nstatus=DONE\n{}={}\n",
                snapshots.0, snapshots.1
            ),
        ),
    ] {
        let home = home("");
        fs::write(home.path().join("main").join(&place), content).unwrap();
        let dry = home.run(&["delete", "--dry-run", "main", &id(1)]);
        let real = home.run(&["delete", "main", &id(1)]);
        assert_eq!(dry.code, Some(1), "{place}: {}", dry.stdout);
        let error = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("ERROR"));
            line.unwrap_or_default().to_owned()
        };
        assert_eq!(error(&dry.stderr), error(&real.stderr), "{place}");
        assert_eq!(real.code, Some(1), "{place}");
        // Nothing of the tree has gone.
        for day in [1, 2] {
            let data = home.path().join(format!("main/base/{}/data/PG_VERSION", id(day)));
            assert!(data.exists(), "{place}");
        }
    }
}

#[test]
fn retention_is_explained() {
    let home = home("retention_policy = REDUNDANCY 1\nminimum_redundancy = 2");
    said(
        &home,
        &["retention", "main"],
        0,
        &expect![[r#"
            Server main: retention policy REDUNDANCY 1, minimum redundancy 2
            	20261109T120000 - VALID
            	20261105T120000 - VALID
            	20261102T120000 - OBSOLETE
            	20261101T120000 - OBSOLETE
        "#]],
    );
    said(
        &home,
        &["retention", "--explain", "main"],
        0,
        &expect![[r#"
            Server main: retention policy REDUNDANCY 1, minimum redundancy 2
            	20261109T120000 - VALID: number 1 from the newest, of which the policy keeps 2
            	20261105T120000 - VALID: number 2 from the newest, of which the policy keeps 2
            	20261102T120000 - OBSOLETE: goes with backup 20261101T120000, which it is based on
            	20261101T120000 - OBSOLETE: number 3 from the newest, of which the policy keeps 2
            The next cron would delete, unless somebody uses it then:
            	Backup 20261102T120000 (status DONE, 1000 B, based on 20261101T120000)
            		no WAL: backup 20261101T120000, which is older, needs it
            	Backup 20261101T120000 (status DONE, 1000 B)
            		WAL 000000010000000000000001..000000010000000000000005 (5 files, 500 B): older than 000000010000000000000006, where backup 20261105T120000 begins
            		not WAL 000000010000000000000006..00000001000000000000000B (6 files, 600 B): from 000000010000000000000006 on, where backup 20261105T120000 begins
        "#]],
    );
    let run = home.run(&["-f", "json", "retention", "--explain", "all"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let main = &json["main"];
    assert_eq!(main["backups"][3]["rule"], "beyond_redundancy");
    assert_eq!(main["next_cron"][1]["backup_id"], id(1));
    assert_eq!(main["retention_policy"], "REDUNDANCY 1");
    // cron does what was announced.
    home.run(&["cron"]);
    let left = home.run(&["list-backups", "--minimal", "main"]).stdout;
    assert_eq!(left, format!("{}\n{}\n", id(9), id(5)));
}

#[test]
fn a_policy_that_leaves_nothing_to_recover_from_is_told_of() {
    let home = home("retention_policy = REDUNDANCY 1");
    fs::write(
        home.path().join(format!("main/meta/{}-keep", id(9))),
        "standalone",
    )
    .unwrap();
    let warning = format!(
        "WARNING: The retention policy of server main calls backup {} obsolete",
        id(5)
    );
    for arguments in [&["retention", "main"][..], &["cron"]] {
        let run = home.run(arguments);
        assert!(run.stderr.contains(&warning), "{arguments:?}: {}", run.stderr);
    }
}

/// A restore or an export of the incremental backup holds it and what it is based on.
#[test]
fn a_tree_in_use_stays_whole() {
    let home = home("retention_policy = REDUNDANCY 2");
    // Another incremental backup, which nobody uses, would go first.
    let one = id(1);
    backup(&home.path().join("main"), 3, 5, &[("parent_backup_id", &one)]);
    let locks = [1, 2].map(|day| lock_of(&home, day));
    locks.iter().for_each(|lock| lock.lock_shared().unwrap());
    let cron = home.run(&["cron"]);
    assert!(
        cron.stderr
            .contains("WARNING: Another action is in progress for the backup 20261101T120000"),
        "{}",
        cron.stderr
    );
    assert_eq!(cron.code, Some(0));
    let delete = home.run(&["delete", "main", "oldest"]);
    assert!(
        delete
            .stderr
            .contains("holding the lock for backup 20261101T120000"),
        "{}",
        delete.stderr
    );
    assert_eq!(delete.code, Some(1));
    let all = home.run(&["list-backups", "--minimal", "main"]).stdout;
    assert_eq!(all.lines().count(), 5, "{all}");
    // Who has it shared does not keep anybody from keeping it.
    assert_eq!(
        home.run(&["keep", "--target", "full", "main", &id(1)]).code,
        Some(0)
    );
    assert_eq!(home.run(&["keep", "--release", "main", &id(1)]).code, Some(0));
    drop(locks);
    assert_eq!(home.run(&["cron"]).code, Some(0));
    let left = home.run(&["list-backups", "--minimal", "main"]).stdout;
    assert_eq!(left, format!("{}\n{}\n", id(9), id(5)));
}

/// Its parent's list of children is all that tells of it.
#[test]
fn what_an_unreadable_backup_is_based_on_stays() {
    let home = home("retention_policy = REDUNDANCY 1");
    fs::write(
        home.path().join(format!("main/meta/{}-backup.info", id(2))),
        "garbage\n",
    )
    .unwrap();
    for arguments in [&["cron"][..], &["delete", "main", "oldest"]] {
        let run = home.run(arguments);
        assert!(run.stderr.contains(&id(2)), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.code, Some(1), "{arguments:?}");
        assert!(
            home.path()
                .join(format!("main/base/{}/data/PG_VERSION", id(1)))
                .exists()
        );
    }
    // What has nothing to do with it went.
    assert!(!home.path().join(format!("main/base/{}", id(5))).exists());
}

/// The parent is being restored meanwhile, which does not keep its list of children from being put right.
#[test]
fn a_leaf_is_taken_out_of_a_parent_in_use() {
    let home = home("");
    let parent = home.path().join(format!("main/meta/{}-backup.info", id(1)));
    let used = lock_of(&home, 1);
    used.lock_shared().unwrap();
    let run = home.run(&["delete", "main", &id(2)]);
    assert_eq!((run.stderr.as_str(), run.code), ("", Some(0)));
    assert!(
        fs::read_to_string(&parent)
            .unwrap()
            .contains("children_backup_ids=None\n")
    );
    drop(used);
    let run = home.run(&["delete", "main", &id(1)]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_kept_backup_stays_and_says_so() {
    let home = home("retention_policy = REDUNDANCY 1");
    assert_eq!(
        home.run(&["keep", "--target", "standalone", "main", "oldest"])
            .code,
        Some(0)
    );
    let keep = home.path().join(format!("main/meta/{}-keep", id(1)));
    assert_eq!(fs::read_to_string(&keep).unwrap(), "standalone");
    assert_eq!(home.run(&["delete", "main", "oldest"]).code, Some(1));
    home.run(&["cron"]);
    let left = home.run(&["list-backups", "--minimal", "main"]).stdout;
    // Its incremental backup is decided about as if it were not kept.
    assert_eq!(left, format!("{}\n{}\n", id(9), id(1)));
    // What a deletion is at work on cannot be kept.
    let deletion = lock_of(&home, 9);
    deletion.lock().unwrap();
    let run = home.run(&["keep", "--target", "full", "main", "latest"]);
    assert!(
        run.stderr
            .starts_with("ERROR: backup 20261109T120000 of server main is locked"),
        "{}",
        run.stderr
    );
    drop(deletion);
    fs::write(
        home.path().join(format!("main/meta/{}-delete_this", id(9))),
        "delete",
    )
    .unwrap();
    said(
        &home,
        &["keep", "--target", "full", "main", &id(9)],
        1,
        &expect![[r#"
            ERROR: Cannot add keep to backup 20261109T120000 because it is being deleted
        "#]],
    );
    // An empty annotation is one.
    fs::write(&keep, "").unwrap();
    assert_eq!(
        home.run(&["keep", "-s", "main", "first"]).stdout,
        "Server main:\n\tKeep: full\n"
    );
    assert!(
        home.run(&["retention", "main"])
            .stdout
            .contains("20261101T120000 - KEEP:FULL")
    );
}

#[test]
fn lists_end() {
    let home = home("");
    let main = home.path().join("main");
    backup(
        &main,
        11,
        11,
        &[("status", "STARTED"), ("end_wal", "None"), ("end_time", "None")],
    );
    said(
        &home,
        &["list-files", "main", &id(11)],
        0,
        &expect![[r#"
            HOME/main/base/20261111T120000/data/PG_VERSION
            WARNING: Backup 20261111T120000 of server main has status STARTED: it is not known where the backup ends, so the WAL that it needs is not listed
        "#]],
    );
    said(
        &home,
        &["list-files", "--target", "wal", "main", &id(9)],
        0,
        &expect![[r#"
            HOME/main/wals/0000000100000000/00000001000000000000000A
            HOME/main/wals/0000000100000000/00000001000000000000000B
            HOME/main/wals/00000002.history
        "#]],
    );
}

/// The reader goes away after a few lines of a long list.
#[test]
fn a_reader_that_goes_away_ends_a_list_quietly() {
    let home = home("");
    let data = home.path().join(format!("main/base/{}/data", id(9)));
    for number in 0..3000 {
        fs::write(
            data.join(format!("a-file-with-a-rather-long-name-{number:06}")),
            "",
        )
        .unwrap();
    }
    let config = home.config();
    let mut child = home
        .command()
        .args(["-c", config.to_str().unwrap(), "list-files", "main", &id(9)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
    let whole = home
        .run(&["list-files", "--target", "data", "main", &id(9)])
        .stdout;
    assert_eq!(whole.lines().count(), 3001);
}

#[test]
fn a_rebuild_keeps_what_only_the_old_catalogue_knows() {
    let home = home("");
    let main = home.path().join("main");
    let encrypted = [&b"\x85\x01\x0c\x03"[..], &[7; 60]].concat();
    archive(&main, &segment(12), &encrypted, "zstd\tgpg");
    archive(&main, &segment(13), b"\x1f\x8b\x08\x00", "pigz\tNone");
    archive(&main, "00000001000000000000000E.partial", b"x", "None\tNone");
    let db = main.join("wals/main-xlog.db");
    let good = fs::read_to_string(&db).unwrap();
    // Lines in disorder, garbage, a line without a file, a file without a line.
    let mut lines: Vec<&str> = good
        .lines()
        .rev()
        .filter(|line| !line.starts_with(&segment(3)))
        .collect();
    lines.extend(["garbage", "0000000100000000000000F0\t1\t1.0\tNone\tNone"]);
    fs::write(&db, lines.join("\n")).unwrap();
    fs::set_permissions(&db, fs::Permissions::from_mode(0o640)).unwrap();
    said(
        &home,
        &["rebuild-xlogdb", "main"],
        0,
        &expect![[r#"
            Rebuilding xlogdb for server main
            Done rebuilding xlogdb for server main (history: 1, backup_labels: 0, wal_file: 13)
        "#]],
    );
    let mut expected: Vec<String> = good
        .lines()
        .map(|line| format!("{}\n", line.replace("pigz", "gzip")))
        .collect();
    expected.sort();
    assert_eq!(fs::read_to_string(&db).unwrap(), expected.concat());
    assert_eq!(fs::metadata(&db).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_rebuild_that_cannot_read_the_archive_leaves_the_catalogue() {
    let home = home("");
    let main = home.path().join("main");
    let db = main.join("wals/main-xlog.db");
    let before = fs::read(&db).unwrap();
    // Root may read everything, but not a file that is a loop of links.
    let path = main.join("wals/0000000100000000").join(segment(20));
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let run = home.run(&["rebuild-xlogdb", "main"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr);
    assert_eq!(fs::read(&db).unwrap(), before);
}

/// The disk with the archive is not mounted, and the catalogue is elsewhere.
#[test]
fn a_rebuild_without_an_archive_leaves_the_catalogue() {
    let home = home("");
    let (archive, catalogues) = (home.path().join("main/wals"), home.path().join("catalogues"));
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(
        home.config(),
        format!("{text}\nxlogdb_directory = {}\n", catalogues.display()),
    )
    .unwrap();
    fs::create_dir(&catalogues).unwrap();
    let db = catalogues.join("main-xlog.db");
    fs::rename(archive.join("main-xlog.db"), &db).unwrap();
    let before = fs::read(&db).unwrap();
    fs::rename(&archive, home.path().join("elsewhere")).unwrap();
    let run = home.run(&["rebuild-xlogdb", "main"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("there is no directory"), "{}", run.stderr);
    assert_eq!(fs::read(&db).unwrap(), before);
}

/// Whoever opens a FIFO waits for its writer.
#[test]
fn a_fifo_in_the_place_of_a_file_holds_nobody_up() {
    let seven = format!("meta/{}-backup.info", id(7));
    let keep = format!("meta/{}-keep", id(9));
    let wal = format!("wals/0000000100000000/{}", segment(4));
    let manifest = format!("base/{}/data/backup_manifest", id(9));
    let (begin, end, out) = (segment(2), segment(6), ".");
    for (place, arguments, code) in [
        (seven.as_str(), &["list-backups", "main"][..], 1),
        (&keep, &["list-backups", "main"], 0),
        (&keep, &["delete", "main", "latest"], 1),
        (
            "wals/main-xlog.db",
            &["list-files", "--target", "wal", "main", "first"],
            1,
        ),
        ("wals/main-xlog.db", &["delete", "--dry-run", "main", "first"], 1),
        (&wal, &["check-archived-wal-range", "main", &begin, &end], 1),
        (&wal, &["rebuild-xlogdb", "main"], 0),
        (&manifest, &["verify-backup", "main", "latest"], 1),
        (&manifest, &["generate-manifest", "main", "latest"], 1),
        ("identity.json", &["export-backup", "main", "latest", out], 1),
    ] {
        let home = home("");
        let path = home.path().join("main").join(place);
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut child = home
            .command()
            .current_dir(home.path())
            .arg("-c")
            .arg(home.config())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ended = testkit::wait_until("the end", std::time::Duration::from_secs(60), || {
            Ok(child.try_wait()?.is_some())
        });
        if ended.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{place} {arguments:?}");
    }
}

#[test]
fn an_export_is_not_written_into_what_it_exports() {
    let home = home("");
    let main = home.path().join("main");
    fs::write(
        main.join("identity.json"),
        "{\"systemid\": \"1\", \"version\": \"18\"}",
    )
    .unwrap();
    let base = main.join(format!("base/{}", id(9)));
    let before = tree(&base);
    for place in [base.clone(), base.join("data")] {
        let run = home.run(&["export-backup", "main", "latest", place.to_str().unwrap()]);
        assert!(
            run.stderr.contains("in the directory of backup") && run.code == Some(1),
            "{}",
            run.stderr
        );
    }
    assert_eq!(tree(&base), before);
    let run = home.run(&["export-backup", "main", "latest", home.path().to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_useless_file_is_no_archived_segment() {
    let home = home("");
    let path = home.path().join("main/wals/0000000100000000").join(segment(4));
    fs::write(path, "").unwrap();
    said(
        &home,
        &["check-archived-wal-range", "main", &segment(2), &segment(13)],
        1,
        &expect![[r#"
            Server main:
            	WAL sequence check for server main: 3 missing segment(s):
            		000000010000000000000004
            		00000001000000000000000C
            		00000001000000000000000D
            ERROR: WAL sequence check failed for server 'main': 3 missing segment(s) in range 000000010000000000000002..00000001000000000000000D
            HINT: 1 of them have a file in the archive, which is empty, cut off, zeroed or another segment's
        "#]],
    );
    for (begin, end, says) in [
        (
            "000000010000000000000002",
            "00000001000FFFFF00000002",
            "more than 4194304",
        ),
        (
            "000000010000000000000002",
            "000000010000000000000100",
            "there is none of the name 000000010000000000000100",
        ),
    ] {
        let run = home.run(&["check-archived-wal-range", "main", begin, end]);
        assert!(run.stderr.contains(says) && run.code == Some(1), "{}", run.stderr);
    }
}

/// A word means another backup when one cannot be read: nothing is deleted by it then, and everybody else is told.
#[test]
fn a_word_that_may_mean_an_unreadable_backup() {
    let home = home("");
    let broken = format!("main/meta/{}-backup.info", id(1));
    fs::write(home.path().join(broken), "garbage\n").unwrap();
    let before = home.run(&["list-backups", "--minimal", "main"]).stdout;
    let unreadable = format!("the metadata of backup {} of server main cannot be read", id(1));
    for arguments in [
        &["delete", "main", "oldest"][..],
        &["delete", "main", "first"],
        &["delete", "--dry-run", "main", "oldest"],
        &["delete", "main", "nosuch"],
    ] {
        let run = home.run(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}");
        let last = *arguments.last().unwrap();
        let error = format!("ERROR: Cannot tell which backup '{last}' of server main is: {unreadable}");
        assert!(run.stderr.contains(&error), "{arguments:?}: {}", run.stderr);
        assert!(
            run.stderr.contains("HINT: name the backup by its id"),
            "{}",
            run.stderr
        );
    }
    assert_eq!(home.run(&["list-backups", "--minimal", "main"]).stdout, before);
    for arguments in [
        &["keep", "--status", "main", "oldest"][..],
        &["list-files", "main", "oldest"],
        &["check-backup", "main", "oldest"],
        &["restore", "main", "oldest", "/nonexistent/place"],
    ] {
        let run = home.run(arguments);
        let warning = format!("WARNING: {unreadable}");
        assert!(run.stderr.contains(&warning), "{arguments:?}: {}", run.stderr);
        assert!(
            run.stderr
                .contains(&format!(": 'oldest' means {} without it", id(2))),
            "{arguments:?}: {}",
            run.stderr
        );
    }
    // These words do not mean it, whatever it is.
    for word in ["latest", "latest-full", &id(9)] {
        let run = home.run(&["keep", "--status", "main", word]);
        assert!(!run.stderr.contains("cannot be read"), "{word}: {}", run.stderr);
    }
    assert_eq!(home.run(&["delete", "main", "latest"]).code, Some(0));
}
