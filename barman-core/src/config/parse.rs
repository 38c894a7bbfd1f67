//! From the text of a value to a typed [`Value`], by the kind of the option.

use std::time::Duration;

use super::registry::Kind;
use super::types::CompressionLevel;
use super::value::Value;

/// What a text says at one level (server section, `[barman]`).
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A value.
    Value(Value),
    /// Explicitly nothing: neither the levels below nor the default are asked.
    Off,
    /// Explicitly not the level below; the default counts.
    UseDefault,
}

const BAD_BOOL: &str = "Invalid boolean representation (must be one in: true|t|yes|1|on | false|f|no|0|off)";
const DAY: u64 = 24 * 60 * 60;
/// Longest interval, days.
const MAX_DAYS: u64 = 999_999_999;

/// Parses `text` (quotes removed, `None` turned into nothing) for an option of this kind. `has_default` decides what
/// an empty interval or size means.
///
/// # Errors
/// Why the value is not valid, for the warning that says so.
pub fn parse(kind: Kind, text: &str, has_default: bool) -> Result<Parsed, String> {
    let value = match kind {
        Kind::Text | Kind::LateInt | Kind::Directory | Kind::Place if text.is_empty() => {
            return Ok(Parsed::Off);
        }
        Kind::Level | Kind::WordsOrEmpty(_) if text.is_empty() => return Ok(Parsed::Off),
        Kind::Interval | Kind::Size if text.is_empty() && has_default => return Ok(Parsed::UseDefault),
        Kind::Interval | Kind::Size if text.is_empty() => return Ok(Parsed::Off),
        Kind::Text | Kind::LateInt | Kind::Directory => Value::Text(text.to_owned()),
        Kind::Bool => Value::Bool(boolean(text).ok_or(BAD_BOOL)?),
        Kind::Int { min } => {
            let number = integer(text).ok_or_else(|| format!("not an integer: '{text}'"))?;
            if number < min {
                return Err(format!("must not be less than {min}"));
            }
            Value::Int(number)
        }
        Kind::Interval => Value::Interval(
            interval(text).ok_or_else(|| format!("Invalid value for a time interval {text}"))?,
        ),
        Kind::Size => Value::Size(size(text).ok_or_else(|| format!("Invalid value for a number {text}"))?),
        Kind::Words(words) | Kind::WordsOrEmpty(words) => word(words, &text.to_lowercase(), text)?,
        Kind::ExactWords(words) => word(words, text, text)?,
        Kind::Set(words) => set(words, text)?,
        Kind::Place => {
            if text.contains("://") && cloud_provider(text).is_none() {
                return Err("The URL is not compatible with any of the supported cloud providers".to_owned());
            }
            Value::Text(text.to_owned())
        }
        Kind::AbsolutePath if text.starts_with('/') => Value::Text(text.to_owned()),
        Kind::AbsolutePath => return Err(format!("Invalid value: '{text}' (must be an absolute path)")),
        Kind::Slot => {
            let name = text.to_lowercase();
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                return Err(
                    "Replication slot names may only contain lower case letters, numbers, \
                            and the underscore character."
                        .to_owned(),
                );
            }
            Value::Text(name)
        }
        Kind::List => {
            let items: Vec<String> = text.split(',').map(str::to_owned).collect();
            if items.iter().any(String::is_empty) {
                return Err("an item of the list is empty".to_owned());
            }
            Value::List(items)
        }
        Kind::Level => Value::Level(level(text).ok_or_else(|| {
            format!("Invalid value: '{text}' (must be one in [low, medium, high] or an acceptable integer)")
        })?),
    };
    Ok(Parsed::Value(value))
}

/// What would be right, where the reason of [`parse`] does not say it.
#[must_use]
pub fn right(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Interval => "write it as '36 hours', '4 days', '2 weeks' or '1 month'".to_owned(),
        Kind::Size => {
            "write a number of bytes, or one with k, Ki, M, Mi, G, Gi, T or Ti behind it".to_owned()
        }
        Kind::Set(words) => format!("write any of {}, separated by commas", words.join(", ")),
        Kind::WordsOrEmpty(_) => "an empty value means none".to_owned(),
        Kind::List => "write names, separated by single commas".to_owned(),
        Kind::Place => {
            "write a path, or a URL that begins with 's3://BUCKET', 'gs://BUCKET' or 'https://ACCOUNT.blob.core.windows.net/'"
                .to_owned()
        }
        _ => return None,
    })
}

