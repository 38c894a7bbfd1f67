//! From a connection string to what will be tried: the service and the environment filled in, what cannot be done
//! refused by name, hosts listed, passwords found.

use std::time::Duration;

use super::hosts::{self, Host, Place};
use super::target::Target;
use super::values::{Values, invalid};
use super::{ConnectOptions, settings};
use crate::auth::{ChannelBinding, RequireAuth};
use crate::conninfo::{ConnInfo, ConnInfoError};
use crate::error::Error;
use crate::tls::TlsSettings;

/// Which kind of session is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// SQL.
    Standard,
    /// The replication protocol.
    Streaming,
}

/// TCP keep-alive settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepAlive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) retries: u32,
}

/// How a socket is made.
#[derive(Debug, Clone)]
pub(crate) struct SocketSettings {
    pub(crate) keepalive: Option<KeepAlive>,
    pub(crate) user_timeout: Option<Duration>,
    /// The role that the server at a Unix socket must run as.
    pub(crate) require_peer: Option<String>,
}

/// Everything that opening a session needs to know.
pub(crate) struct Plan {
    pub(crate) hosts: Vec<Host>,
    /// Whether hosts and their addresses are tried in any order (`load_balance_hosts=random`).
    pub(crate) shuffle: bool,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) options: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) replication: Option<String>,
    /// Run-time parameters that environment variables set (`PGTZ`, `PGDATESTYLE`, `PGGEQO`).
    pub(crate) parameters: Vec<(&'static str, String)>,
    pub(crate) target: Target,
    /// For each address.
    pub(crate) connect_timeout: Duration,
    pub(crate) socket: SocketSettings,
    pub(crate) tls: TlsSettings,
    pub(crate) require_auth: RequireAuth,
    pub(crate) channel_binding: ChannelBinding,
}

impl Plan {
    pub(crate) fn new(info: &ConnInfo, kind: SessionKind, options: &ConnectOptions) -> Result<Self, Error> {
        let values = Values::new(info, options.environment)?;
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
        let mut hosts = hosts::list(&values)?;
        refuse_ports(&hosts)?;
        hosts::find_passwords(&mut hosts, &values, &user, &dbname);

        let parameters = [
            ("PGTZ", "timezone"),
            ("PGDATESTYLE", "datestyle"),
            ("PGGEQO", "geqo"),
        ]
        .into_iter()
        .filter_map(|(variable, parameter)| Some((parameter, values.variable(variable)?)))
        // As in libpq: the server's own.
        .filter(|(_, value): &(_, String)| !value.eq_ignore_ascii_case("default"))
        .collect();
        Ok(Self {
            shuffle: shuffle(&values)?,
            options: values.get("options"),
            application_name: values
                .written("application_name")
                .or_else(|| values.written("fallback_application_name"))
                .filter(|name| !name.is_empty()),
            replication: match kind {
                SessionKind::Standard => None,
                SessionKind::Streaming => {
                    Some(values.get("replication").unwrap_or_else(|| "true".to_owned()))
                }
            },
            parameters,
            target: target(&values)?,
            // libpq waits for ever without a limit; here every wait has one.
            connect_timeout: connect_timeout(&values)?.unwrap_or(options.connect_timeout),
            socket: socket_settings(&values, &hosts)?,
            tls: settings::tls(&values)?,
            require_auth: require_auth(&values)?,
            channel_binding: channel_binding(&values)?,
            hosts,
            user,
            dbname,
        })
    }
}

