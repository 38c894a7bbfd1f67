//! `backup`.

use anyhow::Result;
use rustix::process::Signal;

use super::{ALL, ANY_HINT, UNKNOWN_SERVER, VARIED};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{BackupId, Duration, Instant, Pid, Position, Size};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Live, PLAIN, State};

const LIVE: State = PLAIN.live(Live::Own(15));

/// Writes into the segment that was just begun. A backup then closes it in any case; else that would hang on whether the
/// server has logged its running transactions in between, as it does every 15 seconds.
fn a_row(stage: &Stage) -> Result<()> {
    stage.cluster()?.sql("INSERT INTO t VALUES (0)").map(drop)
}

fn more_rows(stage: &Stage) -> Result<()> {
    a_row(stage)?;
    stage.cluster()?.switch_wal()?;
    a_row(stage)
}

/// The catalogue knows the cluster with the version that it had before an upgrade.
fn older_version(stage: &Stage) -> Result<()> {
    let question = "SELECT system_identifier FROM pg_control_system()";
    let system = stage.cluster()?.sql_value(question)?;
    let text = format!("{{\"systemid\": \"{system}\", \"version\": \"14\"}}");
    Ok(std::fs::write(stage.main("identity.json"), text)?)
}

fn copying(stage: &Stage) -> Result<bool> {
    let progress = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
    let sizes = std::fs::read_dir(stage.main("base"))
        .into_iter()
        .flatten()
        .flatten();
    let begun = sizes.into_iter().any(|id| id.path().join("data/base").exists());
    Ok(begun && stage.cluster()?.sql_value(progress)? != "0")
}

/// Live servers write their own files as they like; what Barman writes is compared.
fn compared(scenario: Scenario) -> Scenario {
    scenario
        .rules(&[Pid, Instant, Duration, BackupId, Size, Position])
        .files("home/main/base/*/data/backup_label", Look::Content)
        .files("home/main/base/*/data/base/*/pg_internal.init", Look::Nothing)
        .files("home/main/base/*/data/pg_wal/*", Look::Nothing)
        .files("home/main/base/*/data/*", Look::Presence)
        .files("home/main/wals/0*/*.backup", Look::Presence)
        .files("home/main/wals/0*/*", Look::Size)
        .files("home/main/incoming/*.backup", Look::Presence)
        .files("home/main/incoming/*", Look::Size)
}

/// The end of a whole backup is where the server says (`backup-3`), in the segment that was closed; Barman's is the begin of the next one. `step` is the
/// first backup, which ends in segment 3.
fn ends(scenario: Scenario, step: usize) -> Scenario {
    recorded(scenario.stdout(
        step,
        "backup-3",
        "Backup end at LSN: 0/3<position> (000000010000000000000003, <position>)",
        "Backup end at LSN: 0/4<position> (000000010000000000000003, <position>)",
    ))
}

/// The same in `backup.info`.
fn recorded(scenario: Scenario) -> Scenario {
    let info = "home/main/meta/<backup 1>-backup.info";
    scenario.line(
        "backup-3",
        info,
        "end_xlog=0/3<position>",
        "end_xlog=0/4<position>",
    )
}

