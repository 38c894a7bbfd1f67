//! `config-update`: changes options of servers and models in the configuration files, and what `cron` does with changes
//! that wait.
//!
//! Under one lock: every document is checked against the configuration as it is now and tried in memory; what was
//! accepted goes to the queue on disk, then into the files, each replaced as a whole, then the queue is emptied.
//! Whoever kills this leaves files that are old or new, and a queue that the next run finishes.

mod apply;
mod document;
mod error;
pub mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barman_wal::durable::{self, DurableError};
use barman_wal::lock::{Lock, LockError};
use serde::Serialize;

pub use apply::AppliedChange;
pub use document::Document;
pub use error::{ConfigUpdateError, Refusal};

use self::apply::Draft;
use self::queue::ChangeSet;
use super::receiver::{self, Restart};
use crate::config::{Config, Overlay};
use crate::context::{Context, Level};
use crate::host::process::SelfCommand;

/// The lock of everybody who changes the configuration, in the lock directory.
pub const LOCK_FILE: &str = ".config-update.lock";
/// Name under which the log records it.
const TARGET: &str = "barman.config";
/// Another process may only look at the lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigUpdateReport {
    /// The options that have another value now, those of earlier changes that waited too.
    pub changes: Vec<AppliedChange>,
    /// What became of the receivers of the servers concerned.
    pub receivers: Vec<(String, Restart)>,
    /// Whether an error was told: the exit code becomes 1.
    pub failed: bool,
}

/// Changes options, as the JSON text says, and restarts the receivers of the servers concerned.
///
/// # Errors
/// [`ConfigUpdateError`]: nothing was accepted.
pub fn run(
    config: &Config,
    json: &str,
    barman: &SelfCommand,
    ctx: &Context<'_>,
) -> Result<ConfigUpdateReport, ConfigUpdateError> {
    let json = document::parse(json)?;
    let lock = lock(config, ctx)?;
    let documents = document::list(&json)?;
    let fresh = config.reload(Overlay::new())?;
    let mut report = ConfigUpdateReport::default();
    let sections = process(&fresh, &documents, &mut report, ctx)?;
    let after = fresh.reload(Overlay::new())?;
    drop(lock);
    let concerned = after.servers.iter().filter(|server| {
        let model = server.active_model.as_ref();
        sections.contains(&server.name) || model.is_some_and(|model| sections.contains(model))
    });
    for server in concerned {
        if ctx.cancel.is_requested() {
            break;
        }
        let outcome = receiver::restart(server, barman, ctx);
        report.failed |= outcome == Restart::Failed;
        report.receivers.push((server.name.clone(), outcome));
    }
    Ok(report)
}

/// Applies changes that wait, for `cron`. Tells everything worth telling; returns whether there was an error.
pub fn process_queue(config: &Config, ctx: &Context<'_>) -> bool {
    // A queue that says nothing is not worth a lock.
    let path = &config.globals.config_changes_queue;
    if !path.exists() || std::fs::read(path).is_ok_and(|bytes| bytes.trim_ascii() == b"[]") {
        return false;
    }
    let outcome = lock(config, ctx).and_then(|_lock| {
        let fresh = config.reload(Overlay::new())?;
        let mut report = ConfigUpdateReport::default();
        process(&fresh, &[], &mut report, ctx)?;
        Ok(report)
    });
    match outcome {
        Ok(report) => report.failed,
        Err(ConfigUpdateError::Busy(_)) => {
            let text = "another process is updating barman configuration files";
            ctx.say(Level::Warning, "barman.cli", text);
            false
        }
        Err(error) => {
            ctx.say(Level::Error, TARGET, &error.to_string());
            true
        }
    }
}

fn lock(config: &Config, ctx: &Context<'_>) -> Result<Lock, ConfigUpdateError> {
    make_lock_directory(config)?;
    let path = config.globals.lock_directory.join(LOCK_FILE);
    let lock = Lock::acquire_within(&path, PATIENCE, Some(&ctx.cancel.flag()));
    lock.map_err(|error: LockError| error.into())
}

/// Makes a lock directory that is missing: one in `/run` is gone after each start of the host.
pub(super) fn make_lock_directory(config: &Config) -> Result<(), DurableError> {
    let directory = &config.globals.lock_directory;
    if !directory.as_os_str().is_empty() && !directory.exists() {
        durable::create_dir_all_durable(directory, 0o700)?;
    }
    Ok(())
}

