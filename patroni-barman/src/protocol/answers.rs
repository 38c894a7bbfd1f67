//! What the service answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{excerpt, kind};

/// The body of the answer to `GET /status` of a service that is well.
pub const HEALTHY: &str = "\"OK\"";

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
    /// The end of what Barman printed, if the operation has failed and the service tells that: the original does not. At
    /// most some dozen KiB, so that the answer stays below the MiB that clients read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Its state.
    pub status: OperationStatus,
}

/// What an answer tells of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its state.
    pub status: OperationStatus,
    /// [`Operation::output`].
    pub output: Option<String>,
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

/// What stands before the reason.
const NOT_FOUND: &str = "404 Not Found: ";

impl NotFound {
    /// The answer that gives this reason.
    pub fn new(reason: &str) -> Self {
        Self {
            error: format!("{NOT_FOUND}{reason}"),
        }
    }
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

/// An answer that is a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, Unfit> {
    match json(body)? {
        Value::Object(map) => Ok(map),
        other => Err(Unfit::Nonsense(format!(
            "it is {} instead of a JSON object",
            kind(&other)
        ))),
    }
}

fn member(map: &mut Map<String, Value>, key: &str) -> Result<Value, Unfit> {
    map.remove(key)
        .ok_or_else(|| Unfit::Malformed(format!("it has no key \"{key}\"")))
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
    Ok(match member(&mut object(body)?, "operation_id")? {
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

/// The state of an operation. An output that is no text is none.
///
/// # Errors
/// [`Unfit::Malformed`]: no `status`, or none of the three words. [`Unfit::Nonsense`]: no JSON object.
pub fn read_progress(body: &[u8]) -> Result<Progress, Unfit> {
    let mut answer = object(body)?;
    let value = member(&mut answer, "status")?;
    let status = match value.as_str() {
        Some("IN_PROGRESS") => OperationStatus::InProgress,
        Some("FAILED") => OperationStatus::Failed,
        Some("DONE") => OperationStatus::Done,
        _ => {
            return Err(Unfit::Malformed(format!(
                "its \"status\" is {}",
                excerpt(value.to_string().as_bytes())
            )));
        }
    };
    let output = match answer.remove("output") {
        Some(Value::String(output)) => Some(output),
        _ => None,
    };
    Ok(Progress { status, output })
}

/// The reason in a body with HTTP status 404, if it is one of the service's own.
pub fn read_not_found(body: &[u8]) -> Option<String> {
    let answer: NotFound = serde_json::from_slice(body).ok()?;
    let reason = answer.error.strip_prefix(NOT_FOUND).map(str::to_owned);
    Some(reason.unwrap_or(answer.error))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::super::to_body;
    use super::*;

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
        assert!(matches!(read_progress(b"\xff"), Err(Unfit::Nonsense(_))));
        for (body, word) in [
            (r#"{"status":"DONE"}"#, Some(OperationStatus::Done)),
            (r#" {"status":"FAILED"} "#, Some(OperationStatus::Failed)),
            (r#"{"status":"done"}"#, None),
            (r#"{"status":null}"#, None),
            (r#"{"status":[]}"#, None),
            (r#"{}"#, None),
        ] {
            let got = read_progress(body.as_bytes()).map(|progress| progress.status);
            match word {
                Some(word) => assert_eq!(got, Ok(word), "{body}"),
                None => assert!(matches!(got, Err(Unfit::Malformed(_))), "{body}"),
            }
        }
        assert_eq!(read_health(b" \"OK\"\n"), Ok(Ok(())));
        assert_eq!(read_health(b"\"NO\""), Ok(Err("\"NO\"".to_owned())));
        assert!(read_health(b"OK").is_err());
    }

    /// What the service writes is what its clients read, key by key.
    #[test]
    fn the_types_are_those_of_the_wire() {
        fn both<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, text: &str) {
            assert_eq!(to_body(value), format!("{text}\n"));
            assert_eq!(serde_json::from_str::<T>(text).unwrap(), *value);
        }
        let id = || "20261121T050225".to_owned();
        both(
            &Created { operation_id: id() },
            r#"{"operation_id":"20261121T050225"}"#,
        );
        for (status, word) in [
            (OperationStatus::InProgress, "IN_PROGRESS"),
            (OperationStatus::Done, "DONE"),
            (OperationStatus::Failed, "FAILED"),
        ] {
            let text = format!(r#"{{"operation_id":"20261121T050225","status":"{word}"}}"#);
            let operation = Operation {
                operation_id: id(),
                output: None,
                status,
            };
            both(&operation, &text);
            let progress = Progress { status, output: None };
            assert_eq!(read_progress(text.as_bytes()), Ok(progress));
        }
        let failed = Operation {
            operation_id: id(),
            output: Some("ERROR: é\n".to_owned()),
            status: OperationStatus::Failed,
        };
        let text = r#"{"operation_id":"20261121T050225","output":"ERROR: \u00e9\n","status":"FAILED"}"#;
        both(&failed, text);
        assert_eq!(read_progress(text.as_bytes()).unwrap().output, failed.output);
        let odd = br#"{"output":["x"],"status":"FAILED"}"#;
        assert_eq!(read_progress(odd).unwrap().output, None);
        let listed = |id: &str, kind: Option<&str>| ListedOperation {
            id: id.to_owned(),
            kind: kind.map(str::to_owned),
        };
        let list = OperationList {
            operations: vec![listed("a", Some("recovery")), listed("b", None)],
        };
        both(
            &list,
            r#"{"operations":[{"id":"a","type":"recovery"},{"id":"b","type":null}]}"#,
        );
        let not_found = NotFound::new("Server 'x' does not exist");
        both(
            &not_found,
            r#"{"error":"404 Not Found: Server 'x' does not exist"}"#,
        );
        assert_eq!(
            read_not_found(to_body(&not_found).as_bytes()).unwrap(),
            "Server 'x' does not exist"
        );
        assert_eq!(read_health(HEALTHY.as_bytes()), Ok(Ok(())));
    }
}
