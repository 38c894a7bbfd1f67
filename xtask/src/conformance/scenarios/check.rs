//! `check`, `check-backup`, `cron`.

use std::fs;

use anyhow::Result;

use super::{ANY_HINT, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::Home;
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// One backup and its WAL, a server that answers.
pub(super) const WELL: State = PLAIN.live(Live::Shared(15)).catalogue(Catalogue::Made(one));

fn one(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)?;
    main.wal(3)
}

fn with_errors(home: &Home) -> Result<()> {
    one(home)?;
    let main = home.server("main")?;
    for name in [
        "x.20240701T000000Z.unknown",
        "000000010000000000000002.20240701T000000Z.duplicate",
        "000000010000000000000001.20240701T000000Z.error",
    ] {
        main.write(&format!("errors/{name}"), b"x")?;
    }
    main.queued("incoming", 4)?;
    main.queued("incoming", 5)?;
    main.queued("streaming", 6)
}

/// Two servers besides `main`: inactive and disabled.
const OTHERS: &str = "\
[dis]
archiver = on
backup_method = postgres

[inact]
active = false
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
archiver = on
";

const REFUSED: &str =
    "HINT: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";

const MISSING: &str = "HINT: PostgreSQL: Missing 'conninfo' parameter for server 'dis'";

const INCOMPATIBLE: &str =
    "\tpg_basebackup compatible: FAILED (PostgreSQL version: *, pg_basebackup version: *)";

