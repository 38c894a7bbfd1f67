//! `restore`.

use std::fs;

use anyhow::{Context, Result};

use super::{ANY_HINT, VARIED};
use crate::conformance::execute::Stage;
use crate::conformance::listed::EMPTY_LINE;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

const ARCHIVE: State = PLAIN.catalogue(Catalogue::Archive(15));

fn occupied(stage: &Stage) -> Result<()> {
    fs::create_dir_all(stage.root.join("out/x"))?;
    Ok(fs::write(stage.root.join("out/x/file"), "mine")?)
}

/// A restore takes the lock of its backup, and leaves the file.
fn locked(scenario: Scenario) -> Scenario {
    scenario
        .file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", "")
        .each()
}

/// The advice of a restore that writes a `restore_command`: our two lines and the oracle's.
const REVIEW: [&str; 2] = [
    "Before you start PostgreSQL, review the file postgresql.auto.conf in *",
    "Before you start up the PostgreSQL server, please review the postgresql.auto.conf file",
];
const MAY_RUN: [&str; 2] = [
    "the user 'postgres' must be able to run the restore_command that it contains.",
    "inside the target directory. Make sure that 'restore_command' can be executed by the PostgreSQL user.",
];

pub fn scenarios() -> Vec<Scenario> {
    let majors = [
        (10, "restore-10"),
        (13, "restore-13"),
        (17, "restore-17"),
        (18, "restore-18"),
    ]
    .map(|(major, name)| {
        let both = scenario(name, "restore.md 5", PLAIN.catalogue(Catalogue::Archive(major)))
            .run("restore main latest {root}/out/x")
            .run("restore --target-immediate main oldest {root}/out/y");
        locked(both.rules(&[Pid, Instant, Duration]))
    });
    let made = |name, spec, words| {
        locked(
            scenario(name, spec, ARCHIVE)
                .run(words)
                .rules(&[Pid, Instant, Duration]),
        )
    };
    let mut all = vec![
        made(
            "restore-latest",
            "restore.md 5",
            "restore main latest {root}/out/x",
        )
        .short(),
        made(
            "restore-json",
            "cli.md 12",
            "-f json restore main oldest {root}/out/x",
        )
        .short(),
        made(
            "recover-by-name",
            "cli.md 7, 12",
            "recover main second {root}/out/x",
        ),
        made(
            "restore-target-time",
            "restore.md 6.2",
            "restore --target-time '2040-01-01 10:00:00+00:00' main oldest {root}/out/x",
        ).stderr(0, "restore-6", "WARNING: The target time * is in the future: recovery will not reach it.", ""),
        made(
            "restore-target-time-json",
            "restore.md 6.2",
            "-f json restore --target-time '2040-01-01 10:00:00+00:00' --target-action promote main oldest {root}/out/x",
        ).json(0, "restore-6", "_WARNING", "[\"The target time * is in the future: recovery will not reach it.\"]", ""),
        made(
            "restore-target-xid",
            "restore.md 6",
            "restore --target-xid 5000 --exclusive main oldest {root}/out/x",
        ),
        made(
            "restore-target-name",
            "restore.md 6",
            "restore --target-name mark --target-action pause main oldest {root}/out/x",
        ),
        made(
            "restore-target-immediate",
            "restore.md 6",
            "restore --target-immediate --target-action shutdown main oldest {root}/out/x",
        ),
        made(
            "restore-target-lsn",
            "restore.md 6",
            "restore --target-lsn 0/5000000 main oldest {root}/out/x",
        ),
        made(
            "restore-target-tli",
            "restore.md 6.3",
            "restore --target-tli current main oldest {root}/out/x",
        ),
        made(
            "restore-target-tli-latest",
            "restore.md 6.3",
            "restore --target-tli latest main oldest {root}/out/x",
        ),
        made(
            "restore-standby",
            "restore.md 13",
            "restore --standby-mode main oldest {root}/out/x",
        ),
        made(
            "restore-get-wal",
            "restore.md 13.1",
            "restore --get-wal main oldest {root}/out/x",
        )
        .short().stdout(0, "all-16", REVIEW[0], REVIEW[1]).stdout(0, "all-16", MAY_RUN[0], MAY_RUN[1]).line("restore-23", "out/x/postgresql.auto.conf", "restore_command = 'barman -c */run/barman.conf get-wal -P main %f > %p'", "restore_command = 'barman get-wal -P main %f > %p'"),
        made(
            "restore-get-wal-standby",
            "restore.md 13.1",
            "restore --get-wal --standby-mode main oldest {root}/out/x",
        ).stdout(0, "all-16", REVIEW[0], REVIEW[1]).stdout(0, "all-16", MAY_RUN[0], MAY_RUN[1]).line("restore-23", "out/x/postgresql.auto.conf", "restore_command = 'barman -c */run/barman.conf get-wal  main %f > %p'", "restore_command = 'barman get-wal  main %f > %p'"),
        made(
            "restore-staging-wal-directory",
            "restore.md 2.2",
            "restore --target-immediate --staging-wal-directory {root}/out/staged main oldest {root}/out/x",
        ),
        made(
            "restore-own-restore-command",
            "restore.md 13",
            "restore --restore-command 'cp /x/%f %p' --get-wal main oldest {root}/out/x",
        ).stdout(0, "all-16", REVIEW[0], REVIEW[1]).stdout(0, "all-16", MAY_RUN[0], MAY_RUN[1]),
        made(
            "restore-other-settings-file",
            "restore.md 13.5",
            "restore --standby-mode --recovery-conf-filename my.conf main oldest {root}/out/x",
        ),
        made(
            "restore-parallel",
            "restore.md 9",
            "restore -j 2 main latest {root}/out/x",
        ),
        made(
            "restore-no-archiving",
            "restore.md 2.2",
            "restore --skip-archive-wal --no-get-wal main latest {root}/out/x",
        ),
        scenario("restore-auto", "restore.md 3.1", ARCHIVE)
            .run("restore --target-tli 1 main auto {root}/out/x")
            .run("restore --target-time '2020-01-01 00:00:00' main auto {root}/out/y")
            .rules(&[Pid, Instant, Duration]).file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", "").each(),
        scenario("restore-twice-into-one-place", "restore.md 7", ARCHIVE)
            .then(occupied)
            .run("restore main latest {root}/out/x")
            .prose().rules(&[Pid]).hint(0, ANY_HINT).file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", ""),
        scenario("restore-several-targets", "cli.md 12", VARIED)
            .run("restore --target-time '2024-07-08' --target-xid 5 main latest {root}/out/x")
            .run("restore --target-immediate --target-name a main latest {root}/out/x")
            .prose()
            .short(),
        scenario("restore-delta-awaited", "restore.md 9.3", VARIED)
            .run("restore --delta-restore main latest {root}/out/x")
            .awaits("a delta restore (--delta-restore)"),
        scenario("restore-remote-awaited", "restore.md 2.3", VARIED)
            .run("restore --remote-ssh-command false main latest /nowhere")
            .awaits("a remote restore (--remote-ssh-command)"),
        scenario("restore-refusals", "cli.md 12, restore.md 4", VARIED)
            .run("restore --tablespace nonsense main {id 3} {root}/out/x")
            .run("restore --tablespace ts9:/x main {id 3} {root}/out/x")
            .run("restore --staging-path relative main latest {root}/out/x")
            .run("restore --staging-location remote main latest {root}/out/x")
            .run("restore main {id 2} {root}/out/x")
            .run("restore main {id 4} {root}/out/x")
            .run("restore main latest {root}/out/a:b")
            .run("restore --network-compression main latest {root}/out/x")
            .prose().hints(4..6, ANY_HINT).hint(3, ANY_HINT),
        scenario("restore-bad-targets", "restore.md 4", ARCHIVE)
            .run("restore --target-time nonsense main oldest {root}/out/x")
            .run("restore --target-action promote main oldest {root}/out/y")
            .prose().rules(&[Pid]).stdout(0, "restore-1", "", "Starting local restore for server main using backup *").stdout(0, "restore-1", "", "Destination directory: *").stdout(1, "restore-1", "", "Starting local restore for server main using backup *").stdout(1, "restore-1", "", "Destination directory: *"),
    ];
    all.extend(majors);
    all.extend(more());
    all.extend(better());
    all
}

