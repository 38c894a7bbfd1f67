//! Settings as they are shown: in `show-servers`, and in the messages about a change. No secret gets here unhidden.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::registry::{self, OptionDef, Secret};
use super::server::ServerConfig;
use super::value::Value;

/// What stands where a secret was.
const HIDDEN: &str = "*REDACTED*";

impl ServerConfig {
    /// Every option with its value, the name of the server, whether it is a passive node, and its active model: what
    /// `show-servers` tells without asking the server.
    #[must_use]
    pub fn shown(&self) -> Map<String, Json> {
        let mut members: Map<String, Json> = registry::SERVER_OPTIONS
            .iter()
            .zip(&self.values)
            .map(|(option, value)| (option.name.to_owned(), shown(option, value)))
            .collect();
        members.insert("name".to_owned(), json!(self.name));
        members.insert("passive_node".to_owned(), json!(self.is_passive()));
        members.insert("active_model".to_owned(), json!(self.active_model));
        members
    }
}

/// The value of an option as JSON has it. What JSON has no type for is the text that the console shows.
#[must_use]
pub fn shown(option: &OptionDef, value: &Value) -> Json {
    match value {
        Value::Unset => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(number),
        Value::Size(bytes) => json!(bytes),
        Value::Text(text) => json!(without_secrets(option, text)),
        Value::Interval(interval) => json!(interval_text(*interval)),
        Value::Level(super::types::CompressionLevel::Number(level)) => json!(level),
        Value::Level(level) => json!(level.to_string()),
        Value::Words(words) => json!(set_text(option.name, words)),
        Value::List(items) => json!(items),
        Value::Rules(rules) => json!(rules),
    }
}

/// The text of an option with what must not be seen left out.
#[must_use]
pub fn without_secrets<'a>(option: &OptionDef, text: &'a str) -> Cow<'a, str> {
    match option.secret() {
        Secret::Nothing => Cow::Borrowed(text),
        Secret::Conninfo => conninfo(text),
        Secret::All if text.is_empty() || text.starts_with("file://") => Cow::Borrowed(text),
        Secret::All => Cow::Borrowed(HIDDEN),
    }
}

/// A connection string without its secrets; exactly as written if it has none.
#[must_use]
pub fn conninfo(text: &str) -> Cow<'_, str> {
    let harmless = match barman_pg::ConnInfo::parse(text) {
        Ok(info) => info
            .iter()
            .all(|(keyword, _)| !barman_pg::ConnInfo::is_secret(keyword)),
        // A string that does not parse cannot be hidden word by word.
        Err(_) => !text.to_lowercase().contains("pass") && !text.contains("://"),
    };
    if harmless {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(barman_pg::conninfo::redact(text))
    }
}

/// `1 day, 12:00:00`, `0:00:00`.
fn interval_text(interval: Duration) -> String {
    let seconds = interval.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => time,
        1 => format!("1 day, {time}"),
        _ => format!("{days} days, {time}"),
    }
}

/// `BackupOptions({'concurrent_backup'})`, `RecoveryOptions()`.
fn set_text(option: &str, words: &[&str]) -> String {
    let name = if option == "recovery_options" {
        "RecoveryOptions"
    } else {
        "BackupOptions"
    };
    if words.is_empty() {
        return format!("{name}()");
    }
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("{name}({{{}}})", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::CompressionLevel;

    fn of(option: &str, value: &Value) -> Json {
        let option = registry::server_option(option).unwrap();
        shown(option, value)
    }

    #[test]
    fn values_as_barman_shows_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        let hours = |hours: u64| Value::Interval(Duration::from_secs(hours * 3600));
        for (option, value, expected) in [
            ("active", Value::Bool(true), json!(true)),
            ("slot_name", Value::Unset, json!(null)),
            ("check_timeout", Value::Int(-1), json!(-1)),
            ("last_backup_minimum_size", Value::Size(5120), json!(5120)),
            ("last_wal_maximum_age", hours(36), json!("1 day, 12:00:00")),
            ("last_wal_maximum_age", hours(168), json!("7 days, 0:00:00")),
            ("last_wal_maximum_age", hours(0), json!("0:00:00")),
            ("last_wal_maximum_age", hours(12), json!("12:00:00")),
            (
                "compression_level",
                Value::Level(CompressionLevel::Medium),
                json!("medium"),
            ),
            (
                "compression_level",
                Value::Level(CompressionLevel::Number(7)),
                json!(7),
            ),
            ("backup_options", Value::Words(vec![]), json!("BackupOptions()")),
            (
                "recovery_options",
                Value::Words(vec!["get-wal"]),
                json!("RecoveryOptions({'get-wal'})"),
            ),
            (
                "snapshot_disks",
                Value::List(vec!["a".into(), " b".into()]),
                json!(["a", " b"]),
            ),
            ("description", text("password=x"), json!("password=x")),
            ("conninfo", text("host=h  user=u"), json!("host=h  user=u")),
            ("conninfo", text("foo"), json!("foo")),
            (
                "conninfo",
                text("host=h password=x user=u"),
                json!("host=h password=*REDACTED* user=u"),
            ),
            (
                "primary_conninfo",
                text("password='x y'"),
                json!("password=*REDACTED*"),
            ),
            ("aws_sse_customer_key", text("file:///k"), json!("file:///k")),
            ("aws_sse_customer_key", text("c2VjcmV0"), json!("*REDACTED*")),
        ] {
            assert_eq!(of(option, &value), expected, "{option}");
        }
        for odd in ["password='x", "postgresql://u:secret@h:port/"] {
            let shown = of("conninfo", &text(odd)).to_string();
            assert!(!shown.contains("secret") && !shown.contains("'x"), "{shown}");
        }
    }
}
