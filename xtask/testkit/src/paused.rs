//! Processes of a server that stand still for a while.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::Cluster;

/// A process of a server that does nothing until this value goes. The server must not be stopped before.
#[derive(Debug)]
#[must_use = "it goes on when this is dropped"]
pub struct Paused(Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Cluster {
    /// Pauses the background writer: it is the one that writes into the WAL of an idle server, the running transactions
    /// every 15 seconds. A statement that all processes have to take notice of (`CREATE DATABASE`, `DROP TABLESPACE`)
    /// waits meanwhile.
    ///
    /// # Errors
    /// As [`Cluster::sql`]; it is not there.
    pub fn pause_background_writer(&self) -> Result<Paused> {
        let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'";
        let pid = self.sql_value(pid)?.parse().context("the background writer")?;
        let pid = Pid::from_raw(pid).context("process id out of range")?;
        kill_process(pid, Signal::STOP).context("pause the background writer")?;
        Ok(Paused(pid))
    }
}
