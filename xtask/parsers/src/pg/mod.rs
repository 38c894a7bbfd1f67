//! What comes from PostgreSQL, and how it is reached (`barman-pg`): through the public functions alone, with a server
//! that says what the input says.

mod search;
mod server;
mod session;
mod tls;

use barman_pg::sql::{parse_synchronous_standby_names, version_text};
use barman_pg::{ConnInfo, PgVersion, PostgresConnection, StreamingConnection, conninfo, major_of_text};

use crate::input::text;
pub use search::{password_file, require_auth, scram_messages, service_file};
pub use session::{
    base_backup_archive, base_backup_compressed, base_backup_messages, manifest_upload, replication_answers,
    replication_startup, sql_session, wal_stream,
};
pub use tls::{certificate_names, tls_answers, tls_files};

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
    let standard = PostgresConnection::parse(text).expect("as the connection string");
    assert_eq!(standard.conninfo(), &info);
    let replication = StreamingConnection::parse(text).expect("as the connection string");
    assert_eq!(replication.conninfo().get("replication"), Some("true"));
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