pub fn scenarios() -> Vec<Scenario> {
    let majors = [
        (10, "check-10"),
        (13, "check-13"),
        (17, "check-17"),
        (18, "check-18"),
    ]
    .map(|(major, name)| {
        scenario(name, "cli.md 10.4", WELL.live(Live::Shared(major)))
            .run("check main")
            .run("-f json check main")
            .rules(&[Pid])
    });
    let mut all = vec![
        scenario("check", "cli.md 10.4", WELL).run("check main").rules(&[Pid]).short(),
        scenario("check-json", "cli.md 10.4", WELL).run("-f json check main").rules(&[Pid]).short(),
        scenario("check-quiet", "cli.md 3.4", WELL).run("-q check main").run("-q -f json check main").rules(&[Pid]),
        scenario("check-nagios", "cli.md 10.5", WELL).run("check --nagios main").run("-q check --nagios main").rules(&[Pid]).short(),
        scenario("check-unreachable", "cli.md 10.4", WELL.live(Live::None))
            .run("check main")
            .run("-f json check main")
            .rules(&[Pid])
            .stdout(0, "check-7", "\tpg_basebackup compatible: OK", "\tpg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: *)")
            .stderr(0, "check-11", REFUSED, "")
            .json(1, "check-7", "main.pg_basebackup_compatible.status", "\"OK\"", "\"FAILED\"")
            .json(1, "check-7", "main.pg_basebackup_compatible.hint", "\"\"", "\"PostgreSQL version: None, pg_basebackup version: *\"")
            .short(),
        scenario("check-nagios-unreachable", "cli.md 10.5", WELL.live(Live::None))
            .run("check --nagios main")
            .rules(&[Pid])
            .stdout(0, "check-7", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL|main=23195571B main_wals=1048576B", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, pg_basebackup compatible|main=23195571B main_wals=1048576B")
            .stdout(0, "check-7", "", "main.pg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: *)"),
        scenario("check-nagios-unknown-server", "cli.md 10.5", WELL).run("check --nagios nosuch").run("check --nagios main nosuch").rules(&[Pid]),
        scenario("check-inactive", "cli.md 10.4", PLAIN.servers(OTHERS)).run("check inact").run("check --nagios inact").file("all-15", "home/.inact-archive-wal.lock", "", "file, *"),
        scenario("check-policies-met", "cli.md 10.4", WELL.main("retention_policy = REDUNDANCY 1\nminimum_redundancy = 1\nlast_backup_maximum_age = 9999 DAYS\nlast_wal_maximum_age = 9999 DAYS\nlast_backup_minimum_size = 1k"))
            .run("check main")
            .rules(&[Pid, Duration]),
        scenario("check-policies-missed", "cli.md 10.4", WELL.main("minimum_redundancy = 2\nlast_backup_maximum_age = 1 DAY\nlast_wal_maximum_age = 1 HOUR\nlast_backup_minimum_size = 1G"))
            .run("check main")
            .run("check --nagios main")
            .rules(&[Pid, Duration])
            .short(),
        scenario("check-queues-and-errors", "cli.md 10.4", WELL.catalogue(Catalogue::Made(with_errors)).main("archiver = off\nstreaming_archiver = on\nmax_incoming_wals_queue = 1"))
            .run("check main")
            .run("-f json check main")
            .stderr(
                0,
                "config-18",
                "HINT: streaming_conninfo is set in '*/barman.conf', line *, section [main]; slot_name is not set in section [main]",
                "",
            )
            .rules(&[Pid]),
        scenario("check-incoming-queue", "cli.md 10.4", WELL.catalogue(Catalogue::Made(with_errors)).main("max_incoming_wals_queue = 1")).run("check main").rules(&[Pid]),
        scenario("check-no-slot", "cli.md 10.4", WELL.main("streaming_archiver = on\nslot_name = nothere")).run("check main").rules(&[Pid]),
        scenario("check-of-a-server-with-failed-backups", "cli.md 10.4", VARIED.live(Live::Shared(15))).run("check main").rules(&[Pid]),
        scenario("check-timeout-option", "cli.md 10.4", WELL).run("check --check-timeout 5 main").run("check --check-timeout x main").prose().rules(&[Pid]),
        scenario("check-other-system", "postgres.md 8.10", WELL.catalogue(Catalogue::Made(other_system))).run("check main").rules(&[Pid]),
        scenario("check-makes-directories", "postgres.md 8.3", PLAIN.live(Live::Own(15)).main("streaming_archiver = on")).run("check main").rules(&[Pid]).rules(&[Instant]),
        scenario("check-backup-whole", "cli.md 11.7", VARIED).run("check-backup main {id 1}").run("-f json check-backup main latest").rules(&[Pid]).short(),
        scenario("check-backup-waiting", "cli.md 11.7", PLAIN.catalogue(Catalogue::Made(waiting))).run("check-backup main {id 1}").run("list-backups main").rules(&[Pid]).short(),
        scenario("check-backup-failed", "cli.md 11.7", VARIED).run("check-backup main last-failed").prose().rules(&[Pid]).file("all-15", "home/.main-20240702T120000.lock", "file, *", ""),
        scenario("cron-nothing-to-do", "cli.md 14.1", PLAIN)
            .run("cron")
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *").rules(&[Pid]).files("home/.main-archive-wal.lock", Look::Nothing),
    ];
    all.extend(majors);
    all.extend(more_checks());
    all.extend(crons());
    all
}

