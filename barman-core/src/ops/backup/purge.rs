//! WAL from before the first backup of a server: of no use to anybody, and removed once that backup is whole.

use std::path::Path;

use barman_catalog::deletion::{self, DeletionObserver, KeepReason, WalDecision};
use barman_catalog::xlogdb::WalRecord;
use barman_catalog::{BackupId, Catalog};

use super::sequence::TARGET;
use crate::context::{Context, Level};
use crate::host::hooks::{self, HookEvent, HookPhase};
use crate::ops::archive::custom_magic;
use crate::ops::delete::hook::wal_variables;
use crate::server::Server;

/// Whether the user hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// On the console.
    User,
    /// In the log only.
    Nobody,
}

/// Why WAL could not be removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PurgeError {
    /// The catalogue cannot be read.
    #[error(transparent)]
    Catalog(#[from] barman_catalog::CatalogError),
    /// The WAL catalogue cannot be used.
    #[error(transparent)]
    XlogDb(#[from] barman_catalog::xlogdb::XlogDbError),
}

/// Removes the archived WAL that lies before `id`, if that is the first backup of the server, as it is on disk.
pub(super) fn first_backup(
    server: &Server,
    id: BackupId,
    telling: Telling,
    ctx: &Context<'_>,
) -> Result<(), PurgeError> {
    let say = |line: &str| match telling {
        Telling::User => ctx.say(Level::Info, TARGET, line),
        Telling::Nobody => log::debug!(target: TARGET, "{line}"),
    };
    let catalog = Catalog::load(server.layout())?;
    let decision = deletion::first_backup_purge(&catalog, id);
    if let WalDecision::Keep(KeepReason::OlderBackup { .. }) = decision {
        return Ok(());
    }
    say(&format!("This is the first backup for server {}", server.name()));
    if server.config().worm_mode {
        say("'worm_mode' is on: the WAL files that precede it are not removed");
        return Ok(());
    }
    let plan = match decision {
        WalDecision::Remove(plan) => plan,
        WalDecision::Keep(reason) => {
            log::warn!(target: TARGET, "WAL before backup {id} is kept: {reason:?}");
            return Ok(());
        }
    };
    let mut observer = Hooks { server, ctx };
    let flag = ctx.cancel.flag();
    let removal = deletion::remove_wal(
        server.layout(),
        &plan,
        &custom_magic(server.config()),
        &mut observer,
        Some(&flag),
    )?;
    if !removal.removed.is_empty() {
        say("WAL segments preceding the current backup have been found:");
        for record in removal.removed.iter() {
            say(&format!(
                "\t{} from server {} has been removed",
                record.name,
                server.name()
            ));
        }
    }
    for warning in &removal.warnings {
        log::warn!(target: TARGET, "{warning}");
    }
    if let Some(reason) = &removal.stopped {
        log::warn!(target: TARGET, "the removal of WAL was stopped: {reason}");
    }
    Ok(())
}

/// Runs the scripts around the removal of each file.
struct Hooks<'a> {
    server: &'a Server,
    ctx: &'a Context<'a>,
}

impl Hooks<'_> {
    fn run(
        &self,
        phase: HookPhase,
        record: &WalRecord,
        path: &Path,
        error: Option<&str>,
    ) -> Result<(), String> {
        let config = self.server.config();
        if !hooks::configured(config, HookEvent::WalDelete, phase) {
            return Ok(());
        }
        let variables = wal_variables(record, path, error);
        hooks::run(config, HookEvent::WalDelete, phase, &variables, self.ctx)
            .map_err(|error| error.to_string())
    }
}

impl DeletionObserver for Hooks<'_> {
    fn before_wal(&mut self, record: &WalRecord, path: &Path) -> Result<(), String> {
        self.run(HookPhase::Pre, record, path, None)
    }

    fn after_wal(&mut self, record: &WalRecord, path: &Path, error: Option<&str>) {
        if let Err(reason) = self.run(HookPhase::Post, record, path, error) {
            log::warn!(target: TARGET, "{reason}");
        }
    }
}
