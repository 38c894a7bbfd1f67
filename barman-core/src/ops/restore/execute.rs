//! Carries out a [`RestorePlan`]: copy, links, WAL, settings, sync, and `pg_control` last of all.
//!
//! Until `global/pg_control` is there PostgreSQL refuses to start in the destination; so whatever happens before its
//! turn, nobody can take the result for a whole server.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use barman_catalog::{BackupStatus, Layout, backup_info};
use barman_wal::durable::{self, CopyOptions};

use super::conf_files::{self, Findings};
use super::destination;
use super::error::RestoreError;
use super::plan::{RECOVER_INFO, RestorePlan, TreePlan};
use super::wal_copy::{self, Delivery};
use crate::context::{Context, Level};
use crate::copy::limit::RateLimit;
use crate::copy::tree::{self, TreeOptions};
use crate::ops::wal_codec::WalCodec;

/// The name under which the log knows a restore.
pub(super) const TARGET: &str = "barman.recovery_executor";

/// Carries out `plan`. `started` becomes true with the first directory that is made.
pub(super) fn execute(
    plan: &RestorePlan,
    layout: &Layout,
    codec: &WalCodec<'_>,
    started: &mut bool,
    ctx: &Context<'_>,
) -> Result<Findings, RestoreError> {
    let say = |text: &str| ctx.say(Level::Info, TARGET, text);
    let cancelled = || {
        if ctx.cancel.is_requested() {
            Err(RestoreError::Interrupted)
        } else {
            Ok(())
        }
    };
    say(&format!(
        "Starting local restore for server {} using backup {}",
        plan.server, plan.backup.id
    ));
    say(&format!(
        "Destination directory: {}",
        plan.shown_destination.display()
    ));
    for warning in &plan.warnings {
        ctx.say(Level::Warning, TARGET, warning);
    }
    if let Some(pitr) = &plan.pitr {
        say(&format!("Doing PITR. Recovery target {pitr}"));
    }
    cancelled()?;
    destination::make(&plan.destination)?;
    *started = true;
    copy_base(plan, ctx)?;
    deliver_metadata(plan, layout)?;
    if !plan.get_wal {
        deliver_wal(plan, layout, codec, ctx)?;
    }
    cancelled()?;
    if plan.recovery {
        say("Generating recovery configuration");
        for warning in &plan.late_warnings {
            ctx.say(Level::Warning, TARGET, warning);
        }
        if let Some(line) = &plan.custom_command {
            say(line);
        }
        if let Some(signal) = plan.signal_file {
            conf_files::write_new(&plan.destination.join(signal), b"", 0o666)?;
        }
    }
    // With get-wal and a target there is no WAL directory: nothing would ever remove it.
    if !plan.get_wal || plan.wal_directory.starts_with(plan.destination.join("pg_wal")) {
        destination::make(&plan.wal_directory)?;
        wal_copy::make_status_directory(&plan.wal_directory)?;
    }
    say("Identify dangerous settings in destination directory.");
    let version = plan.backup.version.unwrap_or(0);
    let own_file = version < 120_000;
    if own_file && plan.recovery {
        let text: String = plan.settings.iter().map(|line| format!("{line}\n")).collect();
        conf_files::write_new(
            &plan.destination.join(&plan.settings_file),
            text.as_bytes(),
            0o666,
        )?;
    }
    let settings_file = (!own_file).then_some(plan.settings_file.as_str());
    let findings = conf_files::rewrite(&plan.destination, version, settings_file, &plan.settings)?;
    cancelled()?;
    finish(plan, ctx)?;
    Ok(findings)
}

fn copy_base(plan: &RestorePlan, ctx: &Context<'_>) -> Result<(), RestoreError> {
    ctx.say(Level::Info, TARGET, "Copying the base backup.");
    for (tablespace, _) in &plan.tablespaces {
        let line = format!(
            "\t{}, {}, {}",
            tablespace.oid,
            tablespace.name,
            tablespace.location.display()
        );
        ctx.say(Level::Info, TARGET, &line);
    }
    let done = AtomicU64::new(0);
    let limit = plan.bandwidth.and_then(RateLimit::from_kilobytes);
    let options = TreeOptions {
        threads: plan.threads,
        limit: limit.as_ref(),
        cancel: ctx.cancel,
        progress: ctx.progress,
        done: &done,
    };
    let trees = || plan.tablespaces.iter().map(|(_, tree)| tree).chain([&plan.data]);
    let total = trees()
        .map(|tree| tree.size.bytes)
        .fold(0_u64, u64::saturating_add);
    ctx.progress.begin("Copying the base backup", Some(total));
    let copied = trees().try_for_each(|tree| {
        let own = tree.bandwidth.and_then(RateLimit::from_kilobytes);
        let limit = match tree.bandwidth {
            Some(_) => own.as_ref(),
            None => options.limit,
        };
        copy_tree(tree, TreeOptions { limit, ..options })
    });
    ctx.progress.end();
    copied?;
    let links = plan.destination.join("pg_tblspc");
    if !plan.tablespaces.is_empty() {
        destination::make(&links)?;
    }
    for (tablespace, _) in &plan.tablespaces {
        let link = links.join(tablespace.oid.to_string());
        if tablespace.location == link {
            // Where the link would be, the data is.
            continue;
        }
        symlink(&tablespace.location, &link).map_err(RestoreError::io("create link", &link))?;
    }
    Ok(())
}

