//! Several servers in one command, in every state, each with a catalogue: backups, WAL that waits, a backup that runs, processes.
//!
//! No command has more than one server that is skipped: Barman takes those in an order that changes from run to run.

use std::fs;

use anyhow::{Context, Result};

use super::programs::Program::{BaseBackup, ReceiveWal};
use super::programs::Server::Unreachable;
use super::programs::{lines, members};
use super::{ANY_HINT, FLEET_PLACES, FLEET_SERVERS, LOCK, UNKNOWN_SERVER};
use crate::conformance::catalogue::{Home, Server};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid, Position, Size};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// Every state of a server, each with a catalogue.
const FLEET: State = PLAIN.catalogue(Catalogue::Made(fleet)).servers(FLEET_SERVERS);

/// The same, with a server `main` that answers.
const ANSWERS: State = FLEET.live(Live::Shared(15));

/// A backup that a process has begun.
const RUNS: [(&str, &str); 6] = [
    ("status", "STARTED"),
    ("end_time", "None"),
    ("end_wal", "None"),
    ("end_xlog", "None"),
    ("end_offset", "None"),
    ("size", "None"),
];

fn fleet(home: &Home) -> Result<()> {
    super::varied(home)?;
    for name in ["dis", "inact", "pas"] {
        let server = home.server(name)?;
        two(&server)?;
        server.queued("incoming", 6)?;
        server.queued("streaming", 7)?;
    }
    home.server("inact")?.backup(3, 5, &RUNS)?;
    home.server("dis")?.keep(1, "full")?;
    home.server("pas")?
        .write("errors/x.20240701T000000Z.unknown", b"x")
}

/// Two whole backups and their WAL.
fn two(server: &Server) -> Result<()> {
    server.backup(1, 2, &[("backup_name", "first")])?;
    server.backup(2, 4, &[])?;
    (2..6).try_for_each(|number| server.wal(number))
}

/// `main` and `twin`, which answer and have backups.
fn twins(home: &Home) -> Result<()> {
    two(&home.server("main")?)?;
    two(&home.server("twin")?)
}

const REFUSED: &str =
    "HINT: dis: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";
const NOT_REACHED: &str = "HINT: connection to server at \"127.0.0.1\", port 1 failed: Connection refused*";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = reports();
    all.extend(checks());
    all.extend(processes());
    all.extend(work());
    all
}

fn reports() -> Vec<Scenario> {
    vec![
        scenario("status-fleet", "cli.md 10.3, 6.1, 6.2", ANSWERS)
            .run("status all")
            .run("-f json status all")
            .run("status pas main inact pas main")
            .run("-q status all nosuch")
            .run("-q -f json status all")
            .stderr(0, "live-3", REFUSED, "")
            .rules(&[Size, Duration]),
        received(lines(
            members(
                scenario("show-servers-fleet", "cli.md 10.2, 6.1", FLEET)
                    .run("show-servers all")
                    .run("-f json show-servers all")
                    .run("show-servers pas inact pas nosuch")
                    .run("-q show-servers all")
                    .run("-q -f json show-servers nosuch"),
                1,
                "config-10",
                BaseBackup,
                Unreachable,
            ),
            0,
            BaseBackup,
            Unreachable,
        ))
        .hint(2, UNKNOWN_SERVER),
        // Connections of other scenarios would be clients.
        scenario(
            "replication-status-fleet",
            "cli.md 10.6, 6.2",
            FLEET.live(Live::Own(15)),
        )
        .run("replication-status inact dis main")
        .run("replication-status --minimal pas dis main nosuch")
        .run("-f json replication-status inact dis main")
        .run("-q replication-status pas main dis")
        .run("-q -f json replication-status main dis")
        .run("-f json replication-status --minimal --target hot-standby pas main")
        .stderr(0, "config-18", FLEET_PLACES, "")
        .stderr(1, "config-18", FLEET_PLACES, "")
        .stderr(3, "config-18", FLEET_PLACES, "")
        .hint(1, UNKNOWN_SERVER)
        .rules(&[Position]),
        scenario("list-backups-fleet", "cli.md 11.2, 6.1, 6.2", FLEET)
            .run("list-backups all")
            .run("-f json list-backups all")
            .run("list-backups --minimal pas dis inact")
            .run("-f json list-backups --minimal pas dis inact")
            .run("-q list-backups all nosuch")
            .rules(&[Pid]),
        scenario(
            "all-of-which-one-is-skipped",
            "cli.md 6.1, 6.2",
            PLAIN.servers("[inact]\nactive = false\narchiver = on\nconninfo = host=127.0.0.1 port=1\n"),
        )
        .run("switch-wal all")
        .run("-q switch-wal all")
        .run("replication-status all")
        .run("-f json replication-status all")
        .run("-f json verify-backup inact latest")
        .hints(0..3, NOT_REACHED),
        scenario("list-servers-fleet", "cli.md 10.1", FLEET)
            .run("list-servers")
            .run("-f json list-servers"),
    ]
}

