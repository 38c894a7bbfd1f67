//! The protocol of `pg-backup-api` as types: what is asked, what is answered. Both sides can use them; nothing here
//! touches a network.
//!
//! Requests are written in the spelling of Python's `json.dumps`, which is what the service has always been sent.
//! Answers are read leniently where the protocol is lenient (the HTTP status and the content type say nothing about a
//! body) and strictly otherwise.
//!
//! ```
//! use patroni_barman::protocol::{NewOperation, OperationStatus, read_created, read_status};
//!
//! let body = NewOperation::Reset.to_json();
//! assert_eq!(body, r#"{"type": "config_switch", "reset": true}"#);
//! assert_eq!(read_created(br#"{"operation_id":"20261121T050225"}"#).unwrap(), "20261121T050225");
//! let answer = br#"{"operation_id":"20261121T050225","status":"IN_PROGRESS"}"#;
//! assert_eq!(read_status(answer).unwrap(), OperationStatus::InProgress);
//! ```

use std::io;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;
use thiserror::Error;

/// What the service is asked to do for a server.
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
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter);
        // Strings and booleans written to memory: nothing can fail.
        let _ = self.serialize(&mut serializer);
        String::from_utf8(bytes).unwrap_or_default()
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

/// State of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperationStatus {
    /// Its worker has not ended, as far as the service knows.
    InProgress,
    /// It failed. Why is told by the service's host only.
    Failed,
    /// It succeeded.
    Done,
}

/// The answer to a request that created an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// `YYYYMMDDTHHMMSS`.
    pub operation_id: String,
}

/// The answer to a question for one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// As asked for.
    pub operation_id: String,
    /// Its state.
    pub status: OperationStatus,
}

/// The answer to a question for all operations of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationList {
    /// In no order.
    pub operations: Vec<ListedOperation>,
}

/// One of [`OperationList::operations`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOperation {
    /// `YYYYMMDDTHHMMSS`.
    pub id: String,
    /// `recovery`, `config_switch`, `config_update`, or nothing if its file does not say.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The answer with HTTP status 404.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotFound {
    /// `404 Not Found: <reason>`.
    pub error: String,
}

/// Why a body is not the answer that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A JSON object that lacks what it should have. Worth another try: the service may have been caught in the middle
    /// of something.
    #[error("{0}")]
    Malformed(String),
    /// Not JSON, or JSON of another kind.
    #[error("{0}")]
    Nonsense(String),
}

fn json(body: &[u8]) -> Result<Value, Unfit> {
    let text = std::str::from_utf8(body).map_err(|_| Unfit::Nonsense("it is not UTF-8".to_owned()))?;
    serde_json::from_str(text).map_err(|error| Unfit::Nonsense(format!("it is not JSON ({error})")))
}

/// The value of `key` in a JSON object.
fn member(body: &[u8], key: &str) -> Result<Value, Unfit> {
    match json(body)? {
        Value::Object(mut map) => map
            .remove(key)
            .ok_or_else(|| Unfit::Malformed(format!("it has no key \"{key}\""))),
        other => Err(Unfit::Nonsense(format!(
            "it is {} instead of a JSON object",
            kind(&other)
        ))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a JSON boolean",
        Value::Number(_) => "a JSON number",
        Value::String(_) => "a JSON string",
        Value::Array(_) => "a JSON list",
        Value::Object(_) => "a JSON object",
    }
}

/// Whether the answer to `GET status` is the JSON string `"OK"`, whatever the HTTP status. Otherwise its text.
///
/// # Errors
/// [`Unfit::Nonsense`]: it is not JSON.
pub fn read_health(body: &[u8]) -> Result<Result<(), String>, Unfit> {
    Ok(match json(body)? {
        Value::String(text) if text == "OK" => Ok(()),
        other => Err(other.to_string()),
    })
}

/// The id of a created operation. A number, `null` or a boolean is taken in Python's spelling, as it always was.
///
/// # Errors
/// [`Unfit::Malformed`]: no `operation_id`, or one that is a list or an object. [`Unfit::Nonsense`]: no JSON object.
pub fn read_created(body: &[u8]) -> Result<String, Unfit> {
    Ok(match member(body, "operation_id")? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other @ (Value::Array(_) | Value::Object(_)) => {
            return Err(Unfit::Malformed(format!(
                "its \"operation_id\" is {}",
                kind(&other)
            )));
        }
    })
}

/// The state of an operation.
///
/// # Errors
/// [`Unfit::Malformed`]: no `status`, or none of the three words. [`Unfit::Nonsense`]: no JSON object.
pub fn read_status(body: &[u8]) -> Result<OperationStatus, Unfit> {
    let value = member(body, "status")?;
    match value.as_str() {
        Some("IN_PROGRESS") => Ok(OperationStatus::InProgress),
        Some("FAILED") => Ok(OperationStatus::Failed),
        Some("DONE") => Ok(OperationStatus::Done),
        _ => Err(Unfit::Malformed(format!(
            "its \"status\" is {}",
            excerpt(value.to_string().as_bytes())
        ))),
    }
}