/// The only backup directories of the run, oldest first.
fn data(stage: &Stage) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(stage.main("base"))?.collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<_> = entries.iter().map(|entry| entry.path().join("data")).collect();
    all.sort();
    Ok(all)
}

/// Writes a file into each backup.
fn in_backups(stage: &Stage, name: &str, content: &str) -> Result<()> {
    data(stage)?.into_iter().try_for_each(|data| {
        let path = data.join(name);
        fs::create_dir_all(path.parent().context("a directory")?)?;
        fs::write(&path, content).context("write into a backup")
    })
}

/// Adds lines to the WAL catalogue.
fn listed(stage: &Stage, lines: &str) -> Result<()> {
    let path = stage.main("wals/main-xlog.db");
    let text = fs::read_to_string(&path).context("read the WAL catalogue")?;
    fs::write(path, text + lines).context("write the WAL catalogue")
}

/// Where Barman restores something else than was asked for, or without a word.
fn better() -> Vec<Scenario> {
    let made = |name, spec| locked(scenario(name, spec, ARCHIVE).rules(&[Pid, Instant, Duration]));
    let refused = |name, spec| scenario(name, spec, ARCHIVE).rules(&[Pid, Instant, Duration]);
    vec![
        locked(scenario("restore-missing-wal", "restore.md 20.13", ARCHIVE).rules(&[Pid])).stdout(0, "restore-4", "", "Starting local restore for server main using backup *").stdout(0, "restore-4", "", "Destination directory: */run/out/x").stdout(0, "restore-4", "", "Copying the base backup.").stdout(0, "restore-4", "", "Copying required WAL segments.").hint(0, "HINT: Bring the file back. If it is lost, choose a later backup, or a target that needs no WAL from there on.").stderr(0, "restore-4", "ERROR: WAL file 00000001000000000000000* is in the WAL catalogue of server 'main' but not in '*/run/home/main/*", "").stderr(0, "restore-4", "", "EXCEPTION: {'ret': None, 'err': \"[Errno 2] No such file or directory: '*/run/home/main/wals/0000000100000000/00000001000000000000000*'\", 'out': None}").stderr(0, "restore-4", "", "See log file for more details.").file("restore-4", "out/x*", "", "directory, *").each().file("restore-4", "out/x*", "", "file, *").each()
            .then(|stage| Ok(fs::remove_dir_all(stage.main("wals/0000000100000000"))?))
            .run("restore main latest {root}/out/x"),
        scenario("restore-bad-position", "restore.md 20.4", ARCHIVE).rules(&[Pid]).stdout(0, "restore-5", "", "Starting local restore for server main using backup *").stdout(0, "restore-5", "", "Destination directory: */run/out/x").stdout(0, "restore-5", "", "Doing PITR. Recovery target lsn: 'nonsense'").stdout(0, "restore-5", "", "Copying the base backup.").stdout(0, "restore-5", "", "Copying required WAL segments.").stderr(0, "restore-5", "ERROR: 'nonsense' is not an LSN (two hexadecimal numbers with a '/' between them)", "").stderr(0, "restore-5", "", "EXCEPTION: ('Invalid LSN: %s', 'nonsense')").stderr(0, "restore-5", "", "See log file for more details.").file("restore-5", "out/x*", "", "directory, *").each().file("restore-5", "out/x*", "", "file, *").each()
            .run("restore --target-lsn nonsense main oldest {root}/out/x"),
        refused("restore-before-the-end", "restore.md 20.4").exit_code(0, "restore-5", 1, 0).stdout(0, "restore-5", "", "Starting local restore for server main using backup *").stdout(0, "restore-5", "", "Destination directory: */run/out/x").stdout(0, "restore-5", "", "Doing PITR. Recovery target lsn: '0/1000000'").stdout(0, "restore-5", "", "Copying the base backup.").stdout(0, "restore-5", "", "Copying required WAL segments.").stdout(0, "restore-5", "", "Generating recovery configuration").stdout(0, "restore-5", "", "Identify dangerous settings in destination directory.").stdout(0, "restore-5", "", EMPTY_LINE).stdout(0, "restore-5", "", "Restore operation completed (start time: <instant d t.f+00:00>, elapsed time: <duration>)").stdout(0, "restore-5", "", "Your PostgreSQL server has been successfully prepared for recovery!").hint(0, "HINT: A backup is consistent from its end on: choose an older backup, or `auto`.").stderr(0, "restore-5", "ERROR: The requested target LSN 0/1000000 is before the backup end LSN 0/*", "").file("restore-5", "out/x*", "", "directory, *").each().file("restore-5", "out/x*", "", "file, *").each()
            .run("restore --target-lsn 0/1000000 main latest {root}/out/x"),
        refused("restore-bad-xid", "restore.md 20.4").exit_code(0, "restore-6", 1, 0).stdout(0, "restore-6", "", "Starting local restore for server main using backup *").stdout(0, "restore-6", "", "Destination directory: */run/out/x").stdout(0, "restore-6", "", "Doing PITR. Recovery target xid: 'nonsense'").stdout(0, "restore-6", "", "Copying the base backup.").stdout(0, "restore-6", "", "Copying required WAL segments.").stdout(0, "restore-6", "", "Generating recovery configuration").stdout(0, "restore-6", "", "Identify dangerous settings in destination directory.").stdout(0, "restore-6", "", EMPTY_LINE).stdout(0, "restore-6", "", "Restore operation completed (start time: <instant d t.f+00:00>, elapsed time: <duration>)").stdout(0, "restore-6", "", "Your PostgreSQL server has been successfully prepared for recovery!").stderr(0, "restore-6", "ERROR: 'nonsense' is not a transaction ID (a whole number)", "").file("restore-6", "out/x*", "", "directory, *").each().file("restore-6", "out/x*", "", "file, *").each()
            .run("restore --target-xid nonsense main oldest {root}/out/x"),
        made("restore-of-a-standby", "restore.md 9.1").stderr(0, "restore-7", "WARNING: The backup was taken from a standby. Its standby.signal is left out, *", "").file("restore-7", "out/x/standby.signal", "", "file, *")
            .then(|stage| in_backups(stage, "standby.signal", ""))
            .run("restore main latest {root}/out/x"),
        made("restore-newer-timelines", "restore.md 20.12").stderr(0, "restore-8", "WARNING: The archive has timeline 2, but the restored server will stay on timeline 1: use --target-tli latest, or get-wal, to follow it.", "").file("restore-3", "out/x/pg_wal/000000020000000000000007", "", "file, *").file("restore-3", "out/x/pg_wal/archive_status/000000020000000000000007.done", "", "file, *")
            .then(|stage| {
                let name = "000000020000000000000007";
                fs::create_dir_all(stage.main("wals/0000000200000000"))?;
                fs::write(stage.main(&format!("wals/0000000200000000/{name}")), "x")?;
                fs::write(stage.main("wals/00000002.history"), "1\t0/7000000\tno recovery target specified\n")?;
                listed(stage, &format!("00000002.history\t44\t1719792000.0\tNone\tNone\n{name}\t1\t1719792000.0\tNone\tNone\n"))
            })
            .run("restore main latest {root}/out/x"),
        made("restore-ambiguous-time", "restore.md 20.30").stderr(0, "restore-9", "WARNING: The date in '--target-time' can be read in two ways: 2040-01-02 10:00:00+00:00 is used.", "").stderr(0, "restore-6", "WARNING: The target time 2040-01-02 10:00:00+00:00 is in the future: recovery will not reach it.", "")
            .run("restore --target-time '01/02/2040 10:00:00' main oldest {root}/out/x"),
        made("restore-hidden-file", "restore.md 20.6").exit_code(0, "restore-11", 1, 0).stdout(0, "restore-11", "", "Starting local restore for server main using backup *").stdout(0, "restore-11", "", "Destination directory: */run/out/x").stdout(0, "restore-11", "", "Copying the base backup.").stdout(0, "restore-11", "", "Copying required WAL segments.").stdout(0, "restore-11", "", "Generating archive status files").stdout(0, "restore-11", "", "Identify dangerous settings in destination directory.").stdout(0, "restore-11", "", EMPTY_LINE).stdout(0, "restore-11", "", "Restore operation completed (start time: <instant d t.f+00:00>, elapsed time: <duration>)").stdout(0, "restore-11", "", "Your PostgreSQL server has been successfully prepared for recovery!").hint(0, "HINT: Restore into a new directory, or empty this one.").stderr(0, "restore-11", "ERROR: Destination directory '*/run/out/x' must be empty (it holds '.hidden')", "").file("restore-11", "out/x", "directory, mode 755", "directory, mode 700").file("restore-11", "out/x/.hidden", "file, *", "").file("restore-11", "out/x*", "", "directory, *").each().file("restore-11", "out/x*", "", "file, *").each()
            .then(|stage| {
                fs::create_dir_all(stage.root.join("out/x"))?;
                Ok(fs::write(stage.root.join("out/x/.hidden"), "mine")?)
            })
            .run("restore main latest {root}/out/x"),
        made("restore-get-wal-with-a-target", "restore.md 20.9").stdout(0, "all-16", "Before you start PostgreSQL, review the file postgresql.auto.conf in */run/out/x:", "Before you start up the PostgreSQL server, please review the postgresql.auto.conf file").stdout(0, "all-16", "the user 'postgres' must be able to run the restore_command that it contains.", "inside the target directory. Make sure that 'restore_command' can be executed by the PostgreSQL user.").file("restore-15", "out/x/barman_wal", "", "directory, *").file("restore-15", "out/x/barman_wal/archive_status", "", "directory, *").line("restore-23", "out/x/postgresql.auto.conf", "restore_command = 'barman -c */run/barman.conf get-wal -P main %f > %p'", "restore_command = 'barman get-wal -P main %f > %p'")
            .run("restore --get-wal --target-immediate main oldest {root}/out/x"),
        made("restore-leftovers", "restore.md 9.1, 12.4").file("restore-16", "out/x/barman_wal/000000010000000000000001", "", "file, *")
            .then(|stage| in_backups(stage, "barman_wal/000000010000000000000001", "old"))
            .run("restore --target-immediate main latest {root}/out/x"),
        made("restore-settings-without-an-end", "restore.md 20.17, 20.18").stdout(0, "restore-21", "IMPORTANT", "").stdout(0, "restore-21", "These settings have been changed to prevent data loss", "").stdout(0, "restore-21", EMPTY_LINE, "").each().stdout(0, "restore-21", "postgresql.auto.conf line 0: Archive_Command = false", "").stdout(0, "restore-22", "postgresql.auto.conf line 1: archive_library = None", "").line("restore-21", "out/x/postgresql.auto.conf", "#BARMAN#Archive_Command = 'x'", "").line("restore-21", "out/x/postgresql.auto.conf", "archive_command = false", "").line("restore-22", "out/x/postgresql.auto.conf", "#BARMAN#archive_library = 'y'", "").line("restore-21", "out/x/postgresql.auto.conf", "", "Archive_Command = 'x'").line("restore-22", "out/x/postgresql.auto.conf", "", "archive_library = 'y'")
            .then(|stage| {
                in_backups(
                    stage,
                    "postgresql.auto.conf",
                    "Archive_Command = 'x'\narchive_library = 'y'\nwork_mem = '4MB'",
                )
            })
            .run("restore --target-immediate main latest {root}/out/x"),
        locked(
            scenario(
                "restore-10-current-timeline",
                "restore.md 20.11",
                PLAIN.catalogue(Catalogue::Archive(10)),
            ).line("restore-18", "out/x/recovery.conf", "", "recovery_target_timeline = current")
            .run("restore --target-tli current main oldest {root}/out/x")
            .rules(&[Pid, Instant, Duration]),
        ),
        made("restore-into-barmans-own", "restore.md 7").exit_code(0, "restore-13", 1, 0).stdout(0, "restore-13", "", "Starting local restore for server main using backup *").stdout(0, "restore-13", "", "Destination directory: */run/home/main/x").stdout(0, "restore-13", "", "Copying the base backup.").stdout(0, "restore-13", "", "Copying required WAL segments.").stdout(0, "restore-13", "", "Generating archive status files").stdout(0, "restore-13", "", "Identify dangerous settings in destination directory.").stdout(0, "restore-13", "", EMPTY_LINE).stdout(0, "restore-13", "", "Restore operation completed (start time: <instant d t.f+00:00>, elapsed time: <duration>)").stdout(0, "restore-13", "", "Your PostgreSQL server has been successfully prepared for recovery!").stderr(0, "restore-13", "ERROR: '*/run/home/main/x' is inside of '*/run/home/main', which belongs to Barman: restoring there would damage the catalogue", "").file("restore-13", "home/main/x*", "", "directory, *").each().file("restore-13", "home/main/x*", "", "file, *").each().run("restore main latest {root}/home/main/x"),
        made("restore-unrelated-timeline", "restore.md 20.13").file("restore-3", "out/x/pg_wal/000000030000000000000004", "", "file, *").file("restore-3", "out/x/pg_wal/archive_status/000000030000000000000004.done", "", "file, *")
            .then(|stage| {
                let name = "000000030000000000000004";
                fs::create_dir_all(stage.main("wals/0000000300000000"))?;
                fs::write(stage.main(&format!("wals/0000000300000000/{name}")), "x")?;
                listed(stage, &format!("{name}\t1\t1719792000.0\tNone\tNone\n"))
            })
            .run("restore main latest {root}/out/x"),
    ]
}

