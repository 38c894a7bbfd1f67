//! Signals: a hook makes the moment at which they come the same for both programs. SIGHUP is not among them: who was started with `nohup` ignores it.

use anyhow::Result;
use rustix::process::Signal;

use super::VARIED;
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{BackupId, Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN};

fn begun(stage: &Stage) -> Result<bool> {
    Ok(stage.root.join("out/begun").exists())
}

pub fn scenarios() -> Vec<Scenario> {
    let (int, term) = (Signal::INT.as_raw(), Signal::TERM.as_raw());
    let archive = |name, signal| {
        scenario(
            name,
            "cli.md 8, 13.1",
            VARIED.main("pre_archive_script = touch {root}/out/begun; sleep 12"),
        )
        .then(|stage| {
            crate::conformance::catalogue::Home::new(&stage.root.join("home"))
                .server("main")?
                .queued("incoming", 12)
        })
        .interrupted("archive-wal main", signal, begun)
        .stdout(0, "wal-22", "", "\t00000001000000000000000C")
        .file("all-15", "home/.main-xlogdb.lock", "", "file, *")
        .rules(&[Pid])
    };
    let restore = |name, signal| {
        scenario(
            name,
            "cli.md 8, 12",
            PLAIN
                .catalogue(Catalogue::Archive(15))
                .main("pre_recovery_script = touch {root}/out/begun; sleep 12"),
        )
        .interrupted("restore main latest {root}/out/x", signal, begun)
        .file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", "")
        .rules(&[Pid])
    };
    let delete = |name, signal| {
        scenario(
            name,
            "cli.md 8, 11.5",
            VARIED.main("pre_delete_script = touch {root}/out/begun; sleep 12"),
        )
        .interrupted("delete main oldest", signal, begun)
        .run("list-backups main")
        .file(
            "catalogue-6",
            "home/main/meta/20240701T120000-delete_this",
            "",
            "file, *",
        )
        .rules(&[Pid])
    };
    let backup = |name, signal| {
        scenario(
            name,
            "cli.md 8, 11.1",
            PLAIN
                .live(Live::Own(15))
                .main("pre_backup_script = touch {root}/out/begun; sleep 12"),
        )
        .run("switch-wal --force --archive main")
        .interrupted("backup main", signal, begun)
        .run("list-backups main")
        .rules(&[Pid, Instant, Duration, BackupId])
        .files("home/main/wals/0*/*", Look::Size)
        .files("home/main/incoming/*", Look::Nothing)
    };
    let several = scenario(
        "backup-of-several-servers-interrupted",
        "cli.md 8, 6.1",
        PLAIN
            .live(Live::Own(15))
            .main("pre_backup_script = touch {root}/out/begun; sleep 12")
            .servers("[other]\nconninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\nbackup_method = postgres\narchiver = on\n"),
    ).stderr(1, "cli-8", "DETAILS: interrupted by the user, KeyboardInterrupt", "").stderr(1, "cli-8", "", "DETAILS: KeyboardInterrupt").stderr(1, "backup-15", "", "ERROR: Impossible to start the backup. Check the log for more details, or run 'barman check other'").file("all-15", "home/.other-archive-wal.lock", "", "file, *").line("cli-8", "home/main/meta/<backup 1>-backup.info", "error=failure starting backup (interrupted by the user, KeyboardInterrupt)", "error=failure starting backup (KeyboardInterrupt)").file("backup-11", "home/main/wals/0000000100000000", "directory, *", "").file("backup-11", "home/main/wals/0000000100000000/000000010000000000000001", "file, *", "").line("backup-11", "home/main/wals/main-xlog.db", "000000010000000000000001\t16777216\t<instant>\tNone\tNone", "").file("backup-15", "home/other", "", "directory, *").file("backup-15", "home/other/base", "", "directory, *").file("backup-15", "home/other/errors", "", "directory, *").file("backup-15", "home/other/incoming", "", "directory, *").file("backup-15", "home/other/meta", "", "directory, *").file("backup-15", "home/other/streaming", "", "directory, *").file("backup-15", "home/other/wals", "", "directory, *")
    .run("switch-wal --force --archive main")
    .interrupted("backup main other", int, begun)
    .rules(&[Pid, Instant, Duration, BackupId])
    .files("home/main/wals/0*/*", Look::Size)
    .files("home/main/incoming/*", Look::Nothing);
    let told = |scenario: Scenario, what: &'static str, why: &'static str| {
        let scenario = if what.is_empty() {
            scenario
        } else {
            scenario.stderr(0, "all-8", what, "")
        };
        scenario.stderr(0, "all-8", why, "")
    };
    let by_term = "ERROR: Process interrupted by SIGTERM";
    let archiving = "ERROR: archiving WAL of server main was interrupted";
    let restoring = "ERROR: interrupted while hook script 'pre_recovery_script' was running";
    let deleting = "ERROR: interrupted while hook script 'pre_delete_script' was running";
    let info = "home/main/meta/<backup 1>-backup.info";
    vec![
        several,
        told(archive("archive-wal-interrupted", int), "", archiving),
        told(archive("archive-wal-terminated", term), by_term, archiving),
        told(restore("restore-interrupted", int), "", restoring),
        told(restore("restore-terminated", term), by_term, restoring),
        told(delete("delete-interrupted", int), "", deleting),
        told(delete("delete-terminated", term), by_term, deleting),
        backup("backup-interrupted-in-a-hook", int)
            .stderr(
                1,
                "cli-8",
                "DETAILS: interrupted by the user, KeyboardInterrupt",
                "DETAILS: KeyboardInterrupt",
            )
            .line(
                "cli-8",
                info,
                "error=failure starting backup (interrupted by the user, KeyboardInterrupt)",
                "error=failure starting backup (KeyboardInterrupt)",
            )
            .file("backup-11", "home/main/wals/0000000100000000", "directory, *", "")
            .file(
                "backup-11",
                "home/main/wals/0000000100000000/000000010000000000000001",
                "file, *",
                "",
            )
            .line(
                "backup-11",
                "home/main/wals/main-xlog.db",
                "000000010000000000000001\t16777216\t<instant>\tNone\tNone",
                "",
            ),
        backup("backup-terminated-in-a-hook", term)
            .exit_code(1, "all-8", 1, 143)
            .stderr(1, "all-8", "ERROR: Backup failed starting backup.", "")
            .stderr(1, "all-8", "DETAILS: ended by SIGTERM, 143", "")
            .stdout(
                2,
                "all-8",
                "main <backup 1> - F - FAILED",
                "main <backup 1> - F - EMPTY",
            )
            .line(
                "all-8",
                info,
                "error=failure starting backup (ended by SIGTERM, 143)",
                "error=None",
            )
            .line("all-8", info, "status=FAILED", "status=EMPTY"),
    ]
}
