//! Why `config-update` changed nothing.

use std::io;
use std::path::PathBuf;

use barman_wal::durable::DurableError;
use barman_wal::lock::LockError;

use crate::config::{ConfigError, registry};
use crate::failure::{Class, Failure};

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As a whole.
    #[error("Invalid section {document}: {reason}")]
    Section {
        /// The document, as Barman shows it.
        document: String,
        /// What is wrong.
        reason: String,
    },
    /// It has an option that there is not, or not there.
    #[error("Invalid option '{option}' for {scope} '{name}'")]
    Option {
        /// The option.
        option: String,
        /// `server` or `model`.
        scope: &'static str,
        /// The section.
        name: String,
    },
    /// The value of an option is not valid.
    #[error("Validation failed for {scope} '{name}': key '{option}' -> {reason}")]
    Value {
        /// `server` or `model`.
        scope: &'static str,
        /// The section.
        name: String,
        /// The option.
        option: String,
        /// Why.
        reason: String,
    },
    /// With it no command could work any more.
    #[error("The configuration would not be usable: {0}")]
    Unusable(String),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ConfigUpdateError {
    /// The argument is not JSON.
    #[error("the argument is not valid JSON: {0}")]
    Json(String),
    /// It is JSON, but not a list of objects.
    #[error("the argument is not a list of objects: {0}")]
    NotDocuments(String),
    /// One of the documents is not valid: nothing of any of them was accepted.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// The document, as Barman shows it, without passwords.
        document: String,
    },
    /// Another process changes the configuration.
    #[error("{}", .0.display())]
    Busy(PathBuf),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(LockError),
    /// The queue of changes cannot be read.
    #[error("cannot read the queue of configuration changes '{}': {source}", path.display())]
    ReadQueue {
        /// The queue.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file sets is not known now, so that nobody can say where an option has to go.
    #[error("the configuration file '{}' cannot be read: nothing is changed", .0.display())]
    Unread(PathBuf),
    /// The queue of changes cannot be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The configuration files cannot be read again.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl From<LockError> for ConfigUpdateError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy { path, .. } => Self::Busy(path),
            other => Self::Lock(other),
        }
    }
}

impl Failure for ConfigUpdateError {
    fn class(&self) -> Class {
        match self {
            Self::Refused { .. } => Class::Error,
            Self::Lock(LockError::Cancelled { .. }) => Class::Interrupted,
            _ => Class::Exception,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Json(_) | Self::NotDocuments(_) => Some(
                "an example: '[{\"scope\": \"server\", \"server_name\": \"main\", \"archiver\": \"on\"}]'"
                    .to_owned(),
            ),
            Self::Busy(_) => Some("another process changes the configuration: try again".to_owned()),
            Self::Refused {
                refusal: Refusal::Option { option, scope, .. },
                ..
            } => registry::hint(option, scope),
            _ => None,
        }
    }
}