pub fn scenarios() -> Vec<Scenario> {
    let majors = [
        (10, "backup-10"),
        (13, "backup-13"),
        (17, "backup-17"),
        (18, "backup-18"),
    ];
    let majors = majors.map(|(major, name)| {
        let both = scenario(name, "cli.md 11.1, backup.md 2", LIVE.live(Live::Own(major)))
            .run("switch-wal --force --archive main")
            .then(a_row)
            .run("backup --wait main");
        // PostgreSQL 18 logs a little more.
        ends(compared(both), 1)
    });
    let first = |name, spec| {
        let state = scenario(name, spec, LIVE);
        state.run("switch-wal --force --archive main").then(a_row)
    };
    let mut all = vec![
        ends(compared(first("backup", "cli.md 11.1, backup.md 2").run("backup main").run("list-backups main")), 1).short(),
        ends(compared(first("backup-wait", "cli.md 11.1, backup.md 11.2").run("backup --wait main")), 1),
        recorded(compared(first("backup-json", "cli.md 11.1").run("-f json backup --wait main")))
            .json(1, "backup-3", "_INFO[*]", "\"Backup end at LSN: 0/3<position> (000000010000000000000003, <position>)\"", "\"Backup end at LSN: 0/4<position> (000000010000000000000003, <position>)\"")
            .json(1, "backup-3", "end_xlog", "\"0/3<position>\"", "\"0/4<position>\""),
        ends(compared(first("backup-named", "cli.md 11.1").run("backup --wait --name nightly main").run("show-backup main nightly")), 1)
            .stdout(2, "backup-3", "    End LSN              : 0/3<position>", "    End LSN              : 0/4<position>")
            .stdout(2, "backup-3", "    End Offset           : *", "    End Offset           : 0"),
        ends(
            compared(
                first("backup-second", "cli.md 11.1")
                    .run("backup --wait main")
                    .then(more_rows)
                    .run("backup --wait --immediate-checkpoint main")
                    .run("list-backups main"),
            ),
            1,
        )
        .stdout(
            2,
            "backup-3",
            "Backup end at LSN: 0/6<position> (000000010000000000000006, <position>)",
            "Backup end at LSN: 0/7<position> (000000010000000000000006, <position>)",
        )
        .line("backup-3", "home/main/meta/<backup 2>-backup.info", "end_xlog=0/6<position>", "end_xlog=0/7<position>"),
        recorded(compared(first("backup-quiet", "cli.md 3.4").run("-q backup --wait main"))),
        ends(compared(first("backup-some-servers", "cli.md 6.2").run("backup --wait main nosuch")), 1)
            .hint(1, UNKNOWN_SERVER),
        ends(
            compared(first("backup-after-an-upgrade", "catalog.md 24.25").line("catalogue-34", "home/main/identity.json", "{", "").line("catalogue-34", "home/main/identity.json", "    \"systemid\": \"*\",", "").line("catalogue-34", "home/main/identity.json", "    \"version\": \"15\"", "").line("catalogue-34", "home/main/identity.json", "}", "").line("catalogue-34", "home/main/identity.json", "", "{\"systemid\": \"*\", \"version\": \"14\"} (no line end)").then(older_version).run("backup --wait main")),
            1,
        ),
        scenario("backup-unreachable", "cli.md 11.1", PLAIN)
            .run("backup main")
            .run("-f json backup main")
            .rules(&[Pid])
            .prose()
            .json(1, "all-16", "_ERROR[0]", "\"Impossible to start the backup: *", "\"Impossible to start the backup. Check the log for more details, or run 'barman check main'\""),
        scenario("backup-skipped-servers-json", "cli.md 6.2, 17", ALL).run("-f json backup inact").run("-f json backup pas"),
        scenario("backup-incremental-awaited", "backup.md 9.2", VARIED.live(Live::Shared(15)))
            .run("backup --incremental latest main")
            .awaits("incremental backup ('--incremental')"),
        compared(scenario("backup-interrupted", "cli.md 8", LIVE).run("switch-wal --force --archive main").files("home/main/base/*", Look::Nothing))
            .interrupted("backup --bwlimit 64 main", Signal::INT.as_raw(), copying)
            .run("list-backups main")
            .prose()
            .line(
                "cli-8",
                "home/main/meta/<backup 1>-backup.info",
                "error=failure copying files (interrupted by the user, KeyboardInterrupt)",
                "error=failure copying files (KeyboardInterrupt)",
            ),
    ];
    all.extend(majors);
    all.extend(more());
    all
}

fn more() -> Vec<Scenario> {
    let first = |name, spec, main| {
        scenario(name, spec, LIVE.main(main))
            .run("switch-wal --force --archive main")
            .then(a_row)
    };
    vec![
        ends(
            compared(first(
                "backup-hooks",
                "backup.md 12, wal.md 17",
                "pre_backup_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/pre\npost_backup_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/post",
            ).run("backup --wait main")),
            1,
        ),
        ends(compared(first("backup-hooks-that-fail", "wal.md 17", "pre_backup_script = exit 3\npost_backup_script = exit 4").run("backup --wait main")), 1),
        scenario("backup-hook-refuses", "wal.md 17", LIVE.main("pre_backup_retry_script = exit 63"))
            .run("switch-wal --force --archive main")
            .run("backup main")
            .run("list-backups main").prose()
            .file("backup-11", "home/main/wals/0000000100000000", "directory, *", "")
            .file("backup-11", "home/main/wals/0000000100000000/000000010000000000000001", "file, *", "")
            .line("backup-11", "home/main/wals/main-xlog.db", "000000010000000000000001\t16777216\t<instant>\tNone\tNone", "")
            .rules(&[Pid, Instant, Duration, BackupId])
            .files("home/main/wals/0*/*", Look::Size)
            .files("home/main/incoming/*", Look::Nothing),
        scenario("backup-check-fails", "cli.md 11.1", LIVE.main("streaming_archiver = on\nslot_name = nothere"))
            .run("backup main")
            .run("-f json backup main")
            .run("-q backup main")
            .prose().rules(&[Pid, Instant]).files("home/main/wals/0*/*", Look::Size)
            .json(1, "all-16", "_ERROR[0]", "\"Impossible to start the backup: *", "\"Impossible to start the backup. *")
            .files("home/main/incoming/*", Look::Nothing),
        scenario("backup-awaited-compression", "backup.md 10", LIVE.main("backup_compression = gzip"))
            .run("backup main").awaits("backup_compression = gzip"),
        scenario("backup-two-servers", "cli.md 6.1", LIVE.servers("[other]\narchiver = on\nbackup_method = postgres\nconninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\n"))
            .run("backup other nosuch")
            .prose()
            .hint(0, ANY_HINT)
            .rules(&[Pid])
            .files("home/main/incoming/*", Look::Nothing),
    ]
}
