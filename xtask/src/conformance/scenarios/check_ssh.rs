//! `check` of servers whose backups come over ssh or from this host, and of passive nodes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use super::check::WELL;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Live, State};

/// A server whose backups come over `{root}/ssh`.
const RSYNC: State =
    WELL.main("backup_method = rsync\nssh_command = {root}/ssh -q pg\nbackup_options = concurrent_backup");
/// The same without PostgreSQL.
const DOWN: State = RSYNC.live(Live::None);
/// A passive node whose primary node is behind `{root}/ssh`.
const PASSIVE: State = WELL
    .live(Live::None)
    .main("conninfo =\nstreaming_conninfo =\narchiver =\nbackup_method =\nprimary_ssh_command = {root}/ssh -q primary");

// What is not there yet is a failed check of its own (`check-17`).
const METHOD: &str = "\tbackup method: FAILED (backup_method 'rsync' is not available yet)";
const SNAPSHOT: &str = "\tbackup method: FAILED (backup_method 'snapshot' is not available yet)";
const LOCAL: &str = "\tbackup method: FAILED (backup_method 'local-rsync' is not available yet)";
const CLOUD: &str = "\tbackup method: FAILED (backup_method 'local-to-cloud' is not available yet)";
const NODE: &str = "\tpassive node: FAILED (passive nodes are not available yet)";
const NAGIOS_METHOD: &str = "main.backup method: FAILED (backup_method 'rsync' is not available yet)";
const NAGIOS_NODE: &str = "main.passive node: FAILED (passive nodes are not available yet)";
const JSON: &str = "{\"hint\":\"* not available yet\",\"status\":\"FAILED\"}";
/// Why PostgreSQL is not reached (`check-11`).
const REFUSED: &str =
    "HINT: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";

