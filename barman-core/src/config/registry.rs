//! The table of every option. Parsing, validation, warnings about unknown options, `show-servers` and the reference
//! page derive from it; a new option is one line here.

use super::types::{
    BackupCompression, BackupMethod, CombineMode, CompressionFormat, CompressionLocation, CreateSlot,
    ReuseBackup, StagingLocation, WalCompression,
};

/// Where an option is honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// In `[barman]`, inherited by servers.
    pub global: bool,
    /// In a server section.
    pub server: bool,
    /// In a model section.
    pub model: bool,
}

/// Type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boolean.
    Bool,
    /// Integer not below `min`.
    Int {
        /// Smallest sensible value.
        min: i64,
    },
    /// Text, converted to an integer after inheritance; bad values are warned about in the log only.
    LateInt,
    /// Any text.
    Text,
    /// `<number> <unit>`.
    Interval,
    /// Number of bytes with a unit.
    Size,
    /// One of some words, in any case.
    Words(&'static [&'static str]),
    /// The same, and an empty value is "off" rather than an error.
    WordsOrEmpty(&'static [&'static str]),
    /// One of some words, exactly.
    ExactWords(&'static [&'static str]),
    /// Some of some words, separated by commas.
    Set(&'static [&'static str]),
    /// Local path, mandatory.
    Directory,
    /// Local path or cloud URL, mandatory.
    Place,
    /// Path that starts with `/`.
    AbsolutePath,
    /// Replication slot name.
    Slot,
    /// Texts separated by commas.
    List,
    /// `low`, `medium`, `high` or a number.
    Level,
}

