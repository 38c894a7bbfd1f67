//! What a restore will do, decided before anything is written. Pure: everything it depends on comes in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use barman_catalog::BackupInfo;
use barman_wal::WalFileName;

use super::error::RestoreError;
use super::options::{RestoreOptions, Target};
use super::settings::{self, SettingsInput, TargetSetting, WalSource};
use super::tablespaces::TablespacePlan;
use super::time::TargetTime;
use crate::copy::tree::{Skip, TreeSize};

/// A directory tree to copy.
#[derive(Debug, Clone)]
pub struct TreePlan {
    /// Where it is.
    pub from: PathBuf,
    /// Where it goes.
    pub to: PathBuf,
    /// What is left out.
    pub skip: Skip,
    /// How big it is; filled in by measuring.
    pub size: TreeSize,
    /// kB/s of its own, if it has a limit of its own.
    pub bandwidth: Option<u64>,
}

/// Makes a standby of a server (PostgreSQL 12 and later).
pub(super) const STANDBY_SIGNAL: &str = "standby.signal";

/// The settings of a server in recovery, and what makes it one (PostgreSQL 10 and 11).
pub(super) const RECOVERY_CONF: &str = "recovery.conf";

/// A WAL file to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalPlan {
    /// Name in the archive.
    pub name: WalFileName,
    /// Size in the archive, in bytes.
    pub size: u64,
    /// Whether the content is stored compressed, as the WAL catalogue has it.
    pub compressed: bool,
}

/// Everything that a restore will do.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    /// Name of the server.
    pub server: String,
    /// The backup.
    pub backup: BackupInfo,
    /// The new data directory, absolute.
    pub destination: PathBuf,
    /// The same as the user named it.
    pub shown_destination: PathBuf,
    /// The data directory.
    pub data: TreePlan,
    /// The tablespaces, with their trees.
    pub tablespaces: Vec<(TablespacePlan, TreePlan)>,
    /// What the `Doing PITR` line shows.
    pub pitr: Option<String>,
    /// Whether WAL is fetched rather than delivered.
    pub get_wal: bool,
    /// Where WAL is delivered to.
    pub wal_directory: PathBuf,
    /// WAL to deliver, ascending by name.
    pub wal: Vec<WalPlan>,
    /// Archived partial segments to deliver without their suffix.
    pub partial: Vec<WalPlan>,
    /// The segment that is still being streamed, to be delivered without its suffix.
    pub streaming_partial: Option<PathBuf>,
    /// Whether delivered WAL gets `.done` files.
    pub status_files: bool,
    /// Whether recovery settings are generated.
    pub recovery: bool,
    /// Their lines.
    pub settings: Vec<String>,
    /// The file they go to, relative to the destination.
    pub settings_file: String,
    /// The signal file, if there is to be one.
    pub signal_file: Option<&'static str>,
    /// The file named in the get-wal notice.
    pub notice_file: String,
    /// What to warn of before the copy.
    pub warnings: Vec<String>,
    /// What to warn of after it.
    pub late_warnings: Vec<String>,
    /// The line that tells of a custom restore command.
    pub custom_command: Option<String>,
    /// Threads.
    pub threads: usize,
    /// kB/s, if limited.
    pub bandwidth: Option<u64>,
}

/// Server settings that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// Name of the server.
    pub server: &'a str,
    /// `barman_user`.
    pub user: &'a str,
    /// Whether `recovery_options` has get-wal, or the archive cannot be read otherwise.
    pub get_wal: bool,
    /// `parallel_jobs`.
    pub jobs: u32,
    /// `bandwidth_limit`.
    pub bandwidth: Option<u64>,
    /// `tablespace_bandwidth_limit`, by name.
    pub tablespace_bandwidth: &'a BTreeMap<String, u64>,
}

