//! `barman restore`: makes a PostgreSQL data directory of a backup, with the WAL and the settings that recovery needs.
//!
//! First everything is looked at (`gather`, [`plan`](mod@plan)): a restore that cannot work is refused before a byte is
//! written. Then the plan is carried out (`execute`). Whatever interrupts that, the destination cannot be started
//! by PostgreSQL, because `global/pg_control` is written last.
//!
//! While it runs the restore holds shared locks on the backup and on what that is based on, so that `delete` and retention
//! leave them alone.

mod archived;
pub mod conf;
mod conf_files;
mod destination;
pub mod error;
mod execute;
mod gather;
mod hook;
pub mod lineage;
pub mod options;
pub mod plan;
pub mod report;
pub mod settings;
pub mod tablespaces;
#[cfg(test)]
mod tests;
pub mod time;
mod time_fields;
mod time_tokens;
pub mod wal_choice;
mod wal_copy;

use std::path::{Path, PathBuf};

use barman_catalog::protection::{self, InUse, InUseError};
use barman_catalog::{BackupInfo, Catalog, Layout, backup_info};
use barman_wal::lock::LockError;

use crate::config::ServerConfig;
use crate::context::{Context, Level};
use crate::copy::tree;
use crate::failure::{Class, Failure};
use crate::host::hooks::HookPhase;
use crate::ops::archive::{self, ArchiveOptions, Occasion};
use crate::ops::selection;
use crate::ops::wal_codec::WalCodec;
use crate::server::Server;

pub use error::RestoreError;
pub use options::{RestoreOptions, Target, TargetAction, TargetTexts, TargetTimeline};
pub use plan::RestorePlan;
pub use report::{ChangedSetting, DangerousSetting, RestoreReport};

use plan::{Defaults, Places};
use tablespaces::BackedUpTablespace;
use time::TargetTime;

/// Restores a backup of `server` as `options` ask.
///
/// # Errors
///
/// See [`RestoreError`]. Refusals leave nothing behind but what the archiving step has archived;
/// [`RestoreError::Partial`] tells of a destination that is incomplete.
pub fn run(
    server: &Server,
    options: &RestoreOptions,
    ctx: &Context<'_>,
) -> Result<RestoreReport, RestoreError> {
    let started = ctx.clock.now();
    let (config, layout) = (server.config(), server.layout());
    let prepared = prepare(config, layout, options, ctx, || archive_received_wal(server, ctx))?;
    hook::run(
        config,
        layout,
        &prepared.catalog,
        &prepared.plan.backup,
        options,
        HookPhase::Pre,
        ctx,
    )?;
    let plan = &prepared.plan;
    let mut begun = false;
    let findings = execute::execute(plan, layout, &WalCodec::new(config), &mut begun, ctx).map_err(
        |error| match begun {
            false => error,
            true => RestoreError::Partial {
                source: Box::new(error),
                destination: plan.destination.clone(),
            },
        },
    )?;
    if let Err(error) = hook::run(
        config,
        layout,
        &prepared.catalog,
        &plan.backup,
        options,
        HookPhase::Post,
        ctx,
    ) {
        log::warn!(target: execute::TARGET, "{error}");
    }
    let now = ctx.clock.now().timestamp();
    let elapsed = now.duration_since(started.timestamp());
    let bytes = plan
        .tablespaces
        .iter()
        .map(|(_, tree)| tree)
        .chain([&plan.data])
        .map(|tree| tree.size.bytes);
    Ok(RestoreReport {
        server: plan.server.clone(),
        backup: plan.backup.id,
        destination: plan.destination.clone(),
        elapsed_seconds: micros(elapsed.as_secs_f64().max(0.0)),
        started,
        changes: findings.changes,
        warnings: findings.warnings,
        missing_files: findings.missing,
        get_wal_file: plan.get_wal.then(|| plan.notice_file.clone()),
        bytes: bytes.fold(0, u64::saturating_add),
        wal_files: u64::try_from(plan.wal.len()).unwrap_or(u64::MAX),
    })
}

fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// A plan that has passed every check, and the locks that keep its backup, and what that is based on, from being deleted.
struct Prepared {
    plan: RestorePlan,
    catalog: Catalog,
    _held: InUse,
}