/// The same lines and members of the receiver, which the disabled server has.
fn received(scenario: Scenario) -> Scenario {
    let scenario = lines(scenario, 0, ReceiveWal, Unreachable);
    members(scenario, 1, "config-10", ReceiveWal, Unreachable)
}

fn checks() -> Vec<Scenario> {
    let twins = PLAIN.live(Live::Shared(15)).catalogue(Catalogue::Made(twins));
    vec![
        scenario("check-fleet", "cli.md 10.4, 6.2", ANSWERS).stdout(0, "check-7", "\tpg_basebackup compatible: OK", "\tpg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: 15.18)").stdout(0, "check-7", "\tpg_receivexlog compatible: OK", "\tpg_receivexlog compatible: FAILED (PostgreSQL version: None, pg_receivexlog version: 15.18)").stderr(0, "check-11", REFUSED, "").stderr(0, "config-18", "HINT: dis: streaming_conninfo is set in '*/barman.conf', line *, section [dis]; slot_name is not set in section [dis]", "").json(1, "check-7", "dis.pg_basebackup_compatible.hint", "\"\"", "\"PostgreSQL version: None, pg_basebackup version: 15.18\"").json(1, "check-7", "dis.pg_basebackup_compatible.status", "\"OK\"", "\"FAILED\"").json(1, "check-7", "dis.pg_receivexlog_compatible.hint", "\"\"", "\"PostgreSQL version: None, pg_receivexlog version: 15.18\"").json(1, "check-7", "dis.pg_receivexlog_compatible.status", "\"OK\"", "\"FAILED\"")
            .run("check main inact dis")
            .run("-f json check dis main inact")
            .run("check inact inact")
            .run("check main nosuch")
            .run("-q check dis main")
            .hint(3, UNKNOWN_SERVER)
            .rules(&[Pid]),
        scenario("check-nagios-fleet", "cli.md 10.5", ANSWERS).stdout(0, "check-14", "BARMAN CRITICAL - 2 server out of 3 have issues * dis FAILED: empty incoming directory, PostgreSQL, configurat*", "BARMAN CRITICAL - 3 server out of 3 have issues * dis FAILED: empty incoming directory, PostgreSQL, pg_basebac*").stdout(0, "check-7", "", "dis.pg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: 15.18)").stdout(0, "check-7", "", "dis.pg_receivexlog compatible: FAILED (PostgreSQL version: None, pg_receivexlog version: 15.18)").stdout(0, "check-14", "", "inact.empty streaming directory: FAILED ('*/run/home/inact/streaming' must be empty when streaming_archiver=off)").stdout(1, "check-14", "BARMAN CRITICAL - 1 server out of 2 have issues * main FAILED: failed backups * IGNORING: inact|inact=23195571*", "").stdout(1, "check-14", "", "BARMAN CRITICAL - 2 server out of 2 have issues * inact FAILED: empty streaming directory * main FAILED: faile*").stdout(1, "check-14", "", "inact.empty streaming directory: FAILED ('*/run/home/inact/streaming' must be empty when streaming_archiver=off)").stdout(2, "check-14", "BARMAN CRITICAL - Global configuration errors", "").stdout(2, "check-14", "", "BARMAN CRITICAL - server inact has issues * inact FAILED: empty streaming directory|inact=23195571B inact_wals=1048576B").stdout(2, "check-14", "", "inact.empty streaming directory: FAILED ('*/run/home/inact/streaming' must be empty when streaming_archiver=off)").stdout(3, "check-14", "BARMAN CRITICAL - 1 server out of 2 have issues * main FAILED: failed backups * IGNORING: inact|inact=23195571*", "").stdout(3, "check-14", "", "BARMAN CRITICAL - 2 server out of 2 have issues * inact FAILED: empty streaming directory * main FAILED: faile*").stdout(3, "check-14", "", "inact.empty streaming directory: FAILED ('*/run/home/inact/streaming' must be empty when streaming_archiver=off)")
            .run("check --nagios inact dis main")
            .run("-d check --nagios main inact")
            .run("check --nagios inact nosuch")
            .run("--color always check --nagios inact main main nosuch")
            .rules(&[Pid]),
        scenario("check-nagios-several-good", "cli.md 10.5", twins)
            .then(|stage| stage.twin("twin", "description = Second"))
            .run("check --nagios main twin")
            .run("check --nagios all")
            .run("check --nagios twin nosuch")
            .run("check --nagios all main")
            .run("check all")
            .rules(&[Pid])
            .short(),
        scenario("check-nagios-no-server", "cli.md 10.5", PLAIN).file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
            .then(no_servers)
            .run("-c {root}/none.conf check --nagios all")
            .run("-c {root}/none.conf check all")
            .run("-c {root}/none.conf -f json check all")
            .run("-c {root}/none.conf list-servers")
            .run("-c {root}/none.conf -f json status all")
            .run("-c {root}/none.conf list-backups all")
            .run("-c {root}/none.conf backup all")
            .run("-c {root}/none.conf -f json cron"),
        scenario("check-conflict-between-servers", "cli.md 6.1, 10.5", FLEET.servers("[other]\nconninfo = host=127.0.0.1 port=1\narchiver = on\nbackup_method = postgres\nbackup_directory = {root}/home/main\n"))
            .run("check all")
            .run("-f json check main")
            .run("status all")
            .run("show-servers main")
            .run("replication-status main")
            .run("backup main")
            .run("switch-wal main")
            .run("list-processes main")
            .run("terminate-process main cron")
            .run("config-switch main --reset")
            .run("get-wal main 000000010000000000000002")
            .run("archive-wal main")
            .run("rebuild-xlogdb main")
            .run("lock-directory-cleanup")
            .run("-f json diagnose nosuch")
            .prose(),
    ]
}

