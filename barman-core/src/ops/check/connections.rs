//! The checks about PostgreSQL and the connections to it.

use barman_catalog::identity;
use barman_pg::PgVersion;

use super::TARGET;
use super::facts::Facts;
use super::report::CheckResult;
use crate::context::Level;
use crate::server::Remote;

type Found = Result<Vec<CheckResult>, String>;

/// Behind the names of checks on the connections for WAL.
pub const WAL_SUFFIX: &str = " (WAL streaming)";

pub fn postgres(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "PostgreSQL";
    let status = &facts.remote().sql;
    let supported = status.version_supported;
    let Some(version) = status.server_txt_version.clone() else {
        let reason = facts.remote().sql_error.clone();
        return Ok(vec![CheckResult::failed(NAME, "").because(reason)]);
    };
    if supported == Some(false) {
        let minimum = PgVersion::MINIMUM;
        let hint = format!("unsupported PostgreSQL version: {version} < {minimum}");
        return Ok(vec![CheckResult::failed(NAME, hint)]);
    }
    facts.postgres_is_up = true;
    Ok(vec![CheckResult::ok(NAME, "")])
}

pub fn backup_privileges(facts: &mut Facts<'_, '_>) -> Found {
    Ok(match facts.remote().sql.has_backup_privileges {
        None => vec![],
        Some(true) => vec![CheckResult::ok(
            "superuser or standard user with backup privileges",
            "",
        )],
        Some(false) => vec![CheckResult::failed(
            "no access to backup functions",
            "privileges for PostgreSQL backup functions are required (see documentation)",
        )],
    })
}

pub fn streaming(facts: &mut Facts<'_, '_>) -> Found {
    Ok(streaming_of(facts.remote(), ""))
}

fn streaming_of(remote: &Remote, suffix: &str) -> Vec<CheckResult> {
    let name = format!("PostgreSQL streaming{suffix}");
    match &remote.streaming {
        None => vec![],
        Some(status) => {
            let ok = status.streaming == Some(true);
            let hint = if ok {
                ""
            } else {
                status.connection_error.as_deref().unwrap_or_default()
            };
            vec![CheckResult {
                ok,
                ..CheckResult::ok(name, hint)
            }]
        }
    }
}

pub fn wal_level(facts: &mut Facts<'_, '_>) -> Found {
    Ok(wal_level_of(facts.remote(), ""))
}

fn wal_level_of(remote: &Remote, suffix: &str) -> Vec<CheckResult> {
    let name = format!("wal_level{suffix}");
    match remote.sql.wal_level.as_deref() {
        None => vec![],
        Some("minimal") => vec![CheckResult::failed(
            name,
            "please set it to a higher level than 'minimal'",
        )],
        Some(_) => vec![CheckResult::ok(name, "")],
    }
}

pub fn standby(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "PostgreSQL server is standby";
    facts.is_standby = facts.remote().sql.is_in_recovery == Some(true);
    if !facts.is_standby {
        facts.ctx().say(
            Level::Warning,
            TARGET,
            "'primary_conninfo' is set but 'conninfo' does not point to a standby server. Ignoring 'primary_conninfo'.",
        );
    }
    Ok(vec![if facts.is_standby {
        CheckResult::ok(NAME, "")
    } else {
        CheckResult::failed(
            NAME,
            "conninfo should point to a standby server if primary_conninfo is set",
        )
    }])
}

