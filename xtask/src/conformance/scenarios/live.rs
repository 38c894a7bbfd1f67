//! What servers are doing: `status`, `replication-status`, `diagnose`; processes and their locks.

use std::fs;

use anyhow::{Context, Result};

use super::programs::Program::{BaseBackup, ReceiveWal};
use super::programs::Server::Answers;
use super::programs::{about_programs, members};
use super::{ALL, FLEET_PLACES, FLEET_SERVERS, UNKNOWN_SERVER, VARIED};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid, Position, Size};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Live, PLAIN, State};

/// Backups, and a server that answers.
const WELL: State = VARIED.live(Live::Shared(15));

/// What the file archiver did on a shared server, and when, differs between two moments.
const STREAMING: &str =
    "archiver = off\nstreaming_archiver = on\nslot_name = nothere\nstreaming_archiver_name = *";

const REFUSED: &str =
    "HINT: *: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";
const NOT_REACHED: &str = "HINT: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = status();
    all.extend(replication());
    all.extend(processes());
    all.extend(diagnose());
    all
}

fn status() -> Vec<Scenario> {
    let majors = [
        (10, "status-10"),
        (13, "status-13"),
        (17, "status-17"),
        (18, "status-18"),
    ]
    .map(|(major, name)| {
        scenario(name, "cli.md 10.3", VARIED.live(Live::Shared(major)))
            .run("status main")
            .run("-f json status main")
            .rules(&[Size, Duration])
    });
    let mut all = vec![
        scenario("status", "cli.md 10.3, postgres.md 9", WELL)
            .run("status main")
            .run("-f json status main")
            .run("-q status main")
            .rules(&[Size, Duration])
            .short(),
        scenario("status-unreachable", "cli.md 10.3", VARIED)
            .run("status main")
            .run("-f json status main")
            .stderr(0, "live-3", REFUSED, "")
            .short(),
        scenario("status-all", "cli.md 10.3, 6.2", WELL.servers(FLEET_SERVERS))
            .run("status all")
            .run("-f json status all")
            .run("status inact pas")
            .stderr(0, "live-3", REFUSED, "")
            .rules(&[Size, Duration]),
        scenario("status-unknown-server", "cli.md 6.1", WELL)
            .run("status nosuch main")
            .run("-f json status nosuch")
            .run("status all main")
            .hint(0, UNKNOWN_SERVER)
            .rules(&[Size, Duration]),
        scenario("status-usage", "cli.md 9, 5.1", ALL).run("status").prose(),
        scenario("status-without-conninfo", "cli.md 10.3, postgres.md 17.5", ALL)
            .run("status dis")
            .exit_code(0, "live-2", 0, 1)
            .stderr(0, "live-3", "HINT: dis: PostgreSQL: Missing 'conninfo' parameter for server 'dis'", "EXCEPTION: 'server_txt_version'")
            .stderr(0, "live-2", "", "See log file for more details.")
            .stdout(0, "live-2", "\tPostgreSQL version: FAILED trying to get PostgreSQL version", "")
            .stdout(0, "live-2", "\tPassive node: False", "")
            .stdout(0, "live-2", "\tRetention policies: not enforced", "")
            .stdout(0, "live-2", "\tNo. of available backups: 0", "")
            .stdout(0, "live-2", "\tFirst available backup: None", "")
            .stdout(0, "live-2", "\tLast available backup: None", "")
            .stdout(0, "live-2", "\tMinimum redundancy requirements: satisfied (0/0)", ""),
        scenario(
            "status-policies",
            "cli.md 10.3",
            VARIED.main("retention_policy = recovery window of 2 weeks\nminimum_redundancy = 7\ndescription =\narchiver = off\nstreaming_archiver = on\nslot_name = x"),
        )
        .run("status main")
        .run("-f json status main")
        .stderr(0, "live-3", REFUSED, ""),
        scenario("status-archiver-fails", "cli.md 10.3", VARIED.live(Live::Own(17)))
            .then(archiver_fails)
            .run("status main")
            .run("-f json status main")
            .rules(&[Size, Instant]),
        scenario("status-without-privileges", "cli.md 10.3, postgres.md 2.2", VARIED.live(Live::Own(18)))
            .then(without_privileges)
            .run("status main")
            .run("-f json status main"),
        scenario("status-of-a-standby", "cli.md 10.3", VARIED.live(Live::Own(15)))
            .then(on_a_standby)
            .run("status main")
            .run("-f json status main")
            .files("home/main/incoming/*", Look::Nothing),
    ];
    all.extend(majors);
    all
}