/// A configuration without servers.
fn no_servers(stage: &Stage) -> Result<()> {
    let text = fs::read_to_string(stage.root.join("barman.conf")).context("read the configuration")?;
    let global = text.split("[main]").next().unwrap_or_default();
    fs::write(stage.root.join("none.conf"), global).context("write the configuration")
}

fn processes() -> Vec<Scenario> {
    vec![
        scenario("list-processes-fleet", "cli.md 14.2, 6.2", FLEET)
            .then(|stage| {
                stage.start_tasks(&[
                    "main-backup",
                    "dis-archive-wal",
                    "inact-receive-wal",
                    "pas-20240703T120000-sync-backup",
                ])
            })
            .run("list-processes main")
            .run("list-processes dis")
            .run("-f json list-processes inact")
            .run("list-processes pas")
            .run("-q -f json list-processes pas")
            .then(Stage::end_tasks)
            .rules(&[Pid]),
        scenario("list-processes-every-task", "cli.md 14.2", FLEET)
            .then(|stage| stage.start_tasks(&["main-cron", "dis-cron", "inact-archive-wal", "pas-sync-wal"]))
            .run("list-processes main")
            .run("list-processes dis")
            .run("list-processes inact")
            .run("list-processes pas")
            .run("terminate-process pas sync-wal")
            .run("-q terminate-process dis cron")
            .run("-q -f json terminate-process inact archive-wal")
            .then(Stage::end_tasks)
            .rules(&[Pid]),
        scenario(
            "list-processes-of-a-like-name",
            "cli.md 14.2, wal.md 21.19",
            FLEET,
        )
        .stdout(0, "all-13", "No active subprocesses found for server main.", "")
        .stdout(0, "all-13", "", "Active subprocesses for server main:")
        .stdout(0, "all-13", "", "<pid> sync-backup")
        .exit_code(2, "all-13", 1, 0)
        .stdout(2, "all-13", "", "Stopped process sync-backup(<pid>)")
        .stderr(
            2,
            "all-13",
            "ERROR: Termination of sync-backup failed: no such process for server main",
            "",
        )
        .then(|stage| stage.start_task("main-two-20240701T120000-sync-backup", ":"))
        .run("list-processes main")
        .run("terminate-process main backup")
        .run("terminate-process main sync-backup")
        .then(Stage::end_tasks)
        .rules(&[Pid])
        .hints(1..3, "HINT: no process of server 'main' is running"),
        scenario("list-processes-dead", "cli.md 14.2", FLEET)
            .hint(1, "HINT: no process of server 'main' is running")
            .then(|stage| {
                Ok(fs::write(
                    stage.root.join("home/.main-backup.lock"),
                    "999999999\n",
                )?)
            })
            .then(|stage| Ok(fs::write(stage.root.join("home/.main-cron.lock"), "")?))
            .then(|stage| {
                Ok(fs::write(
                    stage.root.join("home/.main-archive-wal.lock"),
                    "nonsense\n",
                )?)
            })
            .run("list-processes main")
            .run("terminate-process main backup"),
        scenario("terminate-process-fleet", "cli.md 14.3, 6.2", FLEET)
            .then(|stage| {
                stage.start_tasks(&[
                    "dis-backup",
                    "inact-receive-wal",
                    "pas-20240703T120000-sync-backup",
                ])
            })
            .run("terminate-process dis backup")
            .run("-f json terminate-process inact receive-wal")
            .run("terminate-process pas sync-backup")
            .run("terminate-process all backup")
            .run("list-processes dis")
            .rules(&[Pid]),
        scenario("terminate-process-all-of-a-task", "cli.md 14.3, 20.18", FLEET)
            .stdout(1, "live-7", "No active subprocesses found for server main.", "")
            .stdout(1, "live-7", "", "Active subprocesses for server main:")
            .stdout(1, "live-7", "", "<pid> sync-backup")
            .then(|stage| {
                stage.start_tasks(&[
                    "main-20240701T120000-sync-backup",
                    "main-20240702T120000-sync-backup",
                ])
            })
            .run("terminate-process main sync-backup")
            .run("list-processes main")
            .then(Stage::end_tasks)
            .stdout(0, "live-7", "Stopped process sync-backup(<pid>)", "")
            .rules(&[Pid]),
        scenario(
            "lock-directory-cleanup-fleet",
            "cli.md 14.4",
            FLEET.global("lock_directory_cleanup = false"),
        )
        .then(|stage| {
            let home = stage.root.join("home");
            for name in [
                ".main-backup.lock",
                ".dis-cron.lock",
                ".nosuch-20240701T120000.lock",
                "main.lock",
                ".x",
            ] {
                fs::write(home.join(name), "1\n").context("a lock file")?;
            }
            fs::create_dir(home.join(".directory.lock"))?;
            stage.hold("inact-receive-wal")?;
            stage.hold("pas-sync-wal")
        })
        .run("lock-directory-cleanup")
        .run("-q lock-directory-cleanup"),
        scenario(
            "lock-directory-cleanup-of-its-own",
            "cli.md 14.4",
            FLEET.global("barman_lock_directory = {root}/home/locks"),
        )
        .then(|stage| {
            let locks = stage.root.join("home/locks");
            fs::create_dir(&locks)?;
            fs::write(locks.join(".main-backup.lock"), "")?;
            Ok(fs::write(stage.root.join("home/.main-backup.lock"), "")?)
        })
        .run("lock-directory-cleanup")
        .run("-q -f json lock-directory-cleanup"),
    ]
}

