//! Merges files section by section, key by key; a later file wins.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::ini::{Entry, Ini};
use super::interpolation::{self, InterpolationError};

/// One section, from all files.
#[derive(Debug, Clone, Default)]
pub(super) struct MergedSection {
    pub name: String,
    /// Index into [`Merged::files`] of the first file that has it.
    pub file: usize,
    pub entries: Vec<MergedEntry>,
}

/// One option, with the file that set it last.
#[derive(Debug, Clone)]
pub(super) struct MergedEntry {
    pub key: String,
    /// Raw value after the first pass of interpolation.
    pub value: Result<String, InterpolationError>,
    /// Index into [`Merged::files`].
    pub file: usize,
    /// Line of the key in that file, from 1.
    pub line: usize,
}

impl MergedEntry {
    /// `in '/etc/barman.conf', line 12`
    pub fn place(&self, files: &[PathBuf]) -> String {
        let file = files.get(self.file).map_or(Path::new("?"), PathBuf::as_path);
        place(file, self.line)
    }
}

fn place(file: &Path, line: usize) -> String {
    format!("in '{}', line {line}", file.display())
}

impl MergedSection {
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .and_then(|entry| entry.value.as_deref().ok())
    }

    /// Where an option is set, if it is.
    pub fn place(&self, key: &str, files: &[PathBuf]) -> Option<String> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(entry.place(files))
    }

    /// Pairs of key and value, in order.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.entries
            .iter()
            .filter_map(|e| Some((e.key.clone(), e.value.clone().ok()?)))
            .collect()
    }
}

/// All files.
#[derive(Debug, Clone, Default)]
pub(super) struct Merged {
    pub files: Vec<PathBuf>,
    /// Files that are there and could not be read, for a reason that may pass.
    pub unread: Vec<PathBuf>,
    pub sections: Vec<MergedSection>,
}

impl Merged {
    pub fn section(&self, name: &str) -> Option<&MergedSection> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Adds a parsed file. A bad `%` is an error in `[barman]`, and kept with the option elsewhere.
    ///
    /// A value may refer to options of its own section and file, to `[DEFAULT]` of the file, and, what Barman does not
    /// have, to `name` and `barman_home`.
    pub fn add(&mut self, path: &Path, ini: &Ini) -> Result<(), ConfigError> {
        let file = self.files.len();
        self.files.push(path.to_owned());
        // [barman] first: the others may refer to barman_home.
        let (first, rest): (Vec<_>, Vec<_>) = (0..ini.sections.len()).partition(|index| {
            ini.sections
                .get(*index)
                .is_some_and(|section| section.name == "barman")
        });
        // Sections must appear in the order of the files whatever is expanded first.
        for section in &ini.sections {
            if self.section(&section.name).is_none() {
                self.sections.push(MergedSection {
                    name: section.name.clone(),
                    file,
                    entries: Vec::new(),
                });
            }
        }
        for index in first.into_iter().chain(rest) {
            let Some(section) = ini.sections.get(index) else {
                continue;
            };
            let home = self
                .section("barman")
                .and_then(|barman| barman.raw("barman_home"))
                .map(str::to_owned);
            let entries = expand_section(
                &section.name,
                &section.entries,
                &ini.defaults,
                home.as_deref(),
                (file, path),
            );
            if section.name == "barman"
                && let Some(error) = entries.iter().find_map(|entry| entry.value.as_ref().err())
            {
                return Err(ConfigError::Interpolation(error.clone()));
            }
            if let Some(known) = self.sections.iter_mut().find(|known| known.name == section.name) {
                merge(&mut known.entries, entries);
            }
        }
        Ok(())
    }
}

fn expand_section(
    name: &str,
    own: &[Entry],
    defaults: &[Entry],
    home: Option<&str>,
    (file, path): (usize, &Path),
) -> Vec<MergedEntry> {
    let find = |key: &str| {
        own.iter()
            .chain(defaults)
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.clone())
    };
    let lookup = |key: &str| {
        find(key).or_else(|| match key {
            "name" => Some(name.to_owned()),
            "barman_home" => home.map(|home| super::ini::unquote(home).to_owned()),
            _ => None,
        })
    };
    let inherited = defaults
        .iter()
        .filter(|entry| !own.iter().any(|known| known.key == entry.key));
    own.iter()
        .chain(inherited)
        .map(|entry| MergedEntry {
            key: entry.key.clone(),
            value: interpolation::expand(&entry.value, &lookup)
                .map(std::borrow::Cow::into_owned)
                .map_err(|reason| InterpolationError {
                    section: name.to_owned(),
                    option: entry.key.clone(),
                    raw: shown(entry),
                    reason,
                    place: place(path, entry.line),
                }),
            file,
            line: entry.line,
        })
        .collect()
}

/// The value for an error, without passwords.
fn shown(entry: &Entry) -> String {
    if entry.key.ends_with("conninfo") {
        barman_pg::conninfo::redact(&entry.value)
    } else {
        entry.value.clone()
    }
}

fn merge(known: &mut Vec<MergedEntry>, added: Vec<MergedEntry>) {
    for entry in added {
        match known.iter_mut().find(|old| old.key == entry.key) {
            Some(old) => *old = entry,
            None => known.push(entry),
        }
    }
}