/// Accepts the documents and applies them behind what waits. Returns the sections that were worked on.
fn process(
    config: &Config,
    documents: &[Document],
    report: &mut ConfigUpdateReport,
    ctx: &Context<'_>,
) -> Result<BTreeSet<String>, ConfigUpdateError> {
    if let Some(unread) = config.unread_files().first() {
        return Err(ConfigUpdateError::Unread(unread.clone()));
    }
    let path = &config.globals.config_changes_queue;
    let queue = queue::read(path).map_err(|source| ConfigUpdateError::ReadQueue {
        path: path.clone(),
        source,
    })?;
    let mut draft = Draft::new(config.clone());
    let mut rejected = queue.useless.clone();
    // Sets that are in the draft, with what each changes, and those that have to wait on.
    let (mut accepted, mut waiting) = (Vec::new(), Vec::new());
    for set in queue.sets.clone() {
        match draft.apply(&set) {
            Ok(applied) => accepted.push((set, applied)),
            Err(error) => {
                say_unable(ctx, &set.section, &error.to_string());
                report.failed = true;
                if error.is_passing() {
                    waiting.push(set);
                } else {
                    rejected.extend(serde_json::to_value(&set));
                }
            }
        }
    }
    let mut made = Vec::new();
    for document in documents {
        let refused = |refusal| ConfigUpdateError::Refused {
            refusal,
            document: document.to_string(),
        };
        let mut set = document::examine(document, &draft.config, &mut made).map_err(refused)?;
        draft.decide_files(&mut set);
        let applied = draft
            .apply(&set)
            .map_err(|error| refused(Refusal::Unusable(error.to_string())))?;
        accepted.push((set, applied));
    }
    if queue.malformed {
        put_malformed_aside(path, queue.bytes.as_deref().unwrap_or_default(), ctx)?;
    }
    if !rejected.is_empty() {
        let aside = queue::put_aside(path, &rejected)?;
        let text = format!(
            "{} changes of the configuration in '{}' can never be applied: they are in '{}' now",
            rejected.len(),
            path.display(),
            aside.display()
        );
        ctx.say(Level::Error, TARGET, &text);
        report.failed = true;
    }
    if !documents.is_empty() {
        let all: Vec<ChangeSet> = waiting
            .iter()
            .chain(accepted.iter().map(|(set, _)| set))
            .cloned()
            .collect();
        queue::write(path, &all)?;
    }
    let mut failed = draft.write();
    // A file that nobody can put another one in the place of, although it looked like it (one that is mounted by
    // itself, say): the file that is loaded last takes what it cannot. What may pass, as a full disk, waits instead.
    let stuck: BTreeSet<PathBuf> = failed
        .iter()
        .filter(|(path, error)| **path != config.globals.auto_file() && lasts(error))
        .map(|(path, _)| path.clone())
        .collect();
    if !stuck.is_empty() {
        let mut second = draft.without(stuck)?;
        let again: Result<Vec<_>, _> = accepted
            .iter()
            .map(|(set, applied)| Ok((set.clone(), retold(applied, second.apply(set)?))))
            .collect();
        if let Ok(again) = again.map_err(|error: apply::ApplyError| log::warn!(target: TARGET, "{error}")) {
            for (path, error) in &failed {
                log::warn!(target: TARGET, "'{}' is left as it is: {error}", path.display());
            }
            failed = second.write();
            accepted = again;
        }
    }
    for error in failed.values() {
        ctx.say(
            Level::Error,
            TARGET,
            "Unable to process a set of changes. Exiting.",
        );
        ctx.say(Level::Error, TARGET, &error.to_string());
        report.failed = true;
    }
    let mut sections = BTreeSet::new();
    for (set, applied) in accepted {
        if applied.iter().any(|change| failed.contains_key(&change.file)) {
            waiting.push(set);
            continue;
        }
        sections.insert(set.section);
        for change in &applied {
            let text = format!(
                "Changing value of option '{}' for section '{}' from '{}' to '{}' through config-update.",
                change.option,
                change.section,
                change.old.as_deref().unwrap_or("None"),
                change.new
            );
            ctx.say(Level::Info, TARGET, &text);
        }
        report.changes.extend(applied);
    }
    let text = queue::text(&waiting);
    let is_there = match std::fs::read(path) {
        Ok(bytes) => bytes == text.as_bytes(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound && waiting.is_empty(),
    };
    if !is_there {
        queue::write(path, &waiting)?;
    }
    Ok(sections)
}

/// Whether the next try would end in the same way: the file is mounted by itself, the directory may not be written to.
fn lasts(error: &DurableError) -> bool {
    matches!(
        error.source.kind(),
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::CrossesDevices
    )
}

/// Changes that were tried twice, with what was there before the first time.
fn retold(first: &[AppliedChange], second: Vec<AppliedChange>) -> Vec<AppliedChange> {
    let olds = first.iter().map(|change| change.old.clone());
    second
        .into_iter()
        .zip(olds)
        .map(|(change, old)| AppliedChange { old, ..change })
        .collect()
}

fn say_unable(ctx: &Context<'_>, section: &str, reason: &str) {
    ctx.say(
        Level::Error,
        TARGET,
        "Unable to process a set of changes. Exiting.",
    );
    let text = format!("Changes of section '{section}' cannot be applied: {reason}");
    ctx.say(Level::Error, TARGET, &text);
}

fn put_malformed_aside(path: &Path, bytes: &[u8], ctx: &Context<'_>) -> Result<(), ConfigUpdateError> {
    let text = format!(
        "Malformed or empty configuration change queue: {}",
        path.display()
    );
    ctx.say(Level::Warning, TARGET, &text);
    if !bytes.trim_ascii().is_empty() {
        let kept = queue::keep_malformed(path, bytes)?;
        log::warn!(target: TARGET, "What it contained is in '{}'", kept.display());
    }
    queue::write(path, &[])?;
    Ok(())
}
