//! The checks of the backup method: what a backup needs of the host that it is taken from.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use barman_catalog::BackupStatus;
use barman_pg::PgVersion;
use barman_pg::sql::RemoteStatus;

use super::TARGET;
use super::facts::Facts;
use super::report::CheckResult;
use super::words;
use crate::config::BackupMethod;
use crate::host::answer;
use crate::host::command::Finished;
use crate::host::remote::RemoteHost;
use crate::host::shell;

type Found = Result<Vec<CheckResult>, String>;

/// The longest that a remote command or a file system here may take, also where the checks of a server have no limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// The checks of the backup method, and of a passive node that of its primary node. The names of programs that are
/// built in here stay, because monitoring knows them. What cannot be done yet is a failed check of its own: a server
/// that can get no backup is never shown as good.
pub fn method(facts: &mut Facts<'_, '_>) -> Found {
    let config = facts.config();
    let path_prefix = config.path_prefix.as_deref();
    let way = |command: Option<&str>| RemoteHost::by_words(command?, path_prefix);
    if config.is_passive() {
        let mut found = match way(config.primary_ssh_command.as_deref()) {
            Some(host) => ssh(facts, &host, "Barman primary node").0,
            None => vec![],
        };
        let hint = "passive nodes are not available yet";
        found.push(CheckResult::failed("passive node", hint));
        return Ok(found);
    }
    let method = config.backup_method;
    let mut found = match method {
        BackupMethod::Postgres => return Ok(postgres(facts)),
        // Without an ssh command, or with one too many, the server is disabled, and the configuration says why.
        BackupMethod::Rsync | BackupMethod::Snapshot => match way(config.ssh_command.as_deref()) {
            Some(host) => {
                let mut found = postgres_host(facts, &host);
                found.extend(strategy(facts));
                found
            }
            None => vec![],
        },
        BackupMethod::LocalRsync if config.ssh_command.is_none() => {
            let mut found = vec![local_data_directory(facts)];
            found.extend(strategy(facts));
            found
        }
        BackupMethod::LocalRsync | BackupMethod::LocalToCloud => vec![],
    };
    let hint = format!("backup_method '{method}' is not available yet");
    found.push(CheckResult::failed("backup method", hint));
    Ok(found)
}

fn postgres(facts: &Facts<'_, '_>) -> Vec<CheckResult> {
    let mut found = vec![
        CheckResult::ok("pg_basebackup", ""),
        CheckResult::ok("pg_basebackup compatible", ""),
    ];
    if facts.postgres_is_up {
        found.push(CheckResult::ok("pg_basebackup supports tablespaces mapping", ""));
    }
    if let Some(compression) = facts.config().backup_compression {
        let hint = format!("backup_compression '{compression}' is not available yet");
        found.push(CheckResult::failed("backup compression", hint));
    }
    found
}

/// PostgreSQL's host by ssh, and whether a backup that was cut off keeps PostgreSQL from starting there.
fn postgres_host(facts: &mut Facts<'_, '_>, host: &RemoteHost) -> Vec<CheckResult> {
    let (mut found, reached) = ssh(facts, host, "PostgreSQL server");
    if !reached || facts.postgres_is_up {
        return found;
    }
    let Some(pgdata) = newest_data_directory(facts) else {
        return found;
    };
    let label = format!("{}/backup_label", pgdata.trim_end_matches('/'));
    let command = format!("test -e {}", shell::between_quotes(&label));
    match host.run(&command, PATIENCE, facts.deadline().cancel()) {
        Ok(finished) if finished.success() => found.push(CheckResult::failed(
            "backup_label",
            "Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.",
        )),
        Ok(finished) if finished.status() == Some(1) => {}
        Ok(finished) => unknown(&label, &ended(&finished)),
        Err(error) => unknown(&label, &error.to_string()),
    }
    found
}

fn unknown(label: &str, why: &str) {
    log::warn!(target: TARGET, "cannot find out whether {label} exists on PostgreSQL's host: {why}");
}

/// The data directory of the newest backup that has begun to be one.
fn newest_data_directory(facts: &mut Facts<'_, '_>) -> Option<String> {
    // A catalogue that cannot be read has failed other checks.
    let catalog = facts.catalog().ok()?;
    let begun = |backup: &&barman_catalog::BackupInfo| backup.status != BackupStatus::Empty;
    let mut begun = catalog.usable().rev().filter(begun);
    begun.find_map(|backup| backup.pgdata.clone())
}

/// Whether a command can be run on the host of `partner`, and whether nothing but its output comes back.
fn ssh(facts: &Facts<'_, '_>, host: &RemoteHost, partner: &str) -> (Vec<CheckResult>, bool) {
    const NAME: &str = "ssh";
    let failed = |how: &str| {
        let hint = format!("Connection failed using '{}' {how}", host.shown());
        CheckResult::failed(NAME, hint)
    };
    let finished = match host.run("true", PATIENCE, facts.deadline().cancel()) {
        Ok(finished) => finished,
        Err(error) => return (vec![failed(&format!("({error})"))], false),
    };
    if !finished.success() {
        return (
            vec![failed(&ended(&finished)).because(finished.complaint())],
            false,
        );
    }
    let mut found = vec![CheckResult::ok(NAME, partner)];
    if !finished.stdout.is_empty() || !finished.stderr.is_empty() {
        found.push(CheckResult::failed(
            "ssh output clean",
            "the configured ssh_command must not add anything to the remote command output",
        ));
    }
    (found, true)
}