fn more() -> Vec<Scenario> {
    let made = |name, spec, main, words| {
        locked(
            scenario(name, spec, ARCHIVE.main(main))
                .run(words)
                .rules(&[Pid, Instant, Duration]),
        )
    };
    let quiet = |name, spec, words| locked(scenario(name, spec, ARCHIVE).run(words).rules(&[Pid]));
    vec![
        made(
            "restore-hooks",
            "restore.md 15",
            "pre_recovery_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/pre\npost_recovery_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/post",
            "restore main latest {root}/out/x",
        ),
        made(
            "restore-hooks-that-fail",
            "restore.md 15",
            "pre_recovery_script = exit 3\npost_recovery_script = exit 4",
            "restore main latest {root}/out/x",
        ),
        quiet(
            "restore-quiet",
            "cli.md 3.4",
            "-q restore main latest {root}/out/x",
        ),
        quiet(
            "restore-quiet-json",
            "cli.md 3.4",
            "-q -f json restore main latest {root}/out/x",
        ),
        made(
            "restore-get-wal-by-configuration",
            "restore.md 13.1",
            "recovery_options = get-wal",
            "restore --no-get-wal main latest {root}/out/x",
        ),
        made(
            "restore-retries",
            "cli.md 12",
            "",
            "restore --retry-times 2 --retry-sleep 1 --bwlimit 0 main latest {root}/out/x",
        ),
        made(
            "restore-several-settings",
            "restore.md 6",
            "",
            "restore --target-immediate --target-tli latest --standby-mode main oldest {root}/out/x",
        )
        .line(
            "restore-17",
            "out/x/postgresql.auto.conf",
            "restore_command = *",
            "",
        ),
        scenario("restore-errors-json", "cli.md 12, 17", VARIED)
            .run("-f json restore --target-time '2024-07-08' --target-xid 5 main latest {root}/out/x")
            .run("-f json restore main {id 2} {root}/out/x")
            .run("-f json restore main nope {root}/out/x")
            .json(
                0,
                "all-16",
                "_ERROR[0]",
                "\"Targets *",
                "\"You cannot specify multiple targets *",
            ),
        scenario(
            "restore-hook-refuses",
            "wal.md 17",
            ARCHIVE.main("pre_recovery_retry_script = exit 63"),
        )
        .run("restore main latest {root}/out/x")
        .prose()
        .stderr(0, "restore-24", "ERROR: <words>", "EXCEPTION: <words>")
        .rules(&[Pid])
        .file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", ""),
        scenario("restore-combine-mode", "cli.md 12", ARCHIVE)
            .run("restore --combine-mode nonsense main latest {root}/out/x")
            .run("restore --target-lsn nonsense --target-tli 0 main latest {root}/out/x")
            .prose(),
    ]
}
