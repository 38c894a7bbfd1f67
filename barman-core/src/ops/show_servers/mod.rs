//! `show-servers`: every setting of a server, and what PostgreSQL says of itself.

mod remote;

use barman_catalog::{BackupStatus, Catalog, CatalogError};
use serde_json::{Map, Value, json};

use crate::config::{BackupMethod, ServerConfig};
use crate::context::Context;
use crate::format;
use crate::ops::{deadline, parallel};
use crate::server::Server;

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ShownServer {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What follows the name in the header: ` (inactive)`, ` (WARNING: disabled)`, or nothing.
    #[serde(skip)]
    pub state: &'static str,
    /// Every key with its value: settings, and unless the server is passive what PostgreSQL tells. Passwords are hidden.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// Gathers everything about these servers, in their order. They are asked at the same time, each for at most its
/// `check_timeout`; one that cannot be reached is shown without what only PostgreSQL knows.
///
/// # Errors
/// By server: the backups cannot be listed (only asked for with `last_backup_maximum_age`).
pub fn run(servers: &[&ServerConfig], ctx: &Context<'_>) -> Vec<Result<ShownServer, CatalogError>> {
    let mut all = Vec::with_capacity(servers.len());
    run_each(servers, ctx, |shown| all.push(shown));
    all
}

/// As [`run`], but each server is handed over as soon as it and those before it are there: one that hangs does not hide
/// what is known of others.
pub fn run_each(
    servers: &[&ServerConfig],
    ctx: &Context<'_>,
    found: impl FnMut(Result<ShownServer, CatalogError>),
) {
    parallel::each(servers, |config| of(config, ctx), found);
}

fn of(config: &ServerConfig, ctx: &Context<'_>) -> Result<ShownServer, CatalogError> {
    let mut server = Server::new(config.clone());
    let mut members = config.shown();
    if !config.is_passive() && config.active {
        let found = deadline::within(&mut server, config.check_timeout, ctx, |server, _| {
            remote::status(server)
        });
        for (key, value) in found {
            members.insert(key, value);
        }
    }
    let age = last_backup_maximum_age(&server, ctx)?;
    members.insert("last_backup_maximum_age".to_owned(), json!(age));
    Ok(ShownServer {
        name: config.name.clone(),
        state: config.state_suffix(),
        members,
    })
}

/// The limit, and whether the newest backup keeps it.
fn last_backup_maximum_age(server: &Server, ctx: &Context<'_>) -> Result<String, CatalogError> {
    let Some(limit) = server.config().last_backup_maximum_age else {
        return Ok("None".to_owned());
    };
    let catalog = Catalog::load(server.layout())?;
    let done = |backup: &&barman_catalog::BackupInfo| {
        matches!(backup.status, BackupStatus::Done | BackupStatus::WaitingForWals)
    };
    let end = catalog
        .usable()
        .rev()
        .find(done)
        .and_then(|backup| backup.end_time);
    let now = ctx.clock.now().timestamp().as_second();
    let age = end.map(|end| now.saturating_sub(end.epoch_seconds()));
    let shown = age.map_or_else(|| "No available backups".to_owned(), format::signed_interval);
    let limit_shown = format::interval(limit);
    let fresh = age.is_some_and(|age| i64::try_from(limit.as_secs()).is_ok_and(|limit| age <= limit));
    Ok(if fresh {
        format!("{limit_shown} (latest backup: {shown} )")
    } else {
        format!("{limit_shown} (WARNING! latest backup is {shown} old)")
    })
}

/// Whether the server has a replication connection.
fn streams(server: &Server) -> bool {
    let config = server.config();
    config.backup_method == BackupMethod::Postgres || config.streaming_archiver
}
