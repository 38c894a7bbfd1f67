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
            Self::Connection { server, .. } => Some(format!("run 'barman check {server}'")),
        }
    }
}