/// What is wrong with the values of a connection string, found without connecting: everything for which a connection
/// would be refused before a server is asked. Nothing of a string whose service (`service`, `PGSERVICE`) has a say too,
/// and nothing that only the environment is to blame for.
pub(super) fn wrong_values(info: &ConnInfo, environment: fn(&str) -> Option<String>) -> Vec<Error> {
    if info.written("service").is_some() || environment("PGSERVICE").is_some() {
        return Vec::new();
    }
    let values = Values::judged(info, environment);
    let hosts = hosts::list(&values);
    let known = hosts.as_deref().unwrap_or_default();
    let mut errors: Vec<Error> = Vec::new();
    if info.written("port").is_some() {
        let ports = known.iter().filter_map(|host| host.wrong_port.as_ref());
        errors.extend(ports.map(hosts::WrongPort::error));
        // One word may stand for all hosts.
        errors.dedup_by_key(|error| error.to_string());
    }
    let sockets = socket_settings(&values, known).err();
    errors.extend(
        [
            sockets,
            hosts.err(),
            connect_timeout(&values).err(),
            settings::tls(&values).err(),
            require_auth(&values).err(),
            channel_binding(&values).err(),
            target(&values).err(),
            shuffle(&values).err(),
            refuse_unsupported(&values).err(),
        ]
        .into_iter()
        .flatten()
        .filter(|error| written_in(info, error)),
    );
    errors
}

/// Whether an error is about something that stands in the string. Some options are judged together.
fn written_in(info: &ConnInfo, error: &Error) -> bool {
    let keyword = match error {
        Error::ConnInfo(ConnInfoError::InvalidValue { keyword, .. }) => keyword.as_str(),
        Error::Unsupported { option, .. } => option.as_str(),
        _ => return false,
    };
    let together: &[&str] = match keyword {
        "host" | "port" => &["host", "hostaddr", "port"],
        "sslmode" => &["sslmode", "sslrootcert", "sslnegotiation"],
        "ssl_max_protocol_version" => &["ssl_min_protocol_version", "ssl_max_protocol_version"],
        _ => &[keyword],
    };
    together.iter().any(|keyword| info.written(keyword).is_some())
}

/// Ports are judged when it is their host's turn. Before that it is clear only that nothing will come of a first one
/// that is no number, or of nothing but wrong ones.
fn refuse_ports(hosts: &[Host]) -> Result<(), Error> {
    let first = hosts.first().and_then(|host| host.wrong_port.as_ref());
    match first {
        Some(wrong) if !wrong.is_number || hosts.iter().all(|host| host.wrong_port.is_some()) => {
            Err(wrong.error())
        }
        _ => Ok(()),
    }
}

fn shuffle(values: &Values<'_>) -> Result<bool, Error> {
    let words = [("disable", false), ("random", true)];
    values.choice("load_balance_hosts", &words, false)
}

fn target(values: &Values<'_>) -> Result<Target, Error> {
    values.choice("target_session_attrs", &Target::WORDS, Target::Any)
}