fn ended(finished: &Finished) -> String {
    match finished.status() {
        Some(status) => format!("return code {status}"),
        None => "without a return code".to_owned(),
    }
}

/// Whether the data directory can be read here. The words of success are those that Barman has without looking.
fn local_data_directory(facts: &mut Facts<'_, '_>) -> CheckResult {
    const NAME: &str = "local PGDATA";
    let up = facts.postgres_is_up;
    let remote = facts.remote();
    let Some(directory) = remote.sql.data_directory.as_deref() else {
        return if up {
            let hint = "PostgreSQL does not tell the data directory to a role without backup privileges";
            CheckResult::failed(NAME, hint)
        } else {
            CheckResult::failed(
                NAME,
                "PostgreSQL was not reached, so its data directory is not known",
            )
        };
    };
    let version = Path::new(directory).join("PG_VERSION");
    let failed = |why: &str| CheckResult::failed(NAME, format!("{}: {why}", version.display()));
    let file = version.clone();
    let question = move || can_be_read(&file).map_err(|why| words::reason(&why));
    match answer::within(PATIENCE, facts.deadline().cancel(), question) {
        Ok(Ok(())) => CheckResult::ok(NAME, "Access to local PGDATA"),
        Ok(Err(why)) => failed(&why),
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether this is a file that this user may read.
fn can_be_read(file: &Path) -> io::Result<()> {
    // Looked at before it is opened: opening a FIFO waits for whoever writes into it.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(file).map(drop)
}

/// What the way to take a backup needs of PostgreSQL.
fn strategy(facts: &mut Facts<'_, '_>) -> Vec<CheckResult> {
    let exclusive = facts.config().backup_options.exclusive_backup;
    let sql = &facts.remote().sql;
    if exclusive {
        exclusively(sql)
    } else {
        concurrently(sql)
    }
}

fn concurrently(sql: &RemoteStatus) -> Vec<CheckResult> {
    match &sql.server_txt_version {
        Some(version) if sql.version_supported == Some(false) => {
            let minimum = PgVersion::MINIMUM;
            let hint = format!("unsupported PostgreSQL version: {version} < {minimum}");
            vec![CheckResult::failed("postgres minimal version", hint)]
        }
        _ => vec![],
    }
}

fn exclusively(sql: &RemoteStatus) -> Vec<CheckResult> {
    const RECOVERY: &str = "not in recovery";
    const SUPPORTED: &str = "exclusive backup supported";
    let recovery = match sql.is_in_recovery {
        Some(false) => CheckResult::ok(RECOVERY, ""),
        Some(true) => CheckResult::failed(RECOVERY, "cannot perform exclusive backup on a standby"),
        None => CheckResult::failed(RECOVERY, "PostgreSQL was not reached"),
    };
    let version = sql.server_txt_version.as_deref().and_then(PgVersion::from_report);
    let supported = match version.map(PgVersion::major) {
        Some(major) if major < 15 => CheckResult::ok(SUPPORTED, ""),
        Some(major) => {
            let hint = format!("exclusive backups not supported on PostgreSQL {major}");
            CheckResult::failed(SUPPORTED, hint)
        }
        None => CheckResult::failed(SUPPORTED, "unable to determine postgres version"),
    };
    vec![recovery, supported]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: &str, in_recovery: Option<bool>) -> RemoteStatus {
        RemoteStatus {
            server_txt_version: Some(version.to_owned()),
            version_supported: Some(PgVersion::from_report(version).unwrap() >= PgVersion::MINIMUM),
            is_in_recovery: in_recovery,
            ..RemoteStatus::default()
        }
    }

    #[test]
    fn strategies() {
        let shown = |found: Vec<CheckResult>| -> Vec<String> {
            let line = |result: &CheckResult| format!("{} {}", result.status(), result.described());
            found.iter().map(line).collect()
        };
        for (sql, expected) in [
            (
                status("14.23", Some(false)),
                ["OK not in recovery", "OK exclusive backup supported"],
            ),
            (
                status("15.18 (Debian 15.18-1)", Some(true)),
                [
                    "FAILED not in recovery (cannot perform exclusive backup on a standby)",
                    "FAILED exclusive backup supported (exclusive backups not supported on PostgreSQL 15)",
                ],
            ),
            (
                RemoteStatus::default(),
                [
                    "FAILED not in recovery (PostgreSQL was not reached)",
                    "FAILED exclusive backup supported (unable to determine postgres version)",
                ],
            ),
        ] {
            assert_eq!(shown(exclusively(&sql)), expected);
        }
        assert_eq!(concurrently(&RemoteStatus::default()), []);
        assert_eq!(concurrently(&status("10.0", None)), []);
        assert_eq!(
            shown(concurrently(&status("9.6.24", None))),
            ["FAILED postgres minimal version (unsupported PostgreSQL version: 9.6.24 < 10.0)"]
        );
    }
}