/// Where the backup is and what it has to become.
#[derive(Debug, Clone)]
pub struct Places {
    /// The new data directory, absolute.
    pub destination: PathBuf,
    /// The backup's data directory.
    pub data: PathBuf,
    /// The tablespaces, each with its directory in the backup.
    pub tablespaces: Vec<(TablespacePlan, PathBuf)>,
    /// `--staging-wal-directory`, absolute.
    pub staging_wal: Option<PathBuf>,
}

/// Where in the data directory the WAL for a recovery target is put.
const WAL_DIRECTORY: &str = "barman_wal";
/// The file in a restored data directory that holds the metadata of the backup.
pub(super) const RECOVER_INFO: &str = ".barman-recover.info";

/// Plans everything but the WAL to deliver, which `gather` adds.
///
/// # Errors
///
/// Paths that cannot be written into settings; a backup whose version is not known.
pub fn plan(
    options: &RestoreOptions,
    backup: &BackupInfo,
    places: Places,
    defaults: Defaults<'_>,
    time: Option<&TargetTime>,
    shown_timeline: Option<&str>,
) -> Result<RestorePlan, RestoreError> {
    let version = backup.version.ok_or(RestoreError::Incomplete {
        backup: backup.id,
        field: "version",
    })?;
    let pitr = options.is_pitr();
    let get_wal = options.get_wal.unwrap_or(defaults.get_wal);
    let destination = places.destination;
    let wal_directory = if pitr {
        places
            .staging_wal
            .unwrap_or_else(|| destination.join(WAL_DIRECTORY))
    } else {
        destination.join("pg_wal")
    };
    let paths = places
        .tablespaces
        .iter()
        .map(|(tablespace, _)| &tablespace.location);
    if let Some(path) = paths
        .chain([&destination, &wal_directory])
        .find(|path| !settings::writable_path(path))
    {
        return Err(RestoreError::UnwritablePath { path: path.clone() });
    }
    let target = match (&options.target, time) {
        (Target::Time(_), Some(time)) => TargetSetting::Time(time.to_string()),
        (Target::None | Target::Time(_), _) => TargetSetting::None,
        (Target::Xid(xid), _) => TargetSetting::Xid(xid.clone()),
        (Target::Lsn(lsn), _) => TargetSetting::Lsn(lsn.to_string()),
        (Target::Name(name), _) => TargetSetting::Name(name.clone()),
        (Target::Immediate, _) => TargetSetting::Immediate,
    };
    let source = match (get_wal, &options.restore_command) {
        (true, Some(command)) if !command.is_empty() => WalSource::Command(command.clone()),
        (true, _) => WalSource::GetWal {
            server: defaults.server.to_owned(),
            user: defaults.user.to_owned(),
            config: options.command_config.clone(),
        },
        (false, _) if pitr => WalSource::Directory(wal_directory.clone()),
        (false, _) => WalSource::PgWal,
    };
    let recovery = pitr || get_wal || options.standby_mode;
    let settings = if recovery {
        settings::lines(&SettingsInput {
            version,
            source: &source,
            target: &target,
            exclusive: options.exclusive,
            timeline: options.target_tli,
            action: options.target_action,
            standby: options.standby_mode,
        })
    } else {
        Vec::new()
    };
    let (mut warnings, mut late_warnings) = (Vec::new(), Vec::new());
    if options.partial_wal {
        if get_wal {
            warnings.push(
                "The --partial-wal option was ignored as it has no effect with get-wal mode.".to_owned(),
            );
        } else if options.target == Target::Immediate {
            warnings.push(
                "The --partial-wal option was ignored as it has no effect with --target-immediate."
                    .to_owned(),
            );
        }
    }
    if let Some(time) = time {
        warnings.extend(time_warnings(time));
    }
    let custom = options
        .restore_command
        .as_deref()
        .filter(|command| !command.is_empty());
    let custom_command = match (get_wal, custom) {
        (true, Some(_)) => settings
            .first()
            .map(|line| format!("Custom restore command override: {line}")),
        _ => None,
    };
    if !get_wal && custom.is_some() && pitr && !options.standby_mode {
        late_warnings.push(
            "The provided custom restore command was ignored as it only works with get-wal mode.".to_owned(),
        );
    }
    let conf_name = options.recovery_conf_filename.as_deref();
    let signal_file = if recovery {
        settings::signal_file(version, options.standby_mode)
    } else {
        None
    };
    let mut data = data_tree(&places.data, &destination, &places.tablespaces, backup)?;
    // Made anew. The backup has it if it was taken from a server that was restored itself.
    data.skip.paths.insert(PathBuf::from(RECOVER_INFO));
    data.skip.contents_of.insert(PathBuf::from(WAL_DIRECTORY));
    let tablespaces = places
        .tablespaces
        .into_iter()
        .map(|(tablespace, from)| {
            let tree = TreePlan {
                from,
                to: tablespace.location.clone(),
                skip: Skip::default(),
                size: TreeSize::default(),
                bandwidth: defaults.tablespace_bandwidth.get(&tablespace.name).copied(),
            };
            (tablespace, tree)
        })
        .collect();
    Ok(RestorePlan {
        server: defaults.server.to_owned(),
        backup: backup.clone(),
        data,
        tablespaces,
        pitr: pitr.then(|| settings::pitr_summary(&target, shown_timeline)),
        get_wal,
        wal_directory,
        wal: Vec::new(),
        partial: Vec::new(),
        streaming_partial: None,
        status_files: !pitr && !get_wal,
        recovery,
        settings,
        settings_file: settings::settings_file(version, conf_name),
        signal_file,
        notice_file: settings::notice_file(version, conf_name),
        warnings,
        late_warnings,
        custom_command,
        threads: usize::try_from(options.jobs.unwrap_or(defaults.jobs).max(1)).unwrap_or(1),
        bandwidth: options.bwlimit.or(defaults.bandwidth).filter(|limit| *limit > 0),
        shown_destination: options.destination.clone(),
        destination,
    })
}

