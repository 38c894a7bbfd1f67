//! From a connection string to what will be tried: environment variables and defaults filled in, unsupported options
//! refused, hosts listed, passwords found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConnectOptions, passfile};
use crate::conninfo::{ConnInfo, ConnInfoError, ENVIRONMENT};
use crate::error::Error;

/// Directories in which servers put their socket when nobody says otherwise: Debian's and PostgreSQL's own.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Which kind of session is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// SQL.
    Standard,
    /// The replication protocol.
    Streaming,
}

/// What the session must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attributes {
    Any,
    ReadWrite,
    ReadOnly,
}

impl Attributes {
    /// The value of `transaction_read_only` that rules a server out; nothing needs to be asked if there is none.
    pub(crate) fn unwanted_read_only(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::ReadWrite => Some("on"),
            Self::ReadOnly => Some("off"),
        }
    }

    /// What to say about a server that is ruled out.
    pub(crate) fn complaint(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::ReadWrite => "session is read-only",
            Self::ReadOnly => "session is not read-only",
        }
    }
}

/// Where one server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A host name, or a numeric address.
    Name(String),
    /// A name for messages and password lookup, with the address to use for it.
    Address { name: Option<String>, address: String },
}

/// One host of the list.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) port: u16,
    pub(crate) password: Option<String>,
    /// The address in use, once it is known and differs from the name.
    resolved: Option<String>,
}

impl Host {
    /// `server at "h", port 5432`, as libpq names servers.
    pub(crate) fn label(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("server on socket \"{}\"", path.display()),
            Place::Name(name)
            | Place::Address {
                name: None,
                address: name,
            } => match &self.resolved {
                Some(address) if address != name => {
                    format!("server at \"{name}\" ({address}), port {}", self.port)
                }
                _ => format!("server at \"{name}\", port {}", self.port),
            },
            Place::Address {
                name: Some(name),
                address,
            } => {
                format!("server at \"{name}\" ({address}), port {}", self.port)
            }
        }
    }

    /// The same host at one of the addresses that its name stands for.
    pub(crate) fn at(&self, address: &super::socket::Address) -> Self {
        let mut host = self.clone();
        if let super::socket::Address::Tcp(address) = address {
            host.resolved = Some(address.ip().to_string());
        }
        host
    }
}

/// TCP keep-alive settings; `None` inside leaves the system's value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepAlive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) retries: u32,
    pub(crate) user_timeout: Option<Duration>,
}

/// Everything that opening a session needs to know.
pub(crate) struct Plan {
    pub(crate) hosts: Vec<Host>,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) options: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) replication: Option<String>,
    /// Run-time parameters that environment variables set (`PGTZ`, `PGDATESTYLE`, `PGGEQO`).
    pub(crate) parameters: Vec<(&'static str, String)>,
    pub(crate) attributes: Attributes,
    /// `None` waits for ever (`connect_timeout=0`).
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: Option<KeepAlive>,
}

/// The connection string over the environment.
struct Values<'a> {
    info: &'a ConnInfo,
    environment: fn(&str) -> Option<String>,
}

