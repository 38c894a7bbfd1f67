//! The hosts of a connection string: `host`, `hostaddr` and `port`, which are lists of the same length, and the
//! password for each of them.

use std::path::PathBuf;

use super::files;
use super::socket::Address;
use super::values::{Values, invalid, shown};
use crate::conninfo::passfile;
use crate::error::Error;
use crate::secret::Secret;

/// Directories in which servers put their socket when nobody says otherwise: Debian's, that of the PGDG packages of other
/// distributions, and PostgreSQL's own.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// PostgreSQL's `DEF_PGPORT`.
const DEFAULT_PORT: u16 = 5432;

/// Where one server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A Unix socket: the directory as it is written, if it is, and the path. One that begins with `@` is not in the file
    /// system.
    Unix {
        directory: Option<String>,
        path: PathBuf,
    },
    /// A host name, or a numeric address.
    Name(String),
    /// A name for messages and password lookup, with the address to use for it.
    Address { name: Option<String>, address: String },
}

/// What stands in `port` in place of a port number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongPort {
    text: String,
    /// A number out of range: libpq goes on with the next host. Anything else ends its search.
    pub(crate) is_number: bool,
}

impl WrongPort {
    pub(crate) fn error(&self) -> Error {
        invalid(
            "port",
            format!("{} is not a port number, from 1 to 65535", shown(&self.text)),
        )
    }
}

/// The number in one word of `port`.
fn port_number(text: &str) -> Result<u16, WrongPort> {
    let number: Option<i32> = text.trim().parse().ok();
    let port = number.and_then(|number| u16::try_from(number).ok());
    port.filter(|port| *port > 0).ok_or_else(|| WrongPort {
        text: text.to_owned(),
        is_number: number.is_some(),
    })
}

/// One host of the list.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) port: u16,
    /// Set where `port` has no port number for this host: told only when it is this host's turn, as libpq does.
    pub(crate) wrong_port: Option<WrongPort>,
    pub(crate) password: Option<Secret>,
    /// The address in use, once it is known and differs from the name.
    resolved: Option<String>,
}

impl Host {
    /// `server at "h", port 5432`, as libpq names servers.
    pub(crate) fn label(&self) -> String {
        match &self.place {
            Place::Unix { path, .. } => format!("server on socket \"{}\"", path.display()),
            Place::Name(name) => match &self.resolved {
                Some(address) if address != name => {
                    format!("server at \"{name}\" ({address}), port {}", self.port)
                }
                _ => format!("server at \"{name}\", port {}", self.port),
            },
            Place::Address { address, .. } => format!("server at \"{address}\", port {}", self.port),
        }
    }

    /// The name that a server's certificate must hold; none if only an address was given.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.place {
            Place::Unix { .. } | Place::Address { name: None, .. } => None,
            Place::Name(name) | Place::Address { name: Some(name), .. } => Some(name),
        }
    }

    /// Under which names the password file may have it.
    fn names_in_password_file(&self) -> Vec<&str> {
        match &self.place {
            Place::Name(name) | Place::Address { name: Some(name), .. } => vec![name],
            Place::Address { name: None, address } => vec![address],
            Place::Unix { directory: None, .. } => vec!["localhost"],
            // Each build of libpq has one of the default directories, and takes `localhost` for it.
            Place::Unix {
                directory: Some(directory),
                ..
            } if SOCKET_DIRECTORIES.contains(&directory.as_str()) => vec![directory, "localhost"],
            Place::Unix {
                directory: Some(directory),
                ..
            } => vec![directory],
        }
    }

    /// The same host at one of the addresses that its name stands for.
    pub(crate) fn at(&self, address: &Address) -> Self {
        let mut host = self.clone();
        if let Address::Tcp(address) = address {
            host.resolved = Some(address.ip().to_string());
        }
        host
    }
}

/// Pairs the lists up.
pub(super) fn list(values: &Values<'_>) -> Result<Vec<Host>, Error> {
    let split = |keyword: &str| -> Vec<String> {
        values
            .get(keyword)
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let (names, addresses, ports) = (split("host"), split("hostaddr"), split("port"));
    let count = match (addresses.len(), names.len()) {
        (0, names) => names.max(1),
        (addresses, _) => addresses,
    };
    if !names.is_empty() && names.len() != count {
        return Err(invalid(
            "host",
            format!(
                "could not match {} host names to {count} hostaddr values: there must be as many of each",
                names.len()
            ),
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(invalid(
            "port",
            format!(
                "could not match {} port numbers to {count} hosts: give one for all of them, or one for each",
                ports.len()
            ),
        ));
    }
    let text_at = |list: &[String], at: usize| list.get(at).filter(|text| !text.is_empty()).cloned();
    Ok((0..count)
        .map(|at| {
            let port = text_at(&ports, if ports.len() == 1 { 0 } else { at });
            let port = port.map_or(Ok(DEFAULT_PORT), |text| port_number(&text));
            let (port, wrong_port) = match port {
                Ok(port) => (port, None),
                Err(wrong) => (0, Some(wrong)),
            };
            let place = match (text_at(&names, at), text_at(&addresses, at)) {
                (name, Some(address)) => Place::Address { name, address },
                (Some(name), None) if name.starts_with('/') || name.starts_with('@') => Place::Unix {
                    path: socket_path(&name, port),
                    directory: Some(name),
                },
                (Some(name), None) => Place::Name(name),
                (None, None) => Place::Unix {
                    directory: None,
                    path: default_socket(port, values),
                },
            };
            Host {
                place,
                port,
                wrong_port,
                password: None,
                resolved: None,
            }
        })
        .collect())
}

fn socket_path(directory: &str, port: u16) -> PathBuf {
    PathBuf::from(format!("{directory}/.s.PGSQL.{port}"))
}

fn default_socket(port: u16, values: &Values<'_>) -> PathBuf {
    let candidates = SOCKET_DIRECTORIES.map(|directory| socket_path(directory, port));
    let [first, ..] = &candidates;
    candidates
        .iter()
        .find(|path| values.is_there(path))
        .unwrap_or(first)
        .clone()
}

/// Gives every host its password: the one of the connection string, else what the password file has for it.
pub(super) fn find_passwords(hosts: &mut [Host], values: &Values<'_>, user: &str, dbname: &str) {
    if let Some(password) = values.get("password") {
        let password = Secret::from(password);
        for host in hosts {
            host.password = Some(password.clone());
        }
        return;
    }
    let path = match values.get("passfile") {
        Some(path) => Some(PathBuf::from(path)),
        None => values.home().map(|home| home.join(".pgpass")),
    };
    let Some(text) = path.and_then(|path| files::read_password_file(&path)) else {
        return;
    };
    for host in hosts {
        host.password = passfile::find(
            &text,
            passfile::Wanted {
                hosts: &host.names_in_password_file(),
                port: host.port,
                dbname,
                user,
            },
        )
        .map(Secret::from);
    }
}
