//! A standby that is backed up, with the way to its primary.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{BackgroundSwitches, PostgresConnection, SwitchPlan, SwitchReport, TARGET};
use crate::conninfo::ConnInfo;
use crate::error::Error;
use crate::sql::{BackupStop, ExclusivePosition, WalSwitch};

/// The standard connection to a standby (`StandbyPostgreSQLConnection`), which owns one to the primary, opened only when
/// it is needed. What is not here is asked of [`StandbyConnection::standby`].
///
/// If the server turns out to be no standby (it was promoted), the primary's connection string is ignored with one
/// warning, and everything happens on the server itself.
#[derive(Debug)]
pub struct StandbyConnection {
    standby: PostgresConnection,
    primary: PostgresConnection,
    plan: SwitchPlan,
    warned: AtomicBool,
}

/// The end of a backup on a standby, and what was done on the primary for it.
#[derive(Debug)]
pub struct StandbyStop<T> {
    /// What the standby said.
    pub stop: T,
    /// What was done on the primary while it was waited for.
    pub switches: SwitchReport,
}

impl StandbyConnection {
    /// A connection to a standby with one to its primary, which has the same options, the application name `barman`, and
    /// no slot. After `primary_checkpoint_timeout` (zero = never) of vain WAL switches the end of a backup runs a
    /// checkpoint on the primary. Connects to nothing.
    #[must_use]
    pub fn new(standby: PostgresConnection, primary: ConnInfo, primary_checkpoint_timeout: Duration) -> Self {
        let primary = PostgresConnection::new(primary).with_options(standby.options.clone());
        Self {
            standby,
            primary,
            plan: SwitchPlan {
                checkpoint_timeout: primary_checkpoint_timeout,
                ..SwitchPlan::default()
            },
            warned: AtomicBool::new(false),
        }
    }

    /// The same with another plan of switches.
    #[must_use]
    pub fn with_switch_plan(mut self, plan: SwitchPlan) -> Self {
        self.plan = plan;
        self
    }

    /// The connection to the standby: for every question.
    #[must_use]
    pub fn standby(&self) -> &PostgresConnection {
        &self.standby
    }

    /// The connection to the primary.
    #[must_use]
    pub fn primary(&self) -> &PostgresConnection {
        &self.primary
    }

    /// Closes both connections; the next use opens them again.
    pub fn close(&self) {
        self.primary.close();
        self.standby.close();
    }

    /// Who switches WAL: the primary, unless the server is known not to be a standby.
    fn writer(&self) -> Result<&PostgresConnection, Error> {
        if self.standby.is_in_recovery()? != Some(false) {
            return Ok(&self.primary);
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                target: TARGET,
                "primary_conninfo is ignored because the server of conninfo is not a standby (\"{}\")",
                self.standby.conninfo()
            );
        }
        Ok(&self.standby)
    }

    /// Makes the primary close its current WAL segment.
    ///
    /// # Errors
    /// As [`PostgresConnection::switch_wal`], of the primary.
    pub fn switch_wal(&self) -> Result<Option<WalSwitch>, Error> {
        self.writer()?.switch_wal()
    }

    /// `CHECKPOINT` on the primary: the WAL of a checkpoint is what makes the standby's next segment worth closing.
    ///
    /// # Errors
    /// As [`PostgresConnection::checkpoint`], of the primary.
    pub fn checkpoint(&self) -> Result<Option<()>, Error> {
        self.writer()?.checkpoint()
    }

    /// Begins WAL switches on the primary in a thread with a connection of its own. Whoever drops the result ends them.
    #[must_use]
    pub fn switch_wal_in_background(&self, plan: SwitchPlan) -> BackgroundSwitches {
        BackgroundSwitches::start(&self.primary, plan)
    }

    /// As [`PostgresConnection::stop_concurrent_backup`] on the standby, with WAL switches on the primary while it waits.
    /// They end with it, however it ends. What fails on the primary does not fail the stop.
    ///
    /// # Errors
    /// As [`PostgresConnection::stop_concurrent_backup`].
    pub fn stop_concurrent_backup(&self) -> Result<StandbyStop<BackupStop>, Error> {
        self.stop_backup(PostgresConnection::stop_concurrent_backup)
    }

    /// As [`PostgresConnection::stop_exclusive_backup`], in the same way. Servers refuse it in recovery.
    ///
    /// # Errors
    /// As [`PostgresConnection::stop_exclusive_backup`].
    pub fn stop_exclusive_backup(&self) -> Result<StandbyStop<ExclusivePosition>, Error> {
        self.stop_backup(PostgresConnection::stop_exclusive_backup)
    }

    fn stop_backup<T>(
        &self,
        stop: impl FnOnce(&PostgresConnection) -> Result<T, Error>,
    ) -> Result<StandbyStop<T>, Error> {
        let writer = self.writer()?;
        if std::ptr::eq(writer, &raw const self.standby) {
            return Ok(StandbyStop {
                stop: stop(writer)?,
                switches: SwitchReport::default(),
            });
        }
        let switches = self.switch_wal_in_background(self.plan);
        let outcome = stop(&self.standby);
        let switches = switches.finish();
        Ok(StandbyStop {
            stop: outcome?,
            switches,
        })
    }
}
