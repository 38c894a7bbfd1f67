//! From resolved values to a [`ServerConfig`]: typed fields, the rules between options, messages and warnings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigWarning;
use super::globals::GlobalConfig;
use super::parse;
use super::resolve::{self, Values};
use super::server::ServerConfig;
use super::types;
use super::types::{
    BackupCompression, BackupMethod, BackupOptions, CombineMode, CompressionFormat, CompressionLocation,
    CreateSlot, Encryption, RecoveryOptions, ReuseBackup, StagingLocation, WalCompression,
};
use super::validate;
use super::value::Value;
use crate::context::Level;

/// A server on its way: what the sections said, and what was found wrong so far.
pub(super) struct Draft {
    pub name: String,
    pub values: Vec<Value>,
    pub messages: Vec<String>,
    pub active_model: Option<String>,
    /// Set by the active model; `None` = computed from the messages.
    pub model_disabled: Option<bool>,
}

impl Draft {
    pub fn values(&self) -> Values<'_> {
        Values(&self.values)
    }
}

/// The six directories that must not be shared, in the order in which conflicts are looked for.
pub(super) const CONFLICT_CHECKED: [&str; 6] = [
    "backup_directory",
    "basebackups_directory",
    "errors_directory",
    "incoming_wals_directory",
    "streaming_wals_directory",
    "wals_directory",
];

/// Finishes a server. `place` tells where an option is set.
pub(super) fn finish(
    draft: Draft,
    config_path: &Path,
    globals: &GlobalConfig,
    place: &dyn Fn(&str) -> Option<String>,
) -> ServerConfig {
    let Draft {
        name,
        mut values,
        mut messages,
        active_model,
        model_disabled,
    } = draft;
    let mut notices = Vec::new();
    // A model that says `disabled = false` forgives what was found before it was applied, not what comes after.
    let before = messages.len();

    let mut server = typed(&name, &values, config_path, globals);
    empty_directories(&name, &server, &values, &mut messages);
    validate::connections(&server, &mut messages);
    validate::unusable_connections(&server, &mut notices, place);
    validate::backup_method(&server, &values, &mut messages);
    super::cloud::storage(&server, &values, &mut messages);
    validate::backup_strategy(&mut server, &mut notices);
    validate::archivers(&server, &mut messages, &mut notices);
    if server.active && !server.is_passive() && !server.archiver && !server.streaming_archiver {
        server.archiver = true;
    }
    convert_late(&mut server, &mut values, &mut notices, place);

    server.disabled = match model_disabled {
        Some(true) => true,
        Some(false) => messages.len() > before,
        None => !messages.is_empty(),
    };
    resolve::set(&mut values, "disabled", Value::Bool(server.disabled));
    resolve::set(&mut values, "archiver", Value::Bool(server.archiver));
    resolve::set(&mut values, "backup_options", option_words(server.backup_options));
    server.messages = messages;
    server.active_model = active_model;
    server.notices = notices;
    server.values = values;
    server
}

fn option_words(options: BackupOptions) -> Value {
    let words = [
        ("concurrent_backup", options.concurrent_backup),
        ("exclusive_backup", options.exclusive_backup),
        ("external_configuration", options.external_configuration),
    ];
    Value::Words(
        words
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(word, _)| word)
            .collect(),
    )
}

/// An empty directory option ends every command in Barman; here it is an error of its server.
fn empty_directories(name: &str, server: &ServerConfig, values: &[Value], messages: &mut Vec<String>) {
    let values = Values(values);
    for option in CONFLICT_CHECKED.into_iter().chain(["xlogdb_directory"]) {
        let follows = option == "xlogdb_directory" && values.get("wals_directory").is_unset();
        if values.get(option).is_unset() && !follows {
            messages.push(format!("Missing '{option}' parameter for server '{name}'"));
        }
    }
    if server.custom_compression_magic.is_none() && !values.get("custom_compression_magic").is_unset() {
        messages.push(format!(
            "Invalid 'custom_compression_magic' parameter for server '{name}': not hexadecimal"
        ));
    }
}