/// `true t yes 1 on` and `false f no 0 off`, in any case.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "1" | "on" => Some(true),
        "false" | "f" | "no" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// Optional sign, digits (of any script), single `_` between digits, blanks around.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let text = super::digits::to_ascii(text);
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits
        .split('_')
        .any(|group| group.is_empty() || !group.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// One rule of `tablespace_bandwidth_limit`: `<tablespace>:<kB/s>`.
#[must_use]
pub fn bandwidth_rule(rule: &str) -> Option<(&str, u64)> {
    let (tablespace, limit) = rule.split_once(':')?;
    Some((tablespace, u64::try_from(integer(limit)?).ok()?))
}

/// `<number> <unit>` with units hour, day, week (7 days), month (31 days).
#[must_use]
pub fn interval(text: &str) -> Option<Duration> {
    let text = super::digits::to_ascii(text);
    let (number, unit) = text.trim().split_once(char::is_whitespace)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit.trim_start().to_lowercase().as_str() {
        "hour" | "hours" => DAY / 24,
        "day" | "days" => DAY,
        "week" | "weeks" => 7 * DAY,
        "month" | "months" => 31 * DAY,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (total / DAY <= MAX_DAYS).then(|| Duration::from_secs(total))
}

/// Bytes, with an optional suffix `k Ki M Mi G Gi T Ti`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = super::digits::to_ascii(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let factor: u64 = match suffix.trim_start() {
        "" if suffix.is_empty() => 1,
        "k" => 1000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        "T" => 1_000_000_000_000,
        "Ti" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The cloud provider of a URL, as Barman calls it.
#[must_use]
pub fn cloud_provider(url: &str) -> Option<&'static str> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_lowercase();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match scheme.as_str() {
        "s3" => (!host.is_empty()).then_some("aws-s3"),
        "gs" => (!host.is_empty()).then_some("google-cloud-storage"),
        "https" if host == "console.cloud.google.com" => path
            .strip_prefix("storage/browser/")
            .filter(|bucket| !bucket.is_empty())
            .map(|_| "google-cloud-storage"),
        _ => (host.ends_with("blob.core.windows.net") && !path.is_empty()).then_some("azure-blob-storage"),
    }
}

fn word(words: &'static [&'static str], wanted: &str, text: &str) -> Result<Value, String> {
    match words.iter().find(|word| **word == wanted) {
        Some(word) => Ok(Value::Text((*word).to_owned())),
        None => Err(format!(
            "Invalid value: '{text}' (must be one in: {})",
            words.join(", ")
        )),
    }
}

fn set(words: &'static [&'static str], text: &str) -> Result<Value, String> {
    let mut chosen: Vec<&'static str> = Vec::new();
    if text.is_empty() {
        return Ok(Value::Words(chosen));
    }
    for item in text.split(',') {
        let item = item.trim().to_lowercase();
        let word = words
            .iter()
            .find(|word| **word == item)
            .ok_or_else(|| format!("Unknown option '{item}'"))?;
        if !chosen.contains(word) {
            chosen.push(word);
        }
    }
    if chosen.contains(&"concurrent_backup") && chosen.contains(&"exclusive_backup") {
        return Err("cannot contain both 'exclusive_backup' and 'concurrent_backup'".to_owned());
    }
    chosen.sort_unstable();
    Ok(Value::Words(chosen))
}