/// What works on a catalogue, on one server after the other.
fn work() -> Vec<Scenario> {
    let looked_at = |name, spec, lines: &[&'static str]| {
        lines
            .iter()
            .fold(scenario(name, spec, FLEET), |rows, line| rows.run(line))
            .rules(&[Pid])
            .files("home/.*.lock", Look::Nothing)
    };
    let worked_on =
        |name, lines: &[&'static str]| looked_at(name, "cli.md 6.2", lines).rules(&[Instant, Duration]);
    vec![
        looked_at(
            "inactive-server-with-backups-looked-at",
            "cli.md 6.2",
            &[
                "show-backup inact latest",
                "-f json show-backup inact first",
                "show-backup inact {id 3}",
                "list-files inact oldest",
                "keep -s inact latest",
                "check-backup inact latest",
                "check-wal-archive inact",
                "check-archived-wal-range inact 000000010000000000000002 000000010000000000000004",
                "get-wal -p 9 inact 000000010000000000000002",
                "get-wal inact 000000010000000000000006",
                "-f json archive-wal inact",
                "switch-wal inact",
            ],
        ),
        looked_at(
            "disabled-server-with-backups-looked-at",
            "cli.md 6.2",
            &[
                "show-backup dis latest",
                "-f json show-backup dis first",
                "list-files dis oldest",
                "keep -s dis oldest",
                "keep -r dis oldest",
                "check-backup dis latest",
                "check-wal-archive dis",
                "check-archived-wal-range dis 000000010000000000000002 000000010000000000000004",
                "get-wal -p 9 dis 000000010000000000000002",
                "-f json archive-wal dis",
                "delete dis oldest",
                "restore dis oldest {root}/out/x",
            ],
        )
        .stderr(8, "config-18", FLEET_PLACES, "").stderr(10, "config-18", FLEET_PLACES, "").stderr(11, "config-18", FLEET_PLACES, ""),
        looked_at(
            "passive-server-with-backups-looked-at",
            "cli.md 6.2",
            &[
                "show-backup pas latest",
                "-f json show-backup pas first",
                "list-files pas oldest",
                "keep --target full pas latest",
                "keep -s pas latest",
                "check-backup pas latest",
                "check-wal-archive pas",
                "check-archived-wal-range pas 000000010000000000000002 000000010000000000000004",
                "get-wal -p 9 pas 000000010000000000000002",
                "archive-wal pas",
                "-f json archive-wal pas",
            ],
        ),
        worked_on(
            "inactive-server-with-backups-worked-on",
            &[
                "delete inact oldest",
                "list-backups inact",
                "export-backup inact latest {root}/out",
            ],
        ).hint(2, "HINT: the next 'barman backup inact' writes one"),
        worked_on(
            "passive-server-with-backups-worked-on",
            &["delete pas first", "list-backups pas", "rebuild-xlogdb pas"],
        ),
        scenario("switch-wal-fleet", "cli.md 13.5, 6.2", FLEET)
            .stderr(0, "config-18", FLEET_PLACES, "")
            .run("switch-wal inact dis main nosuch")
            .run("-f json switch-wal inact dis main")
            .hint(0, NOT_REACHED)
            .hint(0, UNKNOWN_SERVER),
        scenario("backup-fleet", "cli.md 11.1, 6.2", FLEET).hint(0, ANY_HINT).stderr(0, "config-18", ANY_HINT, "").stderr(2, "config-18", ANY_HINT, "").json(1, "all-16", "_ERROR[1]", "\"Impossible to start the backup: PostgreSQL (connection to server at \\\"127.0.0.1\\\", port 1 failed: Connection *", "\"Impossible to start the backup. Check the log for more details, or run 'barman check main'\"")
            .run("backup inact dis main nosuch")
            .run("-f json backup pas dis main")
            .run("-q backup inact dis main")
            .rules(&[Pid])
            .prose(),
        scenario("rebuild-xlogdb-fleet", "cli.md 13.6, 6.2", FLEET)
            .stderr(0, "config-18", FLEET_PLACES, "")
            .run("rebuild-xlogdb all")
            .run("-f json rebuild-xlogdb all")
            .rules(&[Pid]),
        scenario("cron-fleet", "cli.md 14.1, 6.2", FLEET.servers(ACTIVE)).stderr(0, "backup-9", "WARNING: Backup 20240704T120000 of server 'main' was left unfinished by its process: it is now FAILED", "").files("home/.plain-archive-wal.lock", Look::Nothing).files("home/.main-archive-wal.lock", Look::Nothing).file("catalogue-20", "home/cfg_changes.queue", "", "file, *").line("backup-9", "home/main/meta/20240704T120000-backup.info", "error=failure copying files (the backup process ended without finishing)", "error=None").line("backup-9", "home/main/meta/20240704T120000-backup.info", "status=FAILED", "status=STARTED")
            .then(|stage| stage.start_task("inact-receive-wal", ":"))
            .run("cron")
            .run("list-processes inact")
            .rules(&[Pid])
            .files(LOCK, Look::Nothing),
        scenario(
            "cron-streaming",
            "cli.md 14.1",
            PLAIN.main("archiver = off\nstreaming_archiver = on\nslot_name = barman"),
        ).files("home/.main-*.lock", Look::Nothing).file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
        .run("cron")
        .run("-f json cron"),
        scenario(
            "cron-receiver-runs",
            "cli.md 14.1",
            PLAIN.main("archiver = off\nstreaming_archiver = on\nslot_name = barman"),
        )
        .then(|stage| stage.start_task("main-receive-wal", ":"))
        .run("cron")
        .then(Stage::end_tasks).file("catalogue-20", "home/cfg_changes.queue", "", "file, *").files("home/.main-archive-wal.lock", Look::Nothing).rules(&[Pid]),
    ]
}

/// A disabled, an inactive and two active servers.
const ACTIVE: &str = "\
[dis]
archiver = on
backup_method = postgres

[inact]
active = false
archiver = on
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres

[plain]
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
streaming_conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
archiver = on
";
