//! What the service is asked to do: written as Patroni's program always has, read as the service does.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Style, excerpt, kind, written};

/// What the service is asked to do for a server (`POST /servers/<server>/operations`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewOperation {
    /// Restore a backup onto another host.
    Recovery {
        /// A backup id, or `latest`, `last`, `oldest`, `first`, `last-failed`.
        backup_id: String,
        /// How the Barman host reaches the destination.
        remote_ssh_command: String,
        /// The data directory there.
        destination_directory: String,
    },
    /// Apply a configuration model.
    Model(String),
    /// Take the active model back.
    Reset,
}

impl NewOperation {
    /// The body of the request: keys in their usual order, `", "` and `": "` between them, ASCII only.
    pub fn to_json(&self) -> String {
        written(self, Style::Default)
    }

    /// Reads the body of a request ([`read_body`]). Keys that the service does not know are passed over, an operation
    /// without a type is a recovery.
    ///
    /// The original looks whether the backup exists before it misses the other keys of a recovery, answers some of these
    /// faults with HTTP status 500, and takes anything for the directory and the ssh command, though Barman can then not
    /// be run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let object = object(body)?;
        let text = |key| text(object, key);
        match object.get("type") {
            None => {}
            Some(Value::String(kind)) if kind == "recovery" => {}
            Some(Value::String(kind)) if kind == "config_switch" => return Self::read_switch(object),
            Some(other) => return Err(Refusal::kind(other)),
        }
        Ok(Self::Recovery {
            backup_id: text("backup_id")?,
            destination_directory: text("destination_directory")?,
            remote_ssh_command: text("remote_ssh_command")?,
        })
    }

    fn read_switch(object: &Map<String, Value>) -> Result<Self, Refusal> {
        match (object.get("model_name"), object.get("reset")) {
            (Some(Value::String(name)), None) => Ok(Self::Model(name.clone())),
            (None, Some(Value::Bool(true))) => Ok(Self::Reset),
            _ => Err(Refusal::Switch),
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Recovery { .. } => "recovery",
            Self::Model(_) | Self::Reset => "configuration switch",
        }
    }
}

impl Serialize for NewOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Recovery {
                backup_id,
                remote_ssh_command,
                destination_directory,
            } => {
                map.serialize_entry("type", "recovery")?;
                map.serialize_entry("backup_id", backup_id)?;
                map.serialize_entry("remote_ssh_command", remote_ssh_command)?;
                map.serialize_entry("destination_directory", destination_directory)?;
            }
            Self::Model(name) => {
                map.serialize_entry("type", "config_switch")?;
                map.serialize_entry("model_name", name)?;
            }
            Self::Reset => {
                map.serialize_entry("type", "config_switch")?;
                map.serialize_entry("reset", &true)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for NewOperation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::read(&value).map_err(D::Error::custom)
    }
}

/// What the service is asked to do for all servers (`POST /operations`): to change the configuration, as `barman config-update` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigUpdate {
    /// One for each server or model: which one it is, and options with their values.
    pub changes: Vec<Map<String, Value>>,
}

impl ConfigUpdate {
    /// The body of the request, spelled as [`NewOperation::to_json`].
    pub fn to_json(&self) -> String {
        written(self, Style::Default)
    }

    /// Reads the body of a request ([`read_body`]). Its type has no default.
    ///
    /// The original takes anything for the changes, though Barman then refuses them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let object = object(body)?;
        match object.get("type") {
            None => return Err(Refusal::Missing("type")),
            Some(Value::String(kind)) if kind == "config_update" => {}
            Some(other) => return Err(Refusal::kind(other)),
        }
        let Value::Array(items) = object.get("changes").ok_or(Refusal::Missing("changes"))? else {
            return Err(Refusal::Changes);
        };
        let changes = items
            .iter()
            .map(|item| item.as_object().cloned().ok_or(Refusal::Changes));
        Ok(Self {
            changes: changes.collect::<Result<_, _>>()?,
        })
    }
}

impl Serialize for ConfigUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "config_update")?;
        map.serialize_entry("changes", &self.changes)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ConfigUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::read(&value).map_err(D::Error::custom)
    }
}

