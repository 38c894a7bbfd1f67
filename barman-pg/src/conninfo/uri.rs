//! The URI form, `postgresql://[user[:password]@][host[:port],...][/dbname][?name=value&...]`, as libpq reads it.

use super::{ConnInfoError, HIDDEN, Pair, is_keyword};

/// The two schemes that libpq takes.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Whether the string has the form of a URI.
pub(super) fn is_uri(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

fn invalid<T>(what: impl Into<String>) -> Result<T, ConnInfoError> {
    Err(ConnInfoError::InvalidUri { what: what.into() })
}

/// Takes the URI apart into pairs; keywords of the query part are checked by the caller.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, ConnInfoError> {
    let rest = SCHEMES
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or(text);
    let mut pairs = Vec::new();
    let mut push = |keyword: &str, value: &str| -> Result<(), ConnInfoError> {
        if !value.is_empty() {
            pairs.push(Pair::sound(keyword, decode(value)?));
        }
        Ok(())
    };

    // The user part ends at the first '@' before any '/'; a '?' does not end the search.
    let stop = rest.find(['@', '/']).unwrap_or(rest.len());
    let rest = match rest.split_at(stop) {
        (credentials, after) if after.starts_with('@') => {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            push("user", user)?;
            push("password", password.unwrap_or_default())?;
            after.strip_prefix('@').unwrap_or(after)
        }
        _ => rest,
    };
    // What is behind an unescaped sign of a password looks like something else: then it is not shown.
    let doubtful = rest.contains('@');
    let (hosts, ports, rest) = host_list(rest)?;
    check_hosts(&decode(&hosts)?, &decode(&ports)?, doubtful)?;
    push("host", &hosts)?;
    push("port", &ports)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if let Some(dbname) = path.strip_prefix('/') {
        push("dbname", dbname)?;
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        for part in query.strip_suffix('&').unwrap_or(query).split('&') {
            let Some((name, value)) = part.split_once('=') else {
                return invalid(format!(
                    "missing key/value separator \"=\" in query parameter \"{}\"",
                    shown(part)
                ));
            };
            if value.contains('=') {
                return invalid(format!(
                    "extra key/value separator \"=\" in query parameter \"{}\"",
                    shown(name)
                ));
            }
            let (name, value) = (decode(name)?, decode(value)?);
            // JDBC's spelling, which libpq takes too.
            if name == "ssl" && value == "true" {
                pairs.push(Pair::sound("sslmode", "require".to_owned()));
            } else {
                pairs.push(Pair {
                    doubtful: doubtful && !is_keyword(&name),
                    keyword: name,
                    value,
                });
            }
        }
    }
    Ok(pairs)
}

/// Looks at what libpq would fail to resolve or to read later, and shows nothing of it: it may be part of a password.
fn check_hosts(hosts: &str, ports: &str, doubtful: bool) -> Result<(), ConnInfoError> {
    const REMEDY: &str =
        "in a user name or password \"@\" is written %40, \":\" %3A, \"/\" %2F, \"?\" %3F, \"%\" %25";
    if hosts
        .split(',')
        .any(|host| !host.starts_with(['/', '@']) && host.contains('@'))
    {
        return invalid(format!("a host name has an \"@\"; {REMEDY}"));
    }
    let is_number = |port: &str| {
        let digits = port.trim();
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !ports.split(',').all(is_number) {
        return invalid(format!(
            "a port is not a number; {REMEDY}; an IPv6 address is written in brackets"
        ));
    }
    // Digits of a password, before its `/`.
    let is_too_large = |port: &str| {
        let digits = port.trim();
        !digits.is_empty() && digits.parse::<u16>().is_err()
    };
    if doubtful && ports.split(',').any(is_too_large) {
        return invalid(format!("a port is too large; {REMEDY}"));
    }
    Ok(())
}

/// A keyword, or `...`: behind an unescaped `?` of a password stands the rest of the password.
fn shown(word: &str) -> &str {
    if is_keyword(word) { word } else { HIDDEN }
}

/// Takes `host:port,host:port` off the front: the two comma separated lists that `host` and `port` hold, and the rest
/// from the `/` or `?` on. As in libpq, several hosts without a port give a list of empty ports, which keeps `PGPORT` out.
fn host_list(text: &str) -> Result<(String, String, &str), ConnInfoError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    let mut rest = text;
    loop {
        let (host, after) = if let Some(inner) = rest.strip_prefix('[') {
            match inner.split_once(']') {
                None => {
                    return invalid(
                        "end of string reached when looking for matching \"]\" in IPv6 host address",
                    );
                }
                Some(("", _)) => return invalid("IPv6 host address may not be empty"),
                Some((host, after)) if after.is_empty() || after.starts_with([':', '/', '?', ',']) => {
                    (host, after)
                }
                Some(_) => return invalid("unexpected character after an IPv6 host address"),
            }
        } else {
            rest.split_at(rest.find([':', '/', '?', ',']).unwrap_or(rest.len()))
        };
        hosts.push(host);
        let (port, after) = match after.strip_prefix(':') {
            Some(after) => after.split_at(after.find(['/', '?', ',']).unwrap_or(after.len())),
            None => ("", after),
        };
        ports.push(port);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((hosts.join(","), ports.join(","), after)),
        }
    }
}

/// Resolves `%XX`. Blanks around the text do not belong to it (libpq 18); blanks in it do, as in older versions of libpq.
fn decode(text: &str) -> Result<String, ConnInfoError> {
    let text = text.trim_matches(' ');
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(0), Some(0)) => return invalid("forbidden value %00 in percent-encoded value"),
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or_default()),
            _ => return invalid("invalid percent-encoded token"),
        }
    }
    String::from_utf8(bytes).or_else(|_| invalid("a percent-encoded value is not UTF-8"))
}
