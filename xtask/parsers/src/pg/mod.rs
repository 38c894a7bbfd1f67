//! What comes from PostgreSQL, and how it is reached (`barman-pg`): through the public functions alone, with a server
//! that says what the input says.

mod server;
mod session;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use barman_pg::sql::{parse_synchronous_standby_names, version_text};
use barman_pg::{ConnInfo, PgVersion, ReplicationClient, conninfo, major_of_text};

use crate::input::{scratch, text};
use server::Turn;
pub use session::{
    base_backup_archive, base_backup_messages, replication_answers, replication_startup, sql_session,
    wal_stream,
};

/// Connection strings: read, exposed and read again they are the same; what is shown has no secret.
pub fn connection_string(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let shown = conninfo::redact(text);
    let Ok(info) = ConnInfo::parse(text) else { return };
    assert_eq!(ConnInfo::parse(&info.expose()).as_ref(), Ok(&info), "{text:?}");
    for (keyword, value) in info.iter() {
        assert!(conninfo::is_keyword(keyword), "{keyword}");
        if !ConnInfo::is_secret(keyword) {
            continue;
        }
        // What is shown does not depend on the secret.
        let other = info.clone().with(keyword, "another").expect("a keyword");
        assert_eq!(other.to_string(), info.to_string());
        assert_eq!(format!("{other:?}"), format!("{info:?}"));
        let elsewhere =
            text.matches(value).count() > 1 || info.iter().any(|(k, v)| k != keyword && v.contains(value));
        let word = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(
            value.len() < 12 || elsewhere || !word || !shown.contains(value),
            "{shown} shows {value}"
        );
    }
    let streaming = info.streaming().or_application_name("receive_wal");
    assert_eq!(streaming.get("replication"), Some("true"));
    assert_eq!(ConnInfo::parse(&streaming.expose()).as_ref(), Ok(&streaming));
}

/// Texts that a server answers: versions, lists of standbys.
pub fn server_texts(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Some(version) = PgVersion::from_report(text) {
        assert!(!version.to_string().is_empty());
        let _ = version.major();
    }
    let _ = (major_of_text(text), version_text(text));
    let names = parse_synchronous_standby_names(text);
    assert!(names.iter().map(String::len).sum::<usize>() <= text.len());
}

/// A password file: what is sent as the password stands in the file.
pub fn password_file(bytes: &[u8]) {
    let place = scratch().join("pgpass");
    fs::write(&place, bytes).expect("write a file");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).expect("set the mode of a file");
    let ask = Turn::of(b'R', &3_i32.to_be_bytes());
    let heard = server::play(vec![ask], |info, options| {
        let options = barman_pg::ConnectOptions {
            environment,
            ..options.clone()
        };
        let _ = ReplicationClient::connect(&info.clone().streaming(), &options);
    });
    // `p`, length, password, NUL.
    let sent = heard
        .get(1)
        .and_then(|message| message.strip_prefix(b"p")?.get(4..)?.strip_suffix(b"\0"));
    if let (Some(sent), Some(text)) = (sent, text(bytes)) {
        let sent = String::from_utf8_lossy(sent).into_owned();
        assert!(
            text.replace('\\', "").contains(&sent.replace('\\', "")),
            "{sent:?} is not in the file"
        );
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "PGPASSFILE").then(|| scratch().join("pgpass").to_string_lossy().into_owned())
}