fn time_warnings(time: &TargetTime) -> Vec<String> {
    let mut warnings = Vec::new();
    if time.assumed_local {
        warnings.push(
            "No time zone has been specified through '--target-time' command-line option. Barman assumed the same \
             time zone from the Barman host."
                .to_owned(),
        );
    }
    if let Some(zone) = &time.ignored_zone {
        warnings.push(format!(
            "The zone name '{zone}' in '--target-time' is not known here and was ignored: {time} is used."
        ));
    }
    if time.ambiguous_date {
        warnings.push(format!(
            "The date in '--target-time' can be read in two ways: {time} is used."
        ));
    }
    warnings
}

/// Names below `pg_tblspc` and others that never come from the backup, and the places of tablespaces inside of the
/// destination.
fn data_tree(
    from: &Path,
    destination: &Path,
    tablespaces: &[(TablespacePlan, PathBuf)],
    backup: &BackupInfo,
) -> Result<TreePlan, RestoreError> {
    // `pg_control` comes last and alone; the manifest gets another name.
    let mut skip = Skip {
        paths: [
            "postmaster.pid",
            // Those of the server that was backed up, a standby or one in recovery: what the restored one shall be is
            // for the user to say. PostgreSQL takes `standby.signal` before `recovery.signal`, and does not end recovery
            // at the end of the WAL; where it ends, `recovery.signal` stays.
            RECOVERY_CONF,
            STANDBY_SIGNAL,
            "recovery.signal",
            "tablespace_map",
            "global/pg_control",
            "backup_manifest",
        ]
        .into_iter()
        .map(PathBuf::from)
        .collect(),
        contents_of: ["pg_log", "log", "pg_xlog", "pg_wal"]
            .into_iter()
            .map(PathBuf::from)
            .collect(),
    };
    skip.paths
        .insert(PathBuf::from(format!("backup_manifest.{}", backup.id)));
    for (tablespace, _) in tablespaces {
        skip.paths
            .insert(Path::new("pg_tblspc").join(tablespace.oid.to_string()));
        if destination.starts_with(&tablespace.location) {
            return Err(RestoreError::TablespacesOverlap {
                first: "the data directory".to_owned(),
                second: tablespace.name.clone(),
                path: tablespace.location.clone(),
            });
        }
        if let Ok(inside) = tablespace.location.strip_prefix(destination) {
            skip.paths.insert(inside.to_owned());
        }
    }
    Ok(TreePlan {
        from: from.to_owned(),
        to: destination.to_owned(),
        skip,
        size: TreeSize::default(),
        bandwidth: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::restore::options::{TargetAction, TargetTimeline};

    fn planned(options: &RestoreOptions, get_wal: bool) -> RestorePlan {
        let mut backup = BackupInfo::new("20261121T044724".parse().unwrap(), "main", None);
        backup.version = Some(150_000);
        let places = Places {
            destination: options.destination.clone(),
            data: "/b/data".into(),
            tablespaces: vec![(
                TablespacePlan {
                    oid: 16388,
                    name: "t".into(),
                    location: "/d/ts".into(),
                    relocated: true,
                },
                "/b/16388".into(),
            )],
            staging_wal: options.staging_wal_directory.clone(),
        };
        let defaults = Defaults {
            server: "main",
            user: "barman",
            get_wal,
            jobs: 3,
            bandwidth: Some(0),
            tablespace_bandwidth: &BTreeMap::from([("t".to_owned(), 7)]),
        };
        plan(options, &backup, places, defaults, None, None).unwrap()
    }

    #[test]
    fn a_plain_restore_has_no_settings_and_wal_in_pg_wal() {
        let plan = planned(&RestoreOptions::new("latest", "/d"), false);
        assert_eq!(
            (plan.settings.len(), plan.signal_file, plan.recovery),
            (0, None, false)
        );
        assert_eq!(plan.wal_directory, Path::new("/d/pg_wal"));
        assert!(plan.status_files);
        assert_eq!((plan.threads, plan.bandwidth), (3, None));
        assert_eq!(plan.tablespaces[0].1.bandwidth, Some(7));
        assert!(plan.data.skip.paths.contains(Path::new("ts")));
        assert!(plan.data.skip.paths.contains(Path::new("pg_tblspc/16388")));
        assert!(plan.data.skip.paths.contains(Path::new("global/pg_control")));
    }

    #[test]
    fn a_target_sends_wal_to_a_directory_of_its_own() {
        let mut options = RestoreOptions::new("latest", "/d");
        options.target = Target::Immediate;
        options.target_action = Some(TargetAction::Promote);
        options.restore_command = Some("x".into());
        options.partial_wal = true;
        let plan = planned(&options, false);
        assert_eq!(plan.wal_directory, Path::new("/d/barman_wal"));
        assert_eq!(plan.signal_file, Some("recovery.signal"));
        assert_eq!(plan.pitr.as_deref(), Some("immediate: True"));
        assert_eq!((plan.warnings.len(), plan.late_warnings.len()), (1, 1));
        assert!(!plan.status_files);
        options.staging_wal_directory = Some("/w".into());
        assert_eq!(
            planned(&options, false).settings[0],
            "restore_command = 'cp /w/%f %p'"
        );
    }

    #[test]
    fn get_wal_is_the_options_or_the_configurations_choice() {
        let mut options = RestoreOptions::new("latest", "/d");
        assert!(planned(&options, true).get_wal);
        options.get_wal = Some(false);
        assert!(!planned(&options, true).get_wal);
        options.get_wal = Some(true);
        options.restore_command = Some("f %f".into());
        options.target_tli = Some(TargetTimeline::Latest);
        let plan = planned(&options, false);
        assert_eq!(
            plan.custom_command.as_deref(),
            Some("Custom restore command override: restore_command = 'f %f'")
        );
        assert_eq!(plan.settings.len(), 2);
    }
}