/// The limit for each address, if there is one.
fn connect_timeout(values: &Values<'_>) -> Result<Option<Duration>, Error> {
    let seconds = values.integer("connect_timeout")?;
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

fn require_auth(values: &Values<'_>) -> Result<RequireAuth, Error> {
    RequireAuth::parse(values.written("require_auth").as_deref())
        .map_err(|what| invalid("require_auth", what))
}

fn channel_binding(values: &Values<'_>) -> Result<ChannelBinding, Error> {
    values.choice("channel_binding", &ChannelBinding::WORDS, ChannelBinding::Prefer)
}

/// As in libpq nothing that is about TCP is read if every host is a Unix socket, or if `keepalives` is off.
fn socket_settings(values: &Values<'_>, hosts: &[Host]) -> Result<SocketSettings, Error> {
    let require_peer = values.get("requirepeer");
    let local = hosts.iter().all(|host| matches!(host.place, Place::Unix { .. }));
    if local || values.integer("keepalives")? == Some(0) {
        return Ok(SocketSettings {
            keepalive: None,
            user_timeout: None,
            require_peer,
        });
    }
    Ok(SocketSettings {
        keepalive: Some(keepalive(values)?),
        user_timeout: values
            .integer("tcp_user_timeout")?
            .and_then(|ms| u64::try_from(ms).ok())
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        require_peer,
    })
}

/// Options whose meaning we would otherwise silently drop.
fn refuse_unsupported(values: &Values<'_>) -> Result<(), Error> {
    values.choice(
        "gssencmode",
        &[("disable", ()), ("prefer", ()), ("require", ())],
        (),
    )?;
    values.refuse_unless(
        "gssencmode",
        &["disable", "prefer"],
        "GSSAPI encryption is not available",
    )?;
    values.choice(
        "max_protocol_version",
        &[("3.0", ()), ("3.2", ()), ("latest", ())],
        (),
    )?;
    values.refuse_unless(
        "min_protocol_version",
        &["3.0"],
        "only protocol version 3.0 is spoken",
    )?;
    for keyword in ["scram_client_key", "scram_server_key"] {
        values.refuse_unless(keyword, &[], "only passwords are")?;
    }
    // `client_encoding` is not refused: the server converts, and we always speak UTF8 with it.
    Ok(())
}

fn keepalive(values: &Values<'_>) -> Result<KeepAlive, Error> {
    let positive = |keyword: &str, default: u32| -> Result<u32, Error> {
        let number = values
            .integer(keyword)?
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0);
        Ok(number.unwrap_or(default))
    };
    // The systems' default notices a dead peer only after two hours; waits for archiving have no other limit.
    Ok(KeepAlive {
        idle: Duration::from_secs(positive("keepalives_idle", 60)?.into()),
        interval: Duration::from_secs(positive("keepalives_interval", 10)?.into()),
        retries: positive("keepalives_count", 6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::tls::{Roots, SslMode, TlsVersion};

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
            ["server at \"10.0.0.1\", port 5432"]
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
            "host=a hostaddr=1.1.1.1,2.2.2.2",
            "port=x",
            "port=0",
            "port=65536",
            "connect_timeout=soon",
            "sslmode=maybe",
            "sslmode=''",
            "channel_binding=perhaps",
            "sslcertmode=never",
            "gssencmode=maybe",
            "target_session_attrs=writable",
            "load_balance_hosts=yes",
            "require_auth=plain",
            "require_auth=md5,!password",
            "max_protocol_version=2.0",
            "host=h keepalives_idle=x",
            "host=/tmp,h keepalives=x",
            "host=h tcp_user_timeout=x",
            "connect_timeout=''",
            "connect_timeout=9999999999",
            "ssl_min_protocol_version=SSLv3",
            "ssl_max_protocol_version=tlsv1.1",
            "sslrootcert=system sslmode=require",
            "sslnegotiation=direct",
            "sslnegotiation=direct sslmode=prefer",
        ] {
            assert!(
                matches!(plan(&format!("{text} user=u")), Err(Error::ConnInfo(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_values_are_found_without_connecting() {
        let said = |text: &str, environment| -> Vec<String> {
            let errors = wrong_values(&text.parse().unwrap(), environment);
            errors.iter().map(ToString::to_string).collect()
        };
        for (text, keywords) in [
            ("host=h port=5432 user=u connect_timeout=5", vec![]),
            ("", vec![]),
            ("port=xx", vec!["port"]),
            ("host=a,b port=70000", vec!["port"]),
            ("host=a,b,c port=1,xx,0", vec!["port", "port"]),
            ("host=a,b port=1,2,3", vec!["port"]),
            (
                "host=a sslmode=maybe connect_timeout=abc target_session_attrs=x",
                vec!["connect_timeout", "sslmode", "target_session_attrs"],
            ),
            ("host=h keepalives_count=x", vec!["keepalives_count"]),
            ("host=/tmp keepalives_count=x", vec![]),
            ("gssencmode=require", vec!["gssencmode"]),
            ("sslnegotiation=direct", vec!["sslmode"]),
            ("sslrootcert=system", vec![]),
            ("service=s port=xx", vec![]),
        ] {
            let found = said(text, |_| None);
            assert_eq!(found.len(), keywords.len(), "{text}: {found:?}");
            for (error, keyword) in found.iter().zip(keywords) {
                assert!(error.contains(&format!("\"{keyword}\"")), "{text}: {error}");
            }
        }
        // What runs into the next word is not shown.
        for text in [
            "port=5432password=s3cret",
            "connect_timeout=5password=s3cret",
            "sslmode=requirepassword=s3cret",
            "require_auth=md5password=s3cret",
            "ssl_min_protocol_version=TLSv1password=s3cret",
            "min_protocol_version=3.2password=s3cret",
            "require_auth=md5,!md5password=s3cret",
            "require_auth=!md5,md5password=s3cret",
            "sslmode=require;password:s3cret",
            "port=5432:s3cret@host",
            "sslkey=pkcs11:object=key;type=private?pin-value=s3cret",
        ] {
            let found = said(text, |_| None);
            assert!(found.len() == 1 && !found[0].contains("s3cret"), "{found:?}");
        }
        // The environment is not the string's fault, and may be what makes it right.
        fn environment(name: &str) -> Option<String> {
            let variables = [
                ("PGHOST", "a,b"),
                ("PGCONNECT_TIMEOUT", "x"),
                ("PGSSLMODE", "require"),
            ];
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
        assert_eq!(said("user=u", environment), [""; 0]);
        assert_eq!(said("port=1,2 sslnegotiation=direct", environment), [""; 0]);
        assert_eq!(said("port=1,2", |_| None).len(), 1);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, option) in [
            ("gssencmode=require", "gssencmode"),
            ("min_protocol_version=3.2", "min_protocol_version"),
            ("scram_client_key=x", "scram_client_key"),
            ("sslkey=engine:key", "sslkey"),
        ] {
            let error = plan(&format!("{text} user=u")).err().unwrap().to_string();
            assert!(error.contains(&format!("\"{option}\"")), "{error}");
        }
        for text in [
            "gssencmode=prefer",
            "client_encoding=UTF8",
            "client_encoding=latin1",
            // Nobody asks about TCP on a Unix socket.
            "host=/tmp keepalives=x keepalives_idle=x tcp_user_timeout=x",
            "host=h keepalives=0 keepalives_idle=x tcp_user_timeout=x",
            "max_protocol_version=latest",
            "sslcompression=1",
            "krbsrvname=x",
            "sslnegotiation=direct sslmode=require",
            "load_balance_hosts=random",
            "target_session_attrs=prefer-standby",
        ] {
            assert!(plan(&format!("{text} user=u")).is_ok(), "{text}");
        }
    }

    #[test]
    fn encryption_has_libpqs_defaults() {
        fn environment(name: &str) -> Option<String> {
            (name == "HOME").then(|| "/home/u".to_owned())
        }
        let tls = |text: &str| plan_with(&format!("{text} user=u"), environment).unwrap().tls;
        let lax = tls("");
        assert_eq!((lax.mode, lax.name_indication), (SslMode::Prefer, true));
        assert_eq!(lax.roots, Roots::File("/home/u/.postgresql/root.crt".into()));
        assert_eq!(lax.crl, Some("/home/u/.postgresql/root.crl".into()));
        assert_eq!(lax.certificate, Some("/home/u/.postgresql/postgresql.crt".into()));
        assert_eq!(lax.key, Some("/home/u/.postgresql/postgresql.key".into()));
        assert_eq!((lax.minimum, lax.maximum), (Some(TlsVersion::V1_2), None));
        let system = tls("sslrootcert=system sslsni=0 sslcrldir=/crl");
        assert_eq!(
            (system.mode, system.name_indication),
            (SslMode::VerifyFull, false)
        );
        assert_eq!((system.crl, system.crl_directory), (None, Some("/crl".into())));
        assert_eq!(tls("ssl_min_protocol_version=''").minimum, None);
        let homeless = plan("user=u sslmode=verify-ca").unwrap().tls;
        // The password database knows a home directory too.
        assert_ne!(homeless.roots, Roots::System(vec![]));
        let required = plan_with("user=u", |n| (n == "PGREQUIRESSL").then(|| "1".into()));
        assert_eq!(required.unwrap().tls.mode, SslMode::Require);
    }

    #[test]
    fn a_service_comes_before_the_environment_and_after_the_string() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services");
        std::fs::write(&path, "[main]\nhost=fromfile\nport=7\nuser=u\n[bad]\nnonsense\n").unwrap();
        let file = format!("servicefile={}", path.display());
        fn environment(name: &str) -> Option<String> {
            match name {
                "PGPORT" => Some("8".to_owned()),
                "PGSERVICE" => Some("main".to_owned()),
                _ => None,
            }
        }
        let label = |text: &str| plan_with(text, environment).unwrap().hosts[0].label();
        assert_eq!(label(&file), "server at \"fromfile\", port 7");
        assert_eq!(label(&format!("{file} port=9")), "server at \"fromfile\", port 9");
        assert_eq!(
            label(&format!("{file} service='' host=h user=u")),
            "server at \"h\", port 8"
        );
        for (name, what) in [
            ("bad", "syntax error, line 6"),
            ("none", "definition of the service not found"),
        ] {
            let error = plan(&format!("{file} service={name}")).err().unwrap().to_string();
            assert!(
                error.contains(&format!("service \"{name}\"")) && error.contains(what),
                "{error}"
            );
        }
        let absent = plan("service=x servicefile=/nowhere/services")
            .err()
            .unwrap()
            .to_string();
        assert!(absent.contains("/nowhere/services"), "{absent}");
    }

    #[test]
    fn an_empty_value_keeps_the_environment_out() {
        let with = |text: &str| {
            plan_with(text, |n| (n == "PGPASSWORD").then(|| "env".into()))
                .unwrap()
                .hosts[0]
                .password
                .is_some()
        };
        assert!(with("host=h user=u"));
        assert!(!with("host=h user=u password='' passfile=/nowhere"));
    }

    #[test]
    fn a_fallback_name_is_not_one_for_an_empty_name() {
        for (text, name) in [
            ("", None),
            ("fallback_application_name=f", Some("f")),
            ("application_name=a fallback_application_name=f", Some("a")),
            ("application_name='' fallback_application_name=f", None),
        ] {
            let plan = plan(&format!("user=u {text}")).unwrap();
            assert_eq!(plan.application_name.as_deref(), name, "{text}");
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
        assert_eq!(
            plan.hosts[0].password.as_ref().map(Secret::expose),
            Some("envpass")
        );
        assert_eq!(plan.connect_timeout, Duration::from_secs(1));
        assert_eq!(plan.parameters, [("timezone", "Europe/Rome".to_owned())]);
        let default = plan_with("user=u", |n| (n == "PGTZ").then(|| "Default".into()));
        assert_eq!(default.unwrap().parameters, []);
        let strict = plan_with("user=u", |n| (n == "PGSSLMODE").then(|| "verify-ca".into()));
        assert_eq!(strict.unwrap().tls.mode, SslMode::VerifyCa);
    }

    #[test]
    fn every_wait_has_a_limit() {
        for (text, seconds) in [
            ("user=u", 30),
            ("user=u connect_timeout=0", 30),
            ("user=u connect_timeout=-1", 30),
            ("user=u connect_timeout=1", 1),
            ("user=u connect_timeout=' 9 '", 9),
        ] {
            assert_eq!(
                plan(text).unwrap().connect_timeout,
                Duration::from_secs(seconds),
                "{text}"
            );
        }
    }

    #[test]
    fn the_password_file_is_asked_per_host() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        let content = "/tmp:7:*:*:literal\nlocalhost:*:*:*:default\nh1:*:*:u:one\n/run/pg:*:d:u:two\n/run/pg/:*:d:u:other\n\
             *:6:*:*:three\nfe80::1:*:*:*:address\n";
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "host=h1,/run/pg,h3,/run/pg/,,/tmp,/tmp,/var/run/postgresql,/run/postgresql,fe80::1 port=5,5,6,5,5,5,7,5,5,5 \
             dbname=d user=u passfile={}",
            path.display()
        );
        let found: Vec<_> = plan(&text)
            .unwrap()
            .hosts
            .into_iter()
            .map(|h| h.password.unwrap().expose().to_owned())
            .collect();
        // A default directory may be written as it is, or as `localhost`.
        assert_eq!(
            found,
            [
                "one", "two", "three", "other", "default", "default", "literal", "default", "default",
                "address"
            ]
        );
    }
}