impl Values<'_> {
    fn get(&self, keyword: &str) -> Option<String> {
        if let Some(value) = self.info.get(keyword) {
            return Some(value.to_owned());
        }
        let (variable, _) = ENVIRONMENT.iter().find(|(_, option)| *option == keyword)?;
        (self.environment)(variable)
    }

    fn refuse_unless(&self, keyword: &'static str, allowed: &[&str], why: &'static str) -> Result<(), Error> {
        match self.get(keyword) {
            Some(value) if !allowed.contains(&value.as_str()) => {
                let value = if ConnInfo::is_secret(keyword) {
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

    /// An integer option; `None` if absent.
    fn integer(&self, keyword: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(keyword) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ConnInfoError::InvalidValue {
                keyword: keyword.to_owned(),
                what: format!("\"{text}\" is not an integer"),
            }
            .into()),
        }
    }
}

impl Plan {
    pub(crate) fn new(info: &ConnInfo, kind: SessionKind, options: &ConnectOptions) -> Result<Self, Error> {
        let values = Values {
            info,
            environment: options.environment,
        };
        refuse_unsupported(&values)?;

        let user = match values.get("user") {
            Some(user) => user,
            None => whoami::username().map_err(|error| Error::Connect {
                address: "server".to_owned(),
                reason: format!("could not look up the name of the local user: {error}"),
                sqlstate: None,
            })?,
        };
        let dbname = values.get("dbname").unwrap_or_else(|| user.clone());
        let mut hosts = host_list(&values)?;
        find_passwords(&mut hosts, &values, &user, &dbname);

        let attributes = match values.get("target_session_attrs").as_deref() {
            None | Some("any") => Attributes::Any,
            Some("read-write") => Attributes::ReadWrite,
            Some("read-only") => Attributes::ReadOnly,
            Some(other) => {
                return Err(Error::Unsupported {
                    option: "target_session_attrs".to_owned(),
                    value: other.to_owned(),
                    why: "only \"any\", \"read-write\" and \"read-only\" are",
                });
            }
        };
        // libpq: zero and negative numbers wait for ever; 1 is taken as 2.
        let connect_timeout = match values.integer("connect_timeout")? {
            None => Some(options.connect_timeout),
            Some(seconds) => u64::try_from(seconds)
                .ok()
                .filter(|s| *s > 0)
                .map(|s| Duration::from_secs(s.max(2))),
        };
        let parameters = [
            ("PGTZ", "timezone"),
            ("PGDATESTYLE", "datestyle"),
            ("PGGEQO", "geqo"),
        ]
        .into_iter()
        .filter_map(|(variable, parameter)| Some((parameter, (options.environment)(variable)?)))
        .collect();
        Ok(Self {
            hosts,
            user,
            dbname,
            options: values.get("options"),
            application_name: values
                .get("application_name")
                .or_else(|| values.get("fallback_application_name")),
            replication: match kind {
                SessionKind::Standard => None,
                SessionKind::Streaming => {
                    Some(values.get("replication").unwrap_or_else(|| "true".to_owned()))
                }
            },
            parameters,
            attributes,
            connect_timeout,
            keepalive: keepalive(&values)?,
        })
    }
}

/// Options whose meaning we would otherwise silently drop.
fn refuse_unsupported(values: &Values<'_>) -> Result<(), Error> {
    let tls = "connections with TLS are not supported yet";
    match values.get("sslmode").as_deref() {
        None | Some("disable" | "allow" | "prefer") => {}
        Some(mode @ ("require" | "verify-ca" | "verify-full")) => {
            return Err(Error::Unsupported {
                option: "sslmode".to_owned(),
                value: mode.to_owned(),
                why: tls,
            });
        }
        Some(other) => {
            return Err(ConnInfoError::InvalidValue {
                keyword: "sslmode".to_owned(),
                what: format!("\"{other}\" is not a mode of libpq"),
            }
            .into());
        }
    }
    values.refuse_unless(
        "gssencmode",
        &["disable", "prefer"],
        "GSSAPI encryption is not available",
    )?;
    values.refuse_unless("channel_binding", &["disable", "prefer"], tls)?;
    values.refuse_unless("sslnegotiation", &["postgres"], tls)?;
    values.refuse_unless("service", &[], "service files are not supported yet")?;
    values.refuse_unless(
        "load_balance_hosts",
        &["disable"],
        "hosts are tried in order only",
    )?;
    values.refuse_unless(
        "require_auth",
        &[],
        "the authentication method cannot be restricted",
    )?;
    values.refuse_unless("requirepeer", &[], "the owner of the socket cannot be checked")?;
    values.refuse_unless(
        "min_protocol_version",
        &["3.0"],
        "only protocol version 3.0 is spoken",
    )?;
    values.refuse_unless("scram_client_key", &[], "only passwords are")?;
    values.refuse_unless(
        "client_encoding",
        &["utf8", "UTF8", "utf-8", "UTF-8", "auto"],
        "only UTF8 is",
    )?;
    Ok(())
}

fn keepalive(values: &Values<'_>) -> Result<Option<KeepAlive>, Error> {
    let user_timeout = values
        .integer("tcp_user_timeout")?
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis);
    if values.integer("keepalives")? == Some(0) {
        return Ok(None);
    }
    let positive = |keyword: &str, default: u64| -> Result<u64, Error> {
        let number = values
            .integer(keyword)?
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0);
        Ok(number.unwrap_or(default))
    };
    // The systems' default notices a dead peer only after two hours; waits for archiving have no other limit.
    Ok(Some(KeepAlive {
        idle: Duration::from_secs(positive("keepalives_idle", 60)?),
        interval: Duration::from_secs(positive("keepalives_interval", 10)?),
        retries: u32::try_from(positive("keepalives_count", 6)?).unwrap_or(6),
        user_timeout,
    }))
}