fn replication() -> Vec<Scenario> {
    let majors = [(10, "replication-status-10"), (18, "replication-status-18")].map(|(major, name)| {
        scenario(name, "cli.md 10.6, postgres.md 10", PLAIN.live(Live::Own(major)))
            .then(Stage::start_standby)
            .run("replication-status main")
            .run("replication-status --minimal main")
            .run("-f json replication-status main")
            .run("-f json replication-status --minimal main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid, Instant, Position])
    });
    let mut all = vec![
        scenario("replication-status-nobody", "cli.md 10.6", PLAIN.live(Live::Own(15)))
            .run("replication-status main")
            .run("replication-status --target hot-standby main")
            .run("replication-status --target wal-streamer --minimal main")
            .run("replication-status --minimal main")
            .run("-f json replication-status --target wal-streamer main")
            .run("-f json replication-status --minimal main")
            .rules(&[Position])
            .short(),
        scenario("replication-status-standby", "cli.md 10.6, postgres.md 10", PLAIN.live(Live::Own(15)))
            .then(Stage::start_standby)
            .run("replication-status main")
            .run("replication-status --minimal --target hot-standby main")
            .run("replication-status --target wal-streamer main")
            .run("-f json replication-status --target hot-standby main")
            .run("-f json replication-status --minimal --target hot-standby main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid, Instant, Position]),
        scenario("replication-status-on-a-standby", "cli.md 10.6", PLAIN.live(Live::Own(17)))
            .then(on_a_standby)
            .run("replication-status main")
            .run("-f json replication-status --minimal main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Position]),
        scenario("replication-status-unreachable", "cli.md 10.6", ALL)
            .run("replication-status main")
            .run("-f json replication-status main")
            .stderr(0, "all-3", NOT_REACHED, "")
            .short(),
        scenario("replication-status-skipped", "cli.md 10.6, 6.2", ALL)
            .run("replication-status inact")
            .run("replication-status pas")
            .run("-f json replication-status inact"),
        scenario("replication-status-disabled", "cli.md 10.6, 6.2", ALL.servers(FLEET_SERVERS))
            .run("replication-status dis")
            .run("-f json replication-status dis")
            .stderr(0, "config-18", FLEET_PLACES, ""),
        scenario("replication-status-unknown-server", "cli.md 6.1", PLAIN.live(Live::Own(15)))
            .run("replication-status main nosuch")
            .hint(0, UNKNOWN_SERVER)
            .rules(&[Position]),
        scenario("replication-status-usage", "cli.md 9, 5.1", ALL)
            .run("replication-status --target x main")
            .run("replication-status --source x main")
            .run("replication-status")
            .prose(),
        scenario(
            "replication-status-wal-host",
            "cli.md 10.6, postgres.md 1.6",
            PLAIN.main("wal_conninfo = host=127.0.0.1 port=1 user=wal dbname=postgres\nwal_streaming_conninfo = host=127.0.0.1 port=1 user=wal"),
        )
        .run("replication-status --source wal-host main")
        .run("-f json replication-status --source wal-host main")
        .stderr(0, "all-3", NOT_REACHED, ""),
        scenario("replication-status-wal-host-same", "cli.md 10.6", PLAIN.live(Live::Own(15)))
            .run("replication-status --source wal-host main")
            .rules(&[Position]),
        scenario("replication-status-without-privileges", "postgres.md 10, 17.3", PLAIN.live(Live::Own(15)))
            .then(without_privileges)
            .run("replication-status main")
            .run("-f json replication-status main")
            .stderr(0, "live-5", "ERROR: Cannot read the replication status of server main: user \"plain\" lacks *", "EXCEPTION: *'plain' is missing required privileges*")
            .stderr(0, "live-5", "", "See log file for more details.")
            .json(1, "live-5", "_ERROR", "[\"Cannot read the replication status of server main: *", "")
            .json(1, "live-5", "_EXCEPTION", "", "[\"Postgres user 'plain' is missing required privileges *"),
    ];
    all.extend(majors);
    all
}

fn processes() -> Vec<Scenario> {
    vec![
        scenario("list-processes", "cli.md 14.2", ALL)
            .then(|stage| stage.start_task("main-backup", ":"))
            .run("list-processes main")
            .run("-f json list-processes main")
            .run("list-process main")
            .run("-q list-processes main")
            .then(Stage::end_tasks)
            .rules(&[Pid])
            .short(),
        scenario("list-processes-none", "cli.md 14.2, 6.2", ALL)
            .run("list-processes main")
            .run("-f json list-processes main")
            .run("list-processes inact")
            .run("list-processes dis")
            .run("list-processes pas")
            .short(),
        scenario("list-processes-refused", "cli.md 6.1", ALL)
            .run("list-processes nosuch")
            .run("list-processes all")
            .hint(0, UNKNOWN_SERVER),
        scenario("list-processes-usage", "cli.md 9, 5.1", ALL)
            .run("list-process")
            .prose(),
        scenario("terminate-process", "cli.md 14.3", ALL)
            .then(|stage| stage.start_task("main-backup", ":"))
            .run("terminate-process main backup")
            .run("list-processes main")
            .rules(&[Pid])
            .short(),
        scenario("terminate-process-json", "cli.md 14.3", ALL)
            .then(|stage| stage.start_task("main-receive-wal", ":"))
            .run("-f json terminate-process main receive-wal")
            .rules(&[Pid]),
        scenario("terminate-process-that-stays", "cli.md 14.3", ALL)
            .then(|stage| stage.start_task("main-cron", "trap '' INT"))
            .run("terminate-process main cron")
            .then(Stage::end_tasks)
            .hint(
                0,
                "HINT: it was asked to end (SIGINT) and is still there after ten seconds; *",
            )
            .rules(&[Pid]),
        scenario("terminate-process-none", "cli.md 14.3", ALL)
            .run("terminate-process main receive-wal")
            .run("-f json terminate-process main nonsense")
            .run("terminate-process dis cron")
            .run("terminate-process nosuch cron")
            .hint(0, "HINT: no process of server 'main' is running")
            .hint(2, "HINT: no process of server 'dis' is running")
            .hint(3, UNKNOWN_SERVER)
            .short(),
        scenario("terminate-process-usage", "cli.md 9, 5.1", ALL)
            .run("terminate-process main")
            .prose(),
        scenario("lock-directory-cleanup", "cli.md 14.4", VARIED)
            .then(|stage| {
                for name in [
                    ".main-cron.lock",
                    ".gone-backup.lock",
                    "kept.lock",
                    ".kept.lock.x",
                ] {
                    fs::write(stage.root.join("home").join(name), "1\n").context("a lock file")?;
                }
                stage.hold("main-backup")
            })
            .run("lock-directory-cleanup")
            .run("-f json lock-directory-cleanup")
            .short(),
        scenario(
            "lock-directory-cleanup-nowhere",
            "cli.md 14.4",
            PLAIN.global("barman_lock_directory = {root}/home/nowhere"),
        )
        .run("lock-directory-cleanup"),
        scenario("lock-directory-cleanup-usage", "cli.md 9, 5.1", ALL)
            .run("lock-directory-cleanup main")
            .prose(),
        scenario(
            "unknown-user-of-the-system",
            "cli.md 2.2",
            PLAIN.global("barman_user = nosuch"),
        )
        .run("lock-directory-cleanup")
        .run("diagnose")
        .prose(),
    ]
}

fn diagnose() -> Vec<Scenario> {
    vec![
        asked(about_programs(0, scenario("diagnose", "cli.md 10.7, postgres.md 12.4", WELL.main(STREAMING)).run("diagnose")))
            .rules(&[Size, Instant, Position])
            .short(),
        asked(about_programs(0, scenario("diagnose-18", "cli.md 10.7", WELL.live(Live::Shared(18)).main(STREAMING)).run("diagnose")))
            .rules(&[Size, Instant, Position]),
        about_programs(
            0,
            scenario(
                "diagnose-every-state",
                "cli.md 10.7, 6.2",
                VARIED
                    .servers("[inact]\nactive = false\nbackup_options = concurrent_backup\ntablespace_bandwidth_limit = a:1 b:2\nlast_backup_maximum_age = 36 HOURS\nconninfo = host=127.0.0.1 port=1\n\n[mod]\nmodel = true\ncluster = main\nconninfo = host=x password=secret\nparallel_jobs = 3\n\n[pas]\ndescription = passive\nprimary_ssh_command = ssh nobody@127.0.0.1 -p 1\n")
                    .global("parallel_jobs = 2\nretention_policy = REDUNDANCY 2")
                    .main("backup_method = rsync\nssh_command = false\nreuse_backup = link"),
            )
            .run("diagnose"),
        )
        .stderr(0, "live-11", "WARNING: diagnose of server 'main': the host of PostgreSQL cannot be asked: *", "")
        .rules(&[Instant]),
        about_programs(
            0,
            scenario(
                "diagnose-sources",
                "cli.md 10.7",
                VARIED
                    .servers("[mod]\nmodel = true\ncluster = main\nparallel_jobs = 3\n")
                    .global("parallel_jobs = 2\nretention_policy = REDUNDANCY 2")
                    .main("conninfo = host=127.0.0.1 port=1 user=barman password=secret\nbackup_method = rsync\nssh_command = false"),
            )
            .run("diagnose --show-config-source"),
        )
        .stderr(0, "live-11", "WARNING: diagnose of server 'main': the host of PostgreSQL cannot be asked: *", "")
        .rules(&[Instant]),
        about_programs(
            0,
            scenario(
                "diagnose-sources-ignored",
                "cli.md 10.7",
                VARIED
                    .global("cluster = ignored\nprimary_conninfo = host=ignored")
                    .main("conninfo = host=127.0.0.1 port=1 user=barman\nbackup_method = rsync\nssh_command = false"),
            )
            .run("diagnose --show-config-source"),
        )
        .json(0, "config-23", "servers.main.config.cluster.source", "\"default\"", "\"*/barman.conf\"")
        .json(0, "config-23", "servers.main.config.primary_conninfo.source", "\"default\"", "\"*/barman.conf\"")
        .stderr(0, "live-11", "WARNING: diagnose of server 'main': the host of PostgreSQL cannot be asked: *", "")
        .rules(&[Instant]),
        scenario("diagnose-json", "cli.md 10.7, 3.5", PLAIN)
            .run("-f json diagnose")
            .run("-q diagnose")
            .run("-q -f json diagnose")
            .json(0, "live-10", "_INFO[0]", "\"{\\n    *none: barman-rs *built in*", "\"{\\n    *Python 3*"),
        scenario("diagnose-usage", "cli.md 9, 5.1", ALL).run("diagnose main").prose(),
    ]
}

/// What `diagnose` tells of the programs for a server that answers.
fn asked(scenario: Scenario) -> Scenario {
    let scenario = members(scenario, 0, "live-10", BaseBackup, Answers);
    members(scenario, 0, "live-10", ReceiveWal, Answers)
}

/// Archiving fails once, and is counted.
fn archiver_fails(stage: &Stage) -> Result<()> {
    let cluster = stage.cluster()?;
    let incoming = stage.main("incoming");
    fs::remove_dir_all(&incoming).context("remove the queue")?;
    fs::write(&incoming, "").context("put a file in its place")?;
    cluster.sql("CREATE TABLE made_wal AS SELECT 1")?;
    cluster.switch_wal()?;
    // Three attempts, then a pause of a minute.
    testkit::wait_until(
        "archiving has failed three times",
        std::time::Duration::from_secs(60),
        || {
            Ok(cluster
                .sql_value("SELECT failed_count FROM pg_stat_archiver")?
                .parse::<u32>()?
                >= 3)
        },
    )
}

/// The connections of `main` are those of a role without privileges.
fn without_privileges(stage: &Stage) -> Result<()> {
    stage.cluster()?.sql("CREATE ROLE plain LOGIN")?;
    stage.edit_configuration(|line| match line.strip_prefix("conninfo = ") {
        Some(_) => line.replace("user=barman", "user=plain"),
        None => line.to_owned(),
    })
}

/// `main` is a standby of the cluster, asked by a role that may not see in which directory of this run it lies.
fn on_a_standby(stage: &Stage) -> Result<()> {
    let cluster = stage.cluster()?;
    cluster.sql("CREATE ROLE plain LOGIN IN ROLE pg_monitor")?;
    stage.start_standby()?;
    let (primary, standby) = (cluster.conninfo(), stage.standby_conninfo()?);
    stage.edit_configuration(|line| match line == format!("conninfo = {primary}") {
        true => format!("conninfo = {}", standby.replace("user=barman", "user=plain")),
        false => line.to_owned(),
    })
}
