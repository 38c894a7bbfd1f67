//! Catalogues and queues with something in them that is damaged, misplaced or left by a crash: where Barman breaks off, loses
//! or believes it.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result};

use super::LOCK;
use crate::conformance::catalogue::{Home, Server, id, segment};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// Three backups with WAL from segment 2 to 9.
const THREE: State = PLAIN.catalogue(Catalogue::Made(|home| three(home).map(drop)));

/// What Barman says of them.
const BROKEN_OFF: &str = "EXCEPTION: invalid line no field in file *";
const SEE_LOG: &str = "See log file for more details.";

fn three(home: &Home) -> Result<Server> {
    let main = home.server("main")?;
    for day in 1..4 {
        main.backup(day, u64::from(day) * 2, &[])?;
    }
    (2..10).try_for_each(|number| main.wal(number))?;
    Ok(main)
}

fn main(stage: &Stage) -> Result<Server> {
    Home::new(&stage.root.join("home")).server("main")
}

fn archived(stage: &Stage, number: u64) -> std::path::PathBuf {
    stage.main("wals/0000000100000000").join(segment(number))
}

/// The metadata of the backup of day 2 cannot be read.
fn unreadable(stage: &Stage) -> Result<()> {
    main(stage)?.write(&format!("meta/{}-backup.info", id(2)), b"status=DONE\nno field\n")
}

/// Those of the oldest backup are.
fn oldest_unreadable(stage: &Stage) -> Result<()> {
    main(stage)?.write(&format!("meta/{}-backup.info", id(1)), b"status=DONE\nno field\n")
}

/// The server was promoted three times, and the second history file is lost.
fn history_with_a_gap(stage: &Stage) -> Result<()> {
    let lines = ["1\tFF/0\tone\n", "2\tFF/1000000\ttwo\n", "3\tFF/2000000\tthree\n"];
    main(stage)?.write("wals/00000002.history", lines[0].as_bytes())?;
    main(stage)?.write("wals/00000004.history", lines.concat().as_bytes())
}

/// They are empty, as a crash leaves them.
fn empty(stage: &Stage) -> Result<()> {
    main(stage)?.write(&format!("meta/{}-backup.info", id(2)), b"")
}

/// A file of the archive is empty.
fn no_content(stage: &Stage) -> Result<()> {
    fs::write(archived(stage, 4), b"").context("empty a segment")
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all = metadata();
    all.extend(retention());
    all.extend(archive());
    all.extend(queues());
    all
}

