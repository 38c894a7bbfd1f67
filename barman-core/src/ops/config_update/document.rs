//! The argument of `config-update`: a list of JSON objects, each with options for one section.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::error::{ConfigUpdateError, Refusal};
use super::queue::{Change, ChangeSet};
use crate::config::parse;
use crate::config::registry::{self, DefaultValue, Kind, OptionDef};
use crate::config::{Config, parse_retention_policy, python, shown};

/// One object, its members in the order of the text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Document(pub serde_json::Map<String, Value>);

impl fmt::Display for Document {
    /// As Barman shows it, without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden: Vec<(&str, Value)> = self
            .0
            .iter()
            .map(|(key, value)| {
                let shown = match (registry::server_option(key), value) {
                    (Some(def), Value::String(text)) => {
                        Value::String(shown::without_secrets(def, text).into_owned())
                    }
                    _ => value.clone(),
                };
                (key.as_str(), shown)
            })
            .collect();
        f.write_str(&python::map(hidden.iter().map(|(key, value)| (*key, value))))
    }
}

/// Parses the argument.
///
/// # Errors
/// It is not JSON.
pub fn parse(json: &str) -> Result<Value, ConfigUpdateError> {
    serde_json::from_str(json).map_err(|error| ConfigUpdateError::Json(error.to_string()))
}

/// The documents of the argument.
///
/// # Errors
/// It is not a list of objects. An empty object counts as an empty list.
pub fn list(value: &Value) -> Result<Vec<Document>, ConfigUpdateError> {
    if value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(Vec::new());
    }
    Vec::deserialize(value).map_err(|error| ConfigUpdateError::NotDocuments(error.to_string()))
}

/// Whether a section is that of a server or of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Server,
    Model,
}

impl Scope {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Model => "model",
        }
    }
}

/// Checks a document against the configuration as it is, and decides what it changes. `made` are models that the
/// documents before it make. The target files are not decided yet.
///
/// # Errors
/// What is wrong with it.
pub fn examine(document: &Document, config: &Config, made: &mut Vec<String>) -> Result<ChangeSet, Refusal> {
    let invalid = |reason: String| Refusal::Section {
        document: document.to_string(),
        reason,
    };
    let text = |key: &str| document.0.get(key);
    let scope = match text("scope") {
        Some(Value::String(word)) if word == "server" => Scope::Server,
        Some(Value::String(word)) if word == "model" => Scope::Model,
        other => {
            let shown = other.map_or_else(|| "None".to_owned(), python::text);
            return Err(invalid(format!(
                "'scope' is invalid: '{shown}'. It should be either 'server' or 'model'."
            )));
        }
    };
    let key = format!("{}_name", scope.word());
    let name = match text(&key) {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Null) | None => return Err(invalid(format!("'{key}' is missing."))),
        Some(_) => return Err(invalid(format!("'{key}' is not a text."))),
    };
    check_name(name).map_err(|reason| invalid(format!("'{key}' {reason}.")))?;
    let is_model = config.model(name).is_some() || made.iter().any(|model| model == name);
    match scope {
        Scope::Server if is_model => {
            return Err(invalid(format!("'{name}' is a model, not a server.")));
        }
        Scope::Model if config.server(name).is_some() => {
            return Err(invalid(format!("'{name}' is a server, not a model.")));
        }
        _ => {}
    }
    let mut changes = Vec::new();
    for (option, value) in &document.0 {
        if *option == "scope" || *option == key {
            continue;
        }
        let text = check_option(scope, name, option, value)?;
        changes.push(Change::new(option, text));
    }
    if scope == Scope::Model && !is_model {
        if text("cluster").is_none() {
            return Err(invalid("new model but 'cluster' is missing.".to_owned()));
        }
        if text("model").is_none() {
            changes.push(Change::new("model", "on"));
        }
        made.push(name.to_owned());
    }
    Ok(ChangeSet {
        section: name.to_owned(),
        changes,
    })
}

/// What may stand between brackets, and is not the name of something else.
fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "all" | "barman" | "DEFAULT" => Err("is a reserved word"),
        _ if name.chars().any(char::is_control) => Err("contains a line end or another control character"),
        _ if name.trim() != name => Err("begins or ends with a blank"),
        _ => Ok(()),
    }
}

/// The value as it will be written.
fn check_option<'a>(scope: Scope, name: &str, option: &str, value: &'a Value) -> Result<&'a str, Refusal> {
    let def = registry::server_option(option).filter(|def| match scope {
        Scope::Server => def.scope.server,
        Scope::Model => def.scope.model,
    });
    let is_mark = scope == Scope::Model && option == "model";
    if def.is_none() && !is_mark {
        return Err(Refusal::Option {
            option: option.to_owned(),
            scope: scope.word(),
            name: name.to_owned(),
        });
    }
    let failed = |reason: String| Refusal::Value {
        scope: scope.word(),
        name: name.to_owned(),
        option: option.to_owned(),
        reason,
    };
    let Value::String(text) = value else {
        return Err(failed(format!(
            "expected a text in quotes, got {}",
            python::literal(value)
        )));
    };
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(failed(
            "line ends and other control characters cannot be written".to_owned(),
        ));
    }
    if text.contains('%') {
        return Err(failed(
            "a value with '%' has to be written into the file by hand".to_owned(),
        ));
    }
    match def {
        Some(def) => check_value(def, text).map_err(failed)?,
        None => match parse::boolean(text) {
            Some(true) => {}
            Some(false) => return Err(failed("a model stays a model".to_owned())),
            None => return Err(failed("not a boolean".to_owned())),
        },
    }
    Ok(text)
}

/// Everything that would make the value be ignored once it is read.
fn check_value(def: &OptionDef, text: &str) -> Result<(), String> {
    let value = crate::config::ini::unquote(text);
    parse::parse(def.kind, value, def.default != DefaultValue::Unset)?;
    if value.is_empty() {
        return match def.kind {
            Kind::Directory | Kind::Place => Err("a directory cannot be empty".to_owned()),
            _ => Ok(()),
        };
    }
    match def.name {
        "minimum_redundancy" if parse::integer(value).is_none_or(|number| number < 0) => {
            Err(format!("not a number of backups: '{value}'"))
        }
        "bandwidth_limit" if parse::integer(value).is_none_or(|number| number < 0) => {
            Err(format!("not a number of kB/s: '{value}'"))
        }
        "tablespace_bandwidth_limit" => match value
            .split_whitespace()
            .find(|rule| parse::bandwidth_rule(rule).is_none())
        {
            Some(rule) => Err(format!(
                "'{rule}' is no rule: each must be <tablespace>:<kB/s>, with blanks between them"
            )),
            None => Ok(()),
        },
        "retention_policy" if parse_retention_policy(value).is_none() => Err(format!(
            "Invalid value: '{value}' (must be REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS)"
        )),
        "retention_policy_mode" if value != "auto" => Err("the only mode is auto".to_owned()),
        "wal_retention_policy" if value != "main" => Err("the only policy is main".to_owned()),
        _ => Ok(()),
    }
}
