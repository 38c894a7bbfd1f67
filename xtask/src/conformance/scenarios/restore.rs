//! `restore`.

use std::fs;

use anyhow::Result;

use super::VARIED;
use crate::conformance::execute::Stage;
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
            .prose().rules(&[Pid]).hint(0, "HINT: <words>").file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", ""),
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
            .prose().hints(4..6, "HINT: <words>").hint(3, "HINT: <words>"),
        scenario("restore-bad-targets", "restore.md 4", ARCHIVE)
            .run("restore --target-time nonsense main oldest {root}/out/x")
            .run("restore --target-action promote main oldest {root}/out/y")
            .prose().rules(&[Pid]).stdout(0, "restore-1", "", "Starting local restore for server main using backup *").stdout(0, "restore-1", "", "Destination directory: *").stdout(1, "restore-1", "", "Starting local restore for server main using backup *").stdout(1, "restore-1", "", "Destination directory: *"),
    ];
    all.extend(majors);
    all
}
