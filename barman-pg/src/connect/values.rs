//! Where the value of an option comes from: the connection string, else the service that it names, else the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files;
use crate::conninfo::{ConnInfo, ConnInfoError, ENVIRONMENT, service};
use crate::error::Error;

/// The connection string over its service over the environment.
pub(super) struct Values<'a> {
    info: &'a ConnInfo,
    service: BTreeMap<String, String>,
    environment: fn(&str) -> Option<String>,
    /// Whether files and the user database may be looked at.
    looks: bool,
}

pub(super) fn invalid(keyword: &str, what: impl Into<String>) -> Error {
    ConnInfoError::InvalidValue {
        keyword: keyword.to_owned(),
        what: what.into(),
    }
    .into()
}

/// Whether a value may hold a secret: one that has run into the next word (`port=5432password=x`, `...;password:x`), a
/// URI with a PIN.
fn is_doubtful(value: &str) -> bool {
    value.contains(['=', ':', ';', '&', '?', '@'])
}

/// A value in a message.
pub(crate) fn shown(value: &str) -> String {
    if is_doubtful(value) {
        "the value".to_owned()
    } else {
        format!("\"{value}\"")
    }
}

impl<'a> Values<'a> {
    /// Looks the service up, if one is named.
    pub(super) fn new(info: &'a ConnInfo, environment: fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut values = Self {
            info,
            service: BTreeMap::new(),
            environment,
            looks: true,
        };
        if let Some(name) = values.get("service") {
            values.service = values.look_up(&name)?;
        }
        Ok(values)
    }

    /// For a string without a service, and for nothing but its judgement: no file is looked at.
    pub(super) fn judged(info: &'a ConnInfo, environment: fn(&str) -> Option<String>) -> Self {
        Self {
            info,
            service: BTreeMap::new(),
            environment,
            looks: false,
        }
    }

    /// Whether this file or directory is there.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.looks && path.exists()
    }

    /// As libpq: the user's own file, then the system's.
    fn look_up(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let failed = |what: String| Error::Service {
            service: name.to_owned(),
            what,
        };
        let given = self.get("servicefile").or_else(|| self.variable("PGSERVICEFILE"));
        let own = match &given {
            Some(path) => Some(PathBuf::from(path)),
            None => self
                .home()
                .map(|home| home.join(".pg_service.conf"))
                .filter(|path| path.exists()),
        };
        let directory = self
            .variable("PGSYSCONFDIR")
            .map_or_else(files::system_configuration, PathBuf::from);
        let system = Some(directory.join("pg_service.conf")).filter(|path| path.exists());
        for path in own.into_iter().chain(system) {
            let shown = path.display();
            let text =
                files::read(&path).map_err(|why| failed(format!("service file \"{shown}\": {why}")))?;
            let options = service::parse(&text, name)
                .map_err(|error| failed(format!("service file \"{shown}\": {error}")))?;
            if let Some(options) = options {
                return Ok(options);
            }
        }
        Err(failed("definition of the service not found".to_owned()))
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    /// The user's home directory: `HOME`, else the password database.
    pub(super) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME")
            .map(PathBuf::from)
            .or_else(|| self.looks.then(std::env::home_dir).flatten())
            .filter(|home| !home.as_os_str().is_empty())
    }

    /// The value as it is written, also an empty one.
    pub(super) fn written(&self, keyword: &str) -> Option<String> {
        if let Some(value) = self.info.written(keyword) {
            return Some(value.to_owned());
        }
        if let Some(value) = self.service.get(keyword) {
            return Some(value.clone());
        }
        let (variable, _) = ENVIRONMENT.iter().find(|(_, option)| *option == keyword)?;
        self.variable(variable)
    }

    /// The value, if there is one that is not empty.
    pub(super) fn get(&self, keyword: &str) -> Option<String> {
        self.written(keyword).filter(|value| !value.is_empty())
    }

    /// One of a list of words.
    pub(super) fn choice<T: Copy>(&self, keyword: &str, words: &[(&str, T)], default: T) -> Result<T, Error> {
        let Some(value) = self.written(keyword) else {
            return Ok(default);
        };
        match words.iter().find(|(word, _)| *word == value) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                Err(invalid(
                    keyword,
                    format!("{} is none of {}", shown(&value), known.join(", ")),
                ))
            }
        }
    }

    /// Refuses every value but the ones that ask for what is done anyway.
    pub(super) fn refuse_unless(
        &self,
        keyword: &'static str,
        allowed: &[&str],
        why: &'static str,
    ) -> Result<(), Error> {
        match self.get(keyword) {
            Some(value) if !allowed.iter().any(|one| one.eq_ignore_ascii_case(&value)) => {
                let value = if ConnInfo::is_secret(keyword) || is_doubtful(&value) {
                    "*REDACTED*".to_owned()
                } else {
                    value
                };
                Err(Error::Unsupported {
                    option: keyword.to_owned(),
                    value,
                    why,
                })
            }
            _ => Ok(()),
        }
    }

    /// An integer option; `None` if absent. As in libpq an empty one is an error.
    pub(super) fn integer(&self, keyword: &str) -> Result<Option<i32>, Error> {
        let Some(text) = self.written(keyword) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(invalid(keyword, format!("{} is not an integer", shown(&text)))),
        }
    }
}