fn typed(name: &str, values: &[Value], config_path: &Path, globals: &GlobalConfig) -> ServerConfig {
    let v = Values(values);
    // An empty directory has its message; a path below the server's own directory keeps everything else harmless.
    let backup_directory = v
        .text("backup_directory")
        .unwrap_or_else(|| format!("{}/{name}", globals.barman_home.display()));
    let directory = |option: &str, last: &str| {
        PathBuf::from(
            v.text(option)
                .unwrap_or_else(|| format!("{backup_directory}/{last}")),
        )
    };
    let path = |option: &str| v.text(option).map(PathBuf::from);
    let wals_directory = directory("wals_directory", "wals");
    let check_timeout = v
        .count("check_timeout")
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    ServerConfig {
        name: name.to_owned(),
        active: v.flag("active"),
        disabled: false,
        messages: Vec::new(),
        notices: Vec::new(),
        active_model: None,
        description: v.text("description"),
        cluster: v.text("cluster"),
        config_path: config_path.to_owned(),
        barman_home: globals.barman_home.clone(),
        lock_directory: globals.lock_directory.clone(),
        conninfo: v.text("conninfo"),
        streaming_conninfo: v.text("streaming_conninfo"),
        primary_conninfo: v.text("primary_conninfo"),
        wal_conninfo: v.text("wal_conninfo"),
        wal_streaming_conninfo: v.text("wal_streaming_conninfo"),
        primary_checkpoint_timeout: v.seconds("primary_checkpoint_timeout"),
        keepalive_interval: v.seconds("keepalive_interval"),
        check_timeout,
        ssh_command: v.text("ssh_command"),
        primary_ssh_command: v.text("primary_ssh_command"),
        forward_config_path: v.flag("forward_config_path"),
        path_prefix: v.text("path_prefix"),
        xlogdb_directory: xlogdb_directory(v.text("xlogdb_directory"), &wals_directory, &backup_directory),
        basebackups_directory: directory("basebackups_directory", "base"),
        incoming_wals_directory: directory("incoming_wals_directory", "incoming"),
        streaming_wals_directory: directory("streaming_wals_directory", "streaming"),
        errors_directory: directory("errors_directory", "errors"),
        cloud_staging_directory: directory("cloud_staging_directory", "cloud-staging"),
        wals_directory,
        backup_directory: PathBuf::from(&backup_directory),
        backup_method: v
            .word("backup_method", BackupMethod::from_word)
            .unwrap_or(BackupMethod::Rsync),
        backup_options: BackupOptions {
            concurrent_backup: v.has_word("backup_options", "concurrent_backup"),
            exclusive_backup: v.has_word("backup_options", "exclusive_backup"),
            external_configuration: v.has_word("backup_options", "external_configuration"),
        },
        immediate_checkpoint: v.flag("immediate_checkpoint"),
        reuse_backup: v.word("reuse_backup", ReuseBackup::from_word),
        basebackup_retry_times: v.small("basebackup_retry_times").unwrap_or(0),
        basebackup_retry_sleep: v.seconds("basebackup_retry_sleep"),
        autogenerate_manifest: v.flag("autogenerate_manifest"),
        streaming_backup_name: v.text("streaming_backup_name"),
        backup_compression: v.word("backup_compression", BackupCompression::from_word),
        backup_compression_format: v.word("backup_compression_format", CompressionFormat::from_word),
        // What does not fit is no level of any algorithm, and has to be told so.
        backup_compression_level: v
            .int("backup_compression_level")
            .map(|level| i32::try_from(level.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or(i32::MAX)),
        backup_compression_location: v.word("backup_compression_location", CompressionLocation::from_word),
        backup_compression_workers: v.small("backup_compression_workers"),
        encryption: v.word("encryption", Encryption::from_word),
        encryption_key_id: v.text("encryption_key_id"),
        encryption_passphrase_command: v.text("encryption_passphrase_command"),
        worm_mode: v.flag("worm_mode"),
        minimum_redundancy: 0,
        parallel_jobs: v.small("parallel_jobs").unwrap_or(1),
        parallel_jobs_start_batch_size: v.small("parallel_jobs_start_batch_size").unwrap_or(10),
        parallel_jobs_start_batch_period: v.seconds("parallel_jobs_start_batch_period"),
        network_compression: v.flag("network_compression"),
        bandwidth_limit: None,
        tablespace_bandwidth_limit: std::collections::BTreeMap::new(),
        warehousepg_dbid: v.int("warehousepg_dbid"),
        archiver: v.flag("archiver"),
        streaming_archiver: v.flag("streaming_archiver"),
        archiver_batch_size: v.count("archiver_batch_size").unwrap_or(0),
        streaming_archiver_batch_size: v.count("streaming_archiver_batch_size").unwrap_or(0),
        streaming_archiver_name: v.text("streaming_archiver_name"),
        slot_name: v.text("slot_name"),
        create_slot: v
            .word("create_slot", CreateSlot::from_word)
            .unwrap_or(CreateSlot::Manual),
        compression: v.word("compression", WalCompression::from_word),
        compression_level: v.level("compression_level"),
        custom_compression_filter: v.text("custom_compression_filter"),
        custom_decompression_filter: v.text("custom_decompression_filter"),
        custom_compression_magic: v.text("custom_compression_magic").and_then(|text| magic(&text)),
        max_incoming_wals_queue: v.count("max_incoming_wals_queue"),
        retention_policy: None,
        retention_policy_invalid: false,
        last_backup_maximum_age: v.interval("last_backup_maximum_age"),
        last_backup_minimum_size: v.size("last_backup_minimum_size"),
        last_wal_maximum_age: v.interval("last_wal_maximum_age"),
        recovery_options: RecoveryOptions {
            get_wal: v.has_word("recovery_options", "get-wal"),
            delta_restore: v.has_word("recovery_options", "delta-restore"),
        },
        staging_path: path("staging_path"),
        staging_location: v
            .word("staging_location", StagingLocation::from_word)
            .unwrap_or(StagingLocation::Local),
        recovery_staging_path: path("recovery_staging_path"),
        local_staging_path: path("local_staging_path"),
        combine_mode: v
            .word("combine_mode", CombineMode::from_word)
            .unwrap_or(CombineMode::Copy),
        values: Vec::new(),
    }
}

/// Where the catalogue of WAL files lies: below `meta` if it would go to object storage together with the WAL.
fn xlogdb_directory(configured: Option<String>, wals: &Path, backup_directory: &str) -> PathBuf {
    let wals = wals.to_string_lossy();
    match configured {
        None if !wals.contains("://") => PathBuf::from(wals.as_ref()),
        Some(text) if !(wals.contains("://") && text.starts_with(wals.as_ref())) => PathBuf::from(text),
        None | Some(_) => PathBuf::from(format!("{backup_directory}/meta")),
    }
}

/// `0x` and hexadecimal digits; the first two characters are dropped whatever they are.
fn magic(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().skip(2).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| {
            let digit = |at: usize| pair.get(at).and_then(|c| c.to_digit(16));
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        })
        .collect()
}

