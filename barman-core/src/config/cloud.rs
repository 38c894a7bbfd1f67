//! Rules between the options of object storage and of snapshots. Neither is available yet; their mistakes are told all
//! the same, as messages of the one server that has them.

use super::resolve::Values;
use super::server::ServerConfig;
use super::types::BackupMethod;
use super::value::Value;

/// Longest snapshot lock, days.
const MAX_LOCK_DAYS: i64 = 36_500;
/// Longest cool-off period of a snapshot lock, hours.
const MAX_COOL_OFF_HOURS: i64 = 72;
/// Form of `aws_snapshot_lock_expiration_date`.
const EXPIRATION_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// Encryption of uploads to S3. Barman makes its client, and breaks off every command, for a `wals_directory` there,
/// whatever the state of the server, and for a `basebackups_directory` of an active server with the `postgres` method.
pub(super) fn storage(server: &ServerConfig, values: &[Value], messages: &mut Vec<String>) {
    let values = Values(values);
    let in_s3 = |option: &str| {
        let place = values.get(option).text().unwrap_or_default();
        super::parse::cloud_provider(place) == Some("aws-s3")
    };
    let base_backups = server.active && server.backup_method == BackupMethod::Postgres;
    if !(in_s3("wals_directory") || base_backups && in_s3("basebackups_directory")) {
        return;
    }
    let encryption = values.get("aws_encryption").text();
    let kms_key = !values.get("aws_sse_kms_key_id").is_unset();
    let customer_key = !values.get("aws_sse_customer_key").is_unset();
    let name = &server.name;
    if kms_key && encryption != Some("aws:kms") {
        messages.push(format!(
            "aws_sse_kms_key_id needs 'aws_encryption = aws:kms' for server '{name}'"
        ));
    }
    if customer_key && kms_key {
        messages.push(format!(
            "aws_sse_customer_key and aws_sse_kms_key_id cannot be used together for server '{name}'"
        ));
    }
    if customer_key && encryption.is_some() {
        messages.push(format!(
            "aws_sse_customer_key and aws_encryption cannot be used together for server '{name}'"
        ));
    }
}

/// What the method `snapshot` asks of its provider and of locks.
pub(super) fn snapshots(values: &[Value], messages: &mut Vec<String>) {
    let values = Values(values);
    let set = |option: &str| !values.get(option).is_unset();
    let provider = values.get("snapshot_provider").text();
    if provider == Some("aws")
        && let Some(mode) = values.get("aws_snapshot_lock_mode").text()
    {
        lock(&values, mode, messages);
    }
    let problem = match provider {
        None | Some("aws") => None,
        Some("gcp") if set("gcp_project") || set("snapshot_gcp_project") => None,
        Some("gcp") => Some("gcp_project is not set"),
        Some("azure") if set("azure_subscription_id") => None,
        Some("azure") => Some("azure_subscription_id is not set"),
        Some(_) => Some("there is none of this name, it must be one in: aws, azure, gcp"),
    };
    if let (Some(provider), Some(problem)) = (provider, problem) {
        messages.push(format!(
            "Error initialising snapshot provider {provider}: {problem}"
        ));
    }
}

/// A lock of AWS snapshots.
fn lock(values: &Values<'_>, mode: &str, messages: &mut Vec<String>) {
    let duration = values.int("aws_snapshot_lock_duration").filter(|days| *days != 0);
    let date = values.get("aws_snapshot_lock_expiration_date").text();
    let cool_off = values.int("aws_snapshot_lock_cool_off_period");
    let mut add = |text: String| messages.push(text);
    match (duration, date) {
        (None, None) => add(
            "aws_snapshot_lock_mode needs aws_snapshot_lock_duration or aws_snapshot_lock_expiration_date"
                .to_owned(),
        ),
        (Some(_), Some(_)) => add(
            "aws_snapshot_lock_duration and aws_snapshot_lock_expiration_date cannot be used together"
                .to_owned(),
        ),
        _ => {}
    }
    if mode == "governance" && cool_off.is_some() {
        add("aws_snapshot_lock_cool_off_period cannot be used with the lock mode governance".to_owned());
    }
    if let Some(hours) = cool_off.filter(|hours| !(1..=MAX_COOL_OFF_HOURS).contains(hours)) {
        add(format!(
            "aws_snapshot_lock_cool_off_period must be between 1 and {MAX_COOL_OFF_HOURS} hours, not {hours}"
        ));
    }
    if let Some(days) = duration.filter(|days| !(1..=MAX_LOCK_DAYS).contains(days)) {
        add(format!(
            "aws_snapshot_lock_duration must be between 1 and {MAX_LOCK_DAYS} days, not {days}"
        ));
    }
    if !["governance", "compliance"].contains(&mode.to_lowercase().as_str()) {
        add(format!(
            "Invalid aws_snapshot_lock_mode '{mode}': it must be governance or compliance"
        ));
    }
    if let Some(date) = date.filter(|date| !is_date(date)) {
        add(format!(
            "Invalid aws_snapshot_lock_expiration_date '{date}': it must look like 2030-01-01T00:00:00.000000Z"
        ));
    }
}

/// `2030-01-01T00:00:00.000000Z`; the fraction has to be there.
fn is_date(text: &str) -> bool {
    text.contains('.') && jiff::civil::DateTime::strptime(EXPIRATION_FORMAT, text).is_ok()
}
