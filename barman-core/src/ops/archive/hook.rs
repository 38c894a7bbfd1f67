//! The hook scripts around the archiving of one file. They run without the catalogue's lock, so that a script may call
//! `barman` for the same server.

use std::path::Path;

use barman_catalog::python_literal::float_repr;
use barman_catalog::xlogdb::WalRecord;

use super::queue::Waiting;
use super::stage::Facts;
use crate::config::ServerConfig;
use crate::context::Context;
use crate::host::hooks::{self, HookError, HookEvent, HookPhase};

/// Whether there are any.
pub(super) fn configured(config: &ServerConfig) -> bool {
    [HookPhase::Pre, HookPhase::Post]
        .iter()
        .any(|phase| hooks::configured(config, HookEvent::Archive, *phase))
}

/// The scripts before; `path` is in the queue.
pub(super) fn before(
    config: &ServerConfig,
    waiting: &Waiting,
    path: &Path,
    facts: &Facts,
    ctx: &Context<'_>,
) -> Result<(), HookError> {
    let compression = facts
        .compression
        .map(|found| found.to_string())
        .unwrap_or_default();
    let variables = variables(
        waiting,
        path,
        facts.size(),
        facts.time(),
        compression,
        String::new(),
    );
    hooks::run(config, HookEvent::Archive, HookPhase::Pre, &variables, ctx)
}

/// The scripts after, whatever has happened; `target` is in the archive, `record` what was stored.
pub(super) fn after(
    config: &ServerConfig,
    waiting: &Waiting,
    target: &Path,
    facts: &Facts,
    record: Option<&WalRecord>,
    error: String,
    ctx: &Context<'_>,
) -> Result<(), HookError> {
    let size = record.map_or(facts.size(), |record| record.size);
    let compression = match record {
        Some(record) => record.compression.map(|found| found.to_string()),
        None => facts.compression.map(|found| found.to_string()),
    };
    let variables = variables(
        waiting,
        target,
        size,
        facts.time(),
        compression.unwrap_or_default(),
        error,
    );
    hooks::run(config, HookEvent::Archive, HookPhase::Post, &variables, ctx)
}

fn variables(
    waiting: &Waiting,
    path: &Path,
    size: u64,
    time: f64,
    compression: String,
    error: String,
) -> Vec<(&'static str, String)> {
    vec![
        ("BARMAN_SEGMENT", waiting.spelling.clone()),
        ("BARMAN_FILE", path.display().to_string()),
        ("BARMAN_SIZE", size.to_string()),
        ("BARMAN_TIMESTAMP", float_repr(time)),
        ("BARMAN_COMPRESSION", compression),
        ("BARMAN_ERROR", error),
    ]
}

/// How Barman shows a file in `BARMAN_ERROR` of a duplicate.
pub(super) fn wal_file_info(waiting: &Waiting, facts: &Facts) -> String {
    let compression = facts
        .compression
        .map_or_else(|| "None".to_owned(), |found| format!("'{found}'"));
    format!(
        "WalFileInfo(compression={compression}, encryption=None, name='{}', size={}, time={})",
        waiting.spelling,
        facts.size(),
        float_repr(facts.time())
    )
}