/// The reason in a body with HTTP status 404, if it is one of the service's own.
pub fn read_not_found(body: &[u8]) -> Option<String> {
    let answer: NotFound = serde_json::from_slice(body).ok()?;
    let reason = answer.error.strip_prefix("404 Not Found: ").map(str::to_owned);
    Some(reason.unwrap_or(answer.error))
}

/// Most characters of a foreign text that are shown.
const EXCERPT: usize = 200;

/// The begin of a foreign text in one line: markup and control characters are blanks, and runs of blanks are one.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(16 * EXCERPT)).unwrap_or_default());
    let mut shown = String::new();
    let (mut count, mut in_tag, mut blank) = (0, false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '<' if characters
                .peek()
                .is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!')) =>
            {
                in_tag = true;
            }
            '>' if in_tag => in_tag = false,
            _ if in_tag => continue,
            character if !character.is_whitespace() && !character.is_control() => {
                if blank && !shown.is_empty() {
                    shown.push(' ');
                }
                blank = false;
                shown.push(character);
                count += 1;
                if count == EXCERPT {
                    shown.push('…');
                    return shown;
                }
                continue;
            }
            _ => {}
        }
        blank = true;
    }
    shown
}

/// `json.dumps` of Python with its defaults.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            let mut units = [0; 2];
            // Python escapes DEL too.
            if character.is_ascii() && character != '\u{7f}' {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
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
        }
    }

    #[test]
    fn answers() {
        let malformed = |why: &str| Err(Unfit::Malformed(why.to_owned()));
        let table = [
            (r#"{"operation_id":"x","operation_id":"y"}"#, Ok("y".to_owned())),
            (r#"{"operation_id":7}"#, Ok("7".to_owned())),
            (r#"{"operation_id":null}"#, Ok("None".to_owned())),
            (r#"{"operation_id":true}"#, Ok("True".to_owned())),
            (
                r#"{"operation_id":[]}"#,
                malformed("its \"operation_id\" is a JSON list"),
            ),
            (r#"{"error":"404"}"#, malformed("it has no key \"operation_id\"")),
            (
                "[1]",
                Err(Unfit::Nonsense(
                    "it is a JSON list instead of a JSON object".to_owned(),
                )),
            ),
        ];
        for (body, expected) in table {
            assert_eq!(read_created(body.as_bytes()), expected, "{body}");
        }
        for body in ["", "OK", "<html>", "{", "{}x", "\"\\ud800\""] {
            assert!(
                matches!(read_created(body.as_bytes()), Err(Unfit::Nonsense(_))),
                "{body}"
            );
        }
        assert!(matches!(read_status(b"\xff"), Err(Unfit::Nonsense(_))));
        for (body, word) in [
            (r#"{"status":"DONE"}"#, Some(OperationStatus::Done)),
            (r#" {"status":"FAILED"} "#, Some(OperationStatus::Failed)),
            (r#"{"status":"done"}"#, None),
            (r#"{"status":null}"#, None),
            (r#"{"status":[]}"#, None),
            (r#"{}"#, None),
        ] {
            let got = read_status(body.as_bytes());
            match word {
                Some(word) => assert_eq!(got, Ok(word), "{body}"),
                None => assert!(matches!(got, Err(Unfit::Malformed(_))), "{body}"),
            }
        }
        assert_eq!(read_health(b" \"OK\"\n"), Ok(Ok(())));
        assert_eq!(read_health(b"\"NO\""), Ok(Err("\"NO\"".to_owned())));
        assert!(read_health(b"OK").is_err());
    }

    #[test]
    fn the_types_are_those_of_the_wire() {
        let operation: Operation =
            serde_json::from_str(r#"{"operation_id":"a","status":"IN_PROGRESS"}"#).unwrap();
        assert_eq!(operation.status, OperationStatus::InProgress);
        let list: OperationList =
            serde_json::from_str(r#"{"operations":[{"id":"a","type":"recovery"},{"id":"b","type":null}]}"#)
                .unwrap();
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"{"operations":[{"id":"a","type":"recovery"},{"id":"b","type":null}]}"#
        );
        assert_eq!(
            read_not_found(br#"{"error":"404 Not Found: Server 'x' does not exist"}"#).unwrap(),
            "Server 'x' does not exist"
        );
    }

    #[test]
    fn foreign_texts_are_short_and_in_one_line() {
        assert_eq!(
            excerpt(b"<!doctype html>\n<h1>Bad\tRequest</h1>\r\n<p>no \x1b[31m body</p>"),
            "Bad Request no [31m body"
        );
        assert_eq!(excerpt(&[b'x'; 5000]).chars().count(), EXCERPT + 1);
        assert_eq!(excerpt(b"a < b"), "a < b");
        assert_eq!(excerpt(b""), "");
    }
}
