//! One server option after the other: its section, then `[barman]`, then the default.

use std::path::PathBuf;

use super::error::ConfigWarning;
use super::files::{MergedEntry, MergedSection};
use super::ini::unquote;
use super::interpolation;
use super::parse::{self, Parsed};
use super::registry::{self, DefaultValue, OptionDef, SERVER_OPTIONS};
use super::types::CompressionLevel;
use super::value::Value;

/// What one section says about one option.
#[derive(Debug, Clone)]
enum Said {
    Nothing,
    Parsed(Parsed),
    /// Not valid: the warning that everybody who looks at it gets.
    Bad(ConfigWarning),
}

/// A section, parsed once: for each option of the table what it says.
#[derive(Debug, Clone)]
pub(super) struct ParsedSection {
    said: Vec<Said>,
}

/// The second pass of interpolation: references to the merged section.
pub(super) fn text_of(section: &MergedSection, home: &str, raw: &str) -> String {
    let lookup = |key: &str| {
        section.raw(key).map(str::to_owned).or_else(|| match key {
            "name" => Some(section.name.clone()),
            "barman_home" => Some(home.to_owned()),
            _ => None,
        })
    };
    unquote(&interpolation::expand_again(raw, &lookup)).to_owned()
}

impl ParsedSection {
    /// Parses what `wanted` options a section sets. `unknown` gets every key that is none of them.
    pub fn new(
        section: &MergedSection,
        home: &str,
        files: &[PathBuf],
        wanted: impl Fn(&OptionDef) -> bool,
        mut unknown: impl FnMut(&MergedEntry),
    ) -> Self {
        let mut said = vec![Said::Nothing; SERVER_OPTIONS.len()];
        for entry in &section.entries {
            let option =
                registry::position(&entry.key).and_then(|at| SERVER_OPTIONS.get(at).map(|def| (at, def)));
            let Some((at, def)) = option.filter(|(_, def)| wanted(def)) else {
                unknown(entry);
                continue;
            };
            let Ok(raw) = &entry.value else { continue };
            let text = text_of(section, home, raw);
            let outcome = match parse::parse(def.kind, &text, def.default != DefaultValue::Unset) {
                Ok(parsed) => Said::Parsed(parsed),
                Err(reason) => {
                    let warning = ConfigWarning::new(format!(
                        "Ignoring invalid configuration value '{text}' for key {} in [{}] section: {reason}",
                        def.name, section.name
                    ));
                    let place = entry.place(files);
                    Said::Bad(warning.with_hint(match parse::right(def.kind) {
                        Some(right) => format!("{place}: {right}"),
                        None => place,
                    }))
                }
            };
            if let Some(slot) = said.get_mut(at) {
                *slot = outcome;
            }
        }
        Self { said }
    }

    /// A section that says nothing.
    pub fn empty() -> Self {
        Self {
            said: vec![Said::Nothing; SERVER_OPTIONS.len()],
        }
    }

    /// The options that this section sets to a value, for models.
    pub fn overrides(&self, warnings: &mut Vec<ConfigWarning>) -> Vec<(usize, Value)> {
        let mut found = Vec::new();
        for (at, said) in self.said.iter().enumerate() {
            match said {
                Said::Parsed(Parsed::Value(value)) => found.push((at, value.clone())),
                Said::Bad(warning) => warnings.push(warning.clone()),
                Said::Nothing | Said::Parsed(Parsed::Off | Parsed::UseDefault) => {}
            }
        }
        found
    }
}

/// The defaults that are the same for every server, parsed.
pub(super) fn fixed_defaults() -> Vec<Value> {
    SERVER_OPTIONS
        .iter()
        .map(|def| match def.default {
            DefaultValue::Fixed(text) => match parse::parse(def.kind, text, false) {
                Ok(Parsed::Value(value)) => value,
                _ => Value::Unset,
            },
            DefaultValue::Unset | DefaultValue::Template(_) => Value::Unset,
        })
        .collect()
}