/// What is wrong with the body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not UTF-8, or not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// JSON that says nothing: `{}`, `[]`, `null`, `false`, `0`, `""`. The service refuses this before it looks whether
    /// the server exists, everything below afterwards.
    #[error("the body says nothing")]
    Empty,
    /// JSON of another kind.
    #[error("the body is {0} instead of a JSON object")]
    NotObject(&'static str),
    /// A type that does not exist, or that has another place.
    #[error("the type {0} is none that can be asked for here")]
    Type(String),
    /// A key is missing.
    #[error("the key \"{0}\" is missing")]
    Missing(&'static str),
    /// A value is no text.
    #[error("the value of \"{0}\" is {1} instead of a JSON string")]
    NotText(&'static str, &'static str),
    /// Not exactly one of a model's name and a reset.
    #[error("a configuration switch needs either \"model_name\", a string, or \"reset\", which must be true")]
    Switch,
    /// The changes are no list of objects.
    #[error("\"changes\" must be a list of JSON objects")]
    Changes,
}

impl Refusal {
    fn kind(value: &Value) -> Self {
        Self::Type(excerpt(value.to_string().as_bytes()))
    }
}

/// The body of a request as JSON. Of keys that occur twice the last one counts.
///
/// # Errors
/// [`Refusal::NotJson`], [`Refusal::Empty`].
pub fn read_body(body: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::NotJson(error.to_string()))?;
    let value: Value = serde_json::from_str(text).map_err(|error| Refusal::NotJson(error.to_string()))?;
    let says_nothing = match &value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    if says_nothing {
        Err(Refusal::Empty)
    } else {
        Ok(value)
    }
}

fn object(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    body.as_object().ok_or_else(|| Refusal::NotObject(kind(body)))
}

