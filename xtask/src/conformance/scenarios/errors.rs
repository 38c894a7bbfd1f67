//! The start of the program, usage errors, unknown servers and backups.

use anyhow::Result;

use super::{ALL, ANY_HINT, NO_BACKUPS, UNKNOWN_BACKUP, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::Home;
use crate::conformance::listed::EMPTY_LINE;
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN};

/// What `show-backup` says of the failed backup of [`VARIED`].
const FAILED: &[&str] = &[
    "Backup 20240702T120000:",
    "  Server Name            : main",
    "  System Id              : 7400000000000000001",
    "  Status                 : FAILED",
    EMPTY_LINE,
    "  Server information:",
    "    Checksums            : on",
    EMPTY_LINE,
    "  Error                  : failure copying files (something happened)",
];

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("start-version", "cli.md 1", PLAIN)
            .run("--version")
            .stdout(
                0,
                "all-2",
                "3.20.1 Barman by EnterpriseDB (www.enterprisedb.com), as implemented by barman-rs *",
                "3.20.1 Barman by EnterpriseDB (www.enterprisedb.com)",
            )
            .short(),
        scenario("start-help", "cli.md 1", PLAIN)
            .run("--help")
            .run("help")
            .run("")
            .run("backup --help")
            .prose_on_stdout(),
        scenario("start-without-configuration", "cli.md 2.1", PLAIN)
            .run("-c {root}/missing.conf list-servers")
            .run("-c {root}/missing.conf -f json help")
            .short()
            .run("-c {root}/missing.conf"),
        scenario("start-without-home", "cli.md 2.1", PLAIN.global("barman_home ="))
            .run("list-servers")
            .run("-f json list-servers")
            .prose()
            .stderr(0, "config-18", "HINT: <words>", "")
            .stderr(1, "all-17", "ERROR: <words>", "<words>"),
        scenario(
            "start-unknown-option",
            "cli.md 2.1",
            PLAIN.global("nonsense = 1").main("rubbish = 2"),
        )
        .run("list-servers")
        .run("-f json list-servers")
        .stderr(0, "config-17", "HINT: in '*/barman.conf', line 7", "")
        .stderr(0, "config-17", "HINT: in '*/barman.conf', line 15", ""),
        scenario(
            "start-conninfo-unreadable",
            "config.md 7.2",
            PLAIN.main("wal_conninfo = wrong\nwal_streaming_conninfo = wrong=1"),
        )
        .run("list-servers")
        .run("list-backups main")
        .run("-f json list-backups main")
        .stderr(0, "config-22", "WARNING: Invalid wal_conninfo for server \"main\": missing \"=\" after \"...\" in connection info string", "")
        .stderr(0, "config-22", "HINT: in '*/barman.conf', line 14, section [main]: wal_conninfo takes *", "")
        .stderr(0, "config-22", "WARNING: Invalid wal_streaming_conninfo for server \"main\": invalid connection option \"wrong\"", "")
        .stderr(0, "config-22", "HINT: in '*/barman.conf', line 15, section [main]: wal_streaming_conninfo takes *", "")
        .stderr(1, "config-22", "WARNING: Invalid wal_conninfo for server \"main\": missing \"=\" after \"...\" in connection info string", "")
        .stderr(1, "config-22", "HINT: in '*/barman.conf', line 14, section [main]: wal_conninfo takes *", "")
        .stderr(1, "config-22", "WARNING: Invalid wal_streaming_conninfo for server \"main\": invalid connection option \"wrong\"", "")
        .stderr(1, "config-22", "HINT: in '*/barman.conf', line 15, section [main]: wal_streaming_conninfo takes *", "")
        .json(2, "config-22", "_WARNING", "[\"Invalid wal_conninfo *\",\"Invalid wal_streaming_conninfo *\"]", ""),
        scenario(
            "start-conninfo-values",
            "config.md 7.2",
            PLAIN.main("wal_conninfo = host=a port=xx\nwal_streaming_conninfo = host=a,b port=1,2,3"),
        )
        .run("list-servers")
        .stderr(0, "config-22", "WARNING: Invalid wal_conninfo for server \"main\": invalid value for connection option \"port\": \"xx\" is *", "")
        .stderr(0, "config-22", "HINT: in '*/barman.conf', line 14, section [main]: wal_conninfo *", "")
        .stderr(0, "config-22", "WARNING: Invalid wal_streaming_conninfo for server \"main\": invalid value for connection option \"port\": could not match 3 *", "")
        .stderr(0, "config-22", "HINT: in '*/barman.conf', line 15, section [main]: wal_streaming_conninfo *", ""),
        scenario(
            "start-unknown-user",
            "cli.md 2.2",
            PLAIN.global("barman_user = nobody-of-this-name"),
        )
        .run("list-servers"),
        scenario(
            "start-reserved-section",
            "cli.md 2.1",
            PLAIN.servers("[all]\nconninfo = x\n"),
        )
        .run("list-servers")
        .prose()
        .stderr(0, "config-18", "HINT: <words>", ""),
        scenario("start-syntax-error", "cli.md 2.1", PLAIN.servers("[broken\n"))
            .run("list-servers")
            .prose()
            .stderr(0, "config-18", "HINT: <words>", ""),
        scenario("start-empty-configuration-option", "cli.md 2.1", PLAIN)
            .run("-c '' list-servers").env("BARMAN_CONFIG_FILE", "{root}/barman.conf").prose(),
        scenario("start-configuration-of-the-home-directory", "cli.md 2.1", PLAIN)
            .then(|stage| Ok(std::fs::copy(stage.root.join("barman.conf"), stage.root.join("user-home/.barman.conf")).map(drop)?))
            .run("-c '' list-servers"),
        scenario("start-configuration-is-a-directory", "cli.md 2.1, 3.2", PLAIN)
            .run("-c {root}/conf.d list-servers")
            .run("-c {root}/conf.d -f json list-servers")
            .prose(),
        scenario("start-further-global-section", "cli.md 2.1", PLAIN)
            .then(|stage| Ok(std::fs::write(stage.root.join("conf.d/more.conf"), "[barman]\nlog_level = DEBUG\n")?))
            .run("list-servers")
            .run("-f json list-servers")
            .run("check --nagios main")
            .stderr(
                0,
                "config-18",
                "HINT: '*/conf.d/more.conf': settings of [barman] belong into the main file",
                "",
            ),
        scenario("start-further-sections", "cli.md 2.1", PLAIN)
            .then(|stage| Ok(std::fs::write(stage.root.join("conf.d/more.conf"), "[more]\ndescription = another\narchiver = on\nbackup_method = postgres\nconninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\n")?))
            .run("list-servers")
            .run("list-backups more")
            .run("-f json list-backups all"),
        scenario("start-unknown-log-level", "cli.md 2.4", PLAIN.global("log_level = LOUD"))
            .run("list-servers"),
        scenario("start-log-level-option", "cli.md 2.4", PLAIN)
            .run("--log-level DEBUG list-servers")
            .run("--log-level=NOTSET list-servers"),
        scenario("start-colour", "cli.md 3.3", ALL)
            .run("--color always list-servers")
            .run("--colour=always list-backups nosuch")
            .run("--color always -f json list-backups nosuch")
            .run("--color auto list-backups nosuch")
            .hint(1, "*HINT: 'barman list-servers' shows the configured servers*")
            .hint(3, UNKNOWN_SERVER),
        scenario("errors-quiet", "cli.md 3.4", ALL)
            .run("-q list-backups nosuch")
            .run("-q -f json list-backups nosuch")
            .run("-q archive-wal inact")
            .run("-q -f json archive-wal inact")
            .hint(0, UNKNOWN_SERVER),
        scenario("usage-end-of-options", "cli.md 5.1", VARIED)
            .run("list-backups -- main")
            .run("-qfjson list-backups main")
            .run("show-backup -- main -1")
            .rules(&[Pid])
            .prose()
            .hint(2, ANY_HINT),
        scenario("json-errors-everywhere", "cli.md 17", VARIED)
            .run("-f json delete main nope")
            .run("-f json check-backup main nope")
            .run("-f json restore main nope {root}/out/x")
            .run("-f json archive-wal nosuch")
            .run("-f json backup nosuch")
            .run("-f json check nosuch")
            .run("-f json get-wal nosuch 000000010000000000000001")
            .run("-f json receive-wal nosuch")
            .run("-f json switch-wal nosuch")
            .run("-f json archive-wal all"),
        scenario("usage-unknown-command", "cli.md 5.1", PLAIN)
            .run("nonsense")
            .run("-f json nonsense")
            .prose()
            .short(),
        scenario("usage-global-option-behind", "cli.md 1", PLAIN)
            .run("list-servers -f json")
            .run("list-servers -v")
            .run("check main -q")
            .prose()
            .hints(0..3, ANY_HINT),
        scenario("usage-missing-arguments", "cli.md 9", PLAIN)
            .run("archive-wal")
            .run("backup")
            .run("check")
            .run("check-backup main")
            .run("delete main")
            .run("get-wal main")
            .run("list-backups")
            .run("receive-wal")
            .run("restore main latest")
            .run("show-backup main")
            .run("switch-wal")
            .prose(),
        scenario("usage-too-many-arguments", "cli.md 9", PLAIN)
            .run("archive-wal main main")
            .run("cron main")
            .run("help main")
            .run("list-servers main")
            .run("show-backup main latest more")
            .prose(),
        scenario("usage-values", "cli.md 5.2", PLAIN)
            .run("backup --jobs 0 main")
            .run("backup --name latest main")
            .run("backup --name '' main")
            .run("backup --reuse-backup main")
            .run("backup --check-timeout -1 main")
            .run("get-wal --peek 0 main 000000010000000000000001")
            .run("restore --target-tli x main latest /x")
            .run("restore --target-action stop main latest /x")
            .run("switch-wal --archive-timeout 2.0 main")
            .run("--log-level debug list-servers")
            .run("--format xml list-servers")
            .prose()
            .hint(7, ANY_HINT)
            .hint(9, ANY_HINT),
        scenario("usage-abbreviations", "cli.md 5.1", VARIED)
            .run("--forma=json list-servers")
            .run("list-backups --min main")
            .run("--col=never list-servers")
            .run("backup --no main")
            .prose()
            .file("all-15", "home/.main-xlogdb.lock", "", "file, *"),
        scenario("usage-numbers", "cli.md 5.2", VARIED)
            .run("get-wal --peek ' 3 ' main 000000010000000000000002")
            .run("get-wal -p+2 main 000000010000000000000002")
            .run("get-wal -p 1_0 main 000000010000000000000002"),
        scenario("unknown-server", "cli.md 6.1", ALL)
            .run("list-backups nosuch")
            .stderr(
                0,
                "all-3",
                UNKNOWN_SERVER,
                "",
            )
            .short(),
        scenario("unknown-server-json", "cli.md 6.1, 17", ALL)
            .run("-f json list-backups nosuch")
            .run("-f json show-backup nosuch latest")
            .run("-f json list-backups nosuch main")
            .short(),
        scenario("unknown-server-everywhere", "cli.md 6.1", ALL)
            .run("archive-wal nosuch")
            .run("backup nosuch")
            .run("check nosuch")
            .run("check-backup nosuch latest")
            .run("delete nosuch latest")
            .run("get-wal nosuch 000000010000000000000001")
            .run("receive-wal nosuch")
            .run("restore nosuch latest {root}/out/x")
            .run("show-backup nosuch latest")
            .run("switch-wal nosuch")
            .hints(0..10, UNKNOWN_SERVER),
        scenario("unknown-server-comma-list", "cli.md 5.1", ALL)
            .run("list-backups main,plain")
            .run("check ''")
            .hint(0, "HINT: did you mean 'main'?")
            .hint(1, UNKNOWN_SERVER),
        scenario("unknown-server-among-others", "cli.md 6.1", VARIED)
            .run("list-backups nosuch main")
            .rules(&[Pid])
            .hint(0, UNKNOWN_SERVER),
        scenario("all-in-a-single-server-context", "cli.md 6.1", ALL)
            .run("archive-wal all")
            .run("show-backup all latest")
            .run("delete all latest")
            .run("get-wal all 000000010000000000000001")
            .run("receive-wal all")
            .run("restore all latest {root}/out/x")
            .run("check-backup all latest"),
        scenario("all-with-other-names", "cli.md 6.1", ALL)
            .run("list-backups all main")
            .run("-f json list-backups main all"),
        scenario("unknown-backup", "cli.md 7", VARIED)
            .run("show-backup main 20240101T000000")
            .run("delete main nope")
            .run("check-backup main nope")
            .run("restore main nope {root}/out/x")
            .run("-f json show-backup main nope")
            .hint(0, "HINT: did you mean '20240701T120000'?")
            .hints(1..4, UNKNOWN_BACKUP)
            .short(),
        scenario("unknown-backup-of-no-backups", "cli.md 7", PLAIN)
            .run("show-backup main latest")
            .run("show-backup main last-failed")
            .run("delete main oldest")
            .hints(0..3, NO_BACKUPS),
        scenario("last-failed-by-exact-word", "cli.md 20.1", VARIED)
            .run("show-backup main ''")
            .run("show-backup main fail")
            .exit_code(0, "catalogue-12", 1, 0)
            .stderr(
                0,
                "catalogue-12",
                "ERROR: Unknown backup '' for server 'main'",
                "",
            )
            .hint(0, UNKNOWN_BACKUP)
            .only_barman_says(0, "catalogue-12", FAILED)
            .exit_code(1, "catalogue-12", 1, 0)
            .stderr(
                1,
                "catalogue-12",
                "ERROR: Unknown backup 'fail' for server 'main'",
                "",
            )
            .hint(1, UNKNOWN_BACKUP)
            .only_barman_says(1, "catalogue-12", FAILED),
        scenario(
            "a-name-of-two-backups",
            "cli.md 7",
            PLAIN.catalogue(Catalogue::Made(twice)),
        )
        .run("show-backup main twice")
        .run("delete main twice"),
        scenario(
            "path-conflict-between-servers",
            "cli.md 6.1",
            PLAIN.servers("[other]\nconninfo = host=127.0.0.1 port=1\narchiver = on\nbackup_method = postgres\nbackup_directory = {root}/home/main\n"),
        )
        .run("list-backups main")
        .run("list-servers")
        .run("check --nagios main")
        .run("cron").file("all-15", "home/.config-update.lock", "", "file, *").file("catalogue-20", "home/cfg_changes.queue", "", "file, *"),
    ]
}

