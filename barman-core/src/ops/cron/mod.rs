//! `barman cron`: what has to happen regularly, once for every server.
//!
//! The work itself is done by children (`archive-wal`, `receive-wal`, `check-backup`) that outlive this process;
//! here it is only decided which are missing. Retention and the repair of backups whose process died are done in
//! place. A server that fails never keeps the next one from its turn.

mod server;

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use barman_catalog::BackupId;

use crate::config::{Config, ServerConfig};
use crate::context::{Context, Level};
use crate::host::process::SelfCommand;
use crate::ops::{config_update, lock_directory_cleanup};

/// Name under which the log records cron.
const TARGET: &str = "barman.server";

/// A child that was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Started {
    /// The server.
    pub server: String,
    /// Arguments after `-q`: the task and what it is about.
    pub task: Vec<String>,
    /// Its process id.
    pub pid: u32,
}

/// What a run of cron did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CronReport {
    /// The children.
    pub started: Vec<Started>,
    /// Backups that retention deleted.
    pub deleted: Vec<BackupId>,
    /// Backups whose process had died, now FAILED.
    pub repaired: Vec<BackupId>,
    /// Whether an error was told: the exit code becomes 1.
    pub failed: bool,
}

/// Runs the maintenance of every server, in the order of their names. `barman` is how to start a child.
///
/// Everything worth telling goes through `ctx`, errors too; the report says whether there were any.
pub fn run(config: &Config, barman: &SelfCommand, ctx: &Context<'_>) -> CronReport {
    let mut report = CronReport {
        // Changes that are applied now are seen by the next process.
        failed: config_update::process_queue(config, ctx),
        ..CronReport::default()
    };
    if !config.path_conflicts.is_empty() {
        for conflict in &config.path_conflicts {
            ctx.say(Level::Error, TARGET, conflict);
        }
        report.failed = true;
        return report;
    }
    let locks = &config.globals.lock_directory;
    if let Err(error) = make_private(locks) {
        let text = format!("Cannot create lock directory '{}': {error}", locks.display());
        ctx.say(Level::Error, TARGET, &text);
        report.failed = true;
        return report;
    }
    for overrides in config.servers.iter().filter_map(ServerConfig::wal_overrides) {
        ctx.say(Level::Info, "barman.config", &overrides);
    }
    for server in config
        .servers
        .iter()
        .filter(|server| server.active && server.disabled)
    {
        ctx.say(
            Level::Info,
            "barman.cli",
            &format!("Skipping temporarily disabled server '{}'", server.name),
        );
    }
    for server in config
        .servers
        .iter()
        .filter(|server| !server.active || !server.disabled)
    {
        if ctx.cancel.is_requested() {
            return report;
        }
        server::run(server, barman, ctx, &mut report);
    }
    if config.globals.lock_directory_cleanup {
        clean_up(locks, &mut report, ctx);
    }
    report
}

/// Removes the lock files that nobody holds.
fn clean_up(locks: &Path, report: &mut CronReport, ctx: &Context<'_>) {
    if let Err(error) = lock_directory_cleanup::run(locks) {
        ctx.say(Level::Error, TARGET, &error.to_string());
        report.failed = true;
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}