fn text(object: &Map<String, Value>, key: &'static str) -> Result<String, Refusal> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(Refusal::NotText(key, kind(other))),
        None => Err(Refusal::Missing(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spelled_as_python_does() {
        let recovery = NewOperation::Recovery {
            backup_id: "latest".to_owned(),
            remote_ssh_command: "ssh \"a\\b\"\t\u{1f}é😀\u{7f}".to_owned(),
            destination_directory: "/x".to_owned(),
        };
        let table = [
            (
                recovery,
                "{\"type\": \"recovery\", \"backup_id\": \"latest\", \"remote_ssh_command\": \"ssh \\\"a\\\\b\\\"\\t\\u001f\\u00e9\\ud83d\\ude00\\u007f\", \"destination_directory\": \"/x\"}",
            ),
            (
                NewOperation::Model("my model".to_owned()),
                r#"{"type": "config_switch", "model_name": "my model"}"#,
            ),
            (NewOperation::Reset, r#"{"type": "config_switch", "reset": true}"#),
        ];
        for (operation, expected) in table {
            assert_eq!(operation.to_json(), expected);
            let read = NewOperation::read(&read_body(expected.as_bytes()).unwrap());
            assert_eq!(read.unwrap(), operation);
        }
    }

    /// The table of answers to POST, `pg-backup-api` 2.2.0, with better codes than 500.
    #[test]
    fn requests_are_read_as_the_service_does() {
        let recovery = |backup_id: &str| {
            Ok(NewOperation::Recovery {
                backup_id: backup_id.to_owned(),
                remote_ssh_command: "ssh".to_owned(),
                destination_directory: "/x".to_owned(),
            })
        };
        let refused = |text: &str| Err(text.to_owned());
        let table: &[(&str, Result<NewOperation, String>)] = &[
            (
                r#"{"backup_id":"a","destination_directory":"/x","remote_ssh_command":"ssh"}"#,
                recovery("a"),
            ),
            (
                r#"{"type":"recovery","backup_id":"a","backup_id":"","target_time":1,"destination_directory":"/x","remote_ssh_command":"ssh"}"#,
                recovery(""),
            ),
            (
                r#" {"type":"config_switch","reset":true,"x":[]} "#,
                Ok(NewOperation::Reset),
            ),
            (
                r#"{"type":"config_switch","model_name":""}"#,
                Ok(NewOperation::Model(String::new())),
            ),
            (
                r#"{"type":"config_switch"}"#,
                refused("a configuration switch needs"),
            ),
            (
                r#"{"type":"config_switch","reset":true,"model_name":null}"#,
                refused("a configuration"),
            ),
            (
                r#"{"type":"config_switch","model_name":null}"#,
                refused("a configuration"),
            ),
            (
                r#"{"type":"config_switch","reset":1}"#,
                refused("a configuration"),
            ),
            (
                r#"{"type":"config_switch","reset":"true"}"#,
                refused("a configuration"),
            ),
            (
                r#"{"type":"config_switch","reset":false}"#,
                refused("a configuration"),
            ),
            (
                r#"{"type":"recovery"}"#,
                refused("the key \"backup_id\" is missing"),
            ),
            (r#"{"x":1}"#, refused("the key \"backup_id\" is missing")),
            (
                r#"{"backup_id":"latest"}"#,
                refused("the key \"destination_directory\" is missing"),
            ),
            (
                r#"{"backup_id":5}"#,
                refused("the value of \"backup_id\" is a JSON number"),
            ),
            (
                r#"{"backup_id":"latest","destination_directory":5,"remote_ssh_command":null}"#,
                refused("the value of \"destination_directory\" is a JSON number"),
            ),
            (r#"{"type":"bogus"}"#, refused("the type \"bogus\" is none")),
            (r#"{"type":null}"#, refused("the type null is none")),
            (
                r#"{"type":"config_update","changes":[]}"#,
                refused("the type \"config_update\" is none"),
            ),
            ("[1]", refused("the body is a JSON list instead")),
            ("5", refused("the body is a JSON number instead")),
            ("\"x\"", refused("the body is a JSON string instead")),
        ];
        for (body, expected) in table {
            let value = read_body(body.as_bytes()).unwrap();
            let got = NewOperation::read(&value);
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, *expected, "{body}"),
                (Err(got), Err(start)) => assert!(got.to_string().starts_with(start), "{body}: {got}"),
                (got, _) => panic!("{body}: {got:?}"),
            }
            // The same by serde alone.
            assert_eq!(
                serde_json::from_str::<NewOperation>(body).ok(),
                expected.as_ref().ok().cloned(),
                "{body}"
            );
        }
        for body in ["{}", "[]", "null", "false", "0", "-0.0", "\"\""] {
            assert_eq!(read_body(body.as_bytes()), Err(Refusal::Empty), "{body}");
        }
        for body in [&b""[..], b"{bad", b"{}x", b"\"\xff\"", b"NaN"] {
            assert!(matches!(read_body(body), Err(Refusal::NotJson(_))), "{body:?}");
        }
    }

    #[test]
    fn changes_of_the_configuration() {
        let body = r#"{"type": "config_update", "changes": [{"archiver": "on", "scope": "server", "server_name": "m\u00e9"}, {}]}"#;
        let update = ConfigUpdate::read(&read_body(body.as_bytes()).unwrap()).unwrap();
        assert_eq!(update.changes[0]["server_name"], "mé");
        assert_eq!(update.to_json(), body);
        assert_eq!(serde_json::from_str::<ConfigUpdate>(body).unwrap(), update);
        for (body, why) in [
            (r#"{"changes":[]}"#, Refusal::Missing("type")),
            (
                r#"{"type":"recovery","changes":[]}"#,
                Refusal::Type("\"recovery\"".to_owned()),
            ),
            (r#"{"type":"config_update"}"#, Refusal::Missing("changes")),
            (r#"{"type":"config_update","changes":"nojson"}"#, Refusal::Changes),
            (r#"{"type":"config_update","changes":[1]}"#, Refusal::Changes),
            ("[1]", Refusal::NotObject("a JSON list")),
        ] {
            let value = read_body(body.as_bytes()).unwrap();
            assert_eq!(ConfigUpdate::read(&value), Err(why), "{body}");
        }
    }
}