/// What Barman refuses or is silent about.
pub fn better() -> Vec<Scenario> {
    vec![
        scenario("options-between-servers", "cli.md 5.1", VARIED).exit_code(0, "cli-4", 0, 2).stdout(0, "cli-4", "20240706T120000", "").stdout(0, "cli-4", "20240705T120000", "").stdout(0, "cli-4", "20240704T120000", "").stdout(0, "cli-4", "20240703T120000", "").stdout(0, "cli-4", "20240702T120000", "").stdout(0, "cli-4", "20240701T120000", "").stderr(0, "cli-4", "", "usage error: <words>")
            .run("list-backups main --minimal main")
            .prose(),
        scenario("numbers-beyond-every-machine", "cli.md 5.2", PLAIN).exit_code(0, "cli-5", 2, 1).stderr(0, "cli-5", "usage error: <words>", "ERROR: <words>").exit_code(1, "cli-5", 2, 1).stderr(1, "cli-5", "usage error: <words>", "ERROR: <words>")
            .run("backup --jobs 99999999999999999999 nosuch")
            .run("restore --target-tli 4294967296 nosuch latest /x")
            .prose(),
        scenario(
            "hosts-that-do-not-answer",
            "postgres.md 1.5",
            PLAIN.main("conninfo = host=127.0.0.1,127.0.0.1 port=1,2 user=barman dbname=postgres"),
        ).stderr(0, "all-20", "HINT: connection to server at \"127.0.0.1\", port 1 failed: Connection refused; run 'barman check main'", "").stderr(1, "all-20", "HINT: connection to server at \"127.0.0.1\", port 1 failed: Connection refused; connection to server at \"127.0.0.1\", port 2 failed: Connection refused", "")
        .run("switch-wal main")
        .run("replication-status main"),
        scenario("passive-server-status", "cli.md 10.3", ALL)
            .run("status pas")
            .run("-f json status pas"),
    ]
}

fn twice(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    for day in 1..3 {
        main.backup(day, u64::from(day), &[("backup_name", "twice")])?;
        main.wal(u64::from(day))?;
    }
    Ok(())
}
