//! What a connection is made of before the first statement: files beside the connection string, demands on the
//! authentication, SCRAM.

use std::collections::BTreeMap;
use std::fs;

use barman_pg::conninfo::passfile::{self, Wanted};
use barman_pg::conninfo::{is_keyword, service};
use barman_pg::{ConnInfo, ConnectOptions, Error, ReplicationClient};

use super::server::{self, Turn, frames};
use crate::input::{choice, scratch, text};

/// The most rounds of hashing that an input may ask for; the product allows far more, which only takes time.
const ROUNDS: u32 = 100_000;

/// A service file: what a service gives are options of libpq whose values stand in the file, and they arrive at the
/// server as they are.
pub fn service_file(bytes: &[u8]) {
    let told = String::from_utf8_lossy(bytes);
    let names = told.lines().filter_map(|line| line.trim().strip_prefix('['));
    for name in names.filter_map(|rest| rest.split(']').next()).take(8) {
        let Ok(Some(options)) = service::parse(bytes, name) else {
            continue;
        };
        for (keyword, value) in &options {
            assert!(is_keyword(keyword) && keyword != "service", "{keyword}");
            assert!(told.contains(value.as_str()), "{value:?} is not in the file");
        }
    }
    let Ok(Some(options)) = service::parse(bytes, "main") else {
        return;
    };
    let place = scratch().join("pg_service.conf");
    fs::write(&place, bytes).expect("write a file");
    let mut hello = Turn::authentication(0, b"");
    hello.add(b'E', b"SFATAL\0C57P01\0Menough\0\0");
    let heard = server::play(vec![hello], |info, defaults| {
        let info = info
            .iter()
            .filter(|(keyword, _)| matches!(*keyword, "host" | "port"))
            .chain([
                ("hostaddr", ""),
                ("service", "main"),
                ("servicefile", &place.to_string_lossy()),
            ])
            .fold(ConnInfo::default(), |info, (keyword, value)| {
                info.with(keyword, value).expect("a keyword")
            });
        let options = ConnectOptions {
            environment: |name| (name == "PGUSER").then(|| "u".to_owned()),
            ..defaults.clone()
        };
        let _ = ReplicationClient::connect(&info.streaming(), &options);
    });
    let Some(hello) = heard.first().filter(|hello| hello.len() < 8192) else {
        return;
    };
    let sent = parameters(hello);
    let user = sent.get("user").map(String::as_str);
    match options.get("user").map(String::as_str) {
        // An empty one hides the environment's, and then it is the account's name, as with libpq.
        Some("") => assert!(user.is_some_and(|user| !user.is_empty() && user != "u")),
        given => assert_eq!(user, Some(given.unwrap_or("u"))),
    }
}

/// The parameters of a startup message.
fn parameters(hello: &[u8]) -> BTreeMap<String, String> {
    let body = hello
        .get(8..)
        .and_then(|rest| rest.strip_suffix(b"\0\0"))
        .expect("the end of a startup message");
    let words: Vec<String> = body
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8(word.to_vec()).expect("text"))
        .collect();
    assert!(words.len().is_multiple_of(2), "{words:?}");
    let pairs = words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let parameters: BTreeMap<String, String> = pairs.collect();
    let known = [
        "user",
        "database",
        "client_encoding",
        "replication",
        "options",
        "application_name",
    ];
    assert!(
        parameters.keys().all(|name| known.contains(&name.as_str())),
        "{parameters:?}"
    );
    parameters
}

/// A password file: what is sent as the password stands in the file.
pub fn password_file(bytes: &[u8]) {
    let told = String::from_utf8_lossy(bytes).replace('\\', "");
    for host in ["localhost", "db1", "::1"] {
        let wanted = Wanted {
            host,
            port: 5432,
            dbname: "replication",
            user: "barman",
        };
        if let Some(found) = passfile::find(bytes, wanted) {
            assert!(!found.is_empty());
            assert!(
                told.contains(&found.replace('\\', "")),
                "a password that is not there"
            );
        }
    }
    let place = scratch().join("pgpass");
    write_private(&place, bytes);
    let ask = Turn::authentication(3, b"");
    let heard = server::play(vec![ask], |info, options| {
        let options = ConnectOptions {
            environment,
            ..options.clone()
        };
        let _ = ReplicationClient::connect(&info.clone().streaming(), &options);
    });
    if let (Some(sent), Some(_)) = (heard.get(1).and_then(|message| password(message)), text(bytes)) {
        let sent = String::from_utf8_lossy(sent).into_owned();
        assert!(
            told.contains(&sent.replace('\\', "")),
            "{sent:?} is not in the file"
        );
    }
}

