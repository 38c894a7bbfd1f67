//! `barman check`: whether a server can be backed up and its WAL archived.
//!
//! Every check is an entry of one table ([`entries`]): when it applies and how it is done. [`run`] walks the table and
//! returns what it found; a check that breaks is one failed result, and the rest goes on. `check_timeout` limits all
//! checks of a server together: it ends every wait on the network.

mod archivers;
mod backups;
mod connections;
mod facts;
mod host;
mod methods;
mod report;
mod table;
mod wal_archive;
mod words;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use report::{CheckInterrupted, CheckReport, CheckResult, NON_CRITICAL};
pub use table::{CheckEntry, entries};

use crate::config::ServerConfig;
use crate::context::{Context, Level, Message, Progress};
use crate::ops::deadline::{self, Ended};
use crate::ops::parallel;
use crate::server::Server;
use facts::Facts;

/// Name under which the log records checks.
const TARGET: &str = "barman.server";

/// How to check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// `--check-timeout`, replacing the option `check_timeout`; zero = no limit.
    pub timeout: Option<Duration>,
}

/// Runs every check that applies to `server`. Its connections are closed afterwards.
///
/// # Errors
/// [`CheckInterrupted`] if the user asked to stop.
pub fn run(
    server: &mut Server,
    options: &CheckOptions,
    ctx: &Context<'_>,
) -> Result<CheckReport, CheckInterrupted> {
    walk(server, options, ctx, entries(), Strategy::Shown)
}

/// Checks several servers at the same time, as [`run`] does one; the reports are in their order. What a check has to say
/// to the user is told server by server in that order.
#[must_use]
pub fn run_all(
    servers: &[&ServerConfig],
    options: &CheckOptions,
    ctx: &Context<'_>,
) -> Vec<Result<CheckReport, CheckInterrupted>> {
    let mut reports = Vec::with_capacity(servers.len());
    run_each(servers, options, ctx, |report| reports.push(report));
    reports
}

/// As [`run_all`], but each report is handed over as soon as it and those before it are there: a server that hangs does
/// not hide what is known of others.
pub fn run_each(
    servers: &[&ServerConfig],
    options: &CheckOptions,
    ctx: &Context<'_>,
    mut found: impl FnMut(Result<CheckReport, CheckInterrupted>),
) {
    let work = |config: &&ServerConfig| {
        let said = Said::default();
        let quiet = Context {
            progress: &said,
            ..*ctx
        };
        let mut server = Server::new((*config).clone());
        (run(&mut server, options, &quiet), said)
    };
    parallel::each(servers, work, |(report, said)| {
        said.tell(ctx);
        found(report);
    });
}

/// Messages that are kept until it is their turn.
#[derive(Debug, Default)]
struct Said(Mutex<Vec<(Level, String, String, bool)>>);

impl Said {
    fn tell(self, ctx: &Context<'_>) {
        let kept = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (level, text, target, logged) in &kept {
            ctx.progress.message(Message {
                level: *level,
                text,
                target,
                logged: *logged,
            });
        }
    }
}

impl Progress for Said {
    fn message(&self, message: Message<'_>) {
        let Message {
            level,
            text,
            target,
            logged,
        } = message;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((level, text.to_owned(), target.to_owned(), logged));
    }
}

/// The silent form before a backup: failures go to the log, and [`CheckReport::critical`] tells what stops it.
///
/// # Errors
/// [`CheckInterrupted`].
pub fn preflight(
    server: &mut Server,
    options: &CheckOptions,
    ctx: &Context<'_>,
) -> Result<CheckReport, CheckInterrupted> {
    walk(server, options, ctx, entries(), Strategy::Silent)
}

/// The silent form before `receive-wal`: monitoring privileges, streaming connection, `wal_level` and system
/// identifiers, on the connections that the server has now ([`Server::use_wal_connections`]).
///
/// # Errors
/// [`CheckInterrupted`].
pub fn streaming_preflight(
    server: &mut Server,
    options: &CheckOptions,
    ctx: &Context<'_>,
) -> Result<CheckReport, CheckInterrupted> {
    walk(
        server,
        options,
        ctx,
        table::streaming_preflight(),
        Strategy::Silent,
    )
}

/// Who reads the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// The user: every failure counts.
    Shown,
    /// The log: some failures do not count.
    Silent,
}

fn walk(
    server: &mut Server,
    options: &CheckOptions,
    ctx: &Context<'_>,
    entries: &[CheckEntry],
    strategy: Strategy,
) -> Result<CheckReport, CheckInterrupted> {
    let limit = options.timeout.map_or(server.config().check_timeout, |limit| {
        (!limit.is_zero()).then_some(limit)
    });
    let outcome = deadline::within(server, limit, ctx, |server, deadline| {
        collect(&mut Facts::new(server, ctx, deadline), entries, strategy)
    });
    let config = server.config();
    let results = outcome.map_err(|cause| CheckInterrupted {
        server: config.name.clone(),
        cause,
    })?;
    Ok(CheckReport {
        server: config.name.clone(),
        active: config.active,
        state: config.state_suffix(),
        results,
        messages: config.messages.clone(),
    })
}

fn collect(
    facts: &mut Facts<'_, '_>,
    entries: &[CheckEntry],
    strategy: Strategy,
) -> Result<Vec<CheckResult>, crate::context::CancelCause> {
    let name = facts.config().name.clone();
    let mut results = Vec::new();
    for entry in entries {
        if !(entry.applies)(facts) {
            continue;
        }
        log::debug!(target: TARGET, "Starting check '{}' for server '{name}'", entry.name);
        let found = (entry.run)(facts).unwrap_or_else(|reason| vec![CheckResult::failed(entry.name, reason)]);
        match facts.deadline().ended() {
            None => results.extend(found),
            Some(Ended::Cancelled(cause)) => return Err(cause),
            Some(Ended::TimedOut) => {
                results.push(CheckResult::failed(
                    "check timeout",
                    "barman check command timed out",
                ));
                break;
            }
        }
    }
    for result in &results {
        record(&name, result, strategy);
    }
    Ok(results)
}

fn record(server: &str, result: &CheckResult, strategy: Strategy) {
    let name = &result.name;
    match (result.ok, strategy == Strategy::Silent && !result.is_critical()) {
        (true, _) => log::debug!(target: TARGET, "Check '{name}' succeeded for server '{server}'"),
        (false, true) => {
            log::info!(target: TARGET, "Ignoring failed check '{name}' for server '{server}'");
        }
        (false, false) => match result.reason.as_deref().unwrap_or(&result.hint) {
            "" => log::error!(target: TARGET, "Check '{name}' failed for server '{server}'"),
            why => log::error!(target: TARGET, "Check '{name}' failed for server '{server}' ({why})"),
        },
    }
}