fn copy_tree(tree: &TreePlan, options: TreeOptions<'_>) -> Result<(), RestoreError> {
    destination::make(&tree.to)?;
    tree::copy(&tree.from, &tree.to, &tree.skip, options)?;
    // Whatever mode it had: PostgreSQL starts in a private directory only.
    tree::set_mode(&tree.to, 0o700)?;
    Ok(())
}

/// The metadata of the backup and its manifest, under the names Barman gives them.
fn deliver_metadata(plan: &RestorePlan, layout: &Layout) -> Result<(), RestoreError> {
    let id = plan.backup.id;
    let current = layout.backup_info(id);
    let info = if current.exists() {
        current
    } else {
        layout.old_backup_info(id)
    };
    let content = fs::read(&info).map_err(RestoreError::io("read", &info))?;
    conf_files::write_new(&plan.destination.join(RECOVER_INFO), &content, 0o666)?;
    let manifest = plan.data.from.join("backup_manifest");
    let to = plan.destination.join(format!("backup_manifest.{id}"));
    match durable::copy_durable(&manifest, &to, CopyOptions::default()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::io("copy", &manifest)(error.into()))
        }
        _ => Ok(()),
    }
}

fn deliver_wal(
    plan: &RestorePlan,
    layout: &Layout,
    codec: &WalCodec<'_>,
    ctx: &Context<'_>,
) -> Result<(), RestoreError> {
    if plan.backup.status == BackupStatus::WaitingForWals
        && backup_info::load(layout, plan.backup.id)
            .is_ok_and(|info| info.status == BackupStatus::WaitingForWals)
    {
        ctx.say(
            Level::Warning,
            TARGET,
            "IMPORTANT: The backup we have restored IS NOT VALID. Required WAL files for consistency are missing. \
             Please verify that WAL archiving is working correctly or evaluate using the 'get-wal' option for recovery",
        );
    }
    ctx.say(Level::Info, TARGET, "Copying required WAL segments.");
    destination::make(&plan.wal_directory)?;
    let delivery = Delivery {
        layout,
        codec,
        to: &plan.wal_directory,
        size: plan.backup.xlog_segment_size,
        system_identifier: plan
            .backup
            .systemid
            .as_deref()
            .and_then(|systemid| systemid.trim().parse().ok()),
        threads: plan.threads.max(2),
    };
    wal_copy::deliver(delivery, &plan.wal, ctx)?;
    if !plan.partial.is_empty() || plan.streaming_partial.is_some() {
        ctx.say(Level::Info, TARGET, "Copying .partial WAL files.");
        wal_copy::deliver(delivery, &plan.partial, ctx)?;
        if let Some(streaming) = &plan.streaming_partial {
            wal_copy::deliver_partial(streaming, &plan.wal_directory)?;
        }
    }
    if plan.status_files {
        ctx.say(Level::Info, TARGET, "Generating archive status files");
        let directory = wal_copy::make_status_directory(&plan.wal_directory)?;
        // A partial segment gets none: the server will complete and archive it.
        let names = plan.wal.iter().map(|file| wal_copy::delivered_name(&file.name));
        wal_copy::write_status(&directory, names)?;
    }
    Ok(())
}

/// Syncs everything, then makes the destination a server by its `pg_control`.
fn finish(plan: &RestorePlan, ctx: &Context<'_>) -> Result<(), RestoreError> {
    let threads = plan.threads.max(4);
    let sync = |path: &Path| match durable::sync_tree(path, threads, Some(&ctx.cancel.flag())) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(RestoreError::Interrupted),
        Err(error) => Err(RestoreError::io("sync", path)(error.into())),
    };
    for (tablespace, _) in &plan.tablespaces {
        if !tablespace.location.starts_with(&plan.destination) {
            sync(&tablespace.location)?;
        }
    }
    if !plan.get_wal && !plan.wal_directory.starts_with(&plan.destination) {
        sync(&plan.wal_directory)?;
    }
    sync(&plan.destination)?;
    let control = Path::new("global/pg_control");
    let (from, to) = (plan.data.from.join(control), plan.destination.join(control));
    durable::copy_durable(&from, &to, CopyOptions::default())
        .map_err(|error| RestoreError::io("copy", &from)(error.into()))?;
    Ok(())
}