/// Pairs up `host`, `hostaddr` and `port`, which are lists of the same length (one port serves all hosts).
fn host_list(values: &Values<'_>) -> Result<Vec<Host>, Error> {
    let split = |keyword: &str| -> Vec<String> {
        values
            .get(keyword)
            .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
            .unwrap_or_default()
    };
    let (names, addresses, ports) = (split("host"), split("hostaddr"), split("port"));
    let count = names.len().max(addresses.len()).max(1);
    let mismatch = |keyword: &str, found: usize| -> Error {
        ConnInfoError::InvalidValue {
            keyword: keyword.to_owned(),
            what: format!("could not match {found} values to {count} hosts"),
        }
        .into()
    };
    if !names.is_empty() && names.len() != count {
        return Err(mismatch("host", names.len()));
    }
    if !addresses.is_empty() && addresses.len() != count {
        return Err(mismatch("hostaddr", addresses.len()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(mismatch("port", ports.len()));
    }
    let text_at = |list: &[String], at: usize| list.get(at).filter(|text| !text.is_empty()).cloned();
    (0..count)
        .map(|at| {
            let port = match if ports.len() == 1 {
                text_at(&ports, 0)
            } else {
                text_at(&ports, at)
            } {
                None => 5432,
                Some(text) => text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
                    Error::from(ConnInfoError::InvalidValue {
                        keyword: "port".to_owned(),
                        what: format!("\"{text}\" is not a port number"),
                    })
                })?,
            };
            let place = match (text_at(&names, at), text_at(&addresses, at)) {
                (name, Some(address)) => Place::Address { name, address },
                (Some(name), None) if name.starts_with('/') || name.starts_with('@') => {
                    Place::Unix(socket_path(Path::new(&name), port))
                }
                (Some(name), None) => Place::Name(name),
                (None, None) => Place::Unix(default_socket(port)),
            };
            Ok(Host {
                place,
                port,
                password: None,
                resolved: None,
            })
        })
        .collect()
}

fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

fn default_socket(port: u16) -> PathBuf {
    let candidates = SOCKET_DIRECTORIES.map(|directory| socket_path(Path::new(directory), port));
    let [first, ..] = &candidates;
    candidates
        .iter()
        .find(|path| path.exists())
        .unwrap_or(first)
        .clone()
}