fn more_checks() -> Vec<Scenario> {
    vec![
        scenario("check-disabled", "cli.md 10.4", PLAIN.servers(OTHERS))
            .run("check dis")
            .run("-f json check dis")
            .run("check --nagios dis")
            .rules(&[Pid])
            .stdout(0, "check-7", "\tpg_basebackup compatible: OK", INCOMPATIBLE)
            .stderr(0, "check-11", MISSING, "")
            .stderr(
                0,
                "config-18",
                "HINT: conninfo is not set in section [dis]; streaming_conninfo is not set in section [dis]",
                "",
            )
            .json(
                1,
                "check-7",
                "dis.pg_basebackup_compatible.status",
                "\"OK\"",
                "\"FAILED\"",
            )
            .json(
                1,
                "check-7",
                "dis.pg_basebackup_compatible.hint",
                "\"\"",
                "\"PostgreSQL version: *\"",
            )
            .stdout(
                2,
                "check-7",
                "BARMAN CRITICAL - *PostgreSQL, configuration|*",
                "BARMAN CRITICAL - *PostgreSQL, pg_basebackup compatible, configuration|*",
            )
            .stdout(2, "check-7", "", "dis.pg_basebackup compatible: FAILED (*"),
        scenario("check-all-servers", "cli.md 10.4, 10.5", WELL.servers(OTHERS))
            .run("check all")
            .run("check --nagios all")
            .run("-f json check all")
            .run("check main nosuch")
            .rules(&[Pid])
            .hint(3, UNKNOWN_SERVER)
            .stdout(0, "check-7", "\tpg_basebackup compatible: OK", INCOMPATIBLE)
            .stderr(
                0,
                "check-11",
                "HINT: dis: PostgreSQL: Missing 'conninfo' parameter for server 'dis'",
                "",
            )
            .stderr(
                0,
                "config-18",
                "HINT: dis: conninfo is not set in section [dis]; streaming_conninfo is not set in section [dis]",
                "",
            )
            .stdout(
                1,
                "check-14",
                "BARMAN CRITICAL - 1 server out of 3 *PostgreSQL, configuration * IGNORING: inact|*",
                "BARMAN CRITICAL - 2 server out of 3 *PostgreSQL, pg_basebackup compatible, configuration * inact *",
            )
            .stdout(1, "check-14", "", "inact.WAL archive: FAILED (*")
            .stdout(1, "check-7", "", "dis.pg_basebackup compatible: FAILED (*")
            .json(
                2,
                "check-7",
                "dis.pg_basebackup_compatible.status",
                "\"OK\"",
                "\"FAILED\"",
            )
            .json(
                2,
                "check-7",
                "dis.pg_basebackup_compatible.hint",
                "\"\"",
                "\"PostgreSQL version: *\"",
            )
            .file("all-15", "home/.inact-archive-wal.lock", "", "file, *"),
        scenario("check-nagios-json", "cli.md 10.5, 20.6", WELL)
            .run("-f json check --nagios main")
            .rules(&[Pid])
            .stdout(0, "all-11", "BARMAN OK*", "{}BARMAN OK*"),
        scenario(
            "check-slot-not-initialised",
            "cli.md 10.4",
            PLAIN
                .live(Live::Own(15))
                .catalogue(Catalogue::Made(one))
                .main("archiver = off\nstreaming_archiver = on\nslot_name = barman"),
        )
        .then(|stage| {
            stage
                .cluster()?
                .sql("SELECT pg_create_physical_replication_slot('barman')")
                .map(drop)
        })
        .run("check main")
        .run("-f json check main")
        .rules(&[Pid]),
        scenario(
            "check-slot-not-active",
            "cli.md 10.4",
            PLAIN
                .live(Live::Own(17))
                .catalogue(Catalogue::Made(one))
                .main("archiver = off\nstreaming_archiver = on\nslot_name = barman"),
        )
        .then(|stage| {
            stage
                .cluster()?
                .sql("SELECT pg_create_physical_replication_slot('barman', true)")
                .map(drop)
        })
        .run("check main")
        .rules(&[Pid]),
        scenario(
            "check-no-backups",
            "cli.md 10.4",
            WELL.catalogue(Catalogue::Made(only_wal)).main(
                "last_backup_maximum_age = 1 DAY\nminimum_redundancy = 1\nlast_backup_minimum_size = 1k",
            ),
        )
        .run("check main")
        .run("-f json check main"),
        scenario(
            "check-retention-policy-in-error",
            "cli.md 10.4",
            WELL.main("retention_policy = nonsense"),
        )
        .run("check main")
        .run("list-backups main")
        .rules(&[Pid]),
        scenario(
            "check-unknown-user",
            "cli.md 10.4",
            WELL.live(Live::None)
                .main("conninfo = host=127.0.0.1 port=1 user=nobody dbname=x\nstreaming_conninfo ="),
        )
        .run("check main")
        .rules(&[Pid])
        .prose()
        .stdout(0, "check-7", "\tpg_basebackup compatible: OK", INCOMPATIBLE)
        .stderr(0, "check-11", ANY_HINT, ""),
        scenario("check-backup-shortcuts", "cli.md 7, 11.7", VARIED)
            .run("check-backup main oldest")
            .run("check-backup main 'first one'")
            .run("-q check-backup main latest")
            .rules(&[Pid]),
        scenario("check-backup-failed-json", "cli.md 11.7", VARIED)
            .run("-f json check-backup main {id 2}")
            .run("check-backup main {id 4}")
            .rules(&[Pid])
            .prose()
            .json(
                0,
                "all-16",
                "_ERROR[0]",
                "\"Backup 20240702T120000 of server main has status FAILED and cannot be checked (failure copying files (something happened))\"",
                "\"The validity of a failed backup cannot be checked\"",
            )
            .file("all-15", "home/.main-20240702T120000.lock", "file, *", ""),
    ]
}