fn metadata() -> Vec<Scenario> {
    vec![
        scenario("list-backups-unreadable-metadata", "catalog.md 24.11", THREE)
            .then(unreadable)
            .run("list-backups main")
            .run("show-backup main {id 2}")
            .run("status main")
            .rules(&[Pid])
            .stdout(0, "catalogue-11", "main 20240703T120000 - F - *", "")
            .stdout(0, "catalogue-11", "main 20240701T120000 - F - *", "")
            .stderr(0, "catalogue-11", "ERROR: Cannot read the metadata of backup 20240702T120000 *", BROKEN_OFF)
            .stderr(0, "catalogue-11", "", SEE_LOG)
            .stderr(1, "catalogue-11", "ERROR: the metadata of backup '20240702T120000' *", BROKEN_OFF)
            .stderr(1, "catalogue-11", "", SEE_LOG)
            .stdout(2, "live-8", "\tNo. of available backups: 2", "")
            .stdout(2, "live-8", "\tFirst available backup: 20240701T120000", "")
            .stdout(2, "live-8", "\tLast available backup: 20240703T120000", "")
            .stdout(2, "live-8", "\tMinimum redundancy requirements: satisfied (2/0)", "")
            .stderr(2, "live-8", "ERROR: Cannot read the metadata of backup 20240702T120000 *", BROKEN_OFF)
            .stderr(2, "live-8", "", SEE_LOG)
            .stderr(2, "live-3", "HINT: main: PostgreSQL: *", "")
            .file("all-15", "home/.main-xlogdb.lock", "file, *", ""),
        scenario("show-backup-history-gap", "catalog.md 7.4", THREE)
            .then(history_with_a_gap)
            .run("show-backup main {id 3}")
            .rules(&[Pid])
            .stdout(0, "catalogue-43", "    Reachable timelines  : 2, 4", "    Reachable timelines  : 2"),
        scenario("oldest-unreadable-metadata", "catalog.md 24.11", THREE)
            .then(oldest_unreadable)
            .run("delete main oldest")
            .run("keep --status main oldest")
            .exit_code(1, "catalogue-42", 0, 1)
            .stderr(0, "catalogue-42", "ERROR: Cannot tell which backup 'oldest' of server main is: *", BROKEN_OFF)
            .stderr(0, "catalogue-42", "HINT: name the backup by its id: 'barman list-backups main' shows them", "")
            .stderr(0, "catalogue-42", "", SEE_LOG)
            .stderr(1, "catalogue-42", "WARNING: the metadata of backup 20240701T120000 *: 'oldest' means 20240702T120000 without it", BROKEN_OFF)
            .stderr(1, "catalogue-42", "", SEE_LOG)
            .stdout(1, "catalogue-42", "Server main:", "")
            .stdout(1, "catalogue-42", "\tKeep: nokeep", ""),
        scenario("check-unreadable-metadata", "catalog.md 24.11, postgres.md 17.3", THREE).stdout(0, "check-8", "\tfailed backups: FAILED (there are 0 failed backups, and 1 whose backup.info cannot be read)", "").stderr(0, "check-11", "HINT: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused", "").stderr(0, "check-8", "", "EXCEPTION: invalid line no field in file */run/home/main/meta/20240702T120000-backup.info").stderr(0, "check-8", "", "See log file for more details.").stdout(1, "check-8", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, failed backups|main=23195571B main_wals=3145728B", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL").stdout(1, "check-8", "main.failed backups: FAILED (there are 0 failed backups, and 1 whose backup.info cannot be read)", "").file("all-15", "home/.main-xlogdb.lock", "file, *", "").stdout(0, "check-8", "\tbackup minimum size: OK (22.1 MiB)", "").stdout(0, "check-8", "\twal maximum age: OK (no last_wal_maximum_age provided)", "").stdout(0, "check-8", "\twal size: OK (3.0 MiB)", "").stdout(0, "check-8", "\tcompression settings: OK", "").stdout(0, "check-8", "\tminimum redundancy requirements: OK (have 2 non-incremental backups, expected at least 0)", "").stdout(0, "check-8", "\tpg_basebackup: OK", "").stdout(0, "check-8", "\tpg_basebackup compatible: OK", "").stdout(0, "check-8", "\tsystemid coherence: OK (no system Id available)", "").stdout(0, "check-8", "\tarchiver errors: OK", "")
            .then(unreadable)
            .run("check main")
            .run("check --nagios main")
            .rules(&[Pid]),
        scenario("cron-unreadable-metadata", "catalog.md 24.8, 24.11", THREE.main("retention_policy = REDUNDANCY 1")).stdout(0, "catalogue-41", "Enforcing retention policy: removing backup 20240701T120000 for server main", "").stdout(0, "catalogue-41", "Deleting backup 20240701T120000 for server main", "").stdout(0, "catalogue-41", "Deleted backup 20240701T120000 (start time: <instant in words>, elapsed time: <duration>)", "").stderr(0, "catalogue-41", "ERROR: Cannot read the metadata of backup 20240702T120000 of server main (*/run/home/main/meta/20240702T120000*", "").stderr(0, "catalogue-41", "WARNING: No WAL is deleted: a backup that cannot be read may need it", "").stderr(0, "catalogue-41", "", "EXCEPTION: Unable to run cron on server 'main', please look in the barman log file for more details.").files("home/.main-archive-wal.lock", Look::Nothing).file("catalogue-20", "home/cfg_changes.queue", "", "file, *").file("catalogue-41", "home/main/base/20240701T120000", "", "directory, *").file("catalogue-41", "home/main/base/20240701T120000/data", "", "directory, *").file("catalogue-41", "home/main/base/20240701T120000/data/PG_VERSION", "", "file, *").file("catalogue-41", "home/main/meta/20240701T120000-backup.info", "", "file, *")
            .then(unreadable)
            .run("cron")
            .rules(&[Pid, Duration, Instant]),
        scenario("empty-metadata", "catalog.md 24.6", THREE).exit_code(0, "catalogue-24", 1, 0).stdout(0, "catalogue-24", "", "main 20240702T120000 - F - EMPTY").stderr(0, "catalogue-24", "ERROR: Cannot read the metadata of backup 20240702T120000 of server main (*/run/home/main/meta/20240702T120000*", "").stdout(1, "catalogue-2", "", "Delete associated WAL segments:").stdout(1, "catalogue-2", "", "\t000000010000000000000002").stdout(1, "catalogue-2", "", "\t000000010000000000000003").stdout(1, "catalogue-2", "", "\t000000010000000000000004").stdout(1, "catalogue-2", "", "\t000000010000000000000005").stderr(1, "catalogue-2", "WARNING: No WAL is deleted: a backup that cannot be read may need it", "").file("catalogue-2", "home/main/wals/0000000100000000/000000010000000000000002", "file, *", "").file("catalogue-2", "home/main/wals/0000000100000000/000000010000000000000003", "file, *", "").file("catalogue-2", "home/main/wals/0000000100000000/000000010000000000000004", "file, *", "").file("catalogue-2", "home/main/wals/0000000100000000/000000010000000000000005", "file, *", "").line("catalogue-2", "home/main/wals/main-xlog.db", "000000010000000000000002\t1048576\t1719799200.0\tNone\tNone", "").line("catalogue-2", "home/main/wals/main-xlog.db", "000000010000000000000003\t1048576\t1719802800.0\tNone\tNone", "").line("catalogue-2", "home/main/wals/main-xlog.db", "000000010000000000000004\t1048576\t1719806400.0\tNone\tNone", "").line("catalogue-2", "home/main/wals/main-xlog.db", "000000010000000000000005\t1048576\t1719810000.0\tNone\tNone", "")
            .then(empty)
            .run("list-backups main")
            .run("delete main oldest")
            .rules(&[Pid, Duration, Instant]),
        scenario("check-broken-identity", "postgres.md 17.3", THREE.live(Live::Shared(15))).stdout(0, "check-3", "\tsystemid coherence: FAILED (*/run/home/main/identity.json is not an identity file: EOF while parsing a value at line 1 column 13)", "").stderr(0, "check-3", "", "EXCEPTION: Expecting value: line 1 column 14 (char 13)").stderr(0, "check-3", "", "See log file for more details.").stdout(0, "check-3", "\t*: OK*", "").each()
            .then(|stage| main(stage)?.write("identity.json", b"{\"systemid\": "))
            .run("check main")
            .rules(&[Pid]),
        scenario("annotation-of-an-old-version", "catalog.md 24.24", THREE).file("catalogue-22", "home/main/base/20240701T120000/annotations/keep", "file, *", "").file("catalogue-22", "home/main/meta/20240701T120000-keep", "", "file, *")
            .then(|stage| main(stage)?.write(&format!("base/{}/annotations/keep", id(1)), b"full"))
            .run("keep -s main oldest")
            .run("list-backups main")
            .rules(&[Pid]),
        scenario("check-backup-that-failed-for-wal", "catalog.md 24.12", THREE).exit_code(0, "catalogue-13", 0, 1).stderr(0, "catalogue-13", "", "ERROR: <words>").stdout(1, "catalogue-13", "main 20240703T120000 - F - Wed Jul  3 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 3.0 MiB", "main 20240703T120000 - F - FAILED").stdout(1, "catalogue-13", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 5.0 MiB").file("all-15", "home/.main-20240703T120000.lock", "file, *", "").line("catalogue-13", "home/main/meta/20240703T120000-backup.info", "error=None", "error=At least one WAL file is missing. The first missing WAL file is 000000010000000000000006").line("catalogue-13", "home/main/meta/20240703T120000-backup.info", "status=DONE", "status=FAILED")
            .then(|stage| {
                main(stage)?.backup(3, 6, &[
                    ("status", "FAILED"),
                    ("error", "At least one WAL file is missing. The first missing WAL file is 000000010000000000000006"),
                ])
            })
            .run("check-backup main {id 3}")
            .run("list-backups main")
            .rules(&[Pid])
            .prose(),
        scenario("check-backup-of-a-useless-file", "catalog.md 11", THREE).exit_code(0, "backup-12", 1, 0).stderr(0, "backup-12", "ERROR: This backup has been marked as FAILED due to the following reason: At least one WAL file is missing. Th*", "").stdout(1, "backup-12", "main 20240702T120000 - F - FAILED", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB").stdout(1, "backup-12", "main 20240701T120000 - F - Mon Jul  1 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 4.0 MiB", "main 20240701T120000 - F - Mon Jul  1 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB").line("backup-12", "home/main/meta/20240702T120000-backup.info", "error=At least one WAL file is missing. The first missing WAL file is 000000010000000000000004", "error=None").line("backup-12", "home/main/meta/20240702T120000-backup.info", "status=FAILED", "status=DONE")
            .then(|stage| main(stage)?.backup(2, 4, &[("status", "WAITING_FOR_WALS")]))
            .then(no_content)
            .run("check-backup main {id 2}")
            .run("list-backups main")
            .rules(&[Pid]),
        scenario("delete-a-child-that-is-gone", "catalog.md 24.7, 24.8", THREE).exit_code(1, "catalogue-9", 0, 1).stdout(1, "catalogue-9", "Deleting backup 20240701T120000 for server main", "").stdout(1, "catalogue-9", "Delete associated WAL segments:", "").stdout(1, "catalogue-9", "\t000000010000000000000002", "").stdout(1, "catalogue-9", "\t000000010000000000000003", "").stdout(1, "catalogue-9", "Deleted backup 20240701T120000 (start time: <instant in words>, elapsed time: <duration>)", "").stdout(1, "catalogue-9", "", "Deleting backup 20240709T120000 for server main").stderr(1, "catalogue-9", "", "WARNING: Backup 20240701T120000 has incremental backups which depend on it. Deleting all backups in the tree").stderr(1, "catalogue-9", "", "EXCEPTION: Could not find backup_id 20240709T120000").stderr(1, "catalogue-9", "", "See log file for more details.").file("all-15", "home/.main-20240709T120000.lock", "", "file, *").file("catalogue-9", "home/main/base/20240701T120000", "", "directory, *").file("catalogue-9", "home/main/base/20240701T120000/data", "", "directory, *").file("catalogue-9", "home/main/base/20240701T120000/data/PG_VERSION", "", "file, *").file("catalogue-9", "home/main/meta/20240701T120000-backup.info", "", "file, *").file("catalogue-9", "home/main/meta/20240709T120000-delete_this", "", "file, *").file("catalogue-9", "home/main/wals/0000000100000000/000000010000000000000002", "", "file, *").file("catalogue-9", "home/main/wals/0000000100000000/000000010000000000000003", "", "file, *").line("catalogue-9", "home/main/wals/main-xlog.db", "", "000000010000000000000002\t1048576\t1719799200.0\tNone\tNone").line("catalogue-9", "home/main/wals/main-xlog.db", "", "000000010000000000000003\t1048576\t1719802800.0\tNone\tNone")
            .then(|stage| main(stage)?.backup(1, 2, &[("children_backup_ids", "20240709T120000")]))
            .run("list-backups main")
            .run("delete main oldest")
            .rules(&[Pid, Duration, Instant]),
        scenario("delete-a-root-in-use", "catalog.md 24.9", THREE).stderr(0, "catalogue-8", "ERROR: Cannot delete backup (main 20240702T120000)", "").stderr(0, "catalogue-8", "", "ERROR: Failed to delete one of its incremental backups. Make sure all its dependent backups are deletable and try again.").stderr(0, "catalogue-8", "", "ERROR: Cannot delete backup (main LocalBackupInfo(backup_label=\"'START WAL LOCATION: 0/200028 (file 0000000100*").file("all-15", "home/.main-20240701T120000.lock", "file, *", "")
            .then(|stage| {
                let (root, child) = (id(1), id(2));
                main(stage)?.backup(1, 2, &[("children_backup_ids", &child)])?;
                main(stage)?.backup(2, 4, &[("parent_backup_id", &root)])?;
                stage.hold_shared(&format!("main-{child}"))
            })
            .run("delete main oldest")
            .run("list-backups main")
            .rules(&[Pid, Duration]),
    ]
}

fn retention() -> Vec<Scenario> {
    vec![
        scenario(
            "delete-wal-of-a-later-backup",
            "catalog.md 24.2",
            PLAIN.catalogue(Catalogue::Made(out_of_order)),
        )
        .run("delete main {id 2}")
        .run("list-backups main")
        .rules(&[Pid, Duration, Instant]),
        scenario(
            "delete-of-a-full-directory",
            "catalog.md 24.1",
            PLAIN.catalogue(Catalogue::Made(crowded)),
        ).file("catalogue-1", "home/main/wals/0000000100000000", "directory, *", "").file("catalogue-1", "home/main/wals/0000000100000000/00000001000000000000012C", "file, *", "").file("catalogue-1", "home/main/wals/0000000100000000/00000001000000000000012D", "file, *", "").file("catalogue-1", "home/main/wals/0000000100000000/mine", "file, *", "")
        .run("delete main oldest").files("home/main/wals/0*", Look::Presence)
        .rules(&[Pid, Duration, Instant])
        .prose_on_stdout(),
        scenario("delete-dry-run", "catalog.md 15.3", THREE).prose().exit_code(0, "catalogue-26", 0, 2).stdout(0, "catalogue-26", "Deleting backup 20240701T120000 of server main would remove:", "").stdout(0, "catalogue-26", "\tBackup 20240701T120000 (status DONE, 22.1 MiB)", "").stdout(0, "catalogue-26", "\t\tWAL 000000010000000000000002..000000010000000000000003 (2 files, 2.0 MiB): older than 000000010000000000000004, where backup 20240702T120000 begins", "").stdout(0, "catalogue-26", "\t\tnot WAL 000000010000000000000004..000000010000000000000009 (6 files, 6.0 MiB): from 000000010000000000000004 on, where backup 20240702T120000 begins", "").stdout(0, "catalogue-26", "This was a dry run: nothing has been removed. History files always stay.", "").file("all-15", "home/.main-xlogdb.lock", "file, *", "").stderr(0, "catalogue-26", "", "usage error: <words>").run("delete --dry-run main oldest"),
        scenario(
            "retention-explained",
            "catalog.md 14.6",
            THREE.main("retention_policy = REDUNDANCY 2"),
        ).prose().exit_code(0, "catalogue-27", 0, 2).stdout(0, "catalogue-27", "Server main: retention policy REDUNDANCY 2, minimum redundancy 0", "").stdout(0, "catalogue-27", "\t20240703T120000 - VALID", "").stdout(0, "catalogue-27", "\t20240702T120000 - VALID", "").stdout(0, "catalogue-27", "\t20240701T120000 - OBSOLETE", "").stderr(0, "catalogue-27", "", "usage error: <words>")
        .run("retention main"),
        scenario(
            "cron-standalone-only",
            "catalog.md 24.18",
            THREE.main("retention_policy = REDUNDANCY 1"),
        ).stderr(0, "catalogue-33", "WARNING: The retention policy of server main calls backup 20240702T120000 obsolete, since backups kept as stan*", "").files("home/.main-archive-wal.lock", Look::Nothing).file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
        .then(|stage| {
            let main = main(stage)?;
            main.keep(3, "standalone")
        })
        .run("cron")
        .rules(&[Pid, Duration, Instant]),
        scenario("cron-checks-every-backup", "catalog.md 24.13", THREE).stdout(0, "catalogue-15", "Starting check-backup for backup 20240702T120000 of server main", "").stdout(1, "catalogue-15", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB - WAITING_FOR_WALS").file("all-15", "home/.main-20240702T120000.lock", "file, *", "").files("home/.main-archive-wal.lock", Look::Nothing).file("catalogue-20", "home/cfg_changes.queue", "", "file, *").line("catalogue-15", "home/main/meta/20240702T120000-backup.info", "status=DONE", "status=WAITING_FOR_WALS")
            .then(|stage| {
                let main = main(stage)?;
                main.backup(1, 2, &[("status", "WAITING_FOR_WALS")])?;
                main.backup(2, 4, &[("status", "WAITING_FOR_WALS")])
            })
            .run("cron")
            .then(Stage::settle)
            .run("list-backups main")
            .rules(&[Pid]),
        scenario(
            "cron-makes-the-lock-directory",
            "catalog.md 24.23",
            THREE.global("barman_lock_directory = {root}/home/locks"),
        ).exit_code(0, "catalogue-14", 0, 1).stdout(0, "catalogue-14", "Starting WAL archiving for server main", "").stderr(0, "catalogue-14", "", "EXCEPTION: [Errno 2] No such file or directory: '*/run/home/locks/.config-update.lock'").stderr(0, "catalogue-14", "", "See log file for more details.").file("catalogue-14", "home/locks", "directory, *", "")
        // Held by cron's child while that still runs.
        .files("home/locks/.main-archive-wal.lock", Look::Nothing)
        .run("cron")
        ,
    ]
}

/// The backup of day 4 begins before that of day 3: a clock was set back.
fn out_of_order(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(2, 2, &[])?;
    main.backup(3, 8, &[])?;
    main.backup(4, 4, &[])?;
    (2..11).try_for_each(|number| main.wal(number))
}

/// More than 255 names in one directory of the archive.
fn crowded(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.backup(2, 300, &[])?;
    for number in 2..302 {
        let name = segment(number);
        main.write(&format!("wals/0000000100000000/{name}"), b"x")?;
        main.list(&format!("{name}\t1\t1719792000.0\tNone\tNone\n"))?;
    }
    // Not listed.
    main.write("wals/0000000100000000/mine", b"x")
}

fn archive() -> Vec<Scenario> {
    let rebuilt = |name, spec| scenario(name, spec, THREE).rules(&[Pid]);
    vec![
        rebuilt("list-backups-cut-line", "catalog.md 24.22").exit_code(0, "catalogue-19", 0, 1).stdout(0, "catalogue-19", "main 20240703T120000 - F - Wed Jul  3 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 3.0 MiB", "").stdout(0, "catalogue-19", "main 20240702T120000 - F - Tue Jul  2 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB", "").stdout(0, "catalogue-19", "main 20240701T120000 - F - Mon Jul  1 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB", "").stderr(0, "catalogue-19", "", "EXCEPTION: cannot parse line: '00000001000000000000000A\\t10485'").stderr(0, "catalogue-19", "", "See log file for more details.")
            .then(|stage| main(stage)?.list("00000001000000000000000A\t10485"))
            .run("list-backups main")
            ,
        rebuilt("rebuild-xlogdb-misplaced", "catalog.md 24.5").stdout(0, "catalogue-21", "Done rebuilding xlogdb for server main (history: 0, backup_labels: 0, wal_file: 8)", "Done rebuilding xlogdb for server main (history: 0, backup_labels: 0, wal_file: 10)").line("catalogue-21", "home/main/wals/main-xlog.db", "", "00000001000000000000000b\t1\t1719792000.0\tNone\tNone").line("catalogue-21", "home/main/wals/main-xlog.db", "", "00000001000000000000000A\t1\t1719792000.0\tNone\tNone")
            .then(|stage| {
                let main = main(stage)?;
                main.write("wals/0000000100000001/00000001000000000000000A", b"x")?;
                main.write("wals/0000000100000000/00000001000000000000000b", b"x")
            })
            .run("rebuild-xlogdb main"),
        rebuilt("rebuild-xlogdb-without-an-archive", "catalog.md 24.5")
            .then(|stage| Ok(fs::remove_dir_all(stage.main("wals"))?))
            .run("rebuild-xlogdb main"),
        scenario("get-wal-useless", "wal.md 21.3, 21.11", THREE).exit_code(0, "wal-17", 1, 0).hint(0, "HINT: the archived file is not what PostgreSQL wrote: get this segment from another archive or from pg_wal").stderr(0, "wal-17", "ERROR: WAL file */run/home/main/wals/0000000100000000/000000010000000000000004 is damaged: it is empty", "").exit_code(1, "wal-17", 1, 0).hint(1, "HINT: the archived file is not what PostgreSQL wrote: get this segment from another archive or from pg_wal").stderr(1, "wal-17", "ERROR: WAL file */run/home/main/wals/0000000100000000/000000010000000000000004 is damaged: it is empty", "").file("wal-15", "out/000000010000000000000004", "", "file, *")
            .then(no_content)
            .run("get-wal main 000000010000000000000004")
            .run("get-wal -o {root}/out main 000000010000000000000004")
            .rules(&[]),
        scenario(
            "get-wal-peek-over-a-hole",
            "wal.md 21.31",
            PLAIN.catalogue(Catalogue::Made(border)),
        ).stdout(0, "wal-16", "", "000000010000000100000000").stdout(0, "wal-16", "", "000000010000000100000001")
        .run("get-wal -p 5 main 0000000100000000000000FE"),
        scenario("get-wal-damaged", "wal.md 15.3", THREE).hint(0, "HINT: the archived file is not what PostgreSQL wrote: get this segment from another archive or from pg_wal").stderr(0, "wal-24", "ERROR: Error decompressing WAL: */run/home/main/wals/0000000100000000/000000010000000000000004: gzip data is cut off", "ERROR: Error decompressing WAL: {'ret': None, 'err': 'Compressed file ended before the end-of-stream marker was reached', 'out': None}").file("wal-15", "out/000000010000000000000004", "", "file, *")
            .then(|stage| {
                let path = archived(stage, 4);
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(&fs::read(&path)?)?;
                let packed = packed.finish()?;
                File::create(&path)?.write_all(packed.get(..packed.len() / 2).unwrap_or_default())?;
                Ok(())
            })
            .run("get-wal -o {root}/out main 000000010000000000000004"),
    ]
}

/// Segments of 1 MiB, of which one is missing that would be in the next directory if it had 16 MiB.
fn border(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 254, &[])?;
    [254, 255, 4096, 4097]
        .into_iter()
        .try_for_each(|number| main.wal(number))
}

fn queues() -> Vec<Scenario> {
    let queue = |name, spec| {
        scenario(name, spec, THREE)
            .rules(&[Pid, Instant])
            .files(LOCK, Look::Nothing)
    };
    vec![
        queue("archive-wal-stored-but-not-listed", "wal.md 21.4").line("wal-2", "home/main/wals/main-xlog.db", "00000001000000000000000A\t1048576\t<instant>\tNone\tNone", "")
            .then(|stage| {
                let main = main(stage)?;
                main.queued("incoming", 10)?;
                fs::copy(stage.main("incoming").join(segment(10)), archived(stage, 10))?;
                Ok(())
            })
            .run("archive-wal main"),
        queue("archive-wal-empty-file", "wal.md 21.11").exit_code(0, "wal-6", 1, 0).stderr(0, "wal-6", "ERROR: WAL file 00000001000000000000000A of server main is useless: it is empty. File moved to errors directory.", "").file("wal-6", "home/main/errors/00000001000000000000000A.<instant>.error", "file, *", "").file("wal-6", "home/main/wals/0000000100000000/00000001000000000000000A", "", "file, *").line("wal-6", "home/main/wals/main-xlog.db", "", "00000001000000000000000A\t0\t1719792000.0\tNone\tNone")
            .then(|stage| {
                let main = main(stage)?;
                main.write(&format!("incoming/{}", segment(10)), b"")?;
                main.queued("incoming", 11)
            })
            .run("archive-wal main"),
        queue("archive-wal-no-file", "wal.md 21.8, 21.10").stdout(0, "all-16", "Found unknown objects while processing xlog segments for main. Objects moved to errors directory:", "Some unknown objects have been found while processing xlog segments for main. Objects moved to errors directory:")
            .then(|stage| {
                std::os::unix::fs::symlink("/nowhere", stage.main("incoming").join(segment(10)))?;
                main(stage)?.queued("incoming", 11)
            })
            .run("archive-wal main"),
        scenario("archive-wal-lower-case", "wal.md 1.1", THREE).rules(&[Pid]).stdout(1, "wal-8", "00000001000000000000000A", "").file("wal-8", "home/main/wals/0000000100000000/00000001000000000000000A", "file, *", "").file("wal-8", "home/main/wals/0000000100000000/00000001000000000000000a", "", "file, *").line("wal-8", "home/main/wals/main-xlog.db", "00000001000000000000000A\t1048576\t1719828000.0\tNone\tNone", "00000001000000000000000a\t1048576\t1719828000.0\tNone\tNone")
            .then(|stage| {
                let main = main(stage)?;
                main.queued("incoming", 10)?;
                let queue = stage.main("incoming");
                Ok(fs::rename(queue.join(segment(10)), queue.join(segment(10).to_lowercase()))?)
            })
            .run("archive-wal main")
            .run("get-wal -p 2 main 00000001000000000000000A"),
        scenario("archive-wal-batch-of-others", "wal.md 21.9", THREE.main("archiver_batch_size = 2")).stdout(0, "wal-7", "Processing xlog segments from file archival for main (batch size: 2)", "").stdout(0, "wal-7", "\t00000001000000000000000C", "").stdout(0, "wal-7", "\t00000001000000000000000D", "").stdout(0, "wal-7", "", "Processing xlog segments from file archival for main").stdout(0, "wal-7", "", "\tno file found").file("all-15", "home/.main-xlogdb.lock", "file, *", "").file("wal-7", "home/main/incoming/00000001000000000000000C", "", "file, *").file("wal-7", "home/main/incoming/00000001000000000000000D", "", "file, *").file("wal-7", "home/main/wals/0000000100000000/00000001000000000000000C", "file, *", "").file("wal-7", "home/main/wals/0000000100000000/00000001000000000000000D", "file, *", "").line("wal-7", "home/main/wals/main-xlog.db", "00000001000000000000000C\t1048576\t1719835200.0\tNone\tNone", "").line("wal-7", "home/main/wals/main-xlog.db", "00000001000000000000000D\t1048576\t1719838800.0\tNone\tNone", "")
            .then(|stage| {
                let main = main(stage)?;
                for number in [10, 11] {
                    main.write(&format!("incoming/{}.tmp", segment(number)), b"x")?;
                }
                main.queued("incoming", 12)?;
                main.queued("incoming", 13)
            })
            .run("archive-wal main").files("home/main/wals/0*/0*", Look::Size)
            .rules(&[Pid]),
        scenario("archive-wal-hook-learns-of-failures", "wal.md 21.33", THREE.main("compression = custom\ncustom_compression_filter = exit 3\ncustom_decompression_filter = cat\npost_archive_script = env | grep ^BARMAN_ | grep -v VERSION | sort >> {root}/out/post")).stdout(0, "wal-22", "", "\t00000001000000000000000A").stderr(0, "wal-25", "ERROR: WAL file 00000001000000000000000A of server main is not archived: custom_compression_filter failed with exit code 3. It stays in the queue.", "").stderr(0, "wal-25", "", "EXCEPTION: {'ret': 3, 'out': '', 'err': ''}").stderr(0, "wal-25", "", "See log file for more details.").file("all-15", "home/.main-xlogdb.lock", "", "file, *").file("wal-25", "home/main/wals/0000000100000000/00000001000000000000000A.compressed", "", "file, *").line("wal-20", "out/post", "BARMAN_ERROR=custom_compression_filter failed with exit code 3", "BARMAN_ERROR=")
            .then(|stage| main(stage)?.queued("incoming", 10))
            .run("archive-wal main")
            .rules(&[Pid]),
    ]
}