/// Looks at everything and decides. `archive` is called once nothing but the WAL remains to be checked.
fn prepare(
    config: &ServerConfig,
    layout: &Layout,
    options: &RestoreOptions,
    ctx: &Context<'_>,
    archive: impl FnOnce() -> Result<(), RestoreError>,
) -> Result<Prepared, RestoreError> {
    let catalog = Catalog::load(layout).map_err(|error| RestoreError::Catalogue(error.to_string()))?;
    let time = target_time(options, ctx)?;
    let latest = || {
        Ok(gather::latest_timeline(&gather::wal_catalogue(
            layout, config, ctx,
        )?))
    };
    let backup = gather::choose_backup(&catalog, options, time.as_ref(), latest);
    selection::warn(&catalog, &options.backup, backup.as_ref().ok().copied(), ctx);
    let backup = backup?;
    options.validate()?;
    gather::check_backup(&catalog, backup, options)?;
    let places = places(backup, layout, options)?;
    gather::check_target(backup, &options.target, time.as_ref())?;
    let shown_timeline = gather::shown_timeline(backup, options, latest, layout.server())?;
    // It may have been deleted, or its deletion begun, before we had the lock.
    let (held, catalog) = hold(layout, backup, ctx)?;
    let backup =
        backup_info::load(layout, backup.id).map_err(|error| RestoreError::Catalogue(error.to_string()))?;
    gather::check_backup(&catalog, &backup, options)?;

    let defaults = Defaults {
        server: &config.name,
        user: &options.barman_user,
        get_wal: config.recovery_options.get_wal,
        jobs: config.parallel_jobs,
        bandwidth: config.bandwidth_limit,
        tablespace_bandwidth: &config.tablespace_bandwidth_limit,
    };
    if config.wals_in_cloud() {
        return Err(RestoreError::NotAvailable {
            what: "a restore with WAL in cloud storage",
        });
    }
    let mut plan = plan::plan(
        options,
        &backup,
        places,
        defaults,
        time.as_ref(),
        shown_timeline.as_deref(),
    )?;
    let now = ctx.clock.now().timestamp();
    plan.warnings
        .extend(gather::remarks(&backup, options, time.as_ref(), now, layout));
    destination::check(&plan, config)?;
    if !options.skip_archive_wal {
        archive()?;
        // The backup may have been waiting for what has just been archived.
        plan.backup = backup_info::load(layout, backup.id)
            .map_err(|error| RestoreError::Catalogue(error.to_string()))?;
    }
    if !plan.get_wal {
        let db = gather::wal_catalogue(layout, config, ctx)?;
        gather::choose_wal(&mut plan, options, &db, layout, &WalCodec::new(config), ctx)?;
    }
    plan.data.size = tree::measure(&plan.data.from, &plan.data.skip, ctx.cancel)?;
    for (_, tree) in &mut plan.tablespaces {
        tree.size = tree::measure(&tree.from, &tree.skip, ctx.cancel)?;
    }
    let control = plan.data.from.join("global/pg_control");
    if let Err(error) = std::fs::metadata(&control) {
        return Err(RestoreError::io("find", control)(error));
    }
    destination::check_space(&plan, gather::wal_bytes(&plan))?;
    Ok(Prepared {
        plan,
        catalog,
        _held: held,
    })
}

fn target_time(options: &RestoreOptions, ctx: &Context<'_>) -> Result<Option<TargetTime>, RestoreError> {
    match &options.target {
        Target::Time(text) => {
            time::parse(text, &ctx.clock.now())
                .map(Some)
                .map_err(|reason| RestoreError::BadTime {
                    text: text.clone(),
                    reason,
                })
        }
        _ => Ok(None),
    }
}

/// Where everything is and goes, absolute.
fn places(backup: &BackupInfo, layout: &Layout, options: &RestoreOptions) -> Result<Places, RestoreError> {
    let rules = tablespaces::parse_rules(&options.tablespaces)?;
    let known: Vec<BackedUpTablespace<'_>> = backup
        .tablespaces
        .iter()
        .map(|tablespace| BackedUpTablespace {
            oid: tablespace.oid,
            name: &tablespace.name,
            location: Path::new(&tablespace.location),
        })
        .collect();
    let tablespaces = tablespaces::place(&known, &rules)?
        .into_iter()
        .map(|tablespace| {
            let from = layout.tablespace_directory(backup.id, tablespace.oid);
            (tablespace, from)
        })
        .collect();
    let destination = absolute(&options.destination)?;
    Ok(Places {
        destination,
        data: layout.data_directory(backup.id),
        tablespaces,
        staging_wal: options
            .staging_wal_directory
            .as_deref()
            .map(absolute)
            .transpose()?,
    })
}

/// An absolute path without a final slash, `.` and `//`.
fn absolute(path: &Path) -> Result<PathBuf, RestoreError> {
    let path = std::path::absolute(path).map_err(RestoreError::io("find", path))?;
    Ok(path.components().collect())
}

/// Keeps the backup and what it is based on from being deleted.
fn hold(layout: &Layout, backup: &BackupInfo, ctx: &Context<'_>) -> Result<(InUse, Catalog), RestoreError> {
    let cancel = ctx.cancel.flag();
    protection::hold_chain(layout, backup.id, Some(&cancel)).map_err(|error| match error {
        InUseError::Busy { id, server, pid } => RestoreError::Busy {
            backup: id,
            server,
            pid,
        },
        InUseError::BeingDeleted { id, server } => RestoreError::BeingDeleted { backup: id, server },
        InUseError::Lock {
            source: LockError::Cancelled { .. },
            ..
        } => RestoreError::Interrupted,
        InUseError::Lock { id, source } => RestoreError::Lock {
            path: layout.id_lock(id),
            reason: source.to_string(),
        },
        InUseError::Gone { .. } | InUseError::Catalog(_) => RestoreError::Catalogue(error.to_string()),
    })
}

/// Archives what has been received, so that the restore has it. A failure is told and changes nothing else: what is
/// missing in the end is found out by the restore itself.
fn archive_received_wal(server: &Server, ctx: &Context<'_>) -> Result<(), RestoreError> {
    let options = ArchiveOptions {
        occasion: Occasion::Implicit,
    };
    let Err(error) = archive::run(server, &options, ctx) else {
        return Ok(());
    };
    let level = match error.class() {
        Class::Interrupted => return Err(RestoreError::Interrupted),
        Class::Info => Level::Info,
        Class::Error | Class::Exception => Level::Warning,
    };
    ctx.say(level, execute::TARGET, &error.to_string());
    Ok(())
}