fn crons() -> Vec<Scenario> {
    let quietly = |scenario: Scenario| {
        scenario
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
            .files("home/.main-archive-wal.lock", Look::Nothing)
            .rules(&[Pid])
    };
    vec![
        quietly(scenario("cron-json", "cli.md 14.1", PLAIN).run("-f json cron")),
        quietly(scenario("cron-quiet", "cli.md 14.1", PLAIN).run("-q cron")),
        quietly(
            scenario(
                "cron-archives",
                "cli.md 14.1",
                PLAIN.catalogue(Catalogue::Made(with_errors)),
            )
            .run("cron"),
        ),
        quietly(scenario("cron-keep-descriptors", "cli.md 14.1", PLAIN).run("cron --keep-descriptors")),
        quietly(scenario("cron-other-servers", "cli.md 14.1", PLAIN.servers(OTHERS)).run("cron")),
        quietly(
            scenario(
                "cron-checks-backups",
                "cli.md 14.1, 11.7",
                PLAIN.catalogue(Catalogue::Made(waiting)),
            )
            .run("cron")
            .then(Stage::settle)
            .run("list-backups main")
            // Held by whichever child of cron still runs.
            .files("home/.main-2*.lock", Look::Nothing),
        ),
        quietly(
            scenario(
                "cron-retention-json",
                "cli.md 14.1",
                PLAIN
                    .catalogue(Catalogue::Made(three))
                    .main("retention_policy = REDUNDANCY 1"),
            )
            .run("-f json cron")
            .run("list-backups main"),
        )
        .rules(&[Duration, Instant]),
        quietly(
            scenario(
                "cron-retention-window",
                "cli.md 14.1",
                PLAIN
                    .catalogue(Catalogue::Made(three))
                    .main("retention_policy = RECOVERY WINDOW OF 2 DAYS\nminimum_redundancy = 2"),
            )
            .run("cron")
            .run("list-backups main"),
        )
        .rules(&[Duration, Instant]),
        quietly(
            scenario(
                "cron-minimum-redundancy",
                "cli.md 14.1",
                PLAIN
                    .catalogue(Catalogue::Made(three))
                    .main("retention_policy = REDUNDANCY 1\nminimum_redundancy = 3"),
            )
            .run("cron")
            .run("list-backups main"),
        ),
    ]
}

fn only_wal(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.wal(2)?;
    main.wal(3)
}

fn three(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    for day in 1..4 {
        main.backup(day, u64::from(day) * 2, &[])?;
    }
    (2..9).try_for_each(|number| main.wal(number))
}

fn waiting(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[("status", "WAITING_FOR_WALS")])?;
    main.wal(2)
}

fn other_system(home: &Home) -> Result<()> {
    one(home)?;
    let main = home.server("main")?;
    main.write(
        "identity.json",
        b"{\"systemid\": \"7400000000000000009\", \"version\": \"15\"}",
    )?;
    fs::create_dir_all(main.path.join("base"))?;
    Ok(())
}