/// Value of an option that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// None.
    Unset,
    /// Always the same text.
    Fixed(&'static str),
    /// Text with `%(...)s` for `name`, `barman_home` and options that come earlier in the table.
    Template(&'static str),
}

/// What of a value nobody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// Nothing: everything may be shown.
    Nothing,
    /// Passwords in a connection string.
    Conninfo,
    /// All of it.
    All,
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionDef {
    /// Its name.
    pub name: &'static str,
    /// Where it is honoured.
    pub scope: Scope,
    /// Type of its value.
    pub kind: Kind,
    /// Its value if it is not set.
    pub default: DefaultValue,
    /// What it is for, one sentence.
    pub doc: &'static str,
    /// What to do instead, for a deprecated option.
    pub deprecated: Option<&'static str>,
}

impl OptionDef {
    /// What of its value nobody may see.
    #[must_use]
    pub fn secret(&self) -> Secret {
        match self.name {
            "aws_sse_customer_key" => Secret::All,
            name if name.ends_with("conninfo") => Secret::Conninfo,
            _ => Secret::Nothing,
        }
    }

    const fn deprecated(mut self, instead: &'static str) -> Self {
        self.deprecated = Some(instead);
        self
    }
}

const fn option(
    name: &'static str,
    scope: Scope,
    kind: Kind,
    default: DefaultValue,
    doc: &'static str,
) -> OptionDef {
    OptionDef {
        name,
        scope,
        kind,
        default,
        doc,
        deprecated: None,
    }
}

const GSM: Scope = Scope {
    global: true,
    server: true,
    model: true,
};
const SM: Scope = Scope {
    global: false,
    server: true,
    model: true,
};
const GS: Scope = Scope {
    global: true,
    server: true,
    model: false,
};
const S: Scope = Scope {
    global: false,
    server: true,
    model: false,
};
const ONLY_GLOBAL: Scope = Scope {
    global: true,
    server: false,
    model: false,
};
const ANY: i64 = i64::MIN;

/// Words of `backup_options`.
pub const BACKUP_OPTIONS: &[&str] = &["concurrent_backup", "exclusive_backup", "external_configuration"];
/// Words of `recovery_options`.
pub const RECOVERY_OPTIONS: &[&str] = &["delta-restore", "get-wal"];

/// Every server option, sorted by name. A template refers only to options above it, so this is also the order in
/// which values are resolved.
#[rustfmt::skip]
pub static SERVER_OPTIONS: &[OptionDef] = &[
    option("active", SM, Kind::Bool, DefaultValue::Fixed("true"), "Whether the server takes part in backups, WAL archiving and checks."),
    option("archiver", GSM, Kind::Bool, DefaultValue::Fixed("off"), "WAL files arrive by archive_command."),
    option("archiver_batch_size", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "Files of one run of the file archiver; 0 = all."),
    option("autogenerate_manifest", GSM, Kind::Bool, DefaultValue::Fixed("false"), "Write a backup_manifest after an rsync backup."),
    option("aws_await_snapshots_timeout", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("3600"), "Seconds to wait for snapshots."),
    option("aws_check_object_lock", GSM, Kind::Bool, DefaultValue::Fixed("off"), "Look at object locks before deleting."),
    option("aws_encryption", GSM, Kind::ExactWords(&["AES256", "aws:kms"]), DefaultValue::Unset, "Server-side encryption of uploads."),
    option("aws_profile", GSM, Kind::Text, DefaultValue::Unset, "AWS profile."),
    option("aws_read_timeout", GSM, Kind::Int { min: 0 }, DefaultValue::Unset, "Read time-out of the S3 client, seconds."),
    option("aws_region", GSM, Kind::Text, DefaultValue::Unset, "AWS region."),
    option("aws_snapshot_lock_cool_off_period", GSM, Kind::Int { min: ANY }, DefaultValue::Unset, "Cool-off period of the snapshot lock, hours."),
    option("aws_snapshot_lock_duration", GSM, Kind::Int { min: ANY }, DefaultValue::Unset, "Snapshot lock, days."),
    option("aws_snapshot_lock_expiration_date", GSM, Kind::Text, DefaultValue::Unset, "End of the snapshot lock."),
    option("aws_snapshot_lock_mode", GSM, Kind::Text, DefaultValue::Unset, "Lock mode of snapshots (governance or compliance)."),
    option("aws_sse_customer_key", GSM, Kind::Text, DefaultValue::Unset, "Customer key of server-side encryption (file://...)."),
    option("aws_sse_kms_key_id", GSM, Kind::Text, DefaultValue::Unset, "KMS key of server-side encryption."),
    option("azure_credential", GSM, Kind::Text, DefaultValue::Unset, "Kind of Azure credential."),
    option("azure_resource_group", GSM, Kind::Text, DefaultValue::Unset, "Azure resource group."),
    option("azure_subscription_id", GSM, Kind::Text, DefaultValue::Unset, "Azure subscription."),
    option("backup_compression", GSM, Kind::Words(BackupCompression::WORDS), DefaultValue::Unset, "Compression of base backups (postgres method)."),
    option("backup_compression_format", GSM, Kind::Words(CompressionFormat::WORDS), DefaultValue::Unset, "Whether a compressed backup is stored as tar files or extracted."),
    option("backup_compression_level", GSM, Kind::Int { min: ANY }, DefaultValue::Unset, "Level of the backup compression."),
    option("backup_compression_location", GSM, Kind::Words(CompressionLocation::WORDS), DefaultValue::Unset, "Which side compresses."),
    option("backup_compression_workers", GSM, Kind::Int { min: 0 }, DefaultValue::Unset, "Compression threads (zstd)."),
    option("backup_directory", S, Kind::Directory, DefaultValue::Template("%(barman_home)s/%(name)s"), "Where everything of the server lies."),
    option("backup_method", GSM, Kind::Words(BackupMethod::WORDS), DefaultValue::Fixed("rsync"), "How base backups are taken."),
    option("backup_options", GSM, Kind::Set(BACKUP_OPTIONS), DefaultValue::Fixed(""), "Settings of a backup, separated by commas."),
    option("bandwidth_limit", GSM, Kind::LateInt, DefaultValue::Unset, "Transfer limit in kB/s; 0 = none."),
    option("basebackup_retry_sleep", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("30"), "Seconds between attempts."),
    option("basebackup_retry_times", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "Further attempts after a failed copy."),
    option("basebackups_directory", S, Kind::Place, DefaultValue::Template("%(backup_directory)s/base"), "Where base backups go; may be a cloud URL."),
    option("check_timeout", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("30"), "Seconds that all checks of one server may take; 0 = no limit."),
    option("cloud_delete_batch_size", GSM, Kind::Int { min: 1 }, DefaultValue::Unset, "Objects deleted in one request."),
    option("cloud_staging_directory", GSM, Kind::AbsolutePath, DefaultValue::Fixed("/tmp/barman/cloud-staging"), "Local work space of uploads."),
    option("cloud_staging_max_size", GSM, Kind::Size, DefaultValue::Fixed("30Gi"), "Size limit of the local work space of uploads."),
    option("cloud_upload_max_archive_size", GSM, Kind::Size, DefaultValue::Fixed("100Gi"), "Largest archive uploaded."),
    option("cloud_upload_min_chunk_size", GSM, Kind::Size, DefaultValue::Unset, "Smallest chunk of a multipart upload."),
    option("cloud_wal_archive_parallel", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "WAL files uploaded ahead by cloud-wal-archive."),
    option("cloud_wal_restore_parallel", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "WAL files fetched ahead by cloud-wal-restore."),
    option("cluster", SM, Kind::Text, DefaultValue::Template("%(name)s"), "Name that models must have in common with a server to apply to it."),
    option("combine_mode", GSM, Kind::Words(CombineMode::WORDS), DefaultValue::Fixed("copy"), "How files of an incremental chain are combined."),
    option("compression", GSM, Kind::WordsOrEmpty(WalCompression::WORDS), DefaultValue::Unset, "Compression of archived WAL."),
    option("compression_level", GSM, Kind::Level, DefaultValue::Fixed("medium"), "Level of the WAL compression."),
    option("conninfo", SM, Kind::Text, DefaultValue::Unset, "Connection string for SQL connections."),
    option("create_slot", GSM, Kind::Words(CreateSlot::WORDS), DefaultValue::Fixed("manual"), "Who creates the slot."),
    option("custom_compression_filter", GSM, Kind::Text, DefaultValue::Unset, "Shell command that compresses WAL.").deprecated("use one of the built-in algorithms"),
    option("custom_compression_magic", GSM, Kind::Text, DefaultValue::Unset, "First bytes of WAL compressed by the custom filter, in hexadecimal.").deprecated("use one of the built-in algorithms"),
    option("custom_decompression_filter", GSM, Kind::Text, DefaultValue::Unset, "Shell command that decompresses WAL.").deprecated("use one of the built-in algorithms"),
    option("description", SM, Kind::Text, DefaultValue::Unset, "Text shown by list-servers."),
    option("disabled", SM, Kind::Bool, DefaultValue::Unset, "Computed: the configuration of the server has errors. Only a model can set it."),
    option("encryption", GSM, Kind::Words(&["none", "gpg"]), DefaultValue::Unset, "Encryption of backups and WAL files."),
    option("encryption_key_id", GSM, Kind::Text, DefaultValue::Unset, "Recipient of encrypted files."),
    option("encryption_passphrase_command", GSM, Kind::Text, DefaultValue::Unset, "Shell command that prints the passphrase of the private key."),
    option("errors_directory", S, Kind::Directory, DefaultValue::Template("%(backup_directory)s/errors"), "Where WAL files that cannot be archived go."),
    option("forward_config_path", GSM, Kind::Bool, DefaultValue::Fixed("false"), "Pass the path of the configuration file to the primary Barman node."),
    option("gcp_project", GSM, Kind::Text, DefaultValue::Unset, "Google Cloud project."),
    option("gcp_zone", SM, Kind::Text, DefaultValue::Unset, "Google Cloud zone."),
    option("immediate_checkpoint", GSM, Kind::Bool, DefaultValue::Fixed("false"), "Ask for a fast checkpoint at the start of a backup."),
    option("incoming_wals_directory", S, Kind::Directory, DefaultValue::Template("%(backup_directory)s/incoming"), "Where archive_command puts WAL files."),
    option("keepalive_interval", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("60"), "Seconds between statements that keep an idle connection alive during a backup; 0 = off."),
    option("last_backup_maximum_age", GSM, Kind::Interval, DefaultValue::Unset, "Age of the newest backup above which check fails."),
    option("last_backup_minimum_size", GSM, Kind::Size, DefaultValue::Unset, "Size of the newest backup below which check fails."),
    option("last_wal_maximum_age", GSM, Kind::Interval, DefaultValue::Unset, "Age of the newest WAL file above which check fails."),
    option("local_staging_path", GSM, Kind::AbsolutePath, DefaultValue::Unset, "Work space on the backup host.").deprecated("use staging_path"),
    option("max_incoming_wals_queue", GSM, Kind::Int { min: 0 }, DefaultValue::Unset, "Waiting WAL files above which check fails."),
    option("minimum_redundancy", GSM, Kind::LateInt, DefaultValue::Fixed("0"), "Backups that must always be there."),
    option("network_compression", GSM, Kind::Bool, DefaultValue::Fixed("false"), "Compress data on the wire (rsync methods)."),
    option("parallel_jobs", GSM, Kind::Int { min: 1 }, DefaultValue::Fixed("1"), "Parallel workers of a copy."),
    option("parallel_jobs_start_batch_period", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("1"), "Seconds between two groups of workers started."),
    option("parallel_jobs_start_batch_size", GSM, Kind::Int { min: 1 }, DefaultValue::Fixed("10"), "Workers started together."),
    option("path_prefix", GSM, Kind::Text, DefaultValue::Unset, "Directories put before PATH for commands and scripts, separated by ':'."),
    option("post_archive_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after archiving a WAL file, repeated until it succeeds."),
    option("post_archive_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after archiving a WAL file."),
    option("post_backup_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after a backup, repeated until it succeeds."),
    option("post_backup_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after a backup."),
    option("post_delete_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after deleting a backup, repeated until it succeeds."),
    option("post_delete_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after deleting a backup."),
    option("post_recovery_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after a restore, repeated until it succeeds."),
    option("post_recovery_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after a restore."),
    option("post_wal_delete_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after deleting a WAL file, repeated until it succeeds."),
    option("post_wal_delete_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run after deleting a WAL file."),
    option("pre_archive_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before archiving a WAL file, repeated until it succeeds."),
    option("pre_archive_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before archiving a WAL file."),
    option("pre_backup_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before a backup, repeated until it succeeds."),
    option("pre_backup_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before a backup."),
    option("pre_delete_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before deleting a backup, repeated until it succeeds."),
    option("pre_delete_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before deleting a backup."),
    option("pre_recovery_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before a restore, repeated until it succeeds."),
    option("pre_recovery_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before a restore."),
    option("pre_wal_delete_retry_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before deleting a WAL file, repeated until it succeeds."),
    option("pre_wal_delete_script", GS, Kind::Text, DefaultValue::Unset, "Shell command run before deleting a WAL file."),
    option("primary_checkpoint_timeout", SM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "Seconds to wait for a WAL file before forcing a checkpoint on the primary; 0 = never."),
    option("primary_conninfo", SM, Kind::Text, DefaultValue::Unset, "Connection string of the primary when conninfo points to a standby."),
    option("primary_ssh_command", GSM, Kind::Text, DefaultValue::Unset, "Command that opens a shell on the Barman host to copy from; makes this node passive."),
    option("recovery_options", GSM, Kind::Set(RECOVERY_OPTIONS), DefaultValue::Fixed(""), "Settings of a restore, separated by commas."),
    option("recovery_staging_path", GSM, Kind::AbsolutePath, DefaultValue::Unset, "Work space on the destination host.").deprecated("use staging_path"),
    option("retention_policy", GSM, Kind::Text, DefaultValue::Unset, "REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS."),
    option("retention_policy_mode", GSM, Kind::Text, DefaultValue::Fixed("auto"), "Always auto."),
    option("reuse_backup", GSM, Kind::Words(ReuseBackup::WORDS), DefaultValue::Unset, "Reuse files of the previous backup (rsync methods)."),
    option("slot_name", GSM, Kind::Slot, DefaultValue::Unset, "Physical replication slot of receive-wal."),
    option("snapshot_disks", SM, Kind::List, DefaultValue::Unset, "Disks that hold the cluster, separated by commas."),
    option("snapshot_gcp_project", GSM, Kind::Text, DefaultValue::Unset, "Google Cloud project.").deprecated("use gcp_project"),
    option("snapshot_instance", SM, Kind::Text, DefaultValue::Unset, "Compute instance whose disks are backed up."),
    option("snapshot_provider", GSM, Kind::Text, DefaultValue::Unset, "Cloud provider of snapshots."),
    option("snapshot_zone", SM, Kind::Text, DefaultValue::Unset, "Google Cloud zone.").deprecated("use gcp_zone"),
    option("ssh_command", SM, Kind::Text, DefaultValue::Unset, "Command that opens a shell on the PostgreSQL host."),
    option("staging_location", GSM, Kind::ExactWords(StagingLocation::WORDS), DefaultValue::Fixed("local"), "Host of the work space of restores."),
    option("staging_path", GSM, Kind::AbsolutePath, DefaultValue::Unset, "Work space of restores."),
    option("streaming_archiver", GSM, Kind::Bool, DefaultValue::Fixed("off"), "WAL files arrive by streaming replication."),
    option("streaming_archiver_batch_size", GSM, Kind::Int { min: 0 }, DefaultValue::Fixed("0"), "Files of one run of the streaming archiver; 0 = all."),
    option("streaming_archiver_name", GSM, Kind::Text, DefaultValue::Fixed("barman_receive_wal"), "application_name of WAL streaming connections."),
    option("streaming_backup_name", GSM, Kind::Text, DefaultValue::Fixed("barman_streaming_backup"), "application_name of base backup connections."),
    option("streaming_conninfo", SM, Kind::Text, DefaultValue::Template("%(conninfo)s"), "Connection string for streaming replication connections."),
    option("streaming_wals_directory", S, Kind::Directory, DefaultValue::Template("%(backup_directory)s/streaming"), "Where receive-wal puts WAL files."),
    option("tablespace_bandwidth_limit", GSM, Kind::Text, DefaultValue::Unset, "Transfer limits in kB/s of single tablespaces, as name:limit, separated by blanks."),
    option("wal_conninfo", SM, Kind::Text, DefaultValue::Unset, "SQL connection string used for WAL only."),
    option("wal_retention_policy", GSM, Kind::Text, DefaultValue::Fixed("main"), "Always main."),
    option("wal_streaming_conninfo", SM, Kind::Text, DefaultValue::Unset, "Streaming connection string used for WAL only."),
    option("wals_directory", S, Kind::Place, DefaultValue::Template("%(backup_directory)s/wals"), "Where archived WAL goes; may be a cloud URL."),
    option("warehousepg_dbid", GSM, Kind::Int { min: 0 }, DefaultValue::Unset, "Segment id of a WarehousePG cluster."),
    option("worm_mode", GSM, Kind::Bool, DefaultValue::Fixed("off"), "The storage is write once, read many."),
    option("xlogdb_directory", GS, Kind::Directory, DefaultValue::Template("%(wals_directory)s"), "Where the catalogue of WAL files lies."),
];

/// The options that exist only in `[barman]`, sorted by name. `log_format` is honoured too, but Barman does not count
/// it as known.
#[rustfmt::skip]
pub static GLOBAL_OPTIONS: &[OptionDef] = &[
    option("barman_home", ONLY_GLOBAL, Kind::Text, DefaultValue::Unset, "Where everything lies unless another directory is set."),
    option("barman_lock_directory", ONLY_GLOBAL, Kind::Text, DefaultValue::Template("%(barman_home)s"), "Where lock files lie."),
    option("barman_user", ONLY_GLOBAL, Kind::Text, DefaultValue::Fixed("barman"), "User that runs Barman."),
    option("config_changes_queue", ONLY_GLOBAL, Kind::Text, DefaultValue::Template("%(barman_home)s/cfg_changes.queue"), "Queue of configuration changes."),
    option("configuration_files_directory", ONLY_GLOBAL, Kind::Text, DefaultValue::Unset, "Directory of further configuration files (*.conf)."),
    option("lock_directory_cleanup", ONLY_GLOBAL, Kind::Bool, DefaultValue::Fixed("true"), "Remove unused lock files at the end of cron."),
    option("log_file", ONLY_GLOBAL, Kind::Text, DefaultValue::Unset, "Log file; standard error if it is not set."),
    option("log_level", ONLY_GLOBAL, Kind::Text, DefaultValue::Fixed("INFO"), "Least severe level that is logged."),
];

/// Index of a server option in [`SERVER_OPTIONS`].
#[must_use]
pub fn position(name: &str) -> Option<usize> {
    SERVER_OPTIONS
        .binary_search_by(|option| option.name.cmp(name))
        .ok()
}

/// The server option of that name.
#[must_use]
pub fn server_option(name: &str) -> Option<&'static OptionDef> {
    position(name).and_then(|at| SERVER_OPTIONS.get(at))
}