/// Resolves every option of a server.
pub(super) fn server_values(
    name: &str,
    home: &str,
    own: &ParsedSection,
    global: &ParsedSection,
    defaults: &[Value],
    warnings: &mut Vec<ConfigWarning>,
) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::with_capacity(SERVER_OPTIONS.len());
    for (at, def) in SERVER_OPTIONS.iter().enumerate() {
        // `disabled` is computed; a server section may name it, in vain.
        let own = if def.name == "disabled" {
            None
        } else {
            own.said.get(at)
        };
        let global = if def.scope.global {
            global.said.get(at)
        } else {
            None
        };
        let mut outcome = None;
        for said in [own, global].into_iter().flatten() {
            match said {
                Said::Nothing => {}
                Said::Bad(warning) => warnings.push(warning.clone()),
                Said::Parsed(parsed) => {
                    outcome = Some(parsed);
                    break;
                }
            }
        }
        let value = match outcome {
            Some(Parsed::Value(value)) => value.clone(),
            Some(Parsed::Off) => Value::Unset,
            Some(Parsed::UseDefault) | None => match def.default {
                DefaultValue::Template(template) => expand_template(template, name, home, &values),
                DefaultValue::Fixed(_) | DefaultValue::Unset => defaults.get(at).cloned().unwrap_or_default(),
            },
        };
        values.push(value);
    }
    // "No encryption" is a value that overrides [barman], and then it is the same as nothing.
    if let Some(value) = registry::position("encryption").and_then(|at| values.get_mut(at))
        && value.text() == Some("none")
    {
        *value = Value::Unset;
    }
    values
}

/// A default built from earlier values; unset if one of them is.
fn expand_template(template: &str, name: &str, home: &str, values: &[Value]) -> Value {
    let Some((before, rest)) = template.split_once("%(") else {
        return Value::Text(template.to_owned());
    };
    let Some((key, after)) = rest.split_once(")s") else {
        return Value::Unset;
    };
    let text = match key {
        "name" => Some(name),
        "barman_home" => Some(home),
        option => registry::position(option)
            .and_then(|at| values.get(at))
            .and_then(Value::text),
    };
    let Some(text) = text else { return Value::Unset };
    match expand_template(after, name, home, values) {
        Value::Text(after) => Value::Text(format!("{before}{text}{after}")),
        _ => Value::Unset,
    }
}

/// Typed reading of a resolved list of values.
pub(super) struct Values<'a>(pub &'a [Value]);

impl Values<'_> {
    pub fn get(&self, option: &str) -> &Value {
        registry::position(option)
            .and_then(|at| self.0.get(at))
            .unwrap_or(&Value::Unset)
    }

    pub fn text(&self, option: &str) -> Option<String> {
        self.get(option).text().map(str::to_owned)
    }

    pub fn word<T>(&self, option: &str, from: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.get(option).text().and_then(from)
    }

    pub fn flag(&self, option: &str) -> bool {
        matches!(self.get(option), Value::Bool(true))
    }

    pub fn int(&self, option: &str) -> Option<i64> {
        match self.get(option) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A count; negative counts as 0.
    pub fn count(&self, option: &str) -> Option<u64> {
        self.int(option).map(|number| u64::try_from(number).unwrap_or(0))
    }

    /// The same in 32 bits.
    pub fn small(&self, option: &str) -> Option<u32> {
        self.count(option)
            .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Seconds; negative counts as 0.
    pub fn seconds(&self, option: &str) -> std::time::Duration {
        std::time::Duration::from_secs(self.count(option).unwrap_or(0))
    }

    pub fn interval(&self, option: &str) -> Option<std::time::Duration> {
        match self.get(option) {
            Value::Interval(interval) => Some(*interval),
            _ => None,
        }
    }

    pub fn size(&self, option: &str) -> Option<u64> {
        match self.get(option) {
            Value::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    pub fn has_word(&self, option: &str, word: &str) -> bool {
        matches!(self.get(option), Value::Words(words) if words.contains(&word))
    }

    pub fn level(&self, option: &str) -> CompressionLevel {
        match self.get(option) {
            Value::Level(level) => *level,
            _ => CompressionLevel::Medium,
        }
    }
}

/// Sets one option in a list of values.
pub(super) fn set(values: &mut [Value], option: &str, value: Value) {
    if let Some(slot) = registry::position(option).and_then(|at| values.get_mut(at)) {
        *slot = value;
    }
}