/// Makes `{root}/ssh` this script of the shell.
fn ssh(stage: &Stage, script: &str) -> Result<()> {
    let path = stage.root.join("ssh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// What sshd does: hands the last argument to the login shell.
const LOGIN: &str = "for last; do :; done\nexec sh -c \"$last\"";

/// In the data directory of the backups lies the label of one that was cut off.
const LABEL: &str = "case \"$*\" in *test*/pg/main/backup_label*|*true*) exit 0;; esac\nexit 1";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = over_ssh();
    all.extend(odd_commands());
    all.extend(here());
    all.extend(passive());
    all
}

fn over_ssh() -> Vec<Scenario> {
    vec![
        scenario("check-rsync", "postgres.md 8.8", RSYNC)
            .then(|stage| ssh(stage, LOGIN))
            .run("check main")
            .run("-f json check main")
            .run("check --nagios main")
            .exit_code(0, "check-17", 1, 0)
            .stdout(0, "check-17", METHOD, "")
            .exit_code(1, "check-17", 1, 0)
            .json(1, "check-17", "main.backup_method", JSON, "")
            .exit_code(2, "check-17", 2, 0)
            .stdout(2, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: backup method|*", "BARMAN OK - Ready to serve the Espresso backup for main|*")
            .stdout(2, "check-17", NAGIOS_METHOD, "")
            .rules(&[Pid])
            .short(),
        scenario("check-rsync-refused", "postgres.md 8.8", RSYNC.main("backup_method = rsync\nssh_command = ssh nobody@127.0.0.1  -p 1\nbackup_options = concurrent_backup"))
            .run("check main")
            .run("-f json check main")
            .run("check --nagios main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", "HINT: ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused", "")
            .json(1, "check-17", "main.backup_method", JSON, "")
            .stdout(2, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: ssh, backup method|*", "BARMAN CRITICAL - server main has issues * main FAILED: ssh|*")
            .stdout(2, "check-17", NAGIOS_METHOD, "")
            .rules(&[Pid]),
        scenario("check-rsync-noisy", "postgres.md 8.8", RSYNC)
            .then(|stage| ssh(stage, "echo Welcome >&2"))
            .run("check main")
            .then(|stage| ssh(stage, "echo"))
            .run("check --nagios main")
            .stdout(0, "check-17", METHOD, "")
            .stdout(1, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: ssh output clean, backup method|*", "BARMAN CRITICAL - server main has issues * main FAILED: ssh output clean|*")
            .stdout(1, "check-17", NAGIOS_METHOD, "")
            .rules(&[Pid]),
        scenario("check-rsync-down", "postgres.md 8.8", DOWN)
            .then(|stage| ssh(stage, LOGIN))
            .run("check main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .rules(&[Pid]),
        scenario("check-rsync-down-with-label", "postgres.md 8.8", DOWN)
            .then(|stage| ssh(stage, LABEL))
            .run("check main")
            .run("-f json check main")
            .run("check --nagios main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .json(1, "check-17", "main.backup_method", JSON, "")
            .stdout(2, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, backup_label, backup method|*", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, backup_label|*")
            .stdout(2, "check-17", NAGIOS_METHOD, "")
            .rules(&[Pid])
            .short(),
        scenario("check-rsync-everything-down", "postgres.md 8.8", DOWN)
            .then(|stage| ssh(stage, "echo no route to pg >&2; exit 255"))
            .run("check main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .stderr(0, "check-11", "HINT: ssh: no route to pg", "")
            .rules(&[Pid]),
        scenario("check-rsync-exclusive", "postgres.md 8.8", RSYNC.live(Live::Shared(13)).main("backup_method = rsync\nssh_command = {root}/ssh -q pg\nbackup_options = exclusive_backup"))
            .then(|stage| ssh(stage, LOGIN))
            .run("check main")
            .exit_code(0, "check-17", 1, 0)
            .stdout(0, "check-17", METHOD, "")
            .rules(&[Pid]),
        scenario("check-snapshot", "postgres.md 8.8", RSYNC.main("backup_method = snapshot\nssh_command = {root}/ssh -q pg\nbackup_options = concurrent_backup"))
            .then(|stage| ssh(stage, LOGIN))
            .run("check main")
            .stdout(0, "check-17", SNAPSHOT, "")
            .stdout(0, "config-20", "", "\t\tError initialising snapshot provider None: *")
            .stderr(0, "config-18", "HINT: snapshot_disks is not set in section [main]; *", "")
            .rules(&[Pid]),
        scenario("check-rsync-without-ssh-command", "postgres.md 8.8", WELL.main("backup_method = rsync\nbackup_options = concurrent_backup"))
            .run("check main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "config-18", "HINT: ssh_command is not set in section [main]", "")
            .rules(&[Pid]),
    ]
}

fn odd_commands() -> Vec<Scenario> {
    vec![
        scenario("check-ssh-return-codes", "postgres.md 8.8", DOWN)
            .then(|stage| ssh(stage, "exit 3"))
            .run("check main")
            .then(|stage| ssh(stage, "kill -9 $$"))
            .run("check main")
            .then(|stage| Ok(fs::remove_file(stage.root.join("ssh"))?))
            .run("check main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .stdout(1, "check-17", METHOD, "")
            .stderr(1, "check-11", REFUSED, "")
            .stdout(2, "check-17", METHOD, "")
            .stderr(2, "check-11", REFUSED, "")
            .stderr(1, "check-11", "HINT: ssh: Killed", "")
            .stderr(2, "check-11", "HINT: ssh: /bin/sh: *: not found", "")
            .rules(&[Pid]),
        scenario("check-ssh-arguments", "backup.md 7.2", DOWN.main("backup_method = rsync\nssh_command = A=1 {root}/ssh a;b $HOME \\x\t*\nbackup_options = concurrent_backup"))
            .then(|stage| ssh(stage, "test \"$A $*\" = '1 a;b $HOME \\x * -o BatchMode=yes -o StrictHostKeyChecking=no true' || exit 9"))
            .run("check main")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .rules(&[Pid]),
        scenario("check-ssh-quotes", "backup.md 15.20", DOWN.main("backup_method = rsync\nssh_command = {root}/ssh -o 'A b'  pg\nbackup_options = concurrent_backup"))
            .then(|stage| ssh(stage, "test \"$2\" = 'A b' || exit 9"))
            .run("check main")
            .stdout(0, "check-19", "\tssh: OK (PostgreSQL server)", "\tssh: FAILED (Connection failed using '* return code 9)")
            .stdout(0, "check-19", "\tbackup_label: FAILED (Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.)", "")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .rules(&[Pid]),
        scenario("check-ssh-hangs", "postgres.md 8.2", DOWN)
            .then(|stage| ssh(stage, "exec sleep 15"))
            .run("check --check-timeout 2 main")
            .run("check --check-timeout 2 --nagios main")
            .stderr(0, "check-11", REFUSED, "")
            .rules(&[Pid]),
        scenario("check-ssh-leaves-a-process", "postgres.md 8.2", DOWN)
            .then(|stage| ssh(stage, "sleep 15 &\nexit 0"))
            .run("check --check-timeout 5 main")
            .stdout(0, "check-18", "\tssh: OK (PostgreSQL server)", "\tcheck timeout: FAILED (barman check command timed out)")
            .stdout(0, "check-18", "\tbackup_label: FAILED (Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.)", "")
            .stdout(0, "check-18", "\tsystemid coherence: OK (no system Id available)", "")
            .stdout(0, "check-18", "\tarchiver errors: OK", "")
            .stdout(0, "check-17", METHOD, "")
            .stderr(0, "check-11", REFUSED, "")
            .rules(&[Pid]),
    ]
}

fn here() -> Vec<Scenario> {
    let local = |options| WELL.main(options);
    vec![
        scenario("check-local-rsync", "postgres.md 8.8", local("backup_method = local-rsync\nbackup_options = concurrent_backup"))
            .run("check main")
            .run("-f json check main")
            .exit_code(0, "check-17", 1, 0)
            .stdout(0, "check-17", LOCAL, "")
            .exit_code(1, "check-17", 1, 0)
            .json(1, "check-17", "main.backup_method", JSON, "")
            .rules(&[Pid]),
        scenario("check-local-rsync-exclusive", "postgres.md 8.8", local("backup_method = local-rsync\nbackup_options = exclusive_backup"))
            .run("check main")
            .stdout(0, "check-17", LOCAL, "")
            .rules(&[Pid]),
        scenario("check-local-rsync-down", "postgres.md 17.4", local("backup_method = local-rsync\nbackup_options = exclusive_backup").live(Live::None))
            .run("check main")
            .run("check --nagios main")
            .stdout(0, "check-20", "\tlocal PGDATA: FAILED (PostgreSQL was not reached, so its data directory is not known)", "")
            .stdout(0, "check-20", "\tnot in recovery: FAILED (PostgreSQL was not reached)", "")
            .stdout(0, "check-3", "\texclusive backup supported: FAILED (unable to determine postgres version)", "")
            .stdout(0, "check-3", "\tsystemid coherence: OK (no system Id available)", "")
            .stdout(0, "check-3", "\tarchiver errors: OK", "")
            .stdout(0, "check-17", LOCAL, "")
            .stderr(0, "check-11", REFUSED, "")
            .stderr(0, "check-3", "", "EXCEPTION: ")
            .stderr(0, "check-3", "", "See log file for more details.")
            .stdout(1, "check-20", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, local PGDATA, not in recovery, exclusive backup supported, backup method|*", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL|*")
            .stdout(1, "check-20", "main.local PGDATA: FAILED (PostgreSQL was not reached, so its data directory is not known)", "")
            .stdout(1, "check-20", "main.not in recovery: FAILED (PostgreSQL was not reached)", "")
            .stdout(1, "check-3", "main.exclusive backup supported: FAILED (unable to determine postgres version)", "")
            .stdout(1, "check-17", "main.backup method: FAILED (backup_method 'local-rsync' is not available yet)", "")
            .rules(&[Pid]),
        scenario("check-local-rsync-with-ssh-command", "postgres.md 8.8", local("backup_method = local-rsync\nssh_command = ssh pg\nbackup_options = concurrent_backup"))
            .run("check main")
            .stdout(0, "check-17", LOCAL, "")
            .stderr(0, "config-18", "HINT: ssh_command is set in '*/barman.conf', line *, section [main]", "")
            .rules(&[Pid]),
        scenario("check-local-to-cloud", "postgres.md 8.8", local("backup_method = local-to-cloud"))
            .run("check main")
            .exit_code(0, "check-17", 1, 0)
            .stdout(0, "check-17", CLOUD, "")
            .rules(&[Pid]),
    ]
}

/// Servers of every method.
const MIX: &str = "\
[inact]
active = false
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = rsync
ssh_command = {root}/nothing pg
archiver = on

[pas]
primary_ssh_command = {root}/ssh primary

[refused]
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = rsync
backup_options = concurrent_backup
ssh_command = {root}/nothing pg
archiver = on
";

fn passive() -> Vec<Scenario> {
    vec![
        scenario("check-passive", "passive-node.md 10", PASSIVE)
            .then(|stage| ssh(stage, LOGIN))
            .run("check main")
            .run("-f json check main")
            .run("check --nagios main")
            .exit_code(0, "check-17", 1, 0)
            .stdout(0, "check-17", NODE, "")
            .exit_code(1, "check-17", 1, 0)
            .json(1, "check-17", "main.passive_node", JSON, "")
            .exit_code(2, "check-17", 2, 0)
            .stdout(2, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: passive node|*", "BARMAN OK - Ready to serve the Espresso backup for main|*")
            .stdout(2, "check-17", NAGIOS_NODE, "")
            .rules(&[Pid])
            .short(),
        scenario("check-passive-refused", "passive-node.md 10", PASSIVE)
            .then(|stage| ssh(stage, "echo Permission denied >&2; exit 255"))
            .run("check main")
            .run("check --nagios main")
            .stdout(0, "check-17", NODE, "")
            .stderr(0, "check-11", "HINT: ssh: Permission denied", "")
            .stdout(1, "check-17", "BARMAN CRITICAL - server main has issues * main FAILED: ssh, passive node|*", "BARMAN CRITICAL - server main has issues * main FAILED: ssh|*")
            .stdout(1, "check-17", NAGIOS_NODE, "")
            .rules(&[Pid]),
        scenario("check-passive-noisy", "passive-node.md 10", PASSIVE)
            .then(|stage| ssh(stage, "echo Welcome"))
            .run("check main")
            .run("-f json check main")
            .stdout(0, "check-17", NODE, "")
            .json(1, "check-17", "main.passive_node", JSON, "")
            .rules(&[Pid]),
        scenario("check-all-methods", "postgres.md 8.8", RSYNC.servers(MIX))
            .then(|stage| ssh(stage, LOGIN))
            .run("check all")
            .run("check --nagios all")
            .stdout(0, "check-17", METHOD, "")
            .each()
            .stdout(0, "check-17", NODE, "")
            .stderr(0, "check-11", "HINT: refused: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused", "")
            .stderr(0, "check-11", "HINT: refused: ssh: /bin/sh: *: not found", "")
            .stdout(1, "check-14", "BARMAN CRITICAL - 3 server out of 4 have issues * main FAILED: backup method * pas FAILED: WAL archive, passive node * refused FAILED: WAL archive, PostgreSQL, ssh, backup method * IGNORING: inact|*", "BARMAN CRITICAL - 3 server out of 4 have issues * inact FAILED: WAL archive * pas FAILED: WAL archive * refused FAILED: WAL archive, PostgreSQL, ssh|*")
            .stdout(1, "check-14", "", "inact.WAL archive: FAILED (*")
            .stdout(1, "check-17", NAGIOS_METHOD, "")
            .stdout(1, "check-17", "pas.passive node: FAILED (*", "")
            .stdout(1, "check-17", "refused.backup method: FAILED (*", "")
            .file("all-15", "home/.inact-archive-wal.lock", "", "file, *")
            .file("all-15", "home/.pas-archive-wal.lock", "", "file, *")
            .rules(&[Pid]),
    ]
}
