//! The operation `receive-wal`: receives the WAL of a server over the replication protocol into `streaming/`, leaving
//! there exactly the files that `pg_receivewal` leaves: `SEG.partial` while a segment is incomplete, `SEG` once it is,
//! a history file for each new timeline. Also creates and drops the replication slot, and re-aligns the directory.
//!
//! What must never happen: that the server is told that WAL is safe which is not on stable storage here.

mod error;
mod receiver;
mod reset;
mod slot;
mod start;
mod writer;

#[cfg(test)]
mod tests;

use std::time::Duration;

use barman_pg::conninfo::redact;
use barman_pg::{ReplicationClient, ReserveWal};
use barman_wal::SegmentSize;
use barman_wal::durable;
use barman_wal::lock::Lock;

use crate::config::types::CreateSlot;
use crate::context::{CancelCause, Context, Level};
use crate::ops::check::{self, CheckOptions, CheckResult};
use crate::server::Server;

pub use error::ReceiveError;

/// The name under which the log records what Barman's server object says.
const SERVER_TARGET: &str = "barman.server";
/// The name under which the log records the streaming archiver.
const TARGET: &str = "barman.wal_archiver";
/// The name under which the log records what `pg_receivewal` said.
const RECEIVER_TARGET: &str = "barman.command_wrappers";
/// How long a busy lock is tried: another process may only be looking who holds it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// `streaming_archiver_name` if it is not set.
const DEFAULT_NAME: &str = "barman_receive_wal";

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiveAction {
    /// Receive until told to stop.
    #[default]
    Stream,
    /// `--create-slot`.
    CreateSlot {
        /// `--if-not-exists`: an existing slot is fine.
        if_not_exists: bool,
    },
    /// `--drop-slot`.
    DropSlot,
    /// `--reset`.
    Reset,
}

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveOptions {
    /// What to do.
    pub action: ReceiveAction,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveReport {
    /// Segments completed.
    pub segments: u64,
    /// Why receiving ended, if somebody asked for it: after SIGINT the exit code is 0, after SIGTERM 143.
    pub stopped: Option<CancelCause>,
}

/// Runs `receive-wal` in one of its forms, on the connections for WAL work; they look at `ctx.cancel`.
///
/// # Errors
/// [`ReceiveError`]. Receiving without an error ends only when somebody asks for it.
pub fn run(
    server: &mut Server,
    options: &ReceiveOptions,
    ctx: &Context<'_>,
) -> Result<ReceiveReport, ReceiveError> {
    server.connect_options().interrupt = Some(ctx.cancel.flag());
    apply_overrides(server, ctx);
    match options.action {
        ReceiveAction::CreateSlot { if_not_exists } => {
            slot::create(server, if_not_exists, ReserveWal::Later, ctx)?;
            Ok(ReceiveReport::default())
        }
        ReceiveAction::DropSlot => {
            slot::drop(server, ctx)?;
            Ok(ReceiveReport::default())
        }
        ReceiveAction::Stream | ReceiveAction::Reset => {
            let outcome = receive(server, options.action == ReceiveAction::Reset, ctx);
            server.close();
            outcome
        }
    }
}

/// Changes to the connection strings for WAL work, and tells so.
fn apply_overrides(server: &mut Server, ctx: &Context<'_>) {
    let replaced = server.use_wal_connections();
    let config = server.config();
    let words: Vec<String> = replaced
        .iter()
        .map(|option| {
            let value = match *option {
                "streaming_conninfo" => config.streaming_conninfo.as_deref(),
                _ => config.conninfo.as_deref(),
            };
            format!(
                "'{option}' overridden with '{}'",
                redact(value.unwrap_or_default())
            )
        })
        .collect();
    if !words.is_empty() {
        let text = format!("Configuration overrides applied: {}", words.join(" and "));
        ctx.say(Level::Info, "barman.config", &text);
    }
}

fn receive(server: &mut Server, reset: bool, ctx: &Context<'_>) -> Result<ReceiveReport, ReceiveError> {
    let name = server.name().to_owned();
    if !server.config().streaming_archiver {
        return Err(ReceiveError::ArchiverOff);
    }
    let checks = match check::streaming_preflight(server, &CheckOptions::default(), ctx) {
        Ok(checks) => checks,
        Err(interrupted) => return Ok(stopped(0, interrupted.cause, ctx)),
    };
    let failed: Vec<String> = checks.critical().map(CheckResult::described).collect();
    if !failed.is_empty() {
        return Err(ReceiveError::Preflight {
            server: name,
            failed: failed.join(", "),
        });
    }
    if !reset {
        ctx.say(
            Level::Info,
            SERVER_TARGET,
            &format!("Starting receive-wal for server {name}"),
        );
    }
    let lock_path = server.layout().receive_wal_lock();
    let flag = ctx.cancel.flag();
    let _lock = Lock::acquire_within(&lock_path, LOCK_PATIENCE, Some(&*flag))
        .map_err(|source| ReceiveError::lock(source, &name, reset))?;
    let directory = server.config().streaming_wals_directory.clone();
    durable::create_dir_all_durable(&directory, 0o755).map_err(ReceiveError::Disk)?;

    let application = server.config().streaming_archiver_name.clone();
    let application = application.as_deref().unwrap_or(DEFAULT_NAME);
    let mut client = server
        .connect_streaming(Some(application))
        .map_err(ReceiveError::server)?;
    prepare_slot(server, reset, ctx)?;
    if reset {
        return reset::run(server, &mut client, &directory, ctx);
    }
    let size = segment_size(&mut client)?;
    let synchronous = is_synchronous(server, application)?;
    let start = start::find(server, &mut client, &directory, size)?;
    server.close();
    ctx.progress.begin("receiving WAL", None);
    let receiver = receiver::Receiver {
        server: &name,
        slot: server.config().slot_name.as_deref(),
        directory: &directory,
        wals: server.layout(),
        size,
        synchronous,
        ctx,
    };
    log::info!(target: TARGET, "Activating WAL archiving through streaming protocol");
    let outcome = receiver.run(&mut client, start);
    ctx.progress.end();
    match outcome {
        Ok((segments, cause)) => Ok(stopped(segments, cause, ctx)),
        Err(error) => match (error.is_interrupted(), ctx.cancel.cause()) {
            (true, Some(cause)) => Ok(stopped(0, cause, ctx)),
            _ => Err(error),
        },
    }
}

fn stopped(segments: u64, cause: CancelCause, ctx: &Context<'_>) -> ReceiveReport {
    if cause == CancelCause::Interrupt {
        ctx.say(Level::Info, TARGET, "SIGINT received. Terminate gracefully.");
    }
    ReceiveReport {
        segments,
        stopped: Some(cause),
    }
}

/// Makes sure that the configured slot is there and free.
fn prepare_slot(server: &mut Server, reset: bool, ctx: &Context<'_>) -> Result<(), ReceiveError> {
    let Some(slot_name) = server.config().slot_name.clone() else {
        return Ok(());
    };
    let found = server
        .sql()
        .map_err(ReceiveError::server)?
        .replication_slot(&slot_name);
    let slot = found.map_err(ReceiveError::Postgres)?;
    match slot {
        None if server.config().create_slot == CreateSlot::Auto => {
            if reset {
                return Ok(());
            }
            ctx.say(
                Level::Info,
                TARGET,
                &format!("Creating replication slot '{slot_name}'"),
            );
            // The receiver follows in a moment: a checkpoint in between must not take WAL away.
            slot::create(server, true, ReserveWal::Now, ctx)
        }
        None => Err(ReceiveError::SlotMissing {
            slot: slot_name,
            server: server.name().to_owned(),
        }),
        Some(slot) if slot.active => Err(ReceiveError::SlotActive { slot: slot_name }),
        Some(_) => Ok(()),
    }
}

fn segment_size(client: &mut ReplicationClient) -> Result<SegmentSize, ReceiveError> {
    let bytes = client.wal_segment_size().map_err(ReceiveError::Postgres)?;
    SegmentSize::new(bytes).map_err(|error| ReceiveError::Refused(error.to_string()))
}

/// Whether the server waits for this receiver: it is listed among the synchronous standbys.
fn is_synchronous(server: &mut Server, application: &str) -> Result<bool, ReceiveError> {
    let names = server
        .sql()
        .map_err(ReceiveError::server)?
        .synchronous_standby_names()
        .map_err(ReceiveError::Postgres)?;
    Ok(names.iter().any(|name| name == "*" || name == application))
}