/// What is right for the options that are converted late.
const RIGHT: &[(&str, &str)] = &[
    ("bandwidth_limit", "a number of kB/s, 0 for no limit"),
    (
        "tablespace_bandwidth_limit",
        "rules <tablespace>:<kB/s>, separated by blanks",
    ),
    ("minimum_redundancy", "a number of backups"),
    ("retention_policy_mode", "only auto"),
    ("wal_retention_policy", "only main"),
    (
        "retention_policy",
        "REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS",
    ),
];

/// What the conversion found wrong with an option of a server: for the log only, as Barman tells it, and where it is.
fn late_problem(
    level: Level,
    option: &str,
    text: String,
    place: &dyn Fn(&str) -> Option<String>,
) -> ConfigWarning {
    let right = RIGHT.iter().find(|(known, _)| *known == option);
    let parts = [
        place(option),
        right.map(|(_, right)| format!("{option} takes {right}")),
    ];
    let hint: Vec<String> = parts.into_iter().flatten().collect();
    ConfigWarning {
        level,
        ..ConfigWarning::log_only("barman.server", text).with_hint(hint.join(": "))
    }
}

/// The options that Barman converts when it makes a server object. Problems go to the log.
fn convert_late(
    server: &mut ServerConfig,
    values: &mut [Value],
    notices: &mut Vec<ConfigWarning>,
    place: &dyn Fn(&str) -> Option<String>,
) {
    let name = server.name.clone();
    let name = name.as_str();
    let mut tell = |level, option: &str, text: String| notices.push(late_problem(level, option, text, place));
    let mut warn = |option: &str, text: String| tell(Level::Warning, option, text);
    let late = |values: &[Value], option: &str| Values(values).text(option);

    if let Some(text) = late(values, "bandwidth_limit") {
        let number = parse::integer(&text);
        server.bandwidth_limit = number.and_then(|limit| u64::try_from(limit).ok());
        let value = match (server.bandwidth_limit, number) {
            (Some(_), Some(limit)) => Value::Int(limit),
            (_, number) => {
                let problem = if number.is_some() {
                    "Negative value of"
                } else {
                    "Invalid"
                };
                warn(
                    "bandwidth_limit",
                    format!("{problem} bandwidth_limit \"{text}\" for server \"{name}\" (fallback to \"0\")"),
                );
                Value::Unset
            }
        };
        resolve::set(values, "bandwidth_limit", value);
    }

    if let Some(text) = late(values, "tablespace_bandwidth_limit") {
        for rule in text.split_whitespace() {
            match parse::bandwidth_rule(rule) {
                Some((_, limit)) if Some(limit) == server.bandwidth_limit => {}
                Some((tablespace, limit)) => {
                    let rules = &mut server.tablespace_bandwidth_limit;
                    rules.insert(tablespace.to_owned(), limit);
                }
                None => warn(
                    "tablespace_bandwidth_limit",
                    format!("Invalid tablespace_bandwidth_limit rule '{rule}'"),
                ),
            }
        }
        let rules = server.tablespace_bandwidth_limit.clone();
        let value = if rules.is_empty() {
            Value::Unset
        } else {
            Value::Rules(rules)
        };
        resolve::set(values, "tablespace_bandwidth_limit", value);
    }

    let text = late(values, "minimum_redundancy").unwrap_or_default();
    match parse::integer(&text) {
        Some(number) if number >= 0 => server.minimum_redundancy = u32::try_from(number).unwrap_or(u32::MAX),
        Some(_) => warn(
            "minimum_redundancy",
            format!(
                "Negative value of minimum_redundancy \"{text}\" for server \"{name}\" (fallback to \"0\")"
            ),
        ),
        None => warn(
            "minimum_redundancy",
            format!("Invalid minimum_redundancy \"{text}\" for server \"{name}\" (fallback to \"0\")"),
        ),
    }
    resolve::set(
        values,
        "minimum_redundancy",
        Value::Int(i64::from(server.minimum_redundancy)),
    );

    let mode = late(values, "retention_policy_mode").unwrap_or_default();
    if mode != "auto" {
        warn(
            "retention_policy_mode",
            format!(
                "Unsupported retention_policy_mode \"{mode}\" for server \"{name}\" (fallback to \"auto\")"
            ),
        );
        resolve::set(values, "retention_policy_mode", Value::Text("auto".to_owned()));
    }

    let Some(text) = late(values, "retention_policy") else {
        return;
    };
    let wal_policy = late(values, "wal_retention_policy").unwrap_or_default();
    if wal_policy != "main" {
        warn(
            "wal_retention_policy",
            format!(
                "Unsupported wal_retention_policy value \"{wal_policy}\" for server \"{name}\" (fallback to \"main\")"
            ),
        );
        resolve::set(values, "wal_retention_policy", Value::Text("main".to_owned()));
    }
    match types::parse_retention_policy(&text) {
        Some(policy) => {
            server.retention_policy = Some(policy);
            resolve::set(values, "retention_policy", Value::Text(policy.to_string()));
            resolve::set(values, "wal_retention_policy", Value::Text("MAIN".to_owned()));
        }
        None => {
            server.retention_policy_invalid = true;
            tell(
                Level::Error,
                "retention_policy",
                format!("Invalid retention_policy setting \"{text}\" for server \"{name}\""),
            );
        }
    }
}