/// What to say to somebody who has put `given` into a section where it is no option. `place` is `barman`, `server` or
/// `model`.
#[must_use]
pub fn hint(given: &str, place: &str) -> Option<String> {
    let all = || SERVER_OPTIONS.iter().chain(GLOBAL_OPTIONS);
    if given == "model" {
        return (place != "model").then(|| "'model = on' makes a section a model".to_owned());
    }
    if let Some(option) = all().find(|option| option.name == given) {
        let where_then = match (option.scope.server, place) {
            (false, _) => "in [barman] only",
            (true, "model") => "in server sections, not in models",
            (true, _) => "in server sections",
        };
        return Some(format!("'{given}' can be set {where_then}"));
    }
    all()
        .map(|option| (strsim::damerau_levenshtein(given, option.name), option.name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 6) && *distance * 2 < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean '{name}'?"))
}

/// Whether `key` may stand in `[barman]`.
#[must_use]
pub fn known_in_barman(key: &str) -> bool {
    position(key).is_some() || GLOBAL_OPTIONS.iter().any(|option| option.name == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert_eq!(SERVER_OPTIONS.len(), 122, "Barman 3.20.1 has 122 server options");
        assert!(SERVER_OPTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(GLOBAL_OPTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(SERVER_OPTIONS.iter().all(|option| option.scope.server));
        assert!(
            SERVER_OPTIONS
                .iter()
                .enumerate()
                .all(|(index, option)| position(option.name) == Some(index))
        );
    }

    #[test]
    fn templates_refer_to_what_is_resolved_before() {
        for (index, option) in SERVER_OPTIONS.iter().enumerate() {
            let DefaultValue::Template(template) = option.default else {
                continue;
            };
            let key = template
                .split_once("%(")
                .and_then(|(_, rest)| rest.split_once(')'))
                .unwrap()
                .0;
            let known = key == "name" || key == "barman_home" || position(key).is_some_and(|at| at < index);
            assert!(known, "{}: {template}", option.name);
        }
    }
}
