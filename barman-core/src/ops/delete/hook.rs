//! Hook scripts and console lines at the steps of a deletion.

use std::path::Path;

use barman_catalog::Catalog;
use barman_catalog::backup_info::BackupInfo;
use barman_catalog::deletion::{DeletionObserver, KeepReason, WalDecision, WalRemoval};
use barman_catalog::python_literal::float_repr;
use barman_catalog::xlogdb::WalRecord;

use super::TARGET;
use crate::context::{Context, Level};
use crate::host::hooks::{self, HookError, HookEvent, HookPhase};
use crate::ops::list_backups::Problem;
use crate::server::Server;

/// Runs the hook scripts of a deletion and tells the user what goes.
pub(super) struct Observer<'a> {
    server: &'a Server,
    ctx: &'a Context<'a>,
    /// The variables of the backup's scripts, as they are before anything is removed.
    variables: Vec<(&'static str, String)>,
    wal_hooks: bool,
    error: Option<HookError>,
}

impl<'a> Observer<'a> {
    pub(super) fn new(
        server: &'a Server,
        catalog: &Catalog,
        backup: &BackupInfo,
        ctx: &'a Context<'a>,
    ) -> Self {
        let variables = hooks::backup_variables(server.layout(), catalog, backup);
        let configured = |phase| hooks::configured(server.config(), HookEvent::WalDelete, phase);
        let wal_hooks = configured(HookPhase::Pre) || configured(HookPhase::Post);
        Self {
            server,
            ctx,
            variables,
            wal_hooks,
            error: None,
        }
    }

    /// The hook script's reason to stop, if one did.
    pub(super) fn take_hook_error(&mut self) -> Option<HookError> {
        self.error.take()
    }

    /// The scripts after the deletion. Whatever they say, it is over.
    pub(super) fn after(&mut self, error: Option<&str>) {
        let mut variables = self.variables.clone();
        if let Some(error) = error {
            variables.push(("BARMAN_ERROR", error.to_owned()));
        }
        let result = hooks::run(
            self.server.config(),
            HookEvent::Delete,
            HookPhase::Post,
            &variables,
            self.ctx,
        );
        if let Err(e) = result {
            log::warn!(target: TARGET, "{e}");
        }
    }

    fn wal_hook(
        &self,
        phase: HookPhase,
        record: &WalRecord,
        path: &Path,
        error: Option<&str>,
    ) -> Result<(), HookError> {
        if !self.wal_hooks {
            return Ok(());
        }
        let variables = wal_variables(record, path, error);
        hooks::run(
            self.server.config(),
            HookEvent::WalDelete,
            phase,
            &variables,
            self.ctx,
        )
    }

    fn keep_error(&mut self, error: HookError) -> String {
        let text = error.to_string();
        self.error = Some(error);
        text
    }
}

impl DeletionObserver for Observer<'_> {
    fn begun(&mut self, backup: &BackupInfo) -> Result<(), String> {
        let result = hooks::run(
            self.server.config(),
            HookEvent::Delete,
            HookPhase::Pre,
            &self.variables,
            self.ctx,
        );
        result.map_err(|e| self.keep_error(e))?;
        let text = format!("Deleting backup {} for server {}", backup.id, self.server.name());
        self.ctx.say(Level::Info, TARGET, &text);
        Ok(())
    }

    fn before_wal(&mut self, record: &WalRecord, path: &Path) -> Result<(), String> {
        self.wal_hook(HookPhase::Pre, record, path, None)
            .map_err(|e| self.keep_error(e))
    }

    fn after_wal(&mut self, record: &WalRecord, path: &Path, error: Option<&str>) {
        if let Err(e) = self.wal_hook(HookPhase::Post, record, path, error) {
            log::warn!(target: TARGET, "{e}");
        }
    }

    fn wal_done(&mut self, decision: &WalDecision, removal: &WalRemoval) {
        for line in &removal.bad_lines {
            self.ctx.say(
                Level::Error,
                TARGET,
                Problem::bad_line(self.server.name(), line).text(),
            );
        }
        match decision {
            WalDecision::Remove(_) => {}
            WalDecision::Keep(KeepReason::UnreadableBackup) => {
                let text = "No WAL is deleted: a backup that cannot be read may need it";
                return self.ctx.say(Level::Warning, TARGET, text);
            }
            WalDecision::Keep(reason) => {
                return log::debug!(target: TARGET, "no WAL is deleted: {reason:?}");
            }
        }
        self.ctx
            .say(Level::Info, TARGET, "Delete associated WAL segments:");
        for record in removal.removed.iter() {
            self.ctx.say(Level::Info, TARGET, &format!("\t{}", record.name));
        }
        for warning in &removal.warnings {
            self.ctx.say(Level::Warning, TARGET, warning);
        }
    }

    fn warning(&mut self, text: &str) {
        self.ctx.say(Level::Warning, TARGET, text);
    }
}

/// What the scripts around the removal of an archived file are told.
pub(crate) fn wal_variables(
    record: &WalRecord,
    path: &Path,
    error: Option<&str>,
) -> [(&'static str, String); 6] {
    [
        ("BARMAN_SEGMENT", record.name.to_string()),
        ("BARMAN_FILE", path.display().to_string()),
        ("BARMAN_SIZE", record.size.to_string()),
        ("BARMAN_TIMESTAMP", float_repr(record.time)),
        (
            "BARMAN_COMPRESSION",
            record.compression.map(|tag| tag.to_string()).unwrap_or_default(),
        ),
        ("BARMAN_ERROR", error.unwrap_or_default().to_owned()),
    ]
}