pub(super) fn write_private(place: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(place, bytes).expect("write a file");
    fs::set_permissions(place, fs::Permissions::from_mode(0o600)).expect("set the mode of a file");
}

fn environment(name: &str) -> Option<String> {
    (name == "PGPASSFILE").then(|| scratch().join("pgpass").to_string_lossy().into_owned())
}

/// What a password message holds: `p`, length, password, NUL.
fn password(message: &[u8]) -> Option<&[u8]> {
    message.strip_prefix(b"p")?.get(4..)?.strip_suffix(b"\0")
}

/// `require_auth`: a server gets a password only if the list allows its request, and a session only if it allows none.
pub fn require_auth(bytes: &[u8]) {
    let (request, rest) = choice(bytes, 5);
    let Some(list) = text(rest).filter(|list| !list.contains('\0')) else {
        return;
    };
    let ask = match request {
        0 => Turn::default(),
        1 => Turn::authentication(3, b""),
        2 => Turn::authentication(5, b"salt"),
        3 => Turn::authentication(10, b"SCRAM-SHA-256\0\0"),
        _ => Turn::authentication(9, b""),
    };
    let script = match request {
        0 => vec![Turn::greeting("18.4")],
        _ => vec![ask, Turn::greeting("18.4")],
    };
    let mut refused = false;
    let mut opened = false;
    let heard = server::play(script, |info, options| {
        let info = info.clone().with("password", "secret").expect("a keyword");
        let info = info.with("require_auth", list).expect("a keyword");
        match ReplicationClient::connect(&info.streaming(), options) {
            Ok(_) => opened = true,
            Err(error) => refused = matches!(error, Error::ConnInfo(_)),
        }
    });
    let words: Vec<&str> = list.split(',').map(|word| word.trim_start_matches('!')).collect();
    let known = ["password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"];
    if words.iter().any(|word| !word.is_empty() && !known.contains(word)) {
        assert!(refused, "{list:?} is taken for a list");
    }
    if refused {
        assert!(heard.is_empty(), "somebody was asked although the list is none");
        return;
    }
    let method = ["none", "password", "md5", "scram-sha-256", "sspi"][request];
    // An empty list is one of `none`.
    let named = words.contains(&method) || list.is_empty() && method == "none";
    let allowed = named != list.starts_with('!');
    let answered = heard.iter().any(|message| message.first() == Some(&b'p'));
    if method == "none" {
        assert_eq!(opened, allowed, "{list:?}");
    } else {
        assert_eq!(answered, allowed && method != "sspi", "{list:?} and {method}");
    }
}

/// A server's messages of SCRAM: whoever does not know the password gets no session, whatever it says.
pub fn scram_messages(bytes: &[u8]) {
    let (offer, rest) = choice(bytes, 4);
    let mut parts = frames(rest).into_iter();
    let offer: &[u8] = match offer {
        0 => b"SCRAM-SHA-256\0\0",
        1 => b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
        2 => b"OAUTHBEARER\0SCRAM-SHA-256\0\0",
        _ => parts.next().unwrap_or_default(),
    };
    let mut script = vec![Turn::authentication(10, offer)];
    let mut code = 11;
    for part in parts.take(4) {
        if rounds(part) > ROUNDS {
            return;
        }
        script.push(Turn::authentication(code, part));
        code = 12;
    }
    script.push(Turn::greeting("18.4"));
    server::play(script, |info, options| {
        let info = info.clone().with("password", "secret").expect("a keyword");
        let connected = ReplicationClient::connect(&info.streaming(), options);
        assert!(connected.is_err(), "a session with somebody who proved nothing");
    });
}

/// The largest number in the message that could be a number of iterations.
fn rounds(message: &[u8]) -> u32 {
    let parts = message.split(|byte| *byte == b',');
    let digits = parts.filter_map(|part| part.strip_prefix(b"i="));
    digits
        .filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .max()
        .unwrap_or(0)
}