pub fn primary(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "Primary server is not a standby";
    let in_recovery = match facts.server().primary() {
        Ok(client) => client.is_in_recovery().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Ok(vec![match in_recovery {
        Ok(false) => CheckResult::ok(NAME, ""),
        Ok(true) => CheckResult::failed(
            NAME,
            "primary_conninfo should point to a primary server, not to a standby",
        ),
        Err(reason) => CheckResult::failed(NAME, reason),
    }])
}

pub fn same_system(facts: &mut Facts<'_, '_>) -> Found {
    const NAME: &str = "Primary and standby have same system ID";
    let primary = facts
        .server()
        .primary()
        .ok()
        .and_then(|client| client.systemid().ok());
    let ok = primary == facts.remote().sql.postgres_systemid;
    let hint = if ok {
        ""
    } else {
        "primary_conninfo and conninfo should point to servers of one cluster"
    };
    Ok(vec![CheckResult {
        ok,
        ..CheckResult::ok(NAME, hint)
    }])
}

/// The group about WAL streaming: only the slot on the own connections, everything on connections for WAL.
pub fn wal_streaming(facts: &mut Facts<'_, '_>) -> Found {
    if !facts.has_wal_connections() {
        let slot = Slot::of(facts.remote());
        return Ok(slot_of(facts, &slot, ""));
    }
    let mut found = streaming_group(facts.wal_remote());
    let ids = systemids(facts.wal_remote());
    found.extend(identity_of(facts, ids, WAL_SUFFIX));
    let slot = Slot::of(facts.wal_remote());
    found.extend(slot_of(facts, &slot, WAL_SUFFIX));
    Ok(found)
}

/// The same as `receive-wal` asks before it starts: on the connections that the server has now, without the slot.
pub fn streaming_preflight(facts: &mut Facts<'_, '_>) -> Found {
    let mut found = streaming_group(facts.remote());
    let ids = systemids(facts.remote());
    found.extend(identity_of(facts, ids, WAL_SUFFIX));
    Ok(found)
}

fn streaming_group(remote: &Remote) -> Vec<CheckResult> {
    let mut found = vec![if remote.sql.has_monitoring_privileges == Some(true) {
        CheckResult::ok(format!("has monitoring privileges{WAL_SUFFIX}"), "")
    } else {
        CheckResult::failed(
            "no access to monitoring functions",
            "privileges for PostgreSQL monitoring functions are required (see documentation)",
        )
        .because(remote.sql_error.clone())
    }];
    found.extend(streaming_of(remote, WAL_SUFFIX));
    found.extend(wal_level_of(remote, WAL_SUFFIX));
    found
}

/// What is known of the configured slot.
struct Slot {
    found: Option<barman_pg::sql::ReplicationSlot>,
    /// Whether anybody could look.
    seen: bool,
}

impl Slot {
    fn of(remote: &Remote) -> Self {
        Self {
            found: remote.sql.replication_slot.clone(),
            seen: remote.sql_error.is_none(),
        }
    }
}

fn slot_of(facts: &Facts<'_, '_>, slot: &Slot, suffix: &str) -> Vec<CheckResult> {
    let config = facts.config();
    let Some(name) = config.slot_name.as_deref() else {
        return vec![];
    };
    let check = format!("replication slot{suffix}");
    let found = slot.found.as_ref();
    let initialised = found.filter(|slot| slot.restart_lsn.is_some());
    if config.streaming_archiver {
        let problem = match (found, initialised) {
            (None, _) => format!(
                "replication slot '{name}' doesn't exist. Please execute 'barman receive-wal --create-slot {}'",
                config.name
            ),
            (Some(_), None) => format!("slot '{name}' not initialised: is 'receive-wal' running?"),
            (Some(_), Some(slot)) if !slot.active => {
                format!("slot '{name}' not active: is 'receive-wal' running?")
            }
            (Some(_), Some(_)) => return vec![CheckResult::ok(check, "")],
        };
        // Barman's words are a guess if nobody could look.
        let unknown = (!slot.seen)
            .then(|| format!("PostgreSQL was not reached, so nothing is known about slot '{name}'"));
        return vec![CheckResult::failed(check, problem).because(unknown)];
    }
    // A slot that nobody needs keeps WAL on the server for ever.
    initialised.map_or_else(Vec::new, |slot| {
        let state = if slot.active { "active" } else { "initialised" };
        let hint = format!("WARNING: slot '{name}' is {state} but not required by the current config");
        vec![CheckResult::ok(check, hint)]
    })
}

fn systemids(remote: &Remote) -> (Option<String>, Option<String>) {
    let (sql, streaming) = remote.systemids();
    (sql.map(str::to_owned), streaming.map(str::to_owned))
}

pub fn systemid(facts: &mut Facts<'_, '_>) -> Found {
    let ids = systemids(facts.remote());
    Ok(identity_of(facts, ids, ""))
}

fn identity_of(
    facts: &Facts<'_, '_>,
    (sql, streaming): (Option<String>, Option<String>),
    suffix: &str,
) -> Vec<CheckResult> {
    let name = format!("systemid coherence{suffix}");
    let id = match (sql, streaming) {
        (Some(sql), Some(streaming)) if sql != streaming => {
            let hint = "is the streaming DSN targeting the same server of the PostgreSQL connection string?";
            return vec![CheckResult::failed(name, hint)];
        }
        (None, None) => return vec![CheckResult::ok(name, "no system Id available")],
        (sql, streaming) => streaming.or(sql),
    };
    let stored = match identity::read(facts.layout()) {
        Ok(None) => return vec![CheckResult::ok(name, "no system Id stored on disk")],
        Ok(Some(identity)) => identity.systemid,
        Err(error) => return vec![CheckResult::failed(name, error.to_string())],
    };
    if stored == id {
        return vec![CheckResult::ok(name, "")];
    }
    let path = facts.layout().identity();
    vec![CheckResult::failed(
        name,
        format!(
            "the system Id of the connected PostgreSQL server changed, stored in \"{}\"",
            path.display()
        ),
    )]
}
