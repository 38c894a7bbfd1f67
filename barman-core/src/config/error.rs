//! What makes a configuration unusable as a whole, and what is only worth a warning.

use std::path::{Path, PathBuf};

use super::ini::IniError;
use super::interpolation::InterpolationError;
use crate::context::Level;
use crate::failure::{Class, Failure};

/// Something about the configuration that the user should know; the run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Warning, or error (the exit code becomes 1).
    pub level: Level,
    /// The text.
    pub text: String,
    /// Name under which the log records it.
    pub target: &'static str,
    /// Whether the console shows it, or the log only.
    pub console: bool,
    /// Where it is, and what would be right.
    pub hint: Option<String>,
}

impl ConfigWarning {
    /// A warning for console and log, from `barman.config`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self {
            level: Level::Warning,
            text,
            target: "barman.config",
            console: true,
            hint: None,
        }
    }

    /// A warning for the log.
    #[must_use]
    pub fn log_only(target: &'static str, text: String) -> Self {
        Self {
            level: Level::Warning,
            text,
            target,
            console: false,
            hint: None,
        }
    }

    /// The same, with what helps to find and to mend it.
    #[must_use]
    pub fn with_hint(self, hint: String) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// An error: the exit code becomes 1, the run goes on.
    #[must_use]
    pub fn error(text: String) -> Self {
        Self {
            level: Level::Error,
            text,
            target: "barman.config",
            console: true,
            hint: None,
        }
    }
}

fn name(file: &Path) -> std::path::Display<'_> {
    Path::new(file.file_name().unwrap_or_default()).display()
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that the user named does not exist.
    #[error("Configuration file '{}' does not exist", .0.display())]
    Missing(PathBuf),
    /// No file at the default places.
    #[error(
        "Could not find any configuration file at the default locations.\nPlease read the documentation and create one."
    )]
    NoneFound,
    /// A file is not in the dialect.
    #[error(transparent)]
    Syntax(#[from] IniError),
    /// A bad `%` in `[barman]`.
    #[error(transparent)]
    Interpolation(#[from] InterpolationError),
    /// The main file has no `[barman]` section, or cannot be read.
    #[error("No section: 'barman' in '{}'{reason}", file.display())]
    NoBarman {
        /// The main file.
        file: PathBuf,
        /// Why it could not be read, if so.
        reason: String,
    },
    /// A value of `[barman]` without which nothing can start is not valid.
    #[error("Invalid value '{value}' for '{key}' in [barman] section: {reason}")]
    BadGlobal {
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why.
        reason: &'static str,
        /// File and line.
        place: String,
    },
    /// A further file changes `[barman]`.
    #[error(
        "FATAL: the configuration file {} contains a not empty [barman] section",
        name(file)
    )]
    NotEmptyBarman {
        /// The file.
        file: PathBuf,
    },
    /// A section named `all`.
    #[error(
        "FATAL: 'all' is a reserved word and cannot be used as the name of a server or model, please rename the section"
    )]
    ReservedName {
        /// The file in which it begins.
        file: PathBuf,
    },
    /// `barman_home` is not set.
    #[error("Parameter \"barman_home\" is required in [barman] section.")]
    MissingHome,
}

/// In which form a [`ConfigError`] is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The bare text on standard error.
    Plain,
    /// `EXCEPTION: <text>` and a pointer to the log.
    Exception,
    /// `ERROR: <text>`, then [`MISSING_PARAMETERS`] on standard error.
    Required,
}

/// Follows the error about a required parameter.
pub const MISSING_PARAMETERS: &str = "Your configuration is missing required parameters. Exiting.";

impl ConfigError {
    /// In which form to show it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        match self {
            Self::Missing(_) | Self::NoneFound | Self::NotEmptyBarman { .. } | Self::ReservedName { .. } => {
                Shown::Plain
            }
            Self::Syntax(_) | Self::Interpolation(_) | Self::NoBarman { .. } | Self::BadGlobal { .. } => {
                Shown::Exception
            }
            Self::MissingHome => Shown::Required,
        }
    }
}

impl Failure for ConfigError {
    fn class(&self) -> Class {
        if self.shown() == Shown::Exception {
            Class::Exception
        } else {
            Class::Error
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax(error) => Some(error.hint().to_owned()),
            Self::BadGlobal { place, .. } => Some(format!("{place}: write true or false")),
            Self::NotEmptyBarman { file } => Some(format!(
                "'{}': settings of [barman] belong into the main file",
                file.display()
            )),
            Self::ReservedName { file } => Some(format!("the section [all] is in '{}'", file.display())),
            Self::Interpolation(_) => Some("write a literal '%' as '%%'".to_owned()),
            Self::MissingHome => Some("set barman_home in the [barman] section".to_owned()),
            _ => None,
        }
    }
}