fn find_passwords(hosts: &mut [Host], values: &Values<'_>, user: &str, dbname: &str) {
    if let Some(password) = values.get("password") {
        for host in hosts {
            host.password = Some(password.clone());
        }
        return;
    }
    let path = values.get("passfile").map(PathBuf::from).or_else(|| {
        let home = (values.environment)("HOME")
            .map(PathBuf::from)
            .or_else(std::env::home_dir)?;
        Some(home.join(".pgpass"))
    });
    let Some(text) = path.and_then(|path| passfile::read(&path)) else {
        return;
    };
    for host in hosts {
        let name = match &host.place {
            Place::Name(name) | Place::Address { name: Some(name), .. } => name.clone(),
            Place::Address { name: None, address } => address.clone(),
            Place::Unix(path) => {
                let directory = path
                    .parent()
                    .map(|p| p.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if SOCKET_DIRECTORIES.contains(&directory.as_str()) {
                    "localhost".to_owned()
                } else {
                    directory
                }
            }
        };
        host.password = passfile::find(
            &text,
            passfile::Wanted {
                host: &name,
                port: host.port,
                dbname,
                user,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_with(text: &str, environment: fn(&str) -> Option<String>) -> Result<Plan, Error> {
        let options = ConnectOptions {
            environment,
            ..ConnectOptions::default()
        };
        Plan::new(&text.parse().unwrap(), SessionKind::Standard, &options)
    }

    fn plan(text: &str) -> Result<Plan, Error> {
        plan_with(text, |_| None)
    }

    fn labels(text: &str) -> Vec<String> {
        plan(text).unwrap().hosts.iter().map(Host::label).collect()
    }

    #[test]
    fn hosts_addresses_and_ports_are_paired() {
        assert_eq!(labels("host=a user=u"), ["server at \"a\", port 5432"]);
        assert_eq!(
            labels("host=a,b port=1,2 user=u"),
            ["server at \"a\", port 1", "server at \"b\", port 2"]
        );
        assert_eq!(
            labels("host=a,b port=7 user=u"),
            ["server at \"a\", port 7", "server at \"b\", port 7"]
        );
        assert_eq!(
            labels("host=a hostaddr=10.0.0.1 user=u"),
            ["server at \"a\" (10.0.0.1), port 5432"]
        );
        assert_eq!(
            labels("hostaddr=10.0.0.1 user=u"),
            ["server at \"10.0.0.1\", port 5432"]
        );
        assert_eq!(
            labels("host=/run/pg port=6 user=u"),
            ["server on socket \"/run/pg/.s.PGSQL.6\""]
        );
        assert_eq!(
            labels("postgresql://u@h1,h2:9/"),
            ["server at \"h1\", port 5432", "server at \"h2\", port 9"]
        );
    }

    #[test]
    fn bad_values_are_errors() {
        for text in [
            "host=a,b port=1,2,3",
            "host=a,b hostaddr=1.1.1.1",
            "port=x",
            "port=0",
            "port=65536",
            "connect_timeout=soon",
            "sslmode=maybe",
        ] {
            assert!(
                matches!(plan(&format!("{text} user=u")), Err(Error::ConnInfo(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, option) in [
            ("sslmode=require", "sslmode"),
            ("sslmode=verify-full", "sslmode"),
            ("gssencmode=require", "gssencmode"),
            ("channel_binding=require", "channel_binding"),
            ("service=x", "service"),
            ("target_session_attrs=prefer-standby", "target_session_attrs"),
            ("require_auth=scram-sha-256", "require_auth"),
        ] {
            let error = plan(&format!("{text} user=u")).err().unwrap().to_string();
            assert!(error.contains(&format!("\"{option}\"")), "{error}");
        }
        for text in [
            "sslmode=prefer",
            "sslmode=allow",
            "sslmode=disable",
            "target_session_attrs=any",
        ] {
            assert!(plan(&format!("{text} user=u")).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_environment_fills_in_and_the_string_wins() {
        fn environment(name: &str) -> Option<String> {
            let value = match name {
                "PGHOST" => "envhost",
                "PGPORT" => "7777",
                "PGUSER" => "envuser",
                "PGPASSWORD" => "envpass",
                "PGCONNECT_TIMEOUT" => "1",
                "PGTZ" => "Europe/Rome",
                _ => return None,
            };
            Some(value.to_owned())
        }
        let plan = plan_with("user=mine", environment).unwrap();
        assert_eq!(plan.user, "mine");
        assert_eq!(plan.dbname, "mine");
        assert_eq!(plan.hosts[0].label(), "server at \"envhost\", port 7777");
        assert_eq!(plan.hosts[0].password.as_deref(), Some("envpass"));
        assert_eq!(plan.connect_timeout, Some(Duration::from_secs(2)));
        assert_eq!(plan.parameters, [("timezone", "Europe/Rome".to_owned())]);
        assert!(matches!(
            plan_with("", |n| (n == "PGSSLMODE").then(|| "require".into())),
            Err(Error::Unsupported { .. })
        ));
    }

    #[test]
    fn connect_timeout_zero_waits_for_ever() {
        assert_eq!(plan("user=u connect_timeout=0").unwrap().connect_timeout, None);
        assert_eq!(plan("user=u connect_timeout=-1").unwrap().connect_timeout, None);
        assert_eq!(
            plan("user=u connect_timeout=9").unwrap().connect_timeout,
            Some(Duration::from_secs(9))
        );
        assert_eq!(
            plan("user=u").unwrap().connect_timeout,
            Some(Duration::from_secs(30))
        );
    }

    #[test]
    fn the_password_file_is_asked_per_host() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        std::fs::write(&path, "h1:*:*:u:one\n/run/pg:*:d:u:two\n*:6:*:*:three\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "host=h1,/run/pg,h3 port=5,5,6 dbname=d user=u passfile={}",
            path.display()
        );
        let found: Vec<_> = plan(&text)
            .unwrap()
            .hosts
            .into_iter()
            .map(|h| h.password.unwrap())
            .collect();
        assert_eq!(found, ["one", "two", "three"]);
    }
}
