//! `retention`: what the retention policy says of each backup, why, and what the next `cron` would delete.

use barman_catalog::deletion::{self, Step, Trigger};
use barman_catalog::retention::{self, RetentionPolicy, RetentionStatus, Verdict};
use barman_catalog::{BackupId, BackupStatus, Catalog, CatalogError};
use barman_wal::lock;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::context::Context;
use crate::failure::Failure;
use crate::ops::delete;
use crate::ops::list_backups::Problem;
use crate::server::Server;

/// How much to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The word for each backup.
    Words,
    /// What the next `cron` would delete, too, with its WAL.
    Forecast,
}

/// What the policy of a server says.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionReport {
    /// The server.
    pub server: String,
    /// The policy as Barman writes it; `None` without one.
    pub policy: Option<String>,
    /// How many backups there must be at least.
    pub minimum_redundancy: u32,
    /// Where the recovery window begins, if the policy is one.
    #[serde(skip)]
    pub window_start: Option<jiff::Timestamp>,
    /// The backups, newest first.
    pub backups: Vec<BackupVerdict>,
    /// What the next `cron` would delete, in this order; `None` if that was not asked for.
    pub forecast: Option<Vec<Step>>,
    /// Whether `cron` enforces the policy: not on a server that is inactive or disabled.
    pub enforced: bool,
    /// What the policy leads to that its user will hardly want.
    pub warnings: Vec<String>,
    /// What could not be read; the exit code becomes 1.
    pub problems: Vec<Problem>,
}

/// What the policy says of one backup.
#[derive(Debug, Clone, Serialize)]
pub struct BackupVerdict {
    /// The backup.
    pub backup_id: BackupId,
    /// Its name.
    pub backup_name: Option<String>,
    /// Its status.
    pub status: BackupStatus,
    /// What is said of it; `None` of a backup without anything in it, and without a policy.
    pub verdict: Option<Verdict>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Failure for RetentionError {}

/// Tells what the policy of `server` says. Works without PostgreSQL, for servers in any state, and changes nothing.
///
/// # Errors
/// The catalogue cannot be read. Everything less is a [`Problem`].
pub fn run(server: &Server, detail: Detail, ctx: &Context<'_>) -> Result<RetentionReport, RetentionError> {
    let config = server.config();
    let catalog = Catalog::load(server.layout())?;
    let now = ctx.clock.now().timestamp();
    let verdicts = config
        .retention_policy
        .map(|policy| retention::explain(policy, config.minimum_redundancy, &catalog, now));
    let words = words(verdicts.as_ref());
    let mut problems: Vec<Problem> = catalog
        .broken()
        .iter()
        .map(|b| Problem::broken(server.name(), b))
        .collect();
    let forecast = (detail == Detail::Forecast).then(|| {
        let order: Vec<BackupId> = deletion::obsolete_trees(&catalog, &words)
            .into_iter()
            .flatten()
            .collect();
        if order.is_empty() {
            return Vec::new();
        }
        let db = delete::archive_listing(server, ctx, &mut problems);
        // `cron` looks after dead backups before it deletes anything.
        let repaired = match lock::check_free(&server.layout().backup_lock()) {
            Ok(()) => catalog.clone().with_dead_backups_failed(),
            Err(_) => catalog.clone(),
        };
        deletion::forecast(&repaired, &order, Trigger::Policy, &db)
    });
    let backups = catalog
        .backups()
        .rev()
        .map(|backup| BackupVerdict {
            backup_id: backup.id,
            backup_name: backup.backup_name.clone(),
            status: backup.status,
            verdict: verdicts.as_ref().and_then(|v| v.get(&backup.id).copied()),
        })
        .collect();
    Ok(RetentionReport {
        server: server.name().to_owned(),
        policy: config.retention_policy.map(|policy| policy.to_string()),
        minimum_redundancy: config.minimum_redundancy,
        window_start: config
            .retention_policy
            .and_then(|policy: RetentionPolicy| policy.window_start(now)),
        backups,
        forecast,
        enforced: config.active && !config.disabled,
        warnings: retention::loses_recovery(&catalog, &words)
            .map(|id| warning(server, id))
            .into_iter()
            .collect(),
        problems,
    })
}

fn words(verdicts: Option<&BTreeMap<BackupId, Verdict>>) -> BTreeMap<BackupId, RetentionStatus> {
    let verdicts = verdicts.into_iter().flatten();
    verdicts.map(|(id, verdict)| (*id, verdict.status)).collect()
}

/// The warning for a policy that would delete `id`, the last backup from which later moments can be reached.
pub(crate) fn warning(server: &Server, id: BackupId) -> String {
    format!(
        "The retention policy of server {} calls backup {id} obsolete, since backups kept as standalone count. \
         After its deletion no backup is left from which any later moment can be restored",
        server.name()
    )
}
