//! Models: named sets of overrides for the servers of a cluster.

use std::path::PathBuf;

use super::error::ConfigWarning;
use super::files::{MergedEntry, MergedSection};
use super::parse;
use super::registry;
use super::resolve::{self, ParsedSection};
use super::value::Value;

/// A model section.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Section name.
    pub name: String,
    /// `cluster`; it applies to servers with the same.
    pub cluster: Option<String>,
    /// Index in [`registry::SERVER_OPTIONS`] and value of each option that it overrides.
    pub(super) overrides: Vec<(usize, Value)>,
}

impl ModelConfig {
    /// The options that the model overrides, sorted by name.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.overrides.iter().filter_map(|(at, value)| {
            registry::SERVER_OPTIONS
                .get(*at)
                .map(|option| (option.name, value))
        })
    }
}

/// What a section is.
pub(super) enum Class {
    Model,
    /// A server; the message says that `model` cannot be understood.
    Server(Option<String>),
}

/// A section whose `model` is true is a model. The value is taken as written: quotes are no boolean.
pub(super) fn classify(section: &MergedSection, files: &[PathBuf]) -> Class {
    match section.raw("model") {
        None => Class::Server(None),
        Some(raw) => match parse::boolean(raw) {
            Some(true) => Class::Model,
            Some(false) => Class::Server(None),
            None => Class::Server(Some(format!(
                "Invalid value '{raw}' for key model in [{}] section: not a boolean, {}",
                section.name,
                section.place("model", files).unwrap_or_default()
            ))),
        },
    }
}

/// An option that there is not, or not in such a section (`barman`, `server`, `model`).
pub(super) fn unknown_option(
    section: &str,
    entry: &MergedEntry,
    files: &[PathBuf],
    place: &str,
) -> ConfigWarning {
    let key = &entry.key;
    let warning = ConfigWarning::new(format!(
        "Invalid configuration option \"{key}\" in [{section}] section."
    ));
    let at = entry.place(files);
    warning.with_hint(match registry::hint(key, place) {
        Some(hint) => format!("{at}: {hint}"),
        None => at,
    })
}

/// Builds a model; one without `cluster` is reported and left out.
pub(super) fn build(
    section: &MergedSection,
    home: &str,
    files: &[PathBuf],
    warnings: &mut Vec<ConfigWarning>,
) -> Option<ModelConfig> {
    let name = &section.name;
    if !section.entries.iter().any(|entry| entry.key == "cluster") {
        let error = ConfigWarning::error(format!("Parameter \"cluster\" is required in [{name}] section."));
        warnings.push(match section.place("model", files) {
            Some(place) => error.with_hint(format!(
                "{place}: a model needs the 'cluster' of the servers that it is for"
            )),
            None => error,
        });
        return None;
    }
    let parsed = ParsedSection::new(
        section,
        home,
        files,
        |option| option.scope.model,
        |entry| {
            if entry.key != "model" {
                warnings.push(unknown_option(name, entry, files, "model"));
            }
        },
    );
    let mut overrides = parsed.overrides(warnings);
    for error in section
        .entries
        .iter()
        .filter_map(|entry| entry.value.as_ref().err())
    {
        warnings.push(ConfigWarning::error(error.to_string()));
    }
    overrides.retain(|(at, _)| {
        registry::SERVER_OPTIONS
            .get(*at)
            .is_some_and(|option| option.name != "cluster")
    });
    let cluster = section
        .raw("cluster")
        .map(|raw| resolve::text_of(section, home, raw))
        .filter(|c| !c.is_empty());
    Some(ModelConfig {
        name: name.clone(),
        cluster,
        overrides,
    })
}
