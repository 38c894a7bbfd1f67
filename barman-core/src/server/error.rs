//! Why a server has no connection.

use crate::failure::{Class, Failure};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration has no connection string for it, or forbids one.
    #[error("Missing '{option}' parameter for server '{server}'")]
    NotConfigured {
        /// The option.
        option: &'static str,
        /// The server.
        server: String,
    },
    /// The server is inactive, or its backups come from another Barman node.
    #[error("server '{server}' has no PostgreSQL connection: it is inactive or a passive node")]
    NoConnections {
        /// The server.
        server: String,
    },
    /// PostgreSQL cannot be reached, or refuses.
    #[error("{source}")]
    Connection {
        /// The server.
        server: String,
        /// Why.
        source: barman_pg::Error,
    },
}

/// A connection error with what to do about it, if that is known.
#[must_use]
pub fn explained(error: &barman_pg::Error) -> String {
    match error.hint() {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

impl ServerError {
    /// The reason, with what to do about it if that is known.
    #[must_use]
    pub fn explained(&self) -> String {
        match self {
            Self::Connection { source, .. } => explained(source),
            other => other.to_string(),
        }
    }
}

impl Failure for ServerError {
    fn class(&self) -> Class {
        match self {
            Self::Connection {
                source: barman_pg::Error::Interrupted { .. },
                ..
            } => Class::Interrupted,
            Self::NotConfigured { .. } | Self::NoConnections { .. } | Self::Connection { .. } => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotConfigured { option, server } => Some(format!("set {option} in section [{server}]")),
            Self::NoConnections { .. } => None,
            Self::Connection { server, source } => source
                .hint()
                .or_else(|| Some(format!("run 'barman check {server}'"))),
        }
    }
}
