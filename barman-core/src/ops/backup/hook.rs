//! The hook scripts around a backup.

use barman_catalog::{BackupInfo, Catalog};

use crate::context::Context;
use crate::host::hooks::{self, HookError, HookEvent, HookPhase};
use crate::server::Server;

/// Runs the scripts of this phase with what is known about the backup.
///
/// # Errors
/// A `pre` retry script that asks to stop; a request to stop.
pub(super) fn run(
    server: &Server,
    info: &BackupInfo,
    phase: HookPhase,
    ctx: &Context<'_>,
) -> Result<(), HookError> {
    if !hooks::configured(server.config(), HookEvent::Backup, phase) {
        return Ok(());
    }
    // Neighbours are for information: scripts run even if the catalogue cannot be listed.
    let catalog = Catalog::load(server.layout()).unwrap_or_default();
    hooks::run(
        server.config(),
        HookEvent::Backup,
        phase,
        &hooks::backup_variables(server.layout(), &catalog, info),
        ctx,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_catalog::{BackupMode, BackupStatus, Layout};

    #[test]
    fn scripts_learn_the_neighbours_that_can_be_restored() {
        let backup = |id: &str, status| {
            let mut info = BackupInfo::new(id.parse().unwrap(), "main", Some(BackupMode::Postgres));
            info.status = status;
            info
        };
        let mut failed = backup("20261121T000003", BackupStatus::Failed);
        failed.error = Some("failure copying files (KeyboardInterrupt)".to_owned());
        let catalog = Catalog::from_backups(
            "main",
            [
                backup("20261121T000001", BackupStatus::Done),
                backup("20261121T000002", BackupStatus::Failed),
                failed.clone(),
            ],
        );
        let layout = Layout::new("main", "/b");
        let found = hooks::backup_variables(&layout, &catalog, &failed);
        let value = |name: &str| {
            found
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("BARMAN_PREVIOUS_ID"), Some("20261121T000001"));
        assert_eq!(value("BARMAN_NEXT_ID"), Some(""));
        assert_eq!(value("BARMAN_STATUS"), Some("FAILED"));
        assert_eq!(
            value("BARMAN_ERROR"),
            Some("failure copying files (KeyboardInterrupt)")
        );
        assert_eq!(value("BARMAN_BACKUP_DIR"), Some("/b/main/base/20261121T000003"));
        assert_eq!(
            value("BARMAN_BACKUP_INFO_PATH"),
            Some("/b/main/meta/20261121T000003-backup.info")
        );
    }
}
