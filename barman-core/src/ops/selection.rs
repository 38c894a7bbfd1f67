//! The backup that a user means, with a warning about those that cannot be read and may be meant.

use barman_catalog::backup_info::BackupInfo;
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::{BrokenBackup, Catalog};

use crate::context::{Context, Level};

/// The backup that `argument` (an id, a shortcut or a name) selects. Warns if the metadata of one that it may mean as
/// well cannot be read.
///
/// # Errors
/// As [`ids::resolve`].
pub fn select<'c>(
    catalog: &'c Catalog,
    argument: &str,
    ctx: &Context<'_>,
) -> Result<&'c BackupInfo, ResolveError> {
    let selected = ids::resolve(catalog, argument);
    warn(catalog, argument, selected.as_ref().ok().copied(), ctx);
    selected
}

/// Warns about what could not be considered when `found` was chosen for `argument`.
pub(super) fn warn(catalog: &Catalog, argument: &str, found: Option<&BackupInfo>, ctx: &Context<'_>) {
    for broken in ids::passed_over(catalog, argument, found.map(|backup| backup.id)) {
        let chosen = match found {
            Some(backup) => format!("'{argument}' means {} without it", backup.id),
            None => format!("'{argument}' may mean it"),
        };
        let text = format!("{}: {chosen}", unreadable(catalog, broken));
        ctx.say(Level::Warning, "barman.backup", &text);
    }
}

/// Which backup cannot be read, and why.
pub(super) fn unreadable(catalog: &Catalog, broken: &BrokenBackup) -> String {
    let id = broken.id.map(|id| id.to_string()).unwrap_or_default();
    format!(
        "the metadata of backup {id} of server {} cannot be read ({})",
        catalog.server(),
        broken.reason
    )
}
