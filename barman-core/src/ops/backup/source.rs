//! The standard connection of a backup: opened for the metadata, closed during the copy, opened again for the end.

use std::time::Duration;

use barman_catalog::Timestamp;
use barman_pg::{Error, SqlClient, sqlstate};
use barman_wal::{Lsn, SegmentName};

use super::failed::chain;
use super::sequence::TARGET;
use super::wait::Delivery;
use crate::context::Context;
use crate::server::{Server, ServerError};

/// How often the end of a backup tries to get its connection back before the backup is given up.
const ATTEMPTS: u32 = 5;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// Where the server's WAL is.
pub(super) struct Position {
    pub lsn: Option<Lsn>,
    /// File and offset; unknown on a standby.
    pub wal: Option<(SegmentName, u32)>,
    /// The server's clock, in the time zone of the session.
    pub time: Timestamp,
}

/// An SQL session with the server that is backed up.
pub(super) struct Source {
    pub sql: SqlClient,
}

impl Source {
    /// Connects once.
    pub fn connect(server: &Server) -> Result<Self, ServerError> {
        Ok(Self {
            sql: server.connect_sql()?,
        })
    }

    /// Connects after the copy. A server that is away for a moment does not cost the whole copy; one that refuses,
    /// or stays away, does: without it nobody knows that the copy is of the right server.
    pub fn connect_again(server: &Server, ctx: &Context<'_>) -> Result<Self, ServerError> {
        let mut attempt = 1;
        loop {
            match Self::connect(server) {
                Err(ServerError::Connection { source: error, .. })
                    if attempt < ATTEMPTS && may_come_back(&error) && !ctx.cancel.is_requested() =>
                {
                    log::warn!(target: TARGET, "cannot connect after the copy, trying again: {}", chain(&error));
                    pause(ctx);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// The current position.
    pub fn position(&mut self) -> Result<Position, Error> {
        let found = self.sql.current_position()?;
        Ok(Position {
            lsn: found.location,
            wal: found.file_name.zip(found.file_offset),
            time: Timestamp::from_zoned(&found.timestamp),
        })
    }

    /// Closes the current WAL segment: of the server, or of its primary if it is a standby and we know the primary.
    ///
    /// # Errors
    /// The role may not do it, or somebody asked to stop. Anything else only makes the backup wait longer for its WAL,
    /// and is logged.
    pub fn switch_wal(&mut self, server: &Server) -> Result<(), Error> {
        let outcome = if self.sql.is_in_recovery()? {
            match server.standby() {
                Ok(Some(standby)) => standby.switch_wal(),
                Ok(None) => {
                    log::debug!(target: TARGET, "no WAL switch: the server is a standby and primary_conninfo is not set");
                    return Ok(());
                }
                Err(error) => {
                    log::warn!(target: TARGET, "cannot switch WAL on the primary: {}", chain(&error));
                    return Ok(());
                }
            }
        } else {
            self.sql.switch_wal().map(Some)
        };
        match outcome {
            Ok(switched) => log::debug!(target: TARGET, "WAL switch: {switched:?}"),
            Err(error @ (Error::BackupPrivileges { .. } | Error::Interrupted { .. })) => return Err(error),
            Err(error) => log::warn!(target: TARGET, "cannot switch WAL after the copy: {}", chain(&error)),
        }
        Ok(())
    }

    /// What the server itself archives of a backup of it; a standby does so only with `archive_mode = always`. What cannot
    /// be asked is nothing: the answer only decides how long the backup waits for its WAL.
    pub fn delivery(&mut self) -> Delivery {
        let asked = self
            .sql
            .is_in_recovery()
            .and_then(|in_recovery| Ok((self.sql.setting("archive_mode")?, in_recovery)));
        match asked {
            Ok((Some(mode), true)) if mode == "always" => Delivery::Wal,
            Ok((Some(mode), false)) if mode == "always" || mode == "on" => Delivery::WalAndHistory,
            Ok(_) => Delivery::Nothing,
            Err(error) => {
                log::warn!(target: TARGET, "whether the server archives is not known: {}", chain(&error));
                Delivery::Nothing
            }
        }
    }

    /// Creates a restore point; a failure is logged.
    pub fn restore_point(&mut self, name: &str) {
        match self.sql.create_restore_point(name) {
            Ok(Some(lsn)) => log::debug!(target: TARGET, "restore point '{name}' created at {lsn}"),
            Ok(None) => log::debug!(target: TARGET, "no restore point: the server is a standby"),
            Err(error) => {
                log::warn!(target: TARGET, "cannot create restore point '{name}': {}", chain(&error));
            }
        }
    }
}

/// Sleeps in slices, so that a request to stop is seen at once.
fn pause(ctx: &Context<'_>) {
    const SLICES: u32 = 10;
    for _ in 0..SLICES {
        if !ctx.cancel.is_requested() {
            ctx.clock.sleep(PAUSE / SLICES);
        }
    }
}

/// Whether the same attempt may succeed a little later.
fn may_come_back(error: &Error) -> bool {
    match error.sqlstate() {
        Some(code) => matches!(
            code,
            sqlstate::CANNOT_CONNECT_NOW | sqlstate::TOO_MANY_CONNECTIONS
        ),
        None => matches!(
            error,
            Error::Connect { .. } | Error::Timeout { .. } | Error::Io { .. } | Error::Closed { .. }
        ),
    }
}