fn level(text: &str) -> Option<CompressionLevel> {
    match text.to_lowercase().as_str() {
        "low" => Some(CompressionLevel::Low),
        "medium" => Some(CompressionLevel::Medium),
        "high" => Some(CompressionLevel::High),
        number => {
            let digits = number.strip_prefix('-').unwrap_or(number);
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            // Whatever the number of digits, the level is moved into the range of the algorithm.
            let extreme = if digits == number { i32::MAX } else { i32::MIN };
            plain.then(|| CompressionLevel::Number(number.parse().unwrap_or(extreme)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::registry;

    fn of(option: &str, text: &str) -> Result<Parsed, String> {
        let def = &registry::SERVER_OPTIONS[registry::position(option).unwrap()];
        parse(def.kind, text, def.default != registry::DefaultValue::Unset)
    }

    fn value(option: &str, text: &str) -> Value {
        match of(option, text) {
            Ok(Parsed::Value(value)) => value,
            other => panic!("{option} = {text}: {other:?}"),
        }
    }

    #[test]
    fn valid_values() {
        let text = |t: &str| Value::Text(t.to_owned());
        let seconds = |s| Value::Interval(Duration::from_secs(s));
        for (option, raw, expected) in [
            ("active", "ON", Value::Bool(true)),
            ("active", "0", Value::Bool(false)),
            ("check_timeout", " 1_000 ", Value::Int(1000)),
            ("check_timeout", "0", Value::Int(0)),
            ("check_timeout", "\u{ff13}0", Value::Int(30)),
            ("last_backup_maximum_age", "\u{663} days", seconds(3 * 86400)),
            ("last_backup_minimum_size", "\u{663}k", Value::Size(3000)),
            (
                "compression_level",
                "-99999999999",
                Value::Level(CompressionLevel::Number(i32::MIN)),
            ),
            ("last_backup_maximum_age", "2 WEEKS", seconds(14 * 86400)),
            ("last_backup_maximum_age", "1  month", seconds(31 * 86400)),
            ("last_backup_maximum_age", "36 hours", seconds(36 * 3600)),
            ("last_backup_maximum_age", "0 days", seconds(0)),
            ("last_backup_minimum_size", "5", Value::Size(5)),
            ("last_backup_minimum_size", "5 Ki", Value::Size(5120)),
            ("last_backup_minimum_size", "3k", Value::Size(3000)),
            ("last_backup_minimum_size", "1Ti", Value::Size(1 << 40)),
            ("backup_method", "Postgres", text("postgres")),
            ("backup_options", "external_configuration, Concurrent_Backup", {
                Value::Words(vec!["concurrent_backup", "external_configuration"])
            }),
            ("backup_options", "", Value::Words(vec![])),
            ("slot_name", "Barman", text("barman")),
            (
                "snapshot_disks",
                "a, b",
                Value::List(vec!["a".into(), " b".into()]),
            ),
            ("compression_level", "High", Value::Level(CompressionLevel::High)),
            (
                "compression_level",
                "-5",
                Value::Level(CompressionLevel::Number(-5)),
            ),
            ("wals_directory", "s3://bucket/x", text("s3://bucket/x")),
            ("aws_encryption", "aws:kms", text("aws:kms")),
        ] {
            assert_eq!(value(option, raw), expected, "{option} = {raw}");
        }
    }

    #[test]
    fn invalid_values() {
        for (option, raw) in [
            ("active", "y"),
            ("active", ""),
            ("active", "2"),
            ("check_timeout", "5.0"),
            ("check_timeout", "0x10"),
            ("check_timeout", "1__0"),
            ("check_timeout", ""),
            ("check_timeout", "99999999999999999999"),
            ("parallel_jobs", "0"),
            ("check_timeout", "-1"),
            ("keepalive_interval", "-1"),
            ("archiver_batch_size", "-1"),
            ("streaming_archiver_batch_size", "-1"),
            ("primary_checkpoint_timeout", "-1"),
            ("basebackup_retry_times", "-1"),
            ("max_incoming_wals_queue", "-1"),
            ("last_backup_maximum_age", "1day"),
            ("last_backup_maximum_age", "4 d"),
            ("last_backup_maximum_age", "30 minutes"),
            ("last_backup_maximum_age", "-1 day"),
            ("last_backup_maximum_age", "1000000000 days"),
            ("last_backup_maximum_age", "99999999999999999999 days"),
            ("last_backup_minimum_size", "5K"),
            ("last_backup_minimum_size", " 5k"),
            ("last_backup_minimum_size", "1.5G"),
            ("last_backup_minimum_size", "99999999999T"),
            ("backup_options", "concurrent_backup,"),
            ("backup_options", "concurrent_backup,exclusive_backup"),
            ("slot_name", "bar-man"),
            ("slot_name", ""),
            ("snapshot_disks", "a,,b"),
            ("staging_path", "~/x"),
            ("staging_location", "Remote"),
            ("compression", "none"),
            ("aws_encryption", "aes256"),
            ("wals_directory", "ftp://x/y"),
            ("wals_directory", "s3:///x"),
        ] {
            assert!(of(option, raw).is_err(), "{option} = {raw:?}");
        }
    }

    #[test]
    fn empty_values_that_mean_something() {
        assert_eq!(of("retention_policy", ""), Ok(Parsed::Off));
        assert_eq!(of("compression", ""), Ok(Parsed::Off));
        assert_eq!(of("compression_level", ""), Ok(Parsed::Off));
        assert_eq!(
            of("last_backup_maximum_age", ""),
            Ok(Parsed::Off),
            "cancels a global value"
        );
        assert_eq!(of("cloud_staging_max_size", ""), Ok(Parsed::UseDefault));
    }
}
